#!/usr/bin/perl
# What one worker of a web server learns of an outage, the others know: RT under Apache with mod_perl and under starman,
# eight workers each, while S3 hangs and while it refuses; when an option is changed meanwhile; when a worker is killed.
# Both servers run at the same time and suffer the same outages, which saves the time to wait for them twice.
use strict;
use warnings;

use Digest::SHA ();
use FindBin;
use List::Util qw(max sum0);
use POSIX      ();
use Test::More;
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs needs_rt needs_s3);
use Rts3::Test::WebServer;
use Rts3::Test::WebServer::Clients;

use constant {
    WORKERS        => 8,
    DEADLINE       => 3,
    CONNECT        => 2,
    AT_ONCE        => 0.1,    # seconds in the library, for a call that does not ask the server
    LOADED_MACHINE => 3,
};

my @kinds = qw(starman mod_perl);
needs( Rts3::Test::WebServer->missing($_) ) for @kinds;
my $s3 = needs_s3;
my $rt = needs_rt(
    Rts3::Test::WebServer->rt_options(
        storage => {
            Type   => 'AmazonS3',
            Bucket => 'att',
            $s3->options,
            Deadline       => DEADLINE,
            ConnectTimeout => CONNECT,
        },
    )
);
my @files    = Rts3::Test::WebServer->external_files( $rt, map { "\1$_" x 500 } 10 .. 25 );
my @sessions = Rts3::Test::WebServer->sessions( $rt, 2 * WORKERS );
my @servers;
for my $kind (@kinds) {
    push @servers,
        Rts3::Test::WebServer->start(
        rt      => $rt,
        kind    => $kind,
        workers => WORKERS,
        port    => Rts3::Test::RT::Web->free_port
        );
}
my %server_of;    # by the worker's process id

my @answers = fetch( 20 * WORKERS );
is( count( \@answers, whole => 1 ),                   20 * WORKERS, 'all is well' );
is( ( grep { $server_of{$_} eq 0 } keys %server_of ), WORKERS,      'eight workers of starman' );
is( ( grep { $server_of{$_} eq 1 } keys %server_of ), WORKERS,      'eight workers of Apache' );

# ---- S3 hangs

begin();
$s3->freeze;
@answers = fetch( 2 * WORKERS );
is( count( \@answers, code => 503 ), 2 * WORKERS, 'S3 hangs: eight requests at the same time get 503' );
my @lost = map { lost($_) } 0, 1;
cmp_ok( $lost[$_]{longest}, '<', DEADLINE + LOADED_MACHINE / 3, "$kinds[$_]: ... after one Deadline" ) for 0, 1;
pays_no_more( 'eighty more', sub { fetch( 20 * WORKERS ) } );

pays_no_more(
    'after an option was changed',
    sub {
        ok( $servers[0]->change_option( $sessions[0], DefaultSummaryRows => 10, 11 ), '(it is changed)' );
        my @changed = fetch( 8 * WORKERS );
        my %again   = map { $_->{pid} => 1 } grep { $_->{what} eq 'init' } calls();
        is_deeply( [ grep { !$again{ $_->{worker} } } @changed ], [], '(every worker called Init again)' );
        return @changed;
    }
);

# The worker that tries whether S3 is back is killed: nobody else can know
for my $server ( 0, 1 ) {
    my ( $worker, $client ) = hanging( $server, 0 );
    ok( $worker, "$kinds[$server]: one call tries whether S3 is back" );
    kill KILL => $worker if $worker;
    end($client);
}
$s3->thaw;
recovers( 'its worker was killed', CONNECT );

# ---- S3 refuses connections

begin();
$s3->stop;
@answers = fetch( 2 * WORKERS );
is( count( \@answers, code => 503 ), 2 * WORKERS, 'S3 refuses: eight requests at the same time get 503' );
pays_no_more( 'thirty-two more', sub { fetch( 8 * WORKERS ) } );
$s3->restart;
recovers( 'S3 is back', 10 );

# ---- a worker is killed in the middle of a call

begin();
for my $server ( 0, 1 ) {
    my %stuck = stuck();
    $s3->faults( { operation => 'GetObject', key => $stuck{key}, do => { stall => { at => 'answered' } } } );
    my ( $worker, $client ) = hanging( $server, $stuck{file} );
    ok( $worker, "$kinds[$server]: a call is under way" );
    kill KILL => $worker if $worker;
    end($client);
}
$s3->faults;
@answers = fetch( 8 * WORKERS );
is( count( \@answers, whole => 1 ), 8 * WORKERS, 'their workers are killed, and the others and new ones go on' );
is( transitions( 'is down', $_ ), 0, "$kinds[$_]: without an outage" ) for 0, 1;

done_testing;

sub fetch {
    my ($count) = @_;
    my @got = Rts3::Test::WebServer::Clients::fetch(
        server   => \@servers,
        sessions => \@sessions,
        files    => \@files,
        count    => $count
    );
    $server_of{ $_->{worker} } = $_->{server} for grep { $_->{worker} } @got;
    return @got;
}

sub count {
    my ( $all, $field, $value ) = @_;
    return scalar grep { $_->{$field} == $value } @$all;
}

sub begin {
    Rts3::Test::WebServer->forget($rt);
    $rt->clear_log;
    return;
}

