#!/usr/bin/perl
# rt-s3 externalize of large contents: how much memory it takes, and that they are read in pieces without a change.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use MIME::Base64      ();
use MIME::QuotedPrint ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::AttachmentRows ();
use Rts3::Test::MadeUp         ();
use Rts3::Test::Needs          qw(needs_rt needs_s3);

my $s3 = needs_s3;
my $rt = needs_rt( storage => { Type => 'AmazonS3', Bucket => 'files', $s3->options } );
$s3->make_bucket('files');
my $rows = Rts3::Test::AttachmentRows->new( rt => $rt, s3 => $s3, bucket => 'files' );

sub measured {
    my (@arguments) = @_;
    my $turn = $rt->externalizers_turn;
    return Rts3::Test::MadeUp->measured( [ $rt->tool( 'externalize', @arguments ) ], { $rt->environment } );
}

subtest 'read in pieces' => sub {
    my $bytes  = join '', map { pack 'N', $_ * 2_654_435_761 % 2**32 } 1 .. 1_100_000;
    my $quoted = "Gr\xc3\xb6\xc3\x9fe = \xbd  \n" x 500_000;
    my $base64 = MIME::Base64::encode_base64($bytes);
    my %id;
    ( $id{none} )    = $rows->add( 1, content => "\0$bytes" );
    ( $id{base64} )  = $rows->add( 1, content => $base64, as => $bytes, encoding => 'base64' );
    ( $id{oneline} ) = $rows->add(
        1,
        content  => MIME::Base64::encode_base64( "$bytes!", '' ),
        as       => "$bytes!",
        encoding => 'base64'
    );
    ( $id{quoted} ) = $rows->add(
        1,
        content  => MIME::QuotedPrint::encode($quoted),
        as       => $quoted,
        encoding => 'quoted-printable'
    );
    ( $id{twice} ) = $rows->add( 1, content => "\0$bytes" );
    my ($padded) =
        $rows->add( 1, content => substr( $base64, 0, 4_000_000 ) . "AA==\n" . $base64, encoding => 'base64' );
    my ($cut)    = $rows->add( 1, content => substr( $base64, 0, -6 ), encoding => 'base64' );
    my ($broken) = $rows->add(
        1,
        content  => ( "some text\n" x 500_000 ) . "=XY\n" . ( "more\n" x 200_000 ),
        encoding => 'quoted-printable'
    );
    my $before = $rows->row( $id{none} )->{headers};

    my ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --dry-run));
    is( $exit,                               1,        'a dry run: exit status' );
    is( scalar( $rows->left( values %id ) ), keys %id, '... changes nothing' );
    ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 1, 'exit status' );
    for my $name ( sort keys %id ) {
        is( $rows->row( $id{$name} )->{content}, sha256_hex( $rows->contents->{ $id{$name} } ), "$name: its digest" );
    }
    is_deeply( [ $rows->left( values %id ), $rows->lost( values %id ), $rows->unread( values %id ) ],
        [], 'all are moved, and read' );
    for my $wrong ( [ $padded, 'base64' ], [ $cut, 'base64' ], [ $broken, 'quoted-printable' ] ) {
        my ( $id, $encoding ) = @{$wrong};
        like( $err, qr/^RT::Attachments $id: not moved: it is said to be $encoding, and is not/m, "$id is named" );
        is( $rows->row($id)->{contentencoding}, $encoding, '... and stays' );
        $rt->dbh->do( 'DELETE FROM Attachments WHERE id = ?', undef, $id );
    }
};

subtest 'without the length that RT writes down' => sub {
    my ($id) = $rows->add( 1, content => 'x' x 5_000_000 );
    $rt->dbh->do( q{UPDATE Attachments SET Headers = '' WHERE id = ?}, undef, $id );
    $rt->run_tool(qw(externalize --dry-run));
    is( $rows->row($id)->{headers}, '', 'a dry run leaves it out' );
    my ($exit) = $rt->run_tool('externalize');
    is( $exit, 0, 'it is moved' );
    like( $rows->row($id)->{headers}, qr/^Content-Length: 5000000$/m, '... and the length is there, as RT has it' );
    is_deeply( [ $rows->left($id), $rows->lost($id) ], [], '... it is moved' );
};

