#!/usr/bin/perl
# Where keys come from: each source, their order, and that one which does not work is never passed over. Every process
# here has an environment of its own; profiles and roles: t/25-credentials-roles.t
use strict;
use warnings;

use File::Temp;
use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File            qw(spew);
use Rts3::Test::Metadata        ();
use Rts3::Test::Metadata::Child qw(calls in_child);
use Rts3::Test::Needs           qw(needs_library needs_s3);

my $native = needs_library;
my $s3     = needs_s3( keys => { map { ( $_ => "secret/of+$_" ) } qw(ENVIRONMENT PROFILE DEFAULT) } );
my $aws    = Rts3::Test::Metadata->start( s3 => $s3 );
my $dir    = File::Temp->newdir;
$s3->make_bucket('files');
my ( $key, $content ) = Rts3::Test::Metadata::Child::object();
spew( $s3->object_path( files => $key ), $content );

my %options     = ( Bucket                      => 'files',       Host => $s3->http, Deadline => 8, Retries => 0 );
my @environment = ( AWS_ACCESS_KEY_ID           => 'ENVIRONMENT', AWS_SECRET_ACCESS_KEY => 'secret/of+ENVIRONMENT' );
my @profile     = ( AWS_SHARED_CREDENTIALS_FILE => "$dir/credentials", AWS_CONFIG_FILE  => "$dir/config" );
my @identity = ( AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/identity", AWS_ROLE_ARN => 'arn:aws:iam::1:role/r', $aws->sts );
spew( "$dir/credentials", <<'END' );
[default]
aws_access_key_id = DEFAULT
aws_secret_access_key = secret/of+DEFAULT
[rt]
aws_access_key_id = PROFILE
aws_secret_access_key = secret/of+PROFILE
END
spew( "$dir/config",   "[default]\nregion = eu-central-1\n" );
spew( "$dir/identity", "good identity\n" );
begin();

sub begin {
    my (%state) = @_;
    $aws->set( identities => ['good identity'], %state );
    $aws->forget;
    $s3->clear_log;
    return;
}

# What a process with this environment says
sub says {
    my ( $environment, $more, @calls ) = @_;
    return in_child( {@$environment}, sub { calls( $native, { %options, %$more }, @calls ? @calls : qw(get) ) } );
}

# The access key that S3 saw last
sub signer {
    my ($request) = reverse $s3->requests;
    return $request ? $request->{headers}{authorization} =~ /Credential=([^\/]+)/ ? $1 : '' : 'nobody';
}

sub reads_with {
    my ( $name, $who, $environment, $more ) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    begin();
    my $said = says( $environment, $more // {} );
    is( $said->{get}, 'ok', $name ) or diag $said->{get_error};
    like( signer(), $who, '... with those keys' );
    return $said;
}

sub refuses {
    my ( $name, $message, $environment, $more ) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $said = says( $environment, $more // {} );
    is( $said->{error}, 'credentials', $name );
    like( $said->{get_error}, $message, '... what the message says' );
    is( scalar $s3->requests, 0, '... and S3 is not asked' );
    return $said;
}

my %source = (
    environment    => [ qr/^ENVIRONMENT\z/,                 @environment ],
    'web-identity' => [ qr/^ASIAASSUMEROLEWITHWEBIDENTITY/, @identity ],
    profile        => [ qr/^DEFAULT\z/,                     @profile ],
    container      => [ qr/^ASIACONTAINER/,                 $aws->container ],
    instance       => [ qr/^ASIAINSTANCE/,                  $aws->instance, AWS_EC2_METADATA_DISABLED => undef ],
);
my @order = ( 'environment', 'web-identity', 'profile', 'container', 'instance' );

subtest 'each source alone' => sub {
    for my $name (@order) {
        my ( $who, @where ) = @{ $source{$name} };
        my $said = reads_with( $name, $who, \@where );
        my @told = grep {/credentials come from/} @{ $said->{log} };
        is( @told, 1, '... one line in the log' );
        like( $told[0], qr/^info the credentials come from \Q$name\E: access key \w+\z/, '... says so' );
        begin();
        is( says( \@where, { CredentialSource => $name }, 'probe' )->{probe}, $name, '... and is named by probe' );
    }
    my %static = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );
    my $said   = says( [], \%static, qw(get probe) );
    is( "$said->{get} $said->{probe}", 'ok options', 'options' );
};

subtest 'a web identity' => sub {
    begin();
    is( says( [ @identity, AWS_ROLE_SESSION_NAME => 'rt@example.com' ], {} )->{get}, 'ok', 'keys' );
    my ( $request, @more ) = $aws->requests;
    is( @more, 0, '... with one request' );
    my %form = (
        Action           => 'AssumeRoleWithWebIdentity',
        Version          => '2011-06-15',
        RoleArn          => 'arn:aws:iam::1:role/r',
        RoleSessionName  => 'rt@example.com',
        WebIdentityToken => 'good identity',
    );
    is_deeply( $request->{form}, \%form, '... that says what it must' );
    is( $request->{headers}{$_}, undef, "... without $_" ) for qw(authorization x-amz-security-token);
};

subtest 'each goes before the next' => sub {
    my @where = map { my ( undef, @variables ) = @{ $source{$_} }; @variables } @order;
    my @before;
    for my $name (@order) {
        my %environment = @where;
        delete @environment{@before};
        reads_with( "$name first", $source{$name}[0], [%environment] );
        my %asked = map { $_->{what} => 1 } $aws->requests;
        my %alone = (
            environment    => '',
            profile        => '',
            container      => 'container',
            instance       => 'keys role token',
            'web-identity' => 'AssumeRoleWithWebIdentity'
        );
        is( join( ' ', sort keys %asked ), $alone{$name}, '... and nobody else is asked' );
        my ( undef, %variables ) = @{ $source{$name} };
        push @before, keys %variables;
    }
    my %static = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );
    reads_with( 'options before all',                   qr/^\Q$static{AccessKeyId}\E\z/, \@where, \%static );
    reads_with( "only $_, if CredentialSource says so", $source{$_}[0], \@where, { CredentialSource => $_ } )
        for @order;
    reads_with( 'a profile, if Profile says so', qr/^PROFILE\z/, \@where, { Profile => 'rt' } );
    reads_with( 'another profile, by AWS_PROFILE', qr/^PROFILE\z/, [ @profile, AWS_PROFILE => 'rt' ] );
    reads_with(
        '... which Profile overrules',
        qr/^DEFAULT\z/,
        [ @profile, AWS_PROFILE => 'rt' ],
        { Profile => 'default' }
    );
};

subtest 'a source that does not work is not passed over' => sub {
    my @last = $aws->instance;
    my %off  = ( AWS_EC2_METADATA_DISABLED => undef );
    begin();
    refuses(
        'half a pair',
        qr/environment: AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not/,
        [ @last, %off, AWS_ACCESS_KEY_ID => 'A' ]
    );
    refuses(
        'the other half',
        qr/environment: AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not/,
        [ @last, %off, AWS_SECRET_ACCESS_KEY => 's3cr3tS3CR3T' ]
    );
    refuses(
        'a key with a new line',
        qr/environment: the \w+ has a character that no key has/,
        [ @last, %off, AWS_ACCESS_KEY_ID => 'A', AWS_SECRET_ACCESS_KEY => "s3cr3t\nS3CR3T" ]
    );
    refuses(
        'no role',
        qr/web-identity: AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not/,
        [ @last, %off, AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/identity" ]
    );
    refuses(
        'no token file',
        qr{web-identity: can't read the token in \Q$dir\E/none},
        [ @last, %off, @identity, AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/none" ]
    );
    spew( "$dir/bad", 'another' );
    refuses(
        'a token that is not good',
        qr/web-identity: AssumeRoleWithWebIdentity .*400, InvalidIdentityToken/,
        [ @last, %off, @identity, AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/bad" ]
    );
    spew( "$dir/old", 'expired token' );
    refuses(
        'a token that is over',
        qr/web-identity: AssumeRoleWithWebIdentity .*400, ExpiredTokenException/,
        [ @last, %off, @identity, AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/old" ]
    );
    refuses(
        'no such profile',
        qr/profile: there is no profile 'none' in \S+credentials and \S+config/,
        [ @last, %off, @profile, AWS_PROFILE => 'none' ]
    );
    refuses(
        'no such file',
        qr{profile: can't read \Q$dir\E/none, which AWS_SHARED_CREDENTIALS_FILE names|there is no profile},
        [ @last, %off, AWS_SHARED_CREDENTIALS_FILE => "$dir/none", AWS_PROFILE => 'x' ]
    );
    begin( container => { status => 404 } );
    refuses(
        'a container without a role',
        qr/container: the container's service answers with status 404/,
        [ @last, %off, $aws->container ]
    );
    begin( container => { status => 503 } );
    refuses(
        'a container in trouble',
        qr/container: the container's service answers with status 503/,
        [ @last, %off, $aws->container ]
    );
    is( scalar $aws->requests( what => 'token' ), 0, 'the instance was never asked' );
};

subtest 'nothing anywhere' => sub {
    begin();
    my $said = refuses( 'no keys', qr/no credentials: set the options AccessKeyId and SecretAccessKey/, [] );
    like( $said->{get_error}, qr/\b$_: /,                                      "... and why not from $_" ) for @order;
    like( $said->{get_error}, qr/instance: AWS_EC2_METADATA_DISABLED is true/, '... which is said not to be asked' );
    $said = refuses(
        'no keys where CredentialSource says',
        qr/environment: /,
        [@profile], { CredentialSource => 'environment' }
    );
    unlike( $said->{get_error}, qr/profile: /, '... others are not named' );
    my $static =
        says( [], { AccessKeyId => 'a', SecretAccessKey => 's', Profile => 'rt', CredentialSource => 'profile' },
        'store' );
    like( $static->{store_error}, qr/option \w+ makes no sense with AccessKeyId/, 'keys and a source: a mistake' );
    my $odd = says( [@environment], { CredentialSource => 'enviroment' }, qw(get store) );
    like( $odd->{store_error}, qr/CredentialSource/, 'a source that does not exist: nothing is written' );
    like( "@{ $odd->{log} }",  qr/CredentialSource.*'enviroment'.*environment/s, '... and the log says what exists' );
};

subtest 'a home directory that is none' => sub {
    my $home = File::Temp->newdir;
    mkdir $_ or die "$_: $!" for "$home/.aws", "$home/.aws/credentials";
    for my $case ( [ 'not set', undef ], [ 'a file', "$dir/identity" ], [ 'a directory for a file', "$home" ] ) {
        my ( $what, $value ) = @$case;
        reads_with( $what, qr/^ASIACONTAINER/, [ HOME => $value, $aws->container ] );
    }
};

subtest 'an instance' => sub {
    my @instance = ( @{ $source{instance} } )[ 1 .. 4 ];
    begin();
    is( says( \@instance, {} )->{get}, 'ok', 'keys' );
    my @requests = $aws->requests;
    is(
        join( ' ', map {"$_->{method} $_->{what}"} @requests ),
        'PUT token GET role GET keys',
        'version 2: a token first'
    );
    cmp_ok( $requests[0]{headers}{'x-aws-ec2-metadata-token-ttl-seconds'}, '>', 0, '... that ends' );
    is( scalar $aws->requests( v1 => 1 ), 0, '... never version 1' );
    for my $status ( 401, 403, 404, 405 ) {
        begin( token => { status => $status } );
        my $said = says( \@instance, {} );
        like(
            $said->{get_error},
            qr/instance: the metadata service gives no token of version 2, and version 1 is not used/,
            "no version 2 ($status): an error"
        );
        is( join( ' ', map { $_->{what} } $aws->requests ), 'token', '... and version 1 is not tried' );
    }
    begin( role => { status => 404 } );
    refuses( 'no role', qr/the instance has no IAM role/, \@instance );
    begin( keys => { body => '{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}' } );
    refuses( 'a role that may not be assumed', qr/it says AssumeRoleUnauthorizedAccess/, \@instance );
    for my $case ( [ '' => 'JSON' ], [ '<html>' => 'JSON' ], [ '{}' => 'AccessKeyId' ], [ '[1]' => 'AccessKeyId' ] ) {
        begin( keys => { body => $case->[0] } );
        refuses( "'$case->[0]' as keys", qr/instance: the metadata service: .*$case->[1]/, \@instance );
    }
    for my $case (
        [ SecretAccessKey => undef ],
        [ Expiration      => 'tomorrow' ],
        [ Token           => "a\nb" ],
        [ AccessKeyId     => 'a b' ]
        )
    {
        my ( $field, $value ) = @$case;
        begin( keys => { keys => { $field => $value } } );
        refuses( "no good $field", qr/instance: the metadata service: it gives (?:no|an?) \w+/, \@instance );
    }
    begin( keys => { keys => { Expiration => '2020-01-02T03:04:05Z' } } );
    refuses( 'keys that are over', qr/instance: the keys have expired already/, \@instance );
    begin( token => { hang => 1 } );
    my $said = refuses( 'a service that says nothing', qr/instance: no answer from \S+ within 1 s/, \@instance );
    cmp_ok( $said->{seconds}[0], '<', 2.5, '... for a second' );
    begin( token => { delay => 0.5 }, role => { delay => 0.5 }, keys => { delay => 0.5 } );
    is( says( \@instance, {} )->{get}, 'ok', 'a second is for each answer' );
    begin( keys => { body => 'x' x 1_000_000 } );
    refuses( 'an answer without end', qr/instance: /, \@instance );
    begin();
    refuses(
        'off',
        qr/instance: AWS_EC2_METADATA_DISABLED is true/,
        [ $aws->instance, AWS_EC2_METADATA_DISABLED => 'TRUE' ]
    );
    is( scalar $aws->requests, 0, '... is not asked' );
    refuses(
        'a bad address',
        qr/AWS_EC2_METADATA_SERVICE_ENDPOINT can't be used/,
        [ AWS_EC2_METADATA_SERVICE_ENDPOINT => 'ftp://x', AWS_EC2_METADATA_DISABLED => undef ]
    );
};

subtest 'a container' => sub {
    begin( authorization => 'Basic Zm9v' );
    my %token = ( AWS_CONTAINER_AUTHORIZATION_TOKEN => 'Basic Zm9v' );
    is( says( [ $aws->container, %token ], {} )->{get}, 'ok', 'a token in the environment' );
    spew( "$dir/pod", "Basic Zm9v\n" );
    my %file = ( AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => "$dir/pod" );
    is( says( [ $aws->container, %file ], {} )->{get}, 'ok', 'in a file (EKS pod identity)' );
    is( says( [ $aws->container, %file, AWS_CONTAINER_AUTHORIZATION_TOKEN => 'x' ], {} )->{get},
        'ok', '... which goes first' );
    begin( authorization => 'Basic Zm9v' );
    refuses( 'no token', qr/container: the container's service answers with status 401/, [ $aws->container ] );
    refuses(
        'a file that is not there',
        qr/container: can't read \S+none, which AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names/,
        [ $aws->container, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => "$dir/none" ]
    );
    my $said = refuses(
        'a token with a new line',
        qr/AWS_CONTAINER_AUTHORIZATION_TOKEN has a character that no header has/,
        [ $aws->container, AWS_CONTAINER_AUTHORIZATION_TOKEN => "t0psecr3t\r\nX-Evil: 1" ]
    );
    unlike( $said->{get_error}, qr/t0psecr3t/, '... which is not repeated' );
    begin();
    my %port = ( http => $aws->http =~ /(\d+)\z/ );
    is( says( [ $aws->container("http://$_:$port{http}") ], {} )->{get}, 'ok', "http://$_" )
        for qw(localhost 127.0.0.1);
    begin();

    for my $host ( 'example.com', '169.254.170.3', '10.0.0.1', '127.0.0.1.example.com', '[fd00:ec2::24]', '0.0.0.0' )
    {
        refuses(
            "http://$host",
            qr/only this machine and the addresses of ECS and EKS are allowed/,
            [ $aws->container("http://$host:$port{http}") ]
        );
    }
    refuses(
        'a user in the address',
        qr/FULL_URI can't be used/,
        [ $aws->container("http://127.0.0.1\@example.com") ]
    );
    refuses(
        'a path that is none',
        qr/RELATIVE_URI does not begin with a slash/,
        [ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI => '@127.0.0.1/v2' ]
    );
    is( scalar $aws->requests, 0, '... none of them was asked' );
    my $https = says( [ $aws->container( $aws->https ) ], {} );
    like( $https->{get_error}, qr/container: /, 'https with an authority that the system does not know' );
    is( says( [ $aws->container( $aws->https ), SSL_CERT_FILE => $s3->ca ], {} )->{get},
        'ok', '... and that it knows' );
};

subtest 'no proxy' => sub {
    my @proxies = map { ( $_ => 'http://127.0.0.1:1' ) } qw(http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy);
    for my $name (qw(container instance)) {
        begin();
        my ( undef, @where ) = @{ $source{$name} };
        my $said = says( [ @where, @proxies ], { Proxy => 'http://127.0.0.1:1' } );
        like( $said->{get_error}, qr/proxy/, "$name: S3 is asked through a proxy" );
        is( scalar $aws->given, 1, '... the keys are not' );
    }
};

done_testing;
