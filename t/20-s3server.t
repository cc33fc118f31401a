#!/usr/bin/perl
# The S3 server that the other tests use: what they rely upon.
use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha256 sha256_hex hmac_sha256 hmac_sha256_hex);
use File::Temp;
use FindBin;
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64);
use POSIX        qw(strftime WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::S3Server;

plan skip_all => 'no curl here' if system('curl --version >/dev/null 2>&1') != 0;

my $s3 = eval { Rts3::Test::S3Server->start( public => 'public-bucket', keys => { SECOND => 'second' } ) };
if ( !$s3 ) {
    die $@ unless $@ =~ /build it with/;
    plan skip_all => $@;
}

my $content = "some content\n" x 7;
my $key     = sha256_hex($content);

# One signed request with curl: (status, headers, body).
sub request {
    my ( $method, $path, %opt ) = @_;
    my $body    = $opt{body} // '';
    my $user    = exists $opt{user} ? $opt{user} : join( ':', $s3->access_key, $s3->secret_key );
    my %header  = ( 'x-amz-content-sha256' => sha256_hex( $opt{signed_body} // $body ), %{ $opt{headers} // {} } );
    my @command = (
        qw(curl -s -i --max-time 20 --cacert),
        $s3->ca,
        ( $method eq 'HEAD' ? '--head'                                                   : ( '-X', $method ) ),
        ( defined $user     ? ( '--aws-sigv4', 'aws:amz:us-east-1:s3', '--user', $user ) : () ),
        ( map { ( '-H', "$_: $header{$_}" ) } grep { defined $user || !/^x-amz/ } sort keys %header ),
        @{ $opt{curl} // [] },
    );
    if ( length $body ) {
        my $file = $s3->dir . '/body';
        open my $out, '>:raw', $file or die "$file: $!";
        print {$out} $body;
        close $out or die "$file: $!";
        push @command, '--data-binary', "\@$file";
    }
    open my $curl, '-|:raw', @command, ( $opt{url} // $s3->http ) . $path or die "curl: $!";
    my $answer = do { local $/ = undef; readline $curl };
    close $curl;
    return parse($answer);
}

sub parse {
    my ($answer) = @_;
    my ( $head, $body ) = split /\r\n\r\n/, $answer, 2;
    my ( $first, @lines ) = split /\r\n/, $head // '';
    my %headers  = map { /^([^:]+):\s*(.*)\z/ ? ( lc $1 => $2 ) : () } @lines;
    my ($status) = ( $first // '' ) =~ m{^HTTP/1\.1 ([0-9]+)};
    return ( $status // 0, \%headers, $body // '' );
}

sub answers {
    my ( $status, $code, $what, @request ) = @_;
    my ( $got, $headers, $body ) = request(@request);
    my ($found) = $body =~ m{<Code>(.*?)</Code>};
    is( join( ' ', $got, $found // () ), join( ' ', $status, $code // () ), $what );
    return ( $headers, $body );
}

sub signature {
    my ( $request, $date ) = @_;
    my $day    = substr $date, 0, 8;
    my $text   = join "\n", 'AWS4-HMAC-SHA256', $date, "$day/us-east-1/s3/aws4_request", sha256_hex($request);
    my $secret = 'AWS4' . $s3->secret_key;
    $secret = hmac_sha256( $_, $secret ) for $day, 'us-east-1', 's3', 'aws4_request';
    return hmac_sha256_hex( $text, $secret );
}

subtest 'buckets' => sub {
    answers( 404, 'NoSuchBucket', 'PUT into no bucket', PUT => "/attachments/$key", body => $content );
    ok( !-e $s3->root . '/attachments', 'which makes none' );
    answers( 404, 'NoSuchBucket',            'GET from no bucket',    GET    => "/attachments/$key" );
    answers( 404, undef,                     'HEAD in no bucket',     HEAD   => "/attachments/$key" );
    answers( 404, 'NoSuchBucket',            'DELETE from no bucket', DELETE => "/attachments/$key" );
    answers( 404, 'NoSuchBucket',            'no bucket to list',     GET    => '/attachments?list-type=2' );
    answers( 200, undef,                     'made',                  PUT    => '/attachments' );
    answers( 409, 'BucketAlreadyOwnedByYou', 'made again',            PUT    => '/attachments' );
    answers( 200, undef,                     'there',                 HEAD   => '/attachments' );
};

subtest 'objects' => sub {
    my $path = "/attachments/$key";
    my ($headers) = answers(
        200, undef, 'PUT',
        PUT     => $path,
        body    => $content,
        headers => { 'Content-Type' => 'text/x-test; charset=utf-8' }
    );
    is( $headers->{etag}, '"' . md5_hex($content) . '"', 'its ETag is the MD5' );
    like( $headers->{'x-amz-request-id'}, qr/^[0-9A-F]{16}\z/, 'a request id' );
    is( $s3->content( attachments => $key ), $content, 'it is a plain file' );
    is_deeply( [ $s3->objects('attachments') ], [$key], 'the only one' );

    ( $headers, my $body ) = answers( 200, undef, 'GET', GET => $path );
    is( $body,                      $content,                     'the content' );
    is( $headers->{'content-type'}, 'text/x-test; charset=utf-8', 'the type' );
    ($headers) = answers( 200, undef, 'HEAD', HEAD => $path );
    is( $headers->{'content-length'}, length $content, 'the length' );
    ( $headers, $body ) = answers( 206, undef, 'a range', GET => $path, headers => { Range => 'bytes=5-11' } );
    is( $body, 'content', 'the bytes asked for' );
    my %stale = ( Range => 'bytes=5-', 'If-Match' => '"0123"' );
    answers( 412, 'PreconditionFailed', 'a range of another object', GET => $path, headers => \%stale );
    ( $headers, $body ) = answers( 200, undef, 'a list', GET => '/attachments?list-type=2' );
    like( $body, qr{<Key>$key</Key>}, 'has the key' );

    open my $file, '+<:raw', $s3->object_path( attachments => $key ) or die $!;
    print {$file} 'S';
    close $file or die $!;
    ( $headers, $body ) = answers( 200, undef, 'changed by hand', GET => $path );
    is( $body, "S" . substr( $content, 1 ), 'served as it is on disk' );
    truncate $s3->object_path( attachments => $key ), 3 or die $!;
    ( $headers, $body ) = answers( 200, undef, 'truncated by hand', GET => $path );
    is( $body, 'Som', 'served as it is on disk' );

    answers( 204, undef,       'DELETE',         DELETE => $path );
    answers( 204, undef,       'DELETE again',   DELETE => $path );
    answers( 404, 'NoSuchKey', 'GET of nothing', GET    => $path );
    is_deeply( [ $s3->objects('attachments') ], [], 'nothing is left' );

    answers( 200, undef, 'an empty object', PUT => '/attachments/empty' );
    ( $headers, $body ) = answers( 200, undef, 'comes back', GET => '/attachments/empty' );
    is( $body, '', 'empty' );
    answers( 200, undef, 'a key with blanks and a prefix', PUT => '/attachments/p/a%20b', body => $content );
    is( $s3->content( attachments => 'p/a b' ), $content, 'is kept under its name' );
};

subtest 'what arrives must be what was signed' => sub {
    my $path = '/attachments/signed';
    answers( 200, undef, 'right', PUT => $path, body => $content );
    my $bad = 'XAmzContentSHA256Mismatch';
    answers( 400, $bad, 'other content', PUT => $path, body => $content, signed_body => 'other' );
    answers( 400, $bad, 'no content', PUT => $path, signed_body => 'other' );
    is( $s3->content( attachments => 'signed' ), $content, 'the old object is kept' );
    answers( 400, $bad, 'a new object', PUT => '/attachments/new', body => $content, signed_body => 'other' );
    is( $s3->content( attachments => 'new' ), undef, 'is not made' );

    my %sha256 = ( 'x-amz-checksum-sha256' => encode_base64( sha256($content), '' ) );
    my %other  = ( 'x-amz-checksum-sha256' => encode_base64( sha256('other'),  '' ) );
    answers( 400, 'BadDigest', 'a wrong checksum', PUT => '/attachments/sum', body => $content, headers => \%other );
    is( $s3->content( attachments => 'sum' ), undef, 'leaves no object' );
    answers( 400, 'BadDigest', 'nor', PUT => $path, body => 'new', headers => \%other );
    is( $s3->content( attachments => 'signed' ), $content, 'touches the old one' );
    answers( 200, undef, 'a right one', PUT => '/attachments/sum', body => $content, headers => \%sha256 );
    my %mode = ( 'x-amz-checksum-mode' => 'ENABLED' );
    my ($headers) = answers( 200, undef, 'HEAD', HEAD => '/attachments/sum', headers => \%mode );
    is( $headers->{'x-amz-checksum-sha256'}, $sha256{'x-amz-checksum-sha256'}, 'says it if asked' );
    ($headers) = answers( 200, undef, 'HEAD', HEAD => '/attachments/sum' );
    is( $headers->{'x-amz-checksum-sha256'}, undef, 'and only then' );
};

subtest 'If-None-Match' => sub {
    my %condition = ( 'If-None-Match' => '*' );
    answers( 200, undef,                'new', PUT => '/attachments/once', body => $content, headers => \%condition );
    answers( 412, 'PreconditionFailed', 'there', PUT => '/attachments/once', body => 'new',  headers => \%condition );
    is( $s3->content( attachments => 'once' ), $content, 'the old object is kept' );

    # Both bodies are under way before either ends.
    my @slow = map { slowly( PUT => '/attachments/race', 'x' x 1000 . $_, headers => { 'if-none-match' => '*' } ) } 1,
        2;
    sleep 0.2;
    $_->{finish}->() for @slow;
    is( join( ' ', sort map { ( $_->{answer}->() )[0] } @slow ), '200 412', 'of two at once one wins' );
    like( $s3->content( attachments => 'race' ), qr/^x{1000}[12]\z/, 'with its content' );

    my $broken = slowly( PUT => '/attachments/broken', 'x' x 1000 );
    close $broken->{socket};
    for ( 1 .. 200 ) {
        last if $s3->requests( key => 'broken' );
        sleep 0.05;
    }
    is( $s3->content( attachments => 'broken' ), undef, 'an upload that breaks off leaves nothing' );
    is( scalar $s3->requests( key => 'broken' ), 1,     'but its line in the log' );
};

# Sends a request, signed here, but for the last byte of its body, if it has one.
sub slowly {
    my ( $method, $path, $body, %opt ) = @_;
    my @then = gmtime( $opt{time} // time );
    my ( $day, $date ) = ( strftime( '%Y%m%d', @then ), strftime( '%Y%m%dT%H%M%SZ', @then ) );
    my %headers = (
        host                   => $s3->host,
        'x-amz-content-sha256' => sha256_hex($body),
        'x-amz-date'           => $date,
        %{ $opt{headers} // {} },
    );
    my $signed     = join ';', sort keys %headers;
    my @lines      = map { $_ . ':' . $headers{$_} } sort keys %headers;
    my $text       = join "\n", $method, $path, '', @lines, '', $signed, sha256_hex($body);
    my $signature  = signature( $text, $date );
    my $credential = $s3->access_key . "/$day/us-east-1/s3/aws4_request";
    my $socket     = IO::Socket::INET->new( PeerAddr => $s3->host ) or die "connect: $@";
    print {$socket} join "\r\n", "$method $path HTTP/1.1", @lines,
        "Authorization: AWS4-HMAC-SHA256 Credential=$credential, SignedHeaders=$signed, Signature=$signature",
        'Content-Length: ' . length $body, 'Connection: close', '', $body =~ s/.\z//sr;
    return {
        socket => $socket,
        finish => sub { print {$socket} substr $body, -1 },
        answer => sub { local $/ = undef; return parse( scalar readline $socket ) },
    };
}

subtest 'who may do what' => sub {
    my ( $id, $secret, $path ) = ( $s3->access_key, $s3->secret_key, '/attachments/once' );
    answers( 403, 'SignatureDoesNotMatch', 'a wrong secret', GET => $path, user => "$id:wrong" );
    answers( 403, 'InvalidAccessKeyId',    'an unknown key', GET => $path, user => 'NOBODY:secret' );
    answers( 403, 'AccessDenied',          'no signature',   GET => $path, user => undef );
    answers( 200, undef,                   'another key',    GET => $path, user => 'SECOND:second' );
    answers(
        400, 'InvalidToken', 'a token that is none',
        GET     => $path,
        headers => { 'x-amz-security-token' => 'T' }
    );
    for ( [ -16, 403 ], [ -14, 200 ], [ 14, 200 ], [ 16, 403 ] ) {
        my ( $minutes, $status ) = @$_;
        my ( $got, undef, $body ) = slowly( GET => $path, '', time => time + 60 * $minutes )->{answer}->();
        is( $got, $status, "a clock $minutes minutes off" );
        like( $body, qr/<Code>RequestTimeTooSkewed</, 'says so' ) if $status != 200;
    }

    my @user = ( user => join ':', $s3->no_list_key );
    answers( 200, undef,          'without the right to list: an object', GET  => $path,                      @user );
    answers( 403, 'AccessDenied', 'a missing one',                        GET  => '/attachments/none',        @user );
    answers( 403, undef,          'HEAD of a missing one: bare',          HEAD => '/attachments/none',        @user );
    answers( 403, 'AccessDenied', 'a list',                               GET  => '/attachments?list-type=2', @user );
    answers( 200, undef,          'PUT', PUT => '/attachments/by-no-list', body => 'x', @user );

    $s3->make_bucket('public-bucket');
    answers( 200, undef,          'PUT into the public bucket', PUT => '/public-bucket/a',    body => 'x' );
    answers( 200, undef,          'anyone may read it',         GET => '/public-bucket/a',    user => undef );
    answers( 403, 'AccessDenied', 'but not see what is not',    GET => '/public-bucket/none', user => undef );
    answers( 403, 'AccessDenied', 'nor list',                   GET => '/public-bucket/',     user => undef );
    answers( 403, 'AccessDenied', 'nor write', PUT => '/public-bucket/b', body => 'x', user => undef );
};

subtest 'ways to it' => sub {
    my ( undef, $body ) = answers( 200, undef, 'https', GET => '/attachments/once', url => $s3->https );
    is( $body, $content, 'the same content' );
    for my $host (qw(attachments.localhost attachments.s3.test)) {
        for my $base ( $s3->http, $s3->https ) {
            my ( $scheme, $port ) = $base =~ /^(https?):.*:([0-9]+)\z/;
            my @curl = ( curl => [ '--resolve', "$host:$port:127.0.0.1" ] );
            ( undef, $body ) =
                answers( 200, undef, "$scheme://$host", GET => '/once', url => "$scheme://$host:$port", @curl );
            is( $body, $content, 'the same content' );
        }
    }
    my ($entry) = reverse $s3->requests( bucket => 'attachments', key => 'once' );
    like( $entry->{host}, qr/^attachments\.s3\.test:/, 'the log has the host' );
};

subtest 'log' => sub {
    $s3->clear_log;
    is( scalar $s3->log_lines, 0, 'nothing after clear_log' );
    answers( 200, undef, 'PUT', PUT => '/attachments/log%20ged', body => $content, headers => { 'X-Test' => 'yes' } );
    my @connections = $s3->connections;
    is( @connections, 1, 'one connection' );
    my ( $entry, @more ) = $s3->requests;
    is( @more, 0, 'one request' );
    my %expected = (
        connection     => $connections[0]{id},
        method         => 'PUT',
        uri            => '/attachments/log%20ged',
        host           => $s3->host,
        operation      => 'PutObject',
        bucket         => 'attachments',
        key            => 'log ged',
        status         => 200,
        code           => undef,
        request_bytes  => length $content,
        response_bytes => 0,
    );
    is( $entry->{$_},                $expected{$_}, $_ ) for sort keys %expected;
    is( $entry->{headers}{'x-test'}, 'yes',         'headers, in lower case' );
    like( $entry->{headers}{authorization}, qr/^AWS4-HMAC-SHA256 /, 'the authorization too' );
    like( $entry->{ms},                     qr/^[0-9.]+\z/,         'the time' );

    answers( 404, undef, 'HEAD', HEAD => '/attachments/none' );
    is( ( $s3->requests( operation => 'HeadObject' ) )[0]{code}, 'NoSuchKey', 'the code of a bare answer' );
    answers( 200, undef, 'GET', GET => '/attachments/once' );
    is( ( $s3->requests( method => 'GET' ) )[0]{response_bytes}, length $content, 'bytes sent' );
    my $base = $s3->http . '/attachments/once';
    system qw(curl -s -o /dev/null -o /dev/null), $base, $base;
    my @both = ( $s3->requests )[ -2, -1 ];
    is( $both[0]{connection},                $both[1]{connection}, 'two requests of one connection' );
    is( scalar $s3->connections( tls => 1 ), 0,                    'a filter' );
};

subtest 'faults' => sub {
    my ( $path, %condition ) = ( '/attachments/fault', 'If-None-Match' => '*' );
    my @put = ( PUT => $path, body => $content );
    $s3->faults(
        {
            operation => 'PutObject',
            nth       => [ 1, 3 ],
            do        => { answer => { status => 409, code => 'ConditionalRequestConflict' } }
        }
    );
    answers( 409, 'ConditionalRequestConflict', 'the first',         @put );
    answers( 200, undef,                        'the second',        @put );
    answers( 409, 'ConditionalRequestConflict', 'the third',         @put );
    answers( 200, undef,                        'another operation', GET => $path );

    $s3->faults(
        {
            key => 'fa*',
            do  => { answer => { status => 200, body => '<html>', headers => { 'Content-Type' => 'text/html' } } }
        }
    );
    my ( $headers, $body ) = answers( 200, undef, 'an HTML server', GET => $path );
    is( "$headers->{'content-type'} $body", 'text/html <html>', 'speaks HTML' );
    ($headers) = answers( 200, undef, 'and on PUT', @put );
    is( $headers->{etag}, undef, 'no ETag' );
    answers( 200, undef, 'another key', GET => '/attachments/once' );

    $s3->faults( { do => { ignore_condition => 1 } } );
    answers( 200, undef, 'a server that ignores the condition', PUT => $path, body => 'new', headers => \%condition );
    is( $s3->content( attachments => 'fault' ), 'new', 'writes' );
    $s3->faults( { do => { refuse_condition => 1 } } );
    answers( 501, 'NotImplemented', 'one that refuses it', @put, headers => \%condition );
    answers( 200, undef, 'and takes it without', @put );
    $s3->faults( { do => { drop_etag => 1 } } );
    ($headers) = answers( 200, undef, 'one without ETag', PUT => $path, body => 'newer' );
    is( $headers->{etag},                       undef,   'has none' );
    is( $s3->content( attachments => 'fault' ), 'newer', 'but does the work' );

    $s3->faults( { do => { raw => "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nwhat" } } );
    my $socket = IO::Socket::INET->new( PeerAddr => $s3->host ) or die $@;
    print {$socket} "GET $path HTTP/1.1\r\nHost: x\r\n\r\n";
    is( do { local $/ = undef; readline $socket }, "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nwhat",
        'raw bytes' );

    $s3->faults( { do => { delay_ms => 300 } } );
    my $start = time;
    answers( 200, undef, 'a slow one', GET => $path );
    cmp_ok( time - $start, '>=', 0.3, 'is slow' );
    $s3->faults( { mistake => 1 } );
    answers( 500, 'BadFaultRule', 'a rule with a mistake is not overlooked', GET => $path );
    $s3->faults;
    answers( 200, undef, 'no faults', GET => $path );
};

subtest 'a session token' => sub {
    my $with = Rts3::Test::S3Server->start( session_token => 'the/token=' );
    $with->make_bucket('attachments');
    my @request = ( GET => '/attachments?list-type=2', url => $with->http );
    answers( 403, 'InvalidAccessKeyId', 'none',  @request );
    answers( 400, 'InvalidToken',       'wrong', @request, headers => { 'x-amz-security-token' => 'other' } );
    answers( 200, undef,                'right', @request, headers => { 'x-amz-security-token' => 'the/token=' } );
};

subtest 'its life' => sub {
    my $dir   = File::Temp->newdir( TMPDIR => 1 );
    my $other = Rts3::Test::S3Server->start( dir => "$dir" );
    my ( $http, $pid ) = ( $other->http, $other->pid );
    $other->make_bucket('kept');
    my $child = fork // die "fork: $!";
    POSIX::_exit(0) if !$child;
    waitpid $child, 0;
    ok( kill( 0, $pid ), 'a child does not stop it' );

    $other->freeze;
    is( ( request( GET => '/kept', url => $http, curl => [ '--max-time', 1 ] ) )[0], 0, 'frozen: no answer' );
    $other->thaw;
    is( ( request( GET => '/kept', url => $http ) )[0], 200, 'thawed' );
    my $ca = _slurp( $other->ca );
    $other->stop;
    ok( !kill( 0, $pid ), 'stopped' );
    $other->restart;
    is( $other->http,                                   $http, 'again at the same address' );
    is( _slurp( $other->ca ),                           $ca,   'with the same authority' );
    is( ( request( GET => '/kept', url => $http ) )[0], 200,   'and the same buckets' );

    $pid = $other->pid;
    close delete $other->{in};
    my $ended = 0;
    for ( 1 .. 100 ) {
        $ended = waitpid( $pid, WNOHANG ) == $pid and last;
        sleep 0.02;
    }
    ok( $ended, 'ends when its standard input does' );
    delete $other->{pid};
};

sub _slurp {
    my ($name) = @_;
    open my $file, '<:raw', $name or die "$name: $!";
    my $text = do { local $/ = undef; readline $file };
    close $file or die "$name: $!";
    return $text;
}

done_testing;
