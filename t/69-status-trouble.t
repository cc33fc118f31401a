#!/usr/bin/perl
# rt-s3 status in trouble: what is not known is not said to be nothing, and what was known is kept.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::MadeUp  ();
use Rts3::Test::Needs   qw(needs_library needs_rt needs_s3);
use Rts3::Test::Process ();

needs_library;
my $s3      = needs_s3;
my $bucket  = 'attachments';
my %storage = ( Type => 'AmazonS3', Bucket => $bucket, $s3->options, Retries => 0 );
my $config  = 'Set(@LexiconLanguages, qw(en));';
my $rt      = needs_rt( storage => \%storage, config => $config );
my $json    = JSON::PP->new->utf8;

# Three references to one object, and two contents in the database
my $digest = sha256_hex('a');
$s3->make_bucket($bucket);
spew( $s3->object_path( $bucket, $digest ), 'x' x 4000 );
{
    my $dbh = $rt->dbh;
    $dbh->do('DELETE FROM Attachments');
    my $insert =
        $dbh->prepare( 'INSERT INTO Attachments (TransactionId, Parent, ContentEncoding, ContentType, Content, '
            . q{Headers, Created) VALUES (1, 0, ?, 'application/pdf', ?, '', '2022-01-01 00:00:00')} );
    $insert->execute( external => $digest )   for 1 .. 3;
    $insert->execute( none     => 'n' x 700 ) for 1 .. 2;
}

# The exit status, and the last record
sub status {
    my ( $status, $out ) = $rt->run_tool( 'status', '--json', @_ );
    return ( $status, $json->decode( ( split /\n/, $out )[-1] ) );
}

is( ( status() )[0], 0, 'all is well' );

sub unknown {
    my ( $what, $why ) = @_;
    my $file = $rt->dir . '/page.html';
    my ( $status, $out, $err ) = $rt->run_tool( qw(status --html), $file );
    is( $status, 2, "$what: exit status" );
    like( $err, qr/^What only the bucket tells is not known: [^\n]*$why/m, '... why' );
    like( $out, qr/^in S3 +3 +not known/m,                                 '... that there is something' );
    like( $out, qr/^  as objects +not known +not known/m,                  '... but not what' );
    like( $out, qr/^in the database +2 +1\.4 kB$/m,                        '... figures of the database' );
    like( $out, qr/; sizes in S3 are not known$/m,                         '... and of the years' );
    unlike( $err, qr/without an object/, '... and nothing false' );
    like( slurp($file), qr/not known: [^<]*$why/, '... the page says so, too' );
    return;
}

subtest 'trouble with the bucket' => sub {
    my ( $id, $secret ) = $s3->no_list_key;
    $rt->set_storage( %storage, AccessKeyId => $id, SecretAccessKey => $secret );
    unknown( 'a key that may not list', qr/AccessDenied/ );
    $rt->set_storage( %storage, Bucket => 'typo' );
    unknown( 'no such bucket', qr/NoSuchBucket/ );
    $rt->set_storage( %storage, Region => undef, AccessKeyId => undef );
    unknown( 'half a pair of keys', qr/SecretAccessKey/ );
    $rt->set_storage;
    unknown( 'no configuration', qr/external storage is not configured/ );
    $rt->set_storage(%storage);
    $s3->stop;
    unknown( 'a server that is down', qr/Connection refused/ );
    my ( undef, $last ) = status();
    is( $last->{summary}{$_},                      undef, "... $_ is null" ) for qw(objects orphans missing saved);
    is( ( status('--cached') )[1]{summary}{saved}, 8000,  '... what was known is kept' );
    $s3->restart;
};

subtest 'ended' => sub {
    my $file = $rt->dir . '/page.html';
    spew( $file, 'the one before' );
    for my $signal (qw(INT TERM KILL)) {
        my ( undef, $before ) = status('--cached');
        $s3->faults( { operation => 'ListObjectsV2', do => { delay_ms => 1500 } } );
        $s3->clear_log;
        my $out = $rt->dir . '/out';
        my $pid = Rts3::Test::Process::spawn(
            command => [ $rt->tool( qw(status --json --html), $file ) ],
            env     => { $rt->environment },
            out     => $out,
            err     => "$out.err"
        );
        for ( 1 .. 600 ) {
            last if $s3->log_lines;
            sleep 0.05;
        }
        kill $signal => $pid;
        ok( Rts3::Test::Process::wait_for( $pid, 30 ), "SIG$signal" );
        if ( $signal ne 'KILL' ) {
            is( $?,          2 << 8,                                '... exit status' );
            is( slurp($out), qq({"error":"ended by SIG$signal"}\n), '... and why' );
            is_deeply( [ glob "$file.*" ], [], '... nothing is left' );
        }
        $s3->faults;
        is( slurp($file), 'the one before', '... the page is that of before' );
        is_deeply( ( status('--cached') )[1], $before, '... and so are the figures' );
    }
    unlink glob "$file.*";
};

