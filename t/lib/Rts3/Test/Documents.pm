package Rts3::Test::Documents;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(blocks);

=head1 NAME

Rts3::Test::Documents - what stands in the manual and in docs/

=head1 FUNCTIONS

=head2 blocks $text

The blocks of indented text, without their indentation. In a list it is that of the list's text that does not count. Blank lines
do not end a block.

=cut

sub blocks {
    my ($text) = @_;
    my @blocks;
    my ( $inside, $list ) = ( 0, 0 );
    for my $line ( split /\n/, $text ) {
        if ( $line =~ /^( *)(?:[-*]|\d+[.]) +\S/ && length $1 < 4 ) {
            $list   = $+[0] - 1;
            $inside = 0;
        }
        elsif ( $line =~ /^\S/ ) { ( $inside, $list ) = ( 0, 0 ) }
        elsif ( $line =~ /\S/ && $line =~ /^ {${\ ( $list + 4 )}}(.*)/ ) {
            push @blocks, '' if !$inside;
            $blocks[-1] .= "$1\n";
            $inside = 1;
        }
        elsif ( $line =~ /\S/ ) { $inside = 0 }
    }
    return @blocks;
}

1;
