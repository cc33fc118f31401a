#!/usr/bin/perl
# rt-s3 verify --deep: every object's digest, by several processes, and on from where it was ended.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Needs   qw(needs_library needs_rt needs_s3);
use Rts3::Test::Process ();

needs_library;
my $s3     = needs_s3;
my $bucket = 'attachments';
my $rt     = needs_rt(
    storage => { Type => 'AmazonS3', Bucket => $bucket, $s3->options, Retries => 0, Deadline => 6 },
    config  => 'Set(@LexiconLanguages, qw(en));'
);
my $json  = JSON::PP->new->utf8;
my $state = $rt->dir . '/state';

# Forty files, made into external rows by hand
my %content = map { ( sha256_hex("content $_") => "content $_" ) } 1 .. 40;
my @digests = sort keys %content;
$s3->make_bucket($bucket);
{
    my $dbh = $rt->dbh;
    $dbh->do(
        'INSERT INTO Attachments (TransactionId, Parent, Filename, ContentEncoding, Content, Headers) '
            . "VALUES (1, 0, ?, 'external', ?, ?)",
        {}, $content{$_}, $_, 'Content-Length: ' . length( $content{$_} ) . "\n"
    ) for reverse @digests;
}
restore();

sub put {
    my ( $digest, $content ) = @_;
    return spew( $s3->object_path( $bucket, $digest ), $content );
}

sub restore {
    $s3->faults;
    put( $_, $content{$_} ) for @digests;
    return;
}

# What has the right size and is wrong all the same
sub damage {
    my (@numbers) = @_;
    put( $_, $content{$_} =~ s/c/d/r ) for @digests[@numbers];
    return;
}

sub evaluated {
    my ($out) = @_;
    my ( %found, $last );
    for my $line ( split /\n/, $out ) {
        $last = $json->decode($line);
        push @{ $found{ $last->{finding} } }, $last->{digest} if $last->{finding};
    }
    $_ = [ sort @{$_} ] for values %found;
    return ( \%found, $last );
}

sub deep {
    my (@options) = @_;
    $s3->clear_log;
    my ( $status, $out, $err, $seconds ) = $rt->run_tool( 'verify', '--deep', '--json', @options );
    diag $err if length $err;
    return ( $status, evaluated($out), $seconds );
}

sub start {
    my (@options) = @_;
    $s3->clear_log;
    my $out = $rt->dir . '/out';
    my $pid = Rts3::Test::Process::spawn(
        command => [ $rt->tool( 'verify', '--deep', '--json', @options ) ],
        env     => { $rt->environment, TMPDIR => $rt->dir },
        out     => $out,
        err     => "$out.err"
    );
    return ( $pid, $out );
}

sub wait_for_gets {
    my ($number) = @_;
    for ( 1 .. 600 ) {
        return 1 if $s3->requests( operation => 'GetObject' ) >= $number;
        sleep 0.05;
    }
    die "there were no $number requests within 30 s\n";
}

sub gets {
    my @keys = sort map { $_->{key} } $s3->requests( operation => 'GetObject' );
    return @keys;
}

sub kept {
    return $rt->call( <<'END' );
        require RT::ExternalStorage::AmazonS3::Records;
        return RT::ExternalStorage::AmazonS3::Records->Last('verify');
END
}

subtest 'every object' => sub {
    my ( $status, $found, $last ) = deep();
    is( $status,                   0,  'exit status' );
    is( $last->{summary}{checked}, 40, '... all were looked at' );
    is_deeply( [ gets() ], \@digests, '... each once' );

    damage( 3, 39 );
    ( $status, $found ) = deep();
    is( $status, 1, 'damaged ones: exit status' );
    is_deeply( $found, { damaged => [ @digests[ 3, 39 ] ] }, '... which' );
    restore();
};

