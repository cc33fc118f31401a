#!/usr/bin/perl
# Searches everything that the library can print for secrets. What may be there: the AccessKeyId, which is no secret.
# What RT prints: t/19-secrets-rt.t

use strict;
use warnings;

use Data::Dumper ();
use Digest::SHA  qw(sha256_hex);
use FindBin;
use IO::Socket::INET;
use JSON::PP     ();
use MIME::Base64 qw(encode_base64);
use POSIX        ();
use Storable     ();
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Leaks qw(found_in looks percent signing_keys);
use Rts3::Test::Needs qw(needs_library needs_s3);

delete @ENV{ grep {/_proxy$/i} keys %ENV };
my $id       = 'AKIDSEARCHEDFOR';
my $secret   = 'wJalrXUtn/FEMI+K7MDENGbPxRfiCYzExaMpLe12';
my $token    = 'FwoGZXIvYXdzEJr//wEaDTokenOfASession+qPzXwVuTsRq==';
my $password = 'pr0xyPa55:w0rd/xyz';
my $plain    = 'kQ7wZr2LmN8vTb4XsY6cHd1JfGp9KeRu3AaQoWiB';             # no character that is not allowed in a name
my $basic    = encode_base64( "proxyuser:$password", '' );
my $native   = needs_library;
my $s3       = needs_s3( access_key => $id, secret_key => $secret, session_token => $token );
my $content  = 'searched ' x 200;
my $key      = sha256_hex($content);
$s3->make_bucket('files');

# ---- what is collected, and the search

my @printed;                                                           # [where, text]

sub collect {
    my ( $where, @texts ) = @_;
    push @printed, map { [ $where, "$_" ] } grep {defined} @texts;
    return;
}

# ---- a server that is also a proxy, and gives back what it got: in /KIND-PLACE/key

