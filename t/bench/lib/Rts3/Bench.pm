package Rts3::Bench;

use strict;
use warnings;

use Carp           ();
use Cwd            ();
use File::Basename qw(dirname);
use POSIX          ();

use Rts3::Test::File     qw(slurp);
use Rts3::Test::S3Server ();

=head1 NAME

Rts3::Bench - what all benchmarks share

=head1 FUNCTIONS

=head2 server

The tests' S3 server, built with optimisation for this.

=head2 program $name

One of its programs: s3server or relay.

=head2 machine, when

What was measured on; when.

=cut

my $ROOT = Cwd::abs_path( dirname(__FILE__) . '/../../../..' );
my $BUILT;

sub root { return $ROOT }

sub program {
    my ($name) = @_;
    my $target = "$ROOT/t/.cache/bench/s3server";
    my @build =
        ( qw(cargo build --quiet --release --locked --config profile.release.opt-level=3 --target-dir), $target );
    push @build, '--manifest-path', "$ROOT/t/s3server/Cargo.toml";
    if ( !$BUILT++ ) {
        system(@build) == 0 || Carp::croak("not built: @build");
    }
    return "$target/release/$name";
}

sub server {
    local $ENV{RTS3_TEST_S3SERVER} = program('s3server');
    return Rts3::Test::S3Server->start(@_);
}

sub machine {
    my ($model) = slurp('/proc/cpuinfo')      =~ /^model name\s*:\s*(.*)/m;
    my $count   = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;
    my $sha     = slurp('/proc/cpuinfo')      =~ /^flags.*\bsha_ni\b/m ? 'with' : 'without';
    return "$count processors ($model, $sha SHA instructions), Linux " . ( POSIX::uname() )[2];
}

sub when { return 'Measured ' . POSIX::strftime( '%Y-%m-%d', localtime ) . ': ' }

1;
