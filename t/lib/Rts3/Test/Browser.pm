package Rts3::Test::Browser;

use strict;
use warnings;

use parent 'Rts3::Test::Owner';

use Carp         qw(croak);
use Encode       ();
use File::Path   qw(make_path);
use File::Temp   ();
use HTTP::Tiny   ();
use JSON::PP     ();
use MIME::Base64 qw(decode_base64);
use Time::HiRes  qw(sleep time);

use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::Browser - a real browser: Chromium without a window

=head1 SYNOPSIS

    my $browser = Rts3::Test::Browser->start( authority => $s3->ca );
    $browser->open("$url/");
    $browser->type( 'input[name=user]' => 'root' );
    $browser->click('input[type=submit]');
    my $width = $browser->run('return document.querySelector("img").naturalWidth');
    my ($file) = $browser->downloads;

=head1 DESCRIPTION

Driven by the WebDriver protocol (W3C) through chromedriver. Profile, trust and downloads are private, nothing is asked of the
network but what the pages say, and both processes end with the object and with the test.

=head1 METHODS

=head2 missing

Why no browser can be run here, or undef.

=cut

my %Program = map { $_ => "/usr/bin/$_" } qw(chromium chromedriver certutil);

sub missing {
    my ($absent) = grep { !-x $Program{$_} } sort keys %Program;
    return undef if !defined $absent;
    return "$absent is not installed (Debian's packages chromium, chromium-driver and libnss3-tools)";
}

=head2 start

Options: authority, a file with the certificate authority (PEM) that the browser shall trust beside the usual ones; width
and height of its window, 1000 by 900.

=cut

sub start {
    my ( $class, %args ) = @_;
    my $self = bless { width => 1000, height => 900, %args, owner => $$, seen => [] }, $class;
    $self->{tmp} = File::Temp->newdir( 'rts3-browser-XXXXXX', TMPDIR => 1 );
    make_path( map { $self->_dir($_) } qw(home/.pki/nssdb profile downloads) );
    $self->_trust( $self->{authority} ) if defined $self->{authority};
    $self->_launch;
    $self->{session} = $self->_driver( POST => '/session', { capabilities => { alwaysMatch => $self->_wishes } } );
    $self->{path}    = '/session/' . delete $self->{session}{sessionId};
    return $self;
}

sub _dir {
    my ( $self, $name ) = @_;
    return "$self->{tmp}/$name";
}

# Chromium reads this database beside its own list of authorities
sub _trust {
    my ( $self, $authority ) = @_;
    my $database = 'sql:' . $self->_dir('home/.pki/nssdb');
    for my $command ( [qw(-N --empty-password)], [ qw(-A -n test -t), 'C,,', -i => $authority ] ) {
        my $run = Rts3::Test::Process::run( command => [ $Program{certutil}, -d => $database, @{$command} ] );
        croak "certutil failed: $run->{err}" if $run->{exit};
    }
    return;
}

sub _launch {
    my $self = shift;
    my $said = $self->_dir('chromedriver.out');
    $self->{pid} = Rts3::Test::Process::spawn(
        command => [ $Program{chromedriver}, '--port=0' ],
        env     => {
            ( map { $_ => $ENV{$_} } grep { defined $ENV{$_} } qw(PATH TMPDIR) ),
            HOME   => $self->_dir('home'),
            LC_ALL => 'C.UTF-8',
            TZ     => 'UTC',
        },
        out => $said,
        err => $self->_dir('chromedriver.err'),
    );
    my $end = time + 30;
    my $port;
    until ( ($port) = slurp($said) =~ /started successfully on port (\d+)/ ) {
        croak 'chromedriver did not start: ' . slurp($said) . slurp( $self->_dir('chromedriver.err') )
            if Rts3::Test::Process::wait_for( $self->{pid}, 0.05 ) || time > $end;
    }
    $self->{url}   = "http://127.0.0.1:$port";
    $self->{agent} = HTTP::Tiny->new( timeout => 120, no_proxy => ['127.0.0.1'] );
    return;
}

