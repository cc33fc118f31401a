#!/usr/bin/perl
# What a Store and a Get of 10 kB cost, in what does not depend on the machine: requests, connections, instructions.
use strict;
use warnings;

use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::C     qw(build_program run_program);
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs needs_library needs_s3);

use constant { FEW => 10, MANY => 60 };

# Thousands of instructions. 630 of them are SHA-256 of 10,000 bytes, once, without the processor's own instructions for it,
# which callgrind doesn't know.
my %MOST = ( rts3_store => 900, rts3_get => 880 );

needs( ( grep { -x "$_/valgrind" } split /:/, $ENV{PATH} ) ? undef : 'valgrind is not installed' );
$ENV{RTS3_LIBRARY} = needs_library->library_path;    ## no critic (RequireLocalizedPunctuationVars)
my $s3      = needs_s3;
my $dir     = File::Temp->newdir;
my $program = build_program( 'cost', $dir );
my @server  = ( $s3->http, 'cost', $s3->access_key, $s3->secret_key );
$s3->make_bucket('cost');

$s3->clear_log;
my $run = run_program( {}, $program, @server, FEW );
is( $run->{exit},                                     0,       'stored and read' ) or diag $run->{err};
is( scalar $s3->requests,                             2 * FEW, 'a request each' );
is( scalar $s3->requests( operation => 'PutObject' ), FEW,     '... to store' );
is( scalar $s3->requests( operation => 'GetObject' ), FEW,     '... to read' );
is( scalar $s3->connections,                          1,       'all over one connection' );

for my $function ( sort keys %MOST ) {
    my ( $few, $many ) = map { instructions( $function, $_ ) } FEW, MANY;
    my $each = ( $many - $few ) / ( MANY - FEW ) / 1000;
    cmp_ok( $each, '<', $MOST{$function}, sprintf '%s: %.0f thousand instructions', $function, $each );
}

done_testing;

# Those of all calls of a function, and of what it calls
sub instructions {
    my ( $function, $number ) = @_;
    my $bucket = "cost-$function-$number" =~ tr/_/-/r;
    $s3->make_bucket($bucket);
    my $out  = "$dir/$bucket";
    my @with = ( '--tool=callgrind', "--toggle-collect=$function", "--callgrind-out-file=$out" );
    my $run  = run_program( {}, 'valgrind', @with, $program, $server[0], $bucket, @server[ 2, 3 ], $number );
    die $run->{err} if $run->{exit};
    return slurp($out) =~ /^(?:summary|totals): (\d+)/m ? $1 : die "nothing was counted: $run->{err}";
}
