#!/usr/bin/perl
# Security on the wire: TLS, redirects, what goes out in clear. What is printed: t/17-secrets.t; headers: t/18-strangers.t

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL        ();
use IO::Socket::SSL::Utils qw(CERT_create PEM_cert2file);
use JSON::PP               qw(decode_json);
use MIME::Base64           qw(encode_base64);
use POSIX                  ();
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs_library needs_s3);
use Rts3::Test::Process;

delete @ENV{ grep {/_proxy$/i} keys %ENV };
delete @ENV{qw(SSL_CERT_FILE SSL_CERT_DIR OPENSSL_CONF)};
my $token  = 'a-token/of+one=session';
my $native = needs_library;
my $s3     = needs_s3( session_token => $token );
$s3->make_bucket('files');

my $content  = 'from a stranger ' x 100;
my $key      = sha256_hex($content);
my $deadline = 20;

# A handle of its own for each call: the breaker of one does not know the other's failures
sub opened {
    my ( $host, %options ) = @_;
    $deadline += 0.1;
    my ( $handle, $error ) = $native->open(
        Bucket          => 'files',
        Host            => $host,
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $s3->secret_key,
        SessionToken    => $token,
        Retries         => 0,
        Deadline        => $deadline,
        %options,
    );
    return $handle // die "$error\n";
}

sub round_trip {
    my $handle = opened(@_);
    for my $call ( sub { $handle->store( $key, $content ) }, sub { $handle->get($key) },
        sub { $handle->delete($key) } )
    {
        my ( $value, $error ) = $call->();
        return $error->name . ": $error" if !defined $value;
        return 'other bytes'             if length $value > 64 && $value ne $content;
    }
    return 'well';
}

# ---- servers of the test's own, in children that end with it

my @children;
my $parent = $$;

END {
    if ( $$ == $parent ) {
        local $?;
        kill TERM => @children;
        waitpid $_, 0 for @children;
    }
}

sub listener { return IO::Socket::INET->new( Listen => 20, LocalAddr => '127.0.0.1' ) || die "no socket: $!" }

# Each connection is served by a child: its port
sub serve {
    my ($serve)  = @_;
    my $listener = listener();
    my $child    = fork // die "no fork: $!";
    if ( !$child ) {
        alarm 120;
        local $SIG{CHLD} = 'IGNORE';
        local $SIG{TERM} = 'DEFAULT';
        while (1) {
            my $client = $listener->accept or next;
            next if fork;
            alarm 60;
            eval { $serve->($client) };
            POSIX::_exit(0);
        }
    }
    push @children, $child;
    return $listener->sockport;
}

sub join_both {
    my ( $client, $upstream ) = @_;
    my $both = IO::Select->new( $client, $upstream );
    while ( my @ready = $both->can_read ) {
        for my $from (@ready) {
            my $to = $from == $client ? $upstream : $client;
            do {
                sysread $from, my $bytes, 16_384 or return;
                while ( length $bytes ) {
                    substr $bytes, 0, ( syswrite( $to, $bytes ) || return ), '';
                }
            } while $from->can('pending') && $from->pending;
        }
    }
    return;
}

# The S3 server behind TLS of one version only, with the version really spoken in a file
sub tls_only {
    my ( $version, $spoken ) = @_;
    my @authority = CERT_create( CA => 1, subject => { commonName => 'authority' } );
    my ( $certificate, $cert_key ) = CERT_create(
        subject         => { commonName => 'localhost' },
        subjectAltNames => [ [ DNS => 'localhost' ] ],
        purpose         => 'server',
        issuer          => \@authority,
    );
    my $pem = $s3->dir . "/$version.pem";
    PEM_cert2file( $authority[0], $pem );
    my $port = serve(
        sub {
            my $client = IO::Socket::SSL->start_SSL(
                $_[0],
                SSL_server  => 1,
                SSL_version => $version,
                SSL_cert    => $certificate,
                SSL_key     => $cert_key,
            ) or return;
            spew( $spoken, $client->get_sslversion );
            join_both( $client, IO::Socket::INET->new( $s3->host ) );
        }
    );
    return ( "https://localhost:$port", $pem );
}

subtest 'versions of TLS' => sub {
    for my $version (qw(TLSv1_2 TLSv1_3)) {
        my $spoken = $s3->dir . "/$version.spoken";
        my ( $url, $ca ) = tls_only( $version, $spoken );
        is( round_trip( $url, CAFile => $ca ), 'well',   "only $version" );
        is( slurp($spoken),                    $version, '... and it was spoken' );
    }
    my $old = round_trip( $s3->https_tls11, CAFile => $s3->ca );
    like( $old, qr/^network: PUT .*no TLS with localhost:\d+: .*(?:unsupported protocol|protocol version)/,
        'TLS 1.1' );
};