# By its pipe Chromium notices the end of chromedriver, however it came
sub _wishes {
    my $self    = shift;
    my @options = (
        '--headless=new',          '--no-proxy-server',
        '--remote-debugging-pipe', '--disable-dev-shm-usage',
        '--disable-gpu',           '--user-data-dir=' . $self->_dir('profile'),
        "--window-size=$self->{width},$self->{height}", ( $> == 0 ? '--no-sandbox' : () ),
    );
    return {
        'goog:loggingPrefs'  => { performance => 'ALL' },
        'goog:chromeOptions' => {
            binary => $Program{chromium},
            args   => \@options,
            prefs  => {
                'download.default_directory'   => $self->_dir('downloads'),
                'download.prompt_for_download' => JSON::PP::false(),
            },
        },
        unhandledPromptBehavior => 'ignore',
        timeouts                => { pageLoad => 60_000, script => 30_000 },
    };
}

=head2 open $url; url; title; source

Goes there, and waits until the page is loaded, or is found to be a download; what is shown now.

=cut

sub open   { my ( $self, $url ) = @_; return $self->_ask( POST => '/url', { url => $url } ) }
sub url    { return $_[0]->_ask( GET => '/url' ) }
sub title  { return $_[0]->_ask( GET => '/title' ) }
sub source { return $_[0]->_ask( GET => '/source' ) }

=head2 run $script, @args

What a function with this body returns, when called in the page with these arguments: plain data.

=head2 wait_until $script, @args

Runs it until it returns something true, 60 s at most; dies if it never does.

=cut

sub run {
    my ( $self, $script, @args ) = @_;
    return $self->_ask( POST => '/execute/sync', { script => $script, args => \@args } );
}

sub wait_until {
    my ( $self, $script, @args ) = @_;
    my $end = time + 60;
    while ( time < $end ) {
        my $answer = eval { $self->run( $script, @args ) };    # not while a page goes
        return $answer if $answer;
        sleep 0.05;
    }
    croak "It never came so on " . $self->url . ": $script";
}

=head2 click $selector; type $selector => $text

As a user does, to the first element of the page that fits the CSS selector.

=cut

sub click {
    my ( $self, $selector ) = @_;
    return $self->_ask( POST => $self->_element($selector) . '/click', {} );
}

sub type {
    my ( $self, $selector, $text ) = @_;
    return $self->_ask( POST => $self->_element($selector) . '/value', { text => $text } );
}

sub _element {
    my ( $self, $selector ) = @_;
    my $element = $self->_ask( POST => '/element', { using => 'css selector', value => $selector } );
    return '/element/' . ( values %{$element} )[0];
}

=head2 press @keys

Keys, C<Tab>, C<Enter> or a text each, for whatever has the focus.

=cut

my %Key = ( Tab => "\x{E004}", Enter => "\x{E007}" );

