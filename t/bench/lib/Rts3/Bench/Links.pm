package Rts3::Bench::Links;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp  ();
use Time::HiRes qw(time);

use RT::ExternalStorage::AmazonS3::Native;
use Rts3::Bench ();
use Rts3::Bench::Objects;

=head1 NAME

Rts3::Bench::Links - what needs no network: presigned links, and reading from local copies

=cut

use constant LINKS => 1000;

sub options { return ( rounds => 21 ) }

sub run {
    my ( $class, %option ) = @_;
    my $s3  = Rts3::Bench::server();
    my $dir = File::Temp->newdir;
    $s3->make_bucket('bench');
    my ( $native, $error ) = RT::ExternalStorage::AmazonS3::Native->open(
        Bucket => 'bench',
        $s3->options,
        DirectLink => 'presigned',
        CacheDir   => "$dir"
    );
    die $error if !$native;
    my %content = map {
        $_ => join '',
            map { chr int rand 256 }
            1 .. $_
    } 10_000, 10_000_000;
    my %key = map { $_ => sha256_hex( $content{$_} ) } keys %content;
    my %took;

    for my $size ( keys %content ) {
        my ( $stored, $why ) = $native->store( $key{$size}, $content{$size} );
        die $why if !$stored;
    }
    $s3->stop;
    for my $round ( 1 .. $option{rounds} ) {
        my $start = time;
        $native->direct_url( $key{10_000}, file_name => "file $_.pdf", content_type => 'application/pdf' )
            for 1 .. LINKS;
        push @{ $took{links} }, time - $start;
        for my $size ( keys %content ) {
            my $times = $size > 1_000_000 ? 1 : 100;
            $start = time;
            for ( 1 .. $times ) {
                my ($read) = $native->get( $key{$size} );
                die 'not read' if length $read != $size;
            }
            push @{ $took{$size}{copy} }, ( time - $start ) / $times;
            my ($path) = glob "$dir/*/" . substr( $key{$size}, 0, 2 ) . '/' . substr( $key{$size}, 2 );
            $start = time;
            for ( 1 .. $times ) {
                open my $in, '<:raw', $path or die "$path: $!";
                sysread $in, my ($read), $size;
                close $in;
                RT::ExternalStorage::AmazonS3::Native->sha256($read);
            }
            push @{ $took{$size}{file} }, ( time - $start ) / $times;
        }
    }
    my %median;
    $median{links} = Rts3::Bench::Objects::median( @{ $took{links} } );
    for my $size ( keys %content ) {
        $median{$size} = { map { $_ => Rts3::Bench::Objects::median( @{ $took{$size}{$_} } ) } qw(copy file) };
    }
    my @lines = ( '| | this module | reading the file and its SHA-256 in Perl |', '|---|---|---|' );
    push @lines, sprintf '| %d presigned links | %.1f ms | |', LINKS, 1000 * $median{links};
    for my $size ( sort { $a <=> $b } keys %content ) {
        push @lines, sprintf '| Get %s from a local copy | %.3f ms (%.2f) | %.3f ms (1.00) |',
            $size > 1_000_000 ? '10 MB' : '10 kB', 1000 * $median{$size}{copy},
            $median{$size}{copy} / $median{$size}{file}, 1000 * $median{$size}{file};
    }
    return join "\n", @lines, '', Rts3::Bench::when() . Rts3::Bench::machine() . '.', '';
}

1;
