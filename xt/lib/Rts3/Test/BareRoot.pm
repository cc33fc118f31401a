package Rts3::Test::BareRoot;

use strict;
use warnings;

use Carp           qw(croak);
use File::Basename qw(dirname);
use File::Path     qw(make_path remove_tree);
use File::Temp     ();

use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::BareRoot - a Debian 12 on which nothing was done yet, and what is done on it

=head1 SYNOPSIS

    my $bare  = Rts3::Test::BareRoot->new;
    my $build = $bare->layer('build');
    my $run   = $build->run('apt-get install gcc');
    is( $run->{exit}, 0, 'gcc' );

=head1 DESCRIPTION

debootstrap makes it, once; each layer begins as what is below it and keeps what is done in it for itself. Commands run in a
chroot, without the caller's environment, in a mount namespace of their own, and with this machine's network. Nothing
starts a service there. What cargo has compiled is common to all layers. The certificate authorities that this machine has of its own are there, too.

=head1 METHODS

=head2 missing

Why none can be made here, or undef.

=head2 new

Makes one, below a temporary directory. With C<RTS3_ROOTS> below that directory, where the layers stay for the next time.

=head2 layer $name, $code

One more on top of it. With $code it is prepared by that, which gets it and is not called where it was done before.

=head2 run $shell, $directory

Runs this command there, as root. Returns what L<Rts3::Test::Process/run> does.

=head2 write_file $file, $text

While nothing runs there.

=head2 copy_in $file, $to, copy_out $file, $to

From this machine's $file into the directory $to there, and the other way round.

=head2 files

The files, links and directories there are, without what every use of the machine changes; of what RT keeps compiled, the
files made of our page.

=cut

my $OWN_CAS = '/usr/local/share/ca-certificates';

# Of one hour each: a build on a busy machine
use constant LONGEST => 3600;

my $ENTER = <<'END';
set -e
root=$1 lower=$2 upper=$3 work=$4 cargo=$5 shell=$6
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root/var/tmp/cargo"
mount --bind "$cargo" "$root/var/tmp/cargo"
exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_TARGET_DIR=/var/tmp/cargo \
    /bin/bash -c "$shell"
END

sub missing {
    return 'only root can make a root directory' if $>;
    for my $program (qw(debootstrap unshare chroot)) {
        return "there is no $program" if !grep { -x "$_/$program" } split( /:/, $ENV{PATH} ), '/usr/sbin';
    }
    return undef;
}

sub new {
    my ($class) = @_;
    my $tmp     = $ENV{RTS3_ROOTS} // File::Temp->newdir( 'rts3-root-XXXXXX', TMPDIR => 1 );
    my $base    = "$tmp/bookworm";
    if ( !-e "$base.done" ) {
        my @command = ( qw(debootstrap --variant=minbase bookworm), $base, 'http://deb.debian.org/debian' );
        my $run     = Rts3::Test::Process::run( command => \@command, env => {%ENV}, timeout => LONGEST );
        croak "@command: $run->{out}$run->{err}" if $run->{exit};
        spew( "$base.done", '' );
    }
    my $self = bless { tmp => $tmp, below => [$base] }, $class;
    return $self->layer( 'base', sub { $_[0]->_prepare } );
}

sub _prepare {
    my ($self) = @_;
    $self->write_file(
        '/etc/apt/sources.list', join '',
        map {"deb http://deb.debian.org/$_ main\n"} 'debian bookworm',
        'debian bookworm-updates',
        'debian-security bookworm-security'
    );
    $self->write_file( '/etc/apt/apt.conf.d/90unattended',
        qq{APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n} );
    $self->write_file( '/usr/sbin/policy-rc.d', "#!/bin/sh\nexit 101\n" );
    chmod 0755, "$self->{upper}/usr/sbin/policy-rc.d";
    $self->write_file( '/etc/resolv.conf', slurp('/etc/resolv.conf') );
    my @own = glob "$OWN_CAS/*.crt";
    $self->copy_in( $_, $OWN_CAS ) for @own;
    my $run = $self->run( 'apt-get update' . ( @own ? ' && apt-get install ca-certificates' : '' ) );
    croak "apt-get: $run->{out}$run->{err}" if $run->{exit};
    return;
}

sub layer {
    my ( $self, $name, $code ) = @_;
    my %new = ( tmp => $self->{tmp}, below => [ grep {defined} $self->{upper}, @{ $self->{below} } ] );
    $new{$_} = "$self->{tmp}/$name/$_" for qw(root upper work);
    my $layer = bless \%new, ref $self;
    return $layer if $code && -e "$self->{tmp}/$name/done";
    remove_tree("$self->{tmp}/$name");
    make_path( @new{qw(root upper work)}, "$self->{tmp}/cargo" );
    if ($code) {
        $code->($layer);
        spew( "$self->{tmp}/$name/done", '' );
    }
    return $layer;
}

sub run {
    my ( $self, $shell, $directory ) = @_;
    $shell = "cd '$directory' && { $shell; }" if defined $directory;
    my $lower = join ':', @{ $self->{below} };
    return Rts3::Test::Process::run(
        command => [
            qw(unshare --mount --pid --fork --kill-child /bin/bash -c),
            $ENTER, 'enter', $self->{root}, $lower, @{$self}{qw(upper work)},
            "$self->{tmp}/cargo", $shell
        ],
        env     => { PATH => '/usr/sbin:/usr/bin:/sbin:/bin' },
        timeout => LONGEST,
    );
}

sub write_file {
    my ( $self, $file, $text ) = @_;
    make_path( dirname("$self->{upper}$file") );
    spew( "$self->{upper}$file", $text );
    return;
}

sub copy_in {
    my ( $self, $file, $to ) = @_;
    make_path("$self->{upper}$to");
    system( 'cp', '-R', $file, "$self->{upper}$to/" ) == 0 or croak "cp $file: $?";
    return;
}

sub copy_out {
    my ( $self, $file, $to ) = @_;
    my ($found) = grep {-e} map {"$_$file"} $self->{upper}, @{ $self->{below} };
    system( 'cp', $found // "$self->{upper}$file", $to ) == 0 or croak "cp $file: $?";
    return;
}

sub files {
    my ($self) = @_;
    my $run = $self->run(q{find / -xdev -printf '%y %p\n'});
    my $changes =
        qr{^/(?:dev|proc|root|run|tmp|var/(?:log|mail|spool|tmp)|var/lib/(?:apt|dpkg|dbconfig-common))(?:/|\z)};
    my $data = qr{^/var/cache/|/var/(?:mason|session)_data/};
    my @found;
    for my $line ( sort split /\n/, $run->{out} ) {
        my ( $type, $path ) = split / /, $line, 2;
        next if $path =~ $changes || $path =~ /__pycache__/;
        push @found, $path if $path !~ $data || ( $type ne 'd' && $path =~ /ExternalStorage/ );
    }
    return @found;
}

1;
