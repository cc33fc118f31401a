#!/usr/bin/perl
# rt-s3 status: its figures are those counted by hand, and what is not known is not said to be nothing.
use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use FindBin;
use JSON::PP          ();
use List::Util        qw(sum0);
use MIME::Base64      qw(encode_base64);
use MIME::QuotedPrint qw(encode_qp);
use POSIX             ();
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Needs   qw(needs_library needs_rt needs_s3);
use Rts3::Test::Process ();

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

needs_library;
my $s3      = needs_s3;
my $bucket  = 'attachments';
my %storage = ( Type => 'AmazonS3', Bucket => $bucket, $s3->options, Retries => 0 );
my $config  = 'Set(@LexiconLanguages, qw(en)); Set($ExternalStorageCutoffSize, 1000);';
my $rt      = needs_rt( storage => \%storage, config => $config );
my $json    = JSON::PP->new->utf8;

# Two of them, and one more that is lost, are in the bucket
my ( $A, $B, $LOST ) = map { sha256_hex($_) } qw(a b lost);
my %size = ( $A => 4000, $B => 70_000 );
$s3->make_bucket($bucket);
spew( $s3->object_path( $bucket, $_ ),              'x' x $size{$_} ) for keys %size;
spew( $s3->object_path( $bucket, 'f' x 64 ),        'nobody' );
spew( $s3->object_path( $bucket, 'elsewhere.txt' ), 'no object of RT' );

# encoding, type, content, bytes and length in a header, month; what becomes of it
my $bytes = join '', map { chr( $_ * 7 % 256 ) } 1 .. 3001;
my $text  = "Gr\xc3\xb6\xc3\x9fe = 1\n" x 100;
my @rows  = (
    [ 'none',             'application/pdf', 'p' x 5000,                        5000, 5000,  '2019-01', 'below' ],
    [ 'none',             'application/pdf', 'q' x 6000,                        6000, 6000,  '2019-02', 'waiting' ],
    [ 'base64',           'image/png',       encode_base64($bytes),             3001, 3001,  '2019-02', 'waiting' ],
    [ 'base64',           'application/zip', encode_base64( substr $bytes, 2 ), 2999, undef, '2021-11', 'waiting' ],
    [ 'quoted-printable', 'text/plain',      encode_qp($text),                  1200, 1200,  '2021-12', 'waiting' ],
    [ 'none',             'text/plain',      "a\0b" x 100,                      300,  300,   '2021-12', 'small' ],
    [ 'none',             'image/gif',       'g' x 1000,                        1000, 1000,  '2021-12', 'small' ],
    [ 'none',             'image/gif',       'g' x 1001,                        1001, undef, '2022-01', 'waiting' ],
    [ 'none',             'text/plain',      't' x 11,                          11,   5000,  '2022-01', 'waiting' ],
    [ 'none',             'application/pdf', 'z' x 10,                          10,   0,     '2022-01', 'small' ],
    [ undef,              'application/pdf', 'n' x 20,                          20,   undef, '2022-01', 'small' ],
    [ 'none',             'multipart/mixed', undef,                             0,    undef, '2022-01', 'nowhere' ],
    [ 'none',             'application/pdf', '',                                0,    0,     '2022-01', 'nowhere' ],
    [ 'external',         'application/pdf', $A,                                4000, 4000,  '2019-02', 'external' ],
    [ 'external',         'application/pdf', $A,                                4000, undef, '2022-01', 'external' ],
    [ 'external',         'application/pdf', $A,                                4000, undef, '2022-01', 'external' ],
    [ 'external',         'application/pdf', $B,          70_000,                     1,     '2022-01', 'external' ],
    [ 'external',         'application/pdf', $LOST,       0,                          9999,  '2022-02', 'external' ],
    [ 'external',         'application/pdf', 'no digest', 0,                          undef, '2022-02', 'external' ],
);
my %value = ( Binary => [ 'v' x 500, 'waiting' ], Image => [ 'i' x 900, 'small' ], Zero => [ '0', 'small' ] );

