#!/usr/bin/perl
# moto's S3 server: RT's script against it, and what it does otherwise than Amazon. Installed on the first run.
use strict;
use warnings;
use utf8;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Moto;
use Rts3::Test::Needs       qw(needs);
use Rts3::Test::ServerFacts qw(as_documented facts);
use Rts3::Test::ServerLinks qw(links_work);
use Rts3::Test::WholePath   qw(whole_path);

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

needs( Rts3::Test::Moto->missing );
my $moto = Rts3::Test::Moto->start;

subtest "RT's script"  => sub { whole_path($moto) };
subtest 'direct links' => sub { links_work($moto) };
subtest 'what the documentation says of it' =>
    sub { as_documented( 'moto ' . $moto->version, facts( $moto->client ) ) };

done_testing;
