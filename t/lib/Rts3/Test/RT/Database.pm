package Rts3::Test::RT::Database;

use strict;
use warnings;

use Carp           qw(croak);
use Cwd            qw(abs_path);
use Digest::SHA    ();
use File::Basename qw(dirname);
use File::Copy     ();
use File::Path     qw(make_path);
use File::Temp     ();

use Rts3::Test::File    qw(spew);
use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::RT::Database - A freshly set up RT database, made once and then copied

=head1 DESCRIPTION

RT's own rt-setup-database takes two seconds, a copy of what it made a few milliseconds. The
original stays in t/.cache, under a name that changes with RT's version and with this file.

=cut

our $Cache = abs_path( dirname(__FILE__) . '/../../../..' ) . '/.cache';

sub new {
    my ( $class, $release ) = @_;
    return bless { release => $release }, $class;
}

sub copy_to {
    my ( $self, $target ) = @_;
    my $template = $self->template;
    File::Copy::copy( $template, $target ) or croak "$template to $target: $!";
    return;
}

sub template {
    my $self = shift;
    my $key  = Digest::SHA->new(256);
    my $base = $self->{release}->base;
    $key->addfile($_) for "$base/lib/RT/Generated.pm", "$base/etc/initialdata", __FILE__;
    my $template = "$Cache/rt-" . substr( $key->hexdigest, 0, 16 ) . '.db';
    $self->_make($template) unless -e $template;
    return $template;
}

# Tests run side by side: each may make it, the last one to finish wins.
sub _make {
    my ( $self, $template ) = @_;
    make_path($Cache);
    my $dir = File::Temp->newdir( 'setup-XXXXXX', DIR => $Cache );
    mkdir "$dir/site.d";
    spew( "$dir/RT_SiteConfig.pm", <<"END" );
Set(\$rtname, 'example.test');
Set(\$Organization, 'example.test');
Set(\$DatabaseType, 'SQLite');
Set(\$DatabaseName, '$dir/rt.db');
Set(\$LogToSyslog, undef);
Set(\$LogToSTDERR, 'error');
\$RT::VarPath = '$dir';
1;
END
    my $run = Rts3::Test::Process::run(
        command => [ $self->{release}->program('rt-setup-database'), qw(--action init --skip-create) ],
        env     => {
            PATH               => $ENV{PATH},
            HOME               => "$dir",
            LC_ALL             => 'C.UTF-8',
            RT_SITE_CONFIG     => "$dir/RT_SiteConfig.pm",
            RT_SITE_CONFIG_DIR => "$dir/site.d",
        },
    );
    croak "rt-setup-database failed ($run->{exit}): $run->{out}$run->{err}" if $run->{exit} || !-s "$dir/rt.db";
    rename "$dir/rt.db", $template or croak "$template: $!";
    return;
}

1;
