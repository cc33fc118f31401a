#!/usr/bin/perl
# rt-s3 externalize: what it moves, what it leaves, and what RT's own script would have made of it.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3      = needs_s3;
my $config  = 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ');';
my %storage = ( Type => 'AmazonS3', Bucket => 'fast', $s3->options );
my $rt      = needs_rt( config => $config, storage => \%storage );

sub mark {
    my ($of) = @_;
    my ($mark) =
        $of->call('my $a = RT->System->FirstAttribute("ExternalStorage"); return [ $a ? $a->Content : undef ]');
    return $mark->[0];
}

sub rows {
    my ($of) = @_;
    return [ map { [ @{$_}{qw(id ContentEncoding Content)} ] } $of->attachment_rows ],
        [ map { [ @{$_}{qw(id ContentEncoding LargeContent)} ] } $of->field_value_rows ];
}

my ($contents) = Rts3::Test::Contents->create( $rt, {} );

subtest 'a dry run changes nothing' => sub {
    my ($one)  = $contents->moved;
    my $all    = sub { $rt->dbh->selectall_arrayref('SELECT * FROM Attachments ORDER BY id') };
    my $bare   = $rt->dbh->do( q{UPDATE Attachments SET Headers = 'X-No: length' WHERE id = ?}, undef, $one->{id} );
    my @before = ( $all->(), rows($rt) );
    my ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --dry-run));
    is( $exit, 0,  'exit status' );
    is( $err,  '', 'nothing is wrong' );
    like( $out, qr/^Storing RT::Attachments $one->{id}$/m,    'it says what it would do' );
    like( $out, qr/^Skipping RT::Attachments \d+ because: /m, '... and what it would leave, and why' );
    my $moved = () = $contents->moved;
    like( $out, qr/^$moved would be moved/m, '... and how many' );
    is( $bare, 1, 'one has no length in its header' );
    is_deeply( [ $all->(), rows($rt) ], \@before, 'the database is what it was' );
    is( mark($rt),                                        undef, '... and there is no mark' );
    is( scalar $s3->requests( operation => 'PutObject' ), 0,     'nothing was sent' );
};

subtest 'as RT itself would have done it' => sub {
    my ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 0,  'exit status' ) or diag $err;
    is( $err,  '', 'nothing is wrong' );
    my $moved = () = $contents->moved;
    like( $out, qr/^$moved moved \(\d+\.\d MB\), \d+ left where they are, 0 failed$/m, 'it says how many' );
    is_deeply( [ $contents->not_moved ],  [],                     'all is moved that RT moves' );
    is_deeply( [ $s3->objects('fast') ],  [ $contents->digests ], '... the bucket holds it, and no more' );
    is_deeply( [ $contents->not_intact ], [],                     '... and RT reads it, byte for byte' );

    # The same once more, in another RT, by RT's own script
    my $other = needs_rt( config => $config, storage => { %storage, Bucket => 'own' } );
    my ($like) = Rts3::Test::Contents->create( $other, { like => $contents } );
    ( $exit, $out, $err ) = $other->run_script('rt-externalize-attachments-5');
    is( $exit, 0, "RT's own script" ) or diag $err;
    is_deeply( [ rows($rt) ], [ rows($other) ], '... makes the same rows' );
    is_deeply( mark($rt),     mark($other),     '... and the same mark' );
    for my $key ( $contents->digests ) {
        my @head = map {
            my $all = $s3->object_path( $_, $key );
            -s $all
        } qw(fast own);
        is( $head[0], $head[1], "$key: the same object" );
    }
    ( $exit, $out ) = $other->run_tool('externalize');
    is( $exit, 0, "rt-s3 after RT's own script" );
    like( $out, qr/^0 moved/m, '... finds nothing to move' );
    ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
    is( $exit . $err, '0', "RT's own script after rt-s3 is content" );
};

