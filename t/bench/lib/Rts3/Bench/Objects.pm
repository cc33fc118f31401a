package Rts3::Bench::Objects;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp  ();
use IO::Handle  ();

use Rts3::Bench ();
use Rts3::Bench::Peer;
use Rts3::Bench::Relay;
use Rts3::Test::File qw(spew);

=head1 NAME

Rts3::Bench::Objects - one object after the other, by all peers in turn

=head1 METHODS

=head2 run rounds => NUMBER

The table of all sizes, schemes and round trips. Of large objects also what the server and the wire take alone.

=head2 new s3 => $s3, scheme => $scheme, host => $host, peers => [ NAME, ... ], [options => %ExternalStorage]

Starts the peers.

=head2 measure size => BYTES, rounds => NUMBER

In each round every peer stores a new object of that size, and reads it; the first round is not counted. Returns
C<< { store => { PEER => { seconds, processor, memory } }, get => ... } >>, each the median of the rounds.

=cut

use constant { KB => 1_000, MB => 1_000_000, GB => 1_000_000_000 };

my @PEERS = Rts3::Bench::Peer->names;
my @FEW   = ( qw(ours own aws-sdk-s3), 'bare' );
my @ALL   = ( @PEERS, 'bare' );
my @WHAT  = (
    { scheme => 'http',  size => 10 * KB,  name => '10 kB',  rounds => 40, peers => \@PEERS },
    { scheme => 'http',  size => 10 * KB,  name => '10 kB',  rounds => 40, peers => \@PEERS, nagle => 1 },
    { scheme => 'https', size => 10 * KB,  name => '10 kB',  rounds => 40, peers => \@PEERS },
    { scheme => 'http',  size => 10 * KB,  name => '10 kB',  rounds => 15, peers => \@PEERS, round_trip => 30 },
    { scheme => 'https', size => 10 * KB,  name => '10 kB',  rounds => 15, peers => \@PEERS, round_trip => 30 },
    { scheme => 'http',  size => 10 * MB,  name => '10 MB',  rounds => 15, peers => \@ALL },
    { scheme => 'http',  size => 10 * MB,  name => '10 MB',  rounds => 9,  peers => \@FEW, round_trip => 30 },
    { scheme => 'http',  size => 100 * MB, name => '100 MB', rounds => 3,  peers => \@FEW, memory     => 1 },
    { scheme => 'https', size => 1 * GB,   name => '1 GB',   rounds => 3,  peers => \@FEW, processor  => 1 },
);
my %VERB = ( store => 'Store', get => 'Get' );

sub options { return () }

sub run {
    my ( $class, %option ) = @_;
    my %heading = (
        ours            => 'this module',
        own             => "RT's own",
        'net-amazon-s3' => 'Net::Amazon::S3',
        bare            => 'server and wire alone'
    );
    my ( @times, @others );
    my $number = 0;
    for my $what (@WHAT) {
        my $s3     = Rts3::Bench::server( nagle => $what->{nagle} );
        my $port   = ( $what->{scheme} eq 'https' ? $s3->https : $s3->http ) =~ s{.*:}{}r;
        my $relay  = Rts3::Bench::Relay->start( $port, $what->{round_trip} // 0 );
        my $bench  = $class->new( %{$what}, s3 => $s3, host => 'localhost:' . $relay->port, number => ++$number );
        my $result = $bench->measure( size => $what->{size}, rounds => $option{rounds} // $what->{rounds} );
        for my $operation (qw(store get)) {
            my $of   = $result->{$operation};
            my $name = "$VERB{$operation} $what->{name}, $what->{scheme}";
            $name .= ", $what->{round_trip} ms"        if $what->{round_trip};
            $name .= ", server with Nagle's algorithm" if $what->{nagle};
            push @times, row( $name, map { $of->{$_} ? 1000 * $of->{$_}{seconds} : undef } @ALL );
            print "$times[-1]\n";
            push @others,
                row(
                "$VERB{$operation} $what->{name}: peak memory above the content, MB",
                map { $of->{$_} ? above( $operation, $what->{size}, $of->{$_}{memory} ) : undef } @ALL
                ) if $what->{memory};
            push @others,
                row(
                "$VERB{$operation}, $what->{scheme}: seconds of the processor for a GB",
                map { $of->{$_} ? $of->{$_}{processor} * GB / $what->{size} : undef } @ALL
                ) if $what->{processor};
        }
    }
    my @head = ( '| | ' . join( ' | ', map { $heading{$_} // $_ } @ALL ) . ' |', '|---' x ( 1 + @ALL ) . '|' );
    return join "\n", @head, @times, @others, '',
          Rts3::Bench::when()
        . Rts3::Bench::machine()
        . '. Milliseconds, where nothing else is said; in brackets the ratio to this module.', '';
}

# What is stored was in memory before
sub above {
    my ( $operation, $size, $memory ) = @_;
    my $above = $memory * 1024 / MB - ( $operation eq 'get' ? $size / MB : 0 );
    return $above > 0 ? $above : 0;
}

sub row {
    my ( $name, @figures ) = @_;
    my $ours = $figures[0];
    my @cells =
        map { !defined ? '' : $ours > 0.05 ? sprintf '%s (%.2f)', figure($_), $_ / $ours : figure($_) } @figures;
    return "| $name | " . join( ' | ', @cells ) . ' |';
}

sub figure {
    my ($number) = @_;
    return sprintf $number < 10 ? '%.2f' : $number < 100 ? '%.1f' : '%.0f', $number;
}

sub new {
    my ( $class, %how ) = @_;
    my $self = bless { %how, bucket => 'bench' . $how{number}, dir => File::Temp->newdir( DIR => '/dev/shm' ) },
        $class;
    $how{s3}->make_bucket( $self->{bucket} );
    $self->{running} =
        { map { $_ => Rts3::Bench::Peer->start( $_, %how, bucket => $self->{bucket} ) } @{ $how{peers} } };
    return $self;
}

sub measure {
    my ( $self, %what ) = @_;
    my ( %took, $number );
    my $base = 'x' x 1000;
    $base =~ s/x/chr int rand 256/ge;
    for my $round ( 0 .. $what{rounds} ) {
        for my $peer ( @{ $self->{peers} } ) {
            my $running = $self->{running}{$peer};
            my $content = substr( ++$self->{contents} . ' ' . $base x ( 1 + $what{size} / 1000 ), 0, $what{size} );
            my $key     = sha256_hex($content);
            my $file    = "$self->{dir}/content";
            spew( $file, $content );
            undef $content;
            my $stored = $running->store( $file, $key );
            my $read   = $running->get($key);
            die "$peer has read $read->{bytes} bytes, not $what{size}\n" if $read->{bytes} != $what{size};
            unlink $self->{s3}->object_path( $self->{bucket}, $key )     if $self->{s3}->can('object_path');
            next                                                         if !$round;
            push @{ $took{store}{$peer} }, $stored;
            push @{ $took{get}{$peer} },   $read;
        }
    }
    return {
        map {
            my $of = $took{$_};
            $_ => { map { $_ => medians( @{ $of->{$_} } ) } keys %{$of} }
        } keys %took
    };
}

sub medians {
    my @all = @_;
    return {
        map {
            my $name = $_;
            $name => median( map { $_->{$name} } @all )
        } qw(seconds processor memory)
    };
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    my $middle = @sorted / 2;
    return @sorted % 2 ? $sorted[$middle] : ( $sorted[ $middle - 1 ] + $sorted[$middle] ) / 2;
}

1;
