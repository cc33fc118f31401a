#!/usr/bin/perl
# Threads: calls from threads of C and of Perl; the library's objects cloned into Perl threads; and the only thread that
# the library ever starts, the one that looks up a name.
use strict;
use warnings;

use Config;
use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use List::Util qw(uniq);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::C       qw(build_lookup build_program run_program);
use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Needs   qw(needs_library needs_s3);
use Rts3::Test::Process ();
use Rts3::Test::RT;

my $class = needs_library;
my $s3    = needs_s3;
my $dir   = File::Temp->newdir;
my %keys  = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );
my %s3    = ( Bucket => 'files', Host => $s3->https, CAFile => $s3->ca, %keys );
$s3->make_bucket('files');

# ---- threads of C

my $program = build_program( 'threads', $dir );
for my $case ( [ same => 1, 'one handle: one connection, the calls take turns' ], [ each => 8, 'a handle each' ] ) {
    my ( $which, $connections, $name ) = @$case;
    $s3->clear_log;
    my $run = run_program( {}, $program, $which, @s3{qw(Host CAFile Bucket AccessKeyId SecretAccessKey)} );
    is( $run->{out}, "400 calls, 1 threads left\n", "eight threads, fifty calls each: $name" ) or diag $run->{err};
    my %handles;    # a connection, and the prefix that tells the handle
    $handles{ $_->{connection} . ' ' . ( $_->{key} =~ m{^(t\d/)} ? $1 : '' ) } = $_->{connection} for $s3->requests;
    is( scalar keys %handles, scalar uniq( values %handles ), '... no connection was used by two handles' );
    cmp_ok( scalar keys %handles, $which eq 'same' ? '==' : '>=', $connections, "... connections: $connections" );
    note sprintf '%.1f s', $run->{seconds};
}

# ---- threads of Perl

# In a process of its own, since with threads the objects of this test would be cloned, too. Each thread leaves its
# objects in another way; what went wrong is printed.
my $threads = <<'END';
    use threads;
    use Digest::SHA qw(sha256_hex);
    my @wrong;
    sub work {
        my ( $store, $get, $who, $calls ) = @_;
        my @failed;
        for my $n ( 1 .. $calls ) {
            my $content = "$n of $who \xff\0" x ( 1 + 3_000 * ( $n % 3 ) );
            my $key     = sha256_hex($content);
            my ( $stored, $error ) = $store->( $key, $content );
            push @failed, "$who: store: $error" if !defined $stored;
            ( my $read, $error ) = $get->($key);
            push @failed, "$who: get: $error" if !defined $read;
            push @failed, "$who: other bytes" if defined $read && $read ne $content;
        }
        return @failed;
    }
    sub wave {
        my ( $who, $count, $code ) = @_;
        my @threads = map { my $n = $_; threads->create( { context => 'list' }, sub { $code->("$who.$n") } ) } 1 .. $count;
        for my $thread (@threads) {
            push @wrong, $thread->join;
            push @wrong, "$who: " . $thread->error if $thread->error;
        }
        return;
    }
    # Closes a clone, ends a thread while it has one, drops one; threads of threads
    sub waves {
        my ( $object, $work, $many ) = @_;
        wave( 'opened', 1 + $many, sub { $work->( $object->(), $_[0], 2 ) } );
        push @wrong, $work->( $object->(), 'main', 3 );
        wave( 'used', 2 + 6 * $many, sub { $work->( $object->(), $_[0], 4 ) } );
        wave( 'dropped', 1 + 2 * $many, sub { my @failed = $work->( $object->(), $_[0], 1 ); $object->(undef); return @failed } );
        wave( 'unused', 1 + $many, sub { $object->(undef); return } );
        wave( 'nested', 1 + $many, sub {
            my ($who) = @_;
            my ($thread) = threads->create( { context => 'list' }, sub { $work->( $object->(), "$who, its own", 2 ) } );
            return ( $work->( $object->(), $who, 2 ), $thread->join );
        } );
        push @wrong, $work->( $object->(), 'main at last', 3 );
        my $tasks = 0;
        for ( 1 .. 100 ) {
            $tasks = () = glob '/proc/self/task/*';
            last if $tasks == 1;
            select undef, undef, undef, 0.02;
        }
        push @wrong, "$tasks threads are left" if $tasks != 1;
        return @wrong;
    }
