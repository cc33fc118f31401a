package Rts3::Bench::Chart;

use strict;
use warnings;

use POSIX ();

=head1 NAME

Rts3::Bench::Chart - lines over two logarithmic axes, as SVG

=head1 FUNCTIONS

=head2 lines $title, $across, $up, { NAME => [ [ x, y ], ... ], ... }

A point with anything more in it was not measured: what leads there is dashed.

=cut

use constant { WIDTH => 760, HEIGHT => 420, LEFT => 70, RIGHT => 210, TOP => 40, BOTTOM => 50 };

my @COLOUR = map {"#$_"} qw(2a6fb0 c77700 2c8a3d b03a6f 6b4fa0 5f6b73 1a9ba8 8a5a2c d84a3a);

sub lines {
    my ( $title, $across, $up, $of ) = @_;
    my @points = map { @{$_} } values %{$of};
    my ( $left, $right ) = bounds( map { $_->[0] } @points );
    my ( $low, $high )   = bounds( map { $_->[1] } @points );
    my $x = sub { LEFT + ( log( $_[0] ) - log $left ) / ( log($right) - log $left ) * ( WIDTH - LEFT - RIGHT ) };
    my $y =
        sub { HEIGHT - BOTTOM - ( log( $_[0] ) - log $low ) / ( log($high) - log $low ) * ( HEIGHT - TOP - BOTTOM ) };
    my @svg = (
        sprintf(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" font-family="sans-serif" font-size="13">',
            WIDTH, HEIGHT
        ),
        "<title>$title</title>",
        '<style>text { fill: #333 } .grid { stroke: #ccc } @media (prefers-color-scheme: dark) { text { fill: #ddd } .grid { stroke: #555 } }</style>',
        sprintf( '<text x="%d" y="22" font-size="15">%s</text>', LEFT, $title ),
    );
    for my $value ( ticks( $left, $right ) ) {
        push @svg,
            sprintf( '<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>',
            $x->($value), TOP, $x->($value), HEIGHT - BOTTOM ),
            sprintf(
            '<text x="%.1f" y="%d" text-anchor="middle">%s</text>',
            $x->($value), HEIGHT - BOTTOM + 18,
            short($value)
            );
    }
    for my $value ( ticks( $low, $high ) ) {
        push @svg,
            sprintf(
            '<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>',
            LEFT, $y->($value), WIDTH - RIGHT,
            $y->($value)
            ),
            sprintf( '<text x="%d" y="%.1f" text-anchor="end">%s</text>', LEFT - 8, $y->($value) + 4, short($value) );
    }
    push @svg, sprintf( '<text x="%d" y="%d" text-anchor="end">%s</text>', WIDTH - RIGHT, HEIGHT - 10, $across ),
        sprintf( '<text x="8" y="%d">%s</text>', TOP - 14, $up );
    my $index = 0;
    for my $name ( sort keys %{$of} ) {
        my $colour = $COLOUR[ $index % @COLOUR ];
        my $at     = TOP + 14 + 22 * $index++;
        my @points = map  { sprintf '%.1f,%.1f', $x->( $_->[0] ), $y->( $_->[1] ) } @{ $of->{$name} };
        my $seen   = grep { @{$_} == 2 } @{ $of->{$name} };
        my $line   = qq{<polyline fill="none" stroke="$colour" stroke-width="2.5"};
        push @svg, qq{$line points="@points[ 0 .. $seen - 1 ]"/>},
            $seen < @points ? qq{$line stroke-dasharray="3 4" points="@points[ $seen - 1 .. $#points ]"/>} : (),
            sprintf( '<rect x="%d" y="%d" width="14" height="4" fill="%s"/>', WIDTH - RIGHT + 14, $at - 6, $colour ),
            sprintf( '<text x="%d" y="%d">%s</text>', WIDTH - RIGHT + 34, $at, $name =~ s/'/&#39;/gr );
    }
    return join( "\n", @svg, '</svg>' ) . "\n";
}

# Powers of ten around all of them; of two, where there is no such span
sub bounds {
    my @sorted = sort { $a <=> $b } @_;
    my ( $least, $most ) = @sorted[ 0, -1 ];
    return ( $least,                                           $most ) if $most / $least < 20;
    return ( 10**POSIX::floor( log($least) / log(10) + 1e-9 ), 10**POSIX::ceil( log($most) / log(10) - 1e-9 ) );
}

sub ticks {
    my ( $least, $most ) = @_;
    my $factor = $most / $least < 20 ? 2 : 10;
    my @ticks;
    for ( my $value = $least; $value <= $most * 1.0001; $value *= $factor ) {    ## no critic (ProhibitCStyleForLoops)
        push @ticks, $value;
    }
    return @ticks;
}

sub short {
    my ($value) = @_;
    for my $unit ( [ 1e9, 'G' ], [ 1e6, 'M' ], [ 1e3, 'k' ] ) {
        return sprintf '%g%s', $value / $unit->[0], $unit->[1] if $value >= $unit->[0];
    }
    return sprintf '%.3g', $value;
}

1;
