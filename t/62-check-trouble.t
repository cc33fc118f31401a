#!/usr/bin/perl
# rt-s3 check where something is wrong: each trouble has its line, its advice and its exit status.

use strict;
use warnings;

use FindBin;
use IO::Socket::IP ();
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);
use Rts3::Test::Proxy;
use Rts3::Test::ToolCheck;
use Rts3::Test::ToolCheck::Group;

my $s3 = needs_s3;
$s3->make_bucket('files');
my %good  = ( Type => 'AmazonS3', Bucket => 'files', $s3->options, Host => $s3->https, CAFile => $s3->ca );
my $rt    = needs_rt( storage => \%good );
my $check = Rts3::Test::ToolCheck->new( rt => $rt, s3 => $s3, storage => \%good, secrets => ['hunter2'] );

subtest 'nothing configured' => sub {
    $rt->set_storage;
    $check->run( 'no %ExternalStorage', 2 )
        ->told( problem => 'configuration', qr/external storage is not configured/, qr/mend RT_SiteConfig\.pm/ );
    $rt->set_storage( Type => 'Disk', Path => '/tmp' );
    $check->run( 'Type Disk', 2 )->told( problem => 'configuration', qr/of Type 'Disk', not 'AmazonS3'/ );
};

subtest 'options' => sub {
    my $found = $check->with( 'no Bucket', 2, { Bucket => undef } );
    $found->told( problem => 'options', qr/\Aoption Bucket is missing/, qr/correct it in RT_SiteConfig\.pm/ );
    $found->only( problem => 'options' );

    my %wrong =
        ( Regoin => 'eu', Prefx => 'rt/', Retries => 'many', ReadTimeout => 0, Deadline => -1, Colour => [1] );
    $found = $check->with( 'many mistakes', 2, { %wrong, Proxy => 'socks5://me:hunter2@h' } );
    $found->told( problem => 'options', $_, qr/correct it/ )
        for qr/'Regoin': did you mean Region\?/, qr/'Prefx': did you mean Prefix\?/, qr/option Retries: 'many'/,
        qr/option ReadTimeout: '0'/, qr/option Deadline: '-1'/, qr/option Colour is not a plain value/,
        qr/option Proxy: '\*\*\*\@h'/;
    $found->told( problem => 'put', qr/nothing is written until this is mended/, qr/mend the option/ );
};

