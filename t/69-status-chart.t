#!/usr/bin/perl
# The pictures of rt-s3 status and of RT's page: what they show, whatever there is to be shown.
use strict;
use warnings;
use utf8;

use FindBin;
use Test::More;
use XML::Parser;

use lib "$FindBin::Bin/../perl/lib";
use RT::ExternalStorage::AmazonS3::Chart;
use RT::ExternalStorage::AmazonS3::Quantity qw(counted duration number size);

my $chart = 'RT::ExternalStorage::AmazonS3::Chart';

# The texts of elements of one kind, and their attributes
sub elements {
    my ( $picture, $wanted ) = @_;
    my ( @found, @open );
    XML::Parser->new(
        Handlers => {
            Start => sub {
                my ( undef, $name, %attributes ) = @_;
                push @open, { name => $name, text => '', %attributes };
            },
            Char => sub { $open[-1]{text} .= $_[1]; return },
            End  => sub {
                my $element = pop @open;
                push @found, $element if $element->{name} eq $wanted;
            },
        }
    )->parse($picture);
    return @found;
}

# What stands at the columns
sub columns {
    my ($picture) = @_;
    return grep {/ in S3, /} map { $_->{text} } elements( $picture, 'title' );
}

subtest 'bars' => sub {
    my $hostile = qq{<b onclick="x">&'"\x{0}\x{1f}ü\x{20ac}};
    my $picture = $chart->Bars(
        title => $hostile,
        rows  => [
            [ $hostile, 100, $hostile ],
            [ half => 50,    '50', 'database' ],
            [ tiny => 0.001, '' ],
            [ none => 0,     0 ],
            [ 'not known', undef, undef ]
        ]
    );
    my ($title) = elements( $picture, 'title' );
    is( $title->{text}, qq{<b onclick="x">&'"\x{fffd}\x{fffd}ü\x{20ac}}, 'text is text' );
    unlike( $picture, qr/<b|[^\t\n\x20-\x{10ffff}]/, '... and nothing else' );
    my @bars = grep { $_->{class} ne 'rest' } elements( $picture, 'rect' );
    is_deeply( [ map { $_->{width} } @bars ], [ 400, 200, 1, 0, 0 ], 'as long as the values; what is there is seen' );
    is_deeply(
        [ map { $_->{class} } @bars ],
        [qw(external database external external external)],
        '... in their colours'
    );
    my ($svg) = elements( $picture, 'svg' );
    is( $svg->{role}, 'img', 'a picture, for those who do not see it' );
    like( ( elements( $picture, 'desc' ) )[0]{text}, qr/half: 50; tiny: /, '... with what it shows' );
    unlike( $picture, qr/href|<script|url\(/, 'nothing from elsewhere' );
};

subtest 'months' => sub {
    my %months = (
        '2024-11' => { external => [ 2, 3_000_000 ] },
        '2025-02' => { database => [ 1, 1000 ], external => [ 1, undef ] },
        ''        => { database => [ 9, 9 ] },
        '2025-13' => { database => [ 9, 9 ] }
    );
    my $picture = $chart->Months( title => 'x', months => \%months );
    is_deeply(
        [ columns($picture) ],
        [
            '2024-11: 3.0 MB in S3, 0 bytes in the database',
            ( map {"$_: 0 bytes in S3, 0 bytes in the database"} '2024-12', '2025-01' ),
            '2025-02: 0 bytes in S3, 1.0 kB in the database'
        ],
        'each from the first to the last one'
    );
    is(
        ( columns( $chart->Months( title => 'x', months => \%months, of => 'count' ) ) )[3],
        '2025-02: 1 in S3, 1 in the database',
        'by number'
    );
    my ($low) = grep { $_->{class} eq 'database' && $_->{height} } elements( $picture, 'rect' );
    is( $low->{height}, 1, 'what is there is seen' );

    my %long  = map { $_ => { database => [ 1, 10 ] } } map { ( "$_-01", "$_-12" ) } 1980 .. 2026;
    my $three = { map { $_ => $long{$_} } qw(2024-01 2026-12) };
    my @years = map {s/:.*//r} columns( $chart->Months( title => 'x', months => $three ) );
    is_deeply( \@years, [ 2024 .. 2026 ], 'of a longer time years' );
    my @columns = columns( $chart->Months( title => 'x', months => \%long, of => 'count' ) );
    is( scalar @columns, 30,                                     '... of a very long time the last ones' );
    is( $columns[0],     'to 1997: 0 in S3, 36 in the database', '... and all before in one' );
    my %wrong = ( %months, map { $_ => { database => [ 1, 10 ] } } '1970-01', '9999-12' );
    is_deeply(
        [ columns( $chart->Months( title => 'x', months => \%wrong, of => 'count' ) ) ],
        [
            'to 2023: 0 in S3, 1 in the database',
            '2024: 2 in S3, 0 in the database',
            'from 2025: 1 in S3, 2 in the database'
        ],
        'wrong dates do not make a row of empty years'
    );
    my $future = { map { $_ => { external => [ 1, 1 ] } } '2024-11', '2024-12', '9999-12' };
    is_deeply(
        [ map {s/:.*//r} columns( $chart->Months( title => 'x', months => $future ) ) ],
        [ '2024-11', 'from 2024-12' ],
        '... and leave months months'
    );
    is( scalar columns( $chart->Months( title => 'x', months => {} ) ), 0, 'none' );
    like( $chart->Months( title => 'x', months => \%months, names => { external => 'draußen' } ),
        qr/draußen/, 'other names' );
};

subtest 'quantities' => sub {
    my %size = (
        0      => '0 bytes',
        1      => '1 byte',
        999    => '999 bytes',
        1000   => '1.0 kB',
        999960 => '1.0 MB',
        1.5e12 => '1.5 TB',
        3e18   => '3000.0 PB'
    );
    is( size($_), $size{$_}, "size: $size{$_}" ) for sort keys %size;
    my %number = ( 0 => '0', 999 => '999', 1000 => '1,000', 1_234_567 => '1,234,567' );
    is( number($_),           $number{$_}, "number: $number{$_}" ) for sort keys %number;
    is( counted( 1, 'file' ), '1 file',    'one' );
    my %duration = (
        0       => '0 seconds',
        1       => '1 second',
        119     => '119 seconds',
        120     => '2 minutes',
        100_000 => '27 hours',
        200_000 => '2 days'
    );
    is( duration($_), $duration{$_}, "duration: $duration{$_}" ) for sort keys %duration;
};

done_testing;
