#!/usr/bin/perl
# rt-s3 internalize: there and back again leaves everything as it was.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::File        qw(slurp);
use Rts3::Test::Internalize qw(beside columns internalize mark);
use Rts3::Test::Needs       qw(needs_rt needs_s3);

my $s3     = needs_s3;
my $cutoff = 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ');';

# It is for what is new
my $config =
    $cutoff . 'Set($MaxAttachmentSize, 1_000); Set($TruncateLongAttachments, 1); Set($DropLongAttachments, 1);';
my %storage = ( Type => 'AmazonS3', Bucket => 'files', $s3->options );
my $rt      = needs_rt( config => $cutoff, storage => \%storage );

my ($contents) = Rts3::Test::Contents->create( $rt, {} );
my $moved      = () = $contents->moved;
my $before     = columns( $rt->dbh );
my $beside     = beside( $rt->dbh );
$rt->run_tool(qw(externalize --quiet));
is_deeply( [ $contents->not_moved ], [], 'all is in the bucket' );
my $external = columns( $rt->dbh );
my @objects  = $s3->objects('files');
$rt->set_config($config);

subtest 'a dry run changes nothing' => sub {
    my $mark = mark($rt);
    unlink my $lost = $s3->object_path( 'files', $objects[0] ) . '.away';
    rename $s3->object_path( 'files', $objects[0] ), $lost or die "$!";
    $s3->clear_log;
    my ( $exit, $out, $err ) = internalize( $rt, '--dry-run' );
    rename $lost, $s3->object_path( 'files', $objects[0] ) or die "$!";
    is( $exit, 1, 'something is missing: exit status' );
    like(
        $err,
        qr/: not moved back: .*$objects[0].* \(ticket \d+, .*(?:attachment|value) \d+/,
        '... what, and where'
    );
    like(
        $out,
        qr/^$moved to be moved back into the database: \d+\.\d MB and 3 of which only the bucket knows/m,
        'it says beforehand how many and how much'
    );
    my $rest = $moved - 1;
    like( $out, qr/^Fetching RT::Attachments \d+$/m,                                '... each of them' );
    like( $out, qr/^$rest would be moved back \(\d+\.\d MB\), 0 left .* 1 failed/m, '... and the sum' );
    is_deeply( columns( $rt->dbh ), $external, 'the database is what it was' );
    is_deeply( mark($rt),           $mark,     '... and the mark' );
    is( scalar $s3->requests( operation => 'GetObject', status => 200 ), 0, 'nothing was fetched' );
};

subtest 'back into the database' => sub {
    my ( $exit, $out, $err ) = internalize($rt);
    is( $exit . $err, '0', 'exit status' );
    like( $out, qr/^$moved moved back \(\d+\.\d MB\), 0 left where they are, 0 failed$/m, 'it says how many' );
    like( $out, qr/^In the bucket nothing was deleted: "rt-s3 verify --orphans" lists/m,  '... what is left over' );
    like( $out, qr/^Nothing in RT's database refers to the bucket any more$/m,            '... and that it is all' );
    is_deeply( columns( $rt->dbh ),       $before,   'every row is what it was, column for column' );
    is_deeply( beside( $rt->dbh ),        $beside,   '... and what stands beside it' );
    is_deeply( [ $s3->objects('files') ], \@objects, 'the bucket is what it was' );
    my ($record) = $rt->call( 'require RT::ExternalStorage::AmazonS3::Records;'
            . 'return [ RT::ExternalStorage::AmazonS3::Records->Last("internalize") ]' );
    is_deeply( [ @{ $record->[0] }{qw(moved failed skipped stopped)} ], [ $moved, 0, 0, undef ], 'a record is kept' );
    $rt->set_storage;
    is_deeply( [ $contents->not_intact ], [], 'RT reads all of it, without S3' );
    $rt->set_storage(%storage);
    ( $exit, $out, $err ) = internalize($rt);
    is( $exit . $err, '0', 'once more' );
    like( $out, qr/^0 moved back/m, '... there is nothing to do' );
    ( $exit, $out ) = $rt->run_tool(qw(verify --orphans --json));
    my @orphans = $out =~ /"finding":"orphan"/g;
    is( scalar @orphans, scalar @objects, 'rt-s3 verify --orphans lists what is left over' );
};

subtest 'and to S3 again' => sub {
    my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments');
    is( $exit . $err, '0', "RT's own script" );
    is_deeply( [ $contents->not_moved ],  [],        '... moves all of it' );
    is_deeply( columns( $rt->dbh ),       $external, '... into the same rows' );
    is_deeply( [ $contents->not_intact ], [],        '... and RT reads it' );
    is_deeply( [ $s3->objects('files') ], \@objects, '... from the same objects' );
};

subtest 'a part of it' => sub {
    my ( $one, $two, $three ) = grep { $_->{kind} eq 'attachment' } $contents->moved;
    my $mark = mark($rt);
    my ( $exit, $out, $err ) = internalize( $rt, '--class=Attachments', "--ids=$two->{id},$one->{id},$two->{id}" );
    is( $exit . $err, '0', '--ids' );
    like( $out, qr/^2 moved back/m, '... two' );
    my %external = map { ( "$_->{kind} $_->{id}" => 1 ) } $contents->external;
    is( scalar keys %external, $moved - 2, '... these' );
    ok( !$external{"attachment $_->{id}"}, "... $_->{name}" ) for $one, $two;
    is_deeply( mark($rt), { %{$mark}, 'RT::Attachments' => $one->{id} - 1 }, 'the mark is lowered to below them' );

    ( $exit, $out, $err ) = internalize( $rt, '--class=RT::Attachments', "--ids=$one->{id},$three->{id},999999" );
    is( $exit, 1, '--ids of which one is not external and one not there' );
    like( $out, qr/^1 moved back .*, 1 left where they are, 1 failed$/m, '... moves the third' );
    is( $err, "RT::Attachments 999999: not moved back: there is no such row\n", '... and names what is not there' );
    ( $exit, $out, $err ) = internalize( $rt, '--class=RT::Attachments', "--ids=$one->{id},$three->{id}" );
    is( $exit . $err, '0', 'once more' );

    ( $exit, $out, $err ) = internalize( $rt, qw(--class=ObjectCustomFieldValues --batchsize=1 --json) );
    is( $exit . $err, '0', '--batchsize' );
    my @lines = map { JSON::PP::decode_json($_) } split /\n/, $out;
    is( $lines[0]{rows},      1,          '--json: what there is to do' );
    is( $lines[1]{moved},     1,          '... what was done' );
    is( $lines[1]{remaining}, $moved - 4, '... and what is left' );
    is( scalar @lines,        2,          '... and no more' );
    ( $exit, $out, $err ) = internalize( $rt, qw(--class=ObjectCustomFieldValues --verbose) );
    like( $out, qr/^Moved RT::ObjectCustomFieldValues \d+ back$/m, '--verbose: each' );
    is( scalar( grep { $_->{kind} ne 'attachment' } $contents->external ), 0, '--class: all of it' );
    cmp_ok( scalar( $contents->external ), '>', 0, '... and no other' );
    ( $exit, $out, $err ) = internalize( $rt, qw(--quiet --memory=1 --concurrency=3) );
    is( "$exit$out$err", '0', '--quiet, with little memory: the rest, without a word' );
    is_deeply( columns( $rt->dbh ), $before, '... and every row is what it was' );
    ( $exit, $out ) = $rt->run_tool('externalize');
    like( $out, qr/^$moved moved/m, 'rt-s3 externalize moves all of them again' );
    is_deeply( columns( $rt->dbh ), $external, '... into the same rows' );
};

subtest 'one file in many rows, one that looks like a digest' => sub {
    my ($like) = $contents->moved;
    my @ids    = Rts3::Test::Internalize::add_rows( $rt->dbh, $like->{id}, ( 'a' x 64 ) x 3, '=?' x 30 . "\n \n" );
    my $was    = columns( $rt->dbh );
    $rt->run_tool(qw(externalize --quiet));
    my ( $exit, $out, $err ) = internalize( $rt, '--class=Attachments', '--ids=' . join ',', @ids );
    is( $exit . $err, '0', 'moved back' );
    my $is = columns( $rt->dbh );
    is_deeply(
        [ @{$is}{ map {"Attachments $_"} @ids } ],
        [ @{$was}{ map {"Attachments $_"} @ids } ],
        '... as they were'
    );
    $rt->dbh->do( 'DELETE FROM Attachments WHERE id = ?', undef, $_ ) for @ids;
};

subtest 'wrong use' => sub {
    for my $wrong (
        [ qr/Unknown option: delete/i,                                  '--delete' ],
        [ qr/--class: 'RT::Tickets' is none of RT::Att/,                '--class=RT::Tickets' ],
        [ qr/--ids needs --class/,                                      '--ids=3' ],
        [ qr/--concurrency: '101' is not a whole number from 1 to 100/, '--concurrency=101' ],
        [ qr/--memory: '0' is not/,                                     '--memory=0' ],
        [ qr/nothing to do with 'all'/,                                 'all' ],
        )
    {
        my ( $message, @arguments ) = @{$wrong};
        my ( $exit, $out, $err ) = internalize( $rt, @arguments );
        is( $exit, 64, "@arguments: exit status" );
        like( $err, $message,                            '... what is wrong' );
        like( $err, qr/^See rt-s3 internalize --help$/m, '... and where to look' );
        is( $out, '', '... and nothing else' );
    }
    my ( $exit, $out, $err ) = internalize( $rt, '--help' );
    is( $exit . $err, '0', '--help' );
    like( $out, qr/LEAVING S3.*--memory=MEGABYTES.*EXIT STATUS/s, '... is the manual' );
};

subtest 'without a configuration' => sub {
    $rt->set_storage;
    my ( $exit, undef, $err ) = internalize($rt);
    is( $exit, 2, 'exit status' );
    like( $err, qr/external storage is not configured: set %ExternalStorage/, 'what is missing' );
    $rt->set_storage( %storage, Bucket => 'other' );
    ( $exit, my $out, $err ) = internalize($rt);
    is( $exit, 2, 'with a bucket that is not there: exit status' ) or diag $out, $err;
    like( $err, qr/^rt-s3 internalize: stopped, for it would go on like this: .*other/m, '... which one' );
    $s3->make_bucket('other');
    ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 1, 'with another bucket: exit status' );
    like( $err, qr/nothing is in the bucket: are Bucket and Prefix those with which it was stored/, '... the hint' );
    is_deeply( columns( $rt->dbh ), $external, 'the rows are what they were' );
    $rt->set_storage(%storage);
};

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } grep { $_->{path} ne '-' } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);

done_testing;
