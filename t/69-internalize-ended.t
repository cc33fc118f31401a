#!/usr/bin/perl
# rt-s3 internalize, ended in the middle: nothing is lost, and the next run goes on.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File        qw(slurp);
use Rts3::Test::Internalize qw(internalize mark);
use Rts3::Test::Needs       qw(needs_rt needs_s3);

my $s3      = needs_s3;
my %storage = ( Type => 'AmazonS3', Bucket => 'files', $s3->options, Retries => 1 );
my $rt      = needs_rt( storage => \%storage );
my $files   = Rts3::Test::Internalize->new( rt => $rt, s3 => $s3, bucket => 'files' );

my @slow = ( { operation => 'GetObject', do => { delay_ms => 300 } } );

subtest 'the server is down' => sub {
    my @ids = $files->external( 20, 'down' );
    $s3->stop;
    $rt->set_storage( %storage, Deadline => 3 );
    my ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 2, 'at the start: exit status' );
    like( $err, qr/^rt-s3 internalize: stopped, for it would go on like this: .*127\.0\.0\.1/m, '... and why' );
    is_deeply( [ $files->left(@ids) ], \@ids, '... and nothing has changed' );
    $s3->restart;
    $s3->faults(@slow);
    my $pid = $files->started('--concurrency=2');
    $files->until_fetched(7);
    $s3->stop;
    is( $files->ended($pid), 2, 'in the middle: exit status' );
    like( $files->said('err'), qr/stopped, for it would go on like this: .*; the next run goes on from here$/m,
        '... and why' );
    unlike( $files->said('err'), qr/not moved back/, '... and takes no row for broken' );
    $s3->restart;
    my @left = $files->left(@ids);
    cmp_ok( scalar @left, '>', 0,    '... some are left' );
    cmp_ok( scalar @left, '<', @ids, '... some are not' );
    is_deeply( [ $files->lost(@ids) ], [], '... none is lost' );
    ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 0, 'the next run' ) or diag $err;
    is_deeply( [ $files->left(@ids), $files->lost(@ids) ], [], '... moves the rest' );
    $rt->set_storage(%storage);
};

subtest 'signals, and a process that is killed' => sub {
    my @ids = $files->external( 60, 'signal' );
    for my $signal (qw(INT TERM)) {
        $s3->faults(@slow);
        my $pid = $files->started('--concurrency=2');
        $files->until_fetched(6);
        kill $signal => $pid;
        is( $files->ended($pid), 2, "SIG$signal: exit status" );
        $s3->faults;
        like( $files->said('err'), qr/stopped by SIG$signal; the next run goes on from here$/m, '... it says so' );
        like( $files->said('out'), qr/^\d+ moved back/m, '... and where it stands' );
        is_deeply( [ $files->lost(@ids) ], [], '... none is lost' );
    }
    $s3->faults(@slow);
    my $pid = $files->started('--concurrency=2');
    $files->until_fetched(4);
    my ($child) = split ' ', slurp("/proc/$pid/task/$pid/children");
    kill KILL => $child;
    is( $files->ended($pid), 2, 'one of its processes is killed: exit status' );
    $s3->faults;
    like( $files->said('err'), qr/a process that fetches objects has ended before its time; the next run goes on/,
        '... and why' );
    cmp_ok( scalar $files->left(@ids), '>', 0, '... some are left' );
    my ( $exit, $out, $err ) = internalize($rt);
    is( $exit . $err, '0', 'the next run' );
    is_deeply( [ $files->left(@ids), $files->lost(@ids) ], [], '... moves the rest' );
};

subtest 'kill -9 at any moment, while RT reads' => sub {
    my @ids  = $files->external( 400, 'killed', 2000 );
    my $mark = mark($rt)->{'RT::Attachments'};
    is( $mark, $ids[-1], 'the mark is behind them' );
    $s3->faults( { operation => 'GetObject', do => { delay_ms => 40 } } );
    for my $round ( 1 .. 4 ) {
        my $pid = $files->started('--concurrency=4');
        $files->until_fetched( $round < 4 ? 15 * $round : 120 );
        sleep rand 0.3;
        kill KILL => $pid;
        is( $files->ended($pid), 'signal 9', "round $round: it is killed" );
        is_deeply( [ $files->lost(@ids) ], [], '... and none is lost' );
    }
    my @left = $files->left(@ids);
    cmp_ok( scalar @left,                   '>', 0,       'some are left' );
    cmp_ok( scalar @left,                   '<', @ids,    'some are not' );
    cmp_ok( mark($rt)->{'RT::Attachments'}, '<', $ids[0], 'the mark is before them' );
    $s3->faults;
    my ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --quiet));
    is( "$exit$out$err", '0', 'who externalizes now' );
    is_deeply( [ $files->left(@ids), $files->lost(@ids) ], \@ids, '... finds them all' );

    $s3->faults( { operation => 'GetObject', do => { delay_ms => 40 } } );
    my $pid   = $files->started('--concurrency=2');
    my $wrong = $rt->call( <<'END', { map { $_ => $files->content($_) } @ids[ 0 .. 19, 380 .. 399 ] } );
        my ($content) = @_;
        my ( $wrong, $end ) = ( 0, time + 60 );
        while ( time < $end ) {
            my $external = 0;
            for my $id ( keys %{$content} ) {
                my $read = Rts3::Test::RT::Inside::attachment($id);
                $wrong++ if $read->{bytes} ne $content->{$id};
                $external++ if $read->{encoding} eq 'external';
            }
            last if !$external;
            DBIx::SearchBuilder::Record::Cachable->FlushCache;
        }
        return $wrong;
END
    is( $wrong,              0, 'whoever reads them in RT meanwhile has no wrong byte' );
    is( $files->ended($pid), 0, '... and it ends well' );
    $s3->faults;
    is_deeply( [ $files->left(@ids), $files->lost(@ids) ], [], '... with all in the database' );
};

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);

done_testing;
