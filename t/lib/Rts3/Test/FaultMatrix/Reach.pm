package Rts3::Test::FaultMatrix::Reach;

use strict;
use warnings;

=head1 NAME

Rts3::Test::FaultMatrix::Reach - the faults on the way to the server: names, ports, TLS

=head1 FUNCTIONS

=head2 faults

The list of faults; L<Rts3::Test::FaultMatrix> says what stands in each.

=cut

sub faults {
    my @tls = (
        [ 'TLS: an authority that nobody knows', https_unknown_ca => qr/certificate/, 'network!' ],
        [ 'TLS: an expired certificate',         https_expired    => qr/expired/,     'network!' ],
        [ 'TLS: a certificate for another name', https_other_name => qr/mismatch/,    'network!' ],
        [ 'TLS 1.1 only',                        https_tls11      => qr/protocol/,    'network!' ],
        [ 'TLS: the handshake stalls',           https_stall      => qr/within/,      'timeout!' ],
        [ 'plain HTTP where TLS is expected',    https_plain      => qr/without TLS/, 'network!' ],
    );
    my @ways = (
        [ 'a name that does not resolve',                    nowhere       => qr/look up/,          'network!' ],
        [ 'the port is closed',                              closed        => qr/connect/,          'network!' ],
        [ 'an address that swallows all that is sent to it', silent        => qr/within/,           'timeout!' ],
        [ 'a frozen server: it accepts and never answers',   frozen        => qr/stalled|Deadline/, 'timeout!' ],
        [ 'the first of two addresses refuses',              first_refuses => undef,                '' ],
        [ 'the first of two addresses swallows all that is sent to it', first_silent => undef,      '' ],
    );
    return map {
        my ( $name, $host, $says, $word ) = @$_;
        my $expect = $word ? join ' ', ($word) x 7 : 'ok/1 ok/2 ok/2 ok/1 ok/1 ok/1 ok/1';
        {
            name   => $name,
            host   => $host,
            says   => $says,
            loose  => 1,
            waits  => !!( $host =~ /^https/ || $word =~ /^timeout/ ),
            expect => $expect
        }
    } @tls, @ways;
}

1;
