#!/usr/bin/perl
# Fuzzes the library, a minute for each target of xt/fuzz, beginning with t/corpus; whatever breaks a promise fails.
# FUZZ_SECONDS: how long for each target; FUZZ_TARGETS: which, with blanks between them; RTS3_WRITE_CORPUS=1: put what was
# found into t/corpus, as little of it as has all of the coverage.
use strict;
use warnings;

use Config;
use File::Basename qw(basename);
use File::Copy     qw(copy);
use File::Path     qw(make_path);
use File::Temp;
use FindBin;
use List::Util qw(max min);
use Test::More;

use lib "$FindBin::Bin/../t/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs);
use Rts3::Test::Process;

my $Seconds  = $ENV{FUZZ_SECONDS} || 60;
my @Targets  = split ' ', $ENV{FUZZ_TARGETS} || 'options key answer raw abi';
my $Fuzz     = "$FindBin::Bin/fuzz";
my $Corpus   = "$FindBin::Bin/../t/corpus";
my $Found    = "$Fuzz/target/found";
my $Platform = 'x86_64-unknown-linux-gnu';
my $Longest  = 1500;                          # bytes of an input
my $Kept     = 60;                            # inputs of a target that were found, any of them

# Each set of options keeps a page of memory for good, and a process may have some 65,000 of them.
my %Most = ( answer => 20_000, raw => 20_000, abi => 3_000 );

# These wait for a connection more than they compute, so several processes share what they find. And choosing inputs by how
# rare that is takes libFuzzer more time than to try one.
my %Processes = ( answer => 4, raw => 4 );
my @Waiting   = ('-entropic=0');

# What libFuzzer needs of the compiler, and AddressSanitizer. RUSTC_BOOTSTRAP allows the stable one to do it.
my @Flags = (
    '--cfg fuzzing',
    '-Cpasses=sancov-module',
    ( map {"-Cllvm-args=-sanitizer-coverage-$_"} qw(level=4 inline-8bit-counters pc-table trace-compares) ),
    '-Zsanitizer=address', '-Ccodegen-units=1',
);

# As Rts3::Test::Needs says it of other things that are not there.
needs("Linux on x86_64, not $Config{archname}") if $Config{archname} !~ /^x86_64-linux/;
needs('cargo, from https://rustup.rs')          if system 'cargo --version >/dev/null 2>&1';
needs('a C++ compiler: apt-get install g++')    if system 'c++ --version >/dev/null 2>&1';

# The targets ask nobody but themselves.
delete @ENV{qw(http_proxy https_proxy HTTPS_PROXY no_proxy NO_PROXY CARGO_TARGET_DIR)};
delete @ENV{ grep {/^AWS_/} keys %ENV };

{
    local @ENV{qw(RUSTC_BOOTSTRAP RUSTFLAGS)} = ( 1, "@Flags" );
    diag 'Building the targets: some minutes at first';
    system( qw(cargo build --locked --release --bins --target), $Platform, '--manifest-path', "$Fuzz/Cargo.toml" )
        == 0
        or BAIL_OUT('The targets can\'t be built');
}

for my $target (@Targets) {
    my $found = "$Found/$target";
    make_path($found);
    my %sum = ( executions => 0 );
    my $end = time + $Seconds;
    my $ok  = 1;
    while ( $ok && ( my $left = $end - time ) > 0 ) {
        $ok = fuzz( $target, \%sum, "-max_total_time=$left", $Most{$target} ? "-runs=$Most{$target}" : () );
    }
    ok( $ok, "$target: $sum{executions} executions, edges $sum{cov}, features $sum{ft}" );
    minimise($target) if $ok && $ENV{RTS3_WRITE_CORPUS};
}
done_testing;

# As many processes of libFuzzer as the target has. Adds to the figures; false if one has found something, which is said.
sub fuzz {
    my ( $target, $sum, @arguments ) = @_;
    my @output = run(
        $Processes{$target} // 1,           $target,
        "-artifact_prefix=$Found/$target-", "-max_len=$Longest",
        qw(-timeout=60 -rss_limit_mb=4096 -print_final_stats=1), ( $Processes{$target} ? @Waiting : () ),
        @arguments, "$Found/$target",
        "$Corpus/$target"
    );
    my $ok = 1;
    for my $run (@output) {
        my ( $status, $output ) = @{$run};
        $sum->{executions} += $1 if $output =~ /stat::number_of_executed_units:\s*(\d+)/;
        while ( $output =~ /\bcov: (\d+) ft: (\d+)/g ) {
            $sum->{cov} = max( $sum->{cov} // 0, $1 );
            $sum->{ft}  = max( $sum->{ft}  // 0, $2 );
        }
        next if $status == 0;

        $ok = 0;
        my ($input) = $output =~ /Test unit written to (\S+)/;
        my ($what)  = $output =~ /panicked at (.*\n.*)/;
        $what //= $1 if $output =~ /^(?:SUMMARY|==\d+== ERROR): (.*)/m;
        diag "$target: ",                                      $what  // substr( $output, -2000 );
        diag "input: ",                                        $input // 'none';
        diag "Again: $Fuzz/target/$Platform/release/$target ", $input // '';
    }
    return $ok;
}

# Inputs with a name stay. Of those that were found, in this run or before, those stay that add to them.
sub minimise {
    my ($target) = @_;
    my $kept     = File::Temp->newdir;
    my @old      = glob "$Corpus/$target/*";
    copy( $_, $kept ) or die "$_: $!" for grep { !is_found($_) } @old;
    my ($run) = run( 1, $target, qw(-set_cover_merge=1 -timeout=60),
        "-max_len=$Longest", "$kept", "$Corpus/$target", "$Found/$target" );
    is( $run->[0], 0, "$target: the corpus is minimised" ) or return;
    unlink grep { is_found($_) } @old;
    my @new = grep { is_found($_) } glob "$kept/*";
    copy( $_, "$Corpus/$target" ) or die "$_: $!" for @new[ 0 .. min( $#new, $Kept - 1 ) ];
    return;
}

# libFuzzer names inputs by their SHA-1.
sub is_found {
    my ($path) = @_;
    return basename($path) =~ /\A[0-9a-f]{40}\z/;
}

# Starts so many processes of a target; of each, when all have ended, its status and what it said.
sub run {
    my ( $processes, $target, @arguments ) = @_;
    my @started;
    for ( 1 .. $processes ) {
        my $said = File::Temp->new;
        my $pid  = Rts3::Test::Process::spawn(
            command => [ "$Fuzz/target/$Platform/release/$target", @arguments ],
            out     => '/dev/null',
            err     => $said->filename,
        );
        push @started, [ $pid, $said ];
    }
    my @ended;
    for my $process (@started) {
        waitpid $process->[0], 0;
        push @ended, [ $?, slurp( $process->[1]->filename ) ];
    }
    return @ended;
}
