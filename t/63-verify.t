#!/usr/bin/perl
# rt-s3 verify: what the database refers to beside what is in the bucket. Nothing is told that is not so.
use strict;
use warnings;
use utf8;

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

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

needs_library;
my $s3     = needs_s3;
my $bucket = 'attachments';

# RT's own start is not what is measured here
my @english = ( config => 'Set(@LexiconLanguages, qw(en));' );
my $rt      = needs_rt( storage => { Type => 'AmazonS3', Bucket => $bucket, $s3->options }, @english );

my $json = JSON::PP->new->utf8;
my $pdf  = join '', map { chr( $_ % 256 ) } 1 .. 5000;

# In the database and in the bucket: three files of a ticket, one of which another ticket and a custom field have, too
$rt->call( <<'END', $pdf );
    my ($pdf) = @_;
    Rts3::Test::RT::Inside::create_custom_field( 'Vertrag', 'Binary' );
    Rts3::Test::RT::Inside::create_ticket( attachments => [
        { name => "\x{dc}bersicht \"1\".pdf", content => $pdf, type => 'application/pdf' },
        { name => 'second.bin', content => 'second' x 500 },
        { name => 'third.bin',  content => 'third' x 500 },
    ] );
    Rts3::Test::RT::Inside::create_ticket(
        attachments => [ { name => 'again.pdf', content => $pdf } ],
        fields      => { Vertrag => { name => 'value.pdf', content => $pdf } },
    );
END
my ($exit) = $rt->run_script('rt-externalize-attachments');
is( $exit, 0, "RT's script has moved the files" );
my ( $first, $second, $third ) = map { sha256_hex($_) } $pdf, 'second' x 500, 'third' x 500;
is_deeply( [ $s3->objects($bucket) ], [ sort $first, $second, $third ], '... which are in the bucket' );
my %whole = map { $_ => $s3->content( $bucket, $_ ) } $first, $second, $third;

sub restore {
    $s3->faults;
    spew( $s3->object_path( $bucket, $_ ), $whole{$_} ) for keys %whole;
    return;
}

sub lost {
    my (@digests) = @_;
    for my $digest (@digests) { unlink $s3->object_path( $bucket, $digest ) or die "$digest: $!\n" }
    return;
}

