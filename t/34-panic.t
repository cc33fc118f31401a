#!/usr/bin/perl
# A panic inside the library, which only a debug build can be asked for: an error for the caller, and the next call works.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Needs qw(needs needs_library needs_s3);

# `cargo test` has built it; set for the handle below only
my $debug = "$FindBin::Bin/../target/debug/deps/librts3.so";
needs( -e $debug ? '' : "$debug is not there: cargo test builds it" );
local $ENV{RTS3_LIBRARY} = $debug;
my $class = needs_library;
is( $class->library_path, $debug, 'the debug build' );

my $s3 = needs_s3;
$s3->make_bucket('files');
my ($native) = $class->open(
    Bucket          => 'files',
    Host            => $s3->https,
    CAFile          => $s3->ca,
    AccessKeyId     => $s3->access_key,
    SecretAccessKey => 'rts3-test/secret+key',
);
my $content = 'content ' x 1000;
my $key     = sha256_hex($content);
is( scalar $native->store( $key, $content ), $key, 'stored' );

# What a panic prints goes to standard error
open my $stderr, q{>&}, \*STDERR or die "dup: $!";    ## no critic (InputOutput::RequireBriefOpen)
for my $round ( 1, 2 ) {
    my @calls = (
        [ store         => $key, $content ],
        [ get           => $key ],
        [ head          => $key ],
        [ delete        => $key ],
        [ create_bucket => () ],
        [ probe         => () ],
    );
    for my $call (@calls) {
        my ( $method, @arguments ) = @$call;
        my ( $value,  $error )     = do {
            local $ENV{RTS3_TEST_PANIC} = 1;
            open STDERR, '>', '/dev/null' or die "/dev/null: $!";
            my @result = $native->$method(@arguments);
            open STDERR, '>&', $stderr or die "dup: $!";
            @result;
        };
        is( $value,       undef,      "$method panics: no value" );
        is( $error->name, 'internal', '... but an error' );
        like( "$error", qr/a mistake in librts3, please report it: RTS3_TEST_PANIC asks for it/, '... that says so' );
        ok( $native->get($key) eq $content, '... and the next call works' );
    }
}
ok( $s3->content( 'files', $key ) eq $content, 'the object is as it was' );

done_testing;
