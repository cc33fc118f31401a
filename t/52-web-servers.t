#!/usr/bin/perl
# RT under the web servers that it is run with, files read through S3 over https, eight at a time and byte for byte:
# while workers are replaced, while the server is restarted, and after an option was changed in RT's web interface.
use strict;
use warnings;

use Digest::SHA qw(sha512);
use FindBin;
use List::Util qw(max uniq);
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs needs_rt needs_s3);
use Rts3::Test::WebServer;
use Rts3::Test::WebServer::Clients;

use constant {
    CLIENTS => 8,
    STEADY  => $ENV{RTS3_TEST_REQUESTS} // 300,    # requests of eight clients while nothing goes on
    KEPT    => 11,                                 # seconds; the library keeps an idle connection for 12
};

my $s3 = needs_s3;
my $rt = needs_rt(
    Rts3::Test::WebServer->rt_options(
        storage => {
            Type            => 'AmazonS3',
            Bucket          => 'att',
            Host            => $s3->https,
            CAFile          => $s3->ca,
            AccessKeyId     => $s3->access_key,
            SecretAccessKey => $s3->secret_key,
            ConnectTimeout  => 20,                # eight workers begin at the same time, on a loaded machine
            Deadline        => 60,
        },
    )
);
my @files    = Rts3::Test::WebServer->external_files( $rt, map { content($_) } 1000, 4096, 65_536, 100_001, 1 << 20 );
my @sessions = Rts3::Test::WebServer->sessions( $rt, CLIENTS );
my $version  = $rt->perl('print RT::ExternalStorage::AmazonS3::Native->version');
my $rows     = 10;    # what the option DefaultSummaryRows is

for my $kind (qw(mod_perl starman mod_fcgid)) {
    subtest $kind => sub {
        needs( Rts3::Test::WebServer->missing($kind) );
        serves($kind);
    };
}
done_testing;

sub serves {
    my ($kind)   = @_;
    my $forks    = $kind ne 'mod_fcgid';             # its processes have no parent that has loaded RT
    my $requests = $forks ? 5 : 10;                  # each of them takes seconds to load it
    my $begin    = clock_gettime(CLOCK_MONOTONIC);

    Rts3::Test::WebServer->forget($rt);
    $rt->clear_log;
    $s3->clear_log;
    my %server = ( rt => $rt, kind => $kind, workers => $forks ? CLIENTS : 3 );
    my $server = Rts3::Test::WebServer->start(%server);
    my @loaded = calls('init');
    is_deeply( [ uniq map { $_->{pid} } @loaded ], [ $server->pid ], 'RT is loaded before the workers are forked' )
        if $forks;
    my $lap = lap( $begin, 'start' );

    my @answers = all_whole( 'nothing going on', server => $server, count => STEADY );
    $lap = lap( $lap, STEADY . ' requests' );
    is( scalar( uniq map { $_->{worker} } @answers ), $server{workers}, 'all workers had their share' );
    @loaded = calls('init');
    my %handle = map { $_->{pid} => $_->{handle} } @loaded;
    is_deeply(
        [ uniq map {"$_->{module} $_->{library}"} @loaded ],
        [ $rt->expected_module . " $rt->{env}{RTS3_LIBRARY}" ],
        'every process has loaded our module and our library'
    );
    my %agent = map { $_->{headers}{'user-agent'} => 1 } $s3->requests;
    is_deeply( [ keys %agent ], ["rts3/$version"], '... which is what talks to S3' );

    # In each worker, RT reads the changed configuration and calls Init again
    my $changed = clock_gettime(CLOCK_MONOTONIC);
    ok( $server->change_option( $sessions[0], DefaultSummaryRows => $rows, $rows + 1 ),
        "an option is changed in RT's web interface" );
    $rows++;
    @answers = all_whole( 'after an option was changed', server => $server, count => int STEADY / 5 );
    my @again = grep { $_->{time} > $changed } calls('init');
    my %again = map  { $_->{pid} => $_->{handle} } @again;
    is_deeply( [ grep { !$again{$_} } uniq map { $_->{worker} } @answers ], [], 'every worker called Init again' );
    is_deeply(
        [ uniq values %again ],
        [ uniq map { $handle{ $forks ? $server->pid : $_ } } keys %again ],
        '... and got the handle it had'
    );
    my ( $used, $explained ) = ( scalar( uniq map { $_->{connection} } $s3->requests ), explained_connections() );
    cmp_ok( $used, '<=', $explained, '... and its connection' );
    note "$used connections, at most $explained expected";
    $lap = lap( $lap, 'changed option' );

    if ( $kind eq 'starman' ) {    # it can't change the number when it is restarted gracefully
        $server->stop;
        $server = Rts3::Test::WebServer->start( %server, requests => $requests );
    }
    my %old;
    my $restart = sub {
        %old = map { $_->{pid} => 1 } calls('begin');
        $server->graceful( requests => $requests );
    };
    my $count = int STEADY / 3;
    @answers = all_whole(
        'across a graceful restart, with workers replaced',
        server    => $server,
        count     => $count,
        meanwhile => [ int( $count / 3 ) => $restart ]
    );
    my %new;
    $new{ $_->{worker} }++ for grep { !$old{ $_->{worker} } } @answers;
    cmp_ok( scalar keys %new,   '>=', $forks ? 8 : 3, 'new workers' );
    cmp_ok( max( values %new ), '<=', $requests,      "... each for $requests requests at most" );
    note scalar( keys %new ), ' new workers';
    lap( $lap, "$count requests" );

    my @cries = grep {/\[(?:error|critical|alert)\]/} split /^/, $rt->log_text;
    is_deeply( \@cries, [], "no error in RT's log" );
    unlike( $server->errors, qr/segmentation|exit signal|abort|panic|free/i, 'no crash' );
    $server->stop;
    return;
}

sub all_whole {
    my ( $what, %options ) = @_;
    my @answers = Rts3::Test::WebServer::Clients::fetch( sessions => \@sessions, files => \@files, %options );
    my %bad;
    $bad{ $_->{code} == 200 ? 'other bytes' : $_->{status} }++ for grep { !$_->{whole} } @answers;
    is_deeply( \%bad, {}, "$what: each of $options{count} files byte for byte" )
        or diag substr $options{server}->errors, -2000;
    note sprintf 'the slowest took %.1f s', max( map { $_->{end} - $_->{begin} } @answers );
    return @answers;
}

sub calls {
    my ($what) = @_;
    return grep { $_->{what} eq $what } Rts3::Test::WebServer->calls($rt);
}

# One for each process, and one wherever it was idle for so long that it has let its connection go
sub explained_connections {
    my ( $count, %idle_since ) = (0);
    for my $call ( Rts3::Test::WebServer->calls($rt) ) {
        my $pid = $call->{pid};
        if ( $call->{what} eq 'begin' ) {
            $count++ if !defined $idle_since{$pid} || $call->{time} - $idle_since{$pid} > KEPT;
        }
        elsif ( $call->{what} eq 'end' ) { $idle_since{$pid} = $call->{time} }
    }
    return $count;
}

sub content {
    my ($size) = @_;
    my $number = 0;
    my $bytes  = '';
    $bytes .= sha512( $size . '.' . $number++ ) while length $bytes < $size;
    return substr $bytes, 0, $size;
}

sub lap {
    my ( $since, $what ) = @_;
    my $now = clock_gettime(CLOCK_MONOTONIC);
    note sprintf '%s: %.1f s', $what, $now - $since;
    return $now;
}
