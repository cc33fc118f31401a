#!/usr/bin/perl
# A server that closes the connection in the middle of an upload: no SIGPIPE may reach Perl, whose
# process it would kill, and the content is stored all the same.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use RT::ExternalStorage::AmazonS3::Native;
use Rts3::Test::S3Server;

$ENV{RTS3_LIBRARY} ||= "$FindBin::Bin/../target/release/librts3.so";
local $SIG{PIPE} = 'DEFAULT';

my $s3 = Rts3::Test::S3Server->start;
$s3->make_bucket('files');
for my $host ( $s3->http, $s3->https ) {
    my ( $native, $error ) = RT::ExternalStorage::AmazonS3::Native->open(
        Bucket          => 'files',
        Host            => $host,
        CAFile          => $host =~ /^https/ ? $s3->ca : undef,
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $s3->secret_key,
    );
    ok( $native, "$host: opened" ) or BAIL_OUT( $error->message );
    my $content = $host x 1_000_000;
    my $key     = sha256_hex($content);
    $s3->faults( { operation => 'PutObject', nth => [ 1, 2 ], do => { raw => '' } } );
    $s3->clear_log;
    my ( $stored, $failure ) = $native->store( $key, $content );
    ok( defined $stored, "$host: stored" ) or diag $failure->message;
    is( scalar $s3->requests( operation => 'PutObject' ), 3, "$host: at the third attempt" );
    ok( $s3->content( 'files', $key ) eq $content, "$host: whole" );
}

done_testing;
