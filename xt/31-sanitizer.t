#!/usr/bin/perl
# The library and the C programs of t/c with AddressSanitizer, the programs also with UndefinedBehaviorSanitizer. rustc's
# sanitizer needs RUSTC_BOOTSTRAP=1 where rustc is a stable one; the build lies in a directory of its own, and stays there.
use strict;
use warnings;

use Cwd         qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Spec;
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/../t/lib";
use Rts3::Test::Needs qw(needs needs_s3);
use Rts3::Test::Process;

my $root   = abs_path("$FindBin::Bin/..");
my $target = $ENV{RTS3_SANITIZER_TARGET} || File::Spec->tmpdir . '/rts3-sanitizer';
my $dir    = File::Temp->newdir;
my @path   = ( split( /:/, $ENV{PATH} ), ( $ENV{CARGO_HOME} || "$ENV{HOME}/.cargo" ) . '/bin' );
my ( $cargo, $rustc, $gcc ) = map { tool($_) } qw(cargo rustc gcc);

my ($host) = qx($rustc -vV) =~ /^host: (\S+)/m;
my $build = Rts3::Test::Process::run(
    command => [ $cargo, qw(build --locked --lib --target), $host, '--target-dir', $target ],
    env     => {
        %ENV,
        RUSTC_BOOTSTRAP => 1,
        RUSTFLAGS       => '-Zsanitizer=address -Cforce-frame-pointers=yes',
        PATH            => join ':',
        @path
    },
    timeout => 1200,
);
is( $build->{exit}, 0, 'the library is built with AddressSanitizer' ) or BAIL_OUT( $build->{err} );
my $library = "$target/$host/debug/librts3.so";
my ($soname) = qx(readelf -d '$library') =~ /SONAME.*\[(.*)\]/;
symlink $library, "$dir/$soname" or BAIL_OUT("$dir/$soname: $!");
like( scalar qx(nm -D --undefined-only '$library'), qr/__asan_report_load/, '... and calls it' );

my $s3 = needs_s3;
$s3->make_bucket('sanitizer');

my %Program;

# All errors end the program; so does memory that is lost
my %env = (
    %ENV,
    ASAN_OPTIONS  => 'detect_leaks=1:abort_on_error=0:exitcode=99:handle_abort=1',
    UBSAN_OPTIONS => 'halt_on_error=1:print_stacktrace=1',
    LSAN_OPTIONS  => 'report_objects=1',
);
for my $case ( [ http => $s3->http, '' ], [ https => $s3->https, $s3->ca ] ) {
    my ( $scheme, @server ) = @{$case};
    my @keys = ( $s3->access_key, $s3->secret_key );
    sanitized( "$scheme: abi", 'abi', @server, "abi-$scheme", @keys );
    $s3->make_bucket("misuse-$scheme");
    $s3->faults(
        { operation => 'GetObject', key => sha256_hex( 'x' x 3_000_000 ), do => { length   => 'chunked' } },
        { operation => 'GetObject', key => sha256_hex( 'y' x 3_000_000 ), do => { delay_ms => 20 } },
    );
    sanitized( "$scheme: misuse", 'misuse', @server, "misuse-$scheme", @keys );
    $s3->faults;
    sanitized( "$scheme: threads, one each", 'threads', 'each', @server, 'sanitizer', @keys );
    sanitized( "$scheme: threads, the same", 'threads', 'same', @server, 'sanitizer', @keys );
}

done_testing;

sub tool {
    my ($name)  = @_;
    my ($found) = grep {-x} map {"$_/$name"} @path;
    needs("$name is not installed") if !$found;
    return $found;
}

sub sanitized {
    my ( $name, $program, @arguments ) = @_;
    $Program{$program} ||= compile($program);
    return if !$Program{$program};
    my $run = Rts3::Test::Process::run( command => [ $Program{$program}, @arguments ], env => \%env, timeout => 300 );
    is( $run->{exit}, 0, "$name: exit status" ) or diag $run->{out};
    unlike( $run->{out}, qr/^not ok/m, "$name: all is well" );
    unlike( $run->{err}, qr/Sanitizer|runtime error/, "$name: nothing found" ) or diag substr $run->{err}, 0, 6_000;
    return;
}

sub compile {
    my ($program) = @_;
    my @flags     = qw(-std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -pthread -fno-omit-frame-pointer);
    my @command   = (
        $gcc, @flags,
        '-fsanitize=address,undefined',
        '-fno-sanitize-recover=undefined',
        "-I$root/include", '-o', "$dir/$program", "$root/t/c/$program.c", $library, "-Wl,-rpath,$dir"
    );
    is( system(@command), 0, "$program is compiled" ) or return;
    return "$dir/$program";
}
