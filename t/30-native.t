#!/usr/bin/perl
# The Perl binding: the real library, against the S3 server of the tests.
use strict;
use warnings;

use Config;
use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use POSIX ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::S3Server;

my $class = 'RT::ExternalStorage::AmazonS3::Native';
require_ok($class);
require RT::ExternalStorage::AmazonS3::Error;

my $library = $ENV{RTS3_LIBRARY} //= built_library();

sub built_library {
    my ($beside) = grep {-e} map {"$_/RT/ExternalStorage/AmazonS3/librts3.so"} grep { !ref } @INC;
    return $beside // "$FindBin::Bin/../target/release/librts3.so";
}

# ---- without the library: Perl that runs, and errors that say what to do

sub in_child {
    my ( $code, %env ) = @_;
    local @ENV{ keys %env } = values %env;
    my @libs = map {"-I$_"} grep { !ref } @INC;
    return output( $^X, @libs, "-M$class", '-e', $code );
}

my $directory = File::Temp->newdir;
my $nowhere   = "$directory/librts3.so";
my $open      = "my (\$h, \$e) = $class->open(Bucket => 'b'); print defined \$h ? 'open' : \$e->name . ': ' . \$e";
like(
    in_child( $open, RTS3_LIBRARY => $nowhere ),
    qr{^library: cannot load the rts3 library: there is no file '\Q$nowhere\E'; install it there, or set RTS3_LIBRARY},
    'no library: an error that names the file'
);
unlike( in_child( $open, RTS3_LIBRARY => $nowhere ), qr/\n/, '... in one line' );
like(
    in_child( $open, RTS3_LIBRARY => __FILE__ ),
    qr{^library: cannot load the rts3 library '.*30-native.t': .*(?:ELF|file too short)},
    'a file that is no library: what the system says'
);
my ($libc) = grep {-e} glob '/lib/*/libc.so.6 /lib64/libc.so.6 /usr/lib/libc.so.6';
SKIP: {
    skip 'no libc found', 1 if !$libc;
    like(
        in_child( $open, RTS3_LIBRARY => $libc ),
        qr{^library: cannot use the rts3 library '.*': it has no function rts3_close: it is not of this version},
        'another library: what it lacks'
    );
}
like(
    in_child(
        "BEGIN { unshift \@INC, sub { die qq{not here\\n} if \$_[1] =~ m{^FFI/} } } $open", RTS3_LIBRARY => $0
    ),
    qr{^library: .*the Perl module FFI::Platypus [\d.]+ or later is needed: not here},
    'no FFI::Platypus: an error that names it'
);

my ( $version, $failure ) = $class->version;
if ( !$version ) {
    die $failure if $ENV{RTS3_TEST_ALL} || -e $library;
    note "The rest is skipped: $failure";
    done_testing;
    exit;
}
is( $class->library_path, $library, 'the library is the one that was built' );
like( $version, qr/^\d+\.\d+\.\d+/, "version $version" );

# ---- status names: the library's and ours

my %status = do { no warnings 'once'; %RT::ExternalStorage::AmazonS3::Error::STATUS };
delete $status{library};
is( $class->status_name( $status{$_} ), $_, "status $status{$_} is $_" ) for sort keys %status;
is( keys %status,                       14, 'all of them' );

# ---- options

is_deeply(
    [ list( $class->open ) ],
    ['config: option Bucket is missing: it names the bucket that keeps the attachments'],
    'no Bucket'
);
like(
    list( $class->open( Bucket => 'b', AccessKeyId => 'a' ) ),
    qr/^config: option SecretAccessKey is missing/,
    'half a key pair'
);
like( list( $class->open( Bucket => ['b'] ) ),  qr/^config: option Bucket is a reference/, 'a reference as value' );
like( list( $class->open( Bucket => "b\0c" ) ), qr/^config: option Bucket has a NUL character/, 'NUL in a value' );
is( scalar $class->open, undef, 'in scalar context no message' );
{
    my %keys   = ( AccessKeyId => 'a', SecretAccessKey => 's' );
    my $handle = $class->open( Bucket => 'b', Prefix => undef, %keys );
    is_deeply( [ $handle->drain ], [], 'undef: not given' );
    my $other = $class->open( Bucket => 'b', %keys );
    is( $other->id, $handle->id, 'the same options are the same handle' );
    isnt( $class->open( Bucket => 'c', %keys )->id, $handle->id, 'others are another' );
    is( $other->close, 1, 'one is closed' );
    like( list( $other->get( 'a' x 64 ) ), qr/^argument: this handle is closed/, '... and knows it' );
    is( $other->close,   1, '... and may be closed again' );
    is( $handle->proven, 0, '... the other one goes on' );
    my $mistaken = $class->open( Bucket => 'b', Reties => 3, %keys );
    my @messages = $mistaken->drain;
    is( $messages[0][0], 'error', 'an unknown option is an error for the log' );
    like( $messages[0][1], qr/'Reties'.*Retries/, '... with the nearest name' );
    is_deeply( [ $mistaken->drain ], [], '... once' );
}

