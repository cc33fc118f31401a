package Rts3::Test::File;

use strict;
use warnings;

use Carp     qw(croak);
use Exporter qw(import);

our @EXPORT_OK = qw(slurp spew);

=head1 NAME

Rts3::Test::File - Whole files

=head1 FUNCTIONS

=head2 slurp $file

A file's content as bytes, empty where there is no such file.

=head2 spew $file, $content

Makes a file of this content: bytes, or characters to be written as UTF-8.

=cut

sub slurp {
    my $file = shift;
    return '' unless open my $handle, '<:raw', $file;
    my $content = do { local $/ = undef; readline $handle };
    close $handle or croak "$file: $!";
    return $content // '';
}

sub spew {
    my ( $file, $content ) = @_;
    utf8::encode($content) if utf8::is_utf8($content);
    open my $handle, '>:raw', $file or croak "$file: $!";
    print {$handle} $content or croak "$file: $!";
    close $handle            or croak "$file: $!";
    return;
}

1;