# ---- certificates

sub refused {
    my ( $host, $reason, $name, %options ) = @_;
    $s3->clear_log;
    my $said = round_trip( $host, %options );
    like( $said, qr/^network: PUT .*no TLS with localhost:\d+: .*certificate verify failed.*$reason/, $name );
    is( $s3->requests, 0, '... and no request was sent' );
    return $said;
}

my $unknown = qr/unable to get local issuer|self.signed/;
my @ca      = ( CAFile => $s3->ca );

subtest 'certificates' => sub {
    is( round_trip( $s3->https, @ca ), 'well', 'an authority in CAFile' );
    my $said = refused( $s3->https, $unknown, 'an authority that nobody knows' );
    like( $said, qr/option CAFile/, '... the message tells what to do' );
    $said = refused( $s3->https_unknown_ca, $unknown, 'another authority than that in CAFile', @ca );
    like( $said, qr/option CAFile/, '... the message tells what to do' );
    my $expired = refused( $s3->https_expired,    qr/has expired/,       'an expired one',       @ca );
    my $other   = refused( $s3->https_other_name, qr/hostname mismatch/, 'one for another name', @ca );
    unlike( $_, qr/option CAFile/, 'no advice that does not help' ) for $expired, $other;
};

subtest 'nothing turns the check off' => sub {
    my @names = map { split /, / } map { $_->[1] =~ /allowed are (.*)/ } opened( $s3->http, Colour => 1 )->drain;
    cmp_ok( scalar @names, '>', 20, 'all options' );
    is_deeply( [ grep {/verif|insecure|check(?!sum$)|trust|ssl|tls|cert/i} @names ], [], '... none is about it' );
    for my $mistake ( map { ( [ $_ => 0 ], [ $_ => 'none' ] ) } grep { !/^(?:Type|Bucket|Host|Proxy)$|Key/ } @names )
    {
        my $handle = eval { opened( $s3->https, ConnectTimeout => 2, @$mistake ) } or next;
        my ( undef, $error ) = $handle->head($key);
        like( $error->message, $unknown, "@$mistake" );
    }
    my %lax = (
        PERL_LWP_SSL_VERIFY_HOSTNAME => 0,
        HTTPS_CA_FILE                => $s3->ca,
        HTTPS_CA_DIR                 => '/',
        PERL_LWP_SSL_CA_FILE         => $s3->ca,
        AWS_CA_BUNDLE                => $s3->ca,
        CURL_CA_BUNDLE               => $s3->ca,
        NODE_TLS_REJECT_UNAUTHORIZED => 0,
        PYTHONHTTPSVERIFY            => 0,
        GIT_SSL_NO_VERIFY            => 1,
    );
    {
        local @ENV{ keys %lax } = values %lax;
        refused( $s3->https, $unknown, 'variables of other programs: unknown authority' );
        refused( $s3->https_other_name, qr/hostname mismatch/, '... wrong name', @ca );
    }

    # What is true of OpenSSL's own: it adds, or replaces, the authorities of the system, and no more
    local $ENV{SSL_CERT_FILE} = $s3->ca;
    is( round_trip( $s3->https ), 'well', 'SSL_CERT_FILE adds an authority' );
    refused( $s3->https_expired,    qr/has expired/,       '... but an expired certificate' );
    refused( $s3->https_other_name, qr/hostname mismatch/, '... and a wrong name are refused' );
};

# OpenSSL reads its configuration once in each process
subtest "OpenSSL's configuration" => sub {
    my $file = $s3->dir . '/lax.cnf';
    spew( $file, <<'END' );
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
MinProtocol = TLSv1
MaxProtocol = TLSv1.3
CipherString = ALL:@SECLEVEL=0
END
    my $code =
          'use RT::ExternalStorage::AmazonS3::Native; my ($s3) = RT::ExternalStorage::AmazonS3::Native->open(@ARGV);'
        . 'my ( undef, $error ) = $s3->head( "0" x 64 ); print $error->message';
    my $run = Rts3::Test::Process::run(
        command => [
            $^X, "-I$FindBin::Bin/../perl/lib", '-e', $code,
            Bucket          => 'files',
            Host            => $s3->https_tls11,
            CAFile          => $s3->ca,
            AccessKeyId     => 'ID',
            SecretAccessKey => 'secret',
            Retries         => 0,
        ],
        env => { %ENV, OPENSSL_CONF => $file },
    );
    like(
        $run->{out},
        qr/no TLS with localhost:\d+: .*(?:unsupported protocol|protocol version)/,
        'TLS 1.1, allowed there'
    );
};