# ---- calls

my $s3 = eval { Rts3::Test::S3Server->start };
if ( !$s3 ) {
    die $@ if $ENV{RTS3_TEST_ALL} || $@ !~ /build it with/;
    note "The rest is skipped: $@";
    done_testing;
    exit;
}
my %options = ( Bucket => 'att', $s3->options );
my $handle  = $class->open(%options);

is( $s3->connections, 0, 'open has opened no connection' );
like( list( $handle->probe ), qr/^no-bucket: /, 'probe without a bucket' );
is( list( $handle->create_bucket ), 1,         'create_bucket' );
is( list( $handle->probe ),         'options', 'probe says where the credentials come from' );
is( list( $handle->proven ),        0,         'nothing is proven' );

my $bytes = join( '', map {chr} 0 .. 255 ) x 40;
my $key   = sha256_hex($bytes);
is( list( $class->sha256($bytes) ),                                      $key, 'sha256' );
is( list( $handle->store( $key, $bytes, content_type => 'image/png' ) ), $key, 'store' );
is( $s3->content( 'att', $key ), $bytes, '... is in the bucket, byte for byte' );
is( ( $s3->requests( operation => 'PutObject' ) )[0]{headers}{'content-type'}, 'image/png', '... with its type' );
is( list( $handle->proven ),    1,      '... and that proves the bucket' );
is( list( $handle->get($key) ), $bytes, 'get' );

