package Rts3::Test::Disposition;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(parse cleaned);

=head1 NAME

Rts3::Test::Disposition - what a browser reads in a Content-Disposition, and the name that it should read

=head1 FUNCTIONS

=head2 parse $value

A header's value, as bytes, read by the grammar of RFC 6266 and nothing more lenient: a hash with C<kind>, C<plain> (the
parameter filename) and C<name> (filename*, by RFC 5987, as characters). undef where the grammar does not fit.

=cut

my $TOKEN  = qr/[!#\$%&'*+\-.^_`|~0-9A-Za-z]+/;
my $QUOTED = qr/"(?:[^"\\\x00-\x1f\x7f-\xff]|\\[\x20-\x7e])*"/;
my $EXACT  = qr/(?:%[0-9A-Fa-f]{2}|[!#\$&+\-.^_`|~0-9A-Za-z])*/;

sub parse {
    my ($value) = @_;
    my ($kind)  = ( $value // '' ) =~ /\G($TOKEN)/gc or return undef;
    my %found   = ( kind => $kind );
    while ( $value =~ /\G\s*;\s*($TOKEN)=/gc ) {
        my $parameter = $1;
        if ( $parameter eq 'filename*' ) {
            my ($encoded) = $value =~ /\GUTF-8''($EXACT)(?=;|\z)/gc or return undef;
            $encoded =~ s/%(..)/chr hex $1/ge;
            utf8::decode($encoded) or return undef;
            $found{name} = $encoded;
        }
        elsif ( $parameter eq 'filename' ) {
            my ($text) = $value =~ /\G($QUOTED|$TOKEN)/gc or return undef;
            $text =~ s/\A"(.*)"\z/$1/s and $text =~ s/\\(.)/$1/gs;
            $found{plain} = $text;
        }
        else {
            return undef;
        }
    }
    return ( pos $value ) == length $value ? \%found : undef;
}

=head2 cleaned $name

A file's name without what could deceive: no control characters, no marks that turn the direction of writing, no slashes,
no blanks at its ends. undef where nothing is left.

=cut

sub cleaned {
    my ($name) = @_;
    return undef if !defined $name;
    $name        =~ s/\p{Cc}//g;
    $name        =~ s/[\x{61c}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}\x{feff}]//g;
    $name        =~ tr{/\\}{_};
    $name        =~ s/\A\s+|\s+\z//g;
    return $name =~ /[^.]/ ? $name : undef;
}

1;