# The exit status, and the records as { finding => { digest => record } }
sub verify {
    my (@options) = @_;
    $s3->clear_log;
    my ( $status, $out, $err ) = $rt->run_tool( 'verify', '--json', @options );
    my ( %found, $last );
    for my $line ( split /\n/, $out ) {
        $last = $json->decode($line);
        $found{ $last->{finding} }{ $last->{digest} // $last->{object} } = $last if $last->{finding};
    }
    diag $err if length $err;
    return ( $status, \%found, $last );
}

sub update {
    my ( $query, @values ) = @_;
    return $rt->dbh->do( $query, {}, @values );
}

subtest 'all is well' => sub {
    my ( $status, $found, $last ) = verify();
    is( $status, 0, 'exit status' );
    is_deeply( $found, {}, 'nothing found' );
    my %numbers = ( references => 5, digests => 3, objects => 3, bytes => 10_500, checked => 0 );
    is( $last->{summary}{$_}, $numbers{$_}, "... $_" ) for sort keys %numbers;
    is_deeply( [ map { $_->{operation} } $s3->requests ], ['ListObjectsV2'], 'one request: no object was looked at' );

    ( $status, my $out, my $err ) = $rt->run_tool('verify');
    is( $out, "5 references to 3 files; 3 objects, 10.5 kB in the bucket: all well\n", 'as text' );
    is( $err, '',                                                                      '... and nothing else' );
    ( $status, $out, $err ) = $rt->run_tool(qw(verify --quiet));
    is( "$status$out$err", '0', '--quiet' );
};

subtest 'missing' => sub {
    lost( $first, $third );
    my ( $status, $found ) = verify();
    is( $status, 1, 'exit status' );
    is_deeply( [ sort keys %{ $found->{missing} } ], [ sort $first, $third ], 'those that are missing' );
    is_deeply( [ keys %{$found} ],                   ['missing'],             '... and nothing else' );
    my $record = $found->{missing}{$first};
    is( $record->{reference_count}, 3, 'all that refer to it' );
    my %by = map { ( ( $_->{table} eq 'Attachments' ? '' : 'value ' ) . ( $_->{file} // '' ) => $_ ) }
        @{ $record->{references} };
    my ($row) = grep { ( $_->{Filename} // '' ) =~ /bersicht/ } $rt->attachment_rows;
    is_deeply(
        $by{"\x{dc}bersicht \"1\".pdf"},
        {
            table       => 'Attachments',
            id          => $row->{id},
            ticket      => 1,
            transaction => $row->{TransactionId},
            file        => "\x{dc}bersicht \"1\".pdf",
            type        => 'application/pdf',
        },
        '... an attachment'
    );
    is( $by{'again.pdf'}{ticket},       2,         '... that of the other ticket' );
    is( $by{'value value.pdf'}{ticket}, 2,         '... the value of a custom field' );
    is( $by{'value value.pdf'}{field},  'Vertrag', '... which one' );

    ( $status, my $out, my $err ) = $rt->run_tool('verify');
    is( $status, 1, 'as text: exit status' );
    like( $err, qr/^missing: $first\n/m, '... the digest' );
    like(
        $err,
        qr/^    ticket 1, transaction $row->{TransactionId}, attachment $row->{id}: "Übersicht "1".pdf"$/m,
        '... an attachment'
    ) if utf8::decode($err);
    like( $err, qr/^    ticket 2, custom field "Vertrag", value 1: "value.pdf"$/m, '... a value' );
    like( $out, qr/: 2 missing$/,                                                  '... how many' );

    update( 'UPDATE Attachments SET Filename = ?', "a\nmissing: b\e[1m" );
    ( undef, undef, $err ) = $rt->run_tool('verify');
    is( () = $err =~ /^missing:/mg, 2, "a file's name can't pretend to be a finding" );
    unlike( $err, qr/\e/, '... nor tell the terminal something' );
    restore();
};

subtest 'not missing' => sub {
    my $empty = '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>';
    my $liar  = { operation => 'ListObjectsV2', do => { answer => { status => 200, body => $empty } } };
    $s3->faults($liar);
    my ( $status, $found ) = verify();
    is( $status,                                           0, 'what came after the listing is there' );
    is( scalar $s3->requests( operation => 'HeadObject' ), 3, '... because it was asked for' );

    # A row that goes while the object is being asked for
    lost($third);
    my ($row) = grep { $_->{Content} eq $third } $rt->attachment_rows;
    $s3->faults( { operation => 'HeadObject', do => { delay_ms => 2000 } } );
    $s3->clear_log;
    my $out = $rt->dir . '/out';
    my $pid = start($out);
    wait_until( sub { $s3->requests( operation => 'ListObjectsV2' ) } );
    sleep 1;
    update( 'UPDATE Attachments SET Content = ? WHERE id = ?', $first, $row->{id} );
    ok( Rts3::Test::Process::wait_for( $pid, 60 ), 'a row that changes meanwhile' );
    is( $? >> 8,                              0, '... is no finding' ) or diag slurp("$out.err");
    is( slurp($out) =~ /missing":[1-9]/ || 0, 0, '... nor is it counted' );
    update( 'UPDATE Attachments SET Content = ? WHERE id = ?', $third, $row->{id} );
    restore();
};

sub start {
    my ( $out, @options ) = @_;
    return Rts3::Test::Process::spawn(
        command => [ $rt->tool( 'verify', '--json', @options ) ],
        env     => { $rt->environment },
        out     => $out,
        err     => "$out.err",
    );
}

sub wait_until {
    my ($is_so) = @_;
    for ( 1 .. 600 ) {
        return 1 if $is_so->();
        sleep 0.05;
    }
    die "it did not happen within 30 s\n";
}

subtest 'sizes' => sub {
    spew( $s3->object_path( $bucket, $first ),  '' );
    spew( $s3->object_path( $bucket, $second ), 'secon' );
    my ( $status, $found ) = verify();
    is( $status, 1, 'exit status' );
    is_deeply( [ sort keys %{ $found->{damaged} } ], [ sort $first, $second ], 'an empty one and one cut off' );
    like( $found->{damaged}{$second}{detail}, qr/\Athe object is damaged: its 5 bytes have the SHA-256 /, '... how' );
    is( scalar $s3->requests( key => $third ), 0, 'the other one was not read' );
    restore();

    my ($row) = grep { $_->{Content} eq $second } $rt->attachment_rows;
    update( 'UPDATE Attachments SET Headers = ? WHERE id = ?', $row->{Headers} =~ s/3000/2999/r, $row->{id} );
    ( $status, $found ) = verify();
    is( $status,                                                          0, 'a header may be wrong' );
    is( scalar $s3->requests( operation => 'GetObject', key => $second ), 1, '... the object is read and decides' );
    update( 'UPDATE Attachments SET Headers = ? WHERE id = ?', $row->{Headers}, $row->{id} );
};

subtest 'no digests' => sub {
    my @rows  = grep { $_->{ContentEncoding} eq 'external' } $rt->attachment_rows;
    my @wrong = ( 'x', uc $third, "$third ", "\xff" x 64 );
    update( 'UPDATE Attachments SET Content = ? WHERE id = ?', $wrong[$_], $rows[$_]{id} ) for 0 .. $#rows;
    update(q{UPDATE ObjectCustomFieldValues SET LargeContent = ''});
    my ( $status, $found ) = verify();
    is( $status, 1, 'exit status' );
    is_deeply(
        [ sort map {"$_->{table} $_->{id}"} map { @{ $_->{references} } } values %{ $found->{invalid} } ],
        [ ( sort map {"Attachments $_->{id}"} @rows ), 'ObjectCustomFieldValues 1' ],
        '... each of them, with its row'
    );
    update( 'UPDATE Attachments SET Content = ? WHERE id = ?', $_->{Content}, $_->{id} ) for @rows;
    update( 'UPDATE ObjectCustomFieldValues SET LargeContent = ?', $first );
};

subtest 'orphans' => sub {
    spew( $s3->object_path( $bucket, $_ ), 'nobody' ) for 'a' x 64, 'f' x 64, 'other ü.txt';
    my ( $status, $found ) = verify();
    is( $status, 0, 'are nothing' );
    is_deeply( $found, {}, '... if they are not asked for' );
    ( $status, $found ) = verify('--orphans');
    is( $status, 1, 'are found if they are' );
    is_deeply(
        [ sort keys %{ $found->{orphan} } ],
        [ sort 'a' x 64, 'f' x 64, 'other%20%C3%BC.txt' ],
        '... nothing else'
    );
    is( scalar $s3->objects($bucket), 6, '... and stay' );
    unlink $s3->object_path( $bucket, $_ ) for 'a' x 64, 'f' x 64, 'other ü.txt';
};

subtest '--repair' => sub {
    lost($first);
    spew( $s3->object_path( $bucket, $second ), 'damaged' );
    lost($third);
    my ( $status, $found, $last ) = verify('--repair');
    is( $status,                    1, 'exit status' );
    is( $last->{summary}{repaired}, 0, 'nothing, where the database has not got the content' );

    # Sent once more, not moved yet; the one as bytes, the other one as RT keeps it in other databases
    $rt->create_ticket(
        attachments => [
            { name => 'new.pdf', content => $pdf, type => 'application/pdf' },
            { name => 'b', content => 'second' x 500 }
        ]
    );
    require MIME::Base64;
    update( q{UPDATE Attachments SET ContentEncoding = 'base64', Content = ? WHERE Filename = 'b'},
        MIME::Base64::encode_base64( 'second' x 500 ) );
    ( $status, $found, $last ) = verify('--repair');
    is( $status, 1, 'exit status' );
    is_deeply( [ sort keys %{ $found->{repaired} } ], [ sort $first, $second ], 'where it has, it is written again' );
    is( $s3->content( $bucket, $_ ), $whole{$_}, '... as it was' ) for $first, $second;
    is_deeply(
        [ sort map { $_->{key} } $s3->requests( operation => 'PutObject', status => 200 ) ],
        [ sort $first, $second ],
        '... and nothing else is written'
    );
    my %repaired = map { $_->{digest} => $_->{repaired} } @{ kept()->{findings} };
    is_deeply( \%repaired, { $first => 1, $second => 1, $third => undef }, '... and of what is kept it is said' );
    ( $status, $found ) = verify('--deep');
    is_deeply( [ keys %{ $found->{missing} } ], [$third], 'the third one is still missing' );
    restore();
    ($status) = verify('--deep');
    is( $status, 0, 'with it all is well' );
};

# ---- trouble

sub not_done {
    my ( $what,   $like, @options ) = @_;
    my ( $status, $out,  $err )     = $rt->run_tool( 'verify', @options );
    is( $status, 2, "$what: exit status" );
    like( $err, $like, '... why' );
    unlike( "$out$err", qr/^(?:missing|damaged|orphan|invalid|unreadable):/m, '... and nothing false' );
    return;
}

subtest 'trouble with the server' => sub {
    $s3->make_bucket('many');
    my @many = map { sha256_hex($_) } 1 .. 1100;
    spew( $s3->object_path( 'many', $_ ), 'x' ) for @many;
    $rt->set_storage( Type => 'AmazonS3', Bucket => 'many', $s3->options, Retries => 0 );
    $s3->faults(
        { operation => 'ListObjectsV2', from => 2, do => { answer => { status => 500, code => 'InternalError' } } } );
    not_done( 'a listing that breaks off', qr/the bucket can't be listed: .*InternalError.*; 1000 objects listed/ );
    $s3->faults;

    my $page = join '', map {"<Contents><Key>$_</Key><Size>1</Size></Contents>"} 'b' x 64, 'a' x 64, 'c' x 64;
    my $body = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>$page</ListBucketResult>";
    $s3->faults( { operation => 'ListObjectsV2', do => { answer => { status => 200, body => $body } } } );
    not_done( 'a listing out of order', qr/not in order/ );
    $s3->faults;

    my ( $id, $secret ) = $s3->no_list_key;
    $rt->set_storage(
        Type   => 'AmazonS3',
        Bucket => $bucket,
        $s3->options,
        AccessKeyId     => $id,
        SecretAccessKey => $secret
    );
    not_done( 'a key that may not list', qr/AccessDenied/ );
    $rt->set_storage( Type => 'AmazonS3', Bucket => 'typo', $s3->options );
    not_done( 'no such bucket', qr/NoSuchBucket/ );
    ok( !-e $s3->root . '/typo', '... and none is made' );

    $rt->set_storage( Type => 'AmazonS3', Bucket => $bucket, $s3->options, Prefix => 'typo/' );
    my ( $status, undef, $err ) = $rt->run_tool('verify');
    is( $status, 1, 'a wrong prefix' );
    like( $err, qr/are Bucket and Prefix those with which it was stored\?$/m, '... is thought of' );

    $rt->set_storage( Type => 'AmazonS3', Bucket => $bucket, $s3->options );
    $s3->stop;
    not_done( 'a server that is down', qr/Connection refused/ );
    $s3->restart;
};

subtest 'trouble with the database' => sub {
    $s3->faults( { operation => 'ListObjectsV2', do => { delay_ms => 1500 } } );
    $s3->clear_log;
    my $out = $rt->dir . '/out';
    my $pid = start($out);
    wait_until( sub { $s3->log_lines } );
    update('ALTER TABLE ObjectCustomFieldValues RENAME TO Gone');
    ok( Rts3::Test::Process::wait_for( $pid, 60 ), 'a table that goes meanwhile' );
    is( $? >> 8, 2, '... exit status' );
    like( slurp($out), qr/"error":"RT's database: .*no such table/, '... why' );
    unlike( slurp($out), qr/"finding"/, '... and nothing false' );
    update('ALTER TABLE Gone RENAME TO ObjectCustomFieldValues');
    $s3->faults;
};

subtest 'signals' => sub {
    for my $signal (qw(INT TERM)) {
        $s3->faults( { operation => 'ListObjectsV2', do => { delay_ms => 1500 } } );
        $s3->clear_log;
        my $out = $rt->dir . '/out';
        my $pid = start($out);
        wait_until( sub { $s3->log_lines } );
        kill $signal => $pid;
        ok( Rts3::Test::Process::wait_for( $pid, 60 ), "SIG$signal" );
        is( $?, 2 << 8, '... exit status' );
        like( slurp($out), qr/\A\{"error":"ended by SIG$signal; \d+ objects listed"\}\n\z/, '... where it stands' );
    }
    $s3->faults;
};

sub kept {
    my (@of) = @_;
    return $rt->call( <<'END', join ' ', 'verify', @of );
        require RT::ExternalStorage::AmazonS3::Records;
        return RT::ExternalStorage::AmazonS3::Records->Last( $_[0] );
END
}

subtest 'called wrongly' => sub {
    for my $wrong ( ['--nope'], ['x'], [qw(--state f)], [qw(--concurrency 0)], [qw(--concurrency many)], ['--state'] )
    {
        my ( $status, $out, $err ) = $rt->run_tool( 'verify', @{$wrong} );
        is( $status, 64, "@{$wrong}" );
        like( $err, qr/\Art-s3 verify: .*\nSee rt-s3 verify --help\n\z/, '... what is wrong' );
    }
    my ( $status, $out ) = $rt->run_tool(qw(verify --help));
    is( $status, 0, '--help' );
    like( $out, qr/^\s*--orphans\n.*^EXIT STATUS/ms, '... is the manual' );
    $rt->set_storage;
    not_done( 'no configuration', qr/external storage is not configured/ );
};

subtest 'many' => sub {
    my $files = Rts3::Test::MadeUp->new( count => 5000, missing => [ 0, 1999, 4999 ] );
    my $other = needs_rt(
        storage =>
            { Type => 'AmazonS3', Bucket => 'b', Host => $files->host, AccessKeyId => 'A', SecretAccessKey => 'B' },
        @english
    );
    $files->fill( $other->dbh );
    my $run = $files->measured( [ $other->tool(qw(verify --json)) ], { $other->environment } );
    is( $run->{exit}, 1, '5,000 references: exit status' ) or diag $run->{err};
    my @records = map { $json->decode($_) } split /\n/, $run->{out};
    is_deeply(
        [ sort map { $_->{digest} // () } @records ],
        [ map { $files->digest($_) } 0, 1999, 4999 ],
        '... what is missing'
    );
    is( $records[-1]{summary}{references}, 5000, '... how many' );
    cmp_ok( $run->{peak}, '<', 150, '... memory, MB' );
};

done_testing;
