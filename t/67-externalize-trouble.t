#!/usr/bin/perl
# rt-s3 externalize when things go wrong: nothing is lost, what can be moved is, and the next run goes on.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Fcntl       qw(LOCK_NB LOCK_SH);
use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::AttachmentRows ();
use Rts3::Test::Needs          qw(needs_rt needs_s3);
use Rts3::Test::Process        ();

my $s3      = needs_s3;
my %storage = ( Type => 'AmazonS3', Bucket => 'files', $s3->options, Retries => 1 );
my $rt      = needs_rt( storage => \%storage );
$s3->make_bucket('files');

my $rows    = Rts3::Test::AttachmentRows->new( rt => $rt, s3 => $s3, bucket => 'files' );
my $content = $rows->contents;
$rt->run_tool(qw(externalize --quiet));

sub add  { return $rows->add(@_) }
sub row  { return $rows->row(@_) }
sub lost { return $rows->lost(@_) }
sub left { return $rows->left(@_) }
sub mark { return $rows->mark }

my $turn;

sub started {
    my (@arguments) = @_;
    $turn = $rt->externalizers_turn;
    return Rts3::Test::Process::spawn(
        command => [ $rt->tool( 'externalize', @arguments ) ],
        env     => { $rt->environment },
        out     => $rt->dir . '/out',
        err     => $rt->dir . '/err',
    );
}

sub ended {
    my ($pid) = @_;
    Rts3::Test::Process::wait_for( $pid, 60 ) or die "it does not end\n";
    undef $turn;
    return $? & 127 ? "signal $?" : $? >> 8;
}

sub said {
    my ($file) = @_;
    open my $in, '<', $rt->dir . "/$file" or die "$file: $!";
    local $/ = undef;
    my $text = <$in>;
    close $in;
    return $text;
}

sub until_asked {
    my ( $operation, $number ) = @_;
    my $end = time + 30;
    sleep 0.02 while time < $end && $s3->requests( operation => $operation ) < $number;
    return;
}

subtest 'one that can not be stored does not stop the others' => sub {
    my @ids = add( 30, mark => 'denied' );
    my ( $bad, $broken ) = @ids[ 9, 19 ];
    my ( $key, $other ) = map { sha256_hex( $content->{$_} ) } $bad, $broken;
    $s3->faults(
        { operation => 'PutObject', key => $key,   do => { answer => { status => 403, code => 'AccessDenied' } } },
        { operation => 'PutObject', key => $other, do => { reset  => { at     => 'upload' } } }
    );
    my ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --concurrency=1));
    is( $exit, 1, 'exit status' );
    like( $out, qr/^28 moved .* 2 failed$/m,                                    'the others are moved' );
    like( $err, qr/^RT::Attachments $bad: not moved: .*$key.*AccessDenied/m,    'it is named, and why' );
    like( $err, qr/^RT::Attachments $broken: not moved: .*$other.*\[network:/m, '... as is one that is cut off' );
    is_deeply( [ left(@ids) ], [ $bad, $broken ], 'they stay where they were' );
    is( mark(), $bad - 1, 'the mark does not pass the first' );
    $s3->faults;
    ( $exit, $out ) = $rt->run_tool('externalize');
    like( $out, qr/^2 moved/m, 'the next run comes back to them' );
    is_deeply( [ left(@ids), lost(@ids) ], [], '... and all is there' );
    is( mark(), $broken, '... and the mark goes on' );
};

subtest 'what can not be decoded is never stored' => sub {
    my ($base64)  = add( 1, content => 'this is no base64!', encoding => 'base64' );
    my ($quoted)  = add( 1, content => "a=3D b=ZZ\n",        encoding => 'quoted-printable' );
    my ($unknown) = add( 1, content => 'whatever',           encoding => 'rot13' );
    my ($none)    = add( 1, mark    => 'none' );
    my ($good)    = add( 1, mark    => 'between' );
    $rt->dbh->do( 'UPDATE Attachments SET Content = NULL WHERE id = ?', undef, $none );
    my $before = $s3->objects('files');
    my ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 1, 'exit status' );
    like( $err, qr/^RT::Attachments $base64: not moved: it is said to be base64, and is not/m, 'base64' );
    like( $err, qr/^RT::Attachments $quoted: not moved: it is said to be quoted-printable, and is not/m,
        'quoted-printable' );
    like( $err, qr/^RT::Attachments $unknown: not moved: RT does not know its ContentEncoding, 'rot13'/m, 'unknown' );
    like( $err, qr/^RT::Attachments $none: not moved: it has no content, but a length in its header/m,    'none' );
    is_deeply(
        [ left( $base64, $quoted, $unknown, $none, $good ) ],
        [ $base64, $quoted, $unknown, $none ],
        'they stay, the other one goes'
    );
    is( scalar( $s3->objects('files') ), $before + 1, '... and nothing of them is in the bucket' );
    $rt->dbh->do( 'DELETE FROM Attachments WHERE id IN (?, ?, ?, ?)', undef, $base64, $quoted, $unknown, $none );
    $rt->run_tool('externalize');
};

