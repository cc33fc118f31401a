package RT::ExternalStorage::AmazonS3::Failure;

use strict;
use warnings;

use Scalar::Util ();

use RT::ExternalStorage::AmazonS3::Caller;
use RT::ExternalStorage::AmazonS3::Guard;

# An object is the exception for RT's REST 2
use overload '""' => sub { return "$_[0]{sentence}\n" }, bool => sub { return 1 }, fallback => 1;

use constant {
    TROUBLE => 'This file cannot be read from the file storage at the moment. Please try again in a few minutes, '
        . 'and tell your administrator if it stays so.',
    LOST  => 'This file is missing from the file storage, or damaged there. Please tell your administrator.',
    LATER => 30,    # seconds; what Retry-After says
};

# Headers that RT may have set for the file, which must not stand above an error page,
# or allow to keep it. In whatever case: RT 6 writes Cache-control.
my $FILE_HEADER =
    qr{\A(?:Content-(?:Disposition|Length)|Cache-Control|Pragma|Expires|ETag|Last-Modified|Accept-Ranges)\z}i;

# A Get failed. Returns the one-line message where the caller may have it, for (undef, $message); else does not return.
sub Answer {
    my ( $class, $error, $lost ) = @_;
    my $caller = RT::ExternalStorage::AmazonS3::Caller->Identify;
    my $kind   = $caller->Kind;

    return $error if $kind eq 'direct' || $kind eq 'comparison';

    my $web       = defined $HTML::Mason::Commands::m || $kind eq 'web';
    my $reference = _Reference();
    my $sentence  = ( $lost ? LOST : TROUBLE ) . " (Reference: $reference)";
    if ( $kind eq 'display' || ( $kind eq 'indexer' && $lost ) ) {
        RT::ExternalStorage::AmazonS3::Guard->Unmeasurable($error);
        return $error if !$caller->IsAtMessage;
        _ShowInstead($sentence);
        return "$error (reference $reference)";
    }
    if ( $kind eq 'mail' ) {
        RT->Logger->error( 'Mail not sent (' . $caller->Mail . "): $error (reference $reference)" );
        RT::ExternalStorage::AmazonS3::Guard->KeepBack($sentence);
    }
    RT->Logger->error("$error (reference $reference)") if $web && $kind ne 'mail';

    if ( $kind eq 'file' || $kind eq 'page' ) {
        _ErrorPage( $caller, $kind eq 'file' && $lost ? 404 : 503, $sentence );
    }
    die _RESTError( $lost ? 500           : 503, $sentence ) if $kind eq 'web';
    die( $web             ? "$sentence\n" : "$error\n" );
}

# What a user can name, and an administrator can find in the log
sub _Reference { return sprintf '%08X', ( int rand 2**32 ) ^ ( $$ << 12 & 0xffff_ffff ) }

# Nobody should take a message without its text for an empty one
sub _ShowInstead {
    my ($sentence) = @_;
    no warnings 'once';
    my $m    = $HTML::Mason::Commands::m;
    my $html = $m->interp->apply_escapes( $sentence =~ s/^This file/This text/r, 'h' );
    $m->out("<p><i>$html</i></p>");
    return;
}

# Ends the request with RT's error page. Not RT's Abort: within a form the page would go into a buffer that Mason throws
# away, and the header's component would allow caches to keep it.
sub _ErrorPage {
    my ( $caller, $code, $sentence ) = @_;
    no warnings 'once';
    my ( $m, $r ) = ( $HTML::Mason::Commands::m, $HTML::Mason::Commands::r );
    my $status  = "$code " . HTTP::Status::status_message($code);
    my $headers = $r->headers_out;
    $m->autoflush(0);
    $m->clear_buffer;
    delete @$headers{ grep { $_ =~ $FILE_HEADER } keys %$headers };

    my $page;
    if ( $caller->IsREST ) {
        $r->content_type('text/plain; charset=utf-8');
        $page = "RT/$RT::VERSION $status\n\n# $sentence\n";    # its clients read the first line
    }
    else {
        $page = _Render( $m, $r, $code, $sentence );
    }
    delete @$headers{ grep { $_ =~ $FILE_HEADER } keys %$headers };    # the page's own header allows caches, too
    $headers->{Status}          = $status;
    $headers->{'Cache-Control'} = 'no-store';
    $headers->{'Retry-After'}   = LATER if $code == 503;
    $m->clear_buffer;
    $m->out_method->($page);
    $m->abort;
    return;
}

# To an exception RT's REST 2 gives an empty answer of status 500, below the headers of the file
my $Finish;

sub _RESTError {
    my ( $code, $sentence ) = @_;
    my $finish = $Finish ? undef : Web::Machine::Resource->can('finish_request');
    if ($finish) {
        $Finish = $finish;
        no warnings qw(redefine once);
        *Web::Machine::Resource::finish_request = \&_FinishREST;
    }
    return bless { code => $code, sentence => $sentence }, __PACKAGE__;
}

sub _FinishREST {
    my ( $resource, $about ) = @_;
    my $error = ref $about eq 'HASH' ? $about->{exception} : undef;
    if ( Scalar::Util::blessed($error) && $error->isa(__PACKAGE__) ) {
        my $response = $resource->response;
        my $headers  = $response->headers;
        $headers->remove_header( grep { $_ =~ $FILE_HEADER } $headers->header_field_names );
        $headers->header( 'Cache-Control' => 'no-store', 'Content-Type' => 'application/json' );
        $headers->header( 'Retry-After'   => LATER ) if $error->{code} == 503;
        $response->status( $error->{code} );
        $response->body( [qq({"message":"$error->{sentence}"})] );
    }
    return $Finish->(@_);
}

sub _Render {
    my ( $m, $r, $code, $sentence ) = @_;
    my $session = \%HTML::Mason::Commands::session;
    my ( $component, $type ) = @$session{qw(ErrorDocument ErrorDocumentType)};    # set by feeds
    ( $component, $type ) = ( '/Elements/Error', 'text/html; charset=utf-8' ) if !$component || !$type;
    $r->content_type($type);

    # RT sends the begin of a page as soon as it has a menu: then only what belongs into the page is missing
    my $begun = grep {defined} eval { $m->notes('menu')->children };
    my %args  = ( Why => $sentence, Code => $code, SuppressHeader => $begun ? 1 : 0 );
    my $page  = '';
    eval { $m->comp( { store => \$page }, $component, %args ); 1 }
        or RT->Logger->debug("The error page has ended: $@");                     # RT's does, with an abort
    return length $page ? $page : $sentence;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Failure - what a Get does that failed

=head1 DESCRIPTION

RT takes a failed C<Get> for an empty file. So C<Get> returns a failure only to those who can do something with it, or
who merely show; everybody else gets an error: a web page or an answer of REST with status 503 (404 where the file is
missing or damaged; 500 in REST 2), or an exception. Users read a plain sentence with a reference; the log says the rest under the same reference.

=head1 CLASS METHODS

=head2 Answer MESSAGE, LOST

Returns the message where C<Get> should return it. LOST tells that the file is missing or damaged, for certain.

=cut
