#!/usr/bin/perl
# rt-s3 check where rights, links, keys of other users or attachments are not as they should be.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Path  qw(make_path);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_rt needs_s3);
use Rts3::Test::ToolCheck;

my $s3 = needs_s3;
$s3->make_bucket('files');
my %good  = ( Type => 'AmazonS3', Bucket => 'files', $s3->options, Host => $s3->https, CAFile => $s3->ca );
my $on    = 'Set($ExternalStorageDirectLink, 1);';
my $rt    = needs_rt( storage => \%good );
my $check = Rts3::Test::ToolCheck->new( rt => $rt, s3 => $s3, storage => \%good, secrets => ['hunter2'] );

subtest 'http, clock, region, rights' => sub {
    $s3->faults(
        { do => { clock_s => -4000, region => { name => 'eu-central-1' } } },
        { operation => 'ListObjectsV2', do => { answer => { status => 403, code => 'AccessDenied' } } },
    );
    my $found = $check->with( 'over http', 2, { Host => $s3->http, CAFile => undef } );
    $found->told( warning => 'options', qr/begins with http:/, qr/set Host => 'https/ );
    $found->told(
        problem => 'clock',
        qr/(?:39\d\d|40\d\d) s ahead of the server's: it refuses/, qr/set it, and let NTP/
    );
    $found->told(
        warning => 'region',
        qr/is in the region 'eu-central-1', not 'us-east-1'/, qr/set Region => 'eu-c/
    );
    is( scalar( grep { $_->{check} eq 'region' } @{ $found->{lines} } ), 1, '... which is all that is said of it' );
    $found->told( warning => 'list', qr/AccessDenied/, qr/allow s3:ListBucket/ );
    $found->told( ok => 'put', qr/allowed/ );
    $s3->faults;
};

subtest 'rights' => sub {
    $s3->faults( map { { operation => $_, do => { answer => { status => 403, code => 'AccessDenied' } } } }
            qw(GetObject HeadObject DeleteObject) );
    $check->{kept} = undef;
    my ( $status, $out ) = do { $rt->set_storage(%good); $rt->run_tool( 'check', '--json' ) };
    is( $status, 2, 'no right to read or delete' );
    like( $out, qr/"advice":"allow s3:GetObject for the bucket's objects","check":"get","result":"problem"/,
        '... get' );
    like( $out, qr/"check":"head","result":"problem"/, '... head' );
    my @left = $s3->objects('files');
    is( scalar @left, 2, '... what was made could not be deleted' );
    my $both = join ', ', sort @left;
    like( $out, qr/allow s3:DeleteObject; and delete what this check has made: $both"/, '... and both are named' );
    unlink map { $s3->object_path( 'files', $_ ) } @left;

    # Some want it so: nothing in the bucket is ever deleted
    $s3->faults( { operation => 'DeleteObject', do => { answer => { status => 403, code => 'AccessDenied' } } } );
    ( $status, $out ) = $rt->run_tool( 'check', '--json' );
    is( $status, 1, 'no right to delete: a warning' );
    my ($line) = grep {/"check":"delete"/} split /\n/, $out;
    like(
        $line,
        qr/if what is shredded in RT shall be deleted, allow s3:DeleteObject.*"result":"warning"/,
        '... says what for'
    );
    unlink map { $s3->object_path( 'files', $_ ) } $s3->objects('files');

    $s3->faults( { operation => 'PutObject', do => { answer => { status => 403, code => 'AccessDenied' } } } );
    my $found = $check->with( 'no right to write', 2, {} );
    $found->told( problem => 'put', qr/AccessDenied/, qr/allow s3:PutObject/ );
    $found->told( ok      => $_,    qr/allowed/ )                  for qw(list delete);
    $found->told( unknown => $_,    qr/no object to try it with/ ) for qw(get head public);

    # What is not answered says nothing of rights, and what comes then is not asked at all
    $s3->faults( { operation => 'HeadObject', do => { close => { at => 'received' } } } );
    $found = $check->with( 'no answer', 2, {} );
    $found->told( problem => 'head', qr/the connection broke/, qr/no firewall is between/ );
    $found->told( unknown => 'links', qr/\Alinks, settings were not looked at/ );
    $found->only( problem => 'head' );
    $found->only('warning');
    $s3->faults( { operation => 'PutObject', do => { ignore_condition => 1 } } );
    $check->with( 'no conditions', 0, {} )
        ->told( ok => 'condition', qr/is ignored: what is there already is written once/ );
    $s3->faults;
};

subtest 'public, and links' => sub {
    $rt->set_config($on);
    my $found = $check->with( 'public links, and a private bucket', 2, {} );
    $found->told(
        problem => 'links',
        qr/a public link at localhost can't be fetched: HTTP 403/, qr/DirectLink => 'presigned'/
    );
    $found->told( ok => 'public', qr/\Ano\z/ );

    $s3->set_public( files => 1 );
    $found = $check->with( 'public links', 0, {} );
    $found->told( ok => 'links',  qr/a public link at localhost gives the file/ );
    $found->told( ok => 'public', qr/as direct links need it/ );
    $found = $check->with( q{RT's own site}, 2, { DirectLinkHost => 'http://127.0.0.1:1' } );
    $found->told( warning => 'links', qr/lead to 127\.0\.0\.1, which is RT's own host name/, qr/DirectLinkHost/ );
    $found->told( problem => 'links', qr/can't be fetched: /, qr/see that browsers reach 127\.0\.0\.1/ );

    $rt->set_config('');
    $check->with( 'public for nothing', 2, {} )
        ->told( problem => 'public', qr/anybody can read the objects/, qr/Block Public Access/ );
    $s3->set_public( files => 0 );
    $rt->set_config($on);
    $s3->faults( { operation => 'GetObject', do => { headers => { 'content-type' => 'text/html' } } } );
    $check->with( 'something between', 2, { DirectLink => 'presigned' } )
        ->told( problem => 'links', qr{gives the type text/html in place of text/plain}, qr/between browsers and/ );
    $s3->faults;
    $rt->set_config('');
};

subtest 'the keys of others' => sub {
    plan skip_all => 'only root becomes another user' if $> != 0 && !$ENV{RTS3_TEST_ALL};
    make_path( my $aws = $rt->dir . '/home/.aws' );
    spew( "$aws/credentials", sprintf "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n",
        $s3->access_key, $s3->secret_key );
    my %profile = ( AccessKeyId => undef, SecretAccessKey => undef, CredentialSource => 'profile' );
    my $found   = $check->with( q{in root's home}, 2, \%profile, '--as', 'nobody' );
    $found->told( ok      => 'keys',           qr/\A\S+, from profile;/ );
    $found->told( problem => 'keys of nobody', qr/no credentials|profile/,          qr/give this user keys/ );
    $found->told( problem => 'keys of nobody', qr/\Q${\ $s3->ca }\E can't be read/, qr/let nobody read it/ );
    $found->told( problem => 'keys of nobody', qr/RT_SiteConfig\.pm can't be read/, qr/let nobody read it/ );
    $found->only( problem => 'keys of nobody' );

    # Where all can read everything, it is still another home, and another environment
    chmod 0755, $rt->dir, $s3->dir, map {s{/[^/]*\z}{}r} $s3->ca;
    $check->with( q{in root's home, for all to read}, 2, \%profile, '--as', 'nobody' )
        ->told( problem => 'keys of nobody', qr/profile/, qr/give this user keys/ );
    mkdir my $copies = $rt->dir . q{/copies};
    chmod 0700, $copies;
    $check->with( q{root's directory for copies}, 1, { CacheDir => $copies }, '--as', 'nobody' )
        ->told( warning => 'options of nobody', qr/\Aoption CacheDir, .*Permission denied/, qr/let nobody use/ );
    $check->told( ok => 'keys of nobody', qr/\A\S+, from options; they do not expire/ );
    local $rt->{env} = { AWS_ACCESS_KEY_ID => $s3->access_key, AWS_SECRET_ACCESS_KEY => $s3->secret_key };
    $found = $check->with( q{in root's environment}, 2, { %profile, CredentialSource => 'environment' }, '--as',
        'nobody' );
    $found->told( ok => 'keys', qr/\A\S+, from environment;/ );
    $found->told( problem => 'keys of nobody', qr/AWS_ACCESS_KEY_ID is not set/, qr/give this user keys/ );
};

subtest 'attachments that are gone' => sub {
    my $content = 'of an attachment ' x 1000;
    $rt->set_storage(%good);
    $rt->create_ticket( attachments => [ { name => 'a.bin', content => $content } ] );
    my ($row) = grep { length $_->{Content} > 1000 } $rt->attachment_rows;
    $rt->dbh->do(
        q{UPDATE Attachments SET Content = ?, ContentEncoding = 'external' WHERE id = ?},
        undef, my $key = sha256_hex($content),
        $row->{id}
    );
    $check->with( 'its object is not there', 2, {} )
        ->told( problem => 'attachments', qr/\A1 of 1 .* are not in this bucket: $key/, qr/Bucket and Prefix/ );

    # With keys that only read, it is one of RT's attachments that tells
    spew( $s3->object_path( files => $key ), $content );
    $check->{kept} = [$key];
    $s3->faults( map { { operation => $_, do => { answer => { status => 403, code => 'AccessDenied' } } } }
            qw(PutObject DeleteObject) );
    my $found = $check->with( 'keys that only read', 2, {} );
    $found->told( ok => $_,       qr/\Aallowed\z/ ) for qw(get head);
    $found->told( ok => 'public', qr{\Ano\z} );
    my ($line) = grep { $_->{check} eq 'delete' } @{ $found->{lines} };
    unlike( $line->{advice}, qr/has made/, '... and nothing is said to be left' );
    $s3->faults;
    unlink $s3->object_path( files => $key );
    $check->{kept} = [];
    $check->with( 'nor the bucket', 2, { Bucket => 'fiels' } )
        ->told( problem => 'bucket', qr/NoSuchBucket/, qr/RT has external files already/ );
};

done_testing;
