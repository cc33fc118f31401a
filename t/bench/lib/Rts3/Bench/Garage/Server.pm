package Rts3::Bench::Garage::Server;

use strict;
use warnings;

use parent 'Rts3::Test::Garage';

=head1 NAME

Rts3::Bench::Garage::Server - Garage as a server that is measured with

=head1 METHODS

=head2 keys_and_region

As L<Rts3::Test::Garage> has it, but in the region that RT's own module signs for, which can't be told another one.

=head2 http, make_bucket $name

As those of the tests' server.

=cut

sub keys_and_region { return ( Rts3::Test::Garage->keys_and_region, region => 'us-east-1' ) }

sub http { return $_[0]->url }

# It has none: http is measured
sub ca { return '/etc/ssl/certs/ca-certificates.crt' }

sub make_bucket {
    my ( $self, $name ) = @_;
    my $response = $self->client->request( PUT => "/$name" );
    die "no bucket $name: ", $response->as_string, "\n" if !$response->is_success;
    return;
}

1;
