#!/usr/bin/perl
# Every mistake that the configuration can have: what is logged, what still works, what is refused.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use RT::ExternalStorage::AmazonS3::Native;
use Rts3::Test::S3Server;

$ENV{RTS3_LIBRARY} ||= "$FindBin::Bin/../target/release/librts3.so";
delete @ENV{ grep {/_proxy$/i} keys %ENV };

my $class = 'RT::ExternalStorage::AmazonS3::Native';
my $s3    = Rts3::Test::S3Server->start;
my $there = 'stored before the mistake was made';
my $key   = sha256_hex($there);
my %good  = (
    Bucket => 'files',
    $s3->options,
);
$s3->make_bucket('files');
my ($native) = $class->open(%good);
is( $native->store( $key, $there ), $key, 'an object' );

# Reading and writing go on, with what is named used instead
my @harmless = (
    [ { Regoin => 'eu-west-1' },      qr/unknown option 'Regoin': did you mean Region\?/ ],
    [ { BUCKET => 'x' },              qr/unknown option 'BUCKET': did you mean Bucket\?/ ],
    [ { Colour => 'blue' },           qr/unknown option 'Colour': it is not used; allowed are Type, Bucket,/ ],
    [ { Region => 'Frankfurt (DE)' }, qr/option Region: 'Frankfurt \(DE\)' is not allowed: lower-case letters/ ],
    [ { Region => '' },               qr/option Region is empty: as if it were not given/ ],
    [
        { AddressingStyle => 'foo' },
        qr/option AddressingStyle: 'foo' is not allowed: 'auto', 'path' or 'virtual'; using/
    ],
    [
        { ConnectTimeout => 'soon' },
        qr/option ConnectTimeout: 'soon' is not allowed: seconds from 0\.1 to 60; using .* 3$/
    ],
    [ { ReadTimeout => 0 },  qr/option ReadTimeout: '0' is not allowed: seconds from 0\.1 to 600; using .* 15$/ ],
    [ { Deadline    => -1 }, qr/option Deadline: '-1' is not allowed: seconds from 0\.1 to 3600; using .* 120$/ ],
    [ { Retries => 'many' }, qr/option Retries: 'many' is not allowed: a whole number from 0 to 20; using .* 4$/ ],
    [ { CAFile  => '/x' },   qr{option CAFile makes no sense with an http:// Host} ],
    [ { Proxy   => 'socks5://me:hunter2@h' }, qr{option Proxy: '\*\*\*\@h' is not allowed: allowed is http://} ],
    [
        { DirectLink => 'private' },
        qr/option DirectLink: 'private' is not allowed: 'public' or 'presigned'; no direct links/
    ],
    [ { DirectLinkHost => 'a/b' }, qr{option DirectLinkHost: 'a/b' has a path in it: .*no direct links} ],
    [ { SessionToken   => '' },    qr/option SessionToken is empty/ ],
);

# Reading goes on, writing is refused
my @written = (
    [ { Prefx                => 'rt/' },       qr/unknown option 'Prefx': did you mean Prefix\?/ ],
    [ { Prefix               => '/rt' },       qr{option Prefix: '/rt' is not allowed: .*no slash at the start} ],
    [ { Prefix               => "a\nb" },      qr/option Prefix: 'a\\nb' is not allowed: .*no control character/ ],
    [ { Prefix               => 'x' x 513 },   qr/option Prefix: 'x+.' is not allowed: at most 512 bytes/ ],
    [ { CreateBucket         => 'no' },        qr/option CreateBucket: 'no' is not allowed: 0 or 1/ ],
    [ { ServerSideEncryption => 'yes' },       qr/option ServerSideEncryption: 'yes' is not allowed: 'AES256', / ],
    [ { SSEKMSKeyId          => 'alias/rt' },  qr/option SSEKMSKeyId makes no sense without ServerSideEncryption/ ],
    [ { StorageClass         => 'GLACIER' },   qr/option StorageClass: 'GLACIER' is not allowed: .*read at once/ ],
    [ { StorageClass         => 'cheap' },     qr/option StorageClass: 'cheap' is not allowed: capital letters/ ],
    [ { ExpectedBucketOwner  => 'me' },        qr/option ExpectedBucketOwner: 'me' is not allowed: the 12 digits/ ],
    [ { Checksum             => 'sometimes' }, qr/option Checksum: 'sometimes' is not allowed: 'auto', 'always' or/ ],
    [ { ServerSideEncrytion  => 'AES256' },    qr/'ServerSideEncrytion': did you mean ServerSideEncryption\?/ ],
);

# No request can be formed
my @hopeless = (
    [ { Bucket          => undef },       qr/^option Bucket is missing/ ],
    [ { Bucket          => '' },          qr/^option Bucket is missing/ ],
    [ { Bucket          => 'my files' },  qr/^option Bucket: 'my files' is not a bucket name: letters, digits/ ],
    [ { SecretAccessKey => undef },       qr/^option SecretAccessKey is missing: AccessKeyId is given/ ],
    [ { AccessKeyId     => undef },       qr/^option AccessKeyId is missing: SecretAccessKey is given/ ],
    [ { AccessKeyId     => "a\r\nX: y" }, qr/^option AccessKeyId has a blank or a character that no key has/ ],
    [ { Host   => 'host/path' },  qr{^option Host: 'host/path' has a path in it: allowed is host, host:port} ],
    [ { Host   => 'my host' },    qr/^option Host: 'my host' has a blank in it/ ],
    [ { Host   => 'host:http' },  qr/^option Host: 'host:http' has a port that is not a number/ ],
    [ { Host   => 'ftp://host' }, qr{^option Host: 'ftp://host' has a scheme that is neither http nor https} ],
    [ { Host   => 'https://me:hunter2@host' }, qr/^option Host: '\*\*\*\@host' has a user name or password/ ],
    [ { Host   => 'host..name' },              qr/^option Host: 'host\.\.name' is not a host name or address/ ],
    [ { Bucket => [] },                        qr/^option Bucket is a reference/ ],
);

for my $row ( map( { [ @$_, 1 ] } @harmless ), map { [ @$_, 0 ] } @written ) {
    my ( $mistake, $logged, $writes ) = @$row;
    my ($option) = %$mistake;
    my $name = "$option => " . substr( $mistake->{$option}, 0, 20 ) =~ s/\n/\\n/gr;
    my ( $handle, $error ) = $class->open( %good, %$mistake );
    ok( $handle, "$name: opened" ) or next;
    my @messages = grep { $_->[1] !~ m{^option Host begins with http://} } $handle->drain;
    is( @messages,       1,       '... one message' );
    is( $messages[0][0], 'error', '... an error' );
    like( $messages[0][1], $logged, '... which says what is allowed' );
    unlike( $messages[0][1], qr/hunter2|\n/, '... on one line, without a password' );
    is( $handle->get($key), $there, '... reading goes on' );

    my $content = "written with $name";
    my ( $stored,    $why )    = $handle->store( sha256_hex($content), $content );
    my ( $writeable, $reason ) = $handle->probe;
    if ($writes) {
        ok( $stored && $writeable, '... writing goes on' );
    }
    else {
        for my $refusal ( $why, $reason, ( $handle->delete($key) )[1], ( $handle->create_bucket )[1] ) {
            like( $refusal, qr/nothing is written until this is mended: .*$logged/, '... writing is refused' );
        }
        is( $native->get($key), $there, '... nothing was deleted' );
    }
}
for my $row (@hopeless) {
    my ( $mistake, $message ) = @$row;
    my ( $handle,  $error )   = $class->open( %good, %$mistake );
    is( $handle,      undef,    join( ' => ', map { $_ // 'undef' } %$mistake ) =~ s/\s+/ /gr . ': not opened' );
    is( $error->name, 'config', '... a mistake of the configuration' );
    like( $error->message, $message, '... which says what is allowed' );
    unlike( $error->message, qr/hunter2|\n/, '... on one line, without a password' );
}
is( scalar( grep { $_->{operation} && $_->{operation} eq 'DeleteObject' } $s3->requests ), 0, 'no delete was sent' );

done_testing;
