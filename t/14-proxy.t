#!/usr/bin/perl
# Through an HTTP proxy that forwards: tunnels for https, whole URLs for http.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64);
use POSIX        ();
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Needs qw(needs_library needs_s3);
use Rts3::Test::Proxy ();

delete @ENV{ grep {/_proxy$/i} keys %ENV };
my $native = needs_library;
my $s3     = needs_s3;
$s3->make_bucket('files');

my $content = 'through a proxy ' x 20_000;
my $key     = sha256_hex($content);

# A proxy in a child: every request line it gets goes through the pipe
my $listener = IO::Socket::INET->new( Listen => 5, LocalAddr => '127.0.0.1' ) or die "no socket: $!";
my $proxy    = '127.0.0.1:' . $listener->sockport;
pipe my $read, my $write or die "no pipe: $!";
my $parent = $$;
my $child  = fork // die "no fork: $!";
if ( !$child ) {
    alarm 60;    # ends with the test, however that ends
    $write->autoflush(1);
    while ( my $client = $listener->accept ) {
        next if fork;
        forward($client);
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}
close $write;

END {
    if ( $child && $$ == $parent ) {
        kill TERM => $child;
        local $?;
        waitpid $child, 0;
    }
}

sub forward {
    my ($client) = @_;
    my $head = '';
    sysread $client, $head, 1, length $head or return while $head !~ /\r\n\r\n\z/;
    my ($line) = $head =~ /\A([^\r]*)/;
    my ($user) = $head =~ /^Proxy-Authorization: (\S+ \S+)/mi;
    print {$write} "$line\t" . ( $user // '' ) . "\n";
    my ( $method, $server ) = $line =~ m{^(\w+) (?:http://)?([^/ ]+)} or return;
    my $upstream = IO::Socket::INET->new($server) or return;

    if ( $method eq 'CONNECT' ) {
        syswrite $client, "HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n";
    }
    else {
        syswrite $upstream, $head =~ s{ http://[^/ ]+}{ }r;
    }
    return Rts3::Test::Proxy::relay( $client, $upstream );
}

sub round_trip {
    my ( $host,   %options ) = @_;
    my ( $handle, $error )   = $native->open(
        Bucket          => 'files',
        Host            => $host,
        CAFile          => $host =~ /^https/ ? $s3->ca : undef,
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $s3->secret_key,
        Retries         => 0,
        %options,
    );
    return $error->message if !$handle;
    for my $call ( sub { $handle->store( $key, $content ) }, sub { $handle->get($key) },
        sub { $handle->delete($key) } )
    {
        ( my $value, $error ) = $call->();
        return $error->message if !defined $value;
        return 'other bytes'   if length $value > 64 && $value ne $content;
    }
    return 'well';
}

# What the proxy was asked, as (line, user)
sub asked {
    return map { [ split /\t/, s/\n\z//r, 2 ] } map { my $line = <$read>; $line } 1 .. shift;
}

my $basic = 'Basic ' . encode_base64( 'me:hunter@2', '' );
is( round_trip( $s3->https, Proxy => "http://me:hunter%402\@$proxy" ), 'well', 'https, as the option says' );
is_deeply( [ asked(1) ], [ [ 'CONNECT ' . $s3->https_host . ' HTTP/1.1', $basic ] ], '... through one tunnel' );

is( round_trip( $s3->http, Proxy => $proxy ), 'well', 'http' );
my ($first) = asked(1);
is_deeply( $first, [ 'PUT ' . $s3->http . "/files/$key HTTP/1.1", '' ], '... the whole URL' );

{
    local $ENV{https_proxy} = "http://$proxy/";
    is( round_trip( $s3->https, Deadline => 20 ), 'well',               'https, as the environment says' );
    is( ( asked(1) )[0][0], 'CONNECT ' . $s3->https_host . ' HTTP/1.1', '... through a tunnel' );
}
{
    local $ENV{https_proxy} = 'http://127.0.0.1:1';
    like( round_trip( $s3->https, Deadline => 21 ), qr/can't connect to the proxy 127\.0\.0\.1:1/, 'no proxy there' );
    is( round_trip( $s3->https, Deadline => 22, Proxy => 'none' ), 'well', '... but the option says none' );
    local $ENV{no_proxy} = 'example.org, localhost';
    is( round_trip( $s3->https, Deadline => 23 ), 'well', '... but this server is an exception' );
}

done_testing;