my %kind = (
    authorization => sub { $_[0]{authorization} },
    signature     => sub { $_[0]{authorization} =~ s/.*Signature=//r },
    named         => sub { $_[0]{authorization} =~ s/.*(?=Signature=)//r },
    token         => sub { $_[0]{'x-amz-security-token'} // '' },
    secret        => sub {$secret},
    basic         => sub { $_[0]{'proxy-authorization'} // '' },
    user          => sub {"proxyuser:$password"},
    password      => sub {$password},
);
my %place = (
    message => sub { xml( 403, 'AccessDenied',          "you sent $_[0] to us" ) },
    cut     => sub { xml( 403, 'SignatureDoesNotMatch', 'x' x 180 . " $_[0]" ) },
    code    => sub { xml( 400, "Bad$_[0]",              'bad' ) },
    cutcode => sub { xml( 400, 'y' x 50 . $_[0],        'bad' ) },
    busy    => sub { xml( 503, 'SlowDown',              "slow down, $_[0]" ) },
    id      => sub { xml( 403, 'AccessDenied',          'no', "x-amz-request-id: $_[0]" ) },
    cutid   => sub { xml( 403, 'AccessDenied',          'no', 'x-amz-request-id: ' . 'z' x 50 . $_[0] ) },
    region  =>
        sub { xml( 301, 'PermanentRedirect', 'elsewhere', "x-amz-bucket-region: $_[0]", "Location: http://$_[0]/" ) },
    skew => sub { xml( 403, 'RequestTimeTooSkewed', $_[0], "Date: $_[0]" ) },
    all  => sub {
        my $more = join '',
            map {"<$_>$_[0]</$_>"} qw(StringToSign CanonicalRequest SignatureProvided Region Endpoint);
        return answer( 403, "<Error><Code>SignatureDoesNotMatch</Code>$more</Error>" );
    },
    page    => sub { answer( 502, "<html>$_[0]</html>", "Content-Type: text/$_[0]" ) },
    teapot  => sub { answer( 418, $_[0],                "Content-Type: text/$_[0]" ) },
    etag    => sub { answer( 200, $_[0],                "ETag: \"$_[0]\"", "x-amz-checksum-sha256: $_[0]" ) },
    length  => sub {"HTTP/1.1 200 OK\r\nContent-Length: $_[0]\r\n\r\n"},
    cutlen  => sub { "HTTP/1.1 200 OK\r\nContent-Length: " . 'x' x 30 . "$_[0]\r\n\r\n" },
    status  => sub {"HTTP/1.1 $_[0]\r\n\r\n"},
    banner  => sub {"$_[0]\r\n\r\n"},
    connect => sub {"HTTP/1.1 502 no: $_[0]\r\n\r\n"},
    tunnel  => sub {"HTTP/1.1 $_[0]\r\n\r\n"},
);

sub answer {
    my ( $status, $body, @headers ) = @_;
    return join "\r\n", "HTTP/1.1 $status Answer", 'Content-Length: ' . length $body, @headers, '', $body;
}

sub xml {
    my ( $status, $code, $message, @headers ) = @_;
    return answer( $status, "<Error><Code>$code</Code><Message>$message</Message></Error>", @headers );
}

my $listener = IO::Socket::INET->new( Listen => 20, LocalAddr => '127.0.0.1' ) or die "no socket: $!";
my $parent   = $$;
my $echo     = fork // die "no fork: $!";
if ( !$echo ) {
    alarm 120;
    while ( my $client = $listener->accept ) {
        my $head = '';
        while ( $head !~ /\r\n\r\n/ ) { sysread $client, $head, 4096, length $head or last }
        my ( $method, $kind, $place ) = $head =~ m{\A(\w+) (?:http://echo\.test/)?(\w+)[.-](\w+)} or next;
        my ($length) = ( $head =~ /^content-length: (\d+)/mi, 0 );
        while ( length($head) - index( $head, "\r\n\r\n" ) - 4 < $length ) {
            sysread $client, $head, 4096, length $head or last;
        }
        my %header = ( authorization => '', $head =~ /^([\w-]+): ([^\r]*)/mg );
        $header{ lc $_ } = $header{$_} for keys %header;
        my $answer = $place{$place}->( $kind{$kind}->( \%header ) );
        syswrite $client, $method eq 'HEAD' ? $answer =~ s/(?<=\r\n\r\n).*//sr : $answer;
    }
    POSIX::_exit(0);
}

END {
    if ( $echo && $$ == $parent ) {
        local $?;
        kill TERM => $echo;
        waitpid $echo, 0;
    }
}

# ---- what is done

my $count = 0;
my %keys  = ( AccessKeyId => $id, SecretAccessKey => $secret, SessionToken => $token );
my %quick = ( Retries     => 0, ReadTimeout => 0.2, ConnectTimeout => 0.5 );

# Every operation; the options must differ, or the last one's failures would be in the way
sub operate {
    my ( $where, %options ) = @_;
    my ( $handle, $error ) =
        $native->open( Host => $s3->http, %quick, Deadline => 0.4 + ++$count / 10_000, %options );
    if ( !$handle ) {
        collect( $where, $error->message, Data::Dumper::Dumper($error) );
        return;
    }
    collect( $where, map {"@$_"} $handle->drain );
    $handle->fail_fast(1);
    for my $call (
        sub { $handle->store( $key, $content, content_type => 'text/plain' ) },
        sub { $handle->get($key) },
        sub { $handle->head($key) },
        sub { $handle->delete($key) },
        sub { $handle->probe },
        sub { $handle->create_bucket },
        )
    {
        my ( undef, $failure ) = $call->();
        collect( $where, $failure, map {"@$_"} $handle->drain );
    }
    collect( $where, Data::Dumper::Dumper($handle) );
    return;
}

my @points = qw(upload received answered head body);
my @codes  = (
    [
        403 =>
            qw(AccessDenied SignatureDoesNotMatch InvalidAccessKeyId ExpiredToken InvalidToken RequestTimeTooSkewed)
    ],
    [ 404 => qw(NoSuchKey NoSuchBucket) ],
    [ 400 => qw(AuthorizationHeaderMalformed InvalidBucketName XAmzContentSHA256Mismatch ServerSideEncryption) ],
    [ 301 => 'PermanentRedirect' ],
    [ 409 => 'OperationAborted' ],
    [ 412 => 'PreconditionFailed' ],
    [ 500 => 'InternalError' ],
    [ 501 => 'NotImplemented' ],
    [ 503 => 'SlowDown' ],
);
my @faults = (
    (
        map {
            my ( $status, @all ) = @$_;
            map { { answer => { status => $status, code => $_ } } } @all
        } @codes
    ),
    ( map { { answer => { status => $_, body => '<html>' } } } 200, 206, 302, 307, 403, 404, 407, 418, 502, 505 ),
    (
        map {
            my $how = $_;
            map {
                { $how => { at => $_ } }
            } @points
        } qw(stall reset close)
    ),
    (
        map { { raw => $_ } } '',
        "SSH-2.0\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"
    ),
    (
        map {
            { $_ => 1 }
        } qw(ignore_condition refuse_condition drop_etag rate upload_rate)
    ),
    ( map { { keep   => $_ } } 'nothing', { bytes => 9 }, { flip => 9 } ),
    ( map { { length => $_ } } 'missing', 'chunked', { add => 5 }, { add => -5 }, { say => 'abc' } ),
    ( map { { flip   => { at => $_, offset => 5 } } } qw(body upload) ),
    (
        map { { region => { name => 'eu-west-1', refuse => $_, location => 'http://127.0.0.1:1' } } }
            qw(moved malformed garage redirect)
    ),
    ( map { { clock_s => $_ } } 1200, -1200 ),
    { delay_ms       => 300 },
    { close_ms       => 0 },
    { reset_ms       => 0 },
    { header_bytes   => 300_000 },
    { headers        => { 'x-amz-meta-a' => "\x{fc}" } },
    { latin1_headers => { etag           => "\x{fc}" } },
);

sub every_fault {
    for my $fault (@faults) {
        my $bucket = 'b' . ++$count;
        $s3->make_bucket($bucket);
        $s3->faults( { bucket => $bucket, do => $fault } );
        my $name = JSON::PP->new->canonical->encode($fault);
        operate( "fault $name", %keys, Bucket => $bucket );
    }
    $s3->faults;
    operate( $_, %keys, Bucket => 'files', Host => $s3->$_, CAFile => $s3->ca )
        for qw(https https_unknown_ca https_expired https_other_name https_tls11 https_stall https_plain);
    operate( 'other keys',  %keys, Bucket => 'files', SecretAccessKey => $plain );
    operate( 'other id',    %keys, Bucket => 'files', AccessKeyId     => 'AKIDOTHER' );
    operate( 'other token', %keys, Bucket => 'files', SessionToken    => $plain );
    operate( 'no server',   %keys, Bucket => 'files', Host            => 'http://127.0.0.1:1' );
    operate( 'well',        %keys, Bucket => 'files' );
    return;
}

sub every_echo {
    my @proxy = ( Proxy => "http://proxyuser:" . percent($password) . '@127.0.0.1:' . $listener->sockport );
    for my $kind ( sort keys %kind ) {
        operate( "echo $kind $_", %keys, @proxy, Host => 'http://echo.test', Bucket => "$kind-$_" )
            for grep { !/connect|tunnel/ } sort keys %place;
        operate( "echo $kind $_", %keys, @proxy, Host => "https://$kind.$_", Bucket => 'b' ) for qw(connect tunnel);
    }
    return;
}

my @names = grep { !/^(?:Type|SecretAccessKey|SessionToken|AccessKeyId)$/ }
    map { split /, / }
    map { $_->[1] =~ /allowed are (.*)/ } ( $native->open( Bucket => 'x', Colour => 1 ) )[0]->drain;

my $proxy = "proxyuser:$password\@proxy.test";

sub every_mistake {
    my %good = ( %keys, Bucket => 'files' );
    for my $name (@names) {
        operate( "$name is the secret", %good, $name => $_, SecretAccessKey => $_ ) for $secret, $plain;
        operate( "$name is the token", %good, $name => $token );
    }
    operate( 'a name is the secret', %good, $_ => 'x', SecretAccessKey => $_ ) for $secret, $plain;
    for my $name (qw(SecretAccessKey SessionToken)) {
        operate( "$name $_", %good, $name => "$secret$_" ) for " ", "\n", "\x{e4}", "\x{1f512}", "\0", ' or what';
        operate( "$name is empty",       %good, $name => '' );
        operate( "$name is a reference", %good, $name => [$secret] );
    }
    for my $name (qw(Host Proxy)) {
        for my $scheme ( '', 'http://', 'socks5://' ) {
            operate( "$name is $_", %good, $name => $_ ) for "$scheme$proxy", "$scheme$proxy/path", "$scheme$proxy:x";
        }
    }
    operate( 'half a pair', Bucket => 'files', SecretAccessKey => $secret, SessionToken => $token );
    {
        local $ENV{http_proxy} = "socks5://$proxy";
        operate( 'a proxy in the environment', %good );
    }
    return;
}

sub only_in_the_wrong_place {
    my %good = ( %keys, Bucket => 'files', SecretAccessKey => 'files' );
    operate( "$_ is the secret, which is nowhere else", %good, $_      => $secret ) for @names;
    operate( 'a name is the secret',                    %good, $secret => 'x' );
    return;
}

sub a_proxy_elsewhere {
    for my $name ( grep { !/^(?:Host|Proxy)$/ } @names ) {
        operate( "$name is a proxy", %keys, Bucket => 'files', $name => "$_$proxy" ) for qw(http:// socks5://);
    }
    return;
}

# ---- the search

# In a child, with what makes others print a lot
sub in_child {
    my ($work) = @_;
    my %file   = map { $_ => $s3->dir . "/child.$_" } qw(out err found keylog);
    my $child  = fork // die "no fork: $!";
    if ( !$child ) {
        my $ok = eval {
            local @ENV{qw(RUST_LOG RUST_BACKTRACE SSLKEYLOGFILE)} = ( 'trace', 'full', $file{keylog} );
            open STDOUT, '>', $file{out} or die "$file{out}: $!";    ## no critic (RequireBriefOpen)
            open STDERR, '>', $file{err} or die "$file{err}: $!";    ## no critic (RequireBriefOpen)
            @printed = ();
            $work->();
            STDOUT->flush;
            STDERR->flush;
            Storable::nstore( \@printed, $file{found} );
        };
        print STDERR $@ if !$ok;
        POSIX::_exit( $ok ? 0 : 1 );
    }
    waitpid $child, 0;
    is( $?, 0, 'the child came to its end' ) or diag slurp( $file{err} );
    ok( !-e $file{keylog}, 'no file of TLS keys' );
    my @found = @{ Storable::retrieve( $file{found} ) };
    return ( @found, map { [ "standard $_" => slurp( $file{$_} ) ] } qw(out err) );
}

my @needles = (
    ( map { looks($_) } $secret, $token, $password, $plain ),
    lc "proxyuser:",
    lc $basic, map { signing_keys( $_, 'us-east-1' ) } $secret, $plain
);

sub signatures {
    return map { ( lc, lc substr $_, 0, 16 ) } slurp( $s3->log_file ) =~ /Signature=([0-9a-f]{64})/g;
}

sub search {
    my ( $name, @texts ) = @_;
    my @found = found_in( [ @needles, signatures() ], @texts );
    is( scalar @found, 0, "$name: no secret in " . @texts . ' texts' )
        or diag join "\n", @found[ 0 .. ( @found > 7 ? 7 : $#found ) ];
    return;
}

for my $group (
    [ 'every fault',                 \&every_fault ],
    [ 'echoes',                      \&every_echo ],
    [ 'mistakes',                    \&every_mistake ],
    [ 'a proxy in the wrong option', \&a_proxy_elsewhere ],
    [ 'a key in the wrong option',   \&only_in_the_wrong_place ],
    )
{
    my ( $name, $work ) = @$group;
    my @texts = in_child($work);
    search( $name, @texts );
    cmp_ok( scalar( grep { $_->[1] =~ /\*\*\*/ } @texts ), '>', 200, '... though they were given back' )
        if $name eq 'echoes';
}

# ---- the search does find what is there

my ($signature) = signatures();
for my $planted (
    $secret,
    lc $secret,
    percent($secret),
    encode_base64( $secret, '' ),
    scalar reverse($token),
    unpack( 'H*', $password ),
    substr( $secret, 7, 12 ),
    $basic,
    "Signature=$signature",
    $signature,
    'Authorization: x',
    'AWS4-HMAC-SHA256',
    ( signing_keys( $secret, 'us-east-1' ) )[2]
    )
{
    my @found = found_in( [ @needles, signatures() ], [ here => "some $planted and more" ], [ there => 'nothing' ] );
    is( scalar @found, 1, 'found if it is there: ' . substr $planted, 0, 30 );
}
my @ids = found_in( [ lc $id ],
    in_child( sub { collect( a => 'nothing' ); collect( b => "key $id" ); print STDERR "key $id\n" } ) );
is( scalar @ids, 2, 'an AccessKeyId is found where it was printed' );
is( scalar found_in( [ @needles, signatures() ], [ here => "AccessKeyId $id, AuthorizationHeaderMalformed" ] ),
    0, '... but is no secret' );

done_testing;
