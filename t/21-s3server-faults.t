#!/usr/bin/perl
# The faults of the S3 server that the other tests use, seen on the wire by a client that has nothing of ours.
use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha256_hex hmac_sha256 hmac_sha256_hex);
use Errno       qw(ECONNRESET EPIPE EWOULDBLOCK);
use FindBin;
use IO::Select;
use IO::Socket::INET;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::S3Server;

my $s3 = eval { Rts3::Test::S3Server->start };
if ( !$s3 ) {
    die $@ unless $@ =~ /build it with/;
    plan skip_all => $@;
}
local $SIG{PIPE} = 'IGNORE';
$s3->make_bucket('bucket');
my $content = join '', map { chr( ord('a') + $_ % 26 ) } 0 .. 999;

# The head of a signed request.
sub head {
    my ( $method, $path, %opt ) = @_;
    my ( $body, $region ) = ( $opt{body} // '', $opt{region} // 'us-east-1' );
    my @then = gmtime( time + ( $opt{later} // 0 ) );
    my ( $day, $date ) = ( strftime( '%Y%m%d', @then ), strftime( '%Y%m%dT%H%M%SZ', @then ) );
    my %headers = (
        host                   => $s3->host,
        'x-amz-content-sha256' => sha256_hex($body),
        'x-amz-date'           => $date,
        %{ $opt{headers} // {} },
    );
    my ( $uri, $query ) = split /[?]/, $path, 2;
    my $signed  = join ';', sort keys %headers;
    my @lines   = map { $_ . ':' . $headers{$_} } sort keys %headers;
    my $request = join "\n", $method, $uri, $query // '', @lines, '', $signed, sha256_hex($body);
    my $scope   = "$day/$region/s3/aws4_request";
    my $key     = 'AWS4' . $s3->secret_key;
    $key = hmac_sha256( $_, $key ) for split m{/}, $scope;
    my $signature = hmac_sha256_hex( join( "\n", 'AWS4-HMAC-SHA256', $date, $scope, sha256_hex($request) ), $key );
    my $signed_by = 'Credential=' . $s3->access_key . "/$scope, SignedHeaders=$signed, Signature=$signature";
    return join "\r\n", "$method $path HTTP/1.1", @lines, "Authorization: AWS4-HMAC-SHA256 $signed_by",
        ( length $body ? 'Content-Length: ' . length $body : () ), '', '';
}

sub dial { return IO::Socket::INET->new( PeerAddr => $_[0] // $s3->host ) // die "connect: $@" }

# What comes on a connection within some time: bytes, how it ended (end, reset, silence), and after how many seconds.
sub take {
    my ( $socket, $wait,  $enough ) = @_;
    my ( $start,  $bytes, $end )    = ( time, '', 'silence' );
    my $ready = IO::Select->new($socket);
    while ( $ready->can_read( $start + $wait - time ) ) {
        my $read = sysread $socket, $bytes, 65536, length $bytes;
        if ( !$read ) {
            $end = defined $read ? 'end' : $! == ECONNRESET ? 'reset' : "error $!";
            last;
        }
        last if $enough && _is_whole($bytes);
    }
    return ( $bytes, $end, time - $start );
}

sub _is_whole {
    my ($bytes) = @_;
    my ( $head, $body ) = split /\r\n\r\n/, $bytes, 2;
    return defined $body && $head =~ /^content-length: ([0-9]+)/im && length $body >= $1;
}

# A request on a connection of its own, until its answer is there.
sub ask {
    my ( $method, $path, %opt ) = @_;
    my $socket = $opt{socket} // dial();
    my $closed = $opt{open} ? '' : "Connection: close\r\n";
    print {$socket} head( $method, $path, %opt ) =~ s/(?=\r\n\z)/$closed/r . ( $opt{body} // '' );
    my ( $bytes, $end, $seconds ) = take( $socket, $opt{wait} // 10, $opt{open} );
    my ( $head, $body ) = split /\r\n\r\n/, $bytes, 2;
    my %headers  = map { /^([^:]+):\s*(.*)\z/ ? ( lc $1 => $2 ) : () } split /\r\n/, $head // '';
    my ($status) = $bytes =~ m{^HTTP/1\.1 ([0-9]+)};
    return {
        bytes   => $bytes,
        end     => $end,
        seconds => $seconds,
        status  => $status // 0,
        headers => \%headers,
        body    => $body // '',
        code    => ( $body // '' ) =~ m{<Code>(.*?)</Code>} ? $1 : '',
    };
}

# The server has logged this as the fault of the last request.
sub fired {
    my ($name) = @_;
    my ($last) = reverse $s3->requests;
    return is( $last->{fault}, $name, '... fault ' . ( $name // 'none' ) );
}

sub put { return ask( PUT => '/bucket/key', body => $content, @_ ) }
sub get { return ask( GET => '/bucket/key', @_ ) }

sub clean {
    $s3->faults;
    unlink $s3->object_path( bucket => 'key' );
    return is( put()->{status}, 200, 'no fault' );
}

subtest 'no fault' => sub {
    clean;
    fired(undef);
    my $answer = get;
    is( "$answer->{status} $answer->{body}", "200 $content", 'the content' );
};

for my $how (qw(stall reset close)) {
    my $end  = { stall => 'silence', reset => 'reset', close => 'end' }->{$how};
    my @wait = ( wait => $how eq 'stall' ? 0.5 : 10 );
    subtest "$how" => sub {
        clean;
        for ( [ 'received', undef ], [ 'answered', 1 ], [ 'upload', undef ] ) {
            my ( $at, $kept ) = @$_;
            unlink $s3->object_path( bucket => 'key' );
            $s3->faults( { operation => 'PutObject', do => { $how => { at => $at } } } );
            my $answer = put @wait;
            is( "$answer->{end} $answer->{bytes}", "$end ", "$at: no answer" );
            fired("$how:$at");
            is( $s3->content( bucket => 'key' ), $kept && $content, $kept ? '... kept' : '... nothing is kept' );
        }
        clean;
        $s3->faults( { do => { $how => { at => 'head', after => 12 } } } );
        my $answer = get @wait;
        is( "$answer->{end} $answer->{bytes}", "$end HTTP/1.1 200", 'head: the first bytes of the answer' );
        fired("$how:head");
        for my $after ( 0, 7 ) {
            $s3->faults( { do => { $how => { at => 'body', after => $after } } } );
            $answer = get @wait;
            is( $answer->{end},                       $end,   "body after $after" );
            is( $answer->{headers}{'content-length'}, 1000,   '... the whole length is told' )   if $how ne 'reset';
            is( length $answer->{body},               $after, '... and so many bytes are sent' ) if $how ne 'reset';
            fired("$how:body");
        }
        $s3->faults( { do => { $how => { at => 'body', after => 1000 } } } );
        is( get->{body}, $content, 'behind the end: nothing happens' );
        fired(undef);
        $s3->faults( { do => { $how => { at => 'head' } } } );
        $answer = get @wait;
        is( "$answer->{end} $answer->{bytes}", "$end ", 'head: nothing' );
    };

    subtest "$how in an upload" => sub {
        my $size = 16 * 1024 * 1024;
        $s3->faults( { do => { $how => { at => 'upload', after => 100_000 } } } );
        my $socket = dial;
        my $text   = head( PUT => '/bucket/large', body => 'x' x $size ) . 'x' x $size;
        my ( $sent, $error, $ready ) = ( 0, 0, IO::Select->new($socket) );
        $socket->blocking(0);
        my $start = time;
        while ( $sent < length $text && $ready->can_write(1) ) {
            my $written = syswrite $socket, $text, 65536, $sent;
            if ( !defined $written ) {
                next if $! == EWOULDBLOCK;
                $error = $! + 0;
                last;
            }
            $sent += $written;
        }
        if ( $how eq 'stall' ) {
            cmp_ok( $sent, '<', $size, "it takes $sent bytes and no more" );
            is( $error, 0, '... and goes on living' );
        }
        elsif ( $how eq 'reset' ) {
            ok( $error == ECONNRESET || $error == EPIPE, 'writing fails' );
        }
        else {
            my ( $bytes, $end ) = take( $socket, 5 );
            is( "$end $bytes", 'end ', 'the end, without an answer' );
        }
        fired("$how:upload");
        is( ( $s3->requests )[-1]{request_bytes}, 100_000, 'so many bytes were read' );
        is( $s3->content( bucket => 'large' ),    undef,   'nothing is kept' );
    };
}

subtest 'a stall ends with the client' => sub {
    $s3->faults( { do => { stall => { at => 'body', after => 5 } } } );
    $s3->clear_log;
    get wait => 0.2;
    my $closed = 0;
    for ( 1 .. 50 ) {
        $closed = grep { $_->{event} eq 'closed' } $s3->log_lines and last;
        sleep 0.05;
    }
    ok( $closed, 'its connection is given up' );
};

subtest 'speed' => sub {
    clean;
    $s3->faults( { do => { rate => 1 } } );
    my $answer = get wait => 2.5;
    is( length $answer->{body}, 3, 'one byte per second, the first at once' );
    $s3->faults( { do => { rate => 1000 } } );
    $answer = get;
    is( $answer->{body}, $content, '1000 per second' );
    cmp_ok( $answer->{seconds}, '>', 0.8, "took $answer->{seconds} s" );
    fired('rate');
    $s3->faults( { do => { upload_rate => 1000, delay_ms => 100 } } );
    $answer = put;
    is( $answer->{status}, 200, 'a slow reader' );
    cmp_ok( $answer->{seconds}, '>', 0.9, "took $answer->{seconds} s" );
    fired('upload_rate+delay');
};

subtest 'damage' => sub {
    clean;
    $s3->faults( { do => { flip => { at => 'body', offset => 500 } } } );
    my $answer = get;
    my $wrong  = $content;
    substr( $wrong, 500, 1 ) = chr( 0xff ^ ord substr $wrong, 500, 1 );
    is( $answer->{body},          $wrong,                        'one byte is another one' );
    is( $answer->{headers}{etag}, '"' . md5_hex($content) . '"', 'the rest is right' );
    fired('flip:body');
    $s3->faults( { do => { flip => { at => 'upload', offset => 999 } } } );
    $answer = put;
    is( "$answer->{status} $answer->{code}", '400 XAmzContentSHA256Mismatch',
        'an upload that is damaged on its way' );
    fired('flip:upload');
    $s3->faults( { do => { flip => { at => 'upload', offset => 1000 } } } );
    is( put->{status}, 200, 'behind its end: nothing happens' );
    fired(undef);
};

subtest 'success, and not all is kept' => sub {
    clean;
    my $etag  = '"' . md5_hex('new content') . '"';
    my $wrong = 'new content' =~ s/ /\xdf/r;
    for ( [ 'nothing', $content ], [ { bytes => 3 }, 'new' ], [ { bytes => 0 }, '' ], [ { flip => 3 }, $wrong ] ) {
        my ( $keep, $kept ) = @$_;
        $s3->faults( { do => { keep => $keep } } );
        my $answer = ask( PUT => '/bucket/key', body => 'new content' );
        is( "$answer->{status} $answer->{headers}{etag}", "200 $etag", 'success' );
        fired('keep');
        is( $s3->content( bucket => 'key' ), $kept, '... but kept is something else' );
        $s3->faults;
        is( get->{headers}{etag}, $etag, '... under the ETag that was told' ) if $keep ne 'nothing';
    }
    unlink $s3->object_path( bucket => 'key' );
    $s3->faults( { do => { keep => 'nothing' } } );
    is( put->{status},                          200,   'success' );
    is( $s3->content( bucket => 'key' ),        undef, 'and nothing' );
    is( ask( HEAD => '/bucket/key' )->{status}, 404,   'HEAD says so' );
    my %other = ( 'x-amz-content-sha256' => sha256_hex('other') );
    is( ask( PUT => '/bucket/key', body => 'x', headers => \%other )->{status}, 403,
        'what is refused stays refused' );
};

subtest 'lengths' => sub {
    clean;
    for ( [ { add => -1 }, 999 ], [ { add => 5 }, 1005 ], [ { say => 'abc' }, 'abc' ], [ { say => '-1' }, '-1' ] ) {
        my ( $length, $told ) = @$_;
        $s3->faults( { do => { length => $length } } );
        my $answer = get;
        is( $answer->{headers}{'content-length'}, $told,    "Content-Length: $told" );
        is( $answer->{body},                      $content, '... with the right content' );
        fired('length');
        is( ask( HEAD => '/bucket/key' )->{headers}{'content-length'}, $told, '... also for HEAD' );
    }
    $s3->faults( { do => { length => { add => 5 } } } );
    is( get( open => 1, wait => 0.3 )->{end}, 'silence', 'the connection stays open' );
    $s3->faults( { do => { length => 'missing' } } );
    my $answer = get( open => 1 );
    is( join( ' ', grep {/length|transfer/} keys %{ $answer->{headers} } ), '',             'no length' );
    is( "$answer->{end} $answer->{body}",                                   "end $content", '... but an end' );
    $s3->faults( { do => { length => 'chunked' } } );
    $answer = get;
    is( $answer->{headers}{'transfer-encoding'}, 'chunked',                      'chunked' );
    is( $answer->{body},                         "3E8\r\n$content\r\n0\r\n\r\n", '... and complete' );
    fired('length');
};

subtest 'headers' => sub {
    clean;
    $s3->faults( { do => { headers => { 'x-amz-meta-a' => "\x{fc}\x{20ac}" }, header_bytes => 1_000_000 } } );
    my $answer = get;
    is( $answer->{headers}{'x-amz-meta-a'},           "\xc3\xbc\xe2\x82\xac", 'UTF-8' );
    is( length $answer->{headers}{'x-amz-meta-long'}, 1_000_000,              'a long one' );
    is( $answer->{body},                              $content,               'the content' );
    fired('headers');
    $s3->faults( { do => { latin1_headers => { 'x-amz-meta-a' => "\x{fc}" } } } );
    is( get->{headers}{'x-amz-meta-a'}, "\xfc", 'ISO 8859-1' );
};

subtest 'answers' => sub {
    my $malformed = '<?xml version="1.0"?><Error><Code>Slow';
    $s3->faults( { do => { answer => { status => 503, body => $malformed, headers => { 'Retry-After' => 7 } } } } );
    my $answer = get;
    is( "$answer->{status} $answer->{headers}{'retry-after'} $answer->{body}", "503 7 $malformed", 'broken XML' );
    fired('answer');
    $s3->faults( { do => { answer => { status => 500, code => 'InternalError', pad => 10_000_000 } } } );
    $answer = get;
    is( "$answer->{status} $answer->{code}", '500 InternalError', 'a long error' );
    cmp_ok( length $answer->{body}, '>', 10_000_000, '... of 10 MB' );

    for my $status ( 301, 400 ) {
        $s3->faults( { do => { answer => { status => $status, code => 'X' } } } );
        $answer = ask( HEAD => '/bucket/key' );
        is( "$answer->{status} $answer->{body}", "$status ", "HEAD: a bare $status" );
    }
    $s3->faults( { do => { raw => 'nonsense' } } );
    is( get->{bytes}, 'nonsense', 'raw bytes' );
    fired('raw');
};

subtest 'the end of a connection that was kept' => sub {
    clean;
    for ( [ close => 'end' ], [ reset => 'reset' ] ) {
        my ( $how, $end ) = @$_;
        $s3->faults( { do => { "${how}_ms" => 0 } } );
        my $socket = dial;
        my $answer = get( socket => $socket, open => 1 );
        is( $answer->{body},                $content, 'a complete answer' );
        is( $answer->{headers}{connection}, undef,    '... that does not announce it' );
        is( ( take( $socket, 5 ) )[1],      $end,     "... then the connection ends: $how" );
        fired("${how}_ms");
    }
    $s3->faults( { nth => [1], do => { close_ms => 400 } }, { operation => 'X', do => {} } );
    my $socket = dial;
    is( get( socket => $socket, open => 1 )->{body}, $content, 'an answer' );
    is( get( socket => $socket, open => 1 )->{body}, $content, '... and another one in time' );
    is( ( take( $socket, 0.8 ) )[1], 'silence', '... for which the connection stays' );
    $s3->faults( { do => { close_ms => 300 } } );
    ok( ask( PUT => '/bucket/key', body => $content, socket => $socket, open => 1 )->{status}, 'PUT' );
    my ( undef, $end, $seconds ) = take( $socket, 5 );
    is( $end, 'end', '... ends it' );
    cmp_ok( $seconds, '>', 0.2, "... after $seconds s" );
};

subtest 'regions' => sub {
    clean;
    my @xml  = qw(Region Endpoint);
    my $told = sub {
        my ($answer) = @_;
        my %found = $answer->{body} =~ m{<(Region|Endpoint)>(.*?)</}g;
        return join ' ', $answer->{status}, $answer->{code},
            map { $_ // '-' } $answer->{headers}{'x-amz-bucket-region'},
            @found{@xml};
    };
    my ( $name, $endpoint ) = ( 'eu-test-1', 'bucket.s3.eu-test-1.amazonaws.com' );
    my @location = ( location => 'http://other.test:99' );
    my $moved    = { refuse => 'moved', header => 0, xml => 0 };
    for (
        [ { refuse => 'moved' },               "301 PermanentRedirect $name $name $endpoint",    "301  $name - -" ],
        [ $moved,                              '301 PermanentRedirect - - -',                    '301  - - -' ],
        [ { header => 0 },                     "400 AuthorizationHeaderMalformed - $name -",     '400  - - -' ],
        [ { refuse => 'malformed' },           "400 AuthorizationHeaderMalformed $name $name -", "400  $name - -" ],
        [ { xml => 0 },                        "400 AuthorizationHeaderMalformed $name - -",     "400  $name - -" ],
        [ { refuse => 'garage' },              "400 AuthorizationHeaderMalformed - $name -",     '400  - - -' ],
        [ { refuse => 'redirect', @location }, "307 TemporaryRedirect $name - other.test:99",    "307  $name - -" ],
        )
    {
        my ( $region, $get, $head ) = @$_;
        $s3->faults( { do => { region => { name => $name, %$region } } } );
        my $answer = get;
        is( $told->($answer), $get, $get );
        fired('region');
        is( $told->( ask( HEAD => '/bucket/key' ) ), $head,                  '... HEAD' );
        is( get( region => $name )->{body},          $content,               '... the right region' );
        is( put( region => $name )->{status},        200,                    '... PUT' );
        is( put->{code},                             ( split / /, $get )[1], '... PUT for the wrong one' );
        like(
            $answer->{body},
            qr{unexpected scope: '[0-9]{8}/us-east-1/s3/aws4_request', expected: '[0-9]{8}/$name/s3},
            '... its words'
        ) if ( $region->{refuse} // '' ) eq 'garage';
        is( $answer->{headers}{location}, 'http://other.test:99/bucket/key', '... Location' ) if $get =~ /^307/;
    }
    $s3->faults(
        { bucket    => 'bucket',    do => { region => { name   => $name } } },
        { operation => 'GetObject', do => { answer => { status => 503 } } }
    );
    is( put->{status},                                  400, 'beside another rule' );
    is( get->{status},                                  503, '... which applies too' );
    is( ask( GET => '/', region => 'any-1' )->{status}, 200, 'no bucket, no region' );
    like( ask( GET => '/bucket?location=', region => $name )->{body}, qr{>\Q$name\E</Loc}, 'GetBucketLocation' );
};

subtest 'clocks' => sub {
    clean;
    for my $clock ( 1200, -1200 ) {
        $s3->faults( { do => { clock_s => $clock } } );
        my $answer = get;
        is( "$answer->{status} $answer->{code}", '403 RequestTimeTooSkewed', "$clock s" );
        fired('clock');
        like( $answer->{body}, qr{<RequestTime>[0-9]{8}T[0-9]{6}Z</RequestTime>}, '... the time of the request' );
        like( $answer->{body}, qr{<ServerTime>[0-9]{4}-[0-9-]{5}T[0-9:]{8}[.0-9]*Z</}, '... of the server' );
        like( $answer->{body}, qr{<MaxAllowedSkewMilliseconds>900000</},               '... and how much may be' );
        my $date = strftime( '%a, %d %b %Y %H:%M', gmtime( time + $clock ) );
        like( $answer->{headers}{date}, qr/^\Q$date\E/, '... Date' );
        is( get( later => $clock )->{body},         $content, '... by its own time' );
        is( put( later => $clock )->{status},       200,      '... PUT' );
        is( ask( HEAD => '/bucket/key' )->{status}, 403,      '... HEAD' );
        is( ask( HEAD => '/bucket/key' )->{body},   '',       '... bare' );
    }
    $s3->faults( { do => { clock_s => 600 } } );
    is( get->{status}, 200, 'a clock that is off, but not too much' );
    fired(undef);
};

subtest 'when rules fire' => sub {
    clean;
    my @do     = ( do => { answer => { status => 503 } } );
    my $status = sub {
        $s3->faults( { @_, @do } );
        return join ' ', map { get->{status} } 1 .. 4;
    };
    is( $status->(), '503 503 503 503', 'always' );
    is( $status->( nth    => [ 1, 3 ] ),        '503 200 503 200', 'nth' );
    is( $status->( nth    => [ 1, 3, '...' ] ), '503 200 503 503', 'nth and so on' );
    is( $status->( from   => 2 ),               '200 503 503 503', 'from' );
    is( $status->( nth    => [1], from => 4 ),  '503 200 200 503', 'both' );
    is( $status->( chance => 0 ),               '200 200 200 200', 'never by chance' );
    is( $status->( chance => 1 ),               '503 503 503 503', 'surely' );
    $s3->faults( { chance => 0.5, @do } );
    my $hits = grep { get->{status} == 503 } 1 .. 60;
    ok( $hits > 5 && $hits < 55, "$hits of 60 by chance" );
};

subtest 'a range of what was not changed' => sub {
    clean;
    my $etag = get->{headers}{etag};
    my $part = sub {
        my ( $range, $if_match ) = @_;
        my $answer = get( headers => { range => "bytes=$range", 'if-match' => $if_match } );
        return join ' ', grep {length} $answer->{status}, $answer->{code}, $answer->{headers}{'content-range'} // '';
    };
    is( $part->( '5-9',   $etag ),     '206 bytes 5-9/1000',     'a part' );
    is( $part->( '990-',  $etag ),     '206 bytes 990-999/1000', 'the end' );
    is( $part->( '1000-', $etag ),     '416 InvalidRange',       'behind the end' );
    is( $part->( '5-9',   '"other"' ), '412 PreconditionFailed', 'of another object' );
    is( $part->( '1000-', '"other"' ), '412 PreconditionFailed', '... also behind its end' );
    sleep 0.02;
    open my $file, '+<:raw', $s3->object_path( bucket => 'key' ) or die $!;
    print {$file} 'X';
    close $file or die $!;
    my $changed = '"' . md5_hex( 'X' . substr $content, 1 ) . '"';
    is( get->{headers}{etag},                          $changed,                 'changed on disk: another ETag' );
    is( ask( HEAD => '/bucket/key' )->{headers}{etag}, $changed,                 '... HEAD' );
    is( $part->( '5-9', $etag ),                       '412 PreconditionFailed', '... the old one does not match' );
    is( $part->( '5-9', $changed ),                    '206 bytes 5-9/1000',     '... but the new one' );
};

subtest 'TLS' => sub {
    plan skip_all => 'no curl here' if system('curl --version >/dev/null 2>&1') != 0;
    my $curl = sub {
        my ($url) = @_;
        system qw(curl -s -o /dev/null --max-time 1 --cacert), $s3->ca, $url;
        return $? >> 8;
    };
    is( $curl->( $s3->https ),            0,  'right' );
    is( $curl->( $s3->https_unknown_ca ), 60, 'an unknown authority' );
    is( $curl->( $s3->https_expired ),    60, 'expired' );
    is( $curl->( $s3->https_other_name ), 60, 'another name' );
    is( $curl->( $s3->https_tls11 ),      35, 'TLS 1.1' );
    is( $curl->( $s3->https_stall ),      28, 'no handshake' );
    is( $curl->( $s3->https_plain ),      35, 'no TLS' );

    for ( [ reset => 56 ], [ close => 18, 56 ], [ stall => 28 ] ) {
        my ( $how, @codes ) = @$_;
        $s3->faults( { do => { answer => { status => 200, pad => 100 }, $how => { at => 'body', after => 5 } } } );
        my $code = $curl->( $s3->https );
        ok( ( grep { $_ == $code } @codes ), "$how within TLS: $code" );
        fired("answer+$how:body");
    }
    $s3->faults;
};

subtest 'a server with a region, an owner and encryption' => sub {
    $s3 = Rts3::Test::S3Server->start( region => 'eu-test-1', owner => '123456789012', encryption => 1 );
    $s3->make_bucket('bucket');
    is( put->{code}, 'AuthorizationHeaderMalformed', 'another region' );
    my @region = ( region                         => 'eu-test-1' );
    my %header = ( 'x-amz-server-side-encryption' => 'AES256', 'x-amz-expected-bucket-owner' => '123456789012' );
    my $answer = put( @region, headers => \%header );
    is( "$answer->{status} $answer->{headers}{'x-amz-server-side-encryption'}", '200 AES256', 'encrypted' );
    $header{'x-amz-expected-bucket-owner'} = '999999999999';
    $answer = put( @region, headers => \%header );
    is( "$answer->{status} $answer->{code}", '403 AccessDenied', 'another owner' );
};

done_testing;
