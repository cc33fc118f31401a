#!/usr/bin/perl
# The C ABI, used by a program that knows nothing but the header.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Spec;
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::C qw(build_program run_program);
use Rts3::Test::S3Server;

my $root    = File::Spec->rel2abs("$FindBin::Bin/..");
my $library = $ENV{RTS3_LIBRARY} ||= "$root/target/release/librts3.so";
-e $library or BAIL_OUT("no $library: cargo build --release");

my $dir     = File::Temp->newdir;
my %program = map { ( $_ => build_program( $_, $dir ) ) } qw(abi misuse);
is( system( qw(g++ -Wall -Wextra -Werror -fsyntax-only -x c++), "$root/include/rts3.h" ), 0,
    'the header is C++ too' );

my $s3 = Rts3::Test::S3Server->start;
for my $server ( [ 'http', $s3->http, '' ], [ 'https', $s3->https, $s3->ca ] ) {
    my ( $scheme, $host, $ca ) = @$server;
    my @keys = ( $s3->access_key, $s3->secret_key );
    all_well( 120, "$scheme: every use, right or wrong", 'abi', $host, $ca, "files-$scheme", @keys );
    is_deeply(
        [ $s3->objects("files-$scheme") ],
        ['e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
        "$scheme: what is left in the bucket"
    );
    $s3->make_bucket("misuse-$scheme");
    $s3->faults(
        { operation => 'GetObject', key => sha256_hex( 'x' x 3_000_000 ), do => { length   => 'chunked' } },
        { operation => 'GetObject', key => sha256_hex( 'y' x 3_000_000 ), do => { delay_ms => 20 } },
    );
    all_well( 85, "$scheme: what is missing, and who closes", 'misuse', $host, $ca, "misuse-$scheme", @keys );
    $s3->faults;
}

# Runs a program that prints TAP, with so many tests at least.
sub all_well {
    my ( $least, $name, $program, @arguments ) = @_;
    my $run = run_program( {}, $program{$program}, @arguments );
    is( $run->{exit}, 0, "$name: exit status" );
    is_deeply( [ $run->{out} =~ /^((?:not ok|\#).*)/mg ], [], $name );
    my $tests = () = $run->{out} =~ /^ok/mg;
    cmp_ok( $tests, '>=', $least, "$name: all $tests tests ran" );
    return;
}

my @symbols = grep { !/ rts3_\w+$/ } split /\n/, qx(nm -D --defined-only '$library');
is_deeply( \@symbols, [], 'only rts3_ symbols are exported' );
like( qx(readelf -d '$library'), qr/NODELETE/, 'stays mapped when Perl is unloaded' );
unlike( qx(file -L '$library' 2>/dev/null || echo stripped), qr/not stripped/, 'is stripped' );

done_testing;
