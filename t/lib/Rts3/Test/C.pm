package Rts3::Test::C;

use strict;
use warnings;

use Carp           qw(croak);
use Cwd            qw(abs_path);
use Exporter       qw(import);
use File::Basename qw(dirname);

use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Needs   qw(needs);
use Rts3::Test::Process ();

our @EXPORT_OK = qw(build_program build_example run_program build_lookup);

my $Root = abs_path( dirname(__FILE__) . '/../../../..' );
my @GNU  = qw(-std=c11 -D_GNU_SOURCE);

=head1 NAME

Rts3::Test::C - the programs in t/c and examples, and a look-up of names that hangs

=head1 SYNOPSIS

    my $program = build_program( 'threads', $dir );
    my $run     = run_program( {}, $program, $s3->https, $s3->ca );
    is( $run->{exit}, 0, 'exit status' );

    my $lookup = build_lookup($dir);
    local %ENV = ( %ENV, $lookup->environment );
    my $pid = fork_something_that_asks_for( $lookup->name );
    $lookup->hang($pid);
    $lookup->go_on;

=head1 FUNCTIONS

=head2 build_program $name, $dir

Compiles F<t/c/$name.c> without a warning, links it to the library (C<RTS3_LIBRARY>), which it finds by a link in
C<$dir> under the name that it asks for, and returns the program's path. The test is skipped where there is no compiler.

=head2 build_example $name, $dir

The same of F<examples/$name.c>, in C99 and nothing else.

=head2 run_program \%env, $program, @arguments

Runs it with this environment beside the caller's (undef: without), as L<Rts3::Test::Process/run> does; it has 60 s.

=cut

sub build_program {
    my ( $name, $dir ) = @_;
    return _link( $name, $dir, @GNU, "$Root/t/c/$name.c" );
}

sub build_example {
    my ( $name, $dir ) = @_;
    return _link( $name, $dir, qw(-std=c99 -pedantic), "$Root/examples/$name.c" );
}

sub _link {
    my ( $name, $dir, @arguments ) = @_;
    my $library = abs_path( $ENV{RTS3_LIBRARY} );
    my ($soname) = `readelf -d \Q$library\E` =~ /SONAME.*\[(.*)\]/;
    symlink $library, "$dir/$soname" if $soname;
    return _compile( "$dir/$name", @arguments, "-I$Root/include", $library, "-Wl,-rpath,$dir" );
}

sub run_program {
    my ( $env, @command ) = @_;
    my %env = ( %ENV, %{$env} );
    delete @env{ grep { !defined $env{$_} } keys %env };
    return Rts3::Test::Process::run( command => \@command, env => \%env, timeout => 60 );
}

sub _compile {
    my ( $file, @arguments ) = @_;
    needs('no gcc') if !grep { -x "$_/gcc" } split /:/, $ENV{PATH};
    my @command = ( 'gcc', qw(-O1 -g -Wall -Wextra -Werror -pthread -o), $file, @arguments );
    system(@command) == 0 or croak "@command failed";
    return $file;
}

=head2 build_lookup $dir

Compiles F<t/c/lookup.c>, a getaddrinfo to be put before that of the C library.

=head1 METHODS OF A LOOK-UP

=head2 name

The name that it knows, which is 127.0.0.1. Every other one is looked up by the C library.

=head2 environment

What a process must have in its environment, as a list.

=head2 hang $pid, go_on

From now on looking up the name hangs in this process; it goes on.

=head2 begun $pid, ended $pid

How many look-ups of the name there were so far in this process, begun and ended.

=cut

sub build_lookup {
    my ($dir) = @_;
    my $self  = bless { file => "$dir/lookup.so", hang => "$dir/lookup.hang", log => "$dir/lookup.log" }, __PACKAGE__;
    _compile( $self->{file}, @GNU, qw(-shared -fPIC), "$Root/t/c/lookup.c" );
    return $self;
}

sub name { return 's3.test' }

sub environment {
    my ($self) = @_;
    return (
        LD_PRELOAD       => $self->{file},
        RTS3_LOOKUP_NAME => $self->name,
        RTS3_LOOKUP_HANG => $self->{hang},
        RTS3_LOOKUP_LOG  => $self->{log},
    );
}

sub hang {
    my ( $self, $pid ) = @_;
    spew( "$self->{hang}.new", "$pid\n" );
    rename "$self->{hang}.new", $self->{hang} or croak "$self->{hang}: $!";
    return;
}

sub go_on {
    my ($self) = @_;
    unlink $self->{hang};
    return;
}

sub begun { my ( $self, $pid ) = @_; return $self->_logged( begun => $pid ) }
sub ended { my ( $self, $pid ) = @_; return $self->_logged( ended => $pid ) }

sub _logged {
    my ( $self, $what, $pid ) = @_;
    return scalar( () = slurp( $self->{log} ) =~ /^$what $pid$/mg );
}

1;
