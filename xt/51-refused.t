#!/usr/bin/perl
# rt-s3 externalize where the database refuses: one row is locked, the connection is ended, nothing may be written.
use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/../t/lib", "$FindBin::Bin/lib";
use Rts3::Test::EachDatabase qw(each_database);
use Rts3::Test::File         qw(slurp);
use Rts3::Test::Needs        qw(needs_library);
use Rts3::Test::Process      ();

needs_library;

# So that the servers end
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my %LOCK_TIMEOUT = (
    Pg    => q{ALTER DATABASE rt5 SET lock_timeout = '1s'},
    mysql => 'SET GLOBAL innodb_lock_wait_timeout = 1'
);

sub ends_connections {
    my ( $type, $dbh ) = @_;
    return $dbh->do( q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() }
            . q{AND datname = 'rt5'} )
        if $type eq 'Pg';
    for my $other ( @{ $dbh->selectall_arrayref('SHOW PROCESSLIST') } ) {
        my ( $id, undef, undef, $database ) = @{$other};
        $dbh->do("KILL $id") if ( $database // '' ) eq 'rt5' && $id != $dbh->{mysql_thread_id};
    }
    return;
}

sub forbids {
    my ( $type, $rt, $server ) = @_;
    if ( $type eq 'Pg' ) {
        $server->dbh->do('ALTER DATABASE rt5 SET default_transaction_read_only = on');
        return sub {
            my $dbh = $server->dbh;
            $dbh->do('SET default_transaction_read_only = off');
            $dbh->do('ALTER DATABASE rt5 RESET default_transaction_read_only');
        };
    }
    $server->dbh->do($_) for 'CREATE USER reader@localhost', 'GRANT SELECT ON rt5.* TO reader@localhost';
    $rt->set_config( $server->config . 'Set($DatabaseUser, "reader");' );
    return sub { $rt->set_config( $server->config ) };
}

sub refused {
    my ( $type, $rt, $rows, $s3, $server ) = @_;
    my $dbh = $server->dbh;
    $dbh->do( $LOCK_TIMEOUT{$type} );

    my @ids = $rows->add( 120, mark => 'locked' );
    $dbh->begin_work;
    $dbh->selectall_arrayref("SELECT id FROM Attachments WHERE id = $ids[5] FOR UPDATE");
    my ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 1, 'a row is locked: exit status' );
    like( $err, qr/^RT::Attachments $ids[5]: not moved: the database can't be changed: .*lock/mi, '... it is named' );
    is_deeply( [ $rows->left(@ids) ], [ $ids[5] ], '... the others are moved' );
    is( $rows->mark, $ids[4], '... the mark does not pass it' );
    $dbh->rollback;
    ($exit) = $rt->run_tool('externalize');
    is_deeply( [ $exit, $rows->left(@ids) ], [0], '... and the next run moves it' );

    push @ids, $rows->add( 100, mark => 'ended' );
    $s3->clear_log;
    $s3->faults( { operation => 'PutObject', do => { delay_ms => 200 } } );
    my $turn = $rt->externalizers_turn;
    my $pid  = Rts3::Test::Process::spawn(
        command => [ $rt->tool(qw(externalize --concurrency=4)) ],
        env     => { $rt->environment },
        out     => '/dev/null',
        err     => $rt->dir . '/err',
    );
    my $end = time + 60;
    sleep 0.05 while time < $end && $s3->requests( operation => 'PutObject' ) < 10;
    ends_connections( $type, $dbh );
    ok( Rts3::Test::Process::wait_for( $pid, 60 ), 'its connection is ended' );
    is( $?, 0, '... it goes on with another one' ) or diag slurp( $rt->dir . '/err' );
    undef $turn;
    $s3->faults;
    is_deeply( [ $rows->left(@ids) ], [], '... all are moved' );

    my @more   = $rows->add( 20, mark => 'forbidden' );
    my $allows = forbids( $type, $rt, $server );
    ( $exit, $out, $err ) = $rt->run_tool('externalize');
    $allows->();
    is( $exit, 2, 'nothing may be written: exit status' );
    like( $err, qr/^rt-s3 externalize: stopped, .*the database can't be changed: /m, '... and why' );
    is( scalar( $rows->left(@more) ), 20, '... the rows are what they were' );
    ($exit) = $rt->run_tool('externalize');
    is_deeply( [ $exit, $rows->left(@more) ], [0], '... and the next run moves them' );
    is_deeply( [ $rows->lost( @ids, @more ), $rows->unread( @ids, @more ) ],
        [], 'all are there, and read through RT' );
    ( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep --quiet));
    is( "$exit$out$err", '0', 'rt-s3 verify --deep finds nothing' );
    return;
}

$ENV{RTS3_DATABASES} //= 'Pg,mysql';    ## no critic (RequireLocalizedPunctuationVars) SQLite locks all or nothing
each_database( bucket => 'refused', test => \&refused );
done_testing;
