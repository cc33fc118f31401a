#!/usr/bin/perl
# rt-s3 internalize when a few go wrong: nothing is lost, and the others are moved back.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File        qw(slurp spew);
use Rts3::Test::Internalize qw(internalize);
use Rts3::Test::Needs       qw(needs_rt needs_s3);
use Rts3::Test::Process     ();

my $s3      = needs_s3;
my %storage = ( Type => 'AmazonS3', Bucket => 'files', $s3->options, Retries => 1 );
my $rt      = needs_rt( storage => \%storage );
my $files   = Rts3::Test::Internalize->new( rt => $rt, s3 => $s3, bucket => 'files' );

subtest 'what is missing or damaged does not stop the others' => sub {
    my @ids = $files->external( 30, 'broken' );
    my ( $missing, $damaged, $denied, $invalid, $reset ) = @ids[ 3, 5, 7, 9, 11 ];
    my ( $gone, $object ) = map { $s3->object_path( 'files', $files->key($_) ) } $missing, $damaged;
    rename $gone, "$gone.away" or die "$!";
    my $whole = slurp($object);
    spew( $object, $whole ^ "\0\0\0\0\1" );
    $s3->faults(
        {
            operation => 'GetObject',
            key       => $files->key($denied),
            do        => { answer => { status => 403, code => 'AccessDenied' } }
        },
        { operation => 'GetObject', key => $files->key($reset), do => { reset => { at => 'answered' } } }
    );
    $rt->dbh->do( q{UPDATE Attachments SET Content = 'nonsense' WHERE id = ?}, undef, $invalid );
    my @before = map { $files->row($_) } $missing, $damaged, $denied, $invalid, $reset;

    my ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 1, 'exit status' );
    like( $out, qr/^26 moved back .* 5 failed$/m,                    'the others are moved' );
    like( $out, qr/^5 in RT's database still refer to the bucket$/m, '... and it says what is left' );
    like(
        $err,
        qr/^RT::Attachments $missing: not moved back: .*NoSuchKey.*\(ticket 1, transaction \d+, .*"like.bin"\)$/m,
        'the missing one is named, with its ticket'
    );
    like( $err, qr/^RT::Attachments $damaged: not moved back: .*is damaged.*\(ticket 1, /m, '... the damaged one' );
    like(
        $err,
        qr/^RT::Attachments $denied: not moved back: .*AccessDenied.*\(ticket 1, /m,
        '... one that is denied'
    );
    like( $err, qr/^RT::Attachments $reset: not moved back: .*\[network: /m, '... one whose connection breaks' );
    like(
        $err,
        qr/^RT::Attachments $invalid: not moved back: what stands there is no SHA-256 digest$/m,
        '... and one that is no digest'
    );
    is_deeply( [ map { $files->row($_) } $missing, $damaged, $denied, $invalid, $reset ],
        \@before, 'their rows are what they were' );
    is_deeply(
        [ $files->left(@ids) ],
        [ $missing, $damaged, $denied, $invalid, $reset ],
        '... and the others in the database'
    );

    ( $exit, $out, $err ) = internalize( $rt, '--json' );
    my ($found) = grep { ( $_->{id} // 0 ) == $missing } map { JSON::PP::decode_json($_) } split /\n/, $out;
    is( $found->{reference}{ticket}, 1, '--json: each with its ticket' );

    $s3->faults;
    rename "$gone.away", $gone or die "$!";
    spew( $object, $whole );
    $rt->dbh->do( 'UPDATE Attachments SET Content = ? WHERE id = ?', undef, $files->key($invalid), $invalid );
    ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 0, 'when they are there again, so is the next run' ) or diag $err;
    is_deeply( [ $files->left(@ids), $files->lost(@ids), $files->not_read(@ids) ],
        [], '... and all is in the database' );
};

subtest 'rows that change while they are under way' => sub {
    my ( $changed, $other, $deleted, $same ) = $files->external( 4, 'changing' );
    $s3->faults( { operation => 'GetObject', from => 2, do => { delay_ms => 2000 } } );
    my $pid = $files->started();
    $files->until_fetched(1);
    $rt->dbh->do( q{UPDATE Attachments SET Content = 'text', ContentEncoding = 'none' WHERE id = ?}, undef,
        $changed );
    $rt->dbh->do( 'UPDATE Attachments SET Content = ? WHERE id = ?', undef, $files->key($same), $other );
    $rt->dbh->do( 'DELETE FROM Attachments WHERE id = ?', undef, $deleted );
    is( $files->ended($pid), 0, 'exit status' ) or diag $files->said('err');
    $s3->faults;
    like( $files->said('out'), qr/^2 moved back .* 3 left where they are, 0 failed$/m, 'one is moved, and that one' );
    is( $files->row($changed)->{Content}, 'text',             'what was changed stays' );
    is( $files->row($other)->{Content},   $files->key($same), '... what refers to another object now does so' );
    is( $files->row($deleted),            undef,              '... what was deleted is gone' );
    is_deeply( [ $files->left($same), $files->lost($same) ], [], '... what was not is moved' );
    internalize($rt);
};

subtest 'two at once' => sub {
    my @ids = $files->external( 6, 'twice' );
    $s3->faults( { operation => 'GetObject', from => 2, do => { delay_ms => 2000 } } );
    my $pid = $files->started('--concurrency=1');
    $files->until_fetched(1);
    $s3->freeze;
    for my $command (qw(internalize externalize)) {
        my $run = Rts3::Test::Process::run( command => [ $rt->tool($command) ], env => { $rt->environment } );
        is( $run->{exit}, 2, "rt-s3 $command does not begin" );
        like( $run->{err}, qr/not now: RT's externalizer is at work/, '... and says why' );
    }
    my $run = Rts3::Test::Process::run(
        command => [ $rt->release->program('rt-externalize-attachments') ],
        env     => { $rt->environment }
    );
    is( "$run->{exit}$run->{out}$run->{err}", '0', "RT's own ends at once, as it does" );
    $s3->thaw;
    $s3->faults;
    is( $files->ended($pid), 0, 'the first one ends well' ) or diag $files->said('err');
    is_deeply( [ $files->left(@ids), $files->lost(@ids) ], [], '... and has moved all' );
};

subtest 'what the database does not take' => sub {
    my @ids = $files->external( 30, 'refused' );
    my ( $refused, $cut ) = @ids[ 4, 11 ];
    my $trigger = 'CREATE TRIGGER trouble %s ON %s WHEN %s BEGIN %s; END';
    my $make    = sub {
        my $dbh = $rt->dbh;
        $dbh->do("DROP TRIGGER IF EXISTS trouble$_") for 1, 2;
        my $number = 1;
        $dbh->do( sprintf $trigger =~ s/trouble/'trouble' . $number++/er, @{$_} ) for @_;
    };
    my $abort = q{SELECT RAISE(ABORT, 'it is full')};

    $make->( [ 'BEFORE UPDATE', 'Attributes', '1', $abort ] );
    my ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 2, 'the mark cannot be lowered: exit status' );
    like( $err, qr/high-water mark, its attribute ExternalStorage, could not be lowered/, '... and why' );
    is_deeply( [ $files->left(@ids) ], \@ids, '... and no row has changed' );

    $make->(
        [ 'BEFORE UPDATE', 'Attachments', "NEW.id = $refused", $abort ],
        [
            'AFTER UPDATE', 'Attachments',
            "NEW.id = $cut AND LENGTH(NEW.Content) > 100",
            'UPDATE Attachments SET Content = SUBSTR(Content, 1, 100) WHERE id = NEW.id'
        ]
    );
    ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 1, 'one row: exit status' );
    like( $out, qr/^29 moved back .* 2 failed$/m, 'the others are moved' );
    like(
        $err,
        qr/^RT::Attachments $refused: not moved back: .*it is full.*\(ticket 1, /m,
        '... it is named, and why'
    );
    like(
        $err,
        qr/^RT::Attachments $cut: not moved back: .* is not what it was given.*ticket 1/m,
        '... and what was cut off'
    );
    is_deeply( [ $files->left(@ids) ], [ $refused, $cut ], 'these rows are what they were' );
    is_deeply( [ $files->lost(@ids) ], [],                 '... none is lost' );

    $make->();
    $rt->run_tool(qw(externalize --quiet));
    $make->( [ 'BEFORE UPDATE', 'Attachments', '1', $abort ] );
    ( $exit, $out, $err ) = internalize($rt);
    is( $exit, 2, 'all rows: exit status' );
    like( $err, qr/stopped, for it would go on like this: .*it is full/, '... and why' );
    is_deeply( [ $files->left(@ids) ], \@ids, '... all are what they were' );
    $make->();
    ( $exit, $out, $err ) = internalize($rt);
    is_deeply( [ $exit, $files->left(@ids), $files->lost(@ids), $files->not_read(@ids) ],
        [0], 'the next run moves them' );
};

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);

done_testing;
