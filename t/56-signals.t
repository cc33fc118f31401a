#!/usr/bin/perl
# Signals: storms of them during long calls, none lost; SIGPIPE; a handler that dies.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use IO::Handle;
use List::Util qw(sum uniq);
use POSIX      ();
use Test::More;
use Time::HiRes qw(alarm sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::C     qw(build_lookup build_program run_program);
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs_library needs_s3);

use constant { MEGABYTE => 1_000_000, LARGE => 20 };

my @SIGNALS = qw(TERM INT CHLD ALRM USR1 HUP);

my $class = needs_library;
my $s3    = needs_s3;
my $dir   = File::Temp->newdir;
my %keys  = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );
$s3->make_bucket('files');

sub opened {
    my (%options) = @_;
    my ( $native, $error ) = $class->open( Bucket => 'files', CAFile => $s3->ca, %keys, %options );
    return $native // die $error;
}

# Stores and reads contents of this size; returns what went wrong
my $number = 0;

sub work {
    my ( $native, $size ) = @_;
    my $text    = ++$number . "\0\xff of $$\n";
    my $content = substr $text x ( 1 + $size / length $text ), 0, $size;
    my $key     = sha256_hex($content);
    my ( $stored, $failure ) = $native->store( $key, $content );
    return "store of $size: $failure" if !defined $stored;
    ( my $read, $failure ) = $native->get($key);
    return "get of $size: $failure" if !defined $read;
    return $read eq $content ? () : "get of $size: other bytes";
}

# ---- another process that sends signals

# Sends signals to this one, until told to end: one every two milliseconds; with acknowledge => 1 each of them only after
# the last one of its kind was handled. It also looks what this process ignores and catches.
sub storm {
    my (%how) = @_;
    pipe my $told, my $tell or die $!;
    pipe my $hear, my $say  or die $!;
    my $parent = $$;
    my $pid    = fork // die $!;
    if ( !$pid ) {
        local @SIG{@SIGNALS} = ('IGNORE') x @SIGNALS;
        close $tell;
        my ( %sent, %open, %dispositions, $n );
        my $acknowledged = '';
        my $end          = time + 60;
        while ( time < $end && getppid == $parent ) {
            my $in = '';
            vec( $in, fileno $told, 1 ) = 1;
            if ( select $in, undef, undef, 0.002 ) {
                sysread $told, $acknowledged, 4096 or last;
                delete @open{ split / /, $acknowledged };
                last if $acknowledged =~ /end/;
            }
            my $signal = $SIGNALS[ $n++ % @SIGNALS ];
            if ( !$how{acknowledge} || !$open{$signal}++ ) {
                kill $signal => $parent;
                $sent{$signal}++;
            }
            $dispositions{ dispositions($parent) }++ if $n % 10 == 0;
        }
        syswrite $say, join "\n", ( map {"$_ $sent{$_}"} sort keys %sent ), ( sort keys %dispositions ), "\n";
        sleep 10;    # its own end would be one more SIGCHLD
        POSIX::_exit(0);
    }
    close $say;
    return { pid => $pid, tell => $tell, hear => $hear };
}

# Signals 1 to 32 of a process: ignored, caught
sub dispositions {
    my ($pid) = @_;
    return join ' ', slurp("/proc/$pid/status") =~ /^(Sig(?:Ign|Cgt):\t)[0-9a-f]{8}([0-9a-f]{8})/mg;
}

# Returns how many of each were sent, and what this process ignored and caught meanwhile
sub end_of {
    my ($storm) = @_;
    syswrite $storm->{tell}, ' end ';
    my $report = '';
    while ( $report !~ /\n\n\z/ ) {
        my $read = sysread $storm->{hear}, $report, 4096, length $report;
        last if defined $read ? $read == 0 : !$!{EINTR};
    }
    return ( { $report =~ /^([A-Z0-9]+) (\d+)$/mg }, $report =~ /^(Sig.*)$/mg );
}

sub reap {
    my ($storm) = @_;
    kill KILL => $storm->{pid};
    1 while waitpid( $storm->{pid}, 0 ) < 0 && $!{EINTR};
    return;
}

# ---- during long calls

my %handled;
local @SIG{@SIGNALS} = ( sub { $handled{ $_[0] }++ } ) x @SIGNALS;
my $before = dispositions($$);