subtest 'through a proxy' => sub {
    my $proxy = '127.0.0.1:' . serve(
        sub {
            my ($client) = @_;
            my $head = '';
            sysread $client, $head, 1, length $head or return while $head !~ /\r\n\r\n\z/;
            my ($server) = $head =~ /\ACONNECT (\S+) / or return;
            syswrite $client, "HTTP/1.1 200 Connection established\r\n\r\n";
            join_both( $client, IO::Socket::INET->new($server) );
        }
    );
    my @proxy = ( Proxy => "http://$proxy" );
    is( round_trip( $s3->https, @ca, @proxy ), 'well', 'a tunnel' );
    refused( $s3->https,            $unknown,              'an unknown authority',            @proxy );
    refused( $s3->https_unknown_ca, $unknown,              'another one than that in CAFile', @proxy, @ca );
    refused( $s3->https_expired,    qr/has expired/,       'an expired certificate',          @proxy, @ca );
    refused( $s3->https_other_name, qr/hostname mismatch/, 'a wrong name',                    @proxy, @ca );
};

# ---- http

subtest 'http is warned about' => sub {
    my $warned = sub {
        return scalar grep { $_->[0] eq 'warning' && $_->[1] =~ /^option Host begins with http:\/\// } @_;
    };
    my @again = ( Deadline => 19 );
    my $first = opened( $s3->http, @again );
    is( $warned->( $first->drain ), 1, 'once' );
    my $second = opened( $s3->http, @again );
    is( $second->id, $first->id, 'opened twice: the same' );
    $second->get($key) for 1 .. 3;
    is( $warned->( $first->drain, $second->drain ),               0, '... no second time' );
    is( $warned->( opened( $s3->https, @ca )->drain ),            0, 'https: no' );
    is( $warned->( opened( $s3->host, @ca )->drain ),             0, 'no scheme, which is https: no' );
    is( $warned->( opened( $s3->http =~ s/http/HTTP/r )->drain ), 1, 'in capitals' );
    is( $warned->( opened( $s3->http, map { $_ => undef } qw(AccessKeyId SecretAccessKey SessionToken) )->drain ),
        0, 'nothing secret: no' );
};

# ---- redirects

subtest 'redirects to another host' => sub {
    my $elsewhere = listener();
    my $there     = IO::Select->new($elsewhere);
    my $port      = $elsewhere->sockport;
    opened( $s3->http )->store( $key, $content );
    for my $status ( 301, 302, 303, 307, 308 ) {
        for my $host ( "http://127.0.0.1:$port", "https://localhost:$port" ) {
            my $location = "$host/files/$key";
            my %headers  = ( location => $location, 'x-amz-bucket-region' => 'eu-west-1' );
            my $xml      = '<Error><Code>PermanentRedirect</Code><Message>go there</Message>'
                . "<Endpoint>127.0.0.1:$port</Endpoint><Region>eu-west-1</Region></Error>";
            for my $answer ( { body => '' }, { body => $xml }, { body => $xml, headers => \%headers } ) {
                $s3->faults(
                    { do => { answer => { headers => { location => $location }, %$answer, status => $status } } } );
                my $handle = opened( $s3->http );
                my @errors = map { ( $_->() )[1] } sub { $handle->get($key) }, sub { $handle->head($key) },
                    sub { $handle->store( sha256_hex('x'), 'x' ) }, sub { $handle->delete($key) },
                    sub { $handle->probe },
                    sub { $handle->create_bucket };
                is( scalar( grep {defined} @errors ), 6, "$status to $host: every call fails" );
            }
        }
    }
    ok( !$there->can_read(0.1), 'nobody went there' );
    $s3->faults;
};

# ---- what went over the wire in all of this

my ( @leaks, $tokens );
for my $line ( split /\n/, slurp( $s3->log_file ) ) {
    my $entry = decode_json($line);
    next if $entry->{event} ne 'request';
    my $sent = delete $entry->{headers}{'x-amz-security-token'} // '';
    $tokens++ if $sent eq $token;
    my $rest = JSON::PP->new->encode($entry);
    push @leaks, $rest
        if $sent ne $token && $sent ne ''
        || grep { $rest =~ /\Q$_\E/i }
        map { ( $_, encode_base64( $_, '' ), s/(\W)/sprintf '%%%02X', ord $1/ger ) } $token, $s3->secret_key;
}
cmp_ok( $tokens, '>', 100, 'the session token went in its header' );
is_deeply( \@leaks, [], '... and nowhere else, and the secret key not at all' );

done_testing;
