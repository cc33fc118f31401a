#!/usr/bin/perl
# Eight processes store, read and delete for ten minutes, with a server in trouble; every ten seconds one is killed.
# RTS3_SECONDS: how long; RTS3_WRITE_DOCS=1: rewrite docs/soak.md, if all is well.
use strict;
use warnings;

use FindBin;
use POSIX qw(strftime);
use Test::More;

use lib "$FindBin::Bin/../t/lib";
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_library needs_s3);
use Rts3::Test::Soak;
use Rts3::Test::Soak::Report qw(page tables);

my $native = needs_library;
my $s3     = needs_s3;

# So that the server and the processes end
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my $seconds = $ENV{RTS3_SECONDS} || 600;
my $soak    = Rts3::Test::Soak->run(
    $s3,
    seconds    => $seconds,
    processes  => 8,
    kill_every => 10,
    warm_up    => $seconds > 120 ? 60 : $seconds / 3,
);
$soak->check;

diag $_ for '', split /\n/, tables($soak);
if ( $ENV{RTS3_WRITE_DOCS} && Test::More->builder->is_passing ) {
    my %run = ( date => strftime( '%Y-%m-%d', gmtime ), library => ( $native->version )[0] );
    spew( "$FindBin::Bin/../docs/soak.md", page( $soak, %run ) );
}
done_testing;