for my $host ( $s3->http, $s3->https ) {
    my $native = opened( Host => $host );
    my $rate   = 1.5 * LARGE * MEGABYTE;
    my @calls  = (
        [ 'large contents', { upload_rate => $rate, rate => $rate }, sub { work( $native, LARGE * MEGABYTE ) } ],
        [ 'late answers',   { delay_ms    => 500 },                  sub { work( $native, 1_000 ) } ],
        [
            'tried again',
            { answer => { status => 503, code => 'SlowDown' } },
            sub { work( $native, 900 ) },
            nth => [ 1, 3 ]
        ],
        [
            'many small ones',
            { delay_ms => 0 },
            sub {
                map { work( $native, $_ * 997 ) } 1 .. 30;
            }
        ],
        [
            'connections',
            { delay_ms => 0 },
            sub {
                map { undef $native; $native = opened( Host => $host ); work( $native, $_ ) } 1 .. 10;
            }
        ],
    );
    for my $call (@calls) {
        my ( $name, $fault, $code, @when ) = @$call;
        $s3->faults( { key => '*', do => $fault, @when } );
        my $storm = storm();
        sleep 0.05 while !$handled{HUP};
        %handled = ();
        my $start = time;
        my @wrong = $code->();
        my $took  = time - $start;
        my @lost  = grep { !$handled{$_} } @SIGNALS;
        my ( $sent, @dispositions ) = end_of($storm);
        reap($storm);
        is_deeply( \@wrong, [], "$host, $name: a storm of signals, and no error" );
        is_deeply( \@lost,  [], '... each of them was delivered' );
        is_deeply( [ uniq @dispositions, $before ],
            [$before], '... and handlers are as they were, meanwhile and after' );
        note sprintf '%.1f s, %d signals', $took, sum values %$sent;
    }
}
$s3->faults;

# ---- none is lost

