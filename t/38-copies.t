#!/usr/bin/perl
# Local copies: 16 processes, some of them killed at any moment, share a cache that is smaller than what they read. They
# never take more room than allowed, nobody gets other bytes, and what is there is read without the server.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Find  ();
use File::Temp;
use FindBin;
use List::Util qw(max shuffle sum0);
use POSIX      ();
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs_library needs_s3);

use constant { PROCESSES => 16, SECONDS => 8, SIZE => 1024 * 1024, OBJECTS => 60 };

my $class = needs_library;
my $s3    = needs_s3;
my $dir   = File::Temp->newdir;
$s3->make_bucket('files');
my %options = ( Bucket   => 'files', $s3->options, Retries => 1, Deadline => 2 );
my %copies  = ( CacheDir => "$dir",  CacheSize => SIZE );

sub opened {
    my (%more) = @_;
    my ( $native, $error ) = $class->open( %options, %more );
    return $native // die $error;
}

# Of 20 to 60 kB
sub content { my ($number) = @_; return "$number " x ( 7_000 + 173 * $number ) }

sub bytes {
    my @sizes;
    File::Find::find( { no_chdir => 1, wanted => sub { push @sizes, -s _ if lstat && -f _ && !/account\z/ } },
        "$dir" );
    return sum0 grep {defined} @sizes;
}

# While files come and go some would be counted twice
sub bytes_while_stopped {
    my @processes = @_;
    kill STOP => @processes;
    sleep 0.01;
    my $bytes = bytes();
    kill CONT => @processes;
    return $bytes;
}

# What it has told
sub told {
    my ($native) = @_;
    return grep { !/begins with http:/ } map { $_->[1] } $native->drain;
}

sub facts {
    my ( $native, $of ) = @_;
    require RT::ExternalStorage::AmazonS3::Native::Inspection;
    my ($inspection) = RT::ExternalStorage::AmazonS3::Native::Inspection->new($native);
    return $inspection->facts($of);
}

my $plain = opened();
my @keys;
for my $number ( 1 .. OBJECTS ) {
    my $content = content($number);
    push @keys, sha256_hex($content);
    my ( $stored, $error ) = $plain->store( $keys[-1], $content );
    die $error if !$stored;
}

# Reads and stores until it is killed, and writes down what was wrong
my $wrong = "$dir.wrong";

sub work {
    my ($native) = @_;
    my $pid = fork // die $!;
    return $pid if $pid;
    srand $$;
    while (1) {
        my $number = 1 + int rand OBJECTS;
        my ($read) = $native->get( $keys[ $number - 1 ] );
        if ( !defined $read || $read ne content($number) ) {
            open my $out, '>>', $wrong or POSIX::_exit(1);
            print {$out} "$number\n";
            close $out;
        }
        my $own = "$$ $number " x 3000;
        $native->store( sha256_hex($own), $own ) if $number % 10 == 0;
    }
    POSIX::_exit(0);
}

subtest 'many processes, killed at any moment' => sub {
    my $native  = opened(%copies);
    my %running = map { work($native) => 1 } 1 .. PROCESSES;
    my ( $killed, @seen ) = (0);
    my $end = time + SECONDS;
    while ( time < $end ) {
        sleep 0.02;
        push @seen, bytes_while_stopped( keys %running );
        my ($victim) = shuffle keys %running;
        kill KILL => $victim;
        waitpid $victim, 0;
        delete $running{$victim};
        $killed++;
        $running{ work($native) } = 1;
    }
    kill KILL => keys %running;
    waitpid $_, 0 for keys %running;
    push @seen, bytes();
    cmp_ok( $killed,    '>',  50,       "$killed processes were killed" );
    cmp_ok( max(@seen), '<=', SIZE,     'the copies never took more than they may' );
    cmp_ok( max(@seen), '>',  SIZE / 2, '... and were of use' );
    ok( !-e $wrong, 'nobody got other bytes, or none' ) or diag slurp($wrong);
    my $facts = facts( $native, 'cache' );
    cmp_ok( $facts->{hits},   '>',  100,  "$facts->{hits} reads were served by a copy" );
    cmp_ok( $facts->{misses}, '>',  100,  "... $facts->{misses} by the server" );
    cmp_ok( $facts->{bytes},  '<=', SIZE, 'what is counted' );
    is( $facts->{directory},               "$dir/$>", 'each user has a directory' );
    is( ( stat "$dir/$>" )[2] & oct(7777), oct(700),  '... of their own' );

    # Nobody left a lock: one that begins now keeps copies as well
    my $content = 'new' x 5000;
    my $key     = sha256_hex($content);
    $native->store( $key, $content );
    my $before = facts( $native, 'cache' )->{hits};
    is( ( $native->get($key) )[0],         $content,    'another process goes on' );
    is( facts( $native, 'cache' )->{hits}, $before + 1, '... with a copy' );
};

subtest 'the server is down' => sub {
    my $native = opened(%copies);
    for my $number ( 1 .. 5 ) { $native->get( $keys[ $number - 1 ] ) }
    $s3->stop;
    my $start = time;
    for my $number ( 1 .. 5 ) {
        ok( ( $native->get( $keys[ $number - 1 ] ) )[0] eq content($number), "$number is read" );
    }
    cmp_ok( time - $start, '<', 1, '... at once' );
    my ( undef, $error ) = opened()->get( $keys[0] );
    is( $error->name, 'network', 'without copies it is not' );

    my $path = glob("$dir/$>/") . substr( $keys[0], 0, 2 ) . '/' . substr $keys[0], 2;
    open my $out, '+<', $path or die "$path: $!";
    seek $out, 5000, 0;
    print {$out} 'X';
    close $out;
    my $read;
    ( $read, $error ) = $native->get( $keys[0] );
    is( $read, undef, 'a damaged copy is not read' );
    ok( !-e $path, '... and is gone' );
    my ($told) = told($native);
    like( $told, qr/\Qlocal copy of $keys[0] is damaged/, '... which is told' );
};

subtest 'a full disk' => sub {
    plan skip_all => 'mounting needs root' if $>;
    my $small = File::Temp->newdir;
    system( qw(mount -t tmpfs -o size=200k tmpfs), "$small" ) == 0
        or plan skip_all => 'no file system can be mounted here';
    $s3->restart;
    my $ok = eval {
        my $native = opened( CacheDir => "$small", CacheSize => SIZE );
        my @read   = map { ( $native->get( $keys[$_] ) )[0] } 0 .. 19;
        is( scalar( grep { $read[$_] eq content( $_ + 1 ) } 0 .. 19 ), 20, 'every file is read' );
        my @told = told($native);
        is( scalar @told, 1, 'one line for the log' );
        like( $told[0], qr/\Qoption CacheDir, '$small'\E: a copy can't be \w+: No space left/, '... says why' );
        1;
    };
    my $why = $@;
    system( 'umount', "$small" );
    die $why if !$ok;
};

done_testing;
