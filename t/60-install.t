#!/usr/bin/perl
# Makefile.PL: which RT it finds, what it says, what it installs and takes away again. In copies of the project, for
# made-up RTs, with a cargo that builds nothing: each run takes a fraction of a second and touches nothing outside.
use strict;
use warnings;

use Cwd            qw(realpath);
use File::Basename qw(dirname);
use File::Path     qw(make_path);
use FindBin;
use JSON::PP qw(decode_json);
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Install qw(cargo_log components configure directories fake_rt files modules project_copy read_file
    run_make tmp tools unreadable write_file);

my $project   = realpath("$FindBin::Bin/..");
my $library   = $ENV{RTS3_LIBRARY} // "$project/target/release/librts3.so";
my $tmp       = tmp();
my $cargo_log = cargo_log();

# Nothing of the caller's environment: no cargo but ours, no RT but the made-up ones.
delete @ENV{
    grep {/^(?:RTHOME|RT_LIB|RT_SEARCH|OPENSSL_|PKG_CONFIG|PERL_M[MB]_OPT|PERL5_CPAN|CARGO|RTS3_|MAKE|MFLAGS|CI$)/}
        keys %ENV
};
my $tools = tools($library);
local $ENV{PATH}      = $tools;
local $ENV{HOME}      = "$tmp/home";
local $ENV{RT_SEARCH} = "$tmp/nowhere";

my $rt5 = fake_rt( 'rt5', '5.0.8' );
my $rt6 = fake_rt( 'rt6', '6.0.0' );
my $deb5 =
    fake_rt( 'share/request-tracker5', '5.0.3+dfsg-3~deb12u6', LocalPath => "$tmp/local/share/request-tracker5" );
