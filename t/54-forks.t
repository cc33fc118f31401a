#!/usr/bin/perl
# Forks: children and their parent use the library at once, over https, in every way that processes come and go; a fork
# while another thread is in a call; a fork while the look-up of a name hangs.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::C     qw(build_lookup build_program run_program);
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs_library needs_s3);

use constant { WAVES => 12, CHILDREN => 16, SINGLE => 16, SECONDS => 30, NEVER => 4711 };

my $class = needs_library;
my $s3    = needs_s3;
my $dir   = File::Temp->newdir;
my @keys  = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );
$s3->make_bucket('files');

# The system's authorities would take most of the time of a new process
local $ENV{SSL_CERT_FILE} = $s3->ca;
local $ENV{SSL_CERT_DIR}  = "$dir";

my ( $native, $error ) = $class->open( Bucket => 'files', Host => $s3->https, CAFile => $s3->ca, @keys );
die $error if !$native;

# Whose content it is, its key tells: so the server's log tells who has used which connection
my @sizes = ( 60, 3_000, 70_000, 200_000 );

sub content {
    my ( $who, $n ) = @_;
    my $text = "$n of $who, ";
    return substr $text x ( 1 + $sizes[$n] / length $text ), 0, $sizes[$n];
}

# Stores and reads back; returns what went wrong
sub work {
    my ( $who, @numbers ) = @_;
    for my $n (@numbers) {
        my $content = content( $who, $n );
        my $key     = sha256_hex($content);
        my ( $stored, $failure ) = $native->store( $key, $content );
        return "$who: store: $failure" if !defined $stored;
        ( my $read, $failure ) = $native->get($key);
        return "$who: get: $failure"  if !defined $read;
        return "$who: get: not equal" if $read ne $content;
    }
    return;
}

# ---- what calls leave alone: $?, handlers, the kernel's view of them

my ( %ended, $forked );
my $reap = sub {
    local ( $?, $! ) = ( 0, 0 );
    while ( ( my $pid = waitpid -1, WNOHANG ) > 0 ) { $ended{$pid} = $? }
};
local $SIG{CHLD} = $reap;
local $? = NEVER;
my $signals = signals();
my @wrong   = work( 'parent before', 0 .. 3 );
is_deeply( \@wrong, [], 'the parent works' );
is( $?,         NEVER,    '... $? is as it was' );
is( $SIG{CHLD}, $reap,    '... so is $SIG{CHLD}' );
is( signals(),  $signals, '... so are the signals that are blocked, ignored and caught' );
my ($connection) = map { $_->{connection} } $s3->requests;

# Signals 1 to 32: the next one is glibc's own, which it catches from the first thread on
sub signals {
    return join ' ', slurp('/proc/self/status') =~ /^(Sig(?:Blk|Ign|Cgt):\t)[0-9a-f]{8}([0-9a-f]{8})/mg;
}

# ---- processes come and go in all ways

sub in_child {
    my ($code) = @_;
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    local @SIG{qw(CHLD ALRM)} = ('DEFAULT') x 2;
    alarm SECONDS;
    my $failure = eval { $code->(); } // $@;
    spew( "$dir/$$.failure", $failure ) if length $failure;
    POSIX::_exit( length $failure ? 1 : 0 );
}

