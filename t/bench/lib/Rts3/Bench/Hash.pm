package Rts3::Bench::Hash;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Time::HiRes qw(time);

use RT::ExternalStorage::AmazonS3::Native;
use Rts3::Bench ();
use Rts3::Bench::Objects;

=head1 NAME

Rts3::Bench::Hash - SHA-256 from Perl

=cut

use constant SIZE => 200_000_000;

sub options { return ( rounds => 7 ) }

sub run {
    my ( $class, %option ) = @_;
    my $content = 'content ' x ( SIZE / 8 );
    my ( %rate, %digest );
    my %by = (
        'this library' => sub { ( RT::ExternalStorage::AmazonS3::Native->sha256($content) )[0] },
        'Digest::SHA'  => sub { sha256_hex($content) },
    );
    for my $round ( 1 .. $option{rounds} ) {
        for my $name ( sort keys %by ) {
            my $start = time;
            $digest{$name} = $by{$name}->();
            push @{ $rate{$name} }, SIZE / 1e6 / ( time - $start );
        }
        my $told = qx(openssl speed -mr -seconds 1 -bytes 1048576 -evp sha256 2>/dev/null);
        push @{ $rate{openssl} }, ( $told =~ /^\+F:\d+:[^:]*:([\d.]+)/m )[0] / 1e6;
    }
    die "they do not agree\n" if $digest{'this library'} ne $digest{'Digest::SHA'};
    my %median = map { $_ => Rts3::Bench::Objects::median( @{ $rate{$_} } ) } keys %rate;
    my @names  = ( 'this library', 'openssl', 'Digest::SHA' );
    my @cells  = map { sprintf '%.0f MB/s (%.2f)', $median{$_}, $median{$_} / $median{'this library'} } @names;
    return join "\n", '| | ' . join( ' | ', @names ) . ' |', '|---' x 4 . '|',
        '| 200 MB | ' . join( ' | ', @cells ) . ' |', '', Rts3::Bench::when() . Rts3::Bench::machine() . '.', '';
}

1;
