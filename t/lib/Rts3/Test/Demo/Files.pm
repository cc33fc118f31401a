package Rts3::Test::Demo::Files;

use strict;
use warnings;
use utf8;

use Compress::Zlib ();
use Encode         ();

=encoding UTF-8

=head1 NAME

Rts3::Test::Demo::Files - the files that the demo's customers send

=head1 FUNCTIONS

=head2 all

References to hashes with name (characters), type, charset (of text) and content (bytes), made anew each time:

=over

=item * a scan, PNG, to be shown with the mail; a PDF whose name has an umlaut, quotes and angle brackets

=item * 5 MB that no compression makes smaller, as an archive has them

=item * a log in UTF-8 and a list in ISO-8859-1, both above the size from which RT moves text

=back

=cut

sub all {
    return (
        { name => 'scan.png', type => 'image/png', content => png( 400, 300 ), disposition => 'inline' },
        { name => 'Übersicht "2026" <final>.pdf', type => 'application/pdf',          content => pdf() },
        { name => 'archive.bin',                  type => 'application/octet-stream', content => noise(5_000_000) },
        { name => 'protocol.txt', type => 'text/plain', charset => 'UTF-8', content => text( 'UTF-8', 1500 ) },
        {
            name    => 'customers.csv',
            type    => 'text/csv',
            charset => 'ISO-8859-1',
            content => text( 'ISO-8859-1', 700 )
        },
    );
}

=head2 png $width, $height; pdf; noise $bytes; text $charset, $lines

=cut

sub png {
    my ( $width, $height ) = @_;
    my $phase = rand 6;
    my $rows  = join '', map { "\0" . _waves( $width, $_ / 40, $phase ) } 1 .. $height;
    my $chunk = sub {
        my ( $type, $data ) = @_;
        return pack 'N a4 a* N', length $data, $type, $data, Compress::Zlib::crc32("$type$data");
    };
    return join '', "\x89PNG\r\n\x1a\n",
        $chunk->( IHDR => pack 'N N C5', $width, $height, 8, 2, 0, 0, 0 ),
        $chunk->( IDAT => Compress::Zlib::compress($rows) ),
        $chunk->( IEND => '' );
}

sub _waves {
    my ( $width, $y, $phase ) = @_;
    return join '', map {
        my $x = $_ / 40 + sin( $y + $phase );
        pack 'C3', map { 128 + 100 * sin( $x * $_ / 3 + $y + $phase ) } 2, 3, 4;
    } 1 .. $width;
}

sub pdf {
    my $page    = "BT /F1 24 Tf 72 720 Td (Kept in S3, " . localtime() . ") Tj ET";
    my @objects = (
        '<< /Type /Catalog /Pages 2 0 R >>',
        '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
        '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>',
        '<< /Length ' . length($page) . " >>\nstream\n$page\nendstream",
        '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>',
    );
    my $pdf = "%PDF-1.4\n%\xE2\xE3\xCF\xD3\n";
    my @offsets;
    for my $number ( 1 .. @objects ) {
        push @offsets, length $pdf;
        $pdf .= "$number 0 obj\n$objects[ $number - 1 ]\nendobj\n";
    }
    my $table = length $pdf;
    my $count = @objects + 1;
    $pdf .= "xref\n0 $count\n0000000000 65535 f \n" . join '', map { sprintf "%010d 00000 n \n", $_ } @offsets;
    return $pdf . "trailer << /Size $count /Root 1 0 R >>\nstartxref\n$table\n%%EOF\n";
}

sub noise {
    my ($bytes) = @_;
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read( $random, my $noise, $bytes ) == $bytes or die "/dev/urandom: $!\n";
    close $random;
    return $noise;
}

sub text {
    my ( $charset, $lines ) = @_;
    my $word = $charset eq 'UTF-8' ? 'größer, 漢字, €' : 'größer, façade, ½';
    return Encode::encode( $charset, join '', map {"$_;$word;line $_ of $lines\n"} 1 .. $lines );
}

1;
