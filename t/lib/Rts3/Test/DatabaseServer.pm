package Rts3::Test::DatabaseServer;

use strict;
use warnings;

use Carp        qw(croak);
use DBI         ();
use File::Temp  ();
use Time::HiRes qw(sleep);

use Rts3::Test::File        qw(slurp spew);
use Rts3::Test::Process     ();
use Rts3::Test::RT::Release ();

=head1 NAME

Rts3::Test::DatabaseServer - PostgreSQL or MariaDB for one test

=head1 SYNOPSIS

    my $server = Rts3::Test::DatabaseServer->start('Pg');
    my $rt     = Rts3::Test::RT->new( config => $server->config, ... );

=head1 DESCRIPTION

Starts the server of Debian's package as its own user, on a data directory of its own and a Unix socket, and puts RT's
tables into it. Nothing else is read or written, no port is used, and the server ends with the object or the test.

=head1 METHODS

=head2 missing $type

Why there is none of this type, C<Pg> or C<mysql>, or undef.

=head2 start $type

The server, with RT 5's tables.

=head2 config, dbh, type

The lines of RT_SiteConfig.pm; a handle that dies on errors; the type.

=head2 stop

Ends the server at once.

=cut

my %USER = ( Pg => 'postgres', mysql => 'mysql' );

sub missing {
    my ( $class, $type ) = @_;
    my $program = _program($type);
    return "Debian's " . ( $type eq 'Pg' ? 'postgresql' : 'mariadb-server' ) . ' is not installed' if !$program;
    return "DBD::$type is not installed"                  if !eval { DBI->install_driver($type); 1 };
    return 'only root can start a server as its own user' if $> != 0;
    return undef;
}

sub _program {
    my ($type) = @_;
    my @found = $type eq 'Pg' ? sort glob '/usr/lib/postgresql/*/bin/postgres' : grep {-x} '/usr/sbin/mariadbd';
    return $found[-1];
}

sub start {
    my ( $class, $type ) = @_;
    my $self = bless { type => $type, parent => $$ }, $class;
    $self->{tmp} = File::Temp->newdir( 'rts3-db-XXXXXX', TMPDIR => 1 );
    my ( undef, undef, $uid, $gid ) = getpwnam $USER{$type} or croak "there is no user $USER{$type}";
    chown $uid, $gid, $self->dir or croak "$!";
    my $method = "_start_$type";
    $self->$method;
    for ( 1 .. 300 ) {
        last if $self->{ready} = eval { $self->_connect( $type eq 'Pg' ? 'postgres' : 'mysql' ) };
        sleep 0.1;
    }
    my $dbh = delete $self->{ready} or croak "the server does not get ready: $@" . slurp( $self->dir . '/err' );
    $dbh->do(
        $type eq 'Pg'
        ? q{CREATE DATABASE rt5 ENCODING 'UTF8' TEMPLATE template0}
        : 'CREATE DATABASE rt5 CHARACTER SET utf8'
    );
    $self->_set_up;
    return $self;
}

sub dir  { return $_[0]{tmp}->dirname }
sub type { return $_[0]{type} }

sub _as_user {
    my ( $self, $signal ) = @_;
    my $user = $USER{ $self->type };
    return ( 'setpriv', "--reuid=$user", "--regid=$user", '--clear-groups', '--pdeathsig', $signal, '--' );
}

sub _run {
    my ( $self, @command ) = @_;
    my $run = Rts3::Test::Process::run(
        command => [ $self->_as_user('TERM'), @command ],
        env     => { PATH => $ENV{PATH}, HOME => $self->dir, LC_ALL => 'C.UTF-8' }
    );
    croak "@command: $run->{out}$run->{err}" if $run->{exit};
    return;
}

sub _spawn {
    my ( $self, $signal, @command ) = @_;
    my $dir = $self->dir;
    $self->{pid} = Rts3::Test::Process::spawn(
        command => [ $self->_as_user($signal), @command ],
        env     => { PATH => $ENV{PATH}, HOME => $dir, LC_ALL => 'C.UTF-8' },
        out     => "$dir/out",
        err     => "$dir/err",
    );
    return;
}

