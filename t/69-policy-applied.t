#!/usr/bin/perl
# rt-s3 policy: what it prints is just what is needed, on a server that looks at rights.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Moto;
use Rts3::Test::MotoRights;
use Rts3::Test::Needs qw(needs needs_library needs_rt);

needs_library;
needs( Rts3::Test::Moto->missing );

my $moto    = Rts3::Test::Moto->start;
my $user    = Rts3::Test::MotoRights->new($moto);
my %storage = ( $moto->options, Bucket => 'files', $user->keys, Retries => 0 );
my $client  = $moto->client->with( access_key => $storage{AccessKeyId}, secret_key => $storage{SecretAccessKey} );
my $rt      = needs_rt( storage => \%storage );
my $policy  = policy();
my $count   = 0;

sub policy {
    my (@options) = @_;
    my ( $exit, $out, $err ) = $rt->run_tool( 'policy', '--quiet', @options );
    is( "$exit$err", '0', "policy @options" );
    return $out;
}

sub new_file {
    my $ticket = $rt->create_ticket( attachments => [ { name => 'file.bin', content => 'content ' . ++$count } ] );
    my ($attachment) = grep { ( $_->{name} // '' ) eq 'file.bin' } @{ $ticket->{attachments} };
    return $attachment->{id};
}

sub externalize { return $rt->run_tool(qw(externalize --quiet)) }

sub bytes_of {
    my ($id) = @_;
    return $rt->perl( 'print Rts3::Test::RT::Inside::attachment(shift)->{bytes}', $id );
}

subtest 'with it all works' => sub {
    my $id = new_file();
    my ( $exit, $out, $err ) = externalize();
    is( $exit, 2, 'without any right nothing does' );
    $user->may( $policy, ['s3:CreateBucket'] );
    ( $exit, $out, $err ) = externalize();
    is( $exit, 2, 'without s3:CreateBucket there is no bucket' );
    like( $err, qr/: CreateBucket bucket files at \S+: AccessDenied/, '... which is denied' );
    $user->may($policy);
    ( $exit, $out, $err ) = externalize();
    is( "$exit$out$err",      '0',         'externalize makes it and moves a file' );
    is( ( bytes_of($id) )[1], 'content 1', '... which RT reads' );
    ( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep --orphans --quiet));
    is( "$exit$out$err", '0', '... and verify finds' );
    externalize();
    unlike( $client->request( GET => '/files?uploads=' )->content, qr/<Upload>/, '... and no upload is left' );
    ( $exit, $out, $err ) = $rt->run_tool('check');
    my @lines = grep {/denied|may not/i} split /\n/, $out . $err;
    is( scalar( grep { !/^warning  delete: / } @lines ), 0, 'check lacks no right' ) or diag "$out$err";
    ok( scalar(@lines), '... but that to delete' );
    $user->may( policy('--delete') );
    ( undef, $out, $err ) = $rt->run_tool('check');
    unlike( $out . $err, qr/denied|may not/i, '... which --delete gives' );
};

subtest 'without one of them something does not' => sub {
    my $id = new_file();
    $user->may( $policy, ['s3:PutObject'] );
    my ( $exit, $out, $err ) = externalize();
    is( $exit, 2, 's3:PutObject' );
    like( $err, qr/AccessDenied/, '... nothing is moved' );
    $user->may( $policy, ['s3:GetObject'] );
    externalize();
    ( $exit, $out, $err ) = bytes_of($id);
    isnt( $exit, 0, 's3:GetObject' );
    like( $err, qr/AccessDenied/, '... nothing is read' );
    $user->may( $policy, ['s3:ListBucket'] );
    ( $exit, $out, $err ) = $rt->run_tool(qw(verify --quiet));
    is( $exit, 2, 's3:ListBucket' );
    like( $err, qr/the bucket can't be listed: .*AccessDenied/, '... nothing is listed' );
    $user->may( $policy, ['s3:AbortMultipartUpload'] );
    externalize();
    $user->may($policy);
    like( $client->request( GET => '/files?uploads=' )->content,
        qr/<Upload>/, 's3:AbortMultipartUpload: an upload is left' );
    $user->may( policy('--read-only') );
    ( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep --quiet));
    is( "$exit$out$err", '0', '--read-only: verify works' );
    new_file();
    is( ( externalize() )[0], 2, '... and externalize does not' );
};

subtest 'public, applied' => sub {
    my $public = policy('--public');
    my $path   = '/files/' . sha256_hex('content 1');
    my %none   = ( unsigned => 1 );
    $client = $moto->client;
    $user->all_may;
    is( $client->answer( GET => $path, %none ), '403', 'nobody reads an object without a key' );
    like( $client->answer( PUT => '/files?policy=', content => $public ), qr/^2/, 'the policy is taken as it is' );
    my $answer = $client->request( GET => $path, %none );
    is( $answer->code . ' ' . $answer->content, '200 content 1', '... and then everybody does' );
};

done_testing;
