#!/usr/bin/perl
# A server that sends an answer's head and body one after the other, with Nagle's algorithm, holds back the body until the
# head is acknowledged, which Linux delays by 40 ms. No exchange may wait for that.
use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use RT::ExternalStorage::AmazonS3::Native;
use Rts3::Test::Needs qw(needs_library);
use Rts3::Test::S3Server;

use constant { NATIVE => 'RT::ExternalStorage::AmazonS3::Native', TIMES => 60, STALL => 0.038 };

# Calls of a round that may take as long for another reason, and rounds, for a machine may be busy
use constant { SOME => 5, ROUNDS => 3 };

needs_library;
my $s3 = Rts3::Test::S3Server->start( nagle => 1 );
$s3->make_bucket('stall');
my $content = join '', map { chr $_ % 251 } 1 .. 10_000;
my $key     = NATIVE->sha256($content);
my %common  = ( Bucket => 'stall', $s3->options, Region => 'us-east-1', DirectLink => 'presigned' );

for my $host ( $s3->http, $s3->https ) {
    my ($native) = NATIVE->open( %common, Host => $host, CAFile => $s3->ca );
    my ($scheme) = $host =~ /\A(\w+)/;
    $native->store( $key, $content );
    my %call = (
        Store => sub { $native->store( NATIVE->sha256( $content . $_[0] ), $content . $_[0] ) },
        Get   => sub { $native->get($key) },
        HEAD  => sub { $native->head($key) },
    );
    for my $name ( sort keys %call ) {
        my @stalls = rounds( $call{$name} );
        cmp_ok( $stalls[0], '<=', SOME, "$name over $scheme" ) or diag "@stalls";
    }
}

# Whoever does nothing about it
my ($native) = NATIVE->open( %common, Host => $s3->http );
my ( $address, $path ) = scalar( $native->direct_url($key) ) =~ m{\Ahttp://([^/]+)(/.*)};
my $socket = IO::Socket::INET->new( PeerAddr => $address, Blocking => 1 ) or die "$address: $@";
my $plain  = sub {
    syswrite $socket, "GET $path HTTP/1.1\r\nHost: $address\r\n\r\n" or die $!;
    my $answer = '';
    sysread $socket, $answer, 65_536, length $answer or die $! while $answer !~ /\r\n\r\n.{10000}\z/s;
    return 1;
};
my @stalls = rounds($plain);
cmp_ok( $stalls[-1], '>', SOME, 'a plain socket stalls' ) or diag "@stalls";

done_testing;

# Stalls of each round, the fewest first
sub rounds {
    my ($call) = @_;
    my @stalls = sort { $a <=> $b } map { stalls($call) } 1 .. ROUNDS;
    return @stalls;
}

# How many of the calls took as long as a stall
sub stalls {
    my ($call) = @_;
    my $stalls = 0;
    for my $number ( 1 .. TIMES ) {
        my $start = clock_gettime(CLOCK_MONOTONIC);
        my ( $ok, $error ) = $call->($number);
        my $took = clock_gettime(CLOCK_MONOTONIC) - $start;
        $stalls += $took > STALL;
        die $error->message if !$ok;
    }
    return $stalls;
}