sub press {
    my ( $self, @keys ) = @_;
    $self->type( ':focus', $Key{$_} // "$_" ) for @keys;
    return;
}

=head2 resize $width, $height

Shows pages as a window, or a telephone, of this size does, in pixels; without arguments as at first.

=cut

sub resize {
    my ( $self, $width, $height ) = @_;
    my %cdp =
        $width
        ? (
        cmd    => 'Emulation.setDeviceMetricsOverride',
        params => { width => $width, height => $height, deviceScaleFactor => 1, mobile => \1 }
        )
        : ( cmd => 'Emulation.clearDeviceMetricsOverride', params => {} );
    $self->_ask( POST => '/goog/cdp/execute', \%cdp );
    return;
}

=head2 only_window

Closes all but the first of the browser's windows, and goes on there.

=cut

sub only_window {
    my $self = shift;
    my ( $first, @others ) = $self->windows;
    for my $window (@others) {
        $self->_ask( POST   => '/window', { handle => $window } );
        $self->_ask( DELETE => '/window' );
    }
    return $self->_ask( POST => '/window', { handle => $first } );
}

=head2 windows

Their names.

=cut

sub windows { return @{ $_[0]->_ask( GET => '/window/handles' ) } }

=head2 requests %filter

What the browser asked of the network since C<forget>, as hashes with url, kind (C<Document>, C<Image>, ...), status and, where it
failed, error. With arguments, those whose fields match these regular expressions.

=head2 forget

Forgets requests and removes downloads.

=cut

sub requests {
    my ( $self, %filter ) = @_;
    for my $entry ( @{ $self->_ask( POST => '/se/log', { type => 'performance' } ) } ) {
        my $event = JSON::PP->new->decode( $entry->{message} )->{message};
        my $about = $event->{params};
        next if $event->{method} !~ /\ANetwork\.(requestWillBeSent|responseReceived|loadingFailed)\z/;
        my ($known) = grep { $_->{id} eq $about->{requestId} } reverse @{ $self->{seen} };
        my $what = $1;
        if ( $what eq 'requestWillBeSent' ) {
            next                                                  if $about->{request}{url} !~ /\Ahttps?:/;
            $known->{status} = $about->{redirectResponse}{status} if $known && $about->{redirectResponse};
            push @{ $self->{seen} },
                { id => $about->{requestId}, url => $about->{request}{url}, kind => $about->{type} // '' };
        }
        elsif ( !$known )                     {next}
        elsif ( $what eq 'responseReceived' ) { $known->{status} = $about->{response}{status} }
        else                                  { $known->{error} = $about->{errorText} }
    }
    my @found = @{ $self->{seen} };
    for my $field ( keys %filter ) {
        @found = grep { ( $_->{$field} // '' ) =~ $filter{$field} } @found;
    }
    return @found;
}

sub forget {
    my $self = shift;
    $self->requests;
    $self->{seen} = [];
    unlink glob $self->_dir('downloads/*');
    return;
}

=head2 downloads

The files that were downloaded since C<forget>, all of them complete: hashes with name (characters) and content.

=head2 came_of_it $page

Waits, after a click on this page (a URL), until a file was downloaded, which is returned, or something else is shown, and
loaded, in this window or in a new one: then nothing is returned.

=cut

sub downloads {
    my $self = shift;
    my $dir  = $self->_dir('downloads');
    opendir my $handle, $dir or croak "$dir: $!";
    my @names = grep { !/\A\./ } readdir $handle;
    closedir $handle;
    return if grep {/\.crdownload\z/} @names;
    return map     { { name => Encode::decode( 'UTF-8', $_ ), content => slurp("$dir/$_") } } sort @names;
}

sub came_of_it {
    my ( $self, $page ) = @_;
    my $end = time + 60;
    while ( time < $end ) {
        my ($download) = $self->downloads;
        return $download if $download;
        my @windows = $self->windows;
        my $shown   = eval {
            $self->_ask( POST => '/window', { handle => $windows[-1] } );
            $self->run('return document.readyState === "complete" ? location.href : ""');
        };
        return if $shown && $shown ne 'about:blank' && $shown ne $page;
        sleep 0.05;
    }
    croak "Nothing came of the click on $page";
}

=head2 screenshot $selector

A picture of the first element that fits, all of it, as PNG.

=cut

sub screenshot {
    my ( $self, $selector ) = @_;
    my $clip = $self->run( <<'END', $selector );
        document.documentElement.style.overflow = 'hidden'; // no bar, which would go while it is taken
        const box = document.querySelector( arguments[0] ).getBoundingClientRect();
        return { x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height, scale: 1 };
END
    my $wish = { cmd => 'Page.captureScreenshot', params => { clip => $clip, captureBeyondViewport => \1 } };
    return decode_base64( $self->_ask( POST => '/goog/cdp/execute', $wish )->{data} );
}

=head2 stop

Ends it.

=cut

sub stop {
    my $self = shift;
    eval { $self->_driver( DELETE => delete $self->{path} ) } if defined $self->{path};
    return $self->SUPER::stop;
}

sub _ask {
    my ( $self, $method, $path, $data ) = @_;
    return $self->_driver( $method, "$self->{path}$path", $data );
}

sub _driver {
    my ( $self, $method, $path, $data ) = @_;
    my $json   = JSON::PP->new->utf8->canonical->allow_nonref;
    my $answer = $self->{agent}->request(
        $method,
        "$self->{url}$path",
        {
            headers => { 'content-type' => 'application/json' },
            defined $data ? ( content => $json->encode($data) ) : (),
        }
    );
    my $value = eval { $json->decode( $answer->{content} )->{value} };
    return $value if $answer->{success};
    my $why = ref $value ? "$value->{error}: $value->{message}" : $answer->{content};
    croak "chromedriver, $method $path: $why";
}

1;
