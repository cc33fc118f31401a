#!/usr/bin/perl
# rt-s3 migrate: from RT's own directory into a bucket, from there into another one, and every byte stays what it was.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::Migrate  qw(dump_rows migrate storage_file);
use Rts3::Test::Needs    qw(needs_library needs_rt needs_s3);
use Rts3::Test::S3Client ();

needs_library;
my $s3    = needs_s3;
my $other = needs_s3;
my $limit = 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ');';
my $rt    = needs_rt( config => $limit );
my $disk  = $rt->dir . '/attachments';
mkdir $disk or die "$disk: $!";
my %disk = ( Type => 'Disk', Path => $disk );
$rt->set_storage(%disk);
my ($contents) = Rts3::Test::Contents->create( $rt, {} );
my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments');
is( "$exit$err", '0', q{RT's own script, RT's own Disk} );
is_deeply( [ $contents->not_moved ], [], '... has moved all' );
my @digests = $contents->digests;
my $count   = @digests;
my @rows    = dump_rows($rt);

my %first  = ( Type => 'AmazonS3', Bucket => 'first',  $s3->options );
my %second = ( Type => 'AmazonS3', Bucket => 'second', Prefix => 'rt/', $other->options );
my $first  = storage_file( $rt, 'first.pm',  %first );
my $second = storage_file( $rt, 'second.pm', %second );

subtest 'a dry run changes nothing' => sub {
    ( $exit, $out, $err ) = migrate( $rt, '--dry-run', '--to', $first );
    is( "$exit$err", '0', 'exit status' );
    like( $out, qr/^The bucket first at \S+ is not there; it would be made$/m, 'it would make the bucket' );
    like(
        $out,
        qr/^$count would be copied \(5\.[1-9] MB, and [2-4] of which only the source knows .*\), 0 are there$/m,
        '... and copy all'
    );
    is_deeply( [ map { $_->{operation} } grep { $_->{operation} !~ /^(?:List|Head)/ } $s3->requests ],
        [], 'but does not' );
    is_deeply( [ dump_rows($rt) ], \@rows, 'the database is what it was' );
    my $fixed = storage_file( $rt, 'fixed.pm', %first, CreateBucket => 0 );
    ( $exit, $out, $err ) = migrate( $rt, '--dry-run', '--to', $fixed );
    is( $exit, 2, 'with CreateBucket => 0 it would not' );
    like(
        $err,
        qr/^rt-s3 migrate: stopped: the target: bucket first .* is not there, and would not be made/m,
        '... and says so'
    );
};

