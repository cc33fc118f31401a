#!/usr/bin/perl
# Nothing that is secret of keys, and of what they are asked for with, is in a message, in the log or in what a handle holds,
# whatever fails, and whatever the servers repeat. Static keys: t/17-secrets.t
use strict;
use warnings;

use Data::Dumper ();
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File            qw(spew);
use Rts3::Test::Leaks           qw(found_in looks);
use Rts3::Test::Metadata        ();
use Rts3::Test::Metadata::Child qw(in_child);
use Rts3::Test::Needs           qw(needs_library needs_s3);

my $native   = needs_library;
my $s3       = needs_s3;
my $aws      = Rts3::Test::Metadata->start( s3 => $s3 );
my $dir      = File::Temp->newdir;
my %instance = ( $aws->instance, AWS_EC2_METADATA_DISABLED => undef );
$s3->make_bucket('files');
my ( $key, $content ) = Rts3::Test::Metadata::Child::object();
spew( $s3->object_path( files => $key ), $content );

sub handle {
    return scalar $native->open( Bucket => 'files', Host => $s3->http, Region => 'us-east-1', Retries => 0 );
}

sub messages {
    my ($handle) = @_;
    my ( undef, $error ) = $handle->get($key);
    return ( $error ? $error->message : (), map {"$_->[0] $_->[1]"} $handle->drain );
}

my %secret = (
    pod      => 'Bearer q7Zt4Lw9Xe2Rb6Ym1Kc8',
    identity => 'h3Vn8Qs5Jd0Pg7Wf2Tx6.u1Bz4Ak9',
    process  => 'm6Gy1Nc8Ro3Le5Hv0Ui9Sb2Td7',
    user     => 'w2Fj7Xk4Mp9Za5Qe8Cn1Yr6+/',
);
spew( "$dir/$_", $secret{$_} ) for qw(pod identity);
spew( "$dir/program",
    qq(#!/bin/sh\necho '{"Version":1,"AccessKeyId":"P","SecretAccessKey":"$secret{process}","x'\n) );
chmod 0755, "$dir/program" or die "$dir/program: $!";
spew( "$dir/user",
    "[default]\naws_access_key_id = U\naws_secret_access_key = $secret{user}\n[half]\naws_secret_access_key = $secret{user}\n"
);
spew( "$dir/roles",
    "[profile role]\nrole_arn = r\nsource_profile = default\n[profile program]\ncredential_process = $dir/program\n"
);
my %files    = ( AWS_SHARED_CREDENTIALS_FILE => "$dir/user", AWS_CONFIG_FILE => "$dir/roles", $aws->sts );
my %pod      = ( $aws->container, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => "$dir/pod" );
my %identity = ( AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/identity", AWS_ROLE_ARN => 'r', $aws->sts );
my %env = ( AWS_ACCESS_KEY_ID => 'E', AWS_SECRET_ACCESS_KEY => $secret{user}, AWS_SESSION_TOKEN => $secret{pod} );
my @given;
my @texts;

for my $environment (
    \%instance, \%pod, \%identity, \%env, \%files,
    { %identity, AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/pod" },
    { %files,    AWS_PROFILE                 => 'half' },
    { %files,    AWS_PROFILE                 => 'role' },
    { %files,    AWS_PROFILE                 => 'program' },
    )
{
    for my $broken (
        {},
        { status => 403 },
        { body   => "{\"Token\":\"$secret{pod}\",\"SecretAccessKey\":\"$secret{user}\"" }
        )
    {
        $aws->forget;
        $s3->faults;
        $aws->set(
            identities => [ $secret{identity} ],
            users      => { U => $secret{user} },
            map { $_ => $broken } qw(keys container AssumeRole AssumeRoleWithWebIdentity)
        );
        my $print = in_child(
            $environment,
            sub {
                my $handle = handle();
                my @all    = ( messages($handle), messages($handle) );
                for my $keys ( $aws->given ) {
                    my %old = ( secret => $keys->{secret_key}, token => $keys->{token}, expires => time - 1 );
                    $s3->set_key( $keys->{access_key}, %old );
                }
                push @all, messages($handle);
                my $all = join ' ', grep {defined} @{ ( $aws->given )[-1] // {} }{qw(secret_key token)};
                $s3->faults( { do => { answer => { status => 403, code => 'AccessDenied', message => $all } } } );
                push @all, messages($handle);
                push @all, Data::Dumper->Dump( [$handle] );
                return \@all;
            }
        );
        push @texts, map { [ join( ' ', sort keys %$environment ) => $_ ] } @$print;
        push @given, $aws->given;
        push @given, map { { token => $_->{headers}{'x-aws-ec2-metadata-token'} } }
            grep { $_->{headers}{'x-aws-ec2-metadata-token'} } $aws->requests;
    }
}
cmp_ok( scalar @given, '>', 10,  'keys were given' );
cmp_ok( scalar @texts, '>', 100, '... and many texts were collected' );
my @secrets = ( values %secret, grep {defined} map { @{$_}{qw(secret_key token)} } @given );
is_deeply( [ found_in( [ map { looks($_) } @secrets ], @texts ) ], [], '... none of which has a secret' );
done_testing;
