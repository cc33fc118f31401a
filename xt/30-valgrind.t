#!/usr/bin/perl
# The library as Perl uses it, and as a C program does, under valgrind: no byte is read or written that is not ours, and
# nothing is lost. A forked child is left out: it forgets its parent's connections, by design, and valgrind calls that lost.
# What is not the library's doing is in valgrind.supp.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/../t/lib";
use Rts3::Test::C     qw(build_program);
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs needs_library needs_s3);
use Rts3::Test::Process;

my ($valgrind) = grep {-x} map {"$_/valgrind"} split /:/, $ENV{PATH};
needs('valgrind is not installed') if !$valgrind;
$ENV{RTS3_LIBRARY} = needs_library->library_path;    ## no critic (RequireLocalizedPunctuationVars)
my $s3     = needs_s3;
my $dir    = File::Temp->newdir;
my $abi    = build_program( 'abi',    $dir );
my $misuse = build_program( 'misuse', $dir );

# Perl frees little when it ends; this makes it do so
local $ENV{PERL_DESTRUCT_LEVEL} = 2;
my $program = "$dir/program.pl";
spew( $program, do { local $/ = undef; readline DATA } );

for my $case ( [ http => $s3->http, '' ], [ https => $s3->https, $s3->ca ] ) {
    my ( $scheme, $host, $ca ) = @{$case};
    my @keys = ( $s3->access_key, $s3->secret_key );
    my @libs = map {"-I$_"} grep { !ref } @INC;
    $s3->make_bucket("perl-$scheme");

    # The server is in some trouble, so that the library goes its other ways, too
    $s3->faults(
        { operation => 'PutObject', nth => [2], do => { answer => { status => 503,    code  => 'SlowDown' } } },
        { operation => 'GetObject', nth => [2], do => { close  => { at     => 'body', after => 70_000 } } },
        { operation => 'GetObject', nth => [4], do => { length => 'chunked' } },
        { operation => 'GetObject', nth => [6], do => { flip   => { at => 'body', offset => 5 } } },
    );
    my $run = under_valgrind( "$scheme: Perl", $^X, @libs, $program, $host, $ca, "perl-$scheme", @keys );
    like( $run->{out}, qr/^done$/m, "$scheme: Perl: ran to its end" ) or diag $run->{err};
    $s3->faults;
    $run = under_valgrind( "$scheme: C", $abi, $host, $ca, "c-$scheme", @keys );
    my @not_ok = $run->{out} =~ /^(not ok.*)/mg;
    is_deeply( \@not_ok, [], "$scheme: C: all is well" );

    $s3->make_bucket("misuse-$scheme");
    $s3->faults(
        { operation => 'GetObject', key => sha256_hex( 'x' x 3_000_000 ), do => { length   => 'chunked' } },
        { operation => 'GetObject', key => sha256_hex( 'y' x 3_000_000 ), do => { delay_ms => 20 } },
    );
    $run    = under_valgrind( "$scheme: misuse", $misuse, $host, $ca, "misuse-$scheme", @keys );
    @not_ok = $run->{out} =~ /^(not ok.*)/mg;
    is_deeply( \@not_ok, [], "$scheme: misuse: all is well" );
    $s3->faults;
}

done_testing;

# Errors, and memory lost, whose stack leads through the library. Where Perl or another library loses something, that is
# only said.
sub under_valgrind {
    my ( $name, @command ) = @_;
    my $log = "$dir/valgrind.log";
    unlink glob "$log*";
    my @options = (
        '--child-silent-after-fork=yes',              '--leak-check=full',
        '--show-leak-kinds=definite',                 '--num-callers=40',
        '--trace-children=no',                        '--error-exitcode=0',
        "--suppressions=$FindBin::Bin/valgrind.supp", '--log-file=' . "$log.%p"
    );
    my $run = Rts3::Test::Process::run( command => [ $valgrind, @options, @command ], env => {%ENV}, timeout => 600 );
    is( $run->{exit}, 0, "$name: exit status" ) or diag $run->{err};
    my $text    = join "\n", map { slurp($_) } glob "$log.*";
    my @reports = grep {/^==\d+==\s+(?:at|by) 0x/m} split /^==\d+== *\n/m, $text;
    my @ours    = grep {m{librts3|\Q$dir\E|\((?:abi|misuse)\.c:}} @reports;
    is_deeply( \@ours, [], "$name: no error, and nothing lost, in the library" );
    note "$name: " . ( @reports - @ours ) . ' reports of others';
    note $_ for map {/==\d+==\s+((?:definitely|indirectly|possibly) lost: .*|ERROR SUMMARY: .*)/g} $text;
    return $run;
}

__DATA__
use strict;
use warnings;
use RT::ExternalStorage::AmazonS3::Native;

my ( $host, $ca, $bucket, @keys ) = @ARGV;
my $class   = 'RT::ExternalStorage::AmazonS3::Native';
my %options = (
    Host            => $host,
    CAFile          => $ca || undef,
    Bucket          => $bucket,
    AccessKeyId     => $keys[0],
    SecretAccessKey => $keys[1],
    Deadline        => 300,
    ReadTimeout     => 60,
    ConnectTimeout  => 60,
);
my ($handle) = $class->open(%options);
my ($again)  = $class->open(%options);
print 'probe: ', $handle->probe, "\n";
for my $size ( 1, 300_000, 2_000_000 ) {
    my $content = join( '', map {chr} 0 .. 255 ) x ( $size / 256 + 1 );
    my ($key) = $class->sha256($content);
    for ( 1 .. 2 ) {
        my ( $stored, $error ) = $handle->store( $key, $content, content_type => 'image/png' );
        die "$error\n" if !$stored;
        ( my $read, $error ) = $handle->get($key);
        die "$error\n" if !defined $read;
        die "not the same\n" if $read ne $content;
    }
    $handle->head($key)       or die "no head\n";
    $handle->direct_url($key) or die "no link\n";
    $handle->delete($key)     or die "no delete\n";
    defined $handle->get($key) and die "not gone\n";
    for my $bad ( '../x', "\x{263a}", undef, 'a' x 63, [] ) {
        defined $handle->$_($bad) and die "a bad key\n" for qw(get head delete direct_url);
        defined $handle->store( $bad, $content ) and die "a bad key\n";
    }
    defined $handle->store( $key, "$content!" ) and die "a mismatch\n";
    $handle->drain;
}
defined $class->open( Bucket => 'b', AccessKeyId => 'half' ) and die "half a key pair\n";
my ($mistaken) = $class->open( %options, Regoin => 'x' );
$mistaken->drain or die "no message\n";
my ($nobody) = $class->open( %options, Host => 'http://127.0.0.1:1', Retries => 0 );
defined $nobody->get( 'a' x 64, deadline => 3_000 ) and die "an answer from nobody\n";
$_->close for $handle, $again, $mistaken, $nobody;
defined $handle->get( 'a' x 64 ) and die "closed\n";
print "done\n";
