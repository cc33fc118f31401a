#!/usr/bin/perl
# script/demo, as a new user runs it, and what it says: each of its tables and that they agree with each other.
use strict;
use warnings;

use Cwd            qw(realpath);
use File::Basename qw(dirname);
use IO::Handle;
use IPC::Open3 qw(open3);
use LWP::UserAgent;
use Test::More;
use Time::HiRes qw(sleep time);

use Rts3::Test::RT;

my $reason = Rts3::Test::RT->missing;
plan skip_all => $reason if $reason;

my $project = realpath( dirname(__FILE__) . '/..' );
my $demo    = "$project/script/demo";

subtest 'a mistake in the arguments' => sub {
    my ( $status, $said ) = run( $demo, '--sreve' );
    is( $status >> 8, 2, 'exit code 2' );
    like( $said, qr/script\/demo --serve/, 'and what is allowed' );
};

subtest 'the demo' => sub {
    my $start = time;
    my ( $status, $said ) = run($demo);
    is( $status, 0, 'succeeds' ) or diag $said;
    cmp_ok( time - $start, '<', 60, 'in less than a minute, all of it being built' );
    unlike( $said, qr/\e/,                            'no colours where there is no terminal' );
    unlike( $said, qr/NOT SO|DIFFERENT|DAMAGED|FAIL/, 'all as it should be' );

    my %section = $said =~ /^\d+\.\ ([^\n]+)\n(.*?)(?=^\d+\.\ |\z)/msg;
    my $before  = $section{"The rows in RT's table Attachments before"} // '';
    my $after   = $section{"The rows in RT's table Attachments after"}  // '';
    is( count( $before, qr/\b(?:base64|quoted-printable|none)\b/ ), 6, 'six rows with content in the database' );
    is( count( $after,  qr/\bexternal\b/ ),                         6, 'six rows that are external' );

    my ($bucket) = map { $section{$_} } grep {/^The objects in the bucket/} sort keys %section;
    my @keys = $bucket =~ /^\s+([0-9a-f]{64})\s+[\d,]+$/mg;
    is( @keys, 5, 'five objects' );
    my @named = $after =~ /\bexternal\s+([0-9a-f]{13})/g;
    my %known = map { substr( $_, 0, 13 ) => 1 } @keys;
    is( grep( { $known{$_} } @named ), 6, 'each row names one of them' );

    my ($back)  = map { $section{$_} } grep {/^Read back/} sort keys %section;
    my @digests = map { [/\b([0-9a-f]{12})\s+([0-9a-f]{12})\s+equal\s+whole$/] } split /\n/, $back;
    is( grep( { @{$_} && $_->[0] eq $_->[1] } @digests ), 6, 'six times what was put in' );

    my $web = $section{"Downloaded from RT's web interface"} // '';
    is( count( $web, qr/\b200\s+[\d,]+\s+equal$/m ), 5, 'five downloads' );
    my ($direct) = map { $section{$_} } grep {/^And straight from/} sort keys %section;
    is( count( $direct, qr/\bhttp:\S+\s.*\s200\s+(?:inline|attachment)\s+equal$/m ), 5, 'five from S3 by links' );
    is( count( $direct, qr/: 403$/m ),                                               2, 'two changed links refused' );
    my ( $large, $small ) = map {tr/,//dr} $said =~ /^\s+Database: ([\d,]+) bytes before, ([\d,]+) after$/m;
    cmp_ok( $small, '<', $large / 5, 'the database is a fraction of what it was' );
};

subtest 'script/demo --serve' => sub {
    my $pid = open3( my $in, my $out, undef, $demo, '--serve' );
    my ( $url, $said ) = ( '', '' );
    while ( my $line = <$out> ) {
        $said .= $line;
        $url = $1 if $line =~ m{^\s+Address\s+(http://\S+)};
        last if $line =~ /^\s+The picture/;
    }
    like( $said, qr/^\s+Login\s+root$/m, 'says how to log in' ) or diag $said;
    my $answer = LWP::UserAgent->new( timeout => 60 )->get($url);
    like( $answer->decoded_content // '', qr/name="pass"/,             "RT's login page is at $url" );
    like( $said,                          qr/come from the S3 server/, 'and where the files come from' );

    kill INT => $pid;
    my @rest = <$out>;
    waitpid $pid, 0;
    is( $?, 0, 'ends well with Ctrl-C' );
    like( "@rest", qr/^\s+Ended:/m, 'and says so' );
    is( LWP::UserAgent->new( timeout => 5 )->get($url)->code, 500, 'nobody listens there any more' );
    my ($directory) = $said =~ m{(/\S+)/rt\.db$}m;
    ok( $directory && !-e $directory, 'its files are gone' );
};

done_testing;

sub count {
    my ( $text, $pattern ) = @_;
    return scalar( my @found = $text =~ /$pattern/g );
}

sub run {
    my (@command) = @_;
    my $pid       = open3( my $in, my $out, undef, @command );
    my $said      = join '', <$out>;
    waitpid $pid, 0;
    return ( $?, $said );
}
