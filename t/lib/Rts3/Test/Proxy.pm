package Rts3::Test::Proxy;

use strict;
use warnings;

use Carp             ();
use IO::Select       ();
use IO::Socket::INET ();
use POSIX            ();
use Rts3::Test::File qw(slurp spew);
use File::Temp       ();

=head1 NAME

Rts3::Test::Proxy - an HTTP proxy for one test

=head1 SYNOPSIS

    my $proxy = Rts3::Test::Proxy->start;
    ...                                     # let something ask https://... through $proxy->address
    is_deeply( [ $proxy->asked ], ['CONNECT localhost:1234 '], 'one tunnel' );

=head1 METHODS

=head2 start

Tunnels only (CONNECT). It ends with the object, and after 5 minutes in any case.

=cut

sub start {
    my ($class)  = @_;
    my $listener = IO::Socket::INET->new( Listen => 20, LocalAddr => '127.0.0.1' ) or Carp::croak("no socket: $!");
    my $dir      = File::Temp->newdir( 'rts3-proxy-XXXXXX', TMPDIR => 1 );
    my $self     = bless { dir => $dir, owner => $$, address => '127.0.0.1:' . $listener->sockport }, $class;
    spew( "$dir/asked", '' );
    my $pid = fork // Carp::croak("fork: $!");
    if ( !$pid ) {
        alarm 300;
        local $SIG{CHLD} = 'IGNORE';
        while ( my $client = $listener->accept ) {
            next if fork;
            $self->_serve($client);
            POSIX::_exit(0);
        }
        POSIX::_exit(0);
    }
    $self->{pid} = $pid;
    return $self;
}

=head2 address

Host and port.

=head2 asked

What it was asked: lists of method, server and the credentials, as one text each.

=head2 refuse

From now on every tunnel is refused with 407.

=cut

sub address { return $_[0]{address} }

sub asked {
    my ($self) = @_;
    return split /\n/, slurp("$self->{dir}/asked");
}

sub refuse {
    my ($self) = @_;
    spew( "$self->{dir}/refuse", '' );
    return;
}

sub _serve {
    my ( $self, $client ) = @_;
    my $head = '';
    sysread $client, $head, 1, length $head or return while $head !~ /\r\n\r\n\z/;
    my ( $method, $server ) = $head =~ /\A(\w+) (\S+)/;
    my ($user) = $head =~ /^Proxy-Authorization: (\S+ \S+)/mi;
    open my $asked, '>>', "$self->{dir}/asked" or return;
    syswrite $asked, join( ' ', $method, $server, $user // '' ) . "\n";
    close $asked or return;
    return syswrite $client, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        if -e "$self->{dir}/refuse" || $method ne 'CONNECT';
    my $upstream = IO::Socket::INET->new($server) or return;
    syswrite $client, "HTTP/1.1 200 Connection established\r\n\r\n";
    return relay( $client, $upstream );
}

=head2 relay $client, $server

A function: passes on what either of two sockets sends, until one of them has ended.

=cut

sub relay {
    my ( $client, $server ) = @_;
    my $both = IO::Select->new( $client, $server );
    while ( my @ready = $both->can_read ) {
        for my $from (@ready) {
            sysread $from, my $bytes, 65_536 or return;
            my $to = $from == $client ? $server : $client;
            while ( length $bytes ) {
                my $written = syswrite $to, $bytes or return;
                substr $bytes, 0, $written, '';
            }
        }
    }
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