END

sub expect_waves {
    my ( $name, $stored, @wrong ) = @_;
    is_deeply( \@wrong, [], "$name: all calls in all threads, byte for byte, and all threads end" );
    is( scalar $s3->requests( operation => 'PutObject', status => 200 ), $stored, "... stored: $stored" );
    return uniq map { $_->{connection} } $s3->requests;
}

sub in_perl {
    my ( $env, $code, @arguments ) = @_;
    spew( "$dir/program", "use strict; use warnings;\n$code" );
    my @libs = map {"-I$_"} grep { !ref } @INC;
    return Rts3::Test::Process::run(
        command => [ $^X, @libs, "-M$class", "$dir/program", @arguments ],
        env     => { %ENV, %$env },
        timeout => 60
    );
}

SKIP: {
    skip 'this Perl has no threads', 13 if !$Config{usethreads};
    $s3->clear_log;
    my $run = in_perl( {}, <<'END' . $threads, %s3 );
    my $native = RT::ExternalStorage::AmazonS3::Native->open(@ARGV);
    print map {"$_\n"} waves(
        sub { undef $native if @_; return $native },
        sub {
            my ( $object, @how ) = @_;
            return work( sub { $object->store(@_) }, sub { $object->get(@_) }, @how );
        },
        1,    # many threads
    );
END
    is( $run->{exit}, 0,  'the binding: exit status' );
    is( $run->{err},  '', '... and no word' );
    my @connections = expect_waves( 'the binding', 2 * 2 + 3 + 8 * 4 + 3 + 4 * 2 + 3, split /\n/, $run->{out} );
    is( scalar @connections, 1, '... over one connection: no thread closes the handle' );
    note sprintf '%.1f s', $run->{seconds};

    # Forks from the first thread while others are in calls, and from these others; a child starts threads, too
    $s3->clear_log;
    $run = in_perl( {}, <<'END' . $threads, %s3 );
    use POSIX ();
    my $native = RT::ExternalStorage::AmazonS3::Native->open(@ARGV);
    sub works { return work( sub { $native->store(@_) }, sub { $native->get(@_) }, @_ ) }
    sub forked {
        my ( $who, $code ) = @_;
        my $pid = fork // die "fork: $!";
        return $pid if $pid;
        alarm 40;
        my @failed = eval { $code->($who) };
        print STDERR map {"$_\n"} @failed, $@ || ();
        POSIX::_exit( @failed || $@ ? 1 : 0 );
    }
    sub ended { return map { waitpid( $_, 0 ) == $_ && $? == 0 ? () : "a child ended with $?" } @_ }

    print map {"$_\n"} works( 'first', 2 );
    my @threads = map {
        my $who = "thread $_";
        threads->create( { context => 'list' }, sub {
            return map { ( works( "$who.$_", 2 ), ended( forked( "child of $who.$_", sub { works( $_[0], 2 ) } ) ) ) } 1 .. 4;
        } );
    } 1 .. 4;
    my @children = map {
        my $n = $_;
        forked( "child $n", sub {
            my ($who) = @_;
            my @own = map { threads->create( { context => 'list' }, sub { works( "$who, its own $_[0]", 2 ) }, $_ ) } 1 .. $n % 3;
            return ( works( $who, 3 ), map { $_->join } @own );
        } );
    } 1 .. 12;
    print map {"$_\n"} works( 'parent', 4 ), ( map { $_->join } @threads ), ended(@children), works( 'parent at last', 2 );
END
    is( $run->{exit}, 0,  'threads and forks: exit status' );
    is( $run->{err},  '', '... and no word' );
    my $stored = 2 + 4 * 4 * 4 + 12 * 3 + 12 * 2 + 4 + 2;
    expect_waves( 'threads and forks', $stored, split /\n/, $run->{out} );
    my %process;    # which have used a connection
    $process{ $_->{connection} }++ for $s3->requests;
    cmp_ok( scalar keys %process, '==', 1 + 4 * 4 + 12, '... a connection for each process' );
    note sprintf '%.1f s', $run->{seconds};

    my $reason = Rts3::Test::RT->missing;
    skip $reason, 3 if $reason && !$ENV{RTS3_TEST_ALL};
    my $start = time;
    my $rt    = Rts3::Test::RT->new( storage => { Type => 'AmazonS3', %s3, Bucket => 'attachments' } );
    $s3->make_bucket('attachments');
    $s3->clear_log;
    my $wrong = $rt->call( $threads . <<'END' );
    my $backend = RT->System->ExternalStorage;
    return [ waves(
        sub { undef $backend if @_; return $backend },
        sub {
            my ( $object, @how ) = @_;
            return work( sub { $object->Store(@_) }, sub { $object->Get(@_) }, @how );
        },
        0,    # few, since each of them is a copy of RT
    ) ];
END
    expect_waves( 'the backend in RT', 2 + 3 + 2 * 4 + 1 + 2 * 2 + 3, @$wrong );
    note sprintf '%.1f s', time - $start;
    my @said = grep {/AmazonS3 external/} split /\n/, $rt->log_text;
    is_deeply( \@said, [], '... and nothing in RT\'s log' );
}

