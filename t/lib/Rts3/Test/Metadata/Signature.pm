package Rts3::Test::Metadata::Signature;

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256 hmac_sha256_hex sha256_hex);
use Exporter    qw(import);
use Time::Local qw(timegm);

our @EXPORT_OK = qw(refusal);

=head1 NAME

Rts3::Test::Metadata::Signature - verifies how a request to STS is signed

=head1 FUNCTIONS

=head2 refusal $request, \%secrets, \%tokens

Why STS refuses a signed request (POST of a form to C</>): C<[code, message]>, or undef. Secrets and, for temporary keys,
session tokens by access key.

=cut

sub refusal {
    my ( $request, $secret_of, $token_of ) = @_;
    my $header = $request->{headers};
    my ( $id, $day, $region, $service, $signed, $signature ) = ( $header->{authorization} // '' ) =~ m{
        \A AWS4-HMAC-SHA256 \s Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request,
        \s* SignedHeaders=([a-z0-9;-]+), \s* Signature=([0-9a-f]{64}) \z }x
        or return [ MissingAuthenticationToken => 'Request is missing Authentication Token' ];
    return [ SignatureDoesNotMatch => "Credential should be scoped to correct service: 'sts'." ] if $service ne 'sts';
    my $secret = $secret_of->{$id};
    return [ InvalidClientTokenId => 'The security token included in the request is invalid.' ]
        if !defined $secret || ( $token_of->{$id} // '' ) ne ( $header->{'x-amz-security-token'} // '' );

    my $date = $header->{'x-amz-date'} // '';
    my @date = $date =~ /\A(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\z/
        or return [ IncompleteSignature => "Date must be in ISO-8601 'basic format'." ];
    my $age = time - timegm( @date[ 5, 4, 3, 2 ], $date[1] - 1, $date[0] );
    return [ SignatureDoesNotMatch => "Signature expired: $date is not within 15 min" ]
        if abs $age > 900 || 0 != index $date, $day;

    my @signed    = split /;/, $signed;
    my %is_signed = map  { $_ => 1 } @signed;
    my ($missing) = grep { !$is_signed{$_} } 'host', grep {/^x-amz-|^content-type\z/} sort keys %$header;
    return [ SignatureDoesNotMatch => "'$missing' must be a 'SignedHeader' in the AWS Authorization." ] if $missing;
    my $headers   = join '',   map { "$_:" . ( ( $header->{$_} // '' ) =~ s/\s+/ /gr ) . "\n" } @signed;
    my $canonical = join "\n", $request->{method}, '/', '', $headers, $signed, sha256_hex( $request->{body} );
    my $text      = join "\n", 'AWS4-HMAC-SHA256', $date, "$day/$region/sts/aws4_request", sha256_hex($canonical);
    my $key       = "AWS4$secret";
    $key = hmac_sha256( $_, $key ) for $day, $region, 'sts', 'aws4_request';
    return undef if hmac_sha256_hex( $text, $key ) eq $signature;
    return [
        SignatureDoesNotMatch => 'The request signature we calculated does not match the signature you provided.' ];
}

1;
