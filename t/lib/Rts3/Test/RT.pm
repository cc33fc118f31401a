package Rts3::Test::RT;

use strict;
use warnings;

use Carp           qw(croak);
use Cwd            qw(abs_path);
use DBI            ();
use Fcntl          qw(LOCK_EX);
use File::Basename qw(dirname);
use File::Path     qw(make_path);
use File::Temp     ();
use Scalar::Util   ();
use Storable       ();

use Rts3::Test::File         qw(slurp spew);
use Rts3::Test::Process      ();
use Rts3::Test::RT::Config   ();
use Rts3::Test::RT::Database ();
use Rts3::Test::RT::Release  ();

our $LibDir = abs_path( dirname(__FILE__) . '/../..' );
our $Root   = abs_path("$LibDir/../..");

our $TraceFile = 'loaded-modules';

# That of the test to externalize, while anything holds it
my $Turn;

=head1 NAME

Rts3::Test::RT - A throwaway RT for tests

=head1 SYNOPSIS

    plan skip_all => $reason if my $reason = Rts3::Test::RT->missing;

    my $rt = Rts3::Test::RT->new(
        storage => { Type => 'AmazonS3', Bucket => 'attachments', Host => $url },
        config  => 'Set($ExternalStorageCutoffSize, 4096);',
    );
    my $ticket = $rt->create_ticket( attachments => [ { name => 'a.bin', content => $bytes } ] );
    my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments-5');

=head1 DESCRIPTION

Debian's request-tracker5 (or 4), run on a SQLite file, a configuration and var
directories of its own below a temporary directory. The installed RT, its
database and its configuration are neither read nor written, and nothing is
left running. Every RT process writes down which storage module it loaded, and
refuses to start when it is not the one that was asked for.

=head1 METHODS

=head2 missing $version

Why no RT of this major version (5 if not said) can be run here, or undef.

=cut

sub missing {
    my ( $class, $version ) = @_;
    return Rts3::Test::RT::Release->new($version)->missing;
}

=head2 new

Options:

=over

=item version

RT's major version, 4 or 5 (the default).

=item storage

The %ExternalStorage of the configuration, a hash reference; none by default.

=item backend

C<ours> (the default), C<own> for the AmazonS3 module that comes with RT, or
undef where it does not matter. Asked of every RT process if storage's Type is
AmazonS3.

=item module_dirs

Directories put in front of RT's, where C<ours> is to be found. By default
blib/lib where the test runs with it in @INC (make test), else perl/lib.

=item config

More text for RT_SiteConfig.pm.

=item env

More environment for RT's processes. They see none of the caller's AWS_*, RT_*,
HARNESS_* and proxy variables, and an empty home directory.

=back

=cut

sub new {
    my ( $class, %args ) = @_;
    my $self = bless {
        storage     => undef,
        backend     => 'ours',
        config      => '',
        env         => {},
        module_dirs => $class->default_module_dirs,
        web_port    => undef,
        owner       => $$,
        %args,
    }, $class;
    $self->{release} = Rts3::Test::RT::Release->new( delete $self->{version} );
    if ( my $reason = $self->{release}->missing ) { croak $reason }

    $self->{tmp} = File::Temp->newdir( 'rts3-rt-XXXXXX', TMPDIR => 1 );
    my $dir = $self->dir;
    make_path( map {"$dir/$_"} qw(site.d var log mason sessions home) );
    Rts3::Test::RT::Database->new( $self->{release} )->copy_to("$dir/rt.db");
    $self->write_config;
    return $self;
}

sub default_module_dirs {
    my ($blib) = grep { !ref && m{(?:^|/)blib/lib/?$} && -e "$_/RT/ExternalStorage/AmazonS3.pm" } @INC;
    return [ defined $blib ? abs_path($blib) : "$Root/perl/lib" ];
}

sub DESTROY {
    my $self = shift;
    return if $self->{owner} != $$;
    local ( $@, $?, $! );
    $self->stop_web;
    return;
}

=head2 release, dir, database, log_text, clear_log

The L<Rts3::Test::RT::Release>; the temporary directory; the path of the SQLite file; everything RT logged, from
level debug, with each process's id; forget it.

=cut

sub release  { return $_[0]{release} }
sub dir      { return $_[0]{tmp}->dirname }
sub database { return $_[0]->dir . '/rt.db' }
sub log_text { return slurp( $_[0]->dir . '/log/rt.log' ) }

sub clear_log {
    my $self = shift;
    truncate( $self->dir . '/log/rt.log', 0 );
    return;
}

=head2 set_storage %options, set_config $text

Change %ExternalStorage (no options: none), or the additional configuration. A web server
that runs keeps what it has read: start it again.

=cut

sub set_storage {
    my ( $self, %storage ) = @_;
    $self->{storage} = %storage ? \%storage : undef;
    $self->write_config;
    return;
}

sub set_config {
    my ( $self, $text ) = @_;
    $self->{config} = $text;
    $self->write_config;
    return;
}