my @open = ( '-e', 'exit grep { (readlink $_ // "") =~ /socket|eventpoll/ } glob "/proc/self/fd/{[3-9],??*}"' );
my @ways = (

    # what becomes of a child; returns what went wrong
    [ 'ends as usual'   => sub { work( $_[0], 0, 1 ) // exit 0 } ],
    [ '_exit'           => sub { work( $_[0], 1, 0 ) } ],
    [ 'closes'          => sub { my $failed = work( $_[0], 0 ); undef $native; $failed // exit 0 } ],
    [ 'closes at once'  => sub { undef $native; exit 0 } ],
    [ 'never uses it'   => sub { exit 0 } ],
    [ 'killed'          => sub { work( $_[0], 0, 2 ) // kill KILL => $$ } ],
    [ 'has a child'     => sub { work( $_[0], 0 ) // grandchild( $_[0] ) // work( $_[0], 1, 3 ) } ],
    [ 'has one first'   => sub { grandchild( $_[0] ) // work( $_[0], 0 ) } ],
    [ 'another program' => sub { my $failed = work( $_[0], 0 ); return $failed if $failed; exec $^X, @open } ],
);

sub grandchild {
    my ($who) = @_;
    my $pid = in_child( sub { work( "$who, its child", 0, 1 ) } );
    waitpid $pid, 0;
    return $? ? "$who: its child: " . ( slurp("$dir/$pid.failure") || "status $?" ) : undef;
}

# Waits until all have ended; meanwhile the parent works on
sub wait_for {
    my (@pids) = @_;
    my $end    = time + SECONDS + 10;
    my $n      = 0;
    while ( grep { !exists $ended{$_} } @pids ) {
        if ( time > $end ) {
            kill KILL => grep { !exists $ended{$_} } @pids;
            return 'children that do not end';
        }
        my $failure = work( "parent of $pids[0]", $n++ % 4 );
        return $failure if defined $failure;
        push @wrong, "\$? is $?" if $? != NEVER;
    }
    return;
}

my ( %status, %way );
$s3->clear_log;
my %owner;    # who may use a key

sub start {
    my ($index) = @_;
    my ( $name, $code ) = @{ $ways[ $index % @ways ] };
    my $who = "child $index";
    $owner{ sha256_hex( content( $who,              $_ ) ) } = $who              for 0 .. 3;
    $owner{ sha256_hex( content( "$who, its child", $_ ) ) } = "$who, its child" for 0 .. 3;
    my $pid = in_child( sub { $code->($who) // '' } );
    $forked++;
    $way{$pid} = $name;
    return $pid;
}

my $start = time;
for my $wave ( 0 .. WAVES - 1 ) {
    my @pids = map { start( $wave * CHILDREN + $_ ) } 1 .. CHILDREN;
    push @wrong, grep {defined} wait_for(@pids);
}
for my $single ( 1 .. SINGLE ) {
    push @wrong, grep {defined} wait_for( start( WAVES * CHILDREN + $single ) );
}
note sprintf '%d children in %.1f s', $forked, time - $start;
for my $pid ( sort keys %way ) {
    my $expected = $way{$pid} eq 'killed' ? 9 : 0;
    my $failure  = slurp("$dir/$pid.failure");
    push @wrong, "$way{$pid}: status " . ( $ended{$pid} // 'none' ) . " $failure"
        if ( $ended{$pid} // -1 ) != $expected;
}
is_deeply( \@wrong, [], "$forked children, their children and their parent: no error, no wrong byte, all end" );
is( scalar keys %ended, $forked,  'the handler of SIGCHLD has seen each child, and nothing else' );
is( $?,                 NEVER,    '$? is as it was' );
is( $SIG{CHLD},         $reap,    'so is $SIG{CHLD}' );
is( signals(),          $signals, 'so are the signals' );

# ---- whose connections they were

is( work( 'parent after', 0 ), undef, 'the parent works on' );
my %by;
for my $request ( $s3->requests ) {
    my $owner = $owner{ $request->{key} } // 'parent';
    $by{ $request->{connection} }{$owner}++;
}
is_deeply( [ grep { keys %{ $by{$_} } > 1 } keys %by ], [],            'no connection was used by two processes' );
is_deeply( [ grep { $by{$_}{parent} } keys %by ],       [$connection], 'the parent has kept its only connection' );
my %connections;
$connections{$_}++ for map { keys %{$_} } values %by;
is_deeply( [ grep { $connections{$_} > 1 } keys %connections ], [], 'each process needed one' );
cmp_ok( keys %connections, '>', WAVES * CHILDREN * 0.8, '... ' . keys %connections );
is_deeply( [ grep { $_->{event} eq 'closed' && $_->{id} == $connection } $s3->log_lines ],
    [], 'nobody has closed the parent\'s' );

# ---- forks while other threads are in calls

my $program = build_program( 'forks', $dir );
my $content = 'read by all' x 1_000;
my $key     = sha256_hex($content);
spew( $s3->object_path( 'files', $key ), $content );

sub forks {
    my ( $what, $children, $env, $host ) = @_;
    my @s3  = ( $host, $s3->ca, 'files', $s3->access_key, $s3->secret_key, $key );
    my $run = run_program( $env, $program, $what, $children, @s3 );
    my @ok  = $run->{out} =~ /^child \d+ 0$/mg;
    is( scalar @ok, $children, "$what: the children" ) or diag $run->{out} =~ s/^child \d+ 0\n//mgr, $run->{err};
    like( $run->{out}, qr/^[1-9]\d* good, 0 bad$/m, "$what: the other threads" ) or diag $run->{err};
    note sprintf '%s: %.1f s, %s', $what, $run->{seconds}, $run->{out} =~ /^(.*good.*)/m;
    return $run;
}

$s3->clear_log;
$s3->faults( { key => $key, do => { delay_ms => 100 } } );
forks( 'calls', 20, {}, $s3->https );
my %readers = map { ( $_->{connection} => 1 ) } $s3->requests( key       => $key );
my %writers = map { ( $_->{connection} => 1 ) } $s3->requests( operation => 'PutObject' );
is( scalar keys %readers,                          1, 'calls: the parent has kept its connection' );
is( scalar( grep { $readers{$_} } keys %writers ), 0, '... and no child has used it' );
$s3->faults;
forks( 'connects', 60, {}, $s3->http );

# OpenSSL's own locks are taken most while it reads the system's authorities
forks( 'connects', 6, { SSL_CERT_FILE => undef, SSL_CERT_DIR => undef }, $s3->https );

# ---- a fork while the look-up of a name hangs

my $lookup = build_lookup($dir);
my ($port) = $s3->https =~ /(\d+)\z/;
my $run    = forks( 'lookup', 3, { $lookup->environment }, 'https://' . $lookup->name . ":$port" );
like( $run->{out}, qr/^0 calls before$/m, 'the parent\'s look-up hung meanwhile' );
my @children = $run->{out} =~ /^child (\d+)/mg;
is_deeply(
    [ map { [ $lookup->begun($_), $lookup->ended($_) ] } @children, $run->{pid} ],
    [ ( [ 1, 1 ] ) x 4 ],
    'every process has looked it up for itself, once'
);

done_testing;
exit 0;    # not $?
