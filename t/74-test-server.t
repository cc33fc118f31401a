#!/usr/bin/perl
# The S3 server of the tests beside the real ones: where it is like them, and where not, stands in the same table.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs needs_s3);
use Rts3::Test::OwnBackend;
use Rts3::Test::S3Client;
use Rts3::Test::ServerFacts qw(as_documented facts);

needs( Rts3::Test::OwnBackend::missing() );
my $s3     = needs_s3;
my $client = Rts3::Test::S3Client->new(
    url        => $s3->http,
    access_key => $s3->access_key,
    secret_key => $s3->secret_key,
    region     => 'us-east-1'
);
as_documented( 't/s3server', facts($client) );
done_testing;
