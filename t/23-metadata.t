#!/usr/bin/perl
# The metadata service and STS that the tests of credentials use: what they rely upon.
use strict;
use warnings;

use FindBin;
use JSON::PP       qw(decode_json);
use LWP::UserAgent ();
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Metadata;
use Rts3::Test::Needs qw(needs needs_s3);
use Rts3::Test::OwnBackend;
use Rts3::Test::S3Client;

needs( Rts3::Test::OwnBackend::missing() );
require HTTP::Request::Common;
require Net::Amazon::Signature::V4;

my $s3    = needs_s3;
my $aws   = Rts3::Test::Metadata->start( s3 => $s3, lifetime => 600 );
my $agent = LWP::UserAgent->new( timeout => 10, no_proxy => [], ssl_opts => { SSL_ca_file => $s3->ca } );
my $roles = $aws->http . '/latest/meta-data/iam/security-credentials/';
$s3->make_bucket('files');

sub get { my ( $url, @headers ) = @_; return $agent->get( $url, @headers ) }

sub token {
    my ($seconds) = @_;
    my @headers = defined $seconds ? ( 'X-aws-ec2-metadata-token-ttl-seconds' => $seconds ) : ();
    return $agent->put( $aws->http . '/latest/api/token', @headers );
}

# What the S3 server says to these keys
sub s3_says {
    my ( $id, $secret, $session_token ) = @_;
    return Rts3::Test::S3Client->new(
        url        => $s3->http,
        access_key => $id,
        secret_key => $secret,
        token      => $session_token,
        region     => 'us-east-1',
    )->answer( GET => '/files?list-type=2' );
}

subtest 'an instance' => sub {
    is( get($roles)->code,                                         401, 'without a token' );
    is( get( $roles, 'X-aws-ec2-metadata-token' => 'none' )->code, 401, 'with another one' );
    is( scalar $aws->requests( v1 => 1 ),                          1,   'the one without is noted' );
    is( token()->code,                                             400, 'a token must have an end' );
    is( token(21_601)->code,                                       400, '... after six hours at most' );
    my $short = token(1)->content;
    my $token = token(60)->content;
    my @with  = ( 'X-aws-ec2-metadata-token' => $token );
    is( get( $roles, @with )->content, 'rts3-role', 'the role' );
    my $keys = decode_json( get( $roles . 'rts3-role', @with )->content );
    is( $keys->{Code}, 'Success', 'its keys' );
    like( $keys->{Expiration}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\z/, '... have an end' );
    is( s3_says( @{$keys}{qw(AccessKeyId SecretAccessKey Token)} ), 200, '... and S3 takes them' );
    is( get( $roles . 'other', @with )->code,                       404, 'no other role' );
    sleep 2;
    is( get( $roles, 'X-aws-ec2-metadata-token' => $short )->code, 401, 'a token ends' );
    is(
        join( ' ', map { $_->{what} } grep { $_->{status} == 200 } $aws->requests ),
        'token token role keys',
        'the log'
    );
    is( ( $aws->given )[0]{access_key}, $keys->{AccessKeyId}, '... has the keys' );
    $aws->forget;
    is( scalar $aws->requests, 0, '... until it is told to forget' );
};

