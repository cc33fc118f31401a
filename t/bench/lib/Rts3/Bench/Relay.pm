package Rts3::Bench::Relay;

use strict;
use warnings;

use Carp       ();
use IPC::Open2 ();

use Rts3::Bench ();

=head1 NAME

Rts3::Bench::Relay - a server as if it were far away

=head1 SYNOPSIS

    my $relay = Rts3::Bench::Relay->start( $port, 30 );    # milliseconds for a round trip, handshakes included
    ...                                                    # ask $relay->port instead

With a round trip of 0 there is nothing in between.

=cut

sub start {
    my ( $class, $port, $round_trip ) = @_;
    return bless { port => $port }, $class if !$round_trip;
    my $pid  = IPC::Open2::open2( my $out, my $in, Rts3::Bench::program('relay'), $port, $round_trip );
    my $line = readline $out;
    Carp::croak('no relay') if !defined $line;
    chomp $line;
    return bless { port => $line, in => $in, pid => $pid }, $class;
}

sub port { return $_[0]{port} }

sub DESTROY {
    my ($self) = @_;
    local ( $@, $?, $! );
    close $self->{in} if $self->{in};
    waitpid $self->{pid}, 0 if $self->{pid};
    return;
}

1;
