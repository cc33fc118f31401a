#!/usr/bin/perl
# rt-s3 migrate on PostgreSQL and MariaDB: from RT's own directory into a bucket, and from there into another one.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::DatabaseServer ();
use Rts3::Test::Migrate        qw(migrate storage_file);
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);

needs_library;
needs( Rts3::Test::DatabaseServer->missing($_) ) for qw(Pg mysql);
my $s3 = needs_s3;

my @files = (
    { name => 'zero.bin',   content => join '', map { chr( $_ % 256 ) } 1 .. 20_000 },
    { name => 'latin1.bin', content => "Gr\xf6\xdfe \xbd\n" x 1000 },
    { name => 'utf8.bin',   content => "Gr\xc3\xb6\xc3\x9fe\r\n" x 1000 },
);
my $create = <<'END';
    my ($files) = @_;
    Rts3::Test::RT::Inside::create_custom_field( 'Contract', 'Binary' );
    my $ticket = Rts3::Test::RT::Inside::create_ticket(
        attachments => $files,
        fields      => { Contract => { name => 'value', content => "$files->[0]{content}!" } },
    );
    return [ map { $_->{id} } grep { length( $_->{name} // '' ) } @{ $ticket->{attachments} } ];
END
my $read = <<'END';
    my @bytes = map { Rts3::Test::RT::Inside::attachment($_)->{bytes} } @_;
    return [ @bytes, Rts3::Test::RT::Inside::field_value(1)->{bytes} ];
END
my @contents = ( ( map { $_->{content} } @files ), "$files[0]{content}!" );
my @digests  = sort map { sha256_hex($_) } @contents;

for my $type (qw(Pg mysql)) {
    subtest $type => sub {
        my $server = Rts3::Test::DatabaseServer->start($type);
        my $rt     = needs_rt( config => $server->config );
        my $disk   = $rt->dir . '/attachments';
        mkdir $disk or die "$disk: $!";
        $rt->set_storage( Type => 'Disk', Path => $disk );
        my $ids = $rt->call( $create, \@files );
        my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments');
        is( "$exit$err", '0', q{RT's own script, RT's own Disk} );
        my $rows = sub {
            return $server->dbh->selectall_arrayref(
                q{SELECT id, Content, ContentEncoding FROM Attachments WHERE ContentEncoding = 'external' ORDER BY id}
            );
        };
        my $before = $rows->();

        for my $name ( lc "$type-first", lc "$type-second" ) {
            my %target = ( Type => 'AmazonS3', Bucket => $name, $s3->options );
            ( $exit, $out, $err ) = migrate( $rt, '--to', storage_file( $rt, 'to.pm', %target ) );
            is( "$exit$err", '0', "$name: exit status" );
            like( $out, qr/^4 copied .*, 0 there already, 0 failed$/m, '... all is copied' );
            is_deeply( [ $s3->objects($name) ], \@digests, '... byte for byte' );
            $rt->set_storage(%target);
            my $got = $rt->call( $read, @{$ids} );
            is_deeply(
                [ map { sha256_hex($_) } @{$got} ],
                [ map { sha256_hex($_) } @contents ],
                '... and RT reads it from there'
            );
        }
        is_deeply( $rows->(), $before, 'the database is what it was' );
        ( $exit, $out, $err ) = migrate( $rt, '--from', "Disk:$disk" );
        is( "$exit$err", '0', 'once more, from the directory' );
        like( $out, qr/^0 copied .*, 4 there already/m, '... nothing is to be copied' );
    };
}

done_testing;
