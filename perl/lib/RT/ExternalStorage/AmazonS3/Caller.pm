package RT::ExternalStorage::AmazonS3::Caller;

use strict;
use warnings;

use File::Basename ();
use Scalar::Util   ();

# The kinds are explained below, in the order in which they are tried.

# Pages that deliver one file (RT 4.4, 5 and 6)
my $FILE = qr{/(?:Attachment|Attachment/WithHeaders|CustomFieldValue)/dhandler\z};

# REST 1.0 has one page; the forms beneath it tell what was asked for
my $REST_FILE = qr{^/REST/1\.0/Forms/(?:attachment/default|ticket/attachments)\z};

# Compares a new value of a custom field with those that are there
my $COMPARISON = 'RT::ObjectCustomFieldValues::HasEntry';

# Shows a message in a ticket's history, and is in the middle of the place where its text goes
my $MESSAGE = qr{/ShowTransactionAttachments\z};

# Subroutines that build mail, beside the methods of RT::Action::SendEmail and of classes derived from it
my $MAIL = qr{^RT:: (?: Template:: | Dashboard::Mailer:: | Transaction::ContentAsMIME\z | Ticket::Forward
    | Interface::Email::(?:Send|Forward) )}x;
my $DIGEST = 'main::build_digest_for_user';    # of rt-email-digest

sub Identify {
    my ($class) = @_;
    my $self    = bless { subs => [ _Subs() ] }, $class;
    $self->{kind} = $self->_Kind;
    return $self;
}

sub Kind   { return $_[0]->{kind} }
sub IsREST { return $_[0]->{rest} }

# Whether what is written into the page now stands where the text would be
sub IsAtMessage { return $_[0]->{at_message} }

sub _Kind {
    my ($self) = @_;
    my @subs = @{ $self->{subs} };
    return 'direct'     if !grep {/::_DecodeLOB\z/} @subs;
    return 'comparison' if grep  { $_ eq $COMPARISON } @subs;
    return 'mail'       if $self->_BuildsMail;

    my $request = _Request();
    return $self->_KindOfPage($request) if $request;
    return 'web'     if $INC{'RT/Interface/Web/Handler.pm'} && grep {/^(?:RT::REST2|Web::Machine|Plack)\b/} @subs;
    return 'indexer' if $self->IsIndexer;
    return 'tool';
}

sub IsIndexer { return File::Basename::basename($0) =~ /^rt-fulltext-indexer/ ? 1 : 0 }

sub _KindOfPage {
    my ( $self, $request ) = @_;
    my $page = eval { $request->request_comp };
    my $path = _Path($page);
    my @rest = map { _Path($_) } grep { !$page || $_ != $page } eval { $request->callers };

    $self->{rest}       = $path                                    =~ m{^/REST/1\.0/};
    $self->{at_message} = _Path( eval { $request->current_comp } ) =~ $MESSAGE;
    return 'file'    if $path =~ $FILE;
    return 'file'    if $self->{rest} && eval { $request->notes('raw-content') } && grep { $_ =~ $REST_FILE } @rest;
    return 'display' if grep                                                             {m{/Show[^/]*\z}} @rest;
    return 'caught'  if $self->_IsCaught;
    return 'page';
}

sub _Path {
    my ($component) = @_;
    return '' if !$component;

    # a part of a component (<%def>, <%method>) belongs to it
    return eval { ( $component->is_subcomp ? $component->owner : $component )->path } // '';
}

sub _Request {
    no warnings 'once';
    my $request = $HTML::Mason::Commands::m;
    return Scalar::Util::blessed($request) && $request->can('request_comp') ? $request : undef;
}

# ---- mail

sub _BuildsMail {
    my ($self) = @_;

    return 1 if IsDashboard();

    my $mime = 0;
    for my $sub ( @{ $self->{subs} } ) {    # from the inside out
        return 1  if $sub =~ $MAIL || $sub eq $DIGEST || _IsSendEmail($sub);
        $mime = 1 if $sub eq 'RT::Attachment::ContentAsMIME';

        # OriginalContent puts a message together that is being read, not sent
        $mime = 0 if $sub eq 'RT::Attachment::OriginalContent';
    }
    return $mime;
}

# A dashboard's page is made for a mail, by a request that only pretends to be one
sub IsDashboard {
    no warnings 'once';
    my $r = $HTML::Mason::Commands::r;
    return Scalar::Util::blessed($r) && $r->isa('RT::Dashboard::FakeRequest');
}

sub _IsSendEmail {
    my ($sub)     = @_;
    my ($package) = $sub =~ /^(.+)::\w+\z/ or return 0;
    return $package =~ /::/ && $package->isa('RT::Action::SendEmail');
}

# "ticket #12, to a@example.com, b@example.com", or "dashboard 'Open tickets' of root, to a@example.com", as far as it can
# be found out
sub Mail {
    return _DashboardMail() if IsDashboard();
    my ( $ticket, $attachment, @recipients );
    for my $object ( _Invocants() ) {
        if ( $object->isa('RT::Action') ) {
            $ticket ||= eval { $object->TicketObj->Id };
            @recipients = _Recipients($object) if !@recipients;
        }
        elsif ( $object->isa('RT::Ticket') ) {
            $ticket ||= eval { $object->Id };
        }
        elsif ( $object->isa('RT::Transaction') ) {
            $ticket ||= eval { $object->TicketObj->Id };
        }
        else {
            $attachment = $object;
        }
    }
    $ticket ||= eval { $attachment->TransactionObj->TicketObj->Id };    # which may be another one than the mail's
    @recipients = grep {defined} ( _Arguments($DIGEST) )[0] if !@recipients;
    return ( $ticket ? "ticket #$ticket" : 'ticket not known' ) . ', ' . _To(@recipients);
}