subtest 'Disk to a bucket' => sub {
    ( $exit, $out, $err ) = migrate( $rt, '--to', $first );
    is( "$exit$err", '0', 'exit status' );
    like( $out, qr/^The bucket first at \S+ was made$/m, 'the bucket is made, although RT has external rows' );
    like( $out, qr/^$count copied \(\d+\.\d MB\), 0 there already, 0 failed$/m, 'all is copied' );
    like(
        $out,
        qr/^The target, verified: \d+ references to $count files; $count objects in the bucket: all well$/m,
        '... and verified'
    );
    like(
        $out,
        qr/^  1\. put the %ExternalStorage of \Q$first\E into RT_SiteConfig\.pm/m,
        '... and it says what to do now'
    );
    my ($shown) = $out =~ /^( {4}Set\(%ExternalStorage,\n.*?^ {4}\);)$/ms;
    unlike( $out, qr/\Q$first{SecretAccessKey}\E/, '... without the secret' );
    ok( $shown && $shown =~ s/'[.]{3}'/'$first{SecretAccessKey}'/, '... and with what configuration' );
    is_deeply( [ $s3->objects('first') ], \@digests, 'the bucket holds all, and no more' );
    is_deeply( [ dump_rows($rt) ],        \@rows,    'the database is what it was' );
    is_deeply( [ $contents->not_intact ], [],        'RT reads from Disk' );
    $rt->set_storage;
    $rt->set_config("$limit\n$shown\n");
    rename $disk, "$disk.away" or die "$disk: $!";
    is_deeply( [ $contents->not_intact ], [],
        'with that as it stands there RT reads from the bucket, byte for byte' );
    $rt->set_config($limit);
    $rt->set_storage(%first);
    rename "$disk.away", $disk or die "$disk: $!";

    my $client = Rts3::Test::S3Client->new(
        url        => $s3->http,
        access_key => $s3->access_key,
        secret_key => $s3->secret_key,
        region     => 'us-east-1'
    );
    my %type =
        map { ( Rts3::Test::Contents::digest($_) => $_->{type} ) }
        grep { ( $_->{type} // '' ) =~ /png|pdf/ } $contents->moved;
    is( $client->request( HEAD => "/first/$_" )->header('Content-Type'), $type{$_}, "$_ has its type" )
        for sort keys %type;
};

subtest 'once more' => sub {
    $s3->clear_log;
    ( $exit, $out, $err ) = migrate( $rt, '--from', "Disk:$disk" );
    is( "$exit$err", '0', 'exit status' );
    like( $out, qr/^0 copied \(0\.0 MB\), $count there already, 0 failed$/m, 'nothing is copied' );
    like( $out, qr/^RT works with the target already/m,                      'it sees that RT was switched' );
    is( scalar $s3->requests( operation => qr/^(?:Put|Head)Object/ ), 0, '... and nothing is asked for' );
    my $read = $s3->requests( operation => 'GetObject' );
    cmp_ok( $read, '<', $count / 2, '... and no more is read than rt-s3 verify reads' );
};

subtest 'from one bucket to another, with a prefix, on another server' => sub {
    ( $exit, $out, $err ) = migrate( $rt, '--to', $second, '--json' );
    is( "$exit$err", '0', 'exit status' );
    my @lines = map { JSON::PP::decode_json($_) } split /\n/, $out;
    is( scalar @lines,                               1,          '--json: one object' );
    is( $lines[0]{copied} . ' ' . $lines[0]{failed}, "$count 0", '... how many' );
    is( $lines[0]{verify}{objects},                  $count,     '... and what was found of the target' );
    is_deeply(
        $lines[0]{configuration},
        { %second, SecretAccessKey => undef },
        '... and what RT is to be configured for'
    );
    is_deeply( [ $other->objects('second') ], [ map {"rt/$_"} @digests ], 'all is there' );
    $rt->set_storage(%second);
    $s3->stop;
    is_deeply( [ $contents->not_intact ], [], 'switched, RT reads it, byte for byte' );
    $s3->restart;

    my ($more) = Rts3::Test::Contents->create( $rt, { mark => 'new' } );
    ( $exit, undef, $err ) = $rt->run_tool('externalize');
    is( "$exit$err", '0', 'it goes on from there' );
    ( $exit, $out, $err ) = migrate( $rt, '--to', $first, '--quiet' );
    is( "$exit$out$err", '0', 'and back, without a word' );
    my %seen;
    is_deeply(
        [ $s3->objects('first') ],
        [ sort grep { !$seen{$_}++ } @digests, $more->digests ],
        '... what came since, too'
    );
    $rt->set_storage(%first);
    is_deeply( [ Rts3::Test::Contents::not_intact( $contents, $more ) ], [],                 '... byte for byte' );
    is_deeply( [ dump_rows($rt) ],                                       [ dump_rows($rt) ], 'the database' );
};

subtest 'switched before anything was copied' => sub {
    my %third = ( %first, Bucket => 'third' );
    $rt->set_storage(%third);
    my ($new) = Rts3::Test::Contents->create( $rt, { mark => 'third' } );
    ( $exit, undef, $err ) = $rt->run_tool('externalize');
    is( $exit, 2, 'RT makes no bucket, for it has files elsewhere' );
    ( $exit, $out, $err ) = migrate( $rt, '--from', "Disk:$disk", '--concurrency=2' );
    is( $exit, 1, 'from the directory, which does not have what was stored in the buckets' );
    like( $out, qr/^$count copied/m, '... all that it has' );
    ( $exit, undef, $err ) = $rt->run_tool('externalize');
    is( "$exit$err", '0', 'now RT goes on there' );
    ( $exit, $out, $err ) = migrate( $rt, '--from', $first );
    is( "$exit$err", '0', 'and from the bucket' );
    like( $out, qr/^RT works with the target already: nothing is to be changed/m, '... all is there' );
    is_deeply( [ Rts3::Test::Contents::not_intact( $contents, $new ) ], [], 'RT reads all, byte for byte' );
    $rt->set_storage(%first);
};

is_deeply( [ grep { !/^-$/ && $_ ne $rt->expected_module } map { $_->{path} } $rt->loaded_modules ],
    [], 'all of this with our module' );

done_testing;
