#!/usr/bin/perl
# HTTP/2 is never spoken, though hyper brings the crate h2 along: it is not offered, not asked for, and not taken up where a
# server offers it. curl, which does speak it, shows each time that it would have been seen.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use IO::Socket::INET;
use POSIX  ();
use Socket qw(MSG_PEEK);
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs needs_library);
use Rts3::Test::Process;
use Rts3::Test::Proxy;

my ( $SERVER_NAME, $ALPN, $NPN ) = ( 0, 16, 13_172 );    # extensions of TLS

my $native = needs_library;
needs('no IO::Socket::SSL with ALPN')
    if !eval { require IO::Socket::SSL; require IO::Socket::SSL::Utils; IO::Socket::SSL->can_alpn };
needs('no curl') if !grep { -x "$_/curl" } split /:/, $ENV{PATH};
delete local @ENV{ grep {/_proxy$/i} keys %ENV };

my $dir = File::Temp->newdir;
my $key = sha256_hex('');
my ( $certificate, $private ) = IO::Socket::SSL::Utils::CERT_create(
    purpose         => 'server',
    subject         => { commonName => 'localhost' },
    subjectAltNames => [ [ DNS => 'localhost' ] ],
);
IO::Socket::SSL::Utils::PEM_cert2file( $certificate, "$dir/certificate.pem" );
IO::Socket::SSL::Utils::PEM_key2file( $private, "$dir/key.pem" );

# ---- the ClientHello of TLS

for my $who ( 'the library', 'the library through a proxy', 'curl' ) {
    my $proxy  = $who =~ /proxy/ ? Rts3::Test::Proxy->start : undef;
    my $server = server(
        sub {
            my ( $client, $note ) = @_;
            my $record = '';
            while ( length $record < 5 || length $record < 5 + unpack 'x3 n', $record ) {
                $client->sysread( $record, 20_000, length $record ) or last;
            }
            $note->($record);
        }
    );
    if ( $who eq 'curl' ) { curl( 'https', $server ) }
    else                  { ask( 'https', $server, $proxy ? ( Proxy => 'http://' . $proxy->address ) : () ) }
    my %extension = map { $_ => 1 } extensions( ( heard($server) )[0] );
    ok( $extension{$SERVER_NAME}, "$who: the ClientHello names the server" );
    is( $extension{$_}, $who eq 'curl' && $_ == $ALPN ? 1 : undef, "... extension $_" ) for $ALPN, $NPN;
    ok( scalar( $proxy->asked ), '... through a tunnel' ) if $proxy;
}

my $symbols = qx(nm -D --undefined-only '@{[ $native->library_path ]}');
like( $symbols, qr/ SSL_connect\b/, "the library calls OpenSSL's functions" );
unlike( $symbols, qr/alpn|next_proto/, '... and not those for ALPN' );

# ---- servers that offer it

# What a server of HTTP/2 says first, and what it says to who would like to go over to it
my $settings = "\0\0\0\4\0\0\0\0\0";
my %answers  = (
    'settings'   => $settings,
    'an upgrade' => "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n$settings",
    'an offer'   => "HTTP/1.1 503 Busy\r\nUpgrade: h2c\r\nAlt-Svc: h2=\":443\"\r\nContent-Length: 0\r\n\r\n",
);
for my $scheme (qw(https http)) {
    for my $answer ( sort keys %answers ) {
        my $server = server( sub { converse( @_, $scheme, $answers{$answer} ) } );
        my $error  = ask( $scheme, $server );
        my $heard  = join "\n", heard($server);
        like( $heard, qr{^GET /files/$key HTTP/1[.]1\r$}m, "$scheme, $answer: asked in HTTP/1.1" );
        unlike( $heard, qr/^ALPN: \S/m,                     '... which was not negotiated' );
        unlike( $heard, qr/^(?:upgrade|http2-settings):/mi, '... without a wish for another version' );
        unlike( $heard, qr/PRI [*]/,                        '... and without a word in it' );
        like( $error->name, qr/^(?:network|server)$/, '... and the answer is an error: ' . $error->message );
    }
    my $server = server( sub { converse( @_, $scheme, $answers{'an upgrade'} ) } );
    curl( $scheme, $server );
    my $heard = join "\n", heard($server);
    like( $heard, $scheme eq 'https' ? qr/^ALPN: h2$/m : qr/^Upgrade: h2c\r$/m, "$scheme: curl wishes for it" );
    like( $heard, qr/PRI [*] HTTP\/2/,                                          '... and speaks it' );
}

