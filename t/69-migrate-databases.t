#!/usr/bin/perl
# rt-s3 migrate on PostgreSQL and MariaDB: from RT's own directory into a bucket, and from there into another one.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::DatabaseServer ();
use Rts3::Test::Internalize    qw(beside columns);
use Rts3::Test::Migrate        qw(migrate storage_file);
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);

needs_library;
needs( Rts3::Test::DatabaseServer->missing($_) ) for qw(Pg mysql);
my $s3 = needs_s3;

my $limit = 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ");\n";

for my $type (qw(Pg mysql)) {
    subtest $type => sub {
        my $server = Rts3::Test::DatabaseServer->start($type);
        my $rt     = needs_rt( config => $server->config . $limit );
        my $disk   = $rt->dir . '/attachments';
        mkdir $disk or die "$disk: $!";
        $rt->set_storage( Type => 'Disk', Path => $disk );
        my ($contents) = Rts3::Test::Contents->create( $rt, {} );
        my @digests    = $contents->digests;
        my $count      = @digests;
        my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments');
        is( "$exit$err", '0', q{RT's own script, RT's own Disk} );
        my @before = ( columns( $server->dbh ), beside( $server->dbh ) );

        for my $name ( lc "$type-first", lc "$type-second" ) {
            my %target = ( Type => 'AmazonS3', Bucket => $name, $s3->options );
            ( $exit, $out, $err ) = migrate( $rt, '--to', storage_file( $rt, 'to.pm', %target ) );
            is( "$exit$err", '0', "$name: exit status" );
            like( $out, qr/^$count copied .*, 0 there already, 0 failed$/m, '... all is copied' );
            is_deeply( [ $s3->objects($name) ], \@digests, '... as it should be' );
            $rt->set_storage(%target);
            is_deeply( [ $contents->not_intact ], [], '... and RT reads it from there, byte for byte' );
        }
        is_deeply( [ columns( $server->dbh ), beside( $server->dbh ) ], \@before, 'the database is what it was' );
        ( $exit, $out, $err ) = migrate( $rt, '--from', "Disk:$disk" );
        is( "$exit$err", '0', 'once more, from the directory' );
        like( $out, qr/^0 copied .*, $count there already/m, '... nothing is to be copied' );
    };
}

done_testing;