subtest 'what goes meanwhile' => sub {
    unlink $s3->object_path( $bucket, $digest );
    $s3->faults( { operation => 'ListObjectsV2', do => { delay_ms => 1500 } } );
    $s3->clear_log;
    my $out = $rt->dir . '/out';
    my $pid = Rts3::Test::Process::spawn(
        command => [ $rt->tool(qw(status --json)) ],
        env     => { $rt->environment },
        out     => $out,
        err     => "$out.err"
    );
    for ( 1 .. 600 ) {
        last if $s3->log_lines;
        sleep 0.05;
    }
    my $dbh = $rt->dbh;
    $dbh->do(q{UPDATE Attachments SET ContentEncoding = 'none' WHERE ContentEncoding = 'external'});
    ok( Rts3::Test::Process::wait_for( $pid, 30 ), 'an object, and meanwhile its rows' );
    is( $? >> 8,                                          0, '... exit status' );
    is( $json->decode( slurp($out) )->{summary}{missing}, 0, '... is not missing' );
    $s3->faults;
    $dbh->do( q{UPDATE Attachments SET ContentEncoding = 'external' WHERE Content = ?}, {}, $digest );
    is( ( status() )[1]{summary}{missing}, 3, 'what the rows do refer to is' );
    spew( $s3->object_path( $bucket, $digest ), 'x' x 4000 );
};

subtest 'trouble with the database' => sub {
    my $dbh = $rt->dbh;
    $dbh->do('ALTER TABLE ObjectCustomFieldValues RENAME TO Gone');
    my ( $status, $last ) = status();
    $dbh->do('ALTER TABLE Gone RENAME TO ObjectCustomFieldValues');
    is( $status, 2, 'exit status' );
    like( $last->{error}, qr/\ART's database: .*no such table/, '... and why' );
};

subtest 'called wrongly' => sub {
    for my $wrong ( ['--nope'], ['x'], ['--html'], [ '--html', '' ] ) {
        my ( $status, undef, $err ) = $rt->run_tool( 'status', @{$wrong} );
        is( $status, 64, "@{$wrong}" );
        like( $err, qr/\Art-s3 status: .*\nSee rt-s3 status --help\n\z/, '... what is wrong' );
    }
    my ( $status, $out ) = $rt->run_tool(qw(status --help));
    is( $status, 0, '--help' );
    like( $out, qr/^\s*--cached\n.*^EXIT STATUS/ms, '... is the manual' );
};

subtest 'many' => sub {
    my $files = Rts3::Test::MadeUp->new( count => 5000, missing => [ 0, 1999, 4999 ] );
    my $other = needs_rt(
        storage =>
            { Type => 'AmazonS3', Bucket => 'b', Host => $files->host, AccessKeyId => 'A', SecretAccessKey => 'B' },
        config => $config
    );
    my ( $status, undef, $err ) = $other->run_tool(qw(status --cached));
    is(
        "$status $err",
        "2 rt-s3 status: there are no figures yet: without --cached they are counted\n",
        'no figures yet'
    );
    $files->fill( $other->dbh );
    my $run = $files->measured( [ $other->tool(qw(status --json)) ], { $other->environment } );
    is( $run->{exit}, 1, '5,000 references: exit status' ) or diag $run->{err};
    my $figures = $json->decode( ( split /\n/, $run->{out} )[-1] )->{summary};
    is( $figures->{missing},         3,         '... what is missing' );
    is( $figures->{external}{count}, 5000,      '... how many' );
    is( $figures->{external}{bytes}, 4_997_000, '... how large' );
    cmp_ok( $run->{peak}, '<', 150, '... memory, MB' );
};

done_testing;
