package Rts3::Test::Demo::Terminal;

use strict;
use warnings;

use Time::HiRes qw(time);

=head1 NAME

Rts3::Test::Demo::Terminal - headings, sentences and tables; plain text where the output is no terminal

=head1 METHODS

=head2 new

=cut

sub new {
    my ($class) = @_;
    binmode STDOUT, ':encoding(UTF-8)';
    STDOUT->autoflush(1);
    my $terminal = -t STDOUT;    ## no critic (ProhibitInteractiveTest): core modules are enough here
    my $colours  = $terminal && !defined $ENV{NO_COLOR} && ( $ENV{TERM} // 'dumb' ) ne 'dumb';
    return bless { colours => $colours, step => 0, started => time }, $class;
}

=head2 heading $text; say $text; detail $text

A numbered step; a sentence about it; something that a reader may skip.

=cut

sub heading {
    my ( $self, $text ) = @_;
    $self->{step}++;
    print "\n", $self->_in( 1, "$self->{step}. $text" ), "\n";
    return;
}

sub say {
    my ( $self, $text ) = @_;
    print map {"   $_\n"} split /\n/, $text;
    return;
}

sub detail {
    my ( $self, $text ) = @_;
    print map { '   ' . $self->_in( 2, $_ ) . "\n" } split /\n/, $text;
    return;
}

=head2 good $text, bad $text

The text, in the colour of its meaning.

=cut

sub good { my ( $self, $text ) = @_; return $self->_in( 32, $text ) }
sub bad  { my ( $self, $text ) = @_; return $self->_in( 31, $text ) }

sub _in {
    my ( $self, $code, $text ) = @_;
    return $self->{colours} ? "\e[${code}m$text\e[0m" : $text;
}

=head2 table \@titles, @rows

Columns as wide as what stands in them, numbers to the right.

=cut

sub table {
    my ( $self, $titles, @rows ) = @_;
    my ( @width, @right );
    for my $column ( 0 .. $#{$titles} ) {
        my @cells = map { $_->[$column] } @rows;
        $right[$column] = !grep { !/^[\d,]+$/ } @cells;
        for my $length ( map { _length($_) } $titles->[$column], @cells ) {
            $width[$column] = $length if $length > ( $width[$column] // 0 );
        }
    }
    my $line = sub {
        my ($cells) = @_;
        my @padded = map {
            my $blanks = ' ' x ( $width[$_] - _length( $cells->[$_] ) );
            $right[$_] ? "$blanks$cells->[$_]" : "$cells->[$_]$blanks"
        } 0 .. $#{$cells};
        return '   ' . ( join( '  ', @padded ) =~ s/ +$//r );
    };
    print $self->_in( 2, $line->($titles) ), "\n", map { $line->($_) . "\n" } @rows;
    return;
}

sub _length {
    my ($text) = @_;
    return length $text =~ s/\e\[\d+m//gr;
}

=head2 number $n; seconds

With commas; since the start.

=cut

sub number {
    my ( $self, $number ) = @_;
    1 while $number =~ s/^(\d+)(\d{3})/$1,$2/;
    return $number;
}

sub seconds {
    my ($self) = @_;
    return sprintf '%.1f', time - $self->{started};
}

1;
