package Rts3::Test::RealServer;

use strict;
use warnings;

use parent 'Rts3::Test::Owner';

use Carp             qw(croak);
use Cwd              qw(abs_path);
use Fcntl            qw(LOCK_EX);
use File::Basename   qw(dirname);
use File::Path       qw(make_path);
use File::Temp       ();
use IO::Socket::INET ();
use Time::HiRes      qw(sleep time);

use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Process ();
use Rts3::Test::S3Client;

=head1 NAME

Rts3::Test::RealServer - an S3 server that is not ours, for one test

=head1 DESCRIPTION

What L<Rts3::Test::Garage> and L<Rts3::Test::Moto> have in common: a private directory, free ports of the loopback
interface, a process that ends with the object and with the test. A subclass says what to run.

=head1 METHODS

=head2 cache

The directory for what is built or installed once: F<t/.cache>.

=cut

sub cache {
    my $cache = abs_path( dirname(__FILE__) . '/../../..' ) . '/.cache';
    make_path($cache);
    return $cache;
}

=head2 once $name, $there, $make

Makes what C<< $there->() >> does not find yet, with C<< $make->() >>; others wait for it meanwhile.

=cut

sub once {
    my ( $class, $name, $there, $make ) = @_;
    return if $there->();
    my $file = $class->cache . "/$name.lock";
    open my $lock, '>', $file or croak "$file: $!";
    flock $lock, LOCK_EX or croak "$file: $!";
    $make->() if !$there->();
    close $lock or croak "$file: $!";
    $there->()  or croak "$name could not be made";
    return;
}

=head2 virtual_environment $name, \@packages, $more

The directory with these packages of PyPI, and nothing that they depend on; C<< $more->( $directory, %run ) >> adds to it
before it is complete.

=cut

sub virtual_environment {
    my ( $class, $name, $packages, $more ) = @_;
    my $home     = $class->cache . "/$name";
    my $complete = "$home/complete";
    my ($python) = grep {-x} '/usr/bin/python3', map {"$_/python3"} split /:/, $ENV{PATH};
    die "there is no python3\n" if !$python;
    $class->once(
        $name,
        sub { -e $complete },
        sub {
            my %run = ( timeout => 600, env => { %ENV, PIP_DISABLE_PIP_VERSION_CHECK => 1 } );
            $class->must_run( 'A virtual environment', %run, command => [ $python, qw(-m venv --clear), $home ] );
            $class->must_run( 'pip', %run, command => [ "$home/bin/pip", qw(install -q --no-deps), @{$packages} ] );
            $more->( $home, %run ) if $more;
            spew( $complete, "@{$packages}\n" );
        }
    );
    return $home;
}

=head2 must_run $what, timeout => $seconds, command => \@command, env => \%env

Runs a command that must succeed.

=cut

sub must_run {
    my ( $class, $what, %run ) = @_;
    my $run = Rts3::Test::Process::run(%run);
    croak "$what failed ($run->{exit}): " . substr "$run->{out}$run->{err}", -3000 if $run->{exit};
    return;
}

=head2 start

Starts the server and waits until it answers.

=cut

sub start {
    my $class = shift;
    my $self  = bless { owner => $$, tmp => File::Temp->newdir( 'rts3-server-XXXXXX', TMPDIR => 1 ) }, $class;
    $self->{port} = free_port();
    $self->{url}  = "http://127.0.0.1:$self->{port}";
    my %run = $self->prepare;
    $self->{log} = "$self->{tmp}/log";
    $self->{pid} = Rts3::Test::Process::spawn( %run, out => "$self->{tmp}/out", err => $self->{log} );
    my $end = time + 60;

    until ( $self->_answers ) {
        if ( Rts3::Test::Process::wait_for( $self->{pid}, 0.1 ) ) {
            delete $self->{pid};
            croak "$class did not start: " . slurp( $self->{log} ) . slurp("$self->{tmp}/out");
        }
        croak "$class does not answer: " . slurp( $self->{log} ) if time > $end;
    }
    return $self;
}

sub _answers {
    my $self = shift;
    return $self->client->request( GET => '/' )->code == 200;
}

=head2 stop

Ends it.

=cut

=head2 options

Options of %ExternalStorage for it: all but the bucket.

=head2 dir, port, url, access_key, secret_key, region, client

Its directory and address, what it wants to be asked with, and an L<Rts3::Test::S3Client> that does so.

=cut

sub dir        { return "$_[0]{tmp}" }
sub port       { return $_[0]{port} }
sub url        { return $_[0]{url} }
sub access_key { return $_[0]{access_key} }
sub secret_key { return $_[0]{secret_key} }
sub region     { return $_[0]{region} }

sub options {
    my ($self) = @_;
    return (
        Type            => 'AmazonS3',
        Host            => $self->url,
        Region          => $self->region,
        AccessKeyId     => $self->access_key,
        SecretAccessKey => $self->secret_key,
    );
}

sub client {
    my $self = shift;
    return Rts3::Test::S3Client->new( map { $_ => $self->{$_} } qw(url access_key secret_key region) );
}

=head2 free_port

A port of 127.0.0.1 that nobody listens on.

=cut

sub free_port {
    my $socket = IO::Socket::INET->new( LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1, Proto => 'tcp' )
        or croak "No port: $@";
    return $socket->sockport;
}

1;
