#!/usr/bin/perl
# rt-s3 migrate, called wrongly, or with files that are none: what it says, and that it does nothing.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File    qw(spew);
use Rts3::Test::Migrate qw(migrate storage_file);
use Rts3::Test::Needs   qw(needs_library needs_rt needs_s3);

needs_library;
my $s3     = needs_s3;
my %first  = ( Type => 'AmazonS3', Bucket => 'first', $s3->options );
my $rt     = needs_rt( storage => \%first );
my %disk   = ( Type => 'Disk', Path => $rt->dir );
my $first  = storage_file( $rt, 'first.pm',  %first );
my $second = storage_file( $rt, 'second.pm', %first, Bucket => 'second' );
my ( $exit, $out, $err );

my $wrong = $rt->dir . '/wrong.pm';

sub refused {
    my ( $what,   $message, @arguments ) = @_;
    my ( $status, $text,    $errors )    = migrate( $rt, @arguments );
    is( $status, 64, "$what: exit status" );
    like( $errors, $message, '... what is wrong' );
    unlike( $errors . $text, qr/top-secret/, '... and no secret' );
    return;
}

subtest 'wrong use' => sub {
    refused( 'neither side', qr/say with --from or with --to/ );
    refused( 'the same place', qr/both sides are the same place, bucket first at/, '--to', $first );
    my $again = storage_file( $rt, 'again.pm', %first, Host => uc $first{Host} . '/', AccessKeyId => 'other' );
    refused( 'the same place, said otherwise', qr/both sides are the same place/,    '--from', $again );
    refused( 'no such file', qr{--from: /no/such/file cannot be read: No such file}, '--from', '/no/such/file' );
    refused( 'a directory',  qr/--from: \S+ is no file/,                             '--from', $rt->dir );
    for my $text (
        [
            'not Perl',
            qr/is not in the form of RT_SiteConfig\.pm: there is an error in line 2/,
            "\nSet(%ExternalStorage, top-secret => (;"
        ],
        [
            'an exception',
            qr/is not in the form of RT_SiteConfig\.pm: there is an error in line 1/,
            "die 'top-secret';"
        ],
        [ 'something else', qr/sets no %ExternalStorage/, "Set(\$rtname, 'top-secret');" ],
        [
            'no Type',
            qr/sets %ExternalStorage without a Type/,
            "Set(%ExternalStorage, SecretAccessKey => 'top-secret');"
        ],
        [ 'an end', qr/could not be read/, 'exit 0;' ],
        )
    {
        spew( $wrong, $text->[2] );
        chmod 0600, $wrong;
        refused( $text->[0], $text->[1], '--from', $wrong );
    }
    spew( $wrong, q{Set(%ExternalStorage, Type => 'Disk', Path => '/tmp');} );
    chmod 0666, $wrong;
    refused( 'a file for everybody to write', qr/can be written by everybody on this machine/, '--from', $wrong );
    refused(
        'a directory to copy into',
        qr/only be copied into a bucket, and \S+ is Disk in/,
        '--to', storage_file( $rt, 'disk.pm', %disk )
    );
    refused( 'a number', qr/--concurrency: '0' is not a whole number/, '--from', $second, '--concurrency=0' );

    $rt->set_storage(%disk);
    refused(
        'RT has a directory, and nothing else is said',
        qr/and RT is configured for Disk in .*; name a file/,
        '--from', $second
    );
    $rt->set_storage(%first);
    for my $text (
        [
            'a directory that is not there',
            qr{the source: Path provided for Disk .* does not exist},
            q{Type => 'Disk', Path => '/no/such'}
        ],
        [
            'a Type that does not exist',
            qr{the source: Can't load external storage engine Nowhere: },
            q{Type => 'Nowhere'}
        ],
        [ 'a bucket without a name', qr{the source: .*Bucket}, q{Type => 'AmazonS3'} ],
        )
    {
        spew( $wrong, "Set(%ExternalStorage, $text->[2]);" );
        chmod 0600, $wrong;
        ( $exit, $out, $err ) = migrate( $rt, '--from', $wrong );
        is( $exit, 2, "$text->[0]: exit status" );
        like( $err, $text->[1], '... what is wrong' );
    }
    spew( $wrong,
        q{Set($rtname, 'elsewhere'); Set(%ExternalStorage, Type => 'AmazonS3', Bucket => 'b', SecretAccessKey => 'top-secret', AccessKeyId => 'k', Wrong => 1, Host => 'http://127.0.0.1:1', Retries => 0);}
    );
    chmod 0644, $wrong;
    ( $exit, $out, $err ) = migrate( $rt, '--from', $wrong );
    is( $exit, 2, 'a server that is not there: exit status' );
    like(
        $err,
        qr/^warning: \S+ can be read by everybody on this machine, and holds a secret/m,
        'a secret for everybody to read'
    );
    like( $err, qr/^\S+wrong\.pm: .*Wrong/m,                                '... and an option that does not exist' );
    like( $err, qr/^rt-s3 migrate: stopped: the source: .*127\.0\.0\.1:1/m, '... and what is wrong' );
    is( scalar $s3->requests, 0, 'nothing was asked of any bucket' );
    ( $exit, $out, $err ) = migrate( $rt, '--help' );
    like( $out, qr/--concurrency=NUMBER.*EXIT STATUS/s, '--help is the manual' );
};

done_testing;
