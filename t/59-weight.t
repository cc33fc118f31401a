#!/usr/bin/perl
# What it weighs in every process of RT: to load the backend and to initialise it takes no network, no thread, next to no
# time and little memory. RT is there before; what is measured is the difference.
use strict;
use warnings;

use FindBin;
use List::Util qw(min);
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs needs_library needs_rt);

# Milliseconds. Where it was measured it takes 15.5, of which 6 are FFI::Platypus and OpenSSL, and Perl needs 7 to compile
# RT's own RT::Config; a slower machine has its time in proportion.
my $MOST   = 18;
my $CONFIG = 7;

my $RUNS = 7;

my $library = needs_library->library_path;
my $rt      = needs_rt(
    env     => { RTS3_LIBRARY => $library },
    backend => undef,
);

my $WEIGH = do { local $/ = undef; readline DATA };

# The processor's time, in processes that do nothing else. Other load only adds to it, so the least is what it is.
my ( @time, @config );
for ( 1 .. $RUNS ) {
    my %found = $rt->perl($WEIGH) =~ /^(milliseconds|config)=(\S+)$/mg;
    push @time,   $found{milliseconds};
    push @config, $found{config};
}
my ( $time, $config ) = ( min(@time), min(@config) );
my $most = $config > $CONFIG ? $MOST * $config / $CONFIG : $MOST;
cmp_ok( $time, '<', $most, "$time ms of processor time to load it and to initialise it" );
note sprintf '%d runs: %s ms; RT::Config: %s ms; allowed: %.1f ms', $RUNS, "@time", $config, $most;

# All else, and every system call that has to do with the network, in any thread or child: in a process that forks nothing
my ($strace) = grep {-x} map {"$_/strace"} split /:/, $ENV{PATH};
needs('strace is not installed') if !$strace && $ENV{RTS3_TEST_ALL};
my $calls = $rt->dir . '/calls';
my $begin = $rt->dir . '/begin';
my @trace = $strace ? ( $strace, '-f', '-e', 'trace=network,openat', '-o', $calls ) : ();
my $run   = Rts3::Test::Process::run(
    command => [ @trace, $^X, $rt->dir . '/program', $begin ],
    env     => { $rt->environment },
);
is( $run->{exit}, 0, 'one run' ) or diag $run->{err};
my %found = $run->{out} =~ /^(\w+)=(\S+)$/mg;
cmp_ok( $found{kilobytes}, '<', 6_000, "$found{kilobytes} kB of memory" );
is( $found{threads},     0, 'no thread' );
is( $found{descriptors}, 0, 'no descriptor stays open' );
is( $found{sockets},     0, '... or is a socket' );
SKIP: {
    skip 'strace is not installed', 1 if !$strace;
    my ($after) = slurp($calls) =~ /^[^\n]*\Q$begin\E[^\n]*\n(.*)\z/ms;
    my @network = grep { !/ openat\(/ && / \w+\(/ } split /\n/, $after // 'no begin(';
    is_deeply( \@network, [], 'no network' );
}

cmp_ok( -s $library, '<', 4 * 2**20, 'the library has ' . ( -s $library ) . ' bytes' );

done_testing;

__DATA__
use Time::HiRes qw(clock);

sub status { my ( $file, $field ) = @_; return Rts3::Test::File::slurp("/proc/self/$file") =~ /^$field:\s+(\d+)/m ? $1 : 0 }

sub descriptors {
    opendir my $directory, '/proc/self/fd' or die $!;
    my @open = map { readlink "/proc/self/fd/$_" } grep {/\d/} readdir $directory;
    return @open;
}

require Rts3::Test::File;
require RT::ExternalStorage;
die 'it is there already' if $INC{'RT/ExternalStorage/AmazonS3.pm'};
my %storage = (
    Type            => 'AmazonS3',
    Bucket          => 'attachments',
    AccessKeyId     => 'x',
    SecretAccessKey => 'y',
    Host            => 'https://s3.example.com',
);
my ($begin) = @ARGV;
opendir my $mark, $begin if $begin;    # to be found in strace's output

my @before = ( descriptors() );
my ( $threads, $memory ) = ( status( status => 'Threads' ), status( smaps_rollup => 'Private_Dirty' ) );
my $time = clock;
require RT::ExternalStorage::AmazonS3;
my $backend = RT::ExternalStorage::AmazonS3->new(%storage);    # calls Init
$time = clock() - $time;
die "no backend\n" if !$backend->{_Native};
my @after = descriptors();
printf "milliseconds=%.1f\n", $time * 1000;
printf "kilobytes=%d\n",      status( smaps_rollup => 'Private_Dirty' ) - $memory;
printf "threads=%d\n",        status( status => 'Threads' ) - $threads;
printf "descriptors=%d\n",    @after - @before;
printf "sockets=%d\n",        ( grep {/socket/} @after ) - grep {/socket/} @before;

# How fast this machine is
$time = clock;
do { no warnings; do $INC{'RT/Config.pm'} };
printf "config=%.1f\n", ( clock() - $time ) * 1000;
