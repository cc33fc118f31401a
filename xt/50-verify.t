#!/usr/bin/perl
# rt-s3 verify and rt-s3 status of many references: time and memory. RTS3_WRITE_DOCS=1: rewrite the table in docs/benchmarks.md, if all is well.
use strict;
use warnings;

use FindBin;
use JSON::PP qw(decode_json);
use POSIX    qw(strftime);
use Test::More;

use lib "$FindBin::Bin/../t/lib";
use Rts3::Test::File qw(slurp spew);
use Rts3::Test::MadeUp;
use Rts3::Test::Needs qw(needs_library needs_rt);

needs_library;

# So that the server ends
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my ( %run, %status );
for my $count ( split /,/, $ENV{RTS3_REFERENCES} || "100000,1000000" ) {
    my @missing = ( 1, $count / 2, $count - 1 );
    my $files   = Rts3::Test::MadeUp->new( count => $count, missing => \@missing );
    my $rt      = needs_rt(
        storage => {
            Type            => 'AmazonS3',
            Bucket          => 'made-up',
            Host            => $files->host,
            AccessKeyId     => 'KEY',
            SecretAccessKey => 'secret',
        }
    );
    $files->fill( $rt->dbh );
    my $run = $run{$count} = $files->measured( [ $rt->tool(qw(verify --json)) ], { $rt->environment } );
    is( $run->{exit}, 1, "$count references: something is missing" ) or diag $run->{err};
    my @records = map { decode_json($_) } split /\n/, $run->{out};
    my %missing = map { $_->{digest} => 1 } grep { ( $_->{finding} // '' ) eq 'missing' } @records;
    is_deeply( \%missing, { map { $files->digest($_) => 1 } @missing }, '... what is missing' );
    is( $records[-1]{summary}{references}, $count,     '... references' );
    is( $records[-1]{summary}{objects},    $count - 3, '... objects' );
    diag sprintf '%d references: %.1f s, %.1f s of a processor, %.0f MB', $count, @{$run}{qw(seconds processor peak)};

    my $status = $status{$count} = $files->measured( [ $rt->tool(qw(status --json)) ], { $rt->environment } );
    is( $status->{exit}, 1, '... rt-s3 status: something is missing' ) or diag $status->{err};
    my $figures = decode_json( ( split /\n/, $status->{out} )[-1] )->{summary};
    is( $figures->{missing},         3,      '... how many' );
    is( $figures->{external}{count}, $count, '... references' );
    diag sprintf 'status: %.1f s, %.1f s of a processor, %.0f MB', @{$status}{qw(seconds processor peak)};
}

my ( $least, $most ) = ( sort { $a <=> $b } keys %run )[ 0, -1 ];
my $times = $most / $least;
cmp_ok( $run{$least}{seconds}, '<', 60 * $least / 100_000, "$least references in less than a minute for 100,000" );
for my $command ( [ verify => \%run, 150 ], [ status => \%status, 160 ] ) {
    my ( $name, $measured, $megabytes ) = @{$command};
    my ( $some, $many ) = @{$measured}{ $least, $most };
    cmp_ok( $some->{peak},      '<', $megabytes,                        "rt-s3 $name: $least in $megabytes MB" );
    cmp_ok( $many->{peak},      '<', $some->{peak} + 20,                "... $most in the same memory" );
    cmp_ok( $many->{processor}, '<', 1.2 * $times * $some->{processor}, "... and $times times the time" );
}

if ( $ENV{RTS3_WRITE_DOCS} && Test::More->builder->is_passing ) {
    my $page = slurp("$FindBin::Bin/../docs/benchmarks.md");
    my $date = strftime( '%Y-%m-%d', gmtime );
    my $rows = join '', map {
        sprintf "| %s | %.1f s | %.1f s | %.0f MB |\n", scalar reverse( join ',', reverse($_) =~ /(\d{1,3})/g ),
            @{ $run{$_} }{qw(seconds processor peak)}
    } sort { $a <=> $b } keys %run;
    my $table = "| references | time | of a processor | peak memory |\n|---|---|---|---|\n$rows\nMeasured $date.\n";
    $page =~ s/(?<=<!-- verify -->\n).*?(?=<!-- end -->)/$table/s
        or die 'docs/benchmarks.md has no place for the table';
    spew( "$FindBin::Bin/../docs/benchmarks.md", $page );
}
done_testing;
