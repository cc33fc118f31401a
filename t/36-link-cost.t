#!/usr/bin/perl
# What a presigned link costs in the library: processor time, so that a busy machine does not count.

use strict;
use warnings;

use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::C qw(build_program run_program);

my $most = 10_000;                                              # nanoseconds
my $dir  = File::Temp->newdir;
my $run  = run_program( {}, build_program( 'links', $dir ) );
is( $run->{exit}, 0, 'links are made' ) or diag( $run->{err} );
my ($least) = $run->{out} =~ /\A(\d+)\n\z/;
cmp_ok( $least, '<', $most, "each takes less than $most ns of processor time" );
note("$least ns");

done_testing;