subtest 'many references to one file' => sub {
    my $dbh = $rt->dbh;
    $dbh->do(
        'INSERT INTO Attachments (TransactionId, Parent, Filename, ContentEncoding, Content, Headers) '
            . "VALUES (1, 0, 'again', 'external', ?, '')",
        {}, $digests[7]
    ) for 1 .. 24;
    unlink $s3->object_path( $bucket, $digests[7] );
    my ( undef, $out ) = $rt->run_tool( 'verify', '--json' );
    my ($record) = map { $json->decode($_) } split /\n/, $out;
    is( $record->{digest},                 $digests[7], 'it is told once' );
    is( $record->{reference_count},        25,          '... how many there are' );
    is( scalar @{ $record->{references} }, 20,          '... and some of them' );
    my ( undef, undef, $text ) = $rt->run_tool('verify');
    like( $text, qr/\Amissing: $digests[7]\n(?:    \S.*\n){20}    and 5 more\n\z/, 'as text' );
    $dbh->do(q{DELETE FROM Attachments WHERE Filename = 'again'});
    restore();
};

subtest 'several at a time' => sub {
    $s3->faults( { operation => 'GetObject', do => { delay_ms => 500 } } );
    my ( $status, undef, $last ) = deep();
    cmp_ok( $last->{summary}{seconds}, '<', 15, 'eight, if not said' );
    is( scalar $s3->connections, 9, '... over as many connections, and one for the listing' );
    ( $status, undef, $last ) = deep(qw(--concurrency 40));
    is( scalar $s3->connections, 41, 'as many as are said' );
    restore();

    my $page = join '', map {"<Contents><Key>$_</Key><Size>200000000</Size></Contents>"} @digests;
    my $body = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>$page</ListBucketResult>";
    $s3->faults( { operation => 'ListObjectsV2', do => { answer => { status => 200, body => $body } } },
        { operation => 'GetObject', do => { delay_ms => 100 } } );
    ( $status, undef, $last ) = deep(qw(--concurrency 8));
    is( $status, 0, 'large ones, as the listing says' );
    cmp_ok( $last->{summary}{seconds}, '>=', @digests * 0.1, '... one at a time' );
    restore();
};

subtest 'progress' => sub {
    $s3->faults( { operation => 'GetObject', do => { delay_ms => 100 } } );
    damage(20);
    my $run = Rts3::Test::Process::run(
        command => [ 'script', '-qec', join( ' ', $rt->tool(qw(verify --deep --concurrency 1)) ), '/dev/null' ],
        env     => { $rt->environment }
    );
    is( $run->{exit}, 1, 'on a terminal: exit status' );
    my @lines   = split /[\r\n]+/, $run->{out};
    my ($found) = grep { $lines[$_] =~ /\Adamaged: / } 0 .. $#lines;
    my @shown   = grep { $lines[$_] =~ /\Areferences looked at: \d+ of 40 \(\d+%\)/ } 0 .. $#lines;
    cmp_ok( scalar @shown, '>=', 8, '... it is told all the time' );
    ok( $shown[2] < $found && $found < $shown[-2], '... before and after what was found' );
    like( $lines[ $shown[-1] ], qr/, \d+\/s *\z/,           '... and how fast' );
    like( $lines[-1],           qr/looked at: 1 damaged\z/, '... and does not stay' );
    restore();

    require RT::ExternalStorage::AmazonS3::Tool;
    require RT::ExternalStorage::AmazonS3::Tool::Verify::Report;
    my $report = sub {
        my (%options) = @_;
        my $tool      = RT::ExternalStorage::AmazonS3::Tool->new( options => \%options );
        my $told      = RT::ExternalStorage::AmazonS3::Tool::Verify::Report->new($tool);
        $told->{progress}{terminal} = 0;
        open my $err, '>', \my $text or die $!;
        local *STDERR = $err;
        $told->Progress( 'done', $_, 1000 ) for 1 .. 10;
        $told->{progress}{shown} -= 61;
        $told->Progress( 'done', $_, 1000 ) for 11 .. 20;
        close $err or die $!;
        return $text // '';
    };
    is( $report->(),             "done: 11 of 1000 (1%)\n", 'elsewhere one line a minute' );
    is( $report->( quiet => 1 ), '',                        '... and with --quiet none' );
};