sub fill {
    my $dbh = $rt->dbh;
    $dbh->do('DELETE FROM Attachments');
    my $insert = $dbh->prepare( 'INSERT INTO Attachments (id, TransactionId, Parent, ContentEncoding, ContentType, '
            . 'Content, Headers, Created) VALUES (?, 1, 0, ?, ?, ?, ?, ?)' );
    for my $number ( 0 .. $#rows ) {
        my ( $encoding, $type, $content, undef, $length, $month ) = @{ $rows[$number] };
        my $headers = "Subject: x\n" . ( defined $length ? "content-length: $length\n" : '' ) . "X-More: y\n";
        $insert->execute( 1000 + $number, $encoding, $type, $content, $headers, "$month-15 12:00:00" );
    }
    $rt->call( <<'END', { map { $_ => $value{$_}[0] } keys %value } );
        my ($values) = @_;
        for my $type ( sort keys %{$values} ) {
            Rts3::Test::RT::Inside::create_custom_field( $type, $type eq 'Zero' ? 'Binary' : $type );
            Rts3::Test::RT::Inside::create_ticket( fields => { $type => { name => 'v', content => $values->{$type} } } );
        }
        RT->System->SetAttribute( Name => 'ExternalStorage', Content => { 'RT::Attachments' => 1000 } );
END
    $dbh->do( 'DELETE FROM Attachments WHERE id > 1000 + ?', {}, $#rows );
    $dbh->do(q{UPDATE ObjectCustomFieldValues SET Created = '2022-02-01 00:00:00'});
    return;
}
fill();

# The exit status, the records by what they are of, the errors
sub status {
    my (@options) = @_;
    my ( $status, $out, $err ) = $rt->run_tool( 'status', '--json', @options );
    my %of = ( look => [] );
    for my $record ( map { $json->decode($_) } split /\n/, $out ) {
        push @{ $of{look} }, $record->{look} if defined $record->{look};
        $of{ $record->{run} } = $record                       if defined $record->{run};
        $of{summary}          = $record->{summary} // $record if $record->{summary} || $record->{error};
    }
    return ( $status, \%of, $err );
}

# What commands have kept: pairs of a name and a record
sub keep {
    my (@kept) = @_;
    return $rt->call( <<'END', @kept );
        require RT::ExternalStorage::AmazonS3::Records;
        my (@kept) = @_;
        while ( my ( $name, $record ) = splice @kept, 0, 2 ) {
            RT::ExternalStorage::AmazonS3::Records->Keep( $name, %{$record} );
        }
        return;
END
}

sub counted {
    my ( $what, $month ) = @_;
    my @bytes = map { $_->[3] } grep { $_->[6] =~ $what && ( !$month || $_->[5] eq $month ) } @rows;
    push @bytes, map { length $_->[0] } grep { $_->[1] =~ $what } values %value if !$month || $month eq '2022-02';
    return [ scalar @bytes, sum0 @bytes ];
}

my $IN_DATABASE = qr/\A(?:waiting|below|small)\z/;

subtest 'figures' => sub {
    my ( $status, $of ) = status();
    is( $status, 1, 'exit status' );
    my $figures = $of->{summary};
    my %expect  = (
        ( map { $_ => counted(qr/\A$_\z/) } qw(waiting below small external) ),
        database => counted($IN_DATABASE),
        objects  => [ 2, 74_000 ],
        orphans  => [ 2, 21 ],
    );
    is_deeply( [ @{ $figures->{$_} }{qw(count bytes)} ], $expect{$_}, $_ ) for sort keys %expect;
    is( $figures->{$_}, { missing => 1, invalid => 1, saved => 8000 }->{$_}, $_ ) for qw(missing invalid saved);
    my %months;
    for my $month ( map { $_->[5] } @rows ) {
        my %of = ( database => counted( $IN_DATABASE, $month ), external => counted( qr/\Aexternal\z/, $month ) );
        $months{$month} = { map { $_ => $of{$_} } grep { $of{$_}[0] } keys %of };
    }
    is_deeply( $figures->{months},     \%months,                        'by month' );
    is_deeply( $figures->{below}{ids}, { 'RT::Attachments' => [1000] }, 'which are below the mark' );
    is_deeply(
        $of->{look},
        [
            '1 reference without an object in the bucket: rt-s3 verify names them',
            '1 reference to what is no digest: rt-s3 verify names them'
        ],
        'what somebody should look at'
    );

    my $turn = $rt->externalizers_turn;
    my ( undef, $out, $err ) = Rts3::Test::Process::run(
        command => [ $rt->tool(qw(externalize --dry-run --json)) ],
        env     => { $rt->environment }
    )->@{qw(exit out err)};
    my $moved = $json->decode( ( split /\n/, $out )[-1] );
    is_deeply( [ @{$moved}{qw(moved bytes)} ], $expect{waiting}, 'what waits is what externalize would move' )
        or diag $out, $err;
};

subtest 'as text' => sub {
    my ( $status, $out, $err ) = $rt->run_tool('status');
    is( $status, 1, 'exit status' );
    utf8::decode($out);
    like( $out, qr/\ACounted \d{4}-\d\d-\d\d \d\d:\d\d UTC, just now\n\n/, 'when' );
    my @lines = (
        'in S3 +6 +82\.0 kB  as if each had a copy of its own',
        '  as objects +2 +74\.0 kB  8\.0 kB saved: what is the same is kept once',
        'in the database +14 +21\.9 kB',
        '  waiting +7 +14\.7 kB  for rt-s3 externalize',
        q{  left behind +1 +5\.0 kB  below RT's high-water mark; rt-s3 externalize --class RT::Attachments --ids 1000 moves them},
        '  staying +6 +2\.2 kB  too small, or of a kind RT keeps',
        'not referred to +2 +21 bytes  rt-s3 verify --orphans names them',
        'By year of creation: █ in S3, ░ in the database',
        '2019 +18\.0 kB  █{3}░{11}',
    );
    my $found = 0;
    like( $out, qr/^$_$/m,                                                                        $_ ) for @lines;
    like( $out, qr/^2020   0 bytes\s*\n2021    5\.5 kB  ░{4}\n2022   80\.4 kB  █{62}░░$/m,        'all years' );
    like( $out, qr/^Last runs\n  externalize: no run is known\n  verify: no run is known\n\n\z/m, 'no runs' );
    is( $err, join( '', map {"$_\n"} @{ ( status('--cached') )[1]{look} } ), 'what somebody should look at' );
    ( $status, $out, my $quiet ) = $rt->run_tool(qw(status --quiet));
    is( "$status$out$quiet", "1$err", '--quiet' );

    local $rt->{env} = { LC_ALL => 'C' };
    ( undef, $out ) = $rt->run_tool( 'status', '--cached' );
    like( $out, qr/^By year of creation: # in S3, = in the database$/m, 'in a locale without such characters' );
    is( () = $out =~ /[^\x00-\x7f]/g, 0, '... there are none' );
    local $rt->{env} = { COLUMNS => 50 };
    ( undef, $out ) = $rt->run_tool( 'status', '--cached' );
    utf8::decode($out);
    like( $out, qr/^2022   80\.4 kB  [█░]{34}$/m, 'in a narrow terminal' );
};

subtest 'the last figures' => sub {
    my ( undef, $before ) = status();
    $s3->clear_log;
    $rt->dbh->do(q{UPDATE Attachments SET ContentEncoding = 'none' WHERE id = 1017});
    my ( $status, $after ) = status('--cached');
    is( $status, 1, 'exit status' );
    delete @{ $after->{summary} }{qw(ended host)};
    is_deeply( $after->{summary}, $before->{summary}, 'as they were' );
    is( scalar $s3->requests, 0, '... without a request' );
    $rt->dbh->do(q{UPDATE Attachments SET ContentEncoding = 'external' WHERE id = 1017});
    like(
        ( $rt->run_tool(qw(status --cached)) )[1],
        qr/\ACounted .* UTC, (?:\d+ seconds ago|just now)\n/,
        '... and when'
    );
};

subtest 'runs' => sub {
    my %verified =
        ( started => time, references => 5, objects => 4, digests => 4, bytes => 1, checked => 0, deep => 0 );
    keep(
        externalize => { moved => 12, bytes => 2_000_000, skipped => 3, failed => 0, failures => [] },
        map { $_ => { %verified, orphan => 2, missing => 0 } } 'verify', 'verify whole'
    );
    my ( $status, $out, $err ) = $rt->run_tool(qw(status --cached));
    like( $out, qr/^  externalize: .* on \S+: 12 moved \(2\.0 MB\), 3 left as they are$/m, 'a run of externalize' );
    like( $out, qr/^  verify: .* on \S+: 5 references, 4 objects: 2 orphan$/m,             'a run of verify' );
    is( () = $err =~ /\n/g, 2, '... with nothing to look at' );

    my @failures = map { { class => 'RT::Attachments', id => $_, why => "wrong\e[1m" } } 1 .. 5;
    keep(
        externalize    => { moved => 12, bytes => 0, failed => 5, stopped => "SIG\nTERM", failures => \@failures },
        'verify whole' => { %verified, missing => 1, damaged => 2, repaired => 1 }
    );
    sleep 1.1;
    keep( verify => { %verified, stopped => 'gone', missing => 0 } );
    ( $status, my $of ) = status('--cached');
    is( $status, 1, 'exit status' );
    my ( undef, undef, @look ) = @{ $of->{look} };
    my $why = 'wrong?[1m';
    is_deeply(
        \@look,
        [
            'the last rt-s3 verify has found 1 missing, 2 damaged (1 of them repaired)',
            'the last rt-s3 externalize was stopped: SIG TERM',
            'the last rt-s3 verify was stopped: gone',
            "5 failed in the last rt-s3 externalize: RT::Attachments 1: $why; RT::Attachments 2: $why; "
                . "RT::Attachments 3: $why; and 2 more",
        ],
        'what there is to look at'
    );
    is( $of->{verify}{stopped}, 'gone', 'a record of a run' );
    ( undef, $out ) = $rt->run_tool(qw(status --cached));
    like(
        $out,
        qr/^  verify: .*: nothing found; stopped: gone\n  verify, to its end: .*: 1 missing, 2 damaged, 1 repaired$/m,
        'one that was stopped, and the one before'
    );

    keep( 'verify deep' => { %verified, deep => 1, damaged => 3 } );
    sleep 1.1;
    keep(
        externalize => { moved  => 0, bytes => 0,  failed  => 1, failures => [ { id => 1, why => '<script>&"' } ] },
        internalize => { moved  => 7, bytes => 10, failed  => 1, failures => [] },
        migrate     => { copied => 8, bytes => 10, skipped => 3, failed   => 0 },
        map { $_ => {%verified} } 'verify', 'verify whole'
    );
    ( undef, $out, $err ) = $rt->run_tool(qw(status --cached));
    like( $err, qr/^the last rt-s3 verify --deep has found 3 damaged$/m, 'what a plain verify does not see' );
    like( $err, qr/^1 failed in the last rt-s3 internalize$/m,           '... and internalize' );
    like( $out, qr/^  verify --deep: .*, --deep: 5 references, 4 objects: 3 damaged$/m, '... each with its run' );
    like( $out, qr/^  migrate: .*: 8 copied \(10 bytes\), 3 there already$/m,           '... and migrate' );
};

# ---- a page

subtest 'as a page' => sub {
    require XML::Parser;
    require Rts3::Test::Validator;
    my $file = $rt->dir . '/page.html';
    spew( $file, 'the one before' );
    my ( $status, $out ) = $rt->run_tool( qw(status --cached --html), $file );
    is( $status, 1, 'exit status' );
    like( $out, qr/^Last runs$/m, '... and text as always' );
    my $page = slurp($file);
    utf8::decode($page);
    is( Rts3::Test::Validator->missing, undef, 'a validator' );
    is_deeply( [ Rts3::Test::Validator->errors($page) ], [], '... finds nothing' );
    my @pictures = $page =~ m{(<svg .*?</svg>)}gs;
    is( scalar @pictures, 3, 'three pictures' );

    for my $picture (@pictures) {
        my $is_xml = eval { XML::Parser->new->parse($picture); 1 };
        ok( $is_xml, '... well-formed' ) or diag $@;
    }
    unlike(
        $page,
        qr/<script|<link|<img|<iframe|\bsrc=|\bhref=|\burl\(|\@import|\bon\w+=/i,
        'nothing from elsewhere'
    );
    is_deeply( [ $page =~ m{(https?://[^"]*)}g ], [ ('http://www.w3.org/2000/svg') x 3 ], '... but the name of SVG' );
    like( $page, qr/&#60;script&#62;&#38;&#34;/, 'what a server says is text' );
    like( $page, qr{<th scope="row">in S3</th><td class="number">6</td><td class="number">82\.0 kB</td>}, 'figures' );
    like( $page, qr{<title>2019: 4\.0 kB in S3, 14\.0 kB in the database</title>},                        'years' );
    unlike( $page, qr/\bago\b|just now/, 'nothing that is wrong tomorrow' );
    is( ( stat $file )[2] & oct 777, oct(666) & ~umask, 'as readable as other files' );
    is_deeply( [ glob "$file.*" ], [], 'nothing is left' );

    my ( $link, $pipe ) = map { $rt->dir . "/$_" } qw(link pipe);
    symlink 'page.html', $link or die "$link: $!";
    spew( $file, 'the one before' );
    $rt->run_tool( qw(status --cached --html), $link );
    ok( -l $link, 'a link stays' );
    like( slurp($file), qr/\A<!DOCTYPE html>/, '... and what it points to is written' );
    POSIX::mkfifo( $pipe, oct 600 ) or die "$pipe: $!";

    for my $wrong ( $rt->dir, $rt->dir . '/no/page.html', $pipe ) {
        $s3->clear_log;
        ( $status, undef, my $err ) = $rt->run_tool( qw(status --html), $wrong );
        is( $status, 2, "$wrong: exit status" );
        like( $err, qr/\Art-s3 status: --html: \Q$wrong\E cannot be written: /, '... why' );
        is( scalar $s3->requests, 0, '... before anything is counted' );
    }
    ok( -p $pipe, 'what is no file stays' );
};

done_testing;