my @modules    = modules();
my @components = components();
my ($major)    = map { /^version\s*=\s*"(\d+)/ ? $1 : () } split /\n/, read_file("$project/Cargo.toml");
my $soname     = "librts3.so.$major";

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
    my @lib_files = sort @modules, ( map {"RT/ExternalStorage/AmazonS3/$_"} 'librts3.so', $soname ),
        'pkgconfig/rts3.pc',
        $auto;
    is_deeply( [ files($lib) ],                    \@lib_files,  'the modules, the library and the list of them' );
    is_deeply( [ files("$stage$rt5/local/html") ], \@components, "the page in RT's local html directory" );
    ok( ( grep { $_ eq 'Admin/Tools/ExternalStorage.html' } @components ), '... there is one' );
    my @manuals = files("$stage$rt5/local/man");
    ok( ( grep {/^man3\/RT::ExternalStorage::AmazonS3\./} @manuals ), 'and the manual' ) or diag "@manuals";
    ok( ( grep {/^man1\/rt-s3\./} @manuals ),                         "... the command's, too" );
    is( readlink "$lib/RT/ExternalStorage/AmazonS3/$soname",
        'librts3.so', 'a link with the name that programs ask for' );
    my $flags = `PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs rts3`;
    like(
        $flags,
        qr{\A-I\Q$rt5\E/local/include -L(\Q$rt5\E/local/lib/RT/ExternalStorage/AmazonS3) -Wl,-rpath,\1 -lrts3 *\n\z},
        'pkg-config says how to link with it'
    );
    ok( -s "$stage$rt5/local/include/rts3.h", '... and the header is where it says' );
    my $tool = read_file("$stage$rt5/sbin/rt-s3");
    like( $tool, qr/\A#!\Q$^X\E\n/, "rt-s3 beside RT's scripts, for the perl that runs RT" );
    like( $tool, qr{\@libs = qw\(\Q$rt5\E/local/lib \Q$rt5\E/lib\);}, '... with RT in it' );
    ok( -x "$stage$rt5/sbin/rt-s3", '... and to be run' );
    is( @lib_files + @components + @manuals + 2, files($stage), 'nothing else' );
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
    my $list    = "$rt5/local/lib/auto/RT/ExternalStorage/AmazonS3/.packlist";
    my $overlay = "$rt5/local/lib/RT/ExternalStorage/AmazonS3_Local.pm";
    write_file( $overlay, "1;\n" );
    my ( undef, $said ) = run_make( $copy, 'install' );
    unlike( $said, qr/^Installing/m, 'a second time changes nothing' );
    is(
        scalar( grep { length && -e } split /\n/, read_file($list) ),
        @modules + @components + 4 + files("$rt5/local/man"),
        'the list names each file'
    );

    # An older version, which had more, and whose page RT has compiled
    my @older = ( "$rt5/local/lib/RT/ExternalStorage/AmazonS3/Old/Thing.pm", "$rt5/local/man/man3/Old.3pm" );
    my ( $ours, $others ) = map {"$rt5/var/obj/1/local/Admin/Tools/$_.html.obj"} qw(ExternalStorage Theme);
    write_file( $_, "old\n" ) for @older, $ours, $others, "$rt5/local/lib/RT/ExternalStorage/AmazonS3/librts3.so.99";
    write_file( $list, read_file($list) . join '', map {"$_\n"} @older );
    run_make( $copy, 'install' );
    is_deeply( [ grep {-e} @older, dirname( $older[0] ), $ours ], [], 'an upgrade takes out what is no more' );
    ok( -e $others, '... and nothing else of what RT has compiled' );
    unlink $others;
    is_deeply( [ map {s{.*/}{}r} glob "$rt5/local/lib/RT/ExternalStorage/AmazonS3/*.so.*" ],
        [$soname], "... and the library's other name is the present one" );
    unlike( read_file($list), qr/Old/, '... which the list names no more' );
    ok( !-e "$list.old", '... and there is one list' );

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

subtest 'make distdir' => sub {
    my $copy = project_copy();
    write_file( "$copy/MANIFEST", join '', map {"$_\n"} 'MANIFEST', files($copy) );
    configure( $copy, "RTHOME=$rt5" );
    run_make( $copy, 'distdir' );
    my ($directory) = glob "$copy/RT-ExternalStorage-AmazonS3-*";
    ok( -e "$directory/$_", "$_ is in it" ) for qw(Cargo.lock Makefile.PL src/lib.rs);
    my $meta = decode_json( read_file("$directory/META.json") );
    is( "$meta->{name} $meta->{version}", $directory =~ s{.*/(.*)-}{$1 v}r, 'META.json names it' );
    is_deeply( $meta->{no_index}{package}, ['RT::ExternalStorage::AmazonS3'], "... and leaves RT its module's name" );
    is_deeply(
        [ sort keys %{ $meta->{prereqs}{runtime}{requires} } ],
        [ 'FFI::Platypus', 'Role::Basic', 'perl' ],
        '... what it needs of CPAN'
    );
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
        "no FFI::Platypus for RT's perl, by cpanm" => {
            arguments   => [ 'RTHOME=' . fake_rt( 'rt5-cpanm', '5.0.8', perl => "$tmp/other/perl" ) ],
            environment => { PERL5_CPANM_IS_RUNNING => 1 },
            expect      => [qr/FFI::Platypus \s \S+ \s or \s later/x]
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

subtest 'what the package repeats' => sub {
    my ( $control, $rules ) = map { read_file("$project/debian/$_") } qw(control rules);
    my ($rust) = read_file("$project/Cargo.toml") =~ /^rust-version\s*=\s*"([^"]+)"/m;
    is_deeply( [ $control =~ /^ (?:cargo|rustc)-web \(>= ([\d.]+)\)/mg ], [ $rust, $rust ], 'the oldest Rust' );
    my ($platypus) = read_file("$project/perl/lib/RT/ExternalStorage/AmazonS3/Native.pm") =~ /PLATYPUS => '([\d.]+)'/;
    is_deeply(
        [ $control =~ /^ libffi-platypus-perl \(>= ([\d.]+)\)/mg ],
        [ $platypus, $platypus ],
        'the oldest FFI::Platypus'
    );
    my ($manuals) = $rules =~ /^commands := (.*)$/m;
    my ($commands) =
        read_file("$project/perl/lib/RT/ExternalStorage/AmazonS3/Tool.pm") =~ /%COMMAND = .*?qw\((.*?)\)/s;
    is( $manuals, $commands, 'a manual for each command' );
};

done_testing;