# As long as the server asks it to slow down, its uploads are under way
my @slow    = ( { operation => 'PutObject', do => { answer => { status => 503, code => 'SlowDown' } } } );
my @patient = ( %storage, Retries => 20, Deadline => 60 );

subtest 'rows that change while they are under way' => sub {
    $rt->set_storage(@patient);
    my ( $changed, $deleted, $same ) = add( 3, mark => 'changing' );
    $s3->clear_log;
    $s3->faults(@slow);
    my $pid = started();
    until_asked( PutObject => 3 );
    $rt->dbh->do( 'UPDATE Attachments SET Content = ? WHERE id = ?', undef, 'another, of another length', $changed );
    $rt->dbh->do( 'DELETE FROM Attachments WHERE id = ?', undef, $deleted );
    $s3->faults;
    is( ended($pid),              0,                            'exit status' ) or diag said('err');
    is( row($changed)->{content}, 'another, of another length', 'what was changed stays' );
    is( row($deleted),            undef,                        '... what was deleted is gone' );
    is_deeply( [ left($same) ], [], '... what was not is moved' );
    $content->{$changed} = 'another, of another length';
    cmp_ok( mark(), '<', $changed, '... and the mark does not pass it' );
    $rt->run_tool('externalize');
    is_deeply( [ left($changed), lost( $changed, $same ) ], [], 'the next run moves what it is now' );
};

subtest 'two at once' => sub {
    my @ids = add( 5, mark => 'twice' );
    $s3->clear_log;
    $s3->faults(@slow);
    my $pid = started();
    until_asked( PutObject => 1 );
    my $run = Rts3::Test::Process::run( command => [ $rt->tool('externalize') ], env => { $rt->environment } );
    is( $run->{exit}, 2, 'the second one does not begin' );
    like( $run->{err}, qr/not now: RT's externalizer is at work/, '... and says why' );
    $run = Rts3::Test::Process::run(
        command => [ $rt->release->program('rt-externalize-attachments'), '--verbose' ],
        env     => { $rt->environment }
    );
    is( "$run->{exit}$run->{out}$run->{err}", '0', "RT's own ends at once, as it does" );
    $s3->faults;
    is( ended($pid), 0, 'the first one ends well' );
    $rt->set_storage(%storage);
    is_deeply( [ left(@ids), lost(@ids) ], [], '... and has moved all' );

    # A deletion has a lock for a moment
    open my $script, '<', $rt->release->program('rt-externalize-attachments') or die $!;
    $pid = started();
    flock $script, LOCK_SH | LOCK_NB or die "it is locked: $!";
    ok( !Rts3::Test::Process::wait_for( $pid, 2 ), 'a deletion is waited for' );
    close $script                                  or die $!;
    is( ended($pid), 0, '... and then it begins' ) or diag said('err');
};

subtest 'the server is down' => sub {
    my @ids = add( 20, mark => 'down' );
    $s3->stop;
    $rt->set_storage( %storage, Deadline => 3 );
    my ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 2, 'at the start: exit status' );
    like( $err, qr/^rt-s3 externalize: .*127\.0\.0\.1/m, '... and why' );
    $s3->restart;
    $s3->clear_log;
    $s3->faults( { operation => 'PutObject', do => { delay_ms => 500 } } );
    my $pid = started('--concurrency=2');
    until_asked( PutObject => 5 );
    $s3->stop;
    is( ended($pid), 2, 'in the middle: exit status' );
    like( said('err'), qr/stopped, for it would go on like this: .*; the next run goes on from here$/m,
        '... and why' );
    $s3->restart;
    cmp_ok( scalar( left(@ids) ), '>', 0, '... some are left' );
    is_deeply( [ lost(@ids) ], [], '... none is lost' );
    ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 0, 'the next run' ) or diag $err;
    is_deeply( [ left(@ids), lost(@ids) ], [], '... moves the rest' );
    $rt->set_storage(%storage);
};