sub _To { return @_ ? 'to ' . join( ', ', @_ ) : 'recipients not known' }

sub _DashboardMail {
    no warnings 'once';
    my $user = eval { $HTML::Mason::Commands::session{CurrentUser}->Name } // 'a user who is not known';
    my ( undef, %about ) = _Arguments('RT::Dashboard::Mailer::SendDashboard') or return "dashboard of $user";
    my $name = eval {
        my $dashboard = RT::Dashboard->new( $about{CurrentUser} );
        $dashboard->LoadById( $about{Subscription}->SubValue('DashboardId') );
        $dashboard->Name;
    };
    return 'dashboard ' . ( defined $name ? "'$name' " : '' ) . "of $user, " . _To( grep {defined} $about{Email} );
}

sub _Recipients {
    my ($action) = @_;
    my @lists    = map  { $action->{$_} } qw(To Cc Bcc PseudoTo);
    my @found    = grep { defined && length } map { ref ? @$_ : $_ } grep {defined} @lists;
    if ( !@found ) {    # a forward keeps them in its transaction until the mail is complete
        my $transaction = eval { $action->TransactionObj };
        @found = $transaction->Data if $transaction && ( $transaction->Type // '' ) =~ /^Forward/;
    }
    if ( !@found ) {
        @found = eval {
            my $head = $action->TemplateObj->MIMEObj->head;
            map { $head->get($_) // () } qw(To Cc Bcc);
        };
    }
    my %seen;
    return grep { !$seen{$_}++ } map {m/\A\s*(.*?)\s*\z/s} @found;
}

# ---- the stack

# Names of the subroutines that run, innermost first; without our own evals, which let exceptions pass
sub _Subs {
    my @subs;
    for ( my $depth = 1; my @frame = caller $depth; $depth++ ) {
        next if $frame[0] =~ /^RT::ExternalStorage::AmazonS3\b/ && $frame[3] eq '(eval)';
        push @subs, $frame[7] ? '(require)' : $frame[3];
    }
    return @subs;
}

# The objects whose methods run. Perl keeps no count of these arguments, so only invocants are looked at: each is held
# by its method.
sub _Invocants {
    my @objects;
    for ( my $depth = 1;; $depth++ ) {
        my ( $sub, $object ) = _Frame($depth) or last;
        push @objects, $object
            if $sub =~ /^RT::(?:Action|Attachment|Ticket|Transaction)\b/
            && Scalar::Util::blessed($object)
            && $object->can('isa');
    }
    return @objects;
}

# What RT's REST 2 has of a web request instead of Mason's
sub Environment {
    for ( my $depth = 1;; $depth++ ) {
        my ( $sub, $object ) = _Frame($depth) or return undef;
        next if $sub !~ /^RT::(?:Extension::)?REST2::Resource\b/ || !Scalar::Util::blessed($object);
        my $environment = eval { $object->request->env } // next;
        return $environment;
    }
}

# The arguments of a subroutine that runs. Only of those that are known to keep theirs.
sub _Arguments {
    my ($sub) = @_;

    package DB;    ## no critic (ProhibitMultiplePackages) makes caller fill @DB::args
    for ( my $depth = 1; my @frame = caller $depth; $depth++ ) {
        return @DB::args if $frame[3] eq $sub && $frame[4];
    }
    return;
}

sub _Frame {
    my ($depth) = @_;

    package DB;    ## no critic (ProhibitMultiplePackages) makes caller fill @DB::args
    my @frame = caller( $depth + 1 ) or return;
    return ( $frame[3], $frame[4] && ref $DB::args[0] ? $DB::args[0] : undef );
}

# Whether an eval stands between the page's own code and us. Mason's way to end a page is an exception, which that eval
# would swallow after the error page was written.
sub _IsCaught {
    my ($self) = @_;
    for my $sub ( @{ $self->{subs} } ) {
        return 0 if $sub eq 'HTML::Mason::Commands::__ANON__';
        return 1 if $sub eq '(eval)';
    }
    return 0;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Caller - who asked for a file that could not be read

=head1 DESCRIPTION

RT turns a failed C<Get> into an empty file, which it then shows, sends or indexes. What should happen instead depends
on who asks; this module finds that out, from the call stack, Mason's request and the name of the program. It is used
only where a C<Get> has failed.

=head1 METHODS

=head2 Identify

A class method: looks around and returns an object.

=head2 Kind

=over

=item C<direct>

Code that calls C<Get> itself, not through C<RT::Record::_DecodeLOB>.

=item C<comparison>

RT compares a new value of a custom field with those that the field has. One that can't be read counts as different:
so a new file can be put beside, or in the place of, one that is lost.

=item C<mail>

Mail is being built, in a web request or outside.

=item C<file>

A web request for that one file.

=item C<display>

A part of a web page that only shows: an element called C<Show...>.

=item C<caught>

Code within a web page that catches exceptions itself.

=item C<page>

Any other web page or form.

=item C<web>

A web request without Mason: RT's REST 2 interface.

=item C<indexer>

RT's full-text indexer.

=item C<tool>

Every other program.

=back

=head2 IsREST

Whether it is a request of RT's REST 1.0 interface.

=head2 IsAtMessage

Whether a message in a ticket's history is being shown, and its text would come next.

=head2 IsIndexer

Also a class method: whether this program is RT's full-text indexer.

=head2 IsDashboard

Also a class method: whether a dashboard is being put together for a mail.

=head2 Environment

A class method: the environment of the request of RT's REST 2 interface that runs, or undef.

=head2 Mail

Ticket and recipients of the mail, or which dashboard it is, whose, and its recipient, in words.

=cut
