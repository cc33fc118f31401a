package Rts3::Test::Relay;

use strict;
use warnings;

use Carp             ();
use IO::Socket::INET ();
use POSIX            ();
use Socket           qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes      qw(time);

=head1 NAME

Rts3::Test::Relay - a server as if it were far away

=head1 SYNOPSIS

    my $relay = Rts3::Test::Relay->start( port => $port, round_trip => 0.03 );
    ...                                     # ask $relay->port instead

=head1 METHODS

=head2 start port => PORT, round_trip => SECONDS

Passes connections on to a port of this machine, each byte half a round trip later in either direction, and the first one
after another whole one: that of the handshake. It ends with the object, and after 20 minutes in any case.

=head2 port

Its own.

=cut

# What is read at once
use constant PIECE => 256 * 1024;

sub start {
    my ( $class, %args ) = @_;
    my $listener = IO::Socket::INET->new( Listen => 200, LocalAddr => '127.0.0.1' ) or Carp::croak("no socket: $!");
    my $self     = bless { %args, owner => $$, listener => $listener->sockport }, $class;
    my $pid      = fork // Carp::croak("fork: $!");
    if ( !$pid ) {
        alarm 1200;
        eval { $self->_serve($listener) };
        POSIX::_exit(0);
    }
    $self->{pid} = $pid;
    return $self;
}

sub port { return $_[0]{listener} }

# Every connection has two ways: what is on its way on each, when it arrives, and whether its sender has closed
sub _serve {
    my ( $self, $listener ) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $half = $self->{round_trip} / 2;
    my %way;    # by the number of the socket that is read
    while (1) {
        my ( $read, $write, $now, $next ) = ( '', '', time, 1 );
        vec( $read, fileno $listener, 1 ) = 1;
        for my $number ( keys %way ) {
            my $way = $way{$number};
            vec( $read, $number, 1 ) = 1 if !$way->{closed} && @{ $way->{pieces} } < 40;
            my $first = $way->{pieces}[0] or next;
            my $left  = $first->[0] - $now;
            if ( $left <= 0 ) { vec( $write, fileno $way->{to}, 1 ) = 1 }
            elsif ( $left < $next ) { $next = $left }
        }
        select $read, $write, undef, $next;
        _accept( $listener, \%way, $self->{port}, $self->{round_trip} ) if vec $read, fileno $listener, 1;
        for my $number ( keys %way ) {
            my $way = $way{$number} or next;
            _take( $way, $half ) if vec $read, $number, 1;
            _pass( \%way, $number ) if vec $write, fileno $way->{to}, 1;
        }
    }
    return;
}

sub _accept {
    my ( $listener, $way, $port, $handshake ) = @_;
    my $client = $listener->accept                                                   or return;
    my $server = IO::Socket::INET->new( PeerAddr => '127.0.0.1', PeerPort => $port ) or return;
    for my $socket ( $client, $server ) {
        setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
        $socket->blocking(0);
    }
    my $from = time + $handshake;
    $way->{ fileno $client } = { from => $client, to => $server, pieces => [], not_before => $from };
    $way->{ fileno $server } = { from => $server, to => $client, pieces => [], not_before => $from };
    return;
}

sub _take {
    my ( $way, $half ) = @_;
    my $got = sysread $way->{from}, my $piece, PIECE;
    return if !defined $got && $!{EAGAIN};
    my $now     = time;
    my $arrives = ( $now > $way->{not_before} ? $now : $way->{not_before} ) + $half;
    $way->{closed} = 1 if !$got;
    push @{ $way->{pieces} }, [ $arrives, $got ? $piece : undef ];
    return;
}

sub _pass {
    my ( $ways, $number ) = @_;
    my $way   = $ways->{$number};
    my $first = $way->{pieces}[0] or return;
    if ( !defined $first->[1] ) {
        delete $ways->{ fileno $way->{to} };
        delete $ways->{$number};
        close $way->{to};
        close $way->{from};
        return;
    }
    my $sent = syswrite $way->{to}, $first->[1];
    return if !defined $sent && $!{EAGAIN};
    if ( !defined $sent ) {
        @{ $way->{pieces} } = ( [ 0, undef ] );
        return;
    }
    substr $first->[1], 0, $sent, '';
    shift @{ $way->{pieces} } if !length $first->[1];
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{owner} != $$ || !$self->{pid};
    local ( $?, $! );
    kill TERM => $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

1;