subtest 'a part of it' => sub {
    my ($more) = Rts3::Test::Contents->create( $rt, { mark => 'part' } );
    my $mark = mark($rt);
    my ( $first, $second ) = grep { $_->{kind} eq 'attachment' } $more->moved;
    my ( $exit, $out, $err ) =
        $rt->run_tool( 'externalize', '--class=RT::Attachments', "--ids=$second->{id},$first->{id},$second->{id}" );
    is( $exit, 0, '--ids' ) or diag $err;
    like( $out, qr/^2 moved/m, '... two' );
    is_deeply(
        [ map { $_->{id} } $more->external ],
        [ sort { $a <=> $b } map { $_->{id} } $first, $second ],
        '... these'
    );
    is_deeply( mark($rt), $mark, '... and the mark is left alone' );

    # More than one query may ask for; those that are there lie far apart
    my ( $third, $fourth ) = ( grep { $_->{kind} eq 'attachment' } $more->moved )[ 2, 3 ];
    my $many = join ',', $third->{id}, 1_000_001 .. 1_002_500, $fourth->{id};
    ( $exit, $out, $err ) = $rt->run_tool( 'externalize', '--class=RT::Attachments', "--ids=$many" );
    is( $exit, 1, '--ids with 2,502 of them' );
    like( $out, qr/^2 moved .* 2500 failed$/m, '... moves those that are there' );
    my @named = $err =~ /^RT::Attachments (\d+): not moved: there is no such row/mg;
    is_deeply( \@named, [ 1_000_001 .. 1_002_500 ], '... and names those that are not' );

    # Those that need not, or may not, be moved; and one that RT does not look at
    my ($bare)   = $rt->dbh->selectrow_array('SELECT MIN(id) FROM Attachments WHERE ContentEncoding IS NULL');
    my ($young)  = map { $_->{id} } grep { $_->{kind} eq 'attachment' && $_->{id} > $fourth->{id} } $more->moved;
    my @named_so = ( $first->{id}, $young, $bare );
    ( $exit, $out, $err ) =
        $rt->run_tool( qw(externalize --verbose --age=1 --class=RT::Attachments), '--ids=' . join ',', @named_so );
    is( $exit . $err, '0', '--ids of others than those to be moved' );
    my %why = $out =~ /^Skipping RT::Attachments (\d+) because: (.*)$/mg;
    is_deeply(
        [ @why{@named_so} ],
        [ 'it is external already', 'it was not created at that time', 'it has no content' ],
        '... says why each stays'
    );

    ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --since=2037-01-01));
    like( $out, qr/^0 moved/m, '--since: nothing is that young' );
    ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --age=1));
    like( $out, qr/^0 moved/m, '--age: nothing is that old' );
    is_deeply( mark($rt), $mark, '... and the mark is where it was' );
    ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --class=ObjectCustomFieldValues));
    is( scalar( grep { $_->{kind} eq 'attachment' } $more->external ), 4, '--class: no other class' );
    is( scalar( grep { $_->{kind} ne 'attachment' } $more->external ), 3, '... but this one' );
    ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --batchsize=6 --json));
    my @lines = map { JSON::PP::decode_json($_) } split /\n/, $out;
    is( scalar @lines,                         1, '--json: one object' );
    is( $lines[0]{moved} + $lines[0]{skipped}, 6, '--batchsize: six rows' ) or diag $out;
    $rt->set_storage( %storage, Concurrency => 2 );
    $s3->clear_log;
    ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --quiet));
    is( "$exit$out$err", '0', '--quiet: the rest, without a word' );
    my %stored_over = map { $_->{connection} => 1 } $s3->requests( operation => 'PutObject' );
    is( scalar keys %stored_over, 2, 'the option Concurrency: over two connections' );
    $rt->set_storage(%storage);
    is_deeply( [ $more->not_moved ],  [], 'all is moved in the end' );
    is_deeply( [ $more->not_intact ], [], '... and read' );
};

subtest 'wrong use' => sub {
    for my $wrong (
        [ qr/Unknown option: agee/i,                     '--agee=3' ],
        [ qr/--age: 'x' is not a whole number from 0/,   '--age=x' ],
        [ qr/--class: 'RT::Tickets' is none of RT::Att/, '--class=RT::Tickets' ],
        [ qr/--ids needs --class/,                       '--ids=3' ],
        [ qr/--ids: 'x' is no id/,                       '--class=RT::Attachments', '--ids=3,x' ],
        [ qr/--since: 'yesterday' is no date/,           '--since=yesterday' ],
        [ qr/--since: '2026-02-30' is no date/,          '--since=2026-02-30' ],
        [ qr/--concurrency: '0' is not/,                 '--concurrency=0' ],
        [ qr/nothing to do with 'all'/,                  'all' ],
        )
    {
        my ( $message, @arguments ) = @{$wrong};
        my ( $exit, $out, $err ) = $rt->run_tool( 'externalize', @arguments );
        is( $exit, 64, "@arguments: exit status" );
        like( $err, $message,                            '... what is wrong' );
        like( $err, qr/^See rt-s3 externalize --help$/m, '... and where to look' );
        is( $out, '', '... and nothing else' );
    }
    my ( $exit, $out, $err ) = $rt->run_tool( 'externalize', '--class=Attachments', '--ids=999999' );
    is( $exit, 1, 'an id that does not exist' );
    like( $err, qr/^RT::Attachments 999999: not moved: there is no such row/m, '... is named' );
    ( $exit, $out, $err ) = $rt->run_tool(qw(externalize --help));
    is( $exit . $err, '0', '--help' );
    like( $out, qr/--concurrency=NUMBER.*EXIT STATUS/s, '... is the manual' );
};

subtest 'without a configuration' => sub {
    $rt->set_storage;
    my ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 2, 'exit status' );
    like( $err, qr/external storage is not configured: set %ExternalStorage/, 'what is missing' );
    $rt->set_storage( Type => 'Disk', Path => $rt->dir );
    ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 2, 'with another backend: exit status' );
    like( $err, qr/of Type 'Disk', not 'AmazonS3'/, '... which one' );
    $rt->set_storage( %storage, SecretAccessKey => 'wrong' );
    ( $exit, $out, $err ) = $rt->run_tool('externalize');
    is( $exit, 2, 'with a wrong key: exit status' );
    like( $err, qr/SignatureDoesNotMatch/, '... what the server says' );
    $rt->set_storage(%storage);
};

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } grep { $_->{path} ne '-' } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);

done_testing;