subtest 'a container' => sub {
    my %container = $aws->container;
    my $url       = $container{AWS_CONTAINER_CREDENTIALS_FULL_URI};
    my $keys      = decode_json( get($url)->content );
    is( s3_says( @{$keys}{qw(AccessKeyId SecretAccessKey Token)} ),      200, 'keys that S3 takes' );
    is( get( $url =~ s{^http://127\.0\.0\.1:\d+}{$aws->https}er )->code, 200, 'https' );
    $aws->set( authorization => 'Bearer x' );
    is( get($url)->code,                                401, 'not without the right header' );
    is( get( $url, Authorization => 'Bearer x' )->code, 200, '... but with it' );
};

# STS, as AWS's clients ask it
sub sts {
    my ( $form, $keys, $service ) = @_;
    my $request = HTTP::Request::Common::POST( $aws->http . '/',
        { Version => '2011-06-15', RoleArn => 'arn:aws:iam::1:role/r', RoleSessionName => 's', %$form } );
    $request->header( 'X-Amz-Security-Token' => $keys->[2] ) if $keys && defined $keys->[2];
    Net::Amazon::Signature::V4->new( @{$keys}[ 0, 1 ], 'us-east-1', $service // 'sts' )->sign($request) if $keys;
    my $answer = $agent->request($request);
    my ($code) = $answer->content =~ m{<Code>(\w+)</Code>};
    return ( join( ' ', $answer->code, $code // () ), $answer->content );
}

subtest 'STS' => sub {
    $aws->set( users => { USER => 'secret' }, identities => ['good'] );
    my %assume = ( Action => 'AssumeRole' );
    my ( $answer, $xml ) = sts( \%assume, [qw(USER secret)] );
    is( $answer, 200, 'AssumeRole' );
    my @keys = map { $xml =~ m{<$_>(.*?)</$_>} } qw(AccessKeyId SecretAccessKey SessionToken);
    is( s3_says(@keys),                 200, '... gives keys that S3 takes' );
    is( ( sts( \%assume, \@keys ) )[0], 200, '... and may be asked with them' );
    my %no_role = ( %assume, RoleArn => '' );
    my %refused = (
        '403 MissingAuthenticationToken' => [ \%assume ],
        '403 InvalidClientTokenId'       => [ \%assume,  [qw(NOBODY secret)] ],
        '403 SignatureDoesNotMatch'      => [ \%assume,  [qw(USER other)] ],
        '400 ValidationError'            => [ \%no_role, [qw(USER secret)] ],
        '400 InvalidIdentityToken'  => [ { Action => 'AssumeRoleWithWebIdentity', WebIdentityToken => 'bad' } ],
        '400 ExpiredTokenException' => [ { Action => 'AssumeRoleWithWebIdentity', WebIdentityToken => 'expired' } ],
        '404'                       => [ { Action => 'GetCallerIdentity' }, [qw(USER secret)] ],
    );
    is( ( sts( @{ $refused{$_} } ) )[0],                 $_, "refused: $_" ) for sort keys %refused;
    is( ( sts( \%assume, [qw(USER secret)], 's3' ) )[0], '403 SignatureDoesNotMatch', 'signed for another service' );
    is( ( sts( \%assume, [ @keys[ 0, 1 ] ] ) )[0], '403 InvalidClientTokenId', 'temporary keys without their token' );
    ( $answer, $xml ) = sts( { Action => 'AssumeRoleWithWebIdentity', WebIdentityToken => 'good' } );
    is( $answer, 200, 'AssumeRoleWithWebIdentity' );
    is( s3_says( map { $xml =~ m{<$_>(.*?)</$_>} } qw(AccessKeyId SecretAccessKey SessionToken) ),
        200, '... the keys' );
    $aws->set( users => { USER => 'secret' }, external_id => 'x' );
    is( ( sts( \%assume,                       [qw(USER secret)] ) )[0], '403 AccessDenied', 'the external id' );
    is( ( sts( { %assume, ExternalId => 'x' }, [qw(USER secret)] ) )[0], 200,                '... is looked at' );
};

subtest 'trouble' => sub {
    $aws->set( token => { delay => 0.5 } );
    my $began = time;
    is( token(60)->code, 200, 'late' );
    cmp_ok( time - $began, '>=', 0.5, '... as was said' );
    $aws->set( token => { status => 503 } );
    is( token(60)->code, 503, 'a status' );
    $aws->set( token => { body => 'no token' } );
    is( token(60)->content, 'no token', 'a body' );
    $agent->timeout(1);
    $aws->set( token => { hang => 1 } );
    $began = time;
    is( token(60)->code, 500, 'no answer' );
    cmp_ok( time - $began, '>=', 0.9, '... for long' );
    $aws->set( token => { reset => 1 } );
    $began = time;
    is( token(60)->code, 500, 'a reset' );
    cmp_ok( time - $began, '<', 0.9, '... at once' );
    $aws->set;
    $aws->freeze;
    is( token(60)->code, 500, 'frozen' );
    $aws->thaw;
    my $at = $aws->http;
    $aws->stop;
    like( token(60)->status_line, qr/Can't connect|refused/, 'stopped' );
    $aws->restart;
    is( $aws->http,      $at, 'started again at the same place' );
    is( token(60)->code, 200, '... it answers' );
};

done_testing;
