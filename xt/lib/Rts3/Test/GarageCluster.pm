package Rts3::Test::GarageCluster;

use strict;
use warnings;

use parent 'Rts3::Test::Owner';

use Carp             qw(croak);
use File::Temp       ();
use IO::Socket::INET ();
use Time::HiRes      qw(sleep time);

use Rts3::Test::File qw(slurp);
use Rts3::Test::Garage;
use Rts3::Test::Process ();
use Rts3::Test::S3Client;

=head1 NAME

Rts3::Test::GarageCluster - three nodes of Garage that keep three copies of everything

=head1 SYNOPSIS

    my $cluster = Rts3::Test::GarageCluster->start;
    $cluster->kill_node(2);
    ...
    $cluster->start_node(2);

=head1 METHODS

=head2 start

Starts the nodes, numbered from 0, on ports of the loopback interface, joins them, and makes the keys. Everything lies in a
private directory; the nodes end with the object and with the test.

=cut

my $Garage = 'Rts3::Test::Garage';
my $Nodes  = 3;

sub start {
    my $class = shift;
    my $self  = bless {
        owner => $$,
        tmp   => File::Temp->newdir( 'rts3-cluster-XXXXXX', TMPDIR => 1 ),
        $Garage->keys_and_region,
    }, $class;
    my @ports = _free_ports( 2 * $Nodes );
    for my $number ( 0 .. $Nodes - 1 ) {
        my $dir = "$self->{tmp}/node$number";
        mkdir $dir or croak "$dir: $!";
        my ( $port, $rpc ) = splice @ports, 0, 2;
        $self->{nodes}[$number] = { dir => $dir, port => $port, rpc => $rpc, starts => 0 };
        $self->_configure($number);
        $self->_spawn($number);
    }
    $self->_join;
    for my $number ( $self->nodes ) {
        $self->_answers( $number, 60 ) or croak "node $number does not answer: " . $self->log_of($number);
    }
    $self->wait_until_whole;
    return $self;
}

sub _configure {
    my ( $self, $number, @peers ) = @_;
    my $node = $self->{nodes}[$number];
    $node->{file} =
        $Garage->configure( ( map { $_ => $node->{$_} } qw(dir port rpc) ), copies => $Nodes, peers => \@peers );
    return;
}

# Not from the range that the system takes ports of outgoing connections from: the port of a node that is down must
# stay free until it is back.
sub _free_ports {
    my ($wanted) = @_;
    my %held;
    while ( keys %held < $wanted ) {
        my $port   = 12_000 + int rand 18_000;
        my $socket = IO::Socket::INET->new( LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1 );
        $held{$port} //= $socket if $socket;
    }
    my @ports = sort keys %held;
    return @ports;
}