sub _start_Pg {    ## no critic (Capitalization) the type's name
    my ($self) = @_;
    my $bin    = _program('Pg') =~ s{/postgres\z}{}r;
    my $dir    = $self->dir;
    $self->_run( "$bin/initdb", '-D', "$dir/data",
        qw(--auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync -U postgres) );

    # SIGTERM would wait for all clients
    return $self->_spawn( 'INT', "$bin/postgres", '-D', "$dir/data", '-k', $dir, '-c', 'listen_addresses=', '-c',
        'fsync=off' );
}

sub _start_mysql {
    my ($self) = @_;
    my $dir = $self->dir;
    $self->_run(
        'mariadb-install-db',  '--no-defaults',
        "--datadir=$dir/data", qw(--auth-root-authentication-method=normal --skip-test-db)
    );
    return $self->_spawn(
        'TERM',                 _program('mysql'),
        '--no-defaults',        "--datadir=$dir/data",
        "--socket=$dir/socket", "--pid-file=$dir/pid",
        '--skip-networking',    '--max-allowed-packet=64M',
        '--innodb-flush-log-at-trx-commit=0'
    );
}

sub _connect {
    my ( $self, $database ) = @_;
    my $dir = $self->dir;
    my %dsn = (
        Pg    => "dbi:Pg:dbname=$database;host=$dir",
        mysql => "dbi:mysql:database=$database;mysql_socket=$dir/socket"
    );
    my $user = $self->type eq 'Pg' ? 'postgres' : 'root';
    return DBI->connect( $dsn{ $self->type }, $user, '', { RaiseError => 1, PrintError => 0 } );
}

sub dbh { return $_[0]->_connect('rt5') }

sub config {
    my ($self) = @_;
    my $dir    = $self->dir;
    my $user   = $self->type eq 'Pg' ? 'postgres' : 'root';
    my $where =
        $self->type eq 'Pg'
        ? "Set(\$DatabaseHost, '$dir');\n"
        : "Set(\$DatabaseHost, 'localhost');\nSet(%DatabaseExtraDSN, mysql_socket => '$dir/socket');\n";
    return "Set(\$DatabaseType, '" . $self->type . "');\n" . $where . <<"END";
Set(\$DatabaseName, 'rt5');
Set(\$DatabaseUser, '$user');
Set(\$DatabasePassword, '');
Set(\$DatabaseAdmin, '$user');
END
}

sub _set_up {
    my ($self) = @_;
    my $dir = $self->dir;
    mkdir "$dir/rt";
    mkdir "$dir/rt/site.d";
    spew( "$dir/rt/RT_SiteConfig.pm", <<"END" . $self->config . "1;\n" );
Set(\$rtname, 'example.test');
Set(\$Organization, 'example.test');
Set(\$LogToSyslog, undef);
Set(\$LogToSTDERR, 'error');
\$RT::VarPath = '$dir/rt';
END
    my $run = Rts3::Test::Process::run(
        command => [
            Rts3::Test::RT::Release->new(5)->program('rt-setup-database'),
            qw(--action init --skip-create),
            '--dba',          $self->type eq 'Pg' ? 'postgres' : 'root',
            '--dba-password', ''
        ],
        env => {
            PATH               => $ENV{PATH},
            HOME               => "$dir/rt",
            LC_ALL             => 'C.UTF-8',
            RT_SITE_CONFIG     => "$dir/rt/RT_SiteConfig.pm",
            RT_SITE_CONFIG_DIR => "$dir/rt/site.d",
        },
    );
    croak "rt-setup-database failed ($run->{exit}): $run->{out}$run->{err}" if $run->{exit};
    return;
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill INT => $pid if $self->type eq 'Pg';
    Rts3::Test::Process::stop($pid);
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{parent} != $$;
    local ( $@, $?, $! );
    $self->stop;
    return;
}

1;
