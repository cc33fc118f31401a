#!/usr/bin/perl
# Every way to install, on every layout of RT, word for word as README says it, in a Debian 12 on which nothing was done yet:
# the package, make install, cpanm; an upgrade over something older; use; and taken out again, with nothing left.
# RTS3_WALKS: only these, by name. RTS3_WRITE_DOCS=1: rewrite the table in docs/install.md, if all is well.
use strict;
use warnings;

use Cwd        qw(abs_path);
use File::Temp ();
use FindBin;
use POSIX qw(strftime);
use Test::More;

use lib "$FindBin::Bin/../t/lib", "$FindBin::Bin/lib";
use Rts3::Test::BareRoot;
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs needs_s3);
use Rts3::Test::Layout;

needs( Rts3::Test::BareRoot->missing );

# So that the servers end
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my $project   = abs_path("$FindBin::Bin/..");
my $s3        = needs_s3;
my ($section) = slurp("$project/README.md") =~ /^## Installing into a real RT\n(.*?)^## /ms;
my ($rust)    = $section                    =~ /`(apt-get install cargo-web rustc-web)`/;
my ( $package, $source ) = map {s/^ {4}//gmr} $section =~ /((?:^ {4}\S.*\n)+)/gm;
my ( $package_needs, $package_build, $package_install ) = split /\n/, $package;
my ( $source_needs, $source_install ) = split /\n/, $source;
like( $package_install, qr/^apt-get install \S+\.deb$/, 'README says how to install the package' );
like( $source_install,  qr/^perl Makefile\.PL && make && sudo make install$/, '... and from source' );

my $DEBIAN =
    'request-tracker5 rt5-db-sqlite rt5-standalone request-tracker4 rt4-db-sqlite rt4-standalone libamazon-s3-perl';
my $PLUGIN = 'plugins/RT-ExternalStorage-AmazonS3/lib';
my @WALKS  = (
    [ package5 => "the package, Debian's RT 5"              => \&walk_package, 5 ],
    [ package4 => "the package, Debian's RT 4, beside RT 5" => \&walk_package, 4 ],
    [ opt5     => '`make install`, `/opt/rt5`'          => \&walk_source, home   => '/opt/rt5', version => '5.0.3' ],
    [ opt6     => '`make install`, `/opt/rt6`'          => \&walk_source, home   => '/opt/rt6', version => '6.0.0' ],
    [ debian5  => "`make install`, Debian's RT 5"       => \&walk_source, debian => 5 ],
    [ debian4  => "`make install`, Debian's RT 4"       => \&walk_source, debian => 4 ],
    [ cpanm    => "`cpanm .`, Debian's RT 5"            => \&walk_source, debian => 5, cpanm => 'checkout' ],
    [ tarball  => "cpanm with a tarball, Debian's RT 5" => \&walk_source, debian => 5, cpanm => 'tarball' ],
);
my %chosen = map { $_ => 1 } split /,/, $ENV{RTS3_WALKS} // '';
my $bare   = Rts3::Test::BareRoot->new;
my $build  = $bare->layer( 'build', \&prepare );
my @rows;

for my $walk (@WALKS) {
    my ( $name, $title, $code, @how ) = @$walk;
    next if %chosen && !$chosen{$name};
    subtest $title => sub {
        $code->(@how);
        push @rows, sprintf "| %s | %d checks, all passed |\n", $title, Test::More->builder->current_test;
    };
}

if ( $ENV{RTS3_WRITE_DOCS} && Test::More->builder->is_passing && !%chosen ) {
    my $file       = "$project/docs/install.md";
    my $page       = slurp($file);
    my ($compiler) = run( $build, 'rustc --version' )->{out} =~ /^(rustc \S+)/;
    my $table      = "| way | result |\n|---|---|\n" . join '', @rows;
    $table .= "\nTried " . strftime( '%Y-%m-%d', gmtime ) . ", built with $compiler of Debian 12.\n";
    $page =~ s/(?<=<!-- layouts -->\n).*?(?=<!-- end -->)/$table/s or die "$file has no place for the table";
    spew( $file, $page );
}
done_testing;

sub run {
    my ( $root, $shell, $directory ) = @_;
    my $run = $root->run( $shell, $directory );
    is( $run->{exit}, 0, $shell ) or diag substr $run->{out} . $run->{err}, -4000;
    return $run;
}

# A clone of what is committed here, and Rust
sub prepare {
    my ($root) = @_;
    my $clone = File::Temp->newdir;
    system( qw(git clone -q --depth=1), "file://$project", "$clone/rts3" ) == 0 or die "git clone: $?";
    $root->copy_in( "$clone/rts3", '/root' );
    run( $root, "$rust && apt-get install git sudo" );
    return;
}

# ... and the package made of it
sub prepare_package {
    my ($root) = @_;
    run( $root, $package_needs );
    run( $root, 'apt-get install lintian' );
    my $run = run( $root, $package_build, '/root/rts3' );
    my ($deb) = $run->{out} =~ m{(/root/rts3/target/package/\S+\.deb)$}m or die $run->{out};
    unlike( $run->{out}, qr/^E: /m, 'lintian finds no error' );
    run( $root, older_package($deb) );
    return;
}

# ... and an RT of each kind, with what README has installed before it builds
sub prepare_rt {
    my ($root) = @_;
    run( $root, "apt-get install $DEBIAN cpanminus" );
    run( $root, $source_needs );
    return;
}

# The same, as an older version that had a file more
sub older_package {
    my ($deb) = @_;
    return join ' && ', "dpkg-deb -R $deb /root/older",
        q{sed -i 's/^Version: .*/Version: 0.0.1/' /root/older/DEBIAN/control},
        'touch /root/older/usr/share/rt-externalstorage-s3/lib/RT/ExternalStorage/AmazonS3/Old.pm',
        'dpkg-deb -b /root/older /root/older.deb';
}

sub walk_package {
    my ($debian) = @_;
    my $made     = $build->layer( 'package', \&prepare_package );
    my $root     = $bare->layer("package$debian");
    my ($deb)    = glob "$made->{upper}/root/rts3/target/package/*.deb";
    $root->copy_in( $deb,                            '/root/rts3/target/package' );
    $root->copy_in( "$made->{upper}/root/older.deb", '/root' );
    run( $root, "apt-get install $DEBIAN gcc libc6-dev libffi-platypus-perl pkg-config" ) if $debian == 4;
    my @before = $debian == 4 ? $root->files : ();

    run( $root, 'apt-get install /root/older.deb' );
    run( $root, $package_install, '/root/rts3' );
    my $share = '/usr/share/rt-externalstorage-s3/lib/RT/ExternalStorage/AmazonS3';
    isnt( $root->run("ls $share/Old.pm")->{exit}, 0, 'an upgrade takes out what is no more' );
    my $rt = Rts3::Test::Layout->new( root => $root, s3 => $s3, debian => $debian );
    $rt->configure;
    $rt->works( module => "/usr/share/request-tracker$debian/$PLUGIN", tool => "rt-s3-$debian" );
    if ( $debian == 4 ) {
        like( $root->run('rt-s3 --version')->{out}, qr/^RT 5/m, 'without a number the command is for the newer RT' );
        links_with_it( $root, '' );
    }

    run( $root, 'apt-get install libamazon-s3-perl' );
    run( $root, 'apt-get remove rt-externalstorage-s3' );
    $rt->still_reads;
    run( $root, 'apt-get purge rt-externalstorage-s3' );
    $rt->still_reads;
    nothing_left( $root, @before );
    return;
}

sub walk_source {
    my (%how)   = @_;
    my $with_rt = $build->layer( 'rt', \&prepare_rt );
    my $root    = $with_rt->layer( join '-', 'source', map {s/\W//gr} map { $how{$_} // () } qw(home debian cpanm) );
    my $tree    = '/root/rts3';
    my $install = $source_install;
    my $rt      = Rts3::Test::Layout->new( root => $root, s3 => $s3, %how );
    my @before  = $root->files;
    $install =~ s{Makefile\.PL}{Makefile.PL RTHOME=/usr/share/request-tracker4} if ( $how{debian} // 0 ) == 4;

    # Something older, which had a module more
    my $old = "$rt->{local}/RT/ExternalStorage/AmazonS3/Old.pm";
    run( $root, 'echo "1;" >perl/lib/RT/ExternalStorage/AmazonS3/Old.pm', $tree );
    run( $root, $install,                                                 $tree );
    run( $root, "test -e $old" );
    run( $root, 'rm perl/lib/RT/ExternalStorage/AmazonS3/Old.pm && make realclean', $tree );

    if ( ( $how{cpanm} // '' ) eq 'tarball' ) {
        run( $root, 'perl Makefile.PL && make dist && mv RT-ExternalStorage-AmazonS3-*.tar.gz /root', $tree );
        my ($file) = run( $root, 'ls /root/RT-ExternalStorage-AmazonS3-*.tar.gz' )->{out} =~ /(\S+)/;
        run( $root, "cpanm $file" );
    }
    else {
        run( $root, $how{cpanm} ? 'cpanm .' : $install, $tree );
    }
    isnt( $root->run("ls $old")->{exit}, 0, 'an upgrade takes out what is no more' );
    $rt->configure;
    my $tool = $how{home} ? "$how{home}/sbin/rt-s3" : '/usr/local/sbin/rt-s3';
    $rt->works( module => $rt->{local}, tool => $tool );
    links_with_it( $root, $how{home} ? "$how{home}/local/lib/pkgconfig" : '' );

    run( $root, 'perl Makefile.PL && sudo make uninstall', $tree ) if $how{cpanm};
    run( $root, 'sudo make uninstall',                     $tree ) if !$how{cpanm};
    $rt->still_reads;
    nothing_left( $root, @before );
    return;
}

# A program in C, with what pkg-config says
sub links_with_it {
    my ( $root, $directory ) = @_;
    $root->write_file( '/root/version.c', <<'END' );
#include <rts3.h>
#include <stdio.h>
int main(void) { return puts(rts3_version()) < 0; }
END
    my $flags     = "PKG_CONFIG_PATH=$directory pkg-config --cflags --libs rts3";
    my $run       = run( $root, "cc /root/version.c \$($flags) -o /root/version && /root/version" );
    my ($version) = slurp("$project/Cargo.toml") =~ /^version\s*=\s*"([^"]+)"/m;
    is( $run->{out}, "$version\n", '... with the library that was installed' );
    return;
}

sub nothing_left {
    my ( $root, @before ) = @_;
    my %before = map  { $_ => 1 } @before;
    my @left   = grep { !$before{$_} && !m{/80-s3\.pm$} } $root->files;
    @left = grep {m{ExternalStorage/AmazonS3/|externalstorage-s3|rt-?s3}i} @left if !@before;
    return is( join( "\n", @left ), '', 'nothing is left' );
}
