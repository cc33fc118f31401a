#!/usr/bin/perl
# rt-s3 check where all is well, what it says of a bucket's settings, of other users and of cron, and how it ends.

use strict;
use warnings;

use File::Path qw(make_path);
use File::Temp ();
use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs_rt needs_s3);
use Rts3::Test::Process;
use Rts3::Test::ToolCheck;
use Rts3::Test::ToolCheck::Group;

my $s3 = needs_s3;
$s3->make_bucket('files');
my %good  = ( Type       => 'AmazonS3', Bucket => 'files', $s3->options, Host => $s3->https, CAFile => $s3->ca );
my %links = ( DirectLink => 'presigned' );
my $on    = 'Set($ExternalStorageDirectLink, 1);';
my $rt    = needs_rt( storage => { %good, %links }, config => $on );
my $check = Rts3::Test::ToolCheck->new( rt => $rt, s3 => $s3 );

subtest 'all is well' => sub {
    my $found = $check->run( 'a good configuration', 0 );
    $found->only($_) for qw(warning problem);
    my $localhost = qr/\bport \d+ of localhost\z/;
    $found->told( ok => @$_ )
        for (
        [ options     => qr/\AAccessKeyId, Bucket, CAFile, DirectLink, Host, SecretAccessKey: understood/ ],
        [ keys        => qr/\A\Q${\ $s3->access_key }\E, from options; they do not expire/ ],
        [ name        => qr/\Alocalhost is .*127\.0\.0\.1/ ],
        [ connection  => $localhost ],
        [ tls         => qr/\ATLS 1\.3, / ],
        [ certificate => qr/of localhost, by .*, ends in [\d,]+ days/ ],
        [ clock       => qr/the same as|\d s/ ],
        [ bucket      => qr/\Afiles is there, with no object yet/ ],
        [ owner       => qr/not known to this server/ ],
        [ region      => qr/us-east-1/ ],
        ( map { [ $_ => qr/\Aallowed\z/ ] } qw(put get head list delete) ),
        [ begin       => qr/may begin/ ],
        [ encrypted   => qr/does not say/ ],
        [ 'way back'  => qr/RT's own module could read/ ],
        [ condition   => qr/If-None-Match is heeded/ ],
        [ checksum    => qr/keeps the SHA-256/ ],
        [ attachments => qr/has moved none yet/ ],
        [ public      => qr/\Ano\z/ ],
        [ links       => qr/a presigned link at localhost gives the file, with its type/ ],
        (
            map { [ $_ => qr/not known to this server|none/ ] }
                qw(lifecycle versioning object-lock encryption uploads)
        ),
        );

    my ( $exit, $out, $err ) = $rt->run_tool('check');
    is( "$exit$err", '0', 'as text' );
    like( $out, qr/^ok       keys: /m,                        '... a line for each' );
    like( $out, qr/^0 problems, 0 warnings, \d+ ok\b.*\n\z/m, '... the last one sums up' );
    unlike( $out, qr/^(?!ok |- |0 problems)/m, '... nothing else' );
    $check->tell_no_secret($out);
    ( $exit, $out, $err ) = $rt->run_tool( 'check', '--quiet' );
    is( "$exit$out$err", '0', 'with --quiet nothing at all' );
};

subtest 'called wrongly' => sub {
    my ( $exit, $out, $err ) = $rt->run_tool( 'check', '--as', 'nobody-here' );
    is( "$exit$out", '64', 'a user who is none' );
    like( $err, qr/--as: there is no user 'nobody-here'/, '... which it says' );
    ( $exit, $out, $err ) = $rt->run_tool( 'check', '--colour' );
    is( "$exit$out", '64', 'an option that is none' );
    ( $exit, $out, $err ) = $rt->run_tool( '--json', 'check' );
    is( "$exit$out", '64', 'an option before the command' );
    like( $err, qr/options come after the command, as in: rt-s3 COMMAND --json/, '... which it says' );
    ( $exit, $out ) = $rt->run_tool( 'check', '--version' );
    like( "$exit $out", qr/\A0 rt-s3 \d+\.\d+\S*\nRT \d/, 'the version, of all commands' );
    ( $exit, $out, $err ) = $rt->run_tool( 'help', 'check' );
    is( $exit, 0, 'the manual' );
    like( $out, qr/--as.*WHAT IS LOOKED AT.*lifecycle/s, '... tells of it' ) or diag $out;
};

# Ended by $signal once $is_time->(what it has printed), with the server slow in $operation from the $from-th on
sub ended_in_the_middle {
    my ( $name, $signal, $operation, $from, $is_time ) = @_;
    return subtest "ended in the middle, $name" => sub {
        $s3->faults( { operation => $operation, from => $from, do => { delay_ms => 3_000 } } );
        my ( $out, $err ) = map { $rt->dir . "/ended.$_" } qw(out err);
        spew( $out, '' );
        my $pid = Rts3::Test::Process::spawn(
            command => [ $rt->tool( 'check', '--json' ) ],
            env     => { $rt->environment },
            out     => $out,
            err     => $err
        );
        my $end = time + 60;
        sleep 0.05 while time < $end && !$is_time->( slurp($out) );
        sleep 0.5;
        is( scalar( my @there = $s3->objects('files') ), 1, 'its object is there' );
        kill $signal => $pid;
        ok( Rts3::Test::Process::wait_for( $pid, 30 ), 'it ends' );
        is( $? >> 8, 2, '... with status 2' );
        like( slurp($out), qr/"error":"ended by SIG$signal"/, '... and says so' );
        unlike( slurp($out), qr/"check":"links"/, '... before all has been looked at' );
        is_deeply( [ $s3->objects('files') ], [], '... its object is removed' );
        $s3->faults;
    };
}

ended_in_the_middle( 'while the library waits', 'TERM', 'HeadObject', 1, sub { scalar $s3->objects('files') } );
ended_in_the_middle( 'while Perl waits',        'PIPE', 'GetObject',  2, sub { $_[0] =~ /"check":"begin"/ } );

subtest 'settings of the bucket' => sub {
    my $rules = lifecycle(
        [ 'old mail', 'Enabled', '', '<Expiration><Days>365</Days></Expiration>' ],
        [ 'cold',     'Enabled', '', '<Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>' ],
        [ 'off',      'Disabled', '',      '<Expiration><Days>1</Days></Expiration>' ],
        [ 'logs',     'Enabled',  'logs/', '<Expiration><Days>1</Days></Expiration>' ],
    );
    my $uploads = '<ListMultipartUploadsResult><Upload><Key>a</Key><Initiated>2020-02-03T04:05:06.000Z</Initiated>'
        . '</Upload></ListMultipartUploadsResult>';
    $s3->faults(
        { operation => 'ListObjects',          do => { answer => { status => 200, body => "$rules" } } },
        { operation => 'ListMultipartUploads', do => { answer => { status => 200, body => $uploads } } },
    );
    my $found = $check->run( 'rules that delete and archive', 2 );
    $found->told(
        problem => 'lifecycle',
        qr/'old mail' deletes objects after 365 days; the rule 'cold' archives objects \(GLACIER\) after 30 days:/,
        qr/remove those rules/
    );
    $found->only( problem => 'lifecycle' );
    $found->told(
        warning => 'uploads',
        qr/\A1 unfinished, the oldest since 2020-02-03/, qr/AbortIncompleteMultipart/
    );
    $s3->faults;
};

subtest 'what documents say' => sub {
    my $sse =
          '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms'
        . '</SSEAlgorithm><KMSMasterKeyID>arn:k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule>'
        . '</ServerSideEncryptionConfiguration>';
    my $lock = '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>'
        . '<Mode>GOVERNANCE</Mode><Days>7</Days></DefaultRetention></Rule></ObjectLockConfiguration>';
    my $deletes = '<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>';
    my $other =
          '<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>'
        . '<Transition><Days>9</Days><StorageClass>STANDARD_IA</StorageClass></Transition>'
        . '<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>';
    my $tagged = '<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>' . $deletes;
    my $none   = qr/\Ano rule that deletes/;
    for my $row (
        [
            lifecycle => lifecycle( [ '', 'Enabled', '', $deletes ] ),
            '', problem => qr/a rule deletes objects on 2030/
        ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', 'rt/',     $deletes ] ), 'rt/', problem => qr/'x' deletes/ ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', 'rt/0a',   $deletes ] ), 'rt/', problem => qr/'x' deletes/ ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', 'rt',      $deletes ] ), 'rt/', problem => qr/'x' deletes/ ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', 'rt/logs', $deletes ] ), 'rt/', ok      => $none ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', 'other/',  $deletes ] ), 'rt/', ok      => $none ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', 'a.',      $deletes ] ), '',    ok      => $none ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', '',        $other ] ),   '',    ok      => $none ],
        [ lifecycle => lifecycle( [ 'x', 'Enabled', '',        $tagged ] ),  '',    ok      => $none ],
        [
            versioning => '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>',
            '', ok => qr/\Aon/
        ],
        [ versioning    => '<VersioningConfiguration xmlns="http://s3"/>', '', ok => qr/\Aoff: .* backup/ ],
        [ 'object-lock' => $lock, '', ok => qr/\Aon: for 7 days a version can't be deleted/ ],
        [ encryption    => $sse,  '', ok => qr/\Aaws:kms with the key arn:k by default\z/ ],
        [ uploads       => '<ListMultipartUploadsResult/>',                 '', ok => qr/\Anone unfinished/ ],
        [ lifecycle     => '<ListBucketResult/>',                           '', ok => qr/not known to this server/ ],
        [ lifecycle     => [ 501, 'NotImplemented' ],                       '', ok => qr/not known to this server/ ],
        [ lifecycle     => [ 404, 'NoSuchLifecycleConfiguration' ],         '', ok => qr/\Anone\z/ ],
        [ 'object-lock' => [ 404, 'ObjectLockConfigurationNotFoundError' ], '', ok => qr/\Anone\z/ ],
        [ versioning    => [ 403, 'AccessDenied' ],  '', unknown => qr/\(s3:GetBucketVersioning\)/ ],
        [ versioning    => [ 500, 'InternalError' ], '', unknown => qr/HTTP 500 InternalError/ ],
        )
    {
        my ( $what, $xml, $prefix, $result, $text ) = @$row;
        my $group =
            Rts3::Test::ToolCheck::Group->new( documents => { $what => $xml }, given => { Prefix => $prefix } );
        $group->look('Settings')->told( $result => $what, $text );
    }

    # Those that the bucket will remove, and those of somebody else, need nobody
    require HTTP::Date;
    my $uploads = sub {
        my ( $days, $key ) = @_;
        my $begun = HTTP::Date::time2isoz( time - $days * 86_400 ) =~ tr/ /T/r;
        return "<ListMultipartUploadsResult><Upload><Key>$key</Key><Initiated>$begun</Initiated></Upload>"
            . '</ListMultipartUploadsResult>';
    };
    my $abort = lifecycle(
        [
            'tidy',
            'Enabled',
            '',
            '<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>'
        ]
    );
    for my $row (
        [ 2, 'rt/a', $abort, ok      => qr/\A1 under way; the rule of the bucket removes them after 7 days\z/ ],
        [ 9, 'rt/a', $abort, warning => qr/\A1 unfinished/ ],
        [ 2, 'rt/a', '',     warning => qr/\A1 unfinished/ ],
        [ 2, 'b',    '',     ok      => qr/\Anone unfinished/ ],
        )
    {
        my ( $days, $key, $rules, @expected ) = @$row;
        my %documents = (
            lifecycle => $rules || [ 404, 'NoSuchLifecycleConfiguration' ],
            uploads   => $uploads->( $days, $key )
        );
        my $group = Rts3::Test::ToolCheck::Group->new( documents => \%documents, given => { Prefix => 'rt/' } );
        $group->look('Settings')->told( $expected[0] => 'uploads', $expected[1] );
    }
};

