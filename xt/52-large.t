#!/usr/bin/perl
# What each command costs in a large RT, by the number of attachments. RTS3_WRITE_DOCS=1: rewrite tables and chart of
# docs/large.md, if all is well. What was measured once is not measured again; RTS3_AGAIN=1: it is.
use strict;
use warnings;

use FindBin;
use JSON::PP qw(decode_json);
use Test::More;

use lib "$FindBin::Bin/../t/lib", "$FindBin::Bin/../t/bench/lib";
use Rts3::Bench::Large;
use Rts3::Bench::Large::Report;
use Rts3::Test::DatabaseServer;
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs needs_library);

needs_library;

# So that all that was started ends
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

# Per row, what is above may be the noise of the machine; below that it may be how the cost grows
use constant { TIMES => 2, MEGABYTES => 40, SLOW => 1 };

# What of the output says that it was done
my %SAYS = (
    verify                    => sub {qr/^$_[0] references to $_[0] files; \d+ objects, .*: all well$/m},
    'verify-orphans'          => sub {qr/^$_[0] references .*: 100 orphans$/m},
    'verify-deep'             => sub {qr/ $_[0] looked at: all well$/m},
    check                     => sub {qr/^ok       delete: allowed$/m},
    page                      => sub {qr/At a glance/},
    'externalize-nothing'     => sub {qr/^0 moved \(0\.0 MB\), 0 left/m},
    'externalize-first-since' => sub {qr/^0 moved \(0\.0 MB\), 0 left/m},
    'externalize-day'         => sub {qr/^1000 moved \(10\.0 MB\), 0 left where they are, 0 failed$/m},
    'externalize-since'       => sub {qr/^1000 moved \(10\.0 MB\), 0 left where they are, 0 failed$/m},
    'externalize-first'       => sub {qr/^0 moved \(0\.0 MB\), $_[0] left/m},
    internalize               => sub {qr/^10 moved back/m},
    migrate                   => sub {qr/^Now let RT work with it/m},
    'migrate-again'           => sub {qr/^Now let RT work with it/m},
);

my @counts = sort { $a <=> $b } split /,/, $ENV{RTS3_REFERENCES} || '10000,100000,1000000';
my @types  = split /,/, $ENV{RTS3_DATABASES} || 'SQLite,Pg';
my %most   = map { $_ => $ENV{RTS3_MOST} } $ENV{RTS3_MOST} ? qw(verify-deep migrate migrate-again) : ();
needs( Rts3::Test::DatabaseServer->missing($_) ) for grep { $_ ne 'SQLite' } @types;

my %runs;
for my $type (@types) {
    for my $count (@counts) {
        my $large = Rts3::Bench::Large->new(
            count    => $count,
            database => $type,
            again    => $ENV{RTS3_AGAIN},
            most     => \%most
        );
        for my $name ( $large->names ) {
            my $run  = $runs{$type}{$name}{$count} = $large->measured($name);
            my $what = "$type, $count: $name";
            is( $run->{exit}, $run->{wanted}, $what ) or diag $run->{err} if defined $run->{wanted};
            like( $run->{out}, $SAYS{$name}->($count), "$what: done" )    if $SAYS{$name};
            diag sprintf '%s: %.1f s, %.0f MB, %s', $what, @{$run}{qw(seconds peak)},
                join ' ', map {"$run->{requests}{$_} $_"} sort keys %{ $run->{requests} };
        }
    }
}

for my $type (@types) {
    for my $name ( sort grep { !/^rt-/ } keys %{ $runs{$type} } ) {
        my $of = $runs{$type}{$name};
        my ( $few, $many ) = ( sort { $a <=> $b } keys %{$of} )[ 0, -1 ];
        next if $few == $many;
        my ( $less, $more ) = @{$of}{ $few, $many };
        my $most = $less->{peak} + MEGABYTES;
        cmp_ok( $more->{peak}, '<', $most, "$type: $name: $many in the memory of $few" );
        my $time = ( $less->{seconds} + SLOW ) * TIMES * $many / $few;
        cmp_ok( $more->{seconds}, '<', $time, "$type: $name: ... and the time does not grow faster than the number" );
    }
}

if ( $ENV{RTS3_WRITE_DOCS} && Test::More->builder->is_passing ) {
    my $report = Rts3::Bench::Large::Report->new(%runs);
    my %table  = $report->tables;
    my $docs   = "$FindBin::Bin/../docs";
    my $page   = slurp("$docs/large.md");
    for my $name ( sort keys %table ) {
        $page =~ s/(?<=<!-- \Q$name\E -->\n).*?(?=<!-- end -->)/$table{$name}/s
            or die "docs/large.md has no place for '$name'";
    }
    spew( "$docs/large.md",           $page );
    spew( "$docs/img/large-time.svg", $report->chart ) if $runs{SQLite};
}
done_testing;
