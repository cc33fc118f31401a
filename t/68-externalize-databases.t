#!/usr/bin/perl
# rt-s3 externalize on PostgreSQL and MariaDB: the same bytes, and a database that goes away.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::DatabaseServer ();
use Rts3::Test::File           qw(slurp);
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);
use Rts3::Test::Process        ();

needs_library;
needs( Rts3::Test::DatabaseServer->missing($_) ) for qw(Pg mysql);
my $s3 = needs_s3;

# Bytes that PostgreSQL keeps as base64, as quoted-printable and as they are
my %content = (
    'zero.bin'   => join( '', map { chr( $_ % 256 ) } 1 .. 20_000 ),
    'latin1.bin' => "Gr\xf6\xdfe \xbd\n" x 1000,
    'ascii.bin'  => "plain = text\n" x 1000,
    'utf8.bin'   => "Gr\xc3\xb6\xc3\x9fe\r\n" x 1000,
);

# ... and such that are read in pieces
my %large = map { ( "large-$_" => $content{$_} x ( 1 + 10_000_000 / length $content{$_} ) ) } keys %content;

sub files {
    my ($mark) = @_;
    my %all = $mark eq 'one' ? ( %content, %large ) : %content;
    return [ map { { name => "$mark-$_", content => "$all{$_}$mark" } } sort keys %all ];
}

my $create = <<'END';
    my ( $files, $field ) = @_;
    Rts3::Test::RT::Inside::create_custom_field( $field, 'Binary' ) if $field;
    my $ticket = Rts3::Test::RT::Inside::create_ticket(
        attachments => $files,
        fields      => $field ? { $field => { name => 'value', content => $files->[-1]{content} . '!' } } : {},
    );
    return [ map { $_->{id} } grep { length( $_->{name} // '' ) } @{ $ticket->{attachments} } ];
END

for my $type (qw(Pg mysql)) {
    subtest $type => sub {
        my $server  = Rts3::Test::DatabaseServer->start($type);
        my $bucket  = lc "on-$type";
        my %storage = ( Type => 'AmazonS3', Bucket => $bucket, $s3->options );
        my $more    = 'Set($MaxAttachmentSize, 20_000_000); Set($ExternalStorageCutoffSize, 1000);';
        my $rt      = needs_rt( storage => \%storage, config => $server->config . $more );
        my $read    = 'return [ map { Rts3::Test::RT::Inside::attachment($_) } @_ ]';

        my $files = files('one');
        my $ids   = $rt->call( $create, $files, 'Contract' );
        my ( $exit, $out, $err ) = $rt->run_tool('externalize');
        is( $exit . $err, '0', 'all is moved' );
        like( $out, qr/^9 moved/m, '... nine' );
        my @digests = map { sha256_hex( $_->{content} ) } @{$files}, { content => "$files->[-1]{content}!" };
        is_deeply( [ $s3->objects($bucket) ], [ sort @digests ], '... byte for byte' );
        my $got = $rt->call( $read, @{$ids} );
        is_deeply( [ map { $_->{encoding} } @{$got} ], [ ('external') x 8 ], '... RT reads them from there' );
        is_deeply(
            { map { $_->{name} => sha256_hex( $_->{bytes} ) } @{$got} },
            { map { $_->{name} => sha256_hex( $_->{content} ) } @{$files} },
            '... as they were'
        );
        ( $exit, $out ) = $rt->run_tool('externalize');
        like( $out, qr/^0 moved/m, 'a second run moves nothing' );
        ( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep --quiet));
        is( "$exit$out$err", '0', 'rt-s3 verify --deep finds nothing' );

        # What is read in several pieces is of one moment, whoever changes it meanwhile
        my $seen = $rt->call( <<'END', $ids->[0] );
            my ($id) = @_;
            require RT::ExternalStorage::AmazonS3::Tool;
            require RT::ExternalStorage::AmazonS3::Tool::Database;
            my $database = RT::ExternalStorage::AmazonS3::Tool::Database->new( RT::ExternalStorage::AmazonS3::Tool->new );
            my $other    = $RT::Handle->dbh->clone;
            my $look     = sub { scalar $_[0]->selectrow_array("SELECT Subject FROM Attachments WHERE id = $id") };
            $other->do("UPDATE Attachments SET Subject = 'before' WHERE id = $id");
            my $both = $database->Snapshot(
                sub {
                    my ($dbh) = @_;
                    my $first = $look->($dbh);
                    $other->do("UPDATE Attachments SET Subject = 'after' WHERE id = $id");
                    return [ $first, $look->($dbh) ];
                }
            );
            return [ @{$both}, $look->( $RT::Handle->dbh ) ];
END
        is_deeply( $seen, [qw(before before after)], 'a snapshot is of one moment' );

        # As long as the server asks it to slow down, its uploads are under way
        $rt->call( $create, files('two') );
        $rt->set_storage( %storage, Retries => 20, Deadline => 60 );
        $s3->clear_log;
        $s3->faults( { operation => 'PutObject', do => { answer => { status => 503, code => 'SlowDown' } } } );
        my $turn = $rt->externalizers_turn;
        my $pid  = Rts3::Test::Process::spawn(
            command => [ $rt->tool('externalize') ],
            env     => { $rt->environment },
            out     => '/dev/null',
            err     => $rt->dir . '/err',
        );
        my $end = time + 30;
        sleep 0.05 while time < $end && $s3->requests( operation => 'PutObject' ) < 4;
        $server->stop;
        $s3->faults;
        ok( Rts3::Test::Process::wait_for( $pid, 60 ), 'the database goes away in the middle: it ends' );
        is( $? >> 8, 2, '... with its exit status' );
        like( slurp( $rt->dir . '/err' ), qr/^rt-s3 externalize: .*database/m, '... and says why' );
        undef $turn;
    };
}

done_testing;
