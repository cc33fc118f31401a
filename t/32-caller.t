#!/usr/bin/perl
# Who asks, where RT's pages offer no simple example: with stand-ins for Mason's request and for RT's subroutines. The
# rest is tried in a real RT (t/41-who-asks-web.t, t/42-who-asks.t).
## no critic (ProhibitMultiplePackages)
use strict;
use warnings;

use Sub::Util ();
use Test::More;

use RT::ExternalStorage::AmazonS3::Caller;

my $kind = sub { return RT::ExternalStorage::AmazonS3::Caller->Identify->Kind };

# A call through RT::Record::_DecodeLOB, within the stand-ins that are named, outermost first
sub within {
    my ( $ask, @subs ) = @_;
    return RT::Record::_DecodeLOB($ask) if !@subs;
    my $outer = shift @subs;
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    return &$outer( sub { within( $ask, @subs ) } );
}
{
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    for my $name (
        qw(RT::Attachment::Content RT::Attachment::OriginalContent RT::Attachment::ContentAsMIME RT::Action::Ours::Prepare
        RT::Action::SendEmail::Prepare RT::Template::Parse RT::Ticket::Forward RT::Transaction::ContentAsMIME
        RT::Dashboard::Mailer::SendDashboard RT::Interface::Email::Gateway RT::Scrip::Prepare)
        )
    {
        my $sub = sub { my ($next) = @_; my $answer = $next->($name); return $answer }; # a closure: one for each name
        *{"$name"} = Sub::Util::set_subname( $name, $sub );
    }
    @RT::Action::Ours::ISA = ('RT::Action::SendEmail');
}
my @read = ('RT::Attachment::Content');

is( $kind->(),              'direct', 'code that calls Get itself' );
is( within( $kind, @read ), 'tool',   'a program' );
{
    local $0 = '/usr/sbin/rt-fulltext-indexer-5';
    is( within( $kind, @read ), 'indexer', 'the indexer' );
}
for my $mail (
    'RT::Action::SendEmail::Prepare', 'RT::Action::Ours::Prepare',
    'RT::Template::Parse',            'RT::Ticket::Forward',
    'RT::Transaction::ContentAsMIME', 'RT::Attachment::ContentAsMIME',
    'RT::Dashboard::Mailer::SendDashboard'
    )
{
    is( within( $kind, $mail, @read ), 'mail', "mail: $mail" );
}
is( within( $kind, 'RT::Attachment::OriginalContent', 'RT::Attachment::ContentAsMIME', @read ),
    'tool', 'a message that is read is no mail' );
is( within( $kind, 'RT::Interface::Email::Gateway', @read ), 'tool', 'nor is one that comes in' );
is( within( $kind, 'RT::Interface::Email::Gateway', 'RT::Action::SendEmail::Prepare', @read ),
    'mail', '... but what RT answers' );

sub on_page {
    my ( $page, $elements, @subs ) = @_;
    my @components = map { Component->new($_) } reverse $page, @$elements;
    no warnings 'once';
    local $HTML::Mason::Commands::m = bless { stack => \@components }, 'Request';

    package HTML::Mason::Commands;
    my $component = sub { my $answer = main::within( $kind, @subs ); return $answer };
    return $component->();
}
is( on_page( '/Ticket/Attachment/dhandler',      [],                              @read ), 'file', 'an attachment' );
is( on_page( '/SelfService/Attachment/dhandler', ['/Ticket/Attachment/dhandler'], @read ), 'file', 'self-service' );
is(
    on_page(
        '/Ticket/Attachment/dhandler',     [],
        'RT::Attachment::OriginalContent', 'RT::Attachment::ContentAsMIME',
        @read
    ),
    'file',
    'an attached message'
);
is( on_page( '/Ticket/Display.html', ['/Elements/ShowTransactionAttachments'], @read ),
    'display', 'an element that shows' );
is( on_page( '/Ticket/Display.html', [ '/Elements/ShowTransaction', '/Elements/Other' ], @read ),
    'display', '... further out' );
is( on_page( '/Ticket/ShowEmailRecord.html', [], @read ), 'page', 'a page that shows is a page' );
is( on_page( '/Ticket/ShowOff/Other.html',   [], @read ), 'page', 'a directory is none' );
is( on_page( '/Ticket/Update.html',          ['/Elements/MessageBox'],           @read ), 'page', 'a form' );
is( on_page( '/REST/1.0/dhandler',           ['/REST/1.0/Forms/ticket/history'], @read ), 'page', 'REST 1.0' );
is( on_page( '/Ticket/Update.html', [], 'RT::Action::SendEmail::Prepare', @read ), 'mail', 'mail in a web request' );
is( on_page( '/Ticket/Update.html', ['/Ticket/Elements/ShowSimplifiedRecipients'], 'RT::Template::Parse', @read ),
    'mail', '... and where its recipients are shown' );

sub Catching::catch {
    my ($next) = @_;
    my $answer = eval { $next->() };
    return $answer // $@;
}
is( on_page( '/Ticket/Update.html', [], 'RT::Scrip::Prepare', 'Catching::catch', @read ),
    'caught', 'code that catches exceptions' );
is( Catching::catch( sub { on_page( '/Ticket/Update.html', [], @read ) } ),
    'page', '... Mason itself does not count' );
{
    local $HTML::Mason::Commands::r = bless {}, 'RT::Dashboard::FakeRequest';
    is( on_page( '/Ticket/Attachment/dhandler', [], @read ), 'mail', "a dashboard's page" );
}
done_testing;

package RT::Record;
sub _DecodeLOB { my ($ask) = @_; my $answer = $ask->(); return $answer }

package Request;
sub request_comp { return $_[0]{stack}[-1] }
sub callers      { return @{ $_[0]{stack} } }
sub notes        {return}

package Component;
sub new        { my ( $class, $path ) = @_; return bless { path => $path }, $class }
sub is_subcomp { return 0 }
sub path       { return $_[0]{path} }