{
    my $native = opened( Host => $s3->https );
    my $storm;
    %handled = ();
    local @SIG{@SIGNALS} = ( sub { $handled{ $_[0] }++; syswrite $storm->{tell}, " $_[0] " if $storm; } ) x @SIGNALS;
    $storm = storm( acknowledge => 1 );
    $s3->faults( { operation => 'GetObject', do => { delay_ms => 20 } } );
    my @wrong = map { work( $native, $_ * 1_000 ) } 1 .. 50;
    my ($sent) = end_of($storm);
    is_deeply( \@wrong,   [],    'a hundred calls' );
    is_deeply( \%handled, $sent, '... and every signal is handled, ' . sum values %$sent );
    cmp_ok( $sent->{$_} // 0, '>', 30, "... $_ often" ) for @SIGNALS;
    ( my $ended, $storm ) = ($storm);
    reap($ended);
}

# ---- unblocked, and with the look-up of a name that hangs

# The binding keeps signals that have handlers out of native calls; a program in C need not
{
    my $program = build_program( 'signals', $dir );
    my $lookup  = build_lookup($dir);
    my ($port)  = $s3->https =~ /(\d+)\z/;
    my $rate    = 1.5 * LARGE * MEGABYTE;
    my %hosts   = (
        http      => [ $s3->http ],
        https     => [ $s3->https ],
        'look-up' => [ 'https://' . $lookup->name . ":$port", $lookup->environment ],
    );
    $s3->faults( { key => '*', do => { upload_rate => $rate, rate => $rate, delay_ms => 50 } } );
    for my $case ( sort keys %hosts ) {
        my ( $host, %env ) = @{ $hosts{$case} };
        my @arguments = ( $host, $s3->ca, 'files', $s3->access_key, $s3->secret_key, 1_000 );
        push @arguments, LARGE * MEGABYTE, 3_000 if $case ne 'look-up';
        my $run = run_program( \%env, $program, @arguments );
        is( $run->{exit}, 0, "a storm for C, $case" );
        my ( $result, $least ) = $run->{out} =~ /\A(all good), each signal at least (\d+) times\n\z/;
        is( $result, 'all good', '... no error, no wrong byte' ) or diag $run->{out}, $run->{err};
        cmp_ok( $least // 0, '>', 50, '... in a storm' );
        note sprintf '%.1f s', $run->{seconds};
    }
    $s3->faults;
}

# ---- SIGPIPE

{
    local $SIG{PIPE} = 'DEFAULT';
    my $is = dispositions($$);
    for my $host ( $s3->http, $s3->https ) {
        my $native = opened( Host => $host );
        my @wrong;
        for my $fault (
            { reset => { at => 'upload',   after => 100_000 } },
            { reset => { at => 'upload',   after => 0 } },
            { close => { at => 'upload',   after => 100_000 } },
            { reset => { at => 'answered', after => 0 } },
            )
        {
            $s3->faults( { operation => 'PutObject', nth => [ 1, 2 ], do => $fault } );
            push @wrong, work( $native, 3 * MEGABYTE );
        }
        for my $end (qw(close_ms reset_ms)) {
            $s3->faults( { key => '*', do => { $end => 0 } } );
            push @wrong, map { sleep 0.02; work( $native, 500_000 + $_ ) } 1 .. 5;
        }
        is_deeply( \@wrong, [], "$host: a server that breaks connections: no SIGPIPE, no error" );
    }
    $s3->faults;
    is( dispositions($$), $is, '... which is neither ignored nor caught' );
}

# ---- a handler that dies: when the call is over

{
    my $native  = opened( Host => $s3->https );
    my $content = 'waited for';
    my $key     = sha256_hex($content);
    for my $method (qw(store get head delete)) {
        $native->store( $key, $content );
        $s3->faults( { key => $key, nth => [1], do => { delay_ms => 900 } } );
        my $start = time;
        my @answer;
        eval {
            local $SIG{ALRM} = sub { die "too long\n" };
            alarm 0.3;
            @answer = $native->$method( $key, $method eq 'store' ? $content : () );
            alarm 0;
        };
        is( $@, "too long\n", "$method: a handler that dies" );
        cmp_ok( time - $start, '>', 0.8, '... when the call is over' );
        is_deeply( \@answer,                   [], '... in place of its answer' );
        is_deeply( [ work( $native, 2_000 ) ], [], '... and the next call is well' );
        is( blocked(), 0, '... with no signal blocked' );
    }
    $s3->faults;

    # A handler that makes a call of its own
    $native->store( $key, $content );
    $s3->faults( { key => $key, nth => [1], do => { delay_ms => 600 } } );
    my $own = '';
    local $SIG{ALRM} = sub { $own = $native->get( $key, deadline => 5_000 ) };
    alarm 0.2;
    my $read = $native->get($key);
    is( "$read, $own", "$content, $content", 'a handler reads, too' );
    $s3->faults;

    # At any moment: also when Perl has the signal already as the call begins
    my ( $inside, %count ) = (0);
    local $SIG{ALRM} = sub { return if !$inside; $inside = 0; die "now\n" };
    for ( 1 .. 2_000 ) {
        eval { $inside = 1; alarm 1e-6 * ( 1 + int rand 150 ); $native->get($key); $inside = 0; 1 } or $count{died}++;
        alarm $inside = 0;
        $count{blocked}++ if blocked();
        POSIX::sigprocmask( POSIX::SIG_SETMASK(), POSIX::SigSet->new );
    }
    cmp_ok( $count{died} // 0, '>', 500, 'a handler dies early in many calls' );
    is( $count{blocked} // 0, 0, '... and leaves no signal blocked' );
    is( $native->get($key), $content, '... nor a call undone' );
}

# ---- a process that is stopped, while its answer comes, for longer than it would wait

{
    my $native  = opened( Host => $s3->http, ReadTimeout => 0.5, Deadline => 0.8, Retries => 0 );
    my $content = 'slept through';
    my $key     = sha256_hex($content);
    $native->store( $key, $content );
    $s3->faults( { key => $key, nth => [1], do => { delay_ms => 300 } } );
    my $parent = $$;
    my $pid    = fork // die $!;
    if ( !$pid ) {
        sleep 0.1;
        kill STOP => $parent;
        sleep 1.2;
        kill CONT => $parent;
        POSIX::_exit(0);
    }
    my $start = time;
    my ( $read, $failure ) = $native->get($key);
    cmp_ok( time - $start, '>', 0.8, 'stopped, until all time was over' );
    is( $read, $content, '... and what has come meanwhile is read' ) or diag $failure->message;
    waitpid $pid, 0;
    $s3->faults;
}

sub blocked {
    my $set = POSIX::SigSet->new;
    POSIX::sigprocmask( POSIX::SIG_BLOCK(), POSIX::SigSet->new, $set );
    return scalar grep { $set->ismember($_) } 1 .. 31;
}

done_testing;
