#!/usr/bin/perl
# rt-s3 internalize on PostgreSQL and MariaDB: there and back again, ended in the middle, and what is too large.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::DatabaseServer ();
use Rts3::Test::File           qw(slurp);
use Rts3::Test::Internalize    qw(add_rows beside columns internalize mark);
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);
use Rts3::Test::Process        ();

needs_library;
needs( Rts3::Test::DatabaseServer->missing($_) ) for qw(Pg mysql);
my $s3     = needs_s3;
my $config = 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ");\n";

# What RT would do with that when it is new
my $limits = 'Set($MaxAttachmentSize, 1_000); Set($TruncateLongAttachments, 1); Set($DropLongAttachments, 1);';

for my $type (qw(Pg mysql)) {
    my $server  = Rts3::Test::DatabaseServer->start($type);
    my $bucket  = lc "on-$type";
    my %storage = ( Type => 'AmazonS3', Bucket => $bucket, $s3->options );
    my $rt      = needs_rt( storage => \%storage, config => $server->config . $config );

    my $started = sub {
        my $pid = Rts3::Test::Process::spawn(
            command => [ $rt->tool( 'internalize', '--concurrency=2' ) ],
            env     => { $rt->environment },
            out     => $rt->dir . '/out',
            err     => $rt->dir . '/err',
        );
        my $end = time + 30;
        sleep 0.05 while time < $end && $s3->requests( operation => 'GetObject' ) < 14;
        return $pid;
    };

    subtest "$type: there and back again" => sub {
        my ($contents) = Rts3::Test::Contents->create( $rt, {} );
        my $moved      = () = $contents->moved;
        my $before     = columns( $server->dbh );
        my $beside     = beside( $server->dbh );
        my ($exit)     = $rt->run_tool(qw(externalize --quiet));
        is( $exit, 0, 'all is in the bucket' );
        my $external = columns( $server->dbh );
        is( scalar( grep {/^external /} values %{$external} ), $moved, '... all that RT moves' );
        my @objects = $s3->objects($bucket);

        $rt->set_config( $server->config . $config . $limits );
        ( $exit, my ( $out, $err ) ) = internalize($rt);
        is( $exit . $err, '0', 'back into the database' );
        like( $out, qr/^$moved moved back .* 0 failed$/m, '... all of it' );
        is_deeply( columns( $server->dbh ), $before, '... every row is what it was, column for column' );
        $rt->set_storage;
        is_deeply( [ $contents->not_intact ], [], '... and RT reads it without S3' );
        $rt->set_storage(%storage);

        ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments');
        is( $exit . $err, '0', "RT's own script" );
        is_deeply( columns( $server->dbh ),   $external, '... moves all of it again' );
        is_deeply( [ $s3->objects($bucket) ], \@objects, '... to the same objects' );

        if ( $type eq 'mysql' ) {
            my $most = 2_000_000;
            $server->dbh->do("SET GLOBAL max_allowed_packet = $most");
            ( $exit, $out, $err ) = internalize($rt);
            is( $exit, 1, 'one that the database does not take: exit status' );
            like(
                $err,
                qr/^RT::Attachments \d+: not moved back: the database takes \d+ bytes at once .*"5MB.bin"/m,
                '... it is named, and why'
            );
            my $rest = $moved - 1;
            like( $out, qr/^$rest moved back .* 1 failed$/m, '... the others are moved' );
            $server->dbh->do('SET GLOBAL max_allowed_packet = 67108864');
        }
        ( $exit, $out, $err ) = internalize($rt);
        is( $exit . $err, '0', 'and back again' );
        is_deeply( columns( $server->dbh ), $before, '... every row is what it was, column for column' );
        is_deeply( beside( $server->dbh ),  $beside, '... and what stands beside it' );
    };

    subtest "$type: ended in the middle" => sub {
        my $dbh    = $server->dbh;
        my ($like) = $dbh->selectrow_array(q{SELECT id FROM Attachments WHERE Filename = 'one.bin'});
        my @ids    = add_rows( $dbh, $like, map { "$type $_ " . 'x' x 500 } 1 .. 60 );
        my $before = columns($dbh);
        my %key    = map { ( "Attachments $_->[0]" => sha256_hex( $_->[1] ) ) }
            @{ $dbh->selectall_arrayref("SELECT id, Content FROM Attachments WHERE id >= $ids[0]") };
        $rt->run_tool(qw(externalize --quiet));
        my $left = sub {
            my $is = columns( $server->dbh );
            return grep { $is->{$_} =~ /^external/ } sort keys %key;
        };
        my $lost = sub {
            my $is = columns( $server->dbh );
            return grep { $is->{$_} ne $before->{$_} && $is->{$_} ne 'external ' . sha256_hex( $key{$_} ) } keys %key;
        };
        is( scalar( $left->() ), 60, 'all is in the bucket' );

        $s3->faults( { operation => 'GetObject', do => { delay_ms => 100 } } );
        for my $round ( 1 .. 2 ) {
            $s3->clear_log;
            my $turn = $rt->externalizers_turn;
            my $pid  = $started->();
            kill KILL => $pid;
            Rts3::Test::Process::wait_for( $pid, 60 );
            undef $turn;
            is_deeply( [ $lost->() ], [], "round $round, kill -9: none is lost" );
            my $took = time;
            $server->dbh->do( 'UPDATE Attachments SET Subject = ? WHERE id = ?', undef, 'free', $_ ) for @ids;
            cmp_ok( time - $took, '<', 10, '... and no row stays locked' );
        }
        cmp_ok( scalar( $left->() ),            '>', 0,       'some are left' );
        cmp_ok( mark($rt)->{'RT::Attachments'}, '<', $ids[0], 'the mark is before them' );

        $s3->clear_log;
        my $turn = $rt->externalizers_turn;
        my $pid  = $started->();
        $server->stop;
        ok( Rts3::Test::Process::wait_for( $pid, 60 ), 'the database goes away: it ends' );
        undef $turn;
        is( $? >> 8, 2, '... with its exit status' );
        like( slurp( $rt->dir . '/err' ), qr/^rt-s3 internalize: .*database/m, '... and says why' );
        $s3->faults;
    };
}

done_testing;