sub calls { return Rts3::Test::WebServer->calls($rt) }

sub server_of {
    my ($pid) = @_;
    return $server_of{$pid} //= do {
        my ($parent) = slurp("/proc/$pid/stat") =~ /\)\s\S\s(\d+)/;
        my ($server) = grep { $servers[$_]->pid == ( $parent // 0 ) } 0, 1;
        $server // -1;
    };
}

# Seconds that the library took in calls that failed, in one server, since these calls
sub lost {
    my ( $server, $after ) = @_;
    my @seconds = map { $_->{seconds} }
        grep { $_->{what} eq 'end' && $_->{answer} ne 'ok' && server_of( $_->{pid} ) == $server } calls();
    splice @seconds, 0, $after || 0;
    return { calls => scalar @seconds, sum => sum0(@seconds), longest => max( 0, @seconds ) };
}

# One outage, found out once. What comes now costs nothing, but for trials whether S3 is back.
sub pays_no_more {
    my ( $what, $requests ) = @_;
    my @before = map { lost($_) } 0, 1;
    my @trials = map { transitions( 'is still down', $_ ) } 0, 1;
    my @got    = $requests->();
    is( count( \@got, code => 503 ), scalar @got, "$what: 503" );
    for my $server ( 0, 1 ) {
        my $lost   = lost( $server, $before[$server]{calls} );
        my $trials = transitions( 'is still down', $server ) - $trials[$server];
        my @took   = sort { $a <=> $b } map { $_->{end} - $_->{begin} } grep { $_->{server} == $server } @got;
        is( transitions( 'is down', $server ), 1, "$kinds[$server]: ... for eight workers one line in the log" );
        cmp_ok( $trials,      '<=', 3, '... few trials: after 5 s, 10 s, 20 s' );
        cmp_ok( $lost->{sum}, '<', $trials * ( CONNECT + 0.5 ) + AT_ONCE * @took, '... and nobody waits but for it' );
        note sprintf '%d calls: %.3f s, the longest %.3f s; half of the answers within %.2f s', $lost->{calls},
            $lost->{sum}, $lost->{longest}, $took[ @took / 2 ];
    }
    return;
}

# How often a server's workers have said this
sub transitions {
    my ( $text, $server ) = @_;
    my @pids = $rt->log_text =~ /^\[(\d+)\][^\n]+AmazonS3 external storage: the server \Q$text\E/gm;
    return scalar grep { server_of($_) == $server } @pids;
}

# S3 is there again: seconds until a first file is whole, and then all of them are
sub recovers {
    my ( $what, $limit ) = @_;
    my $begin = clock_gettime(CLOCK_MONOTONIC);
    my %whole;
    while ( keys %whole < 2 && clock_gettime(CLOCK_MONOTONIC) - $begin < $limit + LOADED_MACHINE ) {
        for my $answer ( fetch(2) ) {
            $whole{ $answer->{server} } //= clock_gettime(CLOCK_MONOTONIC) - $begin if $answer->{whole};
        }
    }
    for my $server ( 0, 1 ) {
        cmp_ok( $whole{$server} // 1000, '<', $limit + LOADED_MACHINE,
            "$kinds[$server]: $what: soon a file is read" );
        note sprintf 'after %.1f s', $whole{$server} // 1000;
    }
    my @got = fetch( 8 * WORKERS );
    is( count( \@got, whole => 1 ), 8 * WORKERS, '... and from then on all of them, by all workers' );
    is( transitions( 'answers again', $_ ), 1, "$kinds[$_]: ... one worker says so" ) for 0, 1;
    return;
}

# A file that S3 keeps silent about
sub stuck {
    my ($digest) = sort $s3->objects('att');
    my ($index)  = grep { Digest::SHA::sha256_hex( $files[$_]{content} ) eq $digest } 0 .. $#files;
    return ( key => $digest, file => $index );
}

# Fetches a file until one of the server's workers hangs in a call: its process id, and the client's
sub hanging {
    my ( $server, $file ) = @_;
    my $end = clock_gettime(CLOCK_MONOTONIC) + 30;
    while ( clock_gettime(CLOCK_MONOTONIC) < $end ) {
        my $client = fork // die "fork: $!";
        if ( !$client ) {
            my %one = ( server => $servers[$server], sessions => [ $sessions[$server] ], files => [ $files[$file] ] );
            Rts3::Test::WebServer::Clients::fetch( %one, count => 1 );
            POSIX::_exit(0);
        }
        while ( !waitpid $client, POSIX::WNOHANG() ) {
            my %begun;
            for my $call ( grep { server_of( $_->{pid} ) == $server } calls() ) {
                $begun{ $call->{pid} } = $call->{time} if $call->{what} eq 'begin';
                delete $begun{ $call->{pid} }          if $call->{what} eq 'end';
            }
            for my $pid ( keys %begun ) {
                return ( $pid, $client ) if clock_gettime(CLOCK_MONOTONIC) - $begun{$pid} > 0.5 && kill 0, $pid;
            }
            sleep 0.05;
        }
        sleep 0.2;
    }
    return;
}

# The client of a worker that was killed
sub end {
    my ($client) = @_;
    waitpid $client, 0 if $client;
    return;
}