done_testing;

sub ask {
    my ( $scheme, $server, %options ) = @_;
    my ( $handle, $mistake ) = $native->open(
        Bucket          => 'files',
        AccessKeyId     => 'key',
        SecretAccessKey => 'secret',
        Host            => "$scheme://localhost:$server->{port}",
        CAFile          => "$dir/certificate.pem",
        Retries         => 0,
        %options
    );
    die $mistake if !$handle;
    my ( $got, $error ) = $handle->get( $key, deadline => 5_000 );
    return $error;
}

sub curl {
    my ( $scheme, $server ) = @_;
    my @command = ( qw(curl --silent --http2 --max-time 1 --cacert), "$dir/certificate.pem" );
    return Rts3::Test::Process::run( command => [ @command, "$scheme://localhost:$server->{port}/" ] );
}

# The numbers of the extensions in a ClientHello
sub extensions {
    my ($bytes) = @_;
    my ( $record, $handshake, @fields ) = unpack 'C x4 C x3 x2 x32 C/a n/a C/a n/a', $bytes;
    return if $record != 22 || $handshake != 1;
    my @extensions = unpack '(n n/a)*', $fields[-1];
    return @extensions[ grep { $_ % 2 == 0 } 0 .. $#extensions ];
}

# Converses with one client after the other; $talk gets the client, and what notes down what was heard from it
sub server {
    my ($talk)   = @_;
    my $listener = IO::Socket::INET->new( Listen => 5, LocalAddr => '127.0.0.1' ) or die "no socket: $!";
    my $server   = { port => $listener->sockport };
    $server->{pid} = fork // die "fork: $!";
    return $server if $server->{pid};
    alarm 60;
    local $SIG{PIPE} = 'IGNORE';
    my $count = 0;

    while ( my $client = $listener->accept ) {
        $client->recv( my $first, 4, MSG_PEEK );
        last if $first eq 'quit';
        my $file = sprintf '%s/%d-%03d', $dir, $server->{port}, $count++;
        $talk->( $client, sub { spew( $file, @_ ) } );
    }
    POSIX::_exit(0);
}

# What it has heard, by conversation; this ends it
sub heard {
    my ($server) = @_;
    my $last = IO::Socket::INET->new( PeerAddr => '127.0.0.1', PeerPort => $server->{port} ) or die "no server: $!";
    $last->syswrite('quit');
    waitpid $server->{pid}, 0;
    return map { slurp($_) } sort glob "$dir/$server->{port}-*";
}

sub converse {
    my ( $client, $note, $scheme, $answer ) = @_;
    my $heard = '';
    if ( $scheme eq 'https' ) {
        IO::Socket::SSL->start_SSL(
            $client,
            SSL_server         => 1,
            SSL_cert_file      => "$dir/certificate.pem",
            SSL_key_file       => "$dir/key.pem",
            SSL_alpn_protocols => [ 'h2', 'http/1.1' ],
        ) or return;
        $heard = 'ALPN: ' . ( $client->alpn_selected // '' ) . "\n";
    }
    while ( $heard !~ /\r\n\r\n/ ) {
        $client->sysread( $heard, 20_000, length $heard ) or last;
    }
    $client->syswrite($answer);
    1 while $client->sysread( $heard, 20_000, length $heard );
    return $note->($heard);
}