subtest 'where its object went away again' => sub {
    my ( $small, $large ) = map { $rows->add( 1, content => $_ ) } 'again' x 100, 'again' x 1_000_000;
    my ($exit) = $rt->run_tool('externalize');
    is( $exit, 0, 'there once' );
    my @again = map { $rows->add( 1, content => $rows->contents->{$_} ) } $small, $large;
    my %key   = map { $_ => sha256_hex( $rows->contents->{$_} ) } @again;

    # Found when it is stored, gone when it is looked for again
    $s3->faults(
        map { +{ operation => 'HeadObject', key => $key{$_}, from => 2, do => { answer => { status => 404 } } } }
            @again );
    ( $exit, undef, my $err ) = $rt->run_tool('externalize');
    $s3->faults;
    is( $exit, 0, 'stored once more' ) or diag $err;
    is_deeply( [ $rows->left(@again), $rows->lost(@again) ], [], '... and all is there' );

    # One that does not say is not asked for each
    my @more = map { $rows->add( 1, content => $rows->contents->{$small} ) } 1 .. 5;
    $s3->clear_log;
    $s3->faults( { operation => 'HeadObject', do => { answer => { status => 500, code => 'InternalError' } } } );
    ( $exit, undef, $err ) = $rt->run_tool('externalize');
    $s3->faults;
    is( $exit, 1, 'a server that does not say whether it is there' );
    like(
        $err,
        qr/^RT::Attachments $_: not moved: its object could not be looked for once more: HEAD/m,
        "... $_ is named"
    ) for @more;
    is_deeply( [ $rows->left(@more) ], [@more], '... they are in the database again' );
    is( scalar $s3->requests( operation => 'HeadObject' ), 5, '... the server was asked for one of them' );
    ($exit) = $rt->run_tool('externalize');
    is( $exit, 0, 'the next run moves them' );
    is_deeply( [ $rows->left(@more), $rows->lost(@more) ], [], '... and all is there' );
};

subtest 'bounds' => sub {
    my @ids = map { $rows->add( 1, content => "$_ many" x 500_000 ) } 1 .. 12;
    push @ids, map { $rows->add( 1, content => "$_ more" x 2_000_000 ) } 1 .. 4;
    $s3->clear_log;
    $s3->faults( { operation => 'PutObject', do => { delay_ms => 100 } } );
    my $run = measured('--memory=8');
    is( $run->{exit}, 0, 'contents larger than --memory among many: exit status' ) or diag $run->{err};
    is_deeply( [ $rows->left(@ids), $rows->lost(@ids) ], [], '... all are moved' );
    cmp_ok( $run->{peak}, '<', 190, sprintf '... in %.0f MB', $run->{peak} );

    my %key = map { sha256_hex( $rows->contents->{$_} ) => 1 } $rows->add( 20, mark => 'at once' );
    $rt->run_tool(qw(externalize --concurrency=3));
    $s3->faults;
    my %used = map { $_->{connection} => 1 } grep { $key{ $_->{key} } } $s3->requests( operation => 'PutObject' );
    is( scalar keys %used, 3, '--concurrency=3: over three connections' );
};

subtest 'memory' => sub {
    $rows->add( 300, mark => 'among', size => 100_000 );
    my ($id) = $rows->add( 1, content => 'large' x 40_000_000 );
    my $run = measured('--json');
    is( $run->{exit}, 0, '200 MB among others' ) or diag $run->{out}, $run->{err};
    cmp_ok( $run->{peak}, '<', 350, sprintf '... in %.0f MB', $run->{peak} );
    is( $rows->row($id)->{content}, sha256_hex( $rows->contents->{$id} ), '... moved' );
};

done_testing;