sub write_config {
    my $self = shift;
    spew(
        $self->dir . '/RT_SiteConfig.pm',
        Rts3::Test::RT::Config::text(
            dir         => $self->dir,
            port        => $self->{web_port} || 80,
            storage     => $self->{storage},
            module_dirs => ( $self->{backend} // '' ) eq 'own' ? [] : $self->{module_dirs},
            module      => $self->expected_module,
            trace       => $self->dir . "/$TraceFile",
            more        => $self->{config},
        )
    );
    return;
}

=head2 expected_module, loaded_modules

The path of the AmazonS3 module that RT must load (undef: any); a list of hashes
with pid, program, type and path, one for each time that an RT process read its
configuration.

=cut

sub expected_module {
    my $self = shift;
    my $file = $Rts3::Test::RT::Config::Module;
    return undef unless defined $self->{backend};
    return $self->release->base . "/lib/$file" if $self->{backend} eq 'own';
    my ($dir) = grep { -e "$_/$file" } @{ $self->{module_dirs} };
    return ( $dir // $self->{module_dirs}[0] ) . "/$file";
}

sub loaded_modules {
    my $self  = shift;
    my @lines = split /\n/, slurp( $self->dir . "/$TraceFile" );
    return map {
        my %entry;
        @entry{qw(pid program type path)} = split /\t/, $_, 4;
        \%entry;
    } @lines;
}

sub _assert_module {
    my ( $self, $pid, $what ) = @_;
    return unless ( $self->{storage} || {} )->{Type} && $self->{storage}{Type} eq 'AmazonS3';
    my $want = $self->expected_module // return;
    my @mine = grep { $_->{pid} == $pid } $self->loaded_modules;
    croak "$what never read its configuration, so nothing is known of its storage module" unless @mine;
    my ($wrong) = grep { $_->{path} ne $want } @mine;
    croak "$what used $wrong->{path} and not $want" if $wrong;
    return;
}

=head2 environment

The environment that RT's processes get, as a hash.

=cut

sub environment {
    my $self  = shift;
    my $found = defined $ENV{RTS3_LIBRARY} || grep {m{/blib/lib$}} @{ $self->{module_dirs} };
    return Rts3::Test::RT::Config::environment(
        $self->dir,
        ( $found ? () : ( RTS3_LIBRARY => "$Root/target/release/librts3.so" ) ),
        %{ $self->{env} }
    );
}

=head2 run_script $name, @args

Runs one of RT's own programs (a name with or without RT's version, or the path of a copy), unchanged, as a child: the exit code (128 and the
signal's number if one ended it), standard output and error as bytes, and the seconds it took. Dies if
it ended well with another storage module than C<backend> says.

=cut

sub run_script {
    my ( $self, $name, @args ) = @_;
    my $path = $self->release->program($name) // croak "RT has no program $name";
    my $turn = $path =~ /externalize/ ? $self->_turn($path) : undef;
    my $run  = $self->_run( $path, @args );
    $self->_assert_module( $run->{pid}, $name ) if $run->{exit} == 0;
    return @{$run}{qw(exit out err seconds)};
}

# RT's externalizer locks its own file, and ends at once, as if all were done, where somebody else holds that lock; rt-s3
# locks it too, and its own, which all RTs have in common. So tests that run side by side take turns, by a lock on another
# file of each RT. Whoever has the turn gets it again.
sub _turn {
    my ( $self, $script ) = @_;
    return $Turn if $Turn && $Turn->{pid} == $$;
    my $turn = { pid => $$ };
    for my $release ( map { Rts3::Test::RT::Release->new($_) } Rts3::Test::RT::Release->versions ) {
        my $file = $release->base . '/lib/RT/ExternalStorage.pm';
        next if !-e $file;
        open my $lock, '<', $file or croak "$file: $!";    ## no critic (RequireBriefOpen) held by the caller
        flock $lock, LOCK_EX or croak "$file: $!";
        push @{ $turn->{locks} }, $lock;
    }
    open my $lock, '<', $script or croak "$script: $!";
    flock $lock, LOCK_EX or croak "$script: $!";           # not a test's: cron's, say
    close $lock or croak "$script: $!";
    Scalar::Util::weaken( $Turn = $turn );
    return $turn;
}

=head2 externalizers_turn

RT's externalizer locks its own file, which other tests use as well. While what this returns is held, none of them
externalizes.

=cut

sub externalizers_turn {
    my $self = shift;
    return $self->_turn( $self->release->program('rt-externalize-attachments') );
}

=head2 run_tool @args

Runs F<perl/bin/rt-s3> with these arguments, and returns the same as C<run_script>.

=cut

sub run_tool {
    my ( $self, @args ) = @_;
    my $turn = ( $args[0] // '' ) =~ /\A(?:externalize|internalize|migrate)\z/ ? $self->externalizers_turn : undef;
    my $run  = $self->_run( $self->tool(@args) );
    return @{$run}{qw(exit out err seconds)};
}

=head2 tool @args

That command, for L<Rts3::Test::Process/spawn> with the L</environment>.

=cut

sub tool {
    my ( $self, @args ) = @_;
    return ( '/usr/bin/env', 'RTHOME=' . $self->release->base, $^X, "$Root/perl/bin/rt-s3", @args );
}

sub _run {
    my ( $self, @command ) = @_;
    return Rts3::Test::Process::run( command => \@command, env => { $self->environment } );
}

=head2 perl $code, @args

Runs Perl code in a child in which RT was loaded and initialised as in one of its
scripts, and L<Rts3::Test::RT::Inside> too; @ARGV is @args. In list context exit code, output, errors,
seconds; in scalar context the output, and dies if the child failed.

=cut

sub perl {
    my ( $self, $code, @args ) = @_;
    my $file = $self->_program( $code, $self->{program_name} // 'program' );
    my $run  = $self->_run( $^X, $file, @args );
    $self->_assert_module( $run->{pid}, 'The child' )       if $run->{exit} == 0;
    return @{$run}{qw(exit out err seconds)}                if wantarray;
    croak "The RT child failed ($run->{exit}): $run->{err}" if $run->{exit};
    return $run->{out};
}

sub _program {
    my ( $self, $code, $name ) = @_;
    my $libs = join ', ', map {"'$_'"} $self->release->libs;
    my $file = $self->dir . "/$name";
    spew( $file, <<"END" );
#!/usr/bin/perl
use strict;
use warnings;
BEGIN { unshift \@INC, $libs; push \@INC, '$LibDir'; }
use RT '-init';
use Rts3::Test::RT::Inside;
# line 1 "$name"
$code
END
    return $file;
}

=head2 call $code, @args

The same, for a piece of code that gets @args (any data) in @_ and returns any data: what it
returned, a list in list context. Bytes stay bytes and characters stay characters.

=cut

sub call {
    my ( $self, $code, @args ) = @_;
    my $context = wantarray ? 1 : 0;
    my $file    = $self->dir . '/call';
    Storable::nstore( [ $context, @args ], "$file.in" );
    unlink "$file.out";
    my $out = $self->perl( "Rts3::Test::RT::Inside::answer(\@ARGV, sub {\n$code\n});", "$file.in", "$file.out" );
    croak "The RT child gave no answer: $out" unless -e "$file.out";
    my @answer = @{ Storable::retrieve("$file.out") };
    return $context ? @answer : $answer[-1];
}

=head2 create_ticket, reply, create_custom_field, ticket_attachments, attachment, field_value

As the functions of L<Rts3::Test::RT::Inside> with these names, each in a child of its own.

=cut

for my $name (qw(create_ticket reply create_custom_field ticket_attachments attachment field_value)) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    *{$name} = sub {
        my ( $self, @args ) = @_;
        return scalar $self->call( "return Rts3::Test::RT::Inside::$name(\@_);", @args );
    };
}

=head2 dbh

A DBI handle for the SQLite file, which dies on errors and gives bytes.

=cut

sub dbh {
    my $self = shift;
    return DBI->connect( 'dbi:SQLite:dbname=' . $self->database,
        '', '', { RaiseError => 1, PrintError => 0, sqlite_use_immediate_transaction => 0 } );
}

=head2 attachment_rows, field_value_rows

The rows of the tables Attachments (those with content) and
ObjectCustomFieldValues (those with LargeContent), by id: references to hashes with the columns'
names, Content or LargeContent as bytes.

=cut

sub attachment_rows  { return _rows( $_[0]->dbh, 'Attachments',             'Content' ) }
sub field_value_rows { return _rows( $_[0]->dbh, 'ObjectCustomFieldValues', 'LargeContent' ) }

sub _rows {
    my ( $dbh, $table, $column ) = @_;
    return
        @{ $dbh->selectall_arrayref( "SELECT * FROM $table WHERE length($column) > 0 ORDER BY id", { Slice => {} } )
        };
}

=head2 mails, clear_mails

The mails RT would have sent, in their order, each as bytes; forget them.

=cut

sub mails {
    my $self = shift;
    my $text = slurp( $self->dir . '/mails' );
    my @mails;
    while ( $text =~ /\G(\d+)\n/gc ) {
        push @mails, substr $text, pos $text, $1;
        pos($text) += $1;
    }
    return @mails;
}

sub clear_mails {
    my $self = shift;
    unlink $self->dir . '/mails';
    return;
}

=head2 start_web %options, web, stop_web

Starts RT's own web server and returns an L<Rts3::Test::RT::Web>, which see. It is ended when
this object goes, and when the test's process dies.

=cut

sub start_web {
    my ( $self, %options ) = @_;
    require Rts3::Test::RT::Web;
    $self->stop_web;
    $self->{web_port} = $options{port} // Rts3::Test::RT::Web->free_port;
    $self->write_config;
    $self->{web} = Rts3::Test::RT::Web->start(
        port    => $self->{web_port},
        program => $self->release->program('rt-server'),
        env     => { $self->environment },
        errors  => $self->dir . '/log/web.err',
        %options,
    );
    $self->_assert_module( $self->{web}->pid, 'The web server' );
    return $self->{web};
}

sub web { return $_[0]{web} }

sub stop_web {
    my $self = shift;
    my $web  = delete $self->{web} or return;
    $web->stop;
    return;
}

1;
