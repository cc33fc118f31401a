package RT::ExternalStorage::AmazonS3::Chart;

use strict;
use warnings;

use POSIX ();

use RT::ExternalStorage::AmazonS3::Quantity qw(number size);

# In units of the picture, which takes the width that the page has for it
use constant { WIDTH => 400, ROW => 42, BAR => 12, HEIGHT => 150, TOP => 20, BOTTOM => 20, LEGEND => 20 };

# Months in a row that can be told apart; of a longer time there are columns for years, of which the last ones
use constant { MOST_MONTHS => 24, MOST_YEARS => 30 };

# Seconds
use constant YEAR => 365 * 86_400;

# Of fewer columns each is as wide as if there were so many
use constant FEW => 6;

my %NAMES = ( external => 'in S3', database => 'in the database' );

# Text has the colour of the page's; RT 5 and RT 6 say each in its way that theirs is dark
my $STYLE = <<'END' =~ s/\s*\n\s*//gr;
.rts3-chart{display:block;width:100%;max-width:520px;height:auto;font:14px sans-serif;fill:currentColor}
.rts3-chart .external{fill:#2a6fb0}
.rts3-chart .database{fill:#c77700}
.rts3-chart .rest{fill:currentColor;fill-opacity:.12}
.rts3-chart line{stroke:currentColor;stroke-opacity:.3}
body.darkmode .rts3-chart .external,[data-bs-theme=dark] .rts3-chart .external{fill:#5aa9e6}
body.darkmode .rts3-chart .database,[data-bs-theme=dark] .rts3-chart .database{fill:#f0a63c}
END

# %args: title, rows: [ label, value, text, (class) ]
sub Bars {
    my ( $class, %args ) = @_;
    my @rows = @{ $args{rows} };
    my $most = _Most( map { $_->[1] // 0 } @rows );
    my $y    = 0;
    my @parts;
    for my $row (@rows) {
        my ( $label, $value, $text, $kind ) = @$row;
        push @parts, _Text( 0, $y + 14, $label ), _Text( WIDTH, $y + 14, $text, 'end' ),
            _Box( 'rest',              0, $y + 20, WIDTH,                                BAR ),
            _Box( $kind // 'external', 0, $y + 20, _Length( $value // 0, $most, WIDTH ), BAR );
        $y += ROW;
    }
    return _Picture( $args{title}, join( '; ', map { "$_->[0]: " . ( $_->[2] // '' ) } @rows ), $y, @parts );
}

# %args: title, months: { 'YYYY-MM' => { database => [ count, bytes ], external => [ count, bytes ] } }, of: "bytes" or
# "count", names: { external, database }
sub Months {
    my ( $class, %args ) = @_;
    my $of      = ( $args{of} // 'bytes' ) eq 'count' ? 0 : 1;
    my %names   = ( %NAMES, %{ $args{names} || {} } );
    my $written = $of ? \&size : \&number;
    my @columns = _Columns( $args{months}, $of );
    my $most    = _Most( map { $_->{external} + $_->{database} } @columns );
    my $height  = TOP + HEIGHT + BOTTOM;
    my $width   = _Width(@columns);
    my $gap     = $width > 6 ? 2 : 0;

    my @parts = ( _Line(TOP), _Line( TOP + HEIGHT ), _Text( 0, TOP - 5, $most ? $written->($most) : '' ) );
    my @said;
    for my $i ( 0 .. $#columns ) {
        my $column = $columns[$i];
        my $text   = "$column->{name}: " . join ', ',
            map { $written->( $column->{$_} ) . " $names{$_}" } qw(external database);
        my ( $bottom, @boxes ) = ( TOP + HEIGHT );
        for my $kind (qw(external database)) {
            my $high = _Length( $column->{$kind}, $most, HEIGHT );
            $bottom -= $high;
            push @boxes, _Box( $kind, $i * $width + $gap / 2, $bottom, $width - $gap, $high );
        }
        push @parts, '<g><title>' . Escaped($text) . '</title>', @boxes, '</g>';
        push @said, $text;
    }
    push @parts, _Names( $height - 5, @columns ), _Legend( $height, \%names );
    return _Picture( $args{title}, join( '; ', @said ), $height + LEGEND, @parts );
}

# One for each month from the first to the last one, or for each year
sub _Columns {
    my ( $months, $of )   = @_;
    my ( $first,  $last ) = _Span($months) or return;
    my @all = _From( $first, $last );
    return @all > MOST_MONTHS ? __PACKAGE__->Years( $months, $of ) : _Summed( $months, $of, @all );
}

sub Years {
    my ( $class, $months, $of ) = @_;
    my ( $first, $last ) = map { substr $_, 0, 4 } _Span($months) or return;
    my @all = $first .. $last;
    if ( @all > MOST_YEARS ) {
        my %has = map { substr( $_, 0, 4 ) => 1 } keys %{$months};
        splice @all, 0, @all - MOST_YEARS;
        shift @all while @all > 1 && !$has{ $all[1] };
    }
    return _Summed( $months, $of, @all );
}

# The first month and the last one. One wrong date in the years to come does not make the others too small to be seen.
sub _Span {
    my ($months) = @_;
    my @names    = _Valid($months) or return;
    my $latest   = POSIX::strftime( '%Y-12', gmtime time + YEAR );
    my @likely   = grep { $_ le $latest } @names;
    return @likely ? @likely[ 0, -1 ] : @names[ 0, -1 ];
}

sub _Valid {
    my ($months) = @_;
    my @names = sort grep {/\A\d{4}-(?:0[1-9]|1[0-2])\z/} keys %{$months};
    return @names;
}

# What comes before the first one of these months, or years, counts there, and what comes after the last one likewise
sub _Summed {
    my ( $months, $of, @all ) = @_;
    my %column = map { $_ => { name => $_, external => 0, database => 0 } } @all;
    for my $month ( _Valid($months) ) {
        my $name   = substr $month, 0, length $all[0];
        my $end    = $name lt $all[0] ? $all[0] : $all[-1];
        my $column = $column{$name} || $column{$end};
        $column->{name} = ( $name lt $all[0] ? 'to ' : 'from ' ) . $end if !$column{$name};
        $column->{$_} += ( $months->{$month}{$_} || [] )->[$of] // 0 for qw(external database);
    }
    return @column{@all};
}

sub _Width { return WIDTH / ( @_ < FEW ? FEW : @_ ) }

sub _From {
    my ( $first, $last ) = @_;
    my ( $year, $month ) = split /-/, $first;
    my @months;
    while ( ( my $name = sprintf '%04d-%02d', $year, $month ) le $last ) {
        push @months, $name;
        ( $year, $month ) = ( $year + 1, 0 ) if $month == 12;
        $month++;
    }
    return @months;
}

# As many names below the columns as there is room for
sub _Names {
    my ( $y, @columns ) = @_;
    return if !@columns;
    my $each  = int( ( @columns + 5 ) / 6 );
    my $width = _Width(@columns);
    return map { _Text( ( $_ + 0.5 ) * $width, $y, $columns[$_]{name}, 'middle' ) }
        grep { $_ % $each == int( $each / 2 ) } 0 .. $#columns;
}

sub _Legend {
    my ( $y, $names ) = @_;
    my ( $x, @parts ) = (0);
    for my $kind (qw(external database)) {
        push @parts, _Box( $kind, $x, $y + 6, BAR, BAR ), _Text( $x + BAR + 6, $y + 16, $names->{$kind} );
        $x += WIDTH / 2;
    }
    return @parts;
}

# ---- parts

sub _Picture {
    my ( $title, $description, $height, @parts ) = @_;
    return
          '<svg class="rts3-chart" role="img" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 '
        . WIDTH
        . " $height\"><title>"
        . Escaped($title)
        . '</title><desc>'
        . Escaped($description)
        . "</desc><style>$STYLE</style>"
        . join( '', @parts )
        . '</svg>';
}

sub _Box {
    my ( $kind, $x, $y, $width, $height ) = @_;
    return sprintf '<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>', Escaped($kind),
        map { _Short($_) } $x, $y, $width, $height;
}

sub _Text {
    my ( $x, $y, $text, $anchor ) = @_;
    return sprintf '<text x="%s" y="%s"%s>%s</text>', _Short($x), _Short($y),
        $anchor ? qq{ text-anchor="$anchor"} : '', Escaped($text);
}

sub _Line {
    my ($y) = @_;
    return sprintf '<line x1="0" x2="%s" y1="%s" y2="%s"/>', WIDTH, ($y) x 2;
}

# What is there is seen, however small
sub _Length {
    my ( $value, $most, $length ) = @_;
    return 0 if !$most || $value <= 0;
    my $long = $value / $most * $length;
    return $long < 1 ? 1 : $long;
}

sub _Most {
    my (@values) = @_;
    my $most = 0;
    for my $value (@values) { $most = $value if $value > $most }
    return $most;
}

sub _Short {
    my ($number) = @_;
    return 0 + sprintf '%.2f', $number;
}

sub Escaped {
    my ($text) = @_;
    $text //= '';
    $text =~ s/([&<>"'])/'&#' . ord($1) . ';'/ge;
    $text =~ s/[^\t\n\r\x{20}-\x{d7ff}\x{e000}-\x{fffd}\x{10000}-\x{10ffff}]/\x{fffd}/g;
    return $text;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Chart - pictures of figures

=head1 SYNOPSIS

    my $picture = RT::ExternalStorage::AmazonS3::Chart->Bars(
        title => 'Where attachments are',
        rows  => [ [ 'in S3', 3_200_000, '3.2 MB, 17 files' ], [ 'in the database', 1000, '1.0 kB' ] ],
    );
    my $growth = RT::ExternalStorage::AmazonS3::Chart->Months( title => 'By month', months => $figures->{months} );

=head1 DESCRIPTION

SVG to stand within a page, as a string of characters: without scripts, and without anything from elsewhere. Its width is
that of the page, up to 520 pixels; text is in the colour of the page, and bars are in colours for light and for dark ones
(RT 5's C<body.darkmode>, RT 6's C<data-bs-theme>). What a picture shows stands in its description, too.

=head1 CLASS METHODS

=head2 Bars title => TEXT, rows => [ [ LABEL, VALUE, TEXT, CLASS ], ... ]

A bar for each row, one below the other. CLASS, the colour: C<external> (if not said) or C<database>.

=head2 Months title => TEXT, months => MONTHS, of => "bytes" or "count", names => { external =>, database => }

Columns for each month from the first to the last one, or, of more than two years, for each year. MONTHS:
C<< { '2026-11' => { database => [ COUNT, BYTES ], external => [ COUNT, BYTES ] }, ... } >>. What is not a month is left
out; what is said to come after the next year counts with the last one before that.

=head2 Years MONTHS, 0 for numbers or 1 for bytes

The last 30 years, as hashes of C<name>, C<external> and C<database>. Those before them are in the first one, whose name
says so: C<to 1997>.

=head1 FUNCTIONS

=head2 Escaped TEXT

For HTML and XML.

=cut
