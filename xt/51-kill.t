#!/usr/bin/perl
# rt-s3 externalize of 2,000 attachments, ended with kill -9 every few seconds and started again, on each database.
# RTS3_WRITE_DOCS=1: rewrite the table in docs/reliability.md, if all is well.
use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/../t/lib", "$FindBin::Bin/lib";
use Rts3::Test::EachDatabase qw(each_database write_table);
use Rts3::Test::File         qw(slurp);
use Rts3::Test::Needs        qw(needs_library);
use Rts3::Test::Process      ();

use constant { COUNT => $ENV{RTS3_ROWS} || 2000, SIZE => 20_000, LEAST => 10 };

needs_library;

# So that the servers end
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

sub killed {
    my ( $type, $rt, $rows, $s3 ) = @_;
    my @ids = $rows->add( COUNT, mark => $type, size => SIZE );

    # 4 uploads at once, of 0.1 s each
    $s3->faults( { operation => 'PutObject', do => { delay_ms => 100 } } );
    my ( $killed, $status, $start ) = ( 0, undef, time );
    while ( time - $start < 1200 ) {
        my $turn = $rt->externalizers_turn;
        my $pid  = Rts3::Test::Process::spawn(
            command => [ $rt->tool(qw(externalize --quiet --concurrency=4)) ],
            env     => { $rt->environment },
            out     => '/dev/null',
            err     => $rt->dir . '/err',
        );
        $s3->clear_log;
        my $end = time + 60;
        sleep 0.1 while time < $end && !$s3->requests( operation => 'PutObject' ) && kill 0 => $pid;
        $status = $? if Rts3::Test::Process::wait_for( $pid, 1 + rand 4 );
        last         if defined $status;
        kill KILL => $pid;
        waitpid $pid, 0;
        $killed++;
        my @lost = $rows->lost(@ids);
        is( scalar @lost, 0, "killed $killed times: none is lost, " . $rows->left(@ids) . ' are left' ) or last;
    }
    my $seconds = time - $start;
    $s3->faults;
    is( $status, 0, 'the last run moves the rest' ) or diag slurp( $rt->dir . '/err' );
    cmp_ok( $killed, '>=', LEAST, "... after $killed others" ) if COUNT >= 2000;
    is_deeply( [ $rows->left(@ids) ],   [], 'all are moved' );
    is_deeply( [ $rows->lost(@ids) ],   [], '... none is lost' );
    is_deeply( [ $rows->unread(@ids) ], [], '... all are read through RT' );
    is( $rows->mark, $ids[-1], q{... and RT's mark is at the last one} );
    my ( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep --quiet));
    is( "$exit$out$err", '0', 'rt-s3 verify --deep finds nothing' );
    return ( COUNT, $killed, sprintf '%d s', $seconds );
}

each_database( bucket => 'killed', test => \&killed );
write_table(
    'reliability.md',                                                             'kill',
    '| database | attachments | killed | from the first start to the last end |', '|---|---|---|---|'
);
done_testing;
