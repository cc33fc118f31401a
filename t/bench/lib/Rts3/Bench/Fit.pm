package Rts3::Bench::Fit;

use strict;
use warnings;

use List::Util qw(max sum);

=head1 NAME

Rts3::Bench::Fit - a + b*n through what was measured

=head1 SYNOPSIS

    my $fit = Rts3::Bench::Fit->new( [ 1000, 2.1 ], [ 10_000, 5.3 ], [ 100_000, 38 ] );
    print $fit->at(1_000_000), ' give or take ', $fit->residual;

=head1 METHODS

=head2 new [ N, VALUE ], ...

The line with the least squares of the relative differences, so that the small ones count as much as the large ones; neither
a nor b is below 0. Where the value hardly grows (b*n is less than 0.3 a at the largest n), b is 0.

=head2 constant [ N, VALUE ], ...

The same where the value is known not to depend on n: b is 0.

=head2 a, b, at N

The line.

=head2 residual

The largest difference from what was measured, as a part of it.

=cut

use constant HARDLY => 0.3;

sub new {
    my ( $class, @points ) = @_;
    my ( $s0, $s1, $s2, $y0, $y1 ) = map {
        my $of = $_;
        sum map { $of->( @{$_} ) } @points
    } (
        sub { $_[1]**-2 },
        sub { $_[0] * $_[1]**-2 },
        sub { ( $_[0] / $_[1] )**2 },
        sub { 1 / $_[1] },
        sub { $_[0] / $_[1] },
    );
    my $determinant = $s0 * $s2 - $s1**2;
    my $self        = bless { points => \@points }, $class;
    @{$self}{qw(a b)} =
        $determinant > 0
        ? ( ( $y0 * $s2 - $y1 * $s1 ) / $determinant, ( $s0 * $y1 - $s1 * $y0 ) / $determinant )
        : ( $y0 / $s0, 0 );
    @{$self}{qw(a b)} = ( 0, $y1 / $s2 ) if $self->{a} < 0;
    @{$self}{qw(a b)} = ( $y0 / $s0, 0 ) if $self->{b} * max( map { $_->[0] } @points ) < HARDLY * $self->{a};
    return $self;
}

sub constant {
    my ( $class, @points ) = @_;
    my ( $s0,    $y0 )     = map {
        my $power = $_;
        sum map { $_->[1]**$power } @points
    } -2, -1;
    return bless { points => \@points, a => $y0 / $s0, b => 0 }, $class;
}

sub a { return $_[0]{a} }    ## no critic (ProhibitBuiltinHomonyms)
sub b { return $_[0]{b} }    ## no critic (ProhibitBuiltinHomonyms)

sub at {
    my ( $self, $n ) = @_;
    return $self->{a} + $self->{b} * $n;
}

sub residual {
    my ($self) = @_;
    return max map { abs( $self->at( $_->[0] ) - $_->[1] ) / $_->[1] } @{ $self->{points} };
}

1;
