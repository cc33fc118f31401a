#!/usr/bin/perl
# No room and no descriptors: what is too large for memory, or pretends to be, and a full table of descriptors are errors
# of one call. The process lives, and the next call works. The steps are those of t/c/memory.c.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use IO::Socket::INET;
use POSIX ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::C     qw(build_program run_program);
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_library needs_s3);

local $SIG{PIPE} = 'IGNORE';
$ENV{RTS3_LIBRARY} = needs_library->library_path;    ## no critic (RequireLocalizedPunctuationVars)
my $s3      = needs_s3;
my $dir     = File::Temp->newdir;
my $program = build_program( 'memory', $dir );
my $bucket  = 'memory';
$s3->make_bucket($bucket);

my $small = object("small\n");
my $liar  = object("liar\n");
my $large = object( 'large' x 40_000_000 );          # 200 MB

my @SCHEMES = ( [ http => $s3->http, '' ], [ https => $s3->https, $s3->ca ] );

# ---- what is too large

for my $case (@SCHEMES) {
    my ( $scheme, @server ) = @{$case};
    my $get = $scheme eq 'http' ? 'get' : 'room';
    steps(
        "$scheme: 100 MB of memory, and $get of a content of 200 MB",
        [ @server, 20 ],
        [ $get  => $small, 'ok' ],
        [ limit => 100 ],
        [ $get  => $large, 'argument' ],
        [ $get  => $small, 'ok' ],
    );
    steps(
        "$scheme: 20 MB of memory, and a Store of 64 MB",
        [ @server, 20 ],
        [ content => 64 ],
        [ head    => $small, 'ok' ],
        [ limit   => 20 ],
        ['mark'],
        [ store => 'ok' ],
        [ get   => $small, 'ok' ],
        [ peak  => 20 ],
    );
}

# ---- what pretends to be

for my $length ( 4 * 2**30, '5000000000000000000', '10000000000000000000', '9' x 30 ) {
    $s3->faults( { operation => 'GetObject', key => $liar, do => { length => { say => "$length" } } } );
    steps(
        "an object that is said to have $length bytes",
        [ $s3->http, '', 2 ],
        ['mark'],
        [ get     => $liar,  'network,timeout,corrupt,server' ],
        [ get     => $small, 'ok' ],
        [ peak    => 20 ],
        [ seconds => 25 ],
        [ limit   => 100 ],
        [ get     => $liar,  'argument,corrupt,server,network' ],
        [ room    => $liar,  'argument,corrupt,server,network' ],
        [ get     => $small, 'ok' ],
    );
}
$s3->faults;

# ---- what does not end

my $endless = 'e' x 64;
my $error   = 'd' x 64;
my ( $port, $server ) = endless_server();
my @server = ( "http://127.0.0.1:$port", '', 2 );
steps(
    'an answer to Store that does not end',
    \@server, [ content => 1 ],
    ['mark'],
    [ store   => 'ok,server,timeout,network' ],
    [ get     => $small, 'ok' ],
    [ peak    => 20 ],
    [ seconds => 15 ],
);
steps(
    'an object that does not end',
    \@server,
    [ get   => $small, 'ok' ],
    [ limit => 100 ],
    [ get   => $endless, 'argument' ],
    [ get   => $small,   'ok' ],
    [ room  => $endless, 'argument' ],
    [ get   => $small,   'ok' ],
);
steps(
    'an error that does not end',
    \@server, ['mark'],
    [ get     => $error, 'server,timeout,network' ],
    [ get     => $small, 'ok' ],
    [ peak    => 20 ],
    [ seconds => 15 ],
);
kill TERM => $server;
waitpid $server, 0;

# ---- no descriptors. Authorities come from where the system keeps them, so that a call opens that file, too.

for my $case (@SCHEMES) {
    my ( $scheme, $host, $ca ) = @{$case};
    my %env = $ca ? ( SSL_CERT_FILE => $ca ) : ();
    for my $left ( 0 .. 7 ) {
        steps(
            "$scheme: $left descriptors are left",
            [ \%env, $host, '', 2 ],
            [ fill => $left ],
            ['mark'],
            [ get => $small, $left < 2 ? 'network,internal' : 'network,internal,ok' ],
            ['free'],
            [ get     => $small, 'ok' ],
            [ seconds => 5 ],
        );
    }
    steps(
        "$scheme: none are left later on",
        [ \%env, $host, '', 2 ],
        [ get  => $small, 'ok' ],
        [ fill => 0 ],
        ['mark'],
        [ get  => $small, 'ok,network,internal' ],
        [ head => $small, 'ok,network,internal' ],
        ['free'],
        [ get     => $small, 'ok' ],
        [ seconds => 5 ],
    );
}

done_testing;

sub steps {
    my ( $name, $server, @steps ) = @_;
    my %env = ref $server->[0] ? %{ shift @{$server} } : ();
    my ( $host, $ca, $read_timeout ) = @{$server};
    my @arguments = ( $host, $ca, $bucket, $s3->access_key, $s3->secret_key, $read_timeout );
    my $run       = run_program( \%env, $program, @arguments, map { @{$_} } @steps );
    my @wrong     = $run->{out} =~ /^(not ok.*(?:\n#.*)*)/mg;
    is_deeply( \@wrong, [], $name );
    is( $run->{exit} . $run->{err}, '0', '... and the process lives' ) or diag $run->{out};
    return;
}

sub object {
    my ($content) = @_;
    my $key = sha256_hex($content);
    spew( $s3->object_path( $bucket, $key ), $content );
    return $key;
}

# Every answer is chunks without end, but for that to GET of $small
sub endless_server {
    my $listen = IO::Socket::INET->new( LocalAddr => '127.0.0.1', Listen => 10 ) or die "no socket: $@\n";
    my $pid    = fork // die "fork: $!\n";
    return ( $listen->sockport, $pid ) if $pid;
    my $parent = getppid;
    while ( my $client = $listen->accept ) {
        POSIX::_exit(0) if getppid != $parent;
        next            if fork;
        alarm 60;
        serve($client);
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}

sub serve {
    my ($client) = @_;
    local $/ = "\r\n\r\n";
    my $head = readline($client) // return;
    read $client, my ($body), $1 if $head =~ /^content-length: (\d+)/mi;
    if ( $head =~ /^GET \S*$small/ ) {
        return print {$client} "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 6\r\n\r\nsmall\n";
    }
    my $status = $head =~ /$error/ ? '500 Internal Server Error' : '200 OK';
    print {$client} "HTTP/1.1 $status\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n" or return;
    my $chunk = sprintf "%x\r\n%s\r\n", 65536, '<Error>' . ' ' x 65529;
    1 while print {$client} $chunk;
    return;
}
