package Rts3::Test::Garage;

use strict;
use warnings;

use parent 'Rts3::Test::RealServer';

use Rts3::Test::File qw(spew);

=head1 NAME

Rts3::Test::Garage - Garage, from its crate

=head1 SYNOPSIS

    my $garage = Rts3::Test::Garage->start;
    ... $garage->url, $garage->access_key ...

=head1 METHODS

=head2 version, program, missing

The version that is meant; its program; why it can't be started, or undef.

=head2 build

Builds it, unless that was done: without optimisation, and without what S3 does not need, so that it takes three
minutes on two cores and not fifteen.

=cut

our $Version = '2.5.0';

sub version { return $Version }

sub program {
    my $class = shift;
    return $class->cache . "/garage-$Version/bin/garage";
}

sub missing {
    my $class = shift;
    return undef if -x $class->program;
    return 'Garage is not built; build it with: perl -It/lib -MRts3::Test::Garage -e Rts3::Test::Garage-\>build';
}

sub build {
    my $class = shift;
    my ($cargo) = grep {-x} map {"$_/cargo"} split( /:/, $ENV{PATH} ),
        ( $ENV{CARGO_HOME} // "$ENV{HOME}/.cargo" ) . '/bin';
    die "there is no cargo to build Garage with\n" if !$cargo;
    my $root = $class->cache . "/garage-$Version";
    $class->once(
        "garage-$Version",
        sub { -x $class->program },
        sub {
            $class->must_run(
                'Building Garage',
                timeout => 3600,
                command => [
                    qw(nice -n 19),     $cargo, qw(install --locked --no-track --force garage --version),
                    "=$Version",        qw(--no-default-features --features),
                    'system-libs,lmdb', '--root', $root
                ],
                env => {
                    %ENV,
                    CARGO_TARGET_DIR                => "$root/target",
                    CARGO_PROFILE_RELEASE_OPT_LEVEL => 0,
                    CARGO_PROFILE_RELEASE_DEBUG     => 0,
                    CARGO_PROFILE_RELEASE_STRIP     => 'symbols',
                    CARGO_PROFILE_RELEASE_LTO       => 'off',
                },
            );
            system 'rm', '-rf', "$root/target";
        }
    );
    return;
}

=head2 prepare

See L<Rts3::Test::RealServer>.

=cut

sub prepare {
    my $self = shift;
    my $dir  = $self->dir;
    my %keys = $self->keys_and_region;
    %{$self} = ( %{$self}, %keys );
    my $file = $self->configure( dir => $dir, port => $self->{port}, rpc => $self->free_port, copies => 1 );
    return (
        command => [ $self->program, '-c', $file, qw(server --single-node --default-access-key) ],
        env     => {
            PATH                      => $ENV{PATH},
            HOME                      => $dir,
            GARAGE_DEFAULT_ACCESS_KEY => $self->{access_key},
            GARAGE_DEFAULT_SECRET_KEY => $self->{secret_key},
        },
    );
}

=head2 keys_and_region

A hash of access_key, secret_key and region.

=cut

sub keys_and_region {
    return ( region => 'garage', access_key => 'GK' . 'a1' x 12, secret_key => '5c' x 32 );
}

=head2 configure dir => $dir, port => $port, rpc => $port, copies => $number, peers => \@nodes

Writes the configuration of a node, with the other nodes' ids if it has any, and returns the file.

=cut

sub configure {
    my ( $class, %node ) = @_;
    my %keys  = $class->keys_and_region;
    my $peers = join ', ', map {qq("$_")} @{ $node{peers} // [] };
    my $file  = "$node{dir}/garage.toml";
    spew( $file, <<"END" );
metadata_dir = "$node{dir}/meta"
data_dir = "$node{dir}/data"
db_engine = "lmdb"
lmdb_map_size = "1G"
replication_factor = $node{copies}
disable_scrub = true
rpc_bind_addr = "127.0.0.1:$node{rpc}"
rpc_public_addr = "127.0.0.1:$node{rpc}"
rpc_secret = "@{[ '01' x 32 ]}"
bootstrap_peers = [$peers]

[s3_api]
s3_region = "$keys{region}"
api_bind_addr = "127.0.0.1:$node{port}"
END
    chmod 0600, $file or die "$file: $!";
    return $file;
}

1;
