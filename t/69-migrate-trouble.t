#!/usr/bin/perl
# rt-s3 migrate when things go wrong: nothing is lost, what can be copied is, and the next run goes on.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Fcntl       qw(LOCK_EX LOCK_NB);
use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File       qw(slurp spew);
use Rts3::Test::Migrate    qw(migrate storage_file);
use Rts3::Test::Needs      qw(needs needs_library needs_rt needs_s3);
use Rts3::Test::OwnBackend ();
use Rts3::Test::Process    ();

needs_library;
needs( Rts3::Test::OwnBackend->missing );
my $s3   = needs_s3;
my $rt   = needs_rt( env => { PERL5LIB => "$FindBin::Bin/lib/Rts3/Test/StandIn" } );
my $disk = $rt->dir . '/attachments';
mkdir $disk or die "$disk: $!";
$rt->set_storage( Type => 'Disk', Path => $disk );
my @files = map { { name => "$_.pdf", type => 'application/pdf', content => "file $_ " . 'x' x 5000 } } 1 .. 40;
my $ids   = $rt->call( <<'END', \@files );
    my ($files) = @_;
    my $ticket = Rts3::Test::RT::Inside::create_ticket( attachments => $files );
    return { map { ( $_->{name} => $_->{id} ) } grep { length( $_->{name} // '' ) } @{ $ticket->{attachments} } };
END
my ($exit) = $rt->run_script('rt-externalize-attachments');
is( $exit, 0, q{RT's own Disk has them} );
my @digests = sort map { sha256_hex( $_->{content} ) } @files;
my %content = map      { ( sha256_hex( $_->{content} ) => $_->{content} ) } @files;

sub path_of { return join '/', $disk, unpack 'A3 A3 A*', $_[0] }

sub target {
    my ( $bucket, %more ) = @_;
    return storage_file(
        $rt, "$bucket.pm",
        Type   => 'AmazonS3',
        Bucket => $bucket,
        $s3->options,
        Retries  => 0,
        Deadline => 4,
        %more
    );
}

# What is in a bucket and is not what it should be
sub wrong_in {
    my ($bucket) = @_;
    return grep { ( $content{$_} // '' ) ne $s3->content( $bucket, $_ ) } $s3->objects($bucket);
}

# What RT reads at the moment that is not what it should be
sub not_read {
    my $read = $rt->call( 'return [ map { Rts3::Test::RT::Inside::attachment($_)->{bytes} } @_ ]',
        map { $ids->{ $_->{name} } } @files );
    return grep { $read->[$_] ne $files[$_]{content} } 0 .. $#files;
}

sub last_record {
    return $rt->call(
        'require RT::ExternalStorage::AmazonS3::Records; return RT::ExternalStorage::AmazonS3::Records->Last("migrate")'
    );
}

# Starts it, slowly, and waits until some are copied
sub begin {
    my ( $bucket, $some ) = @_;
    my $target = target($bucket);
    $s3->clear_log;
    $s3->faults( { operation => 'PutObject', do => { delay_ms => 300 } } );
    my $pid = Rts3::Test::Process::spawn(
        command => [ $rt->tool( 'migrate', '--concurrency=3', '--to', $target ) ],
        env     => { $rt->environment },
        out     => $rt->dir . '/out',
        err     => $rt->dir . '/err',
    );
    my $end = time + 60;
    sleep 0.05 while time < $end && @{ [ $s3->objects($bucket) ] } < $some;
    return $pid;
}

subtest 'killed in the middle, while RT serves' => sub {
    my $turn = $rt->externalizers_turn;
    my $pid  = begin( killed => 3 );
    is_deeply( [ not_read() ], [], 'RT reads all meanwhile' );
    my $script = $rt->release->program('rt-externalize-attachments');
    open my $lock, '<', $script or die "$script: $!";
    ok( !flock( $lock, LOCK_EX | LOCK_NB ), q{RT's externalizer waits} );
    kill KILL => $pid;
    Rts3::Test::Process::wait_for( $pid, 10 );
    my $copied = () = $s3->objects('killed');
    cmp_ok( $copied, '<', @digests, "killed after $copied objects" );
    is_deeply( [ wrong_in('killed') ], [], '... each of them whole' );
    ok( flock( $lock, LOCK_EX | LOCK_NB ), '... and it waits no more, at once' );
    close $lock or die "$script: $!";
    $s3->faults;
    ( $exit, my $out, my $err ) = $rt->run_tool( 'migrate', '--to', target('killed') );
    is( "$exit$err", '0', 'the next run goes on' );
    like( $out, qr/^\d+ copied .*, [1-9]\d* there already, 0 failed$/m, '... where that one was' );
    is_deeply( [ $s3->objects('killed') ], \@digests, '... and copies all' );
    is_deeply( [ wrong_in('killed') ],     [],        '... byte for byte' );
};

subtest 'SIGTERM, and a server that goes away' => sub {
    my $turn = $rt->externalizers_turn;
    my $pid  = begin( ended => 3 );
    kill TERM => $pid;
    ok( Rts3::Test::Process::wait_for( $pid, 10 ), 'SIGTERM ends it' );
    is( $? >> 8, 2, '... with its status' );
    like(
        slurp( $rt->dir . '/err' ),
        qr/^rt-s3 migrate: stopped: ended by SIGTERM; the next run goes on/m,
        '... and it says so'
    );
    my $record = last_record();
    is( $record->{stopped},          'ended by SIGTERM', '... and keeps it' );
    is( $record->{to} =~ s/ at.*//r, 'bucket ended',     '... and where to' );

    $pid = begin( ended => @{ [ $s3->objects('ended') ] } + 3 );
    $s3->stop;
    ok( Rts3::Test::Process::wait_for( $pid, 60 ), 'the target goes away: it ends' );
    is( $? >> 8, 2, '... with its status' );
    like(
        slurp( $rt->dir . '/err' ),
        qr/^rt-s3 migrate: stopped: the target: .*\[(?:network|timeout|unavailable)/m,
        '... and says why'
    );
    unlike( slurp( $rt->dir . '/err' ), qr/^(?:missing|damaged|unreadable)/m, '... which is no fault of a file' );
    $s3->faults;
    $s3->restart;
    ( $exit, my $out, my $err ) = $rt->run_tool( 'migrate', '--to', target('ended') );
    is( "$exit$err", '0', 'the next run goes on' );
    is_deeply( [ $s3->objects('ended') ], \@digests, '... and copies all' );
    is( last_record()->{stopped}, undef, '... and keeps that' );
};

subtest 'a source that has not all' => sub {
    my ( $missing, $damaged ) = @digests[ 7, 8 ];
    rename path_of($missing), path_of($missing) . '.away' or die "$!";
    spew( path_of($damaged), 'not this' );
    ( $exit, my $out, my $err ) = migrate( $rt, '--to', target('some') );
    is( $exit, 1, 'exit status' );
    like( $err, qr/^missing: $missing \(the source: File does not exist\)$/m,      'the missing one, and why' );
    like( $err, qr/^damaged: $damaged \(the source: it is not what was stored: /m, 'the damaged one, and why' );
    is( () = $err =~ /^    ticket 1, transaction \d+, attachment \d+: "\d+\.pdf"$/mg, 2, '... with their tickets' );
    like( $out, qr/^38 copied .*, 0 there already, 2 failed$/m, 'the others are copied' );
    like( $out, qr/^The target, verified: .*: 2 missing$/m,     '... and the target lacks two' );
    like(
        $out,
        qr/^Some files are not in the target\. Do not let RT work with it/m,
        '... so RT must not have it yet'
    );
    is_deeply(
        [ $s3->objects('some') ],
        [ grep { $_ ne $missing && $_ ne $damaged } @digests ],
        'nothing else is there'
    );
    my $record = last_record();
    is( "@{$record}{qw(copied skipped failed)}", '38 0 2', 'the record' );
    is_deeply(
        [ sort map { $_->{why} =~ s/:.*//r } @{ $record->{failures} } ],
        [ $missing, $damaged ],
        '... names them'
    );

    rename path_of($missing) . '.away', path_of($missing) or die "$!";
    spew( path_of($damaged),                    $content{$damaged} );
    spew( $s3->object_path( 'some', $damaged ), 'nor this' );
    ( $exit, $out, $err ) = migrate( $rt, '--to', target('some') );
    is( "$exit$err", '0', 'they are there again' );
    like( $out, qr/^2 copied .*, 38 there already, 0 failed$/m, '... and copied' );
    is_deeply( [ wrong_in('some') ], [], '... also where something else was in the target' );
};

subtest 'a target that has something' => sub {
    $s3->make_bucket('used');
    my ( $whole, $damaged, $empty ) = @digests[ 1 .. 3 ];
    spew( $s3->object_path( 'used', $whole ),   $content{$whole} );
    spew( $s3->object_path( 'used', $damaged ), $content{$damaged} =~ s/x\z/y/r );
    spew( $s3->object_path( 'used', $empty ),   '' );
    ( $exit, my $out, my $err ) = migrate( $rt, '--to', target('used') );
    is( "$exit$err", '0', 'exit status' );
    like( $out, qr/^39 copied .*, 1 there already, 0 failed$/m, 'what is whole stays' );
    is_deeply( [ $s3->objects('used') ], \@digests, 'all is there' );
    is_deeply( [ wrong_in('used') ],     [],        '... and whole' );
};

subtest 'while RT externalizes' => sub {
    my $turn   = $rt->externalizers_turn;
    my $script = $rt->release->program('rt-externalize-attachments');
    open my $lock, '<', $script or die "$script: $!";
    flock $lock, LOCK_EX or die "$script: $!";
    ( $exit, my $out, my $err ) = $rt->run_tool( 'migrate', '--to', target('locked') );
    is( "$exit$out", '2', 'exit status' );
    like( $err, qr/^rt-s3 migrate: not now: RT's externalizer is at work/, '... and why' );
    is_deeply( [ $s3->objects('locked') ], [], '... nothing is done' );
    ( $exit, $out, $err ) = $rt->run_tool( 'migrate', '--dry-run', '--to', target('locked') );
    is( "$exit$err", '0', 'a dry run may' );
    close $lock or die "$script: $!";
};

subtest 'Dropbox, or what stands in for it' => sub {
    my $dropbox = $rt->dir . '/dropbox';
    mkdir $dropbox or die "$dropbox: $!";
    spew( "$dropbox/$_", $content{$_} ) for @digests[ 1 .. $#digests ];
    local $rt->{env}{STAND_IN_DROPBOX} = $dropbox;
    $rt->set_storage( Type => 'Dropbox', AccessToken => 'top-secret' );
    ( $exit, my $out, my $err ) = migrate( $rt, '--to', target('dropped') );
    is( $exit, 1, 'exit status' );
    like(
        $err,
        qr/^missing: $digests[0] \(the source: Failed to retrieve file from dropbox: No such file/m,
        'one is not there'
    );
    like( $out, qr/^39 copied/m, 'the others are copied' );
    is_deeply( [ wrong_in('dropped') ], [], '... byte for byte' );
    rename $dropbox, "$dropbox.away" or die "$dropbox: $!";
    ( $exit, $out, $err ) = migrate( $rt, '--to', target('away') );
    is( $exit, 2, 'an outage' );
    like(
        $err,
        qr/^rt-s3 migrate: stopped: the source: 10 objects in a row failed: Failed to retrieve .*Input\/output error/m,
        '... is told from missing files'
    );
    unlike( $out . $err, qr/top-secret/, 'no secret is told' );
    $rt->set_storage( Type => 'Dropbox' );
    ( $exit, $out, $err ) = migrate( $rt, '--to', target('away') );
    is( $exit, 2, 'no token' );
    like(
        $err,
        qr/^rt-s3 migrate: stopped: the source: Required option 'AccessToken' not provided/m,
        '... as RT says it'
    );
};

subtest "through RT's own AmazonS3" => sub {
    my $missing = $digests[4];
    unlink $s3->object_path( 'killed', $missing ) or die "$!";
    my %own  = ( Type => 'AmazonS3', Bucket => 'killed', AccessKeyId => $s3->access_key, Host => $s3->host );
    my $from = storage_file( $rt, 'own.pm', %own, SecretAccessKey => $s3->secret_key );
    $rt->set_config( Rts3::Test::OwnBackend::config('http') );
    ( $exit, my $out, my $err ) = migrate( $rt, '--from', "Own:$from", '--to', target('read-by-own') );
    is( $exit, 1, 'exit status' );
    like( $err, qr/^missing: $missing \(the source: Could not retrieve .* is not there\)$/m, 'one is not there' );
    like( $out, qr/^39 copied/m, 'the others are copied' );
    is_deeply( [ wrong_in('read-by-own') ], [], '... byte for byte' );
    my @agents = map { $_->{headers}{'user-agent'} // '' } $s3->requests( operation => 'GetObject' );
    ok( scalar( grep {/libwww-perl/} @agents ), '... which that one has read' ) or diag "@agents";
    $from = storage_file( $rt, 'own.pm', %own, SecretAccessKey => 'top-secret' );
    ( $exit, $out, $err ) = migrate( $rt, '--from', "Own:$from", '--to', target('not-read') );
    is( $exit, 2, 'with a wrong key' );
    like( $err, qr/^rt-s3 migrate: stopped: the source: 10 objects in a row failed: .*403/m, '... it says so' );
    unlike( $out . $err, qr/top-secret/, '... and no secret' );
    ( $exit, $out, $err ) =
        migrate( $rt, '--from', 'Own:' . storage_file( $rt, 'disk.pm', Type => 'Disk', Path => '/' ) );
    is( $exit, 64, 'another Type' );
};

done_testing;
