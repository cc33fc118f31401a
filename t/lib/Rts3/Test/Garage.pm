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

=head2 version, missing

The version that is meant; why it can't be started, or undef.

=head2 build

Builds it, unless that was done: without optimisation, and without what S3 does not need, so that it takes three
minutes on two cores and not fifteen.

=cut

our $Version = '2.5.0';

sub version { return $Version }

sub _program {
    my $class = shift;
    return $class->cache . "/garage-$Version/bin/garage";
}

sub missing {
    my $class = shift;
    return undef if -x $class->_program;
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
        sub { -x $class->_program },
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
    my $rpc  = $self->free_port;
    %{$self} = (
        %{$self},
        region     => 'garage',
        access_key => 'GK' . 'a1' x 12,
        secret_key => '5c' x 32,
    );
    spew( "$dir/garage.toml", <<"END" );
metadata_dir = "$dir/meta"
data_dir = "$dir/data"
db_engine = "lmdb"
lmdb_map_size = "1G"
replication_factor = 1
disable_scrub = true
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "@{[ '01' x 32 ]}"

[s3_api]
s3_region = "$self->{region}"
api_bind_addr = "127.0.0.1:$self->{port}"
END
    chmod 0600, "$dir/garage.toml" or die "$dir/garage.toml: $!";
    return (
        command => [ $self->_program, '-c', "$dir/garage.toml", qw(server --single-node --default-access-key) ],
        env     => {
            PATH                      => $ENV{PATH},
            HOME                      => $dir,
            GARAGE_DEFAULT_ACCESS_KEY => $self->{access_key},
            GARAGE_DEFAULT_SECRET_KEY => $self->{secret_key},
        },
    );
}

1;
