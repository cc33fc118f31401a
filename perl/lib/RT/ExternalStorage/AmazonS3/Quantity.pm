package RT::ExternalStorage::AmazonS3::Quantity;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(size number counted duration);

my @UNITS = qw(bytes kB MB GB TB PB);
my @SPANS = ( [ 86_400, 'day' ], [ 3600, 'hour' ], [ 60, 'minute' ], [ 1, 'second' ] );

sub size {
    my ($bytes) = @_;
    my $unit = 0;
    while ( $bytes >= ( $unit ? 999.95 : 1000 ) && $unit < $#UNITS ) {
        $bytes /= 1000;
        $unit++;
    }
    return '1 byte' if !$unit && $bytes == 1;
    return sprintf $unit ? '%.1f %s' : '%d %s', $bytes, $UNITS[$unit];
}

sub number {
    my ($number) = @_;
    1 while $number =~ s/\A(\d+)(\d{3})/$1,$2/;
    return $number;
}

sub counted {
    my ( $number, $noun ) = @_;
    return number($number) . " $noun" . ( $number == 1 ? '' : 's' );
}

sub duration {
    my ($seconds) = @_;
    my ($span)    = grep { $seconds >= 2 * $_->[0] } @SPANS;
    my ( $long, $name ) = @{ $span || $SPANS[-1] };
    return counted( int( $seconds / $long ), $name );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Quantity - quantities as people read them

=head1 SYNOPSIS

    use RT::ExternalStorage::AmazonS3::Quantity qw(size number duration);

    print number($count), ' files, ', size($bytes), ', counted ', duration( time - $then ), ' ago';

=head1 FUNCTIONS

=head2 size BYTES

In bytes, kB, MB and so on, of 1,000 each.

=head2 number NUMBER

With a comma for the thousands.

=head2 counted NUMBER, NOUN

The same with a noun, which gets an C<s> where there is not one of it.

=head2 duration SECONDS

In the largest unit of which there are at least two.

=cut