# Room is asked for more than once: what is in it already stays
for my $size ( 10_241, 3_000_017 ) {
    my $large     = substr $bytes x ( $size / length($bytes) + 1 ), 0, $size;
    my $large_key = sha256_hex($large);
    $handle->store( $large_key, $large );
    my %fault = (
        'breaks off and goes on'   => { close  => { at => 'body', after => 5000 } },
        'is reset and goes on'     => { reset  => { at => 'body', after => $size - 1 } },
        'comes in chunks'          => { length => 'chunked' },
        'comes without its length' => { length => 'missing' },
        'is damaged and read anew' => { flip   => { at  => 'body', offset => 0 } },
        'is told too short'        => { length => { add => -100 } },
    );
    for my $what ( sort keys %fault ) {
        $s3->faults( { operation => 'GetObject', nth => [1], do => $fault{$what} } );
        ok( list( $handle->get($large_key) ) eq $large, "get of $size bytes that $what: the same bytes" );
    }
    $s3->faults;
    $handle->delete($large_key);
}
is_deeply( scalar $handle->head($key), { size => length $bytes, checksum => undef }, 'head' );
like( list( $handle->direct_url($key) ), qr{^http://\S+/att/$key$}, 'direct_url' );
is( list( $handle->delete($key) ), $key, 'delete' );
is_deeply( [ $s3->objects('att') ], [], '... is gone' );
like( list( $handle->$_($key) ), qr/^not-found: [^\n]*$key/, "$_ of what is not there" ) for qw(get head);
is( scalar $handle->get($key),     undef, '... in scalar context undef, never the message' );
is( list( $handle->delete($key) ), $key,  '... deleting it is a success' );

# ---- content: what Perl may hold

for my $case (
    [ '1 byte',  'x' ],
    [ 'one NUL', "\0" ],
    [
        'Latin-1 with the UTF-8 flag',
        do { my $s = "gr\xfc\xdfe \xff"; utf8::upgrade($s); $s }
    ],
    [
        'ASCII with the UTF-8 flag',
        do { my $s = 'plain'; utf8::upgrade($s); $s }
    ],
    [ '5 MB', join( '', map { chr int rand 256 } 1 .. 1024 ) x 5_000 ],
    )
{
    my ( $name, $content ) = @$case;
    my $flag  = utf8::is_utf8($content);
    my $plain = $content;
    utf8::downgrade($plain);
    my $digest = sha256_hex($plain);
    is( list( $class->sha256($content) ),            $digest, "$name: sha256" );
    is( list( $handle->store( $digest, $content ) ), $digest, "$name: store" );
    ok( $s3->content( 'att', $digest ) eq $plain, "$name: is in the bucket" );
    my $read = $handle->get($digest);
    ok( $read eq $plain && !utf8::is_utf8($read), "$name: get" );
    ok( utf8::is_utf8($content) eq $flag,         "$name: the caller's scalar is as it was" );
}
$s3->clear_log;
like( list( $handle->store( $key, "\x{263a}" ) ), qr/^argument: the content has wide characters/, 'wide characters' );
like( list( $handle->store( $key, undef ) ),      qr/^argument: the content is not defined/,      'undef' );
like( list( $handle->store( $key, \$bytes ) ),    qr/^argument: the content is a reference/,      'a reference' );
like( list( $handle->store( $key, 'other' ) ),    qr/^mismatch: /, 'content of another key' );
like( list( $class->sha256("\x{263a}") ), qr/^argument: .*wide/, 'wide characters have no digest' );
for my $bad ( '../x', 'a' x 63, 'A' x 64, "$key\n", "$key\0", '', undef, [] ) {
    for my $call (qw(get head delete)) {
        my $message = list( $handle->$call($bad) );
        like( $message, qr/^argument: [^\n]*key[^\n]*\z/, "$call: " . ( $message // 'undef' ) );
    }
}
for my $bad ( 0, -1, 'soon', [] ) {
    like( list( $handle->get( $key, deadline => $bad ) ), qr/^argument: the deadline must be/, "deadline $bad" );
}
is( $s3->requests, 0, 'none of these was sent' );
{
    my $part = "xx$bytes";
    is( list( $handle->store( $key, substr $part, 2 ) ), $key, 'a substr is content too' );
    tie my $tied, 'Growing';
    like( list( $handle->store( $key, $tied ) ), qr/^mismatch/, 'a tied scalar is read once' );
    is( list( $handle->store( sha256_hex('5'), 5 ) ), sha256_hex('5'), 'a number is content as Perl writes it' );
}

# ---- memory: the content exists once

SKIP: {
    my $before = memory() // skip 'no /proc', 2;
    my $large  = 'x' x 100_000_000;
    my $digest = sha256_hex($large);
    my $start  = memory('reset');
    ok( $handle->store( $digest, $large ), 'store of 100 MB' );
    cmp_ok( memory() - $start, '<', 20_000, '... takes less than 20 MB of memory' );
    undef $large;
    $start = memory('reset');
    my ( $read, $error ) = $handle->get($digest);
    is( length $read, 100_000_000, 'get of 100 MB' );
    cmp_ok( memory() - $start, '<', 120_000, '... takes less than 120 MB of memory' );
    $start = memory('reset');
    my $long = $handle->get($digest);
    cmp_ok( memory() - $start, '<', 120_000, '... nor more the second time' );
}
SKIP: {
    skip 'no ulimit here', 1 if system(q{bash -c 'ulimit -v 100000' 2>/dev/null}) != 0;
    my $program =
          "my \$h = $class->open(qw(@{[ %options ]})); my (\$c, \$e) = \$h->get('"
        . sha256_hex( 'x' x 100_000_000 )
        . "'); print defined \$c ? 'read' : \$e->name";
    is( limited( 100_000, $program ), 'argument', 'no memory for the content: an error, and the process lives' );
}

# ---- deadline, forks, threads

$s3->freeze;
my $start = time;
like( list( $handle->get( $key, deadline => 700 ) ),
    qr/^timeout: /, 'a server that hangs: the deadline ends the call' );
cmp_ok( time - $start, '<', 5, '... in time' );
$s3->thaw;
is( list( $handle->get($key) ), $bytes, '... and afterwards all is well' );

my $pid = fork // die $!;
if ( !$pid ) {
    my $same = $handle->get($key) eq $bytes;
    undef $handle;
    POSIX::_exit( $same ? 0 : 1 );
}
waitpid $pid, 0;
is( $?,                         0,      'a child reads' );
is( list( $handle->get($key) ), $bytes, '... and its parent goes on' );

SKIP: {
    skip 'this Perl has no threads', 1 if !$Config{usethreads};
    my $text = in_child( <<"END", RTS3_LIBRARY => $library );
use threads;
my \$h = $class->open(qw(@{[ %options ]}));
my \$n = 0;
for ( 1 .. 3 ) {
    \$n += \$_->join for map { threads->create( sub { scalar grep { length \$h->get('$key') } 1 .. 5 } ) } 1 .. 3;
}
\$n += length \$h->get('$key');
print \$n;
END
    is( $text, 45 + length $bytes, 'nine Perl threads read, and end, and the handle stays' );
}
done_testing;

sub output {
    my (@command) = @_;
    open my $out, '-|', @command or die $!;
    my $text = join '', <$out>;
    close $out;
    return $text;
}

# A value, or "name: message"
sub list {
    my ( $value, $error ) = @_;
    return $value if defined $value;
    return $error->name . ': ' . $error->message;
}

# Peak of memory in kB
sub memory {
    my ($reset) = @_;
    if ($reset) {
        open my $clear, '>', '/proc/self/clear_refs' or return;
        print {$clear} "5\n";
        close $clear;
    }
    open my $status, '<', '/proc/self/status' or return;
    my ($peak) = map { /^VmHWM:\s+(\d+)/ ? $1 : () } <$status>;
    close $status;
    return $peak;
}

sub limited {
    my ( $kilobytes, $program ) = @_;
    my @libs  = map {"-I$_"} grep { !ref } @INC;
    my @limit = ( 'bash', '-c', 'ulimit -v "$1"; shift; exec "$@"', 'bash', $kilobytes );
    return output( @limit, $^X, @libs, "-M$class", '-e', $program );
}

package Growing;
sub TIESCALAR { return bless { n => 1 }, shift }
sub FETCH     { my $self = shift; return 'x' x ( $self->{n} *= 3 ) }
