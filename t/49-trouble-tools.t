#!/usr/bin/perl
# RT's own programs while S3 is in trouble: rt-externalize-attachments, rt-fulltext-indexer, rt-serializer. Each ends with
# the reason, leaves nothing empty behind, and does the rest when it is run again.
#
# RT's indexer knows MySQL, PostgreSQL and Oracle, and does nothing with SQLite. What it does for MySQL is plain SQL, so it
# is told that this is one; how it gets at the texts is the same for all.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Copy  ();
use File::Temp;
use FindBin;
use Storable ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $bucket  = 'rts3-bucket-49';
my $s3      = needs_s3;
my %storage = (
    Type   => 'AmazonS3',
    Bucket => $bucket,
    $s3->options,
    CreateBucket => 1,
    Deadline     => 2,
    ReadTimeout  => 1,
    Retries      => 0,
);
my $rt = needs_rt(
    config => <<'END',
Set($ExternalStorageCutoffSize, 100);
Set($RecordOutgoingEmail, 0);
if ( $0 =~ /rt-fulltext-indexer/ ) {
    my $get = \&RT::Config::Get;
    no warnings 'redefine';
    *RT::Config::Get = sub { ( $_[1] // '' ) eq 'DatabaseType' && caller eq 'main' ? 'mysql' : goto &$get };
}
END
    storage => {%storage},
    env     => { RT_FTS_CONFIG => '{"Enable":1,"Indexed":1,"Table":"AttachmentsIndex","Engine":"InnoDB"}' },
);
my $small = "STAYS-IN-THE-DATABASE\n";
my %content =
    ( first => text('first'), second => text('second'), last => text('last'), scan => "scan\0" . 's' x 200 );
$rt->call( <<'END', $small, \%content );
    my ( $small, $content ) = @_;
    Rts3::Test::RT::Inside::create_custom_field( Scan => 'Binary' );
    my $ticket = Rts3::Test::RT::Inside::create_ticket(
        content => $small,
        fields  => { Scan => { name => 's.pdf', type => 'application/pdf', content => $content->{scan} } },
    )->{id};
    Rts3::Test::RT::Inside::reply( $ticket, content => $content->{$_} ) for qw(first second last);
END
my %key = map { $_ => sha256_hex( $content{$_} ) } keys %content;
$s3->make_bucket($bucket);

my %trouble = (
    down          => { says => 'network|unavailable', begin => sub { $s3->stop },   end => sub { $s3->restart } },
    slow          => { says => 'timeout|unavailable', begin => sub { $s3->freeze }, end => sub { $s3->thaw } },
    denying       => { says => 'denied',              begin => sub { deny() },      end => sub { $s3->faults } },
    misconfigured => {
        says  => 'no-bucket',
        begin => sub { $rt->set_storage( %storage, Bucket => "${bucket}x" ) },
        end   => sub { $rt->set_storage(%storage) },
    },
    missing => {
        says  => 'not-found',
        begin => sub {
            unlink map { $s3->object_path( $bucket, $_ ) } values %key;
        },
        end => \&restore,
    },
    damaged => {
        says  => 'corrupt',
        begin => sub { spew( $s3->object_path( $bucket, $key{$_} ), 'x' ) for keys %key },
        end   => \&restore,
    },
);
my @outages = qw(down slow denying misconfigured);

# ---- RT's externalizer

is_deeply( [ external() ], [], 'nothing is external' );
deny( key => $key{second}, operation => 'PutObject' );
externalizer_ends( 'denied at the second attachment', qr/Failed to store RT::Attachments \d+: .*\[denied/ );
is_deeply( [ external() ], ['first'], '... the first one was moved' );
deny( key => $key{scan}, operation => 'PutObject' );
externalizer_ends( 'denied at a custom field value',
    qr/Failed to store RT::ObjectCustomFieldValues \d+: .*\[denied/ );
is_deeply( [ external() ], [qw(first last second)], '... it has gone on with the attachments' );
$s3->faults;

for my $how (@outages) {
    $trouble{$how}{begin}->();
    externalizer_ends( $how, qr/in bucket ${bucket}x?\b.*\[(?:$trouble{$how}{says})\b/ );
    is_deeply( [ external() ], [qw(first last second)], '... and has changed nothing' );
    $trouble{$how}{end}->();
}
ok( !-e $s3->root . "/${bucket}x", 'the bucket that was mistyped has not been made' );
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit, 0, 'externalizer, run again' ) or diag $err;
is_deeply( [ external() ], [qw(first last scan second)], '... it has moved the rest' );
is( $s3->content( $bucket, $key{$_} ), $content{$_}, "... $_, byte for byte" ) for sort keys %key;
is( ( grep { $_->{path} ne $rt->expected_module } $rt->loaded_modules ), 0, 'all that with our module' );

# ---- RT's indexer. A copy, since it locks its own file.

my $tmp = File::Temp->newdir;
File::Copy::cp( '/usr/sbin/rt-fulltext-indexer-5', "$tmp/rt-fulltext-indexer-5" ) or die $!;
chmod 0755, "$tmp/rt-fulltext-indexer-5" or die $!;
$rt->dbh->do('CREATE TABLE AttachmentsIndex (id INTEGER PRIMARY KEY, Content TEXT)');
for my $how (@outages) {
    $trouble{$how}{begin}->();
    indexer_ends( $how, $trouble{$how}{says} );
    is_deeply( [ indexed() ], [$small], '... and has marked nothing beyond what it has read' );
    called_directly($how) if $how eq 'slow' || $how eq 'denying';
    $trouble{$how}{end}->();
}
indexer('run again');
is_deeply( [ indexed() ], [ $small, @content{qw(first second last)} ], '... it has all the texts' );

# What is lost is left out, whichever it is
my @lost = ( missing => 'first', missing => 'second', damaged => 'first', damaged => 'last' );
while ( my ( $how, $which ) = splice @lost, 0, 2 ) {
    $rt->dbh->do('DELETE FROM AttachmentsIndex');
    my $object = $s3->object_path( $bucket, $key{$which} );
    if   ( $how eq 'missing' ) { unlink $object }
    else                       { spew( $object, 'x' ) }
    indexer("the $which text is $how");
    my @rest = map { $_ eq $which ? '' : $content{$_} } qw(first second last);
    is_deeply( [ indexed() ], [ $small, @rest ], '... it has the others' );
    like( $rt->log_text, qr/GET $key{$which} in bucket $bucket .*\[$trouble{$how}{says}/, '... and the log says so' );
    restore();
}
$rt->dbh->do('DELETE FROM AttachmentsIndex');
$trouble{missing}{begin}->();
indexer_ends( 'nothing is there at all', 'not-found' );
is_deeply( [ indexed() ], [$small], '... which may be the wrong bucket' );
restore();

# ---- RT's serializer

my $run = 0;
for my $how ( @outages, qw(missing damaged) ) {
    $trouble{$how}{begin}->();
    serializer_ends( $how, $trouble{$how}{says}, $how eq 'down' ? ( [], ['--clone'] ) : [] );
    $trouble{$how}{end}->();
}
for my $options ( [], ['--clone'] ) {
    my ($written) = serializer(@$options);
    ok( -s "$tmp/$run/rt-serialized", '... it has come to its end' );
    is_deeply( [ sort @$written ], [ sort $small, values %content ], '... with every content' );
}
done_testing;

sub text { return "TEXT-$_[0] " . 'x' x 200 . "\n" }

sub deny {
    my (%which) = @_;
    $s3->faults( { %which, do => { answer => { status => 403, code => 'AccessDenied' } } } );
    return;
}

sub restore {
    spew( $s3->object_path( $bucket, $key{$_} ), $content{$_} ) for keys %key;
    return;
}

# The names of what is in S3, as RT's database has it
sub external {
    my %name   = reverse %key;
    my @values = map { $_->{Content} } grep { $_->{ContentEncoding} eq 'external' } $rt->attachment_rows;
    push @values, map { $_->{LargeContent} } grep { $_->{ContentEncoding} eq 'external' } $rt->field_value_rows;
    my @names = sort map { $name{$_} } @values;
    return @names;
}

sub externalizer_ends {
    my ( $name, $message ) = @_;
    my ( $status, undef, $errors ) = $rt->run_script('rt-externalize-attachments-5');
    isnt( $status, 0, "externalizer, $name: it ends" );
    like( $errors, $message, '... with the message' );
    return;
}

# One text at a time, so that what was read before an outage is written
sub run_indexer {
    $rt->clear_log;
    return $rt->run_script( "$tmp/rt-fulltext-indexer-5", '--all', '--limit', 1 );
}

sub indexer {
    my ($name) = @_;
    my ( $status, undef, $errors ) = run_indexer();
    is( $status, 0, "indexer, $name: it goes on" ) or diag $errors;
    return;
}

sub indexer_ends {
    my ( $name, $says ) = @_;
    my ( $status, undef, $errors ) = run_indexer();
    isnt( $status, 0, "indexer, $name: it ends" );
    like( $errors, qr/GET $key{first} in bucket ${bucket}x?\b.*\[(?:$says)\b/, '... with the message' );
    return;
}

sub called_directly {
    my ($how) = @_;
    my $got   = $rt->call( 'my $s = RT->System->ExternalStorage; [ $s->Get(@_), scalar $s->Get(@_) ]', $key{first} );
    my $says  = qr/GET $key{first} in bucket $bucket\b[^\n]*\[(?:$trouble{$how}{says})\b[^\n]*\z/;
    is_deeply( [ @$got[ 0, 2 ] ], [ undef, undef ], "Get, called directly, $how: undef, in scalar context, too" );
    like( $got->[1], $says, '... and a message of one line' );
    return;
}

# The texts in the index, in their order. RT puts the subject before each.
sub indexed {
    my $texts = $rt->dbh->selectcol_arrayref('SELECT Content FROM AttachmentsIndex ORDER BY id');
    return map {s/\A[^\n]*\n//r} @$texts;
}

# Every content in what was written; and how it ended
sub serializer {
    my (@options) = @_;
    $run++;
    my ( $status, undef, $errors ) =
        $rt->run_script( 'rt-serializer-5', '--quiet', '--directory', "$tmp/$run", @options );
    my @written;
    for my $file ( glob "$tmp/$run/*.dat" ) {
        open my $in, '<:raw', $file or die $!;
        while ( !eof $in ) {
            my $record = Storable::fd_retrieve($in);
            next if ref $record ne 'ARRAY' || $record->[0] !~ /^RT::(?:Attachment|ObjectCustomFieldValue)$/;
            my $column = $record->[0] eq 'RT::Attachment' ? 'Content' : 'LargeContent';
            push @written, $record->[2]{$column} // 'undef';
        }
        close $in or die $!;
    }
    return ( \@written, $status, $errors );
}

sub serializer_ends {
    my ( $name, $says, @runs ) = @_;
    for my $options (@runs) {
        my ( $written, $status, $errors ) = serializer(@$options);
        isnt( $status, 0, join( ' ', 'serializer', @$options ) . ", $name: it ends" );
        like( $errors, qr/GET \w{64} in bucket ${bucket}x?\b.*\[(?:$says)\b/, '... with the message' );
        my @other = grep { $_ ne $small } @$written;
        is( "@other", '', '... and has written no file' );
        ok( ( !grep { !length } @$written ), '... not an empty one, either' );
        ok( !-e "$tmp/$run/rt-serialized",   '... nor that it has come to its end' );
    }
    return;
}
