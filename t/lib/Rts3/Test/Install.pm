package Rts3::Test::Install;

use strict;
use warnings;

use Cwd            qw(abs_path getcwd);
use Exporter       qw(import);
use File::Basename qw(dirname);
use File::Copy     ();
use File::Find     ();
use File::Path     qw(make_path);
use File::Temp     qw(tempdir);
use Test::More;

our @EXPORT_OK =
    qw(cargo_log components configure directories fake_rt files modules project_copy read_file run_make tmp tools
    unreadable write_file);

=head1 NAME

Rts3::Test::Install - copies of the project, made-up RTs, and a cargo that builds nothing: for F<Makefile.PL>

=head1 FUNCTIONS

=head2 tmp

A directory in which all of this is; it is removed at the end.

=head2 tools $library

A directory with the programs that an installation needs and nothing else; its cargo copies this library.

=head2 cargo_log

The file in which that cargo notes what it was asked for.

=head2 fake_rt $name, $version, %paths

As much of an RT as F<Makefile.PL> looks at. Returns where it is.

=head2 project_copy

What F<Makefile.PL> needs of the project, in a new directory.

=head2 modules, components

What is to be installed, sorted.

=head2 configure $copy, @arguments

Calls F<Makefile.PL> there. Returns status and output.

=head2 run_make $copy, $targets, may_fail => 1

The same with make.

=head2 files $directory, directories $directory, unreadable $directory

What is in it: files and links; all; what the web server's user could not read, with its mode.

=head2 read_file $file, write_file $file, $text, $executable

=cut

my $project = abs_path( dirname(__FILE__) . '/../../../..' );
my $tmp     = abs_path( tempdir( CLEANUP => 1 ) );

sub tmp       { return $tmp }
sub cargo_log { return "$tmp/cargo.log" }

sub tools {
    my ($library) = @_;
    my @names =
        qw(sh make cc pkg-config rm cp mv ln chmod mkdir touch true false echo test cat find sed readelf perl);
    my $directory = "$tmp/tools";
    make_path($directory);
    for my $name (@names) {
        my ($program) = $name eq 'perl' ? $^X : grep {-x} map {"$_/$name"} split /:/, $ENV{PATH};
        BAIL_OUT("no $name in PATH") if !$program;
        symlink $program, "$directory/$name" or die "symlink $name: $!";
    }
    my $log = cargo_log();
    write_file( "$directory/cargo", <<"END", 'executable' );
#!/bin/sh
if [ "\$1" = --version ]; then echo "cargo 1.99.0 (made up)"; exit 0; fi
echo "\$@" >>$log
mkdir -p target/release
if [ -f '$library' ]; then cp '$library' target/release/librts3.so; else echo library >target/release/librts3.so; fi
END
    write_file( "$directory/rustc", "#!/bin/sh\necho 'rustc 1.99.0 (made up)'\n", 'executable' );
    return $directory;
}

sub fake_rt {
    my ( $name, $version, %path ) = @_;
    my $home = "$tmp/$name";
    my $perl = delete $path{perl} // $^X;
    %path =
        ( BasePath => $home, LocalPath => "$home/local", SbinPath => "$home/sbin", EtcPath => "$home/etc", %path );
    $path{LocalLibPath}            = "$path{LocalPath}/lib";
    $path{MasonLocalComponentRoot} = "$path{LocalPath}/html";
    my $paths = join '', map {"\$$_ = '$path{$_}';\n"} sort keys %path;
    write_file( "$home/lib/RT.pm", "package RT;\nuse Does::Not::Exist;\n1;\n" );
    write_file( "$home/lib/RT/Generated.pm",
        "package RT;\nuse warnings;\nuse strict;\nour \$VERSION = '$version';\n$paths\$MasonDataDir = '$home/var';\n1;\n"
    );
    write_file( "$home/sbin/rt-externalize-attachments", "#!$perl\n", 'executable' );
    return $home;
}

sub project_copy {
    my $copy = tempdir( 'copyXXXX', DIR => $tmp );
    chmod 0755, $copy;
    my @sources = ( ( map {"perl/lib/$_"} modules() ), ( map {"perl/html/$_"} components() ) );
    my @tests   = map {s{^\Q$project\E/}{}r} glob "$project/t/0*.t";
    my @others  = qw(Makefile.PL Cargo.toml Cargo.lock Changes perl/bin/rt-s3 include/rts3.h include/rts3.pc.in
        script/FindRT.pm script/install.mk script/uninstall);
    for my $file ( @others, @sources, @tests ) {
        make_path( dirname("$copy/$file") );
        File::Copy::cp( "$project/$file", "$copy/$file" ) or die "$file: $!";
    }
    write_file( "$copy/src/lib.rs", '' );
    unlink cargo_log();
    return $copy;
}

sub modules {
    my @found = grep {/\.(?:pm|pod)$/} files("$project/perl/lib");
    return @found;
}

sub components {
    my @found = grep { !/~\z/ } files("$project/perl/html");
    return @found;
}

sub configure {
    my ( $copy, @arguments ) = @_;
    unlink "$copy/Makefile";
    return run_in( $copy, $^X, 'Makefile.PL', @arguments );
}

sub run_make {
    my ( $copy, $target, %option ) = @_;
    my ( $status, $said ) = run_in( $copy, 'make', split ' ', $target );
    if ( !$option{may_fail} ) {
        is( $status, 0, "make $target" ) or diag $said;
    }
    return ( $status, $said );
}

# Exit status and output (both streams) of a command
sub run_in {
    my ( $directory, @command ) = @_;
    my $here = getcwd();
    chdir $directory or die "chdir $directory: $!";
    my $pid = open my $out, '-|';
    die "fork: $!" if !defined $pid;
    if ( !$pid ) {
        open STDERR, '>&', \*STDOUT or die $!;
        exec @command or die "exec $command[0]: $!";
    }
    my $said = join '', <$out>;
    close $out;
    my $status = $?;
    chdir $here or die "chdir $here: $!";
    return ( $status, $said );
}

sub files {
    my ($directory) = @_;
    my @files;
    return if !-d $directory;
    File::Find::find( { no_chdir => 1, wanted => sub { push @files, s{^\Q$directory\E/}{}r if -f || -l } },
        $directory );
    @files = sort @files;
    return @files;
}

sub directories {
    my ($directory) = @_;
    my @found;
    return if !-d $directory;
    File::Find::find( { no_chdir => 1, wanted => sub { push @found, $_ if $_ ne $directory } }, $directory );
    return @found;
}

sub unreadable {
    my ($directory) = @_;
    my @found;
    my $wanted = sub {
        return if $_ eq $directory;
        my $mode = sprintf '%03o', ( stat $_ )[2] % 512;
        push @found, "$_ $mode" if $mode != ( -d _ ? 755 : m{/sbin/} ? 555 : /\.packlist$/ ? 644 : 444 );
    };
    File::Find::find( { no_chdir => 1, wanted => $wanted }, $directory );
    return @found;
}

sub read_file {
    my ($file) = @_;
    open my $in, '<', $file or return '';
    my @lines = <$in>;
    close $in;
    return join '', @lines;
}

sub write_file {
    my ( $file, $text, $executable ) = @_;
    make_path( dirname($file) );
    open my $out, '>', $file or die "$file: $!";
    print {$out} $text;
    close $out or die "$file: $!";
    chmod 0755, $file if $executable;
    return;
}

1;
