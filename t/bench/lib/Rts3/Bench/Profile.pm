package Rts3::Bench::Profile;

use strict;
use warnings;

use File::Temp  ();
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);

use RT::ExternalStorage::AmazonS3::Native ();
use Rts3::Bench                           ();

=head1 NAME

Rts3::Bench::Profile - where the time of Store and Get goes

=head1 METHODS

=head2 missing

What is needed and not there, or undef.

=head2 run

A table: one row for an operation and a size, with the shares of the processor's time that perf has seen.

=cut

use constant { NATIVE => 'RT::ExternalStorage::AmazonS3::Native', KB => 1_000, MB => 1_000_000, FREQUENCY => 4_000 };

my @WHAT = (
    { operation => 'store', size => 10 * KB,  name => '10 kB',  scheme => 'http',  calls => 800 },
    { operation => 'get',   size => 10 * KB,  name => '10 kB',  scheme => 'http',  calls => 1_500 },
    { operation => 'store', size => 10 * MB,  name => '10 MB',  scheme => 'http',  calls => 50 },
    { operation => 'get',   size => 10 * MB,  name => '10 MB',  scheme => 'http',  calls => 150 },
    { operation => 'store', size => 100 * MB, name => '100 MB', scheme => 'https', calls => 6 },
    { operation => 'get',   size => 100 * MB, name => '100 MB', scheme => 'https', calls => 12 },
);
my %VERB = ( store => 'Store', get => 'Get' );

# The first that fits, of "OBJECT SYMBOL"
my @GROUPS = (
    [ 'SHA-256' => qr/sha2::|compress256/ ],
    [ 'TLS'     => qr/\Alib(?:crypto|ssl)/ ],
    [ 'copying' => qr/\Alibc\b.*mem(?:move|cpy|set)/ ],
    [
        'the kernel, network' =>
            qr/\A\[kernel.*(?:tcp|skb|sock|_iter\b|recv|send|inet|ip_|net_|netif|softirq|loopback|poll)/
    ],
    [
        'the kernel, memory' =>
            qr/\A\[kernel.*(?:page|fault|folio|mm_|memcg|vma|lru|mas_|alloc|charge|rmap|clear_|unmap)/
    ],
    [ 'the kernel, the rest' => qr/\A\[/ ],
    [ 'the library'          => qr/\Alibrts3/ ],
    [ 'Perl and libffi'      => qr/\A/ ],
);

sub options { return () }

sub missing {
    return ( grep { -x "$_/perf" } split /:/, $ENV{PATH} ) ? undef : 'perf is needed: apt-get install linux-perf';
}

sub run {
    my ($class) = @_;
    local $ENV{RTS3_LIBRARY} = with_symbols();
    my $s3   = Rts3::Bench::server();
    my @rows = map { row( $s3, $_ ) } @WHAT;
    my @head = ( 'a call', 'the processor', map { $_->[0] } @GROUPS );
    return join "\n", '| | ' . join( ' | ', @head ) . ' |', '|---' x ( 1 + @head ) . '|', @rows, '',
        Rts3::Bench::when() . Rts3::Bench::machine() . '.', '';
}

# The library as it is, with the names of its functions
sub with_symbols {
    my $target = Rts3::Bench::root() . '/t/.cache/bench/rts3';
    my @build  = (
        qw(cargo build --quiet --release --locked --lib --config profile.release.strip="none" --target-dir),
        $target, '--manifest-path', Rts3::Bench::root() . '/Cargo.toml'
    );
    system(@build) == 0 or die "not built: @build\n";
    return "$target/release/librts3.so";
}

sub row {
    my ( $s3,    $what )    = @_;
    my ( $call,  $samples ) = in_child( sub { look( $s3, $what ) } );
    my ( %share, $all );
    for my $sample ( split /\n/, $samples ) {
        my ( $percent, $where ) = $sample =~ /\A\s*([\d.]+)%\s+(.*)/ or next;
        $where =~ s/\s+\[[.k]\]\s+/ /;
        my ($group) = grep { $where =~ $_->[1] } @GROUPS;
        $share{ $group->[0] } += $percent;
        $all += $percent;
    }
    my @shares = map { sprintf '%.0f %%', 100 * ( $share{ $_->[0] } // 0 ) / $all } @GROUPS;
    my $name   = "$VERB{ $what->{operation} } $what->{name}, $what->{scheme}";
    my $row    = join ' | ', $name, ( map {"$_ ms"} split ' ', $call ), @shares;
    print "| $row |\n";
    return "| $row |";
}

# What a child returns: a process that has done nothing else
sub in_child {
    my ($code) = @_;
    pipe my $read, my $write or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ( !$pid ) {
        close $read or die "pipe: $!";
        my @found = eval { $code->() };
        print STDERR $@ if $@;
        print {$write} join "\0", @found;
        close $write or die "pipe: $!";
        require POSIX;
        POSIX::_exit( $@ ? 1 : 0 );
    }
    close $write or die "pipe: $!";
    my $found = do { local $/ = undef; readline $read };
    waitpid $pid, 0;
    die "nothing was measured\n" if $?;
    return split /\0/, $found;
}

# Milliseconds of a call, those of the processor, and what perf has seen
sub look {
    my ( $s3, $what ) = @_;
    my $bucket = join '-', 'profile', @{$what}{qw(operation size)};
    $s3->make_bucket($bucket);
    my ( $native, $error ) = NATIVE->open(
        Bucket => $bucket,
        $s3->options,
        Host   => $what->{scheme} eq 'https' ? $s3->https : $s3->http,
        CAFile => $s3->ca,
    );
    die $error->message if !$native;
    my $content = join '', map { chr int rand 256 } 1 .. 1000;
    $content = substr $content x ( 1 + $what->{size} / 1000 ), 0, $what->{size};
    my @keys = map { other( \$content, $_ ) } 0 .. ( $what->{operation} eq 'store' ? $what->{calls} : 0 );
    other( \$content, 0 );
    done( $native->store( $keys[0], $content ) );
    done( $native->get( $keys[0] ) );

    my $file = File::Temp->new;
    my $perf = fork // die "fork: $!";
    if ( !$perf ) {
        open STDERR, '>', '/dev/null' or die $!;
        exec qw(perf record --quiet -F), FREQUENCY, '-o', "$file", '-p', getppid;
    }
    sleep 1;
    my ( $took, $used ) = ( 0, 0 );
    for my $number ( 1 .. $what->{calls} ) {
        substr( $content, 0, 8 ) = sprintf '%08d', $number if $#keys;
        my @before = map { clock_gettime($_) } CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID;
        my ( $done, $why ) =
              $#keys
            ? $native->store( $keys[$number], $content, content_type => 'application/octet-stream' )
            : $native->get( $keys[0] );
        $took += clock_gettime(CLOCK_MONOTONIC) - $before[0];
        $used += clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $before[1];
        done( $done, $why );
        unlink $s3->object_path( $bucket, $keys[$number] ) if $#keys;
    }
    kill INT => $perf;
    waitpid $perf, 0;
    my $samples = qx{perf report -i $file --no-children -g none -F overhead,dso,sym 2>/dev/null};
    return ( sprintf( '%.2f %.2f', map { 1000 * $_ / $what->{calls} } $took, $used ), $samples );
}

sub other {
    my ( $content, $number ) = @_;
    substr( ${$content}, 0, 8 ) = sprintf '%08d', $number;
    return scalar NATIVE->sha256( ${$content} );
}

sub done {
    my ( $ok, $error ) = @_;
    die $error->message if !defined $ok;
    return;
}

1;
