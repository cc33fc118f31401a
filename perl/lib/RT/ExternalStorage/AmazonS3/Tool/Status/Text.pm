package RT::ExternalStorage::AmazonS3::Tool::Status::Text;

use strict;
use warnings;

use I18N::Langinfo ();
use POSIX          ();

use RT::ExternalStorage::AmazonS3::Chart;
use RT::ExternalStorage::AmazonS3::Quantity qw(size);
use RT::ExternalStorage::AmazonS3::Tool::Status::Words;

use constant WORDS => 'RT::ExternalStorage::AmazonS3::Tool::Status::Words';

# Columns of a terminal that does not say how many it has, and those that a line has at least and at most
use constant { COLUMNS => 80, LEAST => 40, MOST => 120 };

# The request for a terminal's size, of Linux
use constant TIOCGWINSZ => 0x5413;

sub Lines {
    my ( $class, $figures, $runs ) = @_;
    return (
        'Counted ' . WORDS->Moment( $figures->{ended} // time ),
        '', _Where($figures), '', _Years( $figures->{months}, _Columns(), _IsUTF8() ),
        'Last runs', ( map {"  $_->[0]: $_->[1]"} WORDS->Told( $runs, 'Moment' ) )
    );
}

sub _Where {
    my ($figures) = @_;
    my @rows = WORDS->Where($figures);
    my @cells =
        map { [ ( $_->{part} ? '  ' : '' ) . $_->{text}, WORDS->Count($_), WORDS->Bytes($_), $_->{note} // '' ] }
        @rows;
    my @width = map { _Longest( $_, @cells ) } 0 .. 2;
    return map { sprintf( "%-$width[0]s  %$width[1]s  %$width[2]s  %s", @{$_} ) =~ s/\s+\z//r } @cells;
}

sub _Longest {
    my ( $cell, @rows ) = @_;
    my $longest = 0;
    for my $row (@rows) { $longest = length $row->[$cell] if length $row->[$cell] > $longest }
    return $longest;
}

# A bar for each year
sub _Years {
    my ( $months, $columns, $is_utf8 ) = @_;
    my @years = RT::ExternalStorage::AmazonS3::Chart->Years( $months, 1 ) or return;
    my ( $most, $width ) = ( 0, 0 );
    for my $year (@years) {
        $year->{sum} = $year->{external} + $year->{database};
        $most        = $year->{sum}         if $year->{sum} > $most;
        $width       = length $year->{name} if length $year->{name} > $width;
    }
    my ( $external, $database ) = $is_utf8 ? ( "\x{2588}", "\x{2591}" ) : ( '#', '=' );
    my $unknown = grep { $_->{external} && !defined $_->{external}[1] } values %{$months};
    my $long    = $columns - $width - length '   100.0 GB ';
    my @lines   = 'By year of creation: ' . ( $unknown ? '' : "$external in S3, " ) . "$database in the database";
    $lines[0] .= '; sizes in S3 are not known' if $unknown;
    for my $year (@years) {
        my $length = _Length( $year->{sum}, $most, $long );
        my $inner  = $year->{external} ? _Length( $year->{external}, $most, $long ) : 0;
        $inner = $length - 1 if $year->{database} && $inner == $length && $length > 1;
        my $bar = $external x $inner . $database x ( $length - $inner );
        push @lines, sprintf( "%-${width}s  %8s  %s", $year->{name}, size( $year->{sum} ), $bar ) =~ s/ +\z//r;
    }
    return ( @lines, '' );
}

# What is there is seen, however small
sub _Length {
    my ( $value, $most, $long ) = @_;
    my $length = $most ? int( $value / $most * $long + 0.5 ) : 0;
    return $length || ( $value ? 1 : 0 );
}

sub _Columns {
    my $columns = $ENV{COLUMNS};
    my $size    = "\0" x 8;
    if ( !$columns && $^O eq 'linux' && POSIX::isatty(1) && ioctl STDOUT, TIOCGWINSZ, $size ) {
        ( undef, $columns ) = unpack 'S2', $size;
    }
    $columns = COLUMNS if ( $columns || 0 ) !~ /\A[1-9]\d{0,4}\z/;
    return $columns < LEAST ? LEAST : $columns > MOST ? MOST : $columns;
}

sub _IsUTF8 {
    my $before = POSIX::setlocale( POSIX::LC_CTYPE() );
    POSIX::setlocale( POSIX::LC_CTYPE(), '' );
    my $charset = I18N::Langinfo::langinfo( I18N::Langinfo::CODESET() );
    POSIX::setlocale( POSIX::LC_CTYPE(), $before );
    return $charset =~ /\Autf-?8\z/i;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Status::Text - what rt-s3 status tells, for a terminal

=head1 CLASS METHODS

=head2 Lines FIGURES, RUNS

The lines, with bars as long as the terminal is wide, of the characters that its locale has.

=cut
