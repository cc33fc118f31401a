#!/usr/bin/perl
# The real addresses of instance metadata and of the container endpoints, in a network of this test's own that has nothing
# else: 169.254.169.254, 169.254.170.2, 169.254.170.23 and those of IPv6.
use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File            qw(spew);
use Rts3::Test::Metadata        ();
use Rts3::Test::Metadata::Child qw(calls in_child);
use Rts3::Test::Needs           qw(needs needs_library needs_s3);

my @addresses = qw(169.254.169.254 169.254.170.2 169.254.170.23 fd00:ec2::254 fd00:ec2::23);

if ( !$ENV{RTS3_TEST_INSIDE} ) {
    my @own = ( qw(unshare --net), $> ? '--map-root-user' : () );
    needs('no network namespace can be made here (unshare, ip)')
        if system("@own ip link set lo up >/dev/null 2>&1") != 0;
    my @add = map { "ip address add $_" . ( /:/ ? '/128' : '/32' ) . ' dev lo' } @addresses;
    local $ENV{RTS3_TEST_INSIDE} = 1;
    exec @own, '--', 'sh', '-c', join( ' && ', 'ip link set lo up', @add, 'exec "$@"' ), 'sh', $^X, abs_path($0)
        or die "unshare: $!";
}

my $native = needs_library;
my $s3     = needs_s3;
my $aws    = Rts3::Test::Metadata->start(
    s3     => $s3,
    listen => [ map { /:/ ? "[$_]:80" : "$_:80" } @addresses ],
);
$s3->make_bucket('files');
my ( $key, $content ) = Rts3::Test::Metadata::Child::object();
spew( $s3->object_path( files => $key ), $content );

my %on      = ( AWS_EC2_METADATA_DISABLED => undef );
my $path    = '/v2/credentials/00000000-0000-0000-0000-000000000000?x=1';
my $eks     = '/v1/credentials';
my @sources = (
    [ instance  => '169.254.169.254', {%on} ],
    [ instance  => '[fd00:ec2::254]', { %on, AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE => 'IPv6' } ],
    [ container => '169.254.170.2',   { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI      => $path } ],
    [ container => '169.254.170.23',  { AWS_CONTAINER_CREDENTIALS_FULL_URI => "http://169.254.170.23$eks" } ],
    [ container => '[fd00:ec2::23]',  { AWS_CONTAINER_CREDENTIALS_FULL_URI => "http://[fd00:ec2::23]$eks" } ],
);
my %options = ( Bucket => 'files', Host => $s3->http, Deadline => 8, Retries => 0 );
my @proxies = map { ( $_ => 'http://127.0.0.1:1' ) } qw(http_proxy HTTP_PROXY all_proxy);

sub says {
    my ( $environment, %more ) = @_;
    $aws->forget;
    $s3->clear_log;
    return in_child( $environment,
        sub { calls( $native, { %options, %more }, 'get', $more{Proxy} ? () : 'probe' ) } );
}

for (@sources) {
    my ( $source, $address, $environment ) = @$_;
    my $said = says($environment);
    is( "$said->{get} $said->{probe}", "ok $source", "$source at $address" ) or diag $said->{get_error};
    my %hosts = map { $_->{host} =~ s/:80\z//r => 1 } $aws->requests;
    is( join( ' ', keys %hosts ),     $address, '... and nowhere else' );
    is( ( $aws->requests )[-1]{path}, $path,    '... with the whole path' )
        if $environment->{AWS_CONTAINER_CREDENTIALS_RELATIVE_URI};

    $said = says( { %$environment, @proxies, no_proxy => '127.0.0.1' } );
    is( $said->{get}, 'ok', '... with a proxy in the environment' );
    $said = says( $environment, Proxy => 'http://127.0.0.1:1' );
    like( $said->{get_error}, qr/proxy/, '... with the option Proxy S3 is not reached' );
    cmp_ok( scalar( () = $aws->given ), '>=', 1, '... but the keys are' );
}

# Nobody there, as on a machine that is none of Amazon's: a second, once
$aws->stop;
my $said = says( {%on} );
like( $said->{get_error}, qr/no credentials: set the options .*instance: can't connect to 169\.254\.169\.254/,
    'no instance' );
$aws->restart;
$aws->freeze;
$said = says( {%on} );
like(
    $said->{get_error},
    qr/no credentials: set the options .*instance: no answer from 169\.254\.169\.254 within 1 s/,
    'an address that does not answer'
);
cmp_ok( $said->{seconds}[0], '<', 1.6, '... is waited for a second' );
cmp_ok( $said->{seconds}[1], '<', 0.2, '... once' );
$aws->thaw;
done_testing;
