#!/usr/bin/perl
# Many contents at once, and what is in the bucket: from C, and from Perl without RT.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp;
use FindBin;
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::C     qw(build_program run_program);
use Rts3::Test::Needs qw(needs_library needs_s3);

my $class   = needs_library;
my $s3      = needs_s3;
my $bulk    = 'RT::ExternalStorage::AmazonS3::Native::Bulk';
my $listing = 'RT::ExternalStorage::AmazonS3::Native::Listing';
require_ok($bulk);
require_ok($listing);

my %keys = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );

sub opened {
    my (%options) = @_;
    my ( $native, $error ) = $class->open( Host => $s3->http, %keys, %options );
    die "$error\n" if !$native;
    return $native;
}

# ---- from C

{
    my $dir = File::Temp->newdir;
    $s3->make_bucket('from-c');
    my @arguments = ( $s3->https, $s3->ca, 'from-c', $s3->access_key, $s3->secret_key, 1500 );
    my $run       = run_program( {}, build_program( 'bulk', $dir ), @arguments );
    is( $run->{err},  '', 'a program in C stores 1,500 contents: nothing went wrong' );
    is( $run->{exit}, 0,  '... and ends well' );
    my ( $stored, $listed, $threads ) = $run->{out} =~ /\A(\d+) stored, (\d+) listed, (\d+) threads\n\z/;
    is( $stored, 1500, '... all are there' );
    is( $listed, 1500, '... and listed, in the order of their names, over two pages' );
    cmp_ok( $threads, '<=', 9, '... by at most eight threads' );
    is( scalar( $s3->objects('from-c') ), 1500, '... as the server says' );
    cmp_ok( scalar( $s3->connections ), '<=', 10, '... over as many connections' );
}

# ---- from Perl

sub results {
    my ($many) = @_;
    my %done;
    while ( $many->outstanding ) {
        my $result = $many->wait or next;
        $done{ $result->{id} } = $result;
    }
    return \%done;
}

{
    $s3->make_bucket('files');
    my $native   = opened( Bucket => 'files' );
    my $many     = $bulk->open( $native, concurrency => 16, memory => 1_000_000 );
    my @contents = map { "$_ " . 'x' x ( $_ * 37 % 90_000 ) } 1 .. 300;
    my ( $full, $done ) = ( 0, {} );
    $s3->faults( { operation => 'PutObject', do => { delay_ms => 30 } } );
    my $start = time;
    for my $id ( 1 .. @contents ) {
        my $content = $contents[ $id - 1 ];
        my @key     = $id % 2 ? ( key => sha256_hex($content) ) : ();
        until ( $many->submit( $id, $content, content_type => 'text/plain', @key ) ) {
            $full++;
            my $result = $many->wait or next;
            $done->{ $result->{id} } = $result;
        }
    }
    $done = { %{$done}, %{ results($many) } };
    my $seconds = time - $start;
    $s3->faults;
    is( scalar( grep { $_->{error} } values %{$done} ), 0, '300 contents are stored' );
    my @wrong = grep { ( $done->{$_}{key} // '' ) ne sha256_hex( $contents[ $_ - 1 ] ) } 1 .. 300;
    is_deeply( \@wrong, [], '... each under its key' );
    cmp_ok( $full, '>', 0, '... as there is room for them' );
    cmp_ok( $seconds, '<', 300 / 4, sprintf '... several at a time: %.1f s', $seconds );
    my ( @names, %size );
    my $objects = $listing->new($native);
    while ( my $object = $objects->next ) { push @names, $object->[0]; $size{ $object->[0] } = $object->[1] }
    is_deeply( \@names, [ sort map { sha256_hex($_) } @contents ],      '... and listed' );
    is_deeply( \%size,  { map { sha256_hex($_) => length } @contents }, '... with their sizes' );

    my $half = $listing->new( $native, after => $names[150] );
    is( $half->next->[0], $names[151], 'a listing begins where it is told to' );
    is( $many->close,     1,           'closed' );
    ok( !defined $many->submit( 1, 'x' ), '... and no use any more' );
}

# ---- trouble

{
    my $native = opened( Bucket => 'files', Retries => 1 );
    my $many   = $bulk->open( $native, concurrency => 4 );
    my %broken = map { $_ => 1 } 3, 7;
    my @keys   = map { sha256_hex("trouble $_") } 1 .. 10;
    $s3->faults(
        map {
            {
                operation => 'PutObject',
                key       => $keys[ $_ - 1 ],
                do        => { answer => { status => 403, code => 'AccessDenied' } }
            }
            }
            sort keys %broken
    );
    $many->submit( $_, "trouble $_" ) for 1 .. 10;
    $many->submit( 11, 'another', key => sha256_hex('one') );
    my $done = results($many);
    $s3->faults;
    is_deeply(
        { map { $_ => $done->{$_}{error} ? $done->{$_}{error}->name : 'stored' } keys %{$done} },
        { 11 => 'mismatch', map { $_ => $broken{$_} ? 'denied' : 'stored' } 1 .. 10 },
        'each failure is its own'
    );
    like( $done->{3}{error}, qr/$keys[2].*AccessDenied/, '... with its message' );

    $s3->stop;
    my $start = time;
    $many->submit( 1, 'while the server is down' );
    my $waits = 0;
    $waits++ while !$many->wait(1) && time - $start < 1;
    cmp_ok( $waits, '>=', 3, 'while the server is down, Perl gets the word several times a second' );
    $start = time;
    undef $many;
    cmp_ok( time - $start, '<', 2, '... and what is under way is given up at once' );
    $s3->restart;
}

# ---- wrong use

{
    my $native = opened( Bucket => 'files' );
    my ( undef, $error ) = $bulk->open( $native, concurrency => 'many' );
    like( $error, qr/concurrency must be a whole number/, 'a concurrency that is none' );
    ( undef, $error ) = $bulk->open( $native, concurrency => 5000 );
    like( $error, qr/concurrency is above 1024/, 'one that is too high' );
    my $many = $bulk->open($native);
    ( undef, $error ) = $many->submit( 1, "\x{263a}" );
    like( $error, qr/wide characters/, 'a content that is no bytes' );

    for my $id ( -1, 1.5, 'abc', undef ) {
        ( undef, $error ) = $many->submit( $id, 'x' );
        like( $error, qr/the id must be a whole number/, 'an id: ' . ( $id // 'none' ) );
    }
    ( undef, $error ) = $many->submit( 1, 'x', key => 'nonsense' );
    like( $error, qr/key/, 'a key that is none' );
    ( undef, $error ) = $listing->new( opened( Bucket => 'nowhere' ) )->next;
    is( $error && $error->name, 'no-bucket', 'a listing of a bucket that is not there' );
}

{
    $s3->make_bucket('strange');
    my $native = opened( Bucket => 'strange' );
    my $prefix = opened( Bucket => 'strange', Prefix => 'below/ü ' );
    my $key    = sha256_hex('x');
    $_->store( $key, 'x' ) or die for $native, $prefix;
    my @below = map { $_->[0] } grep {$_} $listing->new($prefix)->next;
    is_deeply( \@below, [$key], 'only what is below the prefix, without it' );
    my $all = $listing->new($native);
    my @all = ( $all->next->[0], $all->next->[0] );
    is_deeply( [ sort @all ], [ sort $key, "below/%C3%BC%20$key" ], 'a strange name is encoded' );
    is( scalar $all->next, 0, '... and goes no further' );
}

done_testing;
