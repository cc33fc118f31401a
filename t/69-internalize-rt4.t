#!/usr/bin/perl
# rt-s3 internalize in RT 4.4: there and back again leaves everything as it was.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::Internalize qw(beside columns internalize);
use Rts3::Test::Needs       qw(needs needs_s3);
use Rts3::Test::RT;

needs( Rts3::Test::RT->missing(4) );
my $s3 = needs_s3;
my $rt = Rts3::Test::RT->new(
    version => 4,
    config  => 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ');',
    storage => { Type => 'AmazonS3', Bucket => 'files', $s3->options }
);
my ($contents) = Rts3::Test::Contents->create( $rt, {} );
my $moved      = () = $contents->moved;
my $before     = columns( $rt->dbh );
my $beside     = beside( $rt->dbh );

my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments-4');
is( $exit . $err, '0', "RT's own script" );
is_deeply( [ $contents->not_moved ], [], '... has moved all' );
my $external = columns( $rt->dbh );

( $exit, $out, $err ) = internalize($rt);
is( $exit . $err, '0', 'back into the database' ) or diag $err;
like( $out, qr/^$moved moved back .* 0 failed$/m, '... all of it' );
is_deeply( columns( $rt->dbh ),       $before, '... every row is what it was, column for column' );
is_deeply( beside( $rt->dbh ),        $beside, '... and what stands beside it' );
is_deeply( [ $contents->not_intact ], [],      '... and RT reads it' );

( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments-4');
is( $exit . $err, '0', "RT's own script once more" );
is_deeply( columns( $rt->dbh ), $external, '... moves all of it again' );

done_testing;
