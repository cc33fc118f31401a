#!/usr/bin/perl
# The programs in examples: built and called as their README says, they store a file, get it back, and say what is wrong.
use strict;
use warnings;

use Cwd         qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Path  qw(make_path);
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::C     qw(build_example);
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs needs_library needs_s3);
use Rts3::Test::Process;

my $root    = abs_path("$FindBin::Bin/..");
my $library = abs_path( needs_library->library_path );
local $ENV{RTS3_LIBRARY} = $library;
my ($python)   = grep {-x} '/usr/bin/python3', programs('python3');
my ($valgrind) = programs('valgrind');
needs('no python3')                if !$python;
needs('valgrind is not installed') if !$valgrind && $ENV{RTS3_TEST_ALL};

my $s3      = needs_s3;
my $dir     = File::Temp->newdir;
my %command = ( 'files' => [ build_example( files => $dir ) ], 'files.py' => [ $python, "$root/examples/files.py" ] );

my @content = ( "\0\xff\r\n" x 50_000, 'a small one', '' );
my @files   = map {"$dir/file $_"} 0 .. $#content;
spew( $files[$_], $content[$_] ) for 0 .. $#files;
my @keys    = map { sha256_hex($_) } @content;
my $missing = sha256_hex('not there');
my @nowhere = ( 'Host=http://127.0.0.1:1', 'Retries=0' );

for my $name ( sort keys %command ) {
    $s3->make_bucket( my $bucket = $name =~ s/\W/-/r );

    # Each file by a call of its own, or all by one, where it can
    my @calls = $name eq 'files' ? map { [$_] } @files : [@files];
    my $text  = join '', map { call( $name, $bucket, [], 'store', @{$_} )->{out} } @calls;
    is( $text, join( '', map {"$keys[$_]  $files[$_]\n"} 0 .. $#files ), "$name: store: keys and names" );
    is( $s3->content( $bucket, $keys[$_] ), $content[$_], "... content $_ in the bucket" ) for 0 .. $#files;
    for ( 0 .. $#files ) {
        my $run = call( $name, $bucket, [], get => $keys[$_] );
        is( $run->{exit}, 0,            "$name: get" );
        is( $run->{out},  $content[$_], '... its content' );
    }

    my $fails = sub {
        my ( $what, $exit, $text, @call ) = @_;
        my $run = call( $name, @call );
        is( $run->{exit}, $exit, "$name: $what: exit status" );
        like( $run->{err}, $text, '... and why' );
        is( $run->{out}, '', '... and nothing else' );
    };
    $fails->( 'missing',   1,  qr/NoSuchKey.*\n.*code 4, not-found: .*not help$/, $bucket, [],      get => $missing );
    $fails->( 'no key',    1,  qr/'key'.*\n.*code 13, argument:/,                 $bucket, [],      get => 'key' );
    $fails->( 'no server', 75, qr/\[network: .*\n.*code 7, network: try again/, $bucket, \@nowhere, get => $missing );
    $fails->( 'no bucket',  1,  qr/option Bucket.*\n.*code 1, config:/,         '',      [], store => $files[0] );
    $fails->( 'no file',    1,  qr/No such file/,                               $bucket, [], store => "$dir/none" );
    $fails->( 'wrong word', 64, qr/OPTION=VALUE/,                               $bucket, [], keep  => $files[0] );

    my $run = call( $name, $bucket, ['Retrys=3'], get => $keys[1] );
    like( $run->{err}, qr/^\Q$name\E: error: .*'Retrys': did you mean Retries/m, "$name: a wrong option is told" );
    is( $run->{out}, $content[1], '... and stops no reading' );
}

# ---- in C, no byte is read or written that is not its own, and none is lost

SKIP: {
    skip 'valgrind is not installed', 2 if !$valgrind;
    unshift @{ $command{files} }, $valgrind,
        qw(--quiet --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=99),
        "--suppressions=$root/xt/valgrind.supp";
    is( call( 'files', 'files', [], get => $keys[0] )->{exit}, 0, 'files under valgrind' );
    is( call( 'files', 'files', [], get => $missing )->{exit}, 1, '... and where it fails' );
}

# ---- README, word for word, in what looks like a checkout, and as if that were installed

my $checkout = "$dir/checkout";
make_path("$checkout/target/release");
symlink "$root/include", "$checkout/include";
symlink $library,        "$checkout/target/release/librts3.so";
system( 'cp', '-R', "$root/examples", "$checkout/examples" ) == 0 or die 'cp failed';
spew( "$checkout/rts3.pc",
    slurp("$root/include/rts3.pc.in") =~ s{\@libdir\@}{$checkout/target/release}r
        =~ s{\@includedir\@}{$root/include}r =~ s{\@rpath\@}{-Wl,-rpath,\$\{libdir\}}r =~ s{\@version\@}{1}r );
spew( "$checkout/photo.jpg", my $photo = "\xff\xd8 no photo" );
$s3->make_bucket('my-files');

my $indented = qr/^ {4}.*\n/m;
my @blocks   = map {s/^    //gmr} slurp("$root/examples/README.md") =~ /((?:$indented)+(?:\n(?:$indented)+)*)/g;
my ( $use, $installed, $in_checkout, $from_python ) = @blocks;
$use         =~ s/^(?:export|bucket).*\n//mg;
$in_checkout =~ s/^cargo build .*\n//m;
my $bucket = join ' ', 'Bucket=my-files', 'CredentialSource=environment', 'Host=' . $s3->http;
readme( 'in a checkout', "${in_checkout}bucket='$bucket'\n${use}sha256sum --check stored", "photo.jpg: OK\n" );
is( $s3->content( 'my-files', sha256_hex($photo) ), $photo, '... which is in the bucket' );
my $code = "export PKG_CONFIG_PATH='$checkout'; cd examples; cp ../photo.jpg .; bucket='$bucket'\n";
my $key  = sha256_hex($photo);
readme( 'installed',   "$code$installed./files \$bucket get $key | sha256sum", "$key  -\n" );
readme( 'from Python', "unset RTS3_LIBRARY\n$code$from_python",                "$key  photo.jpg\n" );

done_testing;

# Calls it with these options beside those of the server
sub call {
    my ( $name, $bucket, $options, @words ) = @_;
    my @options = ( 'CredentialSource=environment', @{$options} );
    push @options, "Bucket=$bucket"    if length $bucket;
    push @options, 'Host=' . $s3->http if !grep {/^Host=/} @options;
    my @command = ( @{ $command{$name} }, @options, @words );
    return Rts3::Test::Process::run( command => \@command, env => environment(), timeout => 60 );
}

sub environment {
    return { %ENV, AWS_ACCESS_KEY_ID => $s3->access_key, AWS_SECRET_ACCESS_KEY => $s3->secret_key };
}

sub readme {
    my ( $what, $script, $out ) = @_;
    my @command = ( 'bash', '-ec', "cd '$checkout'\n$script" );
    my $run     = Rts3::Test::Process::run( command => \@command, env => environment() );
    is( $run->{exit}, 0,    "README, $what: builds, stores or gets" ) or diag $run->{err};
    is( $run->{out},  $out, '... and what came of it is what was stored' );
    return;
}

sub programs {
    my ($name) = @_;
    return grep {-x} map {"$_/$name"} split /:/, $ENV{PATH};
}