subtest 'a server that keeps SHA-256' => sub {
    require RT::ExternalStorage::AmazonS3::Error;
    require RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket;
    require RT::ExternalStorage::AmazonS3::Tool::Verify::Look;
    my $class = 'RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket';
    for my $host (
        undef, 's3.amazonaws.com',
        'https://s3.eu-central-1.amazonaws.com/',
        's3.cn-north-1.amazonaws.com.cn:443'
        )
    {
        ok( $class->can('KeepsChecksums')->( { options => { Host => $host } } ), $host // 'no Host' );
    }
    for my $host ( '127.0.0.1', 'minio.example', 'amazonaws.com.example', 'notamazonaws.com',
        'http://x/amazonaws.com' )
    {
        ok( !$class->can('KeepsChecksums')->( { options => { Host => $host } } ), "not $host" );
    }

    # AWS as far as it is needed: a HEAD with a right, a wrong, and no checksum
    {

        package Rts3::Test::Kept;
        our @Calls;
        sub head  { push @Calls, "head $_[1]"; return { size => 1, checksum => { a => 'a', b => 'x' }->{ $_[1] } } }
        sub get   { push @Calls, "get $_[1]";  return 'content' }
        sub drain {return}
    }
    my $look = RT::ExternalStorage::AmazonS3::Tool::Verify::Look->new(
        native    => bless( {}, 'Rts3::Test::Kept' ),
        checksums => 1
    );
    my %verdict = map { $_ => $look->Work( { digest => $_, deep => 1 } )->{name} } qw(a b c);
    is( $verdict{a}, 'whole',   'the right one is believed' );
    is( $verdict{b}, 'corrupt', 'a wrong one, too' );
    is( $verdict{c}, 'whole',   'without one' );
    is_deeply( \@Rts3::Test::Kept::Calls, [ 'head a', 'head b', 'head c', 'get c' ], '... the object is read' );
};

subtest 'ended and taken up again' => sub {
    damage( 1, 38 );
    my %delay = ( operation => 'GetObject', do => { delay_ms => 300 } );
    for my $signal (qw(TERM INT KILL)) {
        $s3->faults( \%delay );
        my ( $pid, $out ) = start( '--state', $state, qw(--concurrency 2) );
        wait_for_gets(20);
        my $ended = time;
        kill $signal => $pid;
        ok( Rts3::Test::Process::wait_for( $pid, 30 ), "SIG$signal" );
        cmp_ok( time - $ended, '<', 5, '... soon' );
        is_deeply( [ glob $rt->dir . '/rt-s3-*' ], [], '... and no temporary file is left' );

        if ( $signal ne 'KILL' ) {
            is( $?, 2 << 8, '... exit status' );
            like(
                slurp($out),
                qr/"error":"ended by SIG$signal; \d+ of 40 references looked at, \d+ objects looked at; the same command goes on from there"/,
                '... where it stands'
            );
            like( kept()->{stopped}, qr/\Aended by SIG$signal/, '... and that is kept' );
        }
        $s3->faults;
        my $kept   = $json->decode( slurp($state) );
        my @before = grep { $_ le $kept->{after} } @digests;
        cmp_ok( scalar @before, '>=', $signal eq 'KILL' ? 6 : 14, '... much is written down' );
        is_deeply( $kept->{again}, [ grep { $_ eq $digests[1] } @before ], '... and what was damaged' );

        my ( $status, $found ) = deep( '--state', $state );
        is( $status, 1, 'on from there: exit status' );
        is_deeply( $found, { damaged => [ @digests[ 1, 38 ] ] }, '... all that is damaged is told' );
        my %again  = map  { $_ => 1 } @{ $kept->{again} };
        my @expect = grep { $_ gt $kept->{after} || $again{$_} } @digests;
        my %gets   = map  { $_ => 1 } gets();
        is_deeply( [ sort keys %gets ], \@expect, '... what was whole is not read again' );
        ok( !-e $state, '... in the end the file is gone' );

        my $whole = kept();
        is_deeply( [ @{$whole}{qw(checked damaged stopped)} ], [ 40, 2, undef ], 'what is kept is of both' );
        cmp_ok( $whole->{started}, '<=', int $ended, '... from the first on' );
    }
    restore();
};

subtest 'state files' => sub {
    for my $wrong (
        "\n", '{}', '[]',
        '{"after":"x","again":[],"bucket":""}',
        '{"after":"","again":[],"bucket":"","looked":"x"}'
        )
    {
        spew( $state, $wrong );
        my ( $status, undef, $last ) = deep( '--state', $state );
        is( $status, 2, 'no file of ours' );
        like( $last->{error}, qr/\A--state: \Q$state\E is no file of this command/, '... is said' );
        is( slurp($state), $wrong, '... and it is left alone' );
    }
    spew( $state, $json->encode( { after => '', again => [], bucket => 'host other ' } ) );
    my ( $status, undef, $last ) = deep( '--state', $state );
    is( $status, 2, 'the file of another bucket' );
    like( $last->{error}, qr/is that of another bucket \(host other \)/, '... is said' );
    unlink $state;
    ( $status, undef, $last ) = deep( '--state', $rt->dir . '/no/state' );
    is( $status, 2, 'a file that can not be written' );
    like( $last->{error}, qr/cannot be written: No such file or directory/, '... is said' );
    is( scalar $s3->requests, 0, '... before anything is done' );

    # Of a bucket in which everything is damaged
    require RT::ExternalStorage::AmazonS3::Tool::Verify::State;
    my @many = map { sprintf '%064x', $_ } 1 .. 12_000;
    my $kept = RT::ExternalStorage::AmazonS3::Tool::Verify::State->new( file => $state, bucket => '' );
    for my $digest (@many) {
        $kept->Begun($digest);
        $kept->Ended( $digest, 0 );
    }
    cmp_ok( keys %{ $kept->{$_} }, '<=', 10_001, "so many damaged ones are noted: $_" ) for qw(again done);
    is( scalar @{ $kept->{waiting} }, 0, '... and no more' );
    $kept->Save;
    my $again = RT::ExternalStorage::AmazonS3::Tool::Verify::State->new( file => $state, bucket => '' );
    is( scalar( grep { $again->IsDone($_) } @many ), 0, '... and all of them are looked at again' );
    $again->Forget;
};

subtest 'trouble in the middle' => sub {
    my %trouble = (
        'a server that is down' => [ { close => { at => 'received' } }, 2 ],
        'a key that is revoked' => [ { answer => { status => 403, code => 'InvalidAccessKeyId' } }, 2 ],
        'no bucket any more'    => [ { answer => { status => 404, code => 'NoSuchBucket' } },       2 ],
        'nothing may be read'   => [ { answer => { status => 403, code => 'AccessDenied' } },       2 ],
    );
    for my $name ( sort keys %trouble ) {
        $s3->faults( { operation => 'GetObject', from => 10, do => $trouble{$name}[0] } );
        my ( $status, $found, $last ) = deep(qw(--concurrency 2));
        is( $status, 2, "$name: exit status" );
        ok( length $last->{error}, '... and why' ) and note $last->{error};
        delete $found->{unreadable} if $name eq 'nothing may be read';
        is_deeply( $found, {}, '... and nothing false' );
    }

    $s3->faults( { operation => 'GetObject', do => { delay_ms => 300 } } );
    my ( $pid, $out ) = start();
    wait_for_gets(8);
    my ($worker) = split / /, slurp("/proc/$pid/task/$pid/children");
    kill KILL => $worker;
    ok( Rts3::Test::Process::wait_for( $pid, 30 ), 'a process that is killed' );
    is( $? >> 8, 2, '... exit status' );
    like( slurp($out), qr/\A\{"error":"the process that read [0-9a-f]{64} has ended before its time; /,
        '... and why' );

    $s3->faults(
        {
            operation => 'GetObject',
            key       => $digests[5],
            do        => { answer => { status => 403, code => 'InvalidObjectState' } }
        }
    );
    damage(20);
    my ( $status, $found ) = deep( '--state', $state );
    is( $status, 2, 'one that is archived: exit status' );
    is_deeply( $found, { unreadable => [ $digests[5] ], damaged => [ $digests[20] ] }, '... the others were read' );
    restore();
    ( $status, $found ) = deep( '--state', $state );
    is( $status, 0, 'once more' );
    is_deeply( [ gets() ], [ @digests[ 5, 20 ] ], '... only what was not well' );
};

done_testing;
