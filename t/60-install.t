#!/usr/bin/perl
# Makefile.PL: which RT it finds, what it says, what it installs and takes away again. In copies of the project, for
# made-up RTs, with a cargo that builds nothing: each run takes a fraction of a second and touches nothing outside.
use strict;
use warnings;

use Cwd            qw(getcwd realpath);
use File::Basename qw(dirname);
use File::Copy     ();
use File::Find     ();
use File::Path     qw(make_path);
use File::Temp     qw(tempdir);
use Test::More;

my $project   = realpath( dirname(__FILE__) . '/..' );
my $library   = $ENV{RTS3_LIBRARY} // "$project/target/release/librts3.so";
my $tmp       = realpath( tempdir( CLEANUP => 1 ) );
my $cargo_log = "$tmp/cargo.log";

# Nothing of the caller's environment: no cargo but ours, no RT but the made-up ones.
delete @ENV{
    grep {/^(?:RTHOME|RT_LIB|RT_SEARCH|OPENSSL_|PKG_CONFIG|PERL_M[MB]_OPT|CARGO|RTS3_|MAKE|MFLAGS|CI$)/}
        keys %ENV
};
my $tools = tools( qw(sh make cc pkg-config rm cp mv chmod mkdir touch true false echo test cat), 'perl' );
write_file( "$tools/cargo", <<"END", 'executable' );
#!/bin/sh
if [ "\$1" = --version ]; then echo "cargo 1.99.0 (made up)"; exit 0; fi
echo "\$@" >>$cargo_log
mkdir -p target/release
if [ -f '$library' ]; then cp '$library' target/release/librts3.so; else echo library >target/release/librts3.so; fi
END
write_file( "$tools/rustc", "#!/bin/sh\necho 'rustc 1.99.0 (made up)'\n", 'executable' );
local $ENV{PATH}      = $tools;
local $ENV{HOME}      = "$tmp/home";
local $ENV{RT_SEARCH} = "$tmp/nowhere";

my $rt5 = fake_rt( 'rt5', '5.0.8' );
my $rt6 = fake_rt( 'rt6', '6.0.0' );
my $deb5 =
    fake_rt( 'share/request-tracker5', '5.0.3+dfsg-3~deb12u6', LocalPath => "$tmp/local/share/request-tracker5" );
my @modules    = modules();
my @components = grep { !/~\z/ } files("$project/perl/html");

