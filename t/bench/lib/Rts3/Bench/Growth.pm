package Rts3::Bench::Growth;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp  ();
use Time::HiRes qw(time);

use Rts3::Bench ();
use Rts3::Bench::Chart;
use Rts3::Bench::Objects;
use Rts3::Bench::Peer;

=head1 NAME

Rts3::Bench::Growth - how time and memory grow with the size of an object, and with the number of processes

=cut

use constant { GB => 1_000_000_000, SMALL => 10_000, SECONDS => 3 };

my %NAME = ( ours => 'this module', own => "RT's own" );
my @SIZE = map { ( 10**$_, 3 * 10**$_ ) } 3 .. 8;

sub options { return () }

sub run {
    my ($class) = @_;
    my ( %time, %memory, @lines );
    my @peers = sort { $b cmp $a } keys %NAME;
    my $s3    = Rts3::Bench::server();
    my $bench = Rts3::Bench::Objects->new(
        s3     => $s3,
        scheme => 'http',
        host   => 'localhost:' . $s3->http =~ s{.*:}{}r,
        number => 1,
        peers  => \@peers
    );
    push @lines,
        '| size | '
        . join( ' | ', map { ( "Store, $NAME{$_}", "Get, $NAME{$_}", "memory of a Get, $NAME{$_}" ) } @peers ) . ' |',
        '|---' x ( 1 + 3 * @peers ) . '|';
    for my $size ( @SIZE, GB ) {
        my $result = $bench->measure( size => $size, rounds => $size < 1_000_000 ? 15 : $size < 100_000_000 ? 5 : 2 );
        my @cells;
        for my $peer (@peers) {
            for my $operation (qw(store get)) {
                my $seconds = $result->{$operation}{$peer}{seconds};
                push @{ $time{"\u$operation, $NAME{$peer}"} }, [ $size, 1000 * $seconds ];
                push @cells, Rts3::Bench::Objects::figure( 1000 * $seconds ) . ' ms';
            }
            my $memory = $result->{get}{$peer}{memory} * 1024 / 1e6;
            push @{ $memory{"Get, $NAME{$peer}"} }, [ $size, $memory ] if $memory >= 0.1;
            push @cells, sprintf '%.1f MB', $memory;
        }
        push @lines, '| ' . human($size) . ' | ' . join( ' | ', @cells ) . ' |';
        print "$lines[-1]\n";
    }
    undef $bench;

    push @lines, '', '| processes that read at once, 10 kB each | ' . join( ' | ', map { $NAME{$_} } @peers ) . ' |',
        '|---' x ( 1 + @peers ) . '|';
    my %rate;
    for my $number ( 1, 2, 4, 8, 16 ) {
        my @cells;
        for my $peer (@peers) {
            my $rate = reads( $s3, $peer, $number );
            push @{ $rate{ $NAME{$peer} } }, [ $number, $rate ];
            push @cells, sprintf '%.0f a second', $rate;
        }
        push @lines, "| $number | " . join( ' | ', @cells ) . ' |';
        print "$lines[-1]\n";
    }
    my $table = join "\n", @lines, '',
        Rts3::Bench::when() . Rts3::Bench::machine() . ', from the same machine over http.', '';
    my %chart = (
        'growth-time'      => [ 'Time for one object',             'bytes',     'ms',       \%time ],
        'growth-memory'    => [ 'Peak memory for one object',      'bytes',     'MB',       \%memory ],
        'growth-processes' => [ 'Reads of 10 kB by all processes', 'processes', 'a second', \%rate ],
    );
    return ( $table, map { $_ => Rts3::Bench::Chart::lines( @{ $chart{$_} } ) } keys %chart );
}

# How many objects so many processes of one peer read in a second, together
sub reads {
    my ( $s3, $peer, $number ) = @_;
    my $bucket = "growth-$peer-$number";
    $s3->make_bucket($bucket);
    my @how     = ( s3 => $s3, scheme => 'http', host => 'localhost:' . $s3->http =~ s{.*:}{}r, bucket => $bucket );
    my @running = map { Rts3::Bench::Peer->start( $peer, @how ) } 1 .. $number;
    my $content = "$bucket " x ( SMALL / length "$bucket " );
    my $key     = sha256_hex($content);
    my $file    = File::Temp->new( DIR => '/dev/shm' );
    print {$file} $content or die $!;
    close $file            or die $!;
    $running[0]->store( "$file", $key );
    $_->get($key) for @running;
    my ( $end, $done ) = ( time + SECONDS, 0 );
    my $start = time;

    while ( time < $end ) {
        $_->ask("get $key") for @running;
        $_->answer for @running;
        $done += @running;
    }
    return $done / ( time - $start );
}

sub human {
    my ($size) = @_;
    my @unit = qw(bytes kB MB GB);
    while ( $size >= 1000 ) { $size /= 1000; shift @unit }
    return "$size $unit[0]";
}

1;