subtest 'what to do about what a server says' => sub {
    my $advice = 'RT::ExternalStorage::AmazonS3::Tool::Check::Advice';
    require_ok($advice);
    require RT::ExternalStorage::AmazonS3::Error;
    for my $row (
        [ server => q{the answer is not one of S3's: check the option Host [server: HTTP 404]}, qr/\Acorrect Host/ ],
        [
            server =>
                'InvalidRequest: Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests '
                . 'with Object Lock parameters [server: HTTP 400]',
            qr/\Aset Checksum => 'always'/
        ],
        [ server      => 'InternalError: made up [server: HTTP 500]', qr/ask the server's administrator/ ],
        [ unavailable => 'not asked, because the server was down',    qr/check again/ ],
        )
    {
        my ( $name, $text, $expected ) = @$row;
        like( $advice->For( RT::ExternalStorage::AmazonS3::Error->new( $name, $text ) ), $expected, $text );
    }
};

subtest 'keys that end, and keys that differ' => sub {
    my ( %mine, %theirs );
    require RT::ExternalStorage::AmazonS3::Tool::Check::Keys;
    no warnings qw(once redefine);
    local *RT::ExternalStorage::AmazonS3::Native::Inspection::new    = sub { return bless {}, $_[0] };
    local *RT::ExternalStorage::AmazonS3::Native::Inspection::facts  = sub { return {%mine} };
    local *RT::ExternalStorage::AmazonS3::Tool::Check::Child::Answer = sub { return {%theirs} };
    my $look = sub {
        my ( $user, %given ) = @_;
        return Rts3::Test::ToolCheck::Group->new( given => \%given )->look( 'Keys', $user );
    };
    %mine = ( source => 'instance', 'access-key-id' => 'ASIA1', expires => 1_900_000_000 );
    my $found = $look->();
    $found->told( ok => 'keys', qr/\AASIA1, from instance; good until 2030-03-17 17:46 UTC, and renewed in time\z/ );
    $found->told( unknown => 'keys of the web server', qr/--as www-data/ );
    $mine{expires} = 1_500_000_000;
    $look->()->told( problem => 'keys', qr/expired at 2017-07-14/, qr/renew them/ );
    %mine = ( source => 'options', 'access-key-id' => 'ASIA1' );
    $look->( undef, SessionToken => 'x' )
        ->told( warning => 'keys', qr/temporary, and nobody renews them/, qr/SessionToken/ );
    %mine   = ( source => 'profile', 'access-key-id' => 'AKIA1' );
    %theirs = ( source => 'profile', id              => 'AKIA2' );
    $found  = $look->( { name => 'www-data' } );
    $found->told( ok => 'keys of www-data', qr/\AAKIA2, from profile/ );
    $found->told(
        warning => 'keys of www-data',
        qr/not the same as this user's, AKIA1/, qr/give both the same keys/
    );
    $theirs{id} = 'AKIA1';
    $look->( { name => 'www-data' } )->only('warning');
};

subtest 'who moves attachments' => sub {
    my $tmp  = File::Temp->newdir( 'rts3-cron-XXXXXX', TMPDIR => 1 );
    my $root = $tmp->dirname;
    my $told = sub {
        my ($line) = @{ Rts3::Test::ToolCheck::Group->new->look( 'Schedule', $root )->{lines} };
        return "$line->{result} $line->{text}";
    };
    make_path( map {"$root/$_"} qw(etc/cron.d etc/systemd/system var/spool/cron/crontabs) );
    spew( "$root/etc/cron.d/rt", "#0 0 * * * root rt-externalize-attachments-5\n" );
    like( $told->(), qr/\Aunknown neither cron nor systemd/, 'a line that is a comment' );
    spew( "$root/var/spool/cron/crontabs/root", "0 0 * * * /opt/rt5/sbin/rt-externalize-attachments\n" );
    like( $told->(), qr{\Aok rt-externalize-attachments: .*/crontabs/root\z}, q{RT's} );
    spew( "$root/etc/systemd/system/rt.service", "[Service]\nExecStart=/opt/rt5/sbin/rt-s3 --json externalize\n" );
    like( $told->(), qr{\Awarning both rt-s3 externalize \(\S+rt\.service\) and rt-ext}, 'both' );
    rename "$root/var/spool/cron/crontabs/root", "$root/etc/cron.d/rt.dpkg-old";
    like( $told->(), qr{\Aok rt-s3 externalize: .*/rt\.service\z}, 'ours' );
};

subtest 'proxies, as the library has them' => sub {
    my $web = 'RT::ExternalStorage::AmazonS3::Tool::Check::Web';
    require_ok($web);
    for my $row (
        [ { Proxy => 'http://me:a%40b@p:3128/' }, {},                              'p:3128 Basic bWU6YUBi' ],
        [ { Proxy => 'p' },                       {},                              'p:80 ' ],
        [ { Proxy => 'none' },                    { https_proxy => 'http://p:1' }, '' ],
        [ { Proxy => 'socks5://p' },              {},                              '' ],
        [ {},                                     { https_proxy => 'http://p:1' }, 'p:1 ' ],
        [ {},                                     { HTTPS_PROXY => 'http://p:2' }, 'p:2 ' ],
        [ {},                                     { http_proxy => 'http://p:1' },  '' ],
        [ {}, { https_proxy => 'http://p:1', no_proxy => 'x, .example.org:443' },  '' ],
        [ {}, { https_proxy => 'http://p:1', no_proxy => 'ample.org' },            'p:1 ' ],
        [ {}, { https_proxy => 'http://p:1', no_proxy => '*' },                    '' ],
        )
    {
        my ( $given, $environment, $expected ) = @$row;
        local %ENV = %$environment;
        my $proxy = $web->Proxy( Rts3::Test::ToolCheck::Group->new( given => $given ), 1, 's3.example.org' );
        my $text  = $proxy ? "$proxy->{host}:$proxy->{port} " . ( $proxy->{authorization} // '' ) : '';
        is( $text, $expected, join ' ', %$given, %$environment );
    }
};

subtest 'what hangs is ended' => sub {
    my $child = 'RT::ExternalStorage::AmazonS3::Tool::Check::Child';
    require_ok($child);
    my $start = time;
    my ( $value, $error ) = $child->Answer( 0.3, sub { sleep 20 } );
    is( $error, 'no answer within 0.3 s', 'a child that hangs' );
    cmp_ok( time - $start, '<', 10, '... is not waited for' );
    is_deeply( scalar $child->Answer( 9, sub { [ "\x{263a}", { a => undef } ] } ),
        [ "\x{263a}", { a => undef } ], 'data' );
    my $file = $rt->dir . '/child';
    local $SIG{ALRM} = sub { die "enough\n" };
    Time::HiRes::alarm(1);
    ok(
        !eval {
            $child->Answer( 20, sub { spew( $file, $$ ); sleep 20 } );
            1;
        },
        'a signal that ends it'
    );
    is( $@, "enough\n", '... does' );
    ok( !kill( 0, slurp($file) ), '... and leaves no child' );
    is( ( $child->Answer( 9, sub { die "no\n" } ) )[1],      'no',                         'an error' );
    is( ( $child->Answer( 9, sub { kill KILL => $$ } ) )[1], 'it ended without an answer', 'an end' );
};

done_testing;

sub lifecycle {
    my (@rules) = @_;
    my $text    = join '', map {
        my ( $id, $status, $prefix, $does ) = @$_;
        "<Rule><ID>$id</ID><Status>$status</Status><Filter><Prefix>$prefix</Prefix></Filter>$does</Rule>"
    } @rules;
    return qq{<?xml version="1.0"?><LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">$text}
        . '</LifecycleConfiguration>';
}
