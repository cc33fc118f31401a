#!/usr/bin/perl
# A cluster of three Garage nodes, one of which is killed and comes back while two processes store: no Store may fail.
# RTS3_STORES: how many Stores in each of the two parts; RTS3_WRITE_DOCS=1: rewrite docs/cluster.md, if all is well.
use strict;
use warnings;

use File::Temp;
use FindBin;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);

use lib map {"$FindBin::Bin/$_"} qw(../t/lib lib);
use Rts3::Test::ClusterReport    qw(page table);
use Rts3::Test::File             qw(spew);
use Rts3::Test::Garage;
use Rts3::Test::GarageCluster;
use Rts3::Test::Load;
use Rts3::Test::Needs qw(needs needs_library);

my $Stores   = $ENV{RTS3_STORES} || 2000;
my $Deadline = 120;                         # the option's default, where no web server runs
my $Bucket   = 'attachments';
my $Limit    = 1800;                        # seconds for a part, should it hang

my $native = needs_library;
if ( $ENV{RTS3_TEST_ALL} && Rts3::Test::Garage->missing ) {
    diag 'Building Garage, once: some minutes';
    Rts3::Test::Garage->build;
}
needs( Rts3::Test::Garage->missing );

# So that the nodes end and the directories go
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my $start   = time;
my $dir     = File::Temp->newdir( 'rts3-load-XXXXXX', TMPDIR => 1 );
my $cluster = Rts3::Test::GarageCluster->start;
my @handles = map { { Bucket => $Bucket, $cluster->options($_) } } $cluster->nodes;
my @clients = map {
    { %{ $cluster->client($_) } }
} $cluster->nodes;
make_bucket();

# The clients speak to node 0
my @parts = (
    part( 'another node', node => 2, back => sub { my ($done) = @_; return $done >= $Stores * 3 / 4 } ),
    part( 'the node that they speak to', node => 0, back => sub { my ( undef, $down ) = @_; return $down >= 5 } ),
);
undef $cluster;

my %run = (
    date    => strftime( '%Y-%m-%d', gmtime ),
    library => ( $native->version )[0],
    garage  => Rts3::Test::Garage->version,
    minutes => ( time - $start ) / 60,
    parts   => \@parts,
);
diag $_ for '', split /\n/, table(%run);
if ( $ENV{RTS3_WRITE_DOCS} && Test::More->builder->is_passing ) {
    spew( "$FindBin::Bin/../docs/cluster.md", page(%run) );
}
done_testing;

sub make_bucket {
    my ( $handle, $error ) = $native->open( %{ $handles[0] } );
    ( my $made, $error ) = $handle->create_bucket if $handle;
    ok( $made, 'three nodes, and a bucket' ) or BAIL_OUT($error);
    return;
}

# Stores, while a node is down for a time, and reads everything back. back->( Stores so far, seconds down ) says when it is
# to be started again. Returns the figures.
sub part {
    my ( $name, %part ) = @_;
    my %figure = ( name => $name, nodes => scalar @handles, processes => 2, stores => $Stores );
    subtest "$name is killed" => sub {
        my $before = requests();
        my $load   = start_load( \%figure, do => 'store', handles => [ $handles[0] ] );
        $load->wait_until( sub { $load->done >= $Stores / 4 }, $Limit );
        my $killed = time;
        $cluster->kill_node( $part{node} );
        $load->wait_until( sub { $part{back}->( $load->done, time - $killed ) }, $Limit );
        $cluster->start_node( $part{node} );
        my $back = time;
        $figure{whole} = $cluster->wait_until_whole;
        is_deeply( [ $load->finish($Limit) ], [], 'the processes that store ran to their end' );

        my @stores = $load->results;
        is( @stores, $Stores, "$Stores Stores" );
        $figure{failed} = failures( 'Store', @stores );
        measure( \%figure, $killed, $back, @stores );
        cmp_ok( $figure{longest}, '<', $Deadline, "none took longer than the Deadline of $Deadline s" );
        cmp_ok( $figure{during},  '>', 0,         'Stores while the node was down' );
        my $after = requests();
        $figure{repeated} = $after->{PUT} - $before->{PUT} - @stores;
        $figure{refused}  = $after->{refused} - $before->{refused};

        read_back( \%figure, grep { !@{ $_->{failed} } } @stores );
    };
    return \%figure;
}

sub start_load {
    my ( $figure, %load ) = @_;
    return Rts3::Test::Load->start(
        count     => $Stores,
        processes => $figure->{processes},
        seed      => $figure->{name} =~ tr/ /-/r,
        dir       => "$dir",
        %load
    );
}

sub measure {
    my ( $figure, $killed, $back, @stores ) = @_;
    my @seconds = sort { $a <=> $b } map { $_->{ended} - $_->{started} } @stores;
    my @sizes   = sort { $a <=> $b } map { $_->{size} } @stores;
    my %message;
    $message{$_}++ for grep { !/: option Host begins with http:/ } map { @{ $_->{said} } } @stores;
    note "$message{$_} times: $_" for sort keys %message;
    $figure->{messages} += $_ for 0, values %message;
    $figure->{said}     = [ sort keys %message ];
    $figure->{down}     = $back - $killed;
    $figure->{during}   = grep { $_->{ended} > $killed && $_->{started} < $back } @stores;
    $figure->{median}   = $seconds[ @seconds / 2 ];
    $figure->{longest}  = $seconds[-1];
    $figure->{largest}  = $sizes[-1];
    $figure->{smallest} = $sizes[0];
    $figure->{size} += $_ for @sizes;
    return;
}

# Of what was said to be stored, nothing may be missing: of what was not, that was said
sub read_back {
    my ( $figure, @stored ) = @_;
    my %stored = map { $_->{key} => 1 } @stored;
    my $load   = start_load( $figure, do => 'read', handles => \@handles, clients => \@clients );
    is_deeply( [ $load->finish($Limit) ], [], 'the processes that read ran to their end' );
    my @read = grep { $stored{ $_->{key} } } $load->results;
    failures( 'reading', @read );
    for my $by (qw(library other)) {
        $figure->{$by} = grep { $_->{$by} == $figure->{nodes} } @read;
        is( $figure->{$by}, @stored, "all objects read back byte for byte through each node ($by)" );
    }
    return;
}

# Says which ones failed, and why; returns how many did
sub failures {
    my ( $what, @results ) = @_;
    my @failed = grep { @{ $_->{failed} } } @results;
    is( @failed, 0, "no $what failed" );
    diag "$what $_->{index}, $_->{size} bytes: @{ $_->{failed} }" for @failed;
    return scalar @failed;
}

# What has reached the nodes so far, as their logs say: writes of objects; answers that it can't be done now
sub requests {
    my %count  = ( PUT => 0, refused => 0 );
    my $object = qr{/$Bucket/\w{64}$}m;
    for my $log ( map { $cluster->log_of($_) } $cluster->nodes ) {
        $count{PUT}     += () = $log =~ /(?<!response to) [\d.]+:\d+ \(key \w+\) PUT $object/g;
        $count{refused} += () = $log =~ /error 5\d\d .* (?:PUT|HEAD) $object/g;
    }
    return \%count;
}