# ---- the thread that looks up a name

my $lookup = build_lookup($dir);
my ($port) = $s3->https =~ /(\d+)\z/;
my @libs   = map {"-I$_"} grep { !ref } @INC;
spew( "$dir/looks-up", <<'END' );
    use strict;
    use warnings;
    $| = 1;
    my ( $dir, @options ) = @ARGV;
    my ( $s3, $error, $step );
    sub call {
        my ($deadline) = @_;
        ( $s3, $error ) = RT::ExternalStorage::AmazonS3::Native->open( @options, ConnectTimeout => 20 );
        my ( $stored, $failure ) = $s3->store( $s3->sha256('content'), 'content', deadline => $deadline );
        print $stored ? 'stored' : $failure->name, "\n";
        ++$step;
        select undef, undef, undef, 0.02 while !-e "$dir/step-$step";
        return;
    }
    call(60_000);
    $s3->close;    # with its connection
    call(500);
    call(7_000);
END
my $pid = Rts3::Test::Process::spawn(
    command =>
        [ $^X, @libs, "-M$class", "$dir/looks-up", "$dir", %s3, Host => 'https://' . $lookup->name . ":$port" ],
    env => { %ENV, $lookup->environment },
    out => "$dir/out",
    err => "$dir/err",
);
$lookup->hang($pid);

# Every thread but the first one: its name, and whether all signals that can be blocked are (32 and 33 are glibc's own)
sub other_threads {
    my @others = map { slurp("$_/status") } grep { !m{/$pid\z} } glob "/proc/$pid/task/*";
    return [ map { [ /^Name:\t(.*)/m, /^SigBlk:\tfffffffe7ffbfeff$/m ? 'blocked' : $_ ] } grep {length} @others ];
}

sub wait_until {
    my ( $name, $condition ) = @_;
    my $end = time + 20;
    sleep 0.02 while !$condition->() && time < $end;
    ok( $condition->(), $name ) or diag slurp("$dir/err"), slurp("$dir/out");
    return;
}

my @hanging = ( [ 'rts3-lookup', 'blocked' ] );
wait_until( 'a look-up hangs', sub { $lookup->begun($pid) == 1 } );
is_deeply( other_threads(), \@hanging, '... in a thread with all signals blocked' );
$lookup->go_on;
wait_until( '... and goes on: the call succeeds',       sub { slurp("$dir/out") eq "stored\n" } );
wait_until( '... and there is no thread between calls', sub { !@{ other_threads() } } );
$lookup->hang($pid);
spew( "$dir/step-1", '' );
wait_until( 'a look-up outlives its call', sub { slurp("$dir/out") eq "stored\ntimeout\n" } );
is_deeply( other_threads(), \@hanging, '... in a thread with all signals blocked' );
spew( "$dir/step-2", '' );
wait_until( '... and the next call', sub { slurp("$dir/out") =~ /^timeout\n\w+\n\z/m } );
is( $lookup->begun($pid), 2, '... which did not begin another one' );
is_deeply( other_threads(), \@hanging, '... nor has another thread' );
spew( "$dir/step-3", '' );
ok( Rts3::Test::Process::wait_for( $pid, 10 ), 'the end of the process does not wait for it' );
is( $?, 0, '... exit status' );
Rts3::Test::Process::stop($pid);

done_testing;
