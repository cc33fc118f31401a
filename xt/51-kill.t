#!/usr/bin/perl
# rt-s3 externalize of 2,000 attachments, ended with kill -9 every few seconds and started again, on each database.
# RTS3_WRITE_DOCS=1: rewrite the table in docs/reliability.md, if all is well.
use strict;
use warnings;

use FindBin;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/../t/lib";
use Rts3::Test::AttachmentRows ();
use Rts3::Test::DatabaseServer ();
use Rts3::Test::File           qw(slurp spew);
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);
use Rts3::Test::Process        ();

use constant { COUNT => $ENV{RTS3_ROWS} || 2000, SIZE => 20_000, LEAST => 10 };

needs_library;

# So that the servers end
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my %NAME = ( SQLite => 'SQLite', Pg => 'PostgreSQL', mysql => 'MariaDB' );
my ( %figures, $s3 );

for my $type ( split /,/, $ENV{RTS3_DATABASES} || 'SQLite,Pg,mysql' ) {
    subtest $NAME{$type} => sub {
        needs( Rts3::Test::DatabaseServer->missing($type) ) if $type ne 'SQLite';
        $s3 //= needs_s3;
        my $bucket = lc "killed-$type";
        my $server = $type eq 'SQLite' ? undef : Rts3::Test::DatabaseServer->start($type);
        my $rt     = needs_rt(
            storage => { Type => 'AmazonS3', Bucket => $bucket, $s3->options },
            config  => $server ? $server->config : ''
        );
        $s3->make_bucket($bucket);
        my $rows = Rts3::Test::AttachmentRows->new(
            rt     => $rt,
            s3     => $s3,
            bucket => $bucket,
            ( $server ? ( dbh => sub { $server->dbh } ) : () )
        );
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
        $figures{$type} = sprintf "| %s | %d | %d | %d s |\n", $NAME{$type}, COUNT, $killed, $seconds;
        diag $figures{$type};
    };
}

if ( $ENV{RTS3_WRITE_DOCS} && Test::More->builder->is_passing ) {
    my $file = "$FindBin::Bin/../docs/reliability.md";
    my $page = slurp($file);
    my $date = strftime( '%Y-%m-%d', gmtime );
    my $table =
          "| database | attachments | killed | from the first start to the last end |\n|---|---|---|---|\n"
        . join( '', map { $figures{$_} // () } qw(SQLite Pg mysql) )
        . "\nMeasured $date.\n";
    $page =~ s/(?<=<!-- kill -->\n).*?(?=<!-- end -->)/$table/s or die "$file has no place for the table";
    spew( $file, $page );
}
done_testing;
