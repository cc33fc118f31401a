#!/usr/bin/perl
# Garage, a real S3 server: RT's script against it, and what it does otherwise than Amazon. Built on the first run.
use strict;
use warnings;
use utf8;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Garage;
use Rts3::Test::Needs       qw(needs);
use Rts3::Test::ServerFacts qw(as_documented facts);
use Rts3::Test::ServerLinks qw(links_work);
use Rts3::Test::WholePath   qw(whole_path);

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

if ( $ENV{RTS3_TEST_ALL} && Rts3::Test::Garage->missing ) {
    diag 'Building Garage, once: some minutes';
    Rts3::Test::Garage->build;
}
needs( Rts3::Test::Garage->missing );
my $garage = Rts3::Test::Garage->start;

subtest "RT's script"  => sub { whole_path($garage) };
subtest 'direct links' => sub { links_work($garage) };
subtest 'what the documentation says of it' =>
    sub { as_documented( 'Garage ' . $garage->version, facts( $garage->client ) ) };

done_testing;
