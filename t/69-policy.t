#!/usr/bin/perl
# rt-s3 policy: what it prints, and that it is just what is needed, on a server that looks at rights.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File qw(slurp);
use Rts3::Test::Moto;
use Rts3::Test::MotoRights;
use Rts3::Test::Needs qw(needs needs_library needs_rt);

needs_library;
needs( Rts3::Test::Moto->missing );

# No keys, and nobody there
my %nobody = ( Type => 'AmazonS3', Bucket => 'files', Host => 'http://127.0.0.1:1' );
my $rt     = needs_rt( storage => \%nobody );

sub policy {
    my (@options) = @_;
    my ( $exit, $out, $err ) = $rt->run_tool( 'policy', @options );
    is( $exit, 0, "policy @options" ) or diag $err;
    my $policy = JSON::PP::decode_json($out);
    return ( { map { $_->{Sid} => $_ } @{ $policy->{Statement} } }, $out, $err, $policy );
}

subtest 'what is printed' => sub {
    my ( $by, $out, $err, $policy ) = policy();
    is( $policy->{Version}, '2012-10-17', 'the language' );
    is_deeply(
        [ sort keys %{$by} ],
        [qw(InspectBucket ListBucket MakeBucket ReadAndWriteObjects)],
        'one statement for each right'
    );
    is_deeply(
        $by->{ReadAndWriteObjects},
        {
            Sid      => 'ReadAndWriteObjects',
            Effect   => 'Allow',
            Action   => [qw(s3:AbortMultipartUpload s3:GetObject s3:PutObject)],
            Resource => 'arn:aws:s3:::files/*',
        },
        '... to objects'
    );
    is( $by->{$_}{Resource}, 'arn:aws:s3:::files', "... $_" ) for qw(ListBucket MakeBucket InspectBucket);
    like( $out, qr/\A\{\n    "Version": .*"Sid": .*"Effect": .*"Action": /s, 'in the order of the examples' );
    like( $err, qr/^s3:DeleteObject is left out: /,                          'it says what is left out' );
    ( undef, $out, $err ) = policy(qw(--quiet --json));
    is( $err,            '', '--quiet' );
    is( $out =~ tr/\n//, 1,  '--json: one line' );

    ( $by, undef, $err ) = policy('--delete');
    is( $by->{DeleteObjects}{Action}, 's3:DeleteObject', '--delete' );
    is( $err,                         '',                '... and nothing is left out' );
    ($by) = policy('--read-only');
    is_deeply( [ map { $_->{Action} } @{$by}{ sort keys %{$by} } ], [qw(s3:ListBucket s3:GetObject)], '--read-only' );

    $rt->set_storage( %nobody, Prefix => 'rt*/a$', Region => 'cn-north-1', CreateBucket => 0 );
    ($by) = policy();
    is(
        $by->{ReadAndWriteObjects}{Resource},
        'arn:aws-cn:s3:::files/rt${*}/a${$}*',
        'China, and a prefix with signs in it'
    );
    is_deeply(
        $by->{ListBucket}{Condition},
        { StringLikeIfExists => { 's3:prefix' => 'rt${*}/a${$}*' } },
        '... which bounds the list'
    );
    ok( !$by->{MakeBucket}, 'CreateBucket => 0' );
    my %kms = ( %nobody, Host => 's3.us-gov-west-1.amazonaws.com', ServerSideEncryption => 'aws:kms' );

    for my $key (
        [ 'arn:aws-us-gov:kms:us-gov-west-1:1:key/a', 'arn:aws-us-gov:kms:us-gov-west-1:1:key/a' ],
        [ 'a-b',                                      'arn:aws-us-gov:kms:us-gov-west-1:*:key/a-b' ],
        [ 'alias/c',                                  'arn:aws-us-gov:kms:us-gov-west-1:*:key/*', 'alias/c' ],
        )
    {
        $rt->set_storage( %kms, SSEKMSKeyId => $key->[0] );
        ($by) = policy('--quiet');
        is( $by->{UseEncryptionKey}{Resource}, $key->[1], "the key $key->[0], in the region of the Host" );
        is( $by->{UseEncryptionKey}{Condition}{'ForAnyValue:StringEquals'}{'kms:ResourceAliases'},
            $key->[2], '... its alias' );
    }
};

subtest 'public' => sub {
    $rt->set_storage(%nobody);
    my ( undef, $out, $err, $policy ) = policy('--public');
    my $manual = {
        Version   => '2008-10-17',
        Statement => [
            {
                Sid       => 'AllowPublicRead',
                Effect    => 'Allow',
                Principal => { AWS => '*' },
                Action    => 's3:GetObject',
                Resource  => 'arn:aws:s3:::files/*',
            }
        ],
    };
    is_deeply( $policy, $manual, q{that of RT's manual} );
    like( $err, qr/^Beware: with this policy everybody can read all files/, '... with its warning' );
    $rt->set_storage( %nobody, Prefix => 'rt/' );
    ( undef, undef, undef, $policy ) = policy('--public');
    is( $policy->{Statement}[0]{Resource}, 'arn:aws:s3:::files/rt/*', 'with a prefix' );
};

subtest 'wrong use' => sub {
    my ( $exit, $out, $err ) = $rt->run_tool(qw(policy --public --delete));
    is( "$exit$out", '64', '--public and --delete' );
    like( $err, qr/--public and --delete don't go together/, '... is said' );
    $rt->set_storage( Type => 'AmazonS3' );
    ( $exit, $out, $err ) = $rt->run_tool('policy');
    is( "$exit$out", '2', 'no bucket' );
    like( $err, qr/Bucket/, '... is said' );
};

my $moto    = Rts3::Test::Moto->start;
my $user    = Rts3::Test::MotoRights->new($moto);
my %storage = ( $moto->options, Bucket => 'files', $user->keys, Retries => 0 );
my $client  = $moto->client->with( access_key => $storage{AccessKeyId}, secret_key => $storage{SecretAccessKey} );
$rt->set_storage(%storage);
my $policy = ( policy('--quiet') )[1];
my $count  = 0;

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
    unlike( $client->request( GET => '/files?uploads=' )->content, qr/<Upload>/, '... and no upload is left' );
    ( $exit, $out, $err ) = $rt->run_tool('check');
    my @lines = grep {/denied|may not/i} split /\n/, $out . $err;
    is( scalar( grep { !/problem  delete: / } @lines ), 0, 'check lacks no right' ) or diag "$out$err";
    ok( scalar(@lines), '... but that to delete' );
    $user->may( ( policy('--delete') )[1] );
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
    $user->may( ( policy('--read-only') )[1] );
    ( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep --quiet));
    is( "$exit$out$err", '0', '--read-only: verify works' );
    new_file();
    is( ( externalize() )[0], 2, '... and externalize does not' );
};

subtest 'public, applied' => sub {
    my ( undef, $public ) = policy(qw(--public --quiet));
    my $path = '/files/' . sha256_hex('content 1');
    my %none = ( unsigned => 1 );
    $client = $moto->client;
    $user->all_may;
    is( $client->answer( GET => $path, %none ), '403', 'nobody reads an object without a key' );
    like( $client->answer( PUT => '/files?policy=', content => $public ), qr/^2/, 'the policy is taken as it is' );
    my $answer = $client->request( GET => $path, %none );
    is( $answer->code . ' ' . $answer->content, '200 content 1', '... and then everybody does' );
};

done_testing;
