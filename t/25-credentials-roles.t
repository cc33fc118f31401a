#!/usr/bin/perl
# Keys by way of AWS's files and of its token service: profiles, roles, programs, and what can't be used is named.
use strict;
use warnings;

use File::Temp;
use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File            qw(slurp spew);
use Rts3::Test::Metadata        ();
use Rts3::Test::Metadata::Child qw(calls in_child);
use Rts3::Test::Needs           qw(needs_library needs_s3);

my $native = needs_library;
my $s3     = needs_s3( keys => { USER => 'secret/of+USER', MINE => 'secret/of+MINE' } );
my %users  = ( USER => 'secret/of+USER' );
my $aws    = Rts3::Test::Metadata->start( s3 => $s3, users => \%users );
my $dir    = File::Temp->newdir;
my %file   = ( AWS_SHARED_CREDENTIALS_FILE => "$dir/credentials", AWS_CONFIG_FILE => "$dir/config" );
$s3->make_bucket('files');
my ( $key, $content ) = Rts3::Test::Metadata::Child::object();
spew( $s3->object_path( files => $key ), $content );
my %options = ( Bucket => 'files', Host => $s3->http, Deadline => 15, Retries => 0 );

# What a process with these files and variables says
sub says {
    my ( $files, $environment, $more ) = @_;
    spew( "$dir/$_", $files->{$_} // '' ) for qw(credentials config);
    $aws->forget;
    $s3->clear_log;
    return in_child( { %file, $aws->sts, %{ $environment // {} } },
        sub { calls( $native, { %options, Profile => 'rt', %{ $more // {} } }, 'get' ) } );
}

sub signer {
    my ($request) = reverse $s3->requests;
    return $request && $request->{headers}{authorization} =~ /Credential=([^\/]+)/ ? $1 : 'nobody';
}

sub reads_with {
    my ( $name, $who, @process ) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $said = says(@process);
    is( $said->{get}, 'ok', $name ) or diag $said->{get_error};
    return like( signer(), $who, '... with those keys' );
}

sub refuses {
    my ( $name, $message, @process ) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $said = says(@process);
    is( $said->{error}, 'credentials', $name );
    like( $said->{get_error}, $message, '... what the message says' );
    unlike( $said->{get_error}, qr{secret/of|\n}, '... in one line, without secrets' );
    return is( signer(), 'nobody', '... and S3 is not asked' );
}

my $user = "[user]\naws_access_key_id = USER\naws_secret_access_key = secret/of+USER\n";
my $mine = "aws_access_key_id = MINE\naws_secret_access_key = secret/of+MINE\n";

subtest 'two files' => sub {
    reads_with( 'credentials', qr/^MINE\z/, { credentials => "[rt]\n$mine" } );
    reads_with( 'config',      qr/^MINE\z/, { config      => "[profile rt]\n$mine" } );
    reads_with(
        'both: credentials go first',
        qr/^MINE\z/,
        {
            credentials => "[rt]\n$mine",
            config      => "[profile rt]\naws_access_key_id = X\naws_secret_access_key = Y\n"
        }
    );
    reads_with( 'blanks, comments, cases and ends of lines',
        qr/^MINE\z/,
        { credentials => "\xef\xbb\xbf# a\r\n; b\r\n[ rt ]\r\n" . ( $mine =~ s/ = /=/gr =~ s/^aws/AWS/gr ) } );
    reads_with( 'the home directory', qr/^MINE\z/, {}, { home("[rt]\n$mine"), map { $_ => undef } keys %file } );
    refuses( 'a section of config without its word', qr/there is no profile 'rt'/, { config => "[rt]\n$mine" } );
    refuses(
        'a section of credentials with it',
        qr/there is no profile 'rt'/,
        { credentials => "[profile rt]\n$mine" }
    );
    refuses(
        'half a pair',
        qr/profile: the profile 'rt' has aws_access_key_id without aws_secret_access_key/,
        { credentials => "[rt]\naws_access_key_id = MINE\n" }
    );
    refuses(
        'the other half',
        qr/profile: the profile 'rt' has aws_secret_access_key without aws_access_key_id/,
        { credentials => "[rt]\naws_secret_access_key = secret/of+MINE\n" }
    );
    refuses( 'an empty profile', qr/profile: the profile 'rt' has no keys/, { credentials => "[rt]\n" } );
    refuses( 'a broken file',    qr/profile: .*'rt'/, { credentials => "[rt\n\0\x01aws_access_key_id\n=\n[[[\n]" } );
    refuses( 'a file that is no text', qr/profile: can't read \S+/, { credentials => "[rt]\n\xff\xfe\n$mine" } );
    my $temporary =
        "[rt]\naws_access_key_id = TEMPORARY\naws_secret_access_key = tsecret\naws_session_token = t/o+k==\n";
    $s3->set_key( TEMPORARY => secret => 'tsecret', token => 't/o+k==', expires => time + 600 );
    reads_with( 'a session token', qr/^TEMPORARY\z/, { credentials => $temporary } );
};

# HOME of a user with this file of credentials
my @homes;

sub home {
    my ($credentials) = @_;
    push @homes, my $home = File::Temp->newdir;
    mkdir "$home/.aws" or die "$home: $!";
    spew( "$home/.aws/credentials", $credentials );
    return ( HOME => "$home" );
}

subtest 'what is not supported is named' => sub {
    for my $setting (
        'sso_session = x',
        'sso_start_url = https://x',
        'sso_account_id = 1',
        "mfa_serial = arn:aws:iam::1:mfa/x\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = user"
        )
    {
        my ($name) = $setting =~ /^(\w+)/;
        refuses(
            $name,
            qr/profile: the profile 'rt' has $name, which is not supported/,
            { credentials => $user, config => "[profile rt]\n$setting\n" }
        );
    }
    refuses(
        'sso in the default profile, which nobody named',
        qr/profile: the profile 'default' has sso_session, which is not supported/,
        { config => "[default]\nsso_session = x\n" },
        { $aws->instance },
        { Profile => undef }
    );
    is( scalar $aws->requests, 0, '... and the instance is not asked' );
};

subtest 'a role' => sub {
    my $role = "[profile rt]\nrole_arn = arn:aws:iam::123456789012:role/rt-files\nsource_profile = user\n";
    reads_with( 'source_profile', qr/^ASIAASSUMEROLE\d/, { credentials => $user, config => $role } );
    my ( $request, @more ) = $aws->requests;
    is( @more,                                                           0, '... one request' );
    is( "$request->{method} $request->{what} $request->{form}{Version}", 'POST AssumeRole 2011-06-15', '... to STS' );
    is( $request->{form}{RoleArn}, 'arn:aws:iam::123456789012:role/rt-files', '... for that role' );
    like( $request->{form}{RoleSessionName},  qr/^[\w+=,.@-]{2,64}\z/, '... with the name of a session' );
    like( $request->{headers}{authorization}, qr{Credential=USER/\d{8}/us-east-1/sts/}, '... signed for STS' );

    reads_with( 'all that a role may say', qr/^ASIAASSUMEROLE\d/, { credentials => $user, config => <<"END" } );
${role}external_id = ex&ter nal/1
role_session_name = rt\@example.com
duration_seconds = 1800
region = eu-west-1
END
    ($request) = $aws->requests;
    is_deeply(
        [ @{ $request->{form} }{qw(ExternalId RoleSessionName DurationSeconds)} ],
        [ 'ex&ter nal/1', 'rt@example.com', 1800 ],
        '... it says'
    );
    like( $request->{headers}{authorization}, qr{/eu-west-1/sts/}, '... in the region of the profile' );

    for my $name (qw(AWS_DEFAULT_REGION AWS_REGION)) {
        reads_with(
            $name, qr/^ASIAASSUMEROLE\d/,
            { credentials => $user, config => $role },
            { $name       => 'ap-south-1' }
        );
        like( ( $aws->requests )[0]{headers}{authorization}, qr{/ap-south-1/sts/}, '... that region' );
    }
    reads_with(
        'https', qr/^ASIAASSUMEROLE\d/,
        { credentials => $user, config => $role },
        { $aws->sts( $aws->https ) },
        { CAFile => $s3->ca, Host => $s3->https }
    );
    is( ( $aws->requests )[0]{is_tls}, 1, '... with CAFile' );
    my $strange = says( { credentials => $user, config => $role }, { $aws->sts( $aws->https ) } );
    is( $strange->{error},     'credentials', 'https with an authority that nobody knows' );
    is( scalar $aws->requests, 0,             '... gets no request' );

    reads_with( 'a role of a role', qr/^ASIAASSUMEROLE\d/, { credentials => $user, config => <<"END" } );
[profile rt]
role_arn = arn:aws:iam::2:role/second
source_profile = first
[profile first]
role_arn = arn:aws:iam::1:role/first
source_profile = user
END
    my @requests = $aws->requests;
    is(
        join( ' ', map { $_->{form}{RoleArn} } @requests ),
        'arn:aws:iam::1:role/first arn:aws:iam::2:role/second',
        '... in turn'
    );
    is(
        $requests[1]{headers}{'x-amz-security-token'},
        $requests[0]{given}{token},
        '... the second with keys of the first'
    );
    reads_with( 'a profile that is its own source', qr/^ASIAASSUMEROLE\d/, { config => <<'END' } );
[profile rt]
role_arn = arn:aws:iam::1:role/r
source_profile = rt
aws_access_key_id = USER
aws_secret_access_key = secret/of+USER
END
    refuses( 'a loop', qr/is its own source_profile in the end/, { config => <<'END' } );
[profile rt]
role_arn = arn:aws:iam::1:role/r
source_profile = other
[profile other]
role_arn = arn:aws:iam::1:role/r
source_profile = third
[profile third]
role_arn = arn:aws:iam::1:role/r
source_profile = other
END
    refuses( 'a source that is not there', qr/there is no profile 'user'/, { config => $role } );
    refuses(
        'no source',
        qr/has role_arn without source_profile or credential_source/,
        { config => "[profile rt]\nrole_arn = arn:aws:iam::1:role/r\n" }
    );
    refuses(
        'two sources',
        qr/has both source_profile and credential_source/,
        { credentials => $user, config => "${role}credential_source = Environment\n" }
    );
};

subtest 'credential_source' => sub {
    my $role        = "[profile rt]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source =";
    my @environment = ( AWS_ACCESS_KEY_ID => 'USER', AWS_SECRET_ACCESS_KEY => 'secret/of+USER' );
    my %instance    = ( $aws->instance, AWS_EC2_METADATA_DISABLED => undef );
    my $assumed     = qr/^ASIAASSUMEROLE\d/;
    reads_with( 'Environment',  $assumed, { config => "$role Environment\n" },  {@environment} );
    reads_with( 'EcsContainer', $assumed, { config => "$role EcsContainer\n" }, { $aws->container } );
    is( join( ' ', map { $_->{what} } $aws->requests ), 'container AssumeRole', '... in turn' );
    reads_with( 'Ec2InstanceMetadata', $assumed, { config => "$role Ec2InstanceMetadata\n" }, \%instance );
    is( join( ' ', map { $_->{what} } $aws->requests ), 'token role keys AssumeRole', '... in turn' );
    refuses(
        'one that is not there',
        qr/AWS_ACCESS_KEY_ID is not set/,
        { config => "$role Environment\n" }, \%instance
    );
    refuses(
        'one that does not exist',
        qr/credential_source 'Moon': allowed are Environment, EcsContainer and Ec2Inst/,
        { config => "$role Moon\n" }
    );
};

subtest 'web_identity_token_file' => sub {
    spew( "$dir/identity", 'good' );
    $aws->set( identities => ['good'] );
    my $role =
        "[profile rt]\nrole_arn = arn:aws:iam::1:role/r\nrole_session_name = me\nweb_identity_token_file = $dir/identity\n";
    reads_with( 'in a profile', qr/^ASIAASSUMEROLEWITHWEBIDENTITY/, { config => $role } );
    my ($request) = $aws->requests;
    is( $request->{form}{RoleSessionName},  'me',  '... with its name' );
    is( $request->{headers}{authorization}, undef, '... not signed' );
    $aws->set( users => \%users );
};

# The mock as a proxy that lets nobody through: it notes who is asked for
subtest 'the address of STS' => sub {
    my $role = "role_arn = arn:aws:iam::1:role/r\nsource_profile = user\n";
    for my $case (
        [ 'us-east-1.amazonaws.com'     => {} ],
        [ 'ap-south-1.amazonaws.com'    => {}, { Region => 'ap-south-1' } ],
        [ 'eu-west-1.amazonaws.com'     => { AWS_REGION         => 'eu-west-1' }, { Region => 'ap-south-1' } ],
        [ 'eu-west-2.amazonaws.com'     => { AWS_DEFAULT_REGION => 'eu-west-2' } ],
        [ 'cn-north-1.amazonaws.com.cn' => { AWS_REGION         => 'cn-north-1' } ],
        )
    {
        my ( $host, $environment, $more ) = @$case;
        my $said = says(
            { credentials          => $user,      config => "[profile rt]\n$role" },
            { AWS_ENDPOINT_URL_STS => undef,      %$environment },
            { Proxy                => $aws->http, %{ $more // {} } }
        );
        my ($request) = $aws->requests( method => 'CONNECT' );
        is( $request->{path}, "sts.$host:443", "sts.$host" );
        like( $said->{get_error}, qr/profile: AssumeRole: .*proxy/, '... through the proxy' );
    }
    refuses(
        'a region that is none',
        qr/the region of the token service, in AWS_REGION or the profile, is not one/,
        { credentials => $user, config => "[profile rt]\n$role" },
        { AWS_REGION  => 'example.com/' }
    );
    refuses(
        'an address that is none',
        qr/AWS_ENDPOINT_URL_STS can't be used/,
        { credentials          => $user, config => "[profile rt]\n$role" },
        { AWS_ENDPOINT_URL_STS => 'example.com' }
    );
};

subtest 'what STS says' => sub {
    my %files = (
        credentials => $user,
        config      => "[profile rt]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = user\n"
    );
    refuses(
        'a wrong secret',
        qr/AssumeRole is answered with status 403, SignatureDoesNotMatch: /,
        { %files, credentials => $user =~ s/\+USER/+ANOTHER/r }
    );
    $aws->set( users => \%users, external_id => 'x' );
    refuses( 'denied', qr/profile: AssumeRole is answered with status 403, AccessDenied: not authorized/, \%files );
    for my $status ( 400, 500, 503 ) {
        $aws->set( users => \%users, AssumeRole => { status => $status, code => 'Throttling' } );
        refuses( "status $status", qr/AssumeRole is answered with status $status, Throttling/, \%files );
    }
    my $html = '<html>' . 'x' x 5000;
    for my $body ( '', $html, '<AssumeRoleResponse/>', '{}' ) {
        $aws->set( users => \%users, AssumeRole => { body => $body } );
        refuses( "'" . substr( $body, 0, 20 ) . "'", qr/AssumeRole: it gives no AccessKeyId/, \%files );
    }
    $aws->set( users => \%users, AssumeRole => { keys => { Expiration => 'now' } } );
    refuses( 'no time', qr/AssumeRole: it gives an Expiration that is no time/, \%files );
    $aws->set( users => \%users, AssumeRole => { reset => 1 } );
    refuses( 'a reset', qr/AssumeRole: the connection to \S+ broke/, \%files );
    $aws->set( users => \%users );
    $aws->stop;
    refuses( 'nobody there', qr/AssumeRole: can't connect to 127\.0\.0\.1:\d+/, \%files );
    $aws->restart;
};

subtest 'credential_process' => sub {
    my $program = "$dir/pro gram";
    my $says    = sub {
        my ( $script, $arguments ) = @_;
        spew( $program, "#!/bin/sh\n$script\n" );
        chmod 0755, $program or die "$program: $!";
        return { config => qq([profile rt]\ncredential_process = "$program" ) . ( $arguments // '' ) . "\n" };
    };
    my %keys = ( Version => 1, AccessKeyId => 'MINE', SecretAccessKey => 'secret/of+MINE' );
    my $print =
        sub { my $json = JSON::PP->new->canonical->encode( { %keys, @_ } ); return "cat <<'END'\n$json\nEND" };
    reads_with( 'its keys',  qr/^MINE\z/, $says->( $print->() ) );
    reads_with( 'arguments', qr/^MINE\z/, $says->( q([ "$1|$2" = "a b|c" ] || exit 1; ) . $print->(), q("a b" c) ) );
    my %end = ( Expiration => '2099-01-02T03:04:05Z' );
    reads_with( 'with an end', qr/^MINE\z/, $says->( $print->(%end) ) );
    reads_with( 'something to standard error, and nothing read from standard input',
        qr/^MINE\z/, $says->( 'echo something >&2; cat >/dev/null;' . $print->() ) );
    my @bad = (
        [ 'no JSON',          'echo keys',                                      'JSON' ],
        [ 'nothing',          ':',                                              'JSON' ],
        [ 'no Version',       $print->( Version => undef ),                     'Version' ],
        [ 'another Version',  $print->( Version => 2 ),                         'Version other than 1' ],
        [ 'no secret',        $print->( SecretAccessKey => undef ),             'SecretAccessKey' ],
        [ 'an odd end',       $print->( Expiration => 'soon' ),                 'Expiration that is no time' ],
        [ 'a failure',        'echo "secret/of+MINE" >&2; exit 3',              'failed' ],
        [ 'one that is over', $print->( Expiration => '2020-01-01T00:00:00Z' ), 'expired already' ],
    );
    refuses( $_->[0], qr/profile: .*\Q$_->[2]/, $says->( $_->[1] ) ) for @bad;
    refuses(
        'no such program',
        qr/profile: credential_process failed: /,
        { config => "[profile rt]\ncredential_process = /nowhere/at-all\n" }
    );

    my $said = says( $says->( "echo \$\$ > $dir/pid\nsleep 60\n" . $print->() ) );
    like( $said->{get_error}, qr/profile: credential_process failed: it takes too long/, 'one that does not end' );
    cmp_ok( $said->{seconds}[0], '<', 12.5, '... is waited for ten seconds' );
    cmp_ok( $said->{seconds}[0], '>', 9,    '... and not less' );
    my ($pid) = slurp("$dir/pid") =~ /(\d+)/;
    unlike( slurp("/proc/$pid/stat"), qr/\) [^Z]/, '... and ended' );
};

subtest 'the recipes of docs/credentials.md' => sub {
    my $guide   = slurp("$FindBin::Bin/../docs/credentials.md");
    my @recipes = $guide =~ /^( {4}Set\(%ExternalStorage,\n(?: {8}.*\n)+)/mg;
    is( @recipes, 7, 'configurations' );
    for my $recipe (@recipes) {
        my %written = $recipe =~ /(\w+)\s+=> '([^']*)'/g;
        my ( $handle, $error ) = $native->open(%written);
        is_deeply( [ $handle ? map {"@$_"} $handle->drain : $error->message ], [], join ' ', %written );
    }
    my ($credentials) = $guide =~ m{^ {4}# /etc/rt-aws/credentials.*\n((?: {4}.*\n)+)}m;
    my ($config)      = $guide =~ m{^ {4}# /etc/rt-aws/config.*\n((?: {4}.*\n)+)}m;
    s/^ {4}//mg for $credentials, $config;
    $credentials =~ s/\Q.../MINE/;
    $credentials =~ s{\Q...}{secret/of+MINE};
    reads_with( 'the profile', qr/^MINE\z/, { credentials => $credentials } );
    $aws->set( external_id => '...' );
    reads_with(
        'the role in another account',
        qr/^ASIAASSUMEROLE\d/,
        { config                                    => $config },
        { $aws->instance, AWS_EC2_METADATA_DISABLED => undef }
    );
};

done_testing;
