#!/usr/bin/perl
# Half a minute of what xt/20-soak.t does for ten: processes that store, read and delete, a server in trouble, and kills.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_library needs_s3);
use Rts3::Test::Soak;

needs_library;
my $s3 = needs_s3;
Rts3::Test::Soak->run(
    $s3,
    seconds    => 30,
    processes  => 4,
    kill_every => 3,
    warm_up    => 10,
    chance     => 0.15
)->check;

done_testing;
