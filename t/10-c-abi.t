#!/usr/bin/perl
# The C ABI, used by a program that knows nothing but the header.

use strict;
use warnings;

use File::Spec;
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::S3Server;

my $root    = File::Spec->rel2abs("$FindBin::Bin/..");
my $library = $ENV{RTS3_LIBRARY} || "$root/target/release/librts3.so";
-e $library or BAIL_OUT("no $library: cargo build --release");

my $dir     = File::Temp->newdir;
my $program = "$dir/abi";
my @compile = (
    'gcc', qw(-std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -pthread),
    "-I$root/include", '-o', $program, "$root/t/c/abi.c", $library
);
is( system(@compile), 0, 'compiles without a warning' ) or BAIL_OUT('no C program');
is( system( qw(g++ -Wall -Wextra -Werror -fsyntax-only -x c++), "$root/include/rts3.h" ), 0,
    'the header is C++ too' );

my $s3 = Rts3::Test::S3Server->start;
for my $server ( [ 'http', $s3->http, '' ], [ 'https', $s3->https, $s3->ca ] ) {
    my ( $scheme, $host, $ca ) = @$server;
    my @arguments = ( $host, $ca, "files-$scheme", $s3->access_key, $s3->secret_key );
    open my $out, '-|', $program, @arguments or die "$program: $!";
    my @lines = <$out>;
    close $out;
    is( $?, 0, "$scheme: exit status" );
    my @not_ok = grep {/^(?:not ok|#)/} @lines;
    is_deeply( \@not_ok, [], "$scheme: every use, right or wrong" );
    cmp_ok( scalar( grep {/^ok/} @lines ), '>', 100, "$scheme: all tests ran" );
    is_deeply(
        [ $s3->objects("files-$scheme") ],
        ['e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
        "$scheme: what is left in the bucket"
    );
}

my @symbols = grep { !/ rts3_\w+$/ } split /\n/, qx(nm -D --defined-only '$library');
is_deeply( \@symbols, [], 'only rts3_ symbols are exported' );
like( qx(readelf -d '$library'), qr/NODELETE/, 'stays mapped when Perl is unloaded' );
unlike( qx(file -L '$library' 2>/dev/null || echo stripped), qr/not stripped/, 'is stripped' );

done_testing;
