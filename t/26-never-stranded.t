#!/usr/bin/perl
# Documents are never stranded: nothing is stored with keys that only this user can see, unless they are named. In the
# library, and in RT's backend: Store and IsWriteable refuse, Get takes what it finds.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File            qw(spew);
use Rts3::Test::Metadata        ();
use Rts3::Test::Metadata::Child qw(calls in_child);
use Rts3::Test::Needs           qw(needs_library needs_rt needs_s3);

my $native = needs_library;
my $s3     = needs_s3( keys => { USER => 'secret/of+USER' } );
my $aws    = Rts3::Test::Metadata->start( s3 => $s3, users => { USER => 'secret/of+USER' }, identities => ['good'] );
my $dir    = File::Temp->newdir;
my $home   = File::Temp->newdir;
$s3->make_bucket('files');
my ( $key, $content ) = Rts3::Test::Metadata::Child::object();
spew( $s3->object_path( files => $key ), $content );

mkdir "$home/.aws" or die "$home: $!";
my $pair = "aws_access_key_id = USER\naws_secret_access_key = secret/of+USER\n";
spew( "$home/.aws/credentials", "[default]\n$pair" );
spew( "$dir/credentials",       "[default]\n$pair\[rt]\n$pair" );
spew( "$dir/program",           <<'END' );
#!/bin/sh
echo '{"Version":1,"AccessKeyId":"USER","SecretAccessKey":"secret/of+USER"}'
END
chmod 0755, "$dir/program" or die "$dir/program: $!";
spew( "$dir/config-$_->[0]", "[default]\n$_->[1]\n" )
    for [ program => "credential_process = $dir/program" ],
    [ role     => "role_arn = arn:aws:iam::1:role/r\ncredential_source = Environment" ],
    [ identity => "role_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = $dir/identity" ];
spew( "$dir/identity", 'good' );

my @environment = ( AWS_ACCESS_KEY_ID           => 'USER', AWS_SECRET_ACCESS_KEY => 'secret/of+USER' );
my @file        = ( AWS_SHARED_CREDENTIALS_FILE => "$dir/credentials" );
my %options     = ( Bucket                      => 'files', Host => $s3->http, Deadline => 8, Retries => 0 );

sub says {
    my ( $environment, $more, @calls ) = @_;
    $s3->clear_log;
    return in_child( {@$environment}, sub { calls( $native, { %options, %{ $more // {} } }, @calls ) } );
}

# [ what, the source, the environment ]
my @personal = (
    [ 'the environment',                      environment => [@environment] ],
    [ 'the home directory',                   profile     => [ HOME => "$home" ] ],
    [ 'a file that the environment names',    profile     => [@file] ],
    [ 'a profile that the environment names', profile     => [ @file, AWS_PROFILE => 'rt' ] ],
    [ 'a program that a profile names',       profile     => [ AWS_CONFIG_FILE    => "$dir/config-program" ] ],
    [
        q{a role that a profile's keys assume}, profile => [ AWS_CONFIG_FILE => "$dir/config-identity", $aws->sts ]
    ],
);
for my $case (@personal) {
    my ( $what, $source, $environment ) = @$case;
    my $objects = () = $s3->objects('files');
    my $said    = says( $environment, {}, qw(get store probe) );
    is( $said->{get}, 'ok', "$what: read" ) or diag $said->{get_error};
    for my $call (qw(store probe)) {
        like(
            $said->{"${call}_error"},
            qr/nothing is written with keys from $source: .*set CredentialSource => '$source'/,
            "... but no $call, and what to write"
        );
        unlike( $said->{"${call}_error"}, qr{secret/of}, '... without secrets' );
    }
    is( scalar( $s3->requests( method => 'PUT' ) ) + $s3->requests( method => 'POST' ), 0, '... nothing was sent' );
    is( ( () = $s3->objects('files') ),                                                 $objects, '... nor stored' );
    $said = says( $environment, { CredentialSource => $source }, qw(probe store get) );
    is( join( ' ', map { $said->{$_} // $said->{"${_}_error"} } qw(probe get) ),
        "$source ok", '... all, once it is named' );
    like( $said->{store}, qr/^[0-9a-f]{64}\z/, '... Store' );
}
my $said = says( [@file], { Profile => 'rt' }, qw(probe store) );
is( $said->{probe}, 'profile', 'Profile names it, too' );
like( $said->{store}, qr/^[0-9a-f]{64}\z/, '... Store' );
$said = says( [ @file, @environment ], { CredentialSource => 'profile' }, qw(probe) );
is( $said->{probe}, 'profile', 'one that is named is what is used' );

my @everybodys = (
    [
        'web-identity' =>
            [ AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/identity", AWS_ROLE_ARN => 'arn:aws:iam::1:role/r', $aws->sts ]
    ],
    [ container => [ $aws->container ] ],
    [ instance  => [ $aws->instance, AWS_EC2_METADATA_DISABLED => undef ] ],
    [ options   => [], { AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key } ],
);
for my $case (@everybodys) {
    my ( $source, $environment, $options ) = @$case;
    $said = says( $environment, $options, qw(probe store) );
    is( $said->{probe}, $source, "$source: everybody's" ) or diag $said->{probe_error};
    like( $said->{store}, qr/^[0-9a-f]{64}\z/, '... Store' );
}

# ---- in RT: cron's environment has keys, or root's home directory

my %storage = ( Type => 'AmazonS3', %options );
my $rt      = needs_rt( storage => \%storage, env => {@environment} );
my $ask     = <<'END';
    my ( $key, $new ) = @_;
    my $storage = RT->System->ExternalStorage;
    my @store   = $storage->Store( $new->[0], $new->[1], RT::Attachment->new( RT->SystemUser ) );
    return { get => [ $storage->Get($key) ], store => \@store, writeable => [ $storage->IsWriteable ] };
END
my @new = ( sha256_hex('new'), 'new' );

my $answer = $rt->call( $ask, $key, \@new );
is( $answer->{get}[0], $content, 'RT reads with keys from its environment' );
my $why = qr/nothing is written with keys from environment: .*set CredentialSource => 'environment'/;
is( $answer->{writeable}[0], 0, '... IsWriteable says no' );
like( $answer->{writeable}[1], $why, '... and what to write' );
is( $answer->{store}[0], undef, '... so does Store' );
like( $answer->{store}[1], $why, '... and what to write' );
is( $s3->content( files => $new[0] ), undef, '... nothing is stored' );

$rt->create_ticket(
    attachments => [ { name => 'a.bin', type => 'application/octet-stream', content => "\0" x 20 } ] );
my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments-5');
isnt( $exit, 0, q{RT's externalizer ends} );
like( "$out$err", $why, '... with that message' );
is( ( grep { $_->{ContentEncoding} eq 'external' } $rt->attachment_rows ),
    0, '... and the attachments are where they were' );

$rt->set_storage( %storage, CredentialSource => 'environment' );
$answer = $rt->call( $ask, $key, \@new );
is_deeply( $answer->{writeable}, [1],         'named: IsWriteable' );
is_deeply( $answer->{store},     [ $new[0] ], '... Store' );
($exit) = $rt->run_script('rt-externalize-attachments-5');
is( $exit,                                                                 0, q{... RT's externalizer} );
is( ( grep { $_->{ContentEncoding} eq 'external' } $rt->attachment_rows ), 1, '... moves it' );
done_testing;
