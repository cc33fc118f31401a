package Rts3::Test::Leaks;

use strict;
use warnings;

use Digest::SHA  qw(hmac_sha256);
use Exporter     qw(import);
use MIME::Base64 qw(encode_base64);
use POSIX        ();

our @EXPORT_OK = qw(found_in looks percent signing_keys);

=head1 NAME

Rts3::Test::Leaks - searches texts for secrets

=head1 FUNCTIONS

=head2 percent $text

Percent-encoded.

=head2 looks $secret

The secret and how it may look elsewhere: percent-encoded, in base64, in hex, reversed; and every piece of 10 characters
of it. All in lower case.

=head2 signing_keys $secret, $region

What requests of yesterday, today and tomorrow are signed with, in hex and base64, in lower case.

=head2 found_in \@needles, @texts

Lines about the texts (each C<[where, text]>) that hold one of the needles, in whatever case, or anything of an
Authorization header. The name of S3's error code AuthorizationHeaderMalformed is none.

=cut

sub percent { my ($text) = @_; return $text =~ s/([^A-Za-z0-9\-_.~])/sprintf '%%%02X', ord $1/ger }

sub looks {
    my ($text) = @_;
    my $base64 = encode_base64( $text, '' ) =~ s/=+\z//r;
    return map {lc} $text, percent($text), $base64, unpack( 'H*', $text ), scalar reverse($text),
        map { substr $text, $_, 10 } 0 .. length($text) - 10;
}

sub signing_keys {
    my ( $secret, $region ) = @_;
    my @keys;
    for my $day ( -1 .. 1 ) {
        my $key = hmac_sha256( POSIX::strftime( '%Y%m%d', gmtime time + 86_400 * $day ), "AWS4$secret" );
        $key = hmac_sha256( $_, $key ) for $region, 's3', 'aws4_request';
        push @keys, lc unpack( 'H*', $key ), lc encode_base64( $key, '' );
    }
    return @keys;
}

sub found_in {
    my ( $needles, @texts ) = @_;
    my %needle = map { $_ => 1 } @$needles;
    my $any    = join '|', map {quotemeta} sort keys %needle;
    my @found;
    for (@texts) {
        my ( $where, $text ) = @$_;
        push @found, "$where: " . substr $text, 0, 500
            if lc($text) =~ /$any/
            || $text =~ /Signature=(?!\*)|\bAuthorization\s*[:=](?!\s*\*)|AWS4-HMAC-SHA256/i;
    }
    return @found;
}

1;