subtest 'make, make install with DESTDIR, make uninstall' => sub {
    my $copy   = project_copy();
    my @before = files($copy);
    umask 077;

    my ( $status, $said ) = configure( $copy, "RTHOME=$rt5" );
    is( $status, 0, 'perl Makefile.PL' ) or diag $said;
    like( $said, qr/^RT \s+ 5\.0\.8 \s in \s \Q$rt5\E$/mx,                'says which RT' );
    like( $said, qr/^installs \s to \s+ \Q$rt5\E\/local\/lib$/mx,         'where to' );
    like( $said, qr/^Rust \s+ cargo \s 1\.99\.0, \s rustc \s 1\.99\.0/mx, 'cargo and rustc' );
    like( $said, qr/^OpenSSL \s+ \d+\.\d+/mx,                             'OpenSSL' );
    like( $said, qr/FFI::Platypus \s \d/x,                                'FFI::Platypus' );

    run_make( $copy, '' );
    is( read_file($cargo_log), "build --release --locked\n", 'make calls cargo once, with --locked' );
    ok( -s "$copy/blib/lib/RT/ExternalStorage/AmazonS3/librts3.so", 'the library lies beside Native.pm in blib' );
    run_make( $copy, '' );
    is( read_file($cargo_log), "build --release --locked\n", 'nothing changed: make calls it no more' );
    utime time + 5, time + 5, "$copy/src/lib.rs";
    run_make( $copy, '' );
    is( read_file($cargo_log), "build --release --locked\n" x 2, 'a Rust source changed: once more' );

    my $stage = "$tmp/stage";
    run_make( $copy, "install DESTDIR=$stage" );
    my $lib       = "$stage$rt5/local/lib";
    my $auto      = 'auto/RT/ExternalStorage/AmazonS3/.packlist';
    my @lib_files = sort @modules, 'RT/ExternalStorage/AmazonS3/librts3.so', $auto;
    is_deeply( [ files($lib) ],                    \@lib_files,  'the modules, the library and the list of them' );
    is_deeply( [ files("$stage$rt5/local/html") ], \@components, "the page in RT's local html directory" );
    ok( ( grep { $_ eq 'Admin/Tools/ExternalStorage.html' } @components ), '... there is one' );
    my @manuals = files("$stage$rt5/local/man");
    ok( ( grep {/^man3\/RT::ExternalStorage::AmazonS3\./} @manuals ), 'and the manual' ) or diag "@manuals";
    my $tool = read_file("$stage$rt5/sbin/rt-s3");
    like( $tool, qr/\A#!\Q$^X\E\n/, "rt-s3 beside RT's scripts, for the perl that runs RT" );
    like( $tool, qr{\@libs = qw\(\Q$rt5\E/local/lib \Q$rt5\E/lib\);}, '... with RT in it' );
    ok( -x "$stage$rt5/sbin/rt-s3", '... and to be run' );
    is( @lib_files + @components + @manuals + 1, files($stage), 'nothing else' );
    is_deeply( [ unreadable($stage) ], [], "all of it readable for the web server's user, with umask 077 too" );

    run_make( $copy, "uninstall DESTDIR=$stage" );
    is_deeply( [ directories($stage) ], [], 'uninstall leaves no file and no directory' );

    run_make( $copy, 'realclean' );
    is_deeply( [ files($copy) ], \@before, 'realclean leaves what was there' );
    umask 022;
};

subtest 'installed for real, beside what a site has there' => sub {
    my $copy = project_copy();
    configure( $copy, "RTHOME=$rt5" );
    run_make( $copy, 'install' );
    my $overlay = "$rt5/local/lib/RT/ExternalStorage/AmazonS3_Local.pm";
    write_file( $overlay, "1;\n" );
    my ( undef, $said ) = run_make( $copy, 'install' );
    unlike( $said, qr/^Installing/m, 'a second time changes nothing' );
    is(
        scalar(
            grep { length && -e } split /\n/,
            read_file("$rt5/local/lib/auto/RT/ExternalStorage/AmazonS3/.packlist")
        ),
        @modules + @components + 2 + files("$rt5/local/man"),
        'the list names each file'
    );

    my $other = "$rt5/local/html/Admin/Tools/Other.html";
    write_file( $other, "a page of the site\n" );
    run_make( $copy, 'uninstall' );
    ok( -e $other,                                "another page of the site stays" );
    ok( !-e dirname($other) . '/ExternalStorage', '... and no directory of ours' );
    unlink $other;
    is_deeply( [ files("$rt5/local") ], ['lib/RT/ExternalStorage/AmazonS3_Local.pm'], 'the overlay stays' );
    unlink $overlay;
    ( my $status, $said ) = run_make( $copy, 'uninstall', may_fail => 1 );
    isnt( $status, 0, 'a second uninstall fails' );
    like( $said, qr/^Nothing to uninstall/m, 'and says why' );
};

subtest 'make test' => sub {
    plan skip_all => "no $library yet" if !-e $library;
    my $copy = project_copy();
    configure( $copy, "RTHOME=$rt5" );
    my ( $status, $said ) = run_make( $copy, 'test', may_fail => 1 );
    is( $status, 0, 'passes with the library in blib' ) or diag $said;
    like( $said, qr/^Result: PASS/m, 'and ran something' );
};

subtest 'which RT' => sub {
    my $copy = project_copy();
    my ( $status, $said ) = configure( $copy, "RT_SEARCH=$tmp/nowhere:$deb5:$rt5:$rt6" );
    like( $said, qr/^RT \s+ 6\.0\.0 \s in \s \Q$rt6\E$/mx, 'the highest of several' );
    like(
        $said,
        qr/also there: 5\.0\.8 in \Q$rt5\E \(for that one: .*RTHOME=\Q$rt5\E\)/,
        'the others, and how to choose them'
    );
    like( $said, qr/also there: 5\.0\.3\S* in \Q$deb5\E/, 'each of them' );

    ( $status, $said ) = configure( $copy, "RTHOME=$deb5" );
    like( $said, qr{^ \s+ \Q$tmp\E/local/share/request-tracker5/html$}mx, "a package's local html directory" );
    like(
        $said,
        qr{^installs \s to \s+ \Q$tmp\E/local/share/request-tracker5/lib$}mx,
        "a package's local lib directory"
    );
    ( $status, $said ) = configure( $copy, "RT_LIB=$rt5/lib" );
    like( $said, qr{^installs \s to \s+ \Q$rt5\E/local/lib$}mx, "RT_LIB: RT's lib directory" );
    make_path("$tmp/bare/lib");
    ( $status, $said ) = configure( $copy, "RT_LIB=$tmp/bare/lib" );
    is( $status, 0, 'RT_LIB: a local lib directory whose RT is not known' );
    like( $said, qr{^installs \s to \s+ \Q$tmp\E/bare/lib$}mx, 'is taken as it is' );
    like( $said, qr{^ \s+ \Q$tmp\E/bare/html$}mx,              '... with the html directory beside it' );
    ( $status, $said ) = configure( $copy, "RT_LIB=$rt6/local/lib", "RT_SEARCH=$rt5:$rt6" );
    like( $said, qr{^RT \s+ 6\.0\.0}mx, 'RT_LIB: the RT that reads it is found' );
    ( $status, $said ) = configure( $copy, "RTHOME=$rt5", "RT_LIB=$rt6/local/lib" );
    like(
        $said,
        qr{WARNING: \s this \s RT \s reads \s \Q$rt5\E/local/lib}x,
        'RTHOME and an RT_LIB that it does not read'
    );

    {
        local $ENV{RTHOME} = $rt6;
        ( $status, $said ) = configure($copy);
        like( $said, qr/^RT \s+ 6\.0\.0/mx, 'RTHOME from the environment' );
        ( $status, $said ) = configure( $copy, "RTHOME=$rt5" );
        like( $said, qr/^RT \s+ 5\.0\.8/mx, 'an argument counts more' );
    }
    {
        local $ENV{PERL_MM_OPT} = "INSTALL_BASE=$tmp/perl5";
        configure( $copy, "RTHOME=$rt5" );
        like(
            read_file("$copy/Makefile"),
            qr{^INSTALLSITELIB \s = \s \Q$rt5\E/local/lib$}mx,
            'a local::lib is not in the way'
        );
    }

    my $relative = fake_rt( 'inplace', '5.0.8', LocalPath => 'local', BasePath => 'not/absolute' );
    ( $status, $said ) = configure( $copy, "RTHOME=$relative" );
    like( $said, qr{^installs \s to \s+ \Q$relative\E/local/lib$}mx, "RT's relative layout" );
};

subtest 'stops, says why and what to do' => sub {
    my $copy = project_copy();
    my %case = (
        'no RT' => {
            expect => [
                qr/^ \s+ Request \s Tracker \s 4\.4/mx, qr/apt-get \s install \s request-tracker5/x,
                qr/RTHOME=/,                            qr{\Q$tmp/nowhere\E}
            ]
        },
        'no RT in RTHOME' => {
            arguments => ["RTHOME=$tmp"],
            expect    => [qr/^Makefile\.PL \s stops: \s RTHOME=\Q$tmp\E: \s no \s RT \s there/mx]
        },
        'no RT_LIB' => {
            arguments => ["RT_LIB=$tmp/none"],
            expect    => [qr/RT_LIB=\Q$tmp\E\/none: \s no \s such \s directory, \s and \s no \s RT/x]
        },
        'RT 4.2' => {
            arguments => [ 'RTHOME=' . fake_rt( 'rt42', '4.2.16' ) ],
            expect    => [qr/RT \s 4\.2\.16 .* 4\.4 \s or \s later/x]
        },
        'no cargo' =>
            { without => ['cargo'], expect => [ qr/^ \s+ cargo,/mx, qr/rustup/, qr/\d+\.\d+ \s or \s later/x ] },
        'old cargo' => {
            instead => { cargo => "#!/bin/sh\necho 'cargo 1.63.0'\n" },
            expect  => [qr/^ \s+ cargo \s \d\S* \s or \s later \s \(\S+ \s is \s 1\.63\.0\)/mx]
        },
        'a cargo that fails' => {
            instead => { cargo => "#!/bin/sh\nexit 1\n" },
            expect  => [qr/^ \s+ a \s cargo \s that \s works/mx]
        },
        'no pkg-config' => {
            without => ['pkg-config'],
            expect  => [ qr/^ \s+ pkg-config$/mx, qr/apt-get \s install \s pkg-config/x ]
        },
        'no headers' => {
            environment => { PKG_CONFIG_LIBDIR => "$tmp/none" },
            expect      => [ qr/OpenSSL's \s headers/x, qr/libssl-dev/ ]
        },
        'no headers in OPENSSL_DIR' => {
            environment => { OPENSSL_DIR => "$tmp/none" },
            expect      => [qr/OpenSSL's \s headers \s in \s \Q$tmp\E\/none\/include/x]
        },
        'no linker'        => { without => ['cc'], expect => [ qr/C \s linker/x, qr/apt-get \s install \s gcc/x ] },
        'no FFI::Platypus' => {
            arguments => [ 'RTHOME=' . fake_rt( 'rt5-other-perl', '5.0.8', perl => "$tmp/other/perl" ) ],
            expect    => [
                qr/FFI::Platypus \s \S+ \s or \s later \s \(for \s \Q$tmp\E\/other\/perl\)/x,
                qr/libffi-platypus-perl/
            ]
        },
        'old FFI::Platypus' => {
            arguments => [ 'RTHOME=' . fake_rt( 'rt5-old-perl', '5.0.8', perl => "$tmp/old/perl" ) ],
            expect    => [qr/FFI::Platypus \s \S+ \s or \s later \s \(for \s \S+, \s which \s has \s 0\.42\)/x]
        },
        'all of it at once' => {
            without => [ 'cargo',    'pkg-config' ],
            expect  => [ qr/cargo,/, qr/pkg-config$/m, qr/Request \s Tracker/x ]
        },
    );
    write_file( "$tmp/other/perl", "#!/bin/sh\nexit 2\n",    'executable' );
    write_file( "$tmp/old/perl",   "#!/bin/sh\necho 0.42\n", 'executable' );

    for my $name ( sort keys %case ) {
        my $case = $case{$name};
        my $few  = "$tmp/few";
        system 'rm', '-rf', $few;
        system 'cp', '-a', $tools, $few;
        unlink map {"$few/$_"} @{ $case->{without} // [] }, keys %{ $case->{instead} // {} };
        write_file( "$few/$_", $case->{instead}{$_}, 'executable' ) for keys %{ $case->{instead} // {} };

        my $path = $ENV{PATH};
        local %ENV = ( %ENV, PATH => $few, %{ $case->{environment} // {} } );
        my @arguments = @{ $case->{arguments} // ( $name =~ /^(?:no RT|all)/ ? [] : ["RTHOME=$rt5"] ) };
        my ( $status, $said ) = configure( $copy, @arguments );
        is( $status >> 8, 1, "$name: exit code 1" );
        like( $said, $_, "$name: $_" ) for qr/^Makefile\.PL stops: /m, @{ $case->{expect} };
        ok( !-e "$copy/Makefile", "$name: no Makefile" );
    }
};

done_testing;

# A directory with nothing but these programs
sub tools {
    my (@names) = @_;
    my $directory = "$tmp/tools";
    make_path($directory);
    for my $name (@names) {
        my ($program) = $name eq 'perl' ? $^X : grep {-x} map {"$_/$name"} split /:/, $ENV{PATH};
        BAIL_OUT("no $name in PATH") if !$program;
        symlink $program, "$directory/$name" or die "symlink $name: $!";
    }
    return $directory;
}

# As much of an RT as Makefile.PL looks at
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
        "package RT;\nuse warnings;\nuse strict;\nour \$VERSION = '$version';\n$paths\$MasonDataDir = 'x';\n1;\n" );
    write_file( "$home/sbin/rt-externalize-attachments", "#!$perl\n", 'executable' );
    return $home;
}

# What Makefile.PL needs of the project, in a new directory
sub project_copy {
    my $copy = tempdir( 'copyXXXX', DIR => $tmp );
    chmod 0755, $copy;
    my @sources = ( ( map {"perl/lib/$_"} @modules ), ( map {"perl/html/$_"} @components ) );
    my @tests   = map {s{^\Q$project\E/}{}r} glob "$project/t/0*.t";
    for my $file ( qw(Makefile.PL Cargo.toml Cargo.lock Changes script/uninstall perl/bin/rt-s3), @sources, @tests ) {
        make_path( dirname("$copy/$file") );
        File::Copy::cp( "$project/$file", "$copy/$file" ) or die "$file: $!";
    }
    write_file( "$copy/src/lib.rs", '' );
    unlink $cargo_log;
    return $copy;
}

sub modules {
    my @found = grep {/\.(?:pm|pod)$/} files("$project/perl/lib");
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
