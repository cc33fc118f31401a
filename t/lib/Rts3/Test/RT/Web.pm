package Rts3::Test::RT::Web;

use strict;
use warnings;

use Carp                  qw(croak);
use HTTP::Cookies         ();
use HTTP::Request::Common ();
use IO::Socket::INET      ();
use LWP::UserAgent        ();
use Time::HiRes           qw(sleep time);

use Rts3::Test::File    qw(slurp);
use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::RT::Web - RT's web server on a port of its own, and a browser for it

=head1 SYNOPSIS

    my $web = $rt->start_web( workers => 2 );
    $web->login;
    my $response = $web->get('/Ticket/Display.html?id=1');    # an HTTP::Response

=head1 METHODS

=head2 start %options

Called by L<Rts3::Test::RT/start_web>, which takes these options: server (Starman; Starlet and Standalone are there too),
workers (2), port (a free one), arguments (more of them, a reference to an array), timeout (30 s for the start).

=cut

sub start {
    my ( $class, %args ) = @_;
    my $self = bless { server => 'Starman', workers => 2, timeout => 30, owner => $$, %args }, $class;
    my @workers =
          $self->{server} eq 'Starman' ? ( '--workers', $self->{workers} )
        : $self->{server} eq 'Starlet' ? ( '--max-workers', $self->{workers} )
        :                                ();
    $self->{pid} = Rts3::Test::Process::spawn(
        command => [
            $^X, $self->{program},
            '--server' => $self->{server},
            '--env'    => 'deployment',
            '--host'   => '127.0.0.1',
            '--port'   => $self->{port},
            @workers,
            @{ $self->{arguments} || [] },
        ],
        env => $self->{env},
        out => '/dev/null',
        err => $self->{errors},
    );
    $self->_wait_until_ready;
    return $self;
}

sub _wait_until_ready {
    my $self = shift;
    my $end  = time + $self->{timeout};
    while ( time < $end ) {
        if ( Rts3::Test::Process::wait_for( $self->{pid}, 0.05 ) ) {
            delete $self->{pid};
            croak "RT's web server did not start: " . $self->errors;
        }
        return if IO::Socket::INET->new( PeerAddr => "127.0.0.1:$self->{port}", Timeout => 1 );
    }
    croak "RT's web server does not answer: " . $self->errors;
}

sub DESTROY {
    my $self = shift;
    local ( $@, $?, $! );
    $self->stop;
    return;
}

=head2 stop, pid, port, url, errors

Ends the server; its process id, port and address; what it wrote to standard error.

=cut

sub stop {
    my $self = shift;
    return if $self->{owner} != $$;
    my $pid = delete $self->{pid} or return;
    Rts3::Test::Process::stop($pid);
    return;
}

sub pid  { return $_[0]{pid} }
sub port { return $_[0]{port} }
sub url  { return "http://127.0.0.1:$_[0]{port}" }

sub errors {
    my $self = shift;
    return slurp( $self->{errors} );
}

=head2 browser

A browser without any cookie, an LWP::UserAgent: what C<get>, C<post> and C<login> use is the first one made.

=cut

sub browser {
    my $self  = shift;
    my $agent = LWP::UserAgent->new(
        cookie_jar            => HTTP::Cookies->new,
        timeout               => 120,
        requests_redirectable => [qw(GET HEAD POST)],
    );
    $agent->default_header( Referer => $self->url . '/' );    # RT's protection against forged requests asks for it
    return $agent;
}

sub agent {
    my $self = shift;
    return $self->{agent} //= $self->browser;
}

=head2 another

The same server with a browser of its own, for one more user at once.

=cut

sub another {
    my $self = shift;
    return bless { port => $self->{port}, errors => $self->{errors}, owner => $self->{owner} }, ref $self;
}

=head2 login $user, $password

Logs in (root and password by default), and dies if RT says no.

=cut

sub login {
    my ( $self, $user, $password ) = @_;
    my %form     = ( user => $user // 'root', pass => $password // 'password' );
    my $response = $self->post( '/', \%form );
    croak "RT refuses to log $form{user} in: " . $response->status_line
        if !$response->is_success || $response->decoded_content =~ /name="pass"/;
    return $self;
}

=head2 get $path, %headers; post $path, $form, %headers; request $request

Returns an HTTP::Response.

=cut

sub get {
    my ( $self, $path, @headers ) = @_;
    return $self->agent->get( $self->url . $path, @headers );
}

sub post {
    my ( $self, $path, $form, @headers ) = @_;
    return $self->agent->post( $self->url . $path, $form, @headers );
}

sub request {
    my ( $self, $request ) = @_;
    return $self->agent->request($request);
}

=head2 recovers $path

Waits until there is such a page, 30 s at most: after an outage S3 may be left alone for a while. True if there is.

=cut

sub recovers {
    my ( $self, $path ) = @_;
    my $end = time + 30;
    while ( time < $end ) {
        return 1 if $self->get($path)->code == 200;
        sleep 0.3;
    }
    return 0;
}

=head2 free_port

A port on 127.0.0.1 that nobody listens on.

=cut

sub free_port {
    my $socket = IO::Socket::INET->new( LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1, Proto => 'tcp' )
        or croak "No port: $@";
    return $socket->sockport;
}

1;