# The nodes get to know each other, and will again when they start the next time; a copy of everything goes to each; and
# the keys
sub _join {
    my $self = shift;
    my @id   = map { $self->_id($_) } $self->nodes;
    $self->_garage( qw(node connect), $_ ) for @id[ 1 .. $#id ];
    $self->_configure( $_, @id ) for $self->nodes;
    $self->_garage( qw(layout assign --zone one --capacity 10GB), map {s/@.*//r} @id );
    $self->_garage(qw(layout apply --version 1));
    $self->_garage( qw(key import --yes),          @{$self}{qw(access_key secret_key)} );
    $self->_garage( qw(key allow --create-bucket), $self->{access_key} );
    return;
}

sub _id {
    my ( $self, $number ) = @_;
    my $end = time + 60;
    while ( time < $end ) {
        my $run = $self->_ask( $number, qw(node id --quiet) );
        return $1 if !$run->{exit} && $run->{out} =~ /^(\w{64}\@\S+)/;
        sleep 0.1;
    }
    croak "node $number does not start: " . $self->log_of($number);
}

sub _ask {
    my ( $self, $number, @words ) = @_;
    return Rts3::Test::Process::run( command => [ $Garage->program, '-c', $self->{nodes}[$number]{file}, @words ] );
}

# What may fail while the nodes are still getting to know each other
sub _garage {
    my ( $self, @words ) = @_;
    my $end = time + 30;
    while (1) {
        my $run = $self->_ask( 0, @words );
        return $run->{out}                                         if !$run->{exit};
        croak "garage @words failed: " . $run->{out} . $run->{err} if time > $end;
        sleep 0.3;
    }
}

=head2 nodes

Their numbers.

=cut

sub nodes {
    my $self = shift;
    return 0 .. $#{ $self->{nodes} };
}

=head2 kill_node $number; start_node $number

Ends a node with SIGKILL; starts it again, on the same ports, and waits until it answers.

=cut

sub kill_node {
    my ( $self, $number ) = @_;
    my $pid = delete $self->{nodes}[$number]{pid} or croak "node $number does not run";
    kill KILL => $pid;
    waitpid $pid, 0;
    return;
}

sub start_node {
    my ( $self, $number ) = @_;
    $self->_spawn($number);
    return if $self->_answers( $number, 60 );
    croak "node $number does not answer again: " . $self->log_of($number);
}

=head2 wait_until_whole

Waits until each node has found both others again, and returns the seconds it took. That is up to half a minute after one
came back: Garage tries every 30 s, and until then this node does not count for the others. A second one must not be taken
down before.

=cut

sub wait_until_whole {
    my $self  = shift;
    my $start = time;
    for my $number ( $self->nodes ) {
        until ( $self->_sees_all($number) ) {
            croak "node $number does not find the others: " . $self->log_of($number) if time - $start > 120;
            sleep 0.3;
        }
    }
    return time - $start;
}

sub _sees_all {
    my ( $self, $number ) = @_;
    my $run = $self->_ask( $number, 'status' );
    return !$run->{exit} && $run->{out} !~ /FAILED/ && $Nodes == ( () = $run->{out} =~ /^[0-9a-f]{16}\s/gm );
}

sub _spawn {
    my ( $self, $number ) = @_;
    my $node = $self->{nodes}[$number];
    $node->{starts}++;
    $node->{pid} = Rts3::Test::Process::spawn(
        command => [ $Garage->program, '-c', $node->{file}, 'server' ],
        env     => { PATH => $ENV{PATH}, HOME => $node->{dir}, RUST_LOG => 'garage=info' },
        out     => "$node->{dir}/out.$node->{starts}",
        err     => "$node->{dir}/log.$node->{starts}",
    );
    return;
}

sub _answers {
    my ( $self, $number, $seconds ) = @_;
    my $end = time + $seconds;
    while ( time < $end ) {
        return 1 if $self->client($number)->request( GET => '/' )->code == 200;
        sleep 0.1;
    }
    return 0;
}

=head2 url $number; client $number; options $number

A node's address; an L<Rts3::Test::S3Client> that speaks to it; a hash of the library's options that lead to it.

=cut

sub url {
    my ( $self, $number ) = @_;
    return "http://127.0.0.1:$self->{nodes}[$number]{port}";
}

sub client {
    my ( $self, $number ) = @_;
    return Rts3::Test::S3Client->new(
        url => $self->url($number),
        map { $_ => $self->{$_} } qw(access_key secret_key region)
    );
}

sub options {
    my ( $self, $number ) = @_;
    return (
        Host            => $self->url($number),
        Region          => $self->{region},
        AccessKeyId     => $self->{access_key},
        SecretAccessKey => $self->{secret_key},
    );
}

=head2 log_of $number

All that a node has written to its log, over all its starts.

=cut

sub log_of {
    my ( $self, $number ) = @_;
    my $node = $self->{nodes}[$number];
    return join '', map { slurp("$node->{dir}/out.$_") . slurp("$node->{dir}/log.$_") } 1 .. $node->{starts};
}

=head2 stop

Ends all nodes.

=cut

sub holders { return @{ $_[0]{nodes} // [] } }

1;
