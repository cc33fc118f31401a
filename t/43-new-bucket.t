#!/usr/bin/perl
# The bucket is made by the first Store, unless RT has external files already.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3 = needs_s3;

my %storage = (
    Type   => 'AmazonS3',
    Bucket => 'att',
    $s3->options,
    Retries  => 0,
    Deadline => 3,
);
my $rt     = needs_rt( storage => {%storage} );
my $ticket = $rt->create_ticket( attachments => [ { name => 'a.bin', content => "first\0" x 10 } ] );

sub asked {
    return $rt->call( <<'END', sha256_hex('x') );
        my $storage = RT->System->ExternalStorage;
        return { writeable => [ $storage->IsWriteable ], store => [ $storage->Store( $_[0], 'x' ) ] };
END
}

# ---- CreateBucket => 0

$rt->set_storage( %storage, CreateBucket => 0 );
my $answer = asked();
is( $answer->{writeable}[0], 0, 'CreateBucket 0: not writeable' );
like( $_->[1], qr/^[^\n]*NoSuchBucket[^\n]*; it is not created, because CreateBucket is not 1\z/, "... $_->[1]" )
    for @$answer{qw(writeable store)};
is( $s3->requests( operation => 'CreateBucket' ), 0, '... no bucket is made' );

# ---- a server in trouble is not a server without the bucket

$rt->set_storage(%storage);
for my $fault (
    { status => 503, code => 'SlowDown' },
    { status => 403, code => 'AccessDenied' },
    { status => 404, body => '<html>' }
    )
{
    $s3->faults( { do => { answer => $fault } } );
    $s3->clear_log;
    $answer = asked();
    is( $answer->{store}[0],                          undef, "Store: $fault->{status}" );
    is( $answer->{writeable}[0],                      0,     '... nor is it writeable' );
    is( $s3->requests( operation => 'CreateBucket' ), 0,     '... and no bucket is made' );
}
$s3->faults;
$s3->stop;
is( asked()->{writeable}[0], 0, 'server down: not writeable' );
$s3->restart;
is_deeply( [ $s3->objects('att') ], [], 'there is no bucket' );

# ---- the database can't be asked

$answer = $rt->call( <<'END', sha256_hex('x') );
    my $storage = RT->System->ExternalStorage;
    no warnings 'redefine';
    local *RT::Handle::dbh = sub { die "database gone\n" };
    return { writeable => [ $storage->IsWriteable ], store => [ $storage->Store( $_[0], 'x' ) ] };
END
like(
    $_->[1],
    qr/NoSuchBucket.*; it is not created, because RT's database could not be asked .*: database gone/,
    'no answer from the database: no bucket'
) for @$answer{qw(writeable store)};

# ---- a new RT

is_deeply( $rt->call('[ RT->System->ExternalStorage->IsWriteable ]'), [1], 'a new RT: writeable' );
is( $s3->requests( operation => 'CreateBucket' ), 0, '... which makes no bucket' );
$rt->clear_log;
my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit,                                        0, "RT's externalizer makes it" ) or diag $err;
is( $s3->requests( operation => 'CreateBucket' ), 1, '... once' );
is_deeply( [ $s3->objects('att') ], [ sha256_hex( "first\0" x 10 ) ], '... and stores' );
like( $rt->log_text, qr/\[info\]: .*created the bucket 'att'/, '... and it is logged' );

# ---- the same RT with another bucket: somebody deleted it, or the keys are another account's

$rt->set_storage( %storage, Bucket => 'other' );
$answer = asked();
for my $method (qw(writeable store)) {
    my ( $value, $message ) = @{ $answer->{$method} };
    ok( !$value, "RT has external files: $method fails" );
    like(
        $message,
        qr/^[^\n]*NoSuchBucket[^\n]*RT has external files already: the bucket was deleted, or is another account's[^\n]*\z/,
        '... and says so'
    );
}
is( $s3->requests( operation => 'CreateBucket' ), 1, '... no bucket is made' );
( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments-5');
isnt( $exit, 0, "RT's externalizer ends" );
like( $err, qr/RT has external files already/, '... with this message' );

# Only a custom field value is external
$rt->dbh->do(q{UPDATE Attachments SET ContentEncoding = 'none' WHERE ContentEncoding = 'external'});
is( $rt->call('( RT->System->ExternalStorage->IsWriteable )[0]'), 1, 'no external row: writeable' );
$rt->dbh->do(
    q{INSERT INTO ObjectCustomFieldValues (CustomField, ObjectType, ObjectId, SortOrder, LargeContent, ContentEncoding, Creator, LastUpdatedBy, Disabled)
    VALUES (1, 'RT::Ticket', 1, 0, 'digest', 'external', 1, 1, 1)}
);
is( $rt->call('( RT->System->ExternalStorage->IsWriteable )[0]'),
    0, 'an external value of a custom field, even a disabled one: not' );
$rt->dbh->do('DELETE FROM ObjectCustomFieldValues');

# ---- a bucket that is new is not known everywhere at once

$rt->set_storage( %storage, Bucket => 'young' );
$s3->faults(
    { operation => 'PutObject', nth => [ 2, 3 ], do => { answer => { status => 404, code => 'NoSuchBucket' } } } );
$answer = $rt->call( 'my $s = RT->System->ExternalStorage; return [ $s->Store(@_) ]', sha256_hex('x'), 'x' );
is_deeply( $answer, [ sha256_hex('x') ], 'NoSuchBucket after the bucket was made: Store tries again' );
is( $s3->requests( operation => 'CreateBucket', bucket => 'young' ), 1, '... and makes it only once' );
done_testing;
