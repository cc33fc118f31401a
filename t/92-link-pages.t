#!/usr/bin/perl
# A ticket's page with many direct links: RT asks S3 for nothing to make it, and it takes no longer than without links.
use strict;
use warnings;

use FindBin;
use List::Util qw(min);
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $Count   = 20;
my $Seconds = 0.05;       # more than so many are too many, for all links of a page
my $s3      = needs_s3;
my %storage = (
    Type   => 'AmazonS3',
    Bucket => 'att',
    $s3->options,
    Region     => 'us-east-1',
    DirectLink => 'presigned'
);
my $rt = needs_rt( storage => \%storage );
$rt->create_ticket( attachments => [ map { { name => "file $_.bin", content => "$_\n" x 2000 } } 1 .. $Count ] );
my ( $exit, undef, $errors ) = $rt->run_script('rt-externalize-attachments');
is( $exit, 0, 'everything is moved' ) or diag $errors;

# The shortest time that the page takes
sub look {
    my ($direct) = @_;
    $rt->set_config("Set(\$ExternalStorageDirectLink, $direct);");
    my $web = $rt->start_web( workers => 1, arguments => ['--disable-keepalive'] )->login;
    $s3->clear_log;
    my ( $page, @seconds );
    for ( 0 .. 15 ) {
        my $begin = time;
        $page = $web->get('/Helpers/TicketHistory?id=1')->decoded_content;
        push @seconds, time - $begin;
    }
    $rt->stop_web;
    my $links = () = $page =~ /Signature=/g;
    my $files = () = $page =~ /downloadfilename/g;
    is( "$links $files",  ( $direct ? $Count : 0 ) . " $Count", "$links links to $files files" );
    is( $s3->connections, 0,                                    '... and S3 is not asked for anything' );
    return min @seconds;
}

# A busy machine may need to be asked again
my ( $without, $with );
for ( 1 .. 3 ) {
    ( $without, $with ) = map { look($_) } 0, 1;
    last if $with - $without < $Seconds;
}
cmp_ok(
    $with - $without,
    '<', $Seconds,
    sprintf 'the page takes no longer: %.0f ms without links, %.0f ms with %d',
    1000 * $without,
    1000 * $with, $Count
);

done_testing;