subtest 'no such bucket' => sub {
    $check->with( 'RT has stored nothing', 1, { Bucket => 'fiels' } )
        ->told( warning => 'bucket', qr/NoSuchBucket.*; RT makes it when/, qr/see that Bucket is spelt right/ );
    $check->with( 'it may not be made', 2, { Bucket => 'fiels', CreateBucket => 0 } )
        ->told( problem => 'bucket', qr/NoSuchBucket/, qr/or make the bucket \(.*CreateBucket/ );
};

subtest 'keys that are wrong' => sub {
    my $found = $check->with( 'another secret', 2, { SecretAccessKey => 'hunter2hunter2' } );
    $found->told( problem => 'bucket', qr/SignatureDoesNotMatch/, qr/correct AccessKeyId and SecretAccessKey/ );
    $found->told( unknown => 'rights', qr/were not looked at/ );
};

subtest 'TLS' => sub {
    my $found = $check->with( 'an expired certificate', 2, { Host => $s3->https_expired } );
    $found->told( problem => 'certificate', qr/has expired on 20\d\d/, qr/renew it/ );
    $found->told( problem => 'bucket', qr/\(certificate has expired\)/ );

    my %trouble = (
        https_other_name =>
            [ certificate => qr/is for other\.example, and not for localhost/, qr/let Host be a name/ ],
        https_unknown_ca => [ certificate => qr/unable to get local issuer|self.signed/, qr/set CAFile/ ],
        https_tls11      => [ tls         => qr/\Ano TLS with localhost:\d+: /,          qr/TLS 1\.2 or 1\.3/ ],
        https_plain      => [ tls         => qr/\Ano TLS with /, qr{without TLS: Host => 'http://} ],
        https_stall      =>
            [ tls => qr/\Ano TLS with localhost:\d+: no answer to the handshake/, qr/whether something between/ ],
    );
    for my $name ( sort keys %trouble ) {
        my $group = Rts3::Test::ToolCheck::Group->new( given => { CAFile => $s3->ca, Host => $s3->$name } );
        $group->look('Network')->told( problem => @{ $trouble{$name} } );
    }

    # TLS has something to read, the server's tickets, and HTTP nothing
    $s3->faults( { do => { stall => { at => 'received' } } } );
    my $class  = Rts3::Test::ToolCheck::Group->CLASS;
    my $group  = Rts3::Test::ToolCheck::Group->new( given => { CAFile => $s3->ca } );
    my $start  = time;
    my $answer = "${class}::Web"->Fetch( $group, $s3->https . '/', timeout => 0.5 );
    is( $answer->{status}, 599, 'a server that is silent after the handshake' );
    like( $answer->{content}, qr/no answer|[Tt]imed out/, '... is no answer' );
    cmp_ok( time - $start, '<', 10, '... and is not waited for' );
    $s3->faults;

    my %found =
        ( begins => time - 1, ends => time + 36 * 3600, subject => 's', issuer => 'i', fits => 1, errors => [] );
    my $told = sub {
        my (%certificate) = @_;
        $group->{lines} = [];
        "${class}::Tls"->can('_Certificate')->( $group, 'host', \%certificate );
        return $group;
    };
    $told->(%found)->told( warning => 'certificate', qr/\bends in 1 day, on 20\d\d-/, qr/renew it/ );
    $told->( %found, begins => time + 600, errors => ['not yet valid'] )
        ->told( problem => 'certificate', qr/is good only from 20\d\d.* UTC on/, qr/this machine's clock/ );
};

subtest 'addresses, and time' => sub {
    my $listener = IO::Socket::IP->new( Listen => 5, LocalHost => '127.0.0.1' ) or die $@;
    my $class    = Rts3::Test::ToolCheck::Group->CLASS;
    my $group    = Rts3::Test::ToolCheck::Group->new;
    my @answered =
        "${class}::Network"->can('_Connect')->( $group, 'host', $listener->sockport, '127.0.0.2', '127.0.0.1' );
    is_deeply( \@answered, ['127.0.0.1'], 'one address of two' );
    $group->told( warning => 'connection', qr/not at 127\.0\.0\.2 \(Connection refused\)/, qr/take them out/ );

    require_ok($class);
    my $slow = $class->new( tool => RT::ExternalStorage::AmazonS3::Tool->new( output => Rts3::Test::Lines->new ) );
    $slow->{until} = 1;
    ok( !$slow->_Group( 'Rights', sub { $slow->Report( ok => "right $_", 'allowed' ) for 1 .. 5; return 1 } ),
        'it has an end' );
    is_deeply(
        [ map {"$_->{result} $_->{check}"} @Rts3::Test::Lines::Said ],
        [ 'ok right 1', 'problem time' ],
        '... which it says'
    );
};

{

    package Rts3::Test::Lines;
    our @Said;
    sub new    { return bless {}, $_[0] }
    sub Record { my ( $self, %record ) = @_; push @Said, \%record; return }
    sub IsText { return 1 }
    sub Line   {return}
}

subtest 'nobody there' => sub {
    my $found = $check->with( 'no server', 2, { Host => 'https://127.0.0.1:1' } );
    $found->told( problem => 'connection', qr/\Aport 1 of 127\.0\.0\.1: .*refused/i, qr/that the server runs/ );
    $found->told( problem => 'bucket',     qr/Connection refused/,                   qr/that the server runs/ );
    my ( $exit, $out, $err ) = $rt->run_tool( 'check', '--quiet' );
    is( "$exit$out", '2', '... with --quiet too, and nothing on standard output' );
    like(
        $err,
        qr/^problem  connection: .*\n {9}-> see that Host .*\nproblem  bucket: .*\n {9}-> see/m,
        '... but what is wrong'
    );
    unlike( $err, qr/^(?:ok|-) /m, '... and nothing else' );
    Rts3::Test::ToolCheck::Group->new( given => { Host => 'https://nowhere.invalid' } )->look('Network')
        ->told( problem => 'name', qr/\Anowhere\.invalid can't be looked up: /, qr/correct Host/ );
};

subtest 'a proxy' => sub {
    my $proxy = Rts3::Test::Proxy->start;
    my $found = $check->with( 'one that works', 0, { Proxy => 'http://me:hunter2@' . $proxy->address } );
    $found->told( ok => 'proxy', qr/\A\Q${\ $proxy->address }\E\z/ );
    $found->told( ok => $_,      qr/./ ) for qw(tls certificate clock bucket public delete);
    my %asked = map { $_ => 1 } $proxy->asked;
    is_deeply( [ keys %asked ], [ 'CONNECT ' . $s3->https_host . ' Basic bWU6aHVudGVyMg==' ], '... all through it' );

    $proxy->refuse;
    my $group = Rts3::Test::ToolCheck::Group->new(
        given => { CAFile => $s3->ca, Host => $s3->https, Proxy => $proxy->address } );
    $group->look('Network')->told( problem => 'tls', qr/the proxy says: 407 Proxy Authentication Required/ );
    $group = Rts3::Test::ToolCheck::Group->new( given => { Host => $s3->https, Proxy => 'http://127.0.0.1:1' } );
    $group->look('Network')->told( problem => 'connection', qr/\Aport 1 of 127\.0\.0\.1: /, qr/Proxy/ );
};

done_testing;
