#!/usr/bin/perl
# rt-s3 policy: what it prints, with neither keys nor a server.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Migrate qw(storage_file);
use Rts3::Test::Needs   qw(needs_library needs_rt);
use Rts3::Test::Process ();

needs_library;

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
    my $run = Rts3::Test::Process::run(
        command => [ 'sh', '-c', 'exec "$@" >/dev/full', 'sh', $rt->tool(qw(policy --quiet)) ],
        env     => { $rt->environment }
    );
    is( $run->{exit}, 2, 'where it cannot be written: exit status' );
    like( $run->{err}, qr/^rt-s3 policy: .*No space left/, '... and why' );

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
    $rt->set_storage( %nobody, Region => 'us-isof-south-1' );
    ($by) = policy('--quiet');
    is( $by->{ListBucket}{Resource}, 'arn:aws-iso-f:s3:::files', 'another partition' );
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

subtest 'for a file' => sub {
    $rt->set_storage( Type => 'Disk', Path => $rt->dir );
    my ($by) = policy( '--quiet', '--file', storage_file( $rt, 'new.pm', %nobody, Bucket => 'new' ) );
    is( $by->{ListBucket}{Resource}, 'arn:aws:s3:::new', 'before RT is configured for it' );
    my ( $exit, $out, $err ) = $rt->run_tool('policy');
    is( "$exit$out", '2', 'without a file, RT having a directory' );
    like( $err, qr/of Type 'Disk', not 'AmazonS3'/, '... is said' );
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
    for my $bucket ( 'files*', 'files/more' ) {
        my $file = storage_file( $rt, 'wrong.pm', %nobody, Bucket => $bucket );
        ( $exit, $out, $err ) = $rt->run_tool( 'policy', '--file', $file );
        is( "$exit$out", '2', "no name of a bucket: $bucket" );
        like( $err, qr/Bucket of %ExternalStorage: '\Q$bucket\E' is not the name/, '... is said' );
    }
    $rt->set_storage( Type => 'AmazonS3' );
    ( $exit, $out, $err ) = $rt->run_tool('policy');
    is( "$exit$out", '2', 'no bucket' );
    like( $err, qr/Bucket/, '... is said' );
};

done_testing;