subtest 'the keys are revoked, the bucket goes' => sub {
    my @ids = add( 300, mark => 'revoked' );
    $s3->faults(
        { operation => 'PutObject', from => 10, do => { answer => { status => 403, code => 'InvalidAccessKeyId' } } }
    );
    my ( $exit, $out, $err ) =
        $rt->run_tool( qw(externalize --concurrency=2 --class=RT::Attachments), '--ids=' . join ',', @ids );
    is( $exit, 2, 'revoked in the middle: exit status' );
    like( $err, qr/stopped, for it would go on like this: .*InvalidAccessKeyId/, '... and why' );
    unlike( $err, qr/no such row/, '... and nothing about those that it did not come to' );
    is_deeply( [ lost(@ids) ], [], '... none is lost' );

    my @no = ( do => { answer => { status => 403, code => 'AccessDenied' } } );
    $s3->faults( { operation => 'PutObject', from => 5, @no },
        { operation => 'CreateMultipartUpload', from => 3, @no } );
    ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --concurrency=2));
    $s3->faults;
    is( $exit, 2, 'no right to write any more: exit status' );
    like( $err, qr/stopped, for it would go on like this: .*AccessDenied/, '... and why' );
    my ($failed) = $out =~ /^[1-4] moved .* (\d+) failed$/m;
    cmp_ok( $failed // @ids, '<', @ids / 5, '... after the few that were under way meanwhile' );
    is_deeply( [ lost(@ids) ], [], '... none is lost' );
    ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is_deeply( [ $exit, left(@ids), lost(@ids) ], [0], 'the next run moves the rest' );
};

subtest 'signals' => sub {
    for my $signal (qw(INT TERM)) {
        my @ids = add( 40, mark => $signal );
        $s3->clear_log;
        $s3->faults( { operation => 'PutObject', do => { delay_ms => 200 } } );
        my $pid = started('--concurrency=2');
        until_asked( PutObject => 4 );
        kill $signal => $pid;
        is( ended($pid), 2, "SIG$signal: exit status" );
        $s3->faults;
        like( said('err'), qr/stopped by SIG$signal; the next run goes on from here$/m, '... it says so' );
        like( said('out'), qr/^\d+ moved/m,                                             '... and where it stands' );
        is_deeply( [ lost(@ids) ], [], '... none is lost' );
        my ($exit) = $rt->run_tool(qw(externalize --quiet));
        is_deeply( [ $exit, left(@ids), lost(@ids) ], [0], 'the next run moves the rest' );
    }
};

subtest 'kill -9 at any moment' => sub {
    my @ids = add( 400, mark => 'killed', size => 2000 );
    $s3->faults( { operation => 'PutObject', do => { delay_ms => 40 } } );
    my $killed = 0;
    for my $round ( 1 .. 5 ) {
        $s3->clear_log;
        my $pid = started('--concurrency=4');
        until_asked( PutObject => 20 * $round );
        sleep rand 0.3;
        $killed++ if kill KILL => $pid;
        ended($pid);
        is_deeply( [ lost(@ids) ], [], "round $round: none is lost" );
    }
    $s3->faults;
    is( $killed, 5, 'it was killed five times' );
    cmp_ok( scalar( left(@ids) ), '<', @ids, '... and had moved some' );
    my ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --quiet));
    is( $exit . $err, '0', 'the next run' );
    is_deeply( [ left(@ids), lost(@ids) ], [], '... moves the rest' );
    is_deeply( [ $rows->unread(@ids) ],    [], 'all are read through RT' );
    ( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep));
    is( $exit, 0, 'rt-s3 verify --deep finds nothing' ) or diag $out, $err;
};

subtest 'the disk of the database is full' => sub {
    my $full = needs_rt( storage => { %storage, Bucket => 'full' } );
    $s3->make_bucket('full');
    my $place = $full->dir . '/small';
    mkdir $place or die "$place: $!";
    plan skip_all => 'no file system can be mounted here'
        if system("mount -t tmpfs -o size=16m,mode=700 rts3-test $place 2>/dev/null") != 0;
    my $done = eval {
        my $file = $full->database;
        system( 'mv', $file, "$place/rt.db" ) == 0 or die 'mv';
        symlink "$place/rt.db", $file or die $!;
        my $its = Rts3::Test::AttachmentRows->new( rt => $full, s3 => $s3, bucket => 'full' );
        my @ids = $its->add( 100, mark => 'full', size => 20_000 );
        system("cat /dev/zero > $place/filler 2>/dev/null");
        my ( $exit, $out, $err ) = $full->run_tool('externalize');
        is( $exit, 2, 'exit status' ) or diag $out;
        like( $err, qr/^rt-s3 externalize: .*the database can't be changed: .*disk is full/m, '... and why' );
        is( scalar( $its->left(@ids) ), 100, 'the rows are what they were' );
        is_deeply( [ $its->lost(@ids) ], [], '... none is lost' );
        unlink "$place/filler";
        ( $exit, $out, $err ) = $full->run_tool('externalize');
        is( $exit, 0, 'with room again, the next run' ) or diag $err;
        is_deeply( [ $its->left(@ids), $its->lost(@ids), $its->unread(@ids) ], [], '... moves them' );
        1;
    };
    my $why = $@;
    system( 'umount', '-l', $place );
    die $why if !$done;
};

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);

done_testing;
