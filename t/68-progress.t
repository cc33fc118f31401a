#!/usr/bin/perl
# What rt-s3 shows of its progress: a bar on a terminal, or a line, or, where nobody watches, a line now and then.

use strict;
use warnings;

use FindBin;
use IO::Pty;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::AttachmentRows;
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_rt needs_s3);
use RT::ExternalStorage::AmazonS3::Tool::Progress;

# A line now and then; a stand-in for what the command writes to
{

    package Rts3::Test::Lines;
    sub IsText { return 1 }
    sub Line   { push @{ $_[0]{lines} }, $_[1]; return }
}

subtest 'where nobody watches' => sub {
    is( RT::ExternalStorage::AmazonS3::Tool::Progress::PAUSE(), 60, 'a line a minute' );
    my $output = bless { lines => [] }, 'Rts3::Test::Lines';
    open my $stderr, '>&', \*STDERR    or die $!;    ## no critic (RequireBriefOpen) it comes back
    open STDERR,     '>',  '/dev/null' or die $!;
    my $progress = RT::ExternalStorage::AmazonS3::Tool::Progress->new(
        output => $output,
        total  => 1000,
        verb   => 'moved',
        pause  => 0.5
    );
    open STDERR, '>&', $stderr or die $!;
    $progress->Show( 100, 0 );
    for my $step ( 1 .. 12 ) {
        sleep 0.1;
        $progress->Show( 100 + 10 * $step, 1e6 * $step );
    }
    $progress->End;
    my @lines = @{ $output->{lines} };
    is( scalar @lines, 2, 'two in 1.2 seconds, of half a second each' );
    my ( $done, $megabytes, $objects, $left ) =
        $lines[-1] =~ m{\A(\d+) of 1000 moved, ([\d.]+) MB/s, ([\d.]+) objects/s, about (\d+) s left\z};
    ok( defined $left, '... with all there is to know' ) or return diag @lines;
    cmp_ok( $done, '>=', 80,  '... how many since it began' );
    cmp_ok( $done, '<=', 120, '... and no more' );
    ok( abs( $megabytes - $objects / 10 ) < 0.2,        '... bytes go with objects' );
    ok( abs( $left - ( 1000 - $done ) / $objects ) < 1, '... and so does what is left' );
};

my $s3      = needs_s3;
my %storage = ( Type => 'AmazonS3', Bucket => 'files', $s3->options );
my $rt      = needs_rt( storage => \%storage );
$s3->make_bucket('files');
my $rows = Rts3::Test::AttachmentRows->new( rt => $rt, s3 => $s3, bucket => 'files' );
$s3->faults( { operation => 'PutObject', do => { delay_ms => 500 } } );

# What the command writes to a terminal
sub on_terminal {
    my (%env) = @_;
    $rows->add( 20, mark => join( ' ', %env ), size => 50_000 );
    my %all  = ( $rt->environment, TERM => 'xterm', %env );
    my $turn = $rt->externalizers_turn;
    my $pty  = IO::Pty->new;
    my $pid  = fork // die $!;
    if ( !$pid ) {
        $pty->make_slave_controlling_terminal;
        my $slave = $pty->slave;
        $slave->set_winsize( 25, 100 );
        close $pty;
        open STDIN,  '<&', $slave or die $!;
        open STDOUT, '>&', $slave or die $!;
        open STDERR, '>&', $slave or die $!;
        %ENV = %all;    ## no critic (RequireLocalizedPunctuationVars) it is a child
        exec $rt->tool(qw(externalize --concurrency=4)) or die $!;
    }
    $pty->close_slave;
    my $text = '';
    1 while sysread $pty, $text, 4096, length $text;
    waitpid $pid, 0;
    is( $?, 0, 'exit status' ) or diag $text;
    return $text;
}

subtest 'a bar' => sub {
    plan skip_all => 'Term::ProgressBar is not installed' if !eval { require Term::ProgressBar; 1 };
    my $text = on_terminal();
    my @bars = $text =~ /\r(\d+ of 2\d moved, [\d.]+ MB\/s, [\d.]+ objects\/s *: +\d+% \[[=* ]+\][^\r\n]*)/g;
    cmp_ok( scalar @bars, '>=', 5, 'it moves while something is waited for' ) or diag $text;
    ok( ( grep {/ [1-9]\d*\.\d objects\/s/} @bars ), '... says how fast' );
    ok( ( grep {/\dm\d\ds Left\s*\z/} @bars ),       '... and how long it will take' ) or diag @bars;
    is( scalar( grep { length > 100 } @bars ), 0, '... on one line' );
    like( $text, qr/\r {90,}\r[^\r]*\d+ moved \(/, '... and is gone in the end' );
};

subtest 'without Term::ProgressBar' => sub {
    my $lib = $rt->dir . '/without';
    mkdir $_ for $lib, "$lib/Term";
    spew( "$lib/Term/ProgressBar.pm", qq{die "it is not there\\n";\n} );
    my $text  = on_terminal( PERL5OPT => "-I$lib" );
    my @lines = $text =~ /\r(\d+ of 20 moved, [\d.]+ MB\/s, [\d.]+ objects\/s[^\r\n]*)/g;
    cmp_ok( scalar @lines, '>=', 5, 'a line that changes' ) or diag $text;
    ok( ( grep {/, about \d+ s left\s*\z/} @lines ), '... with what is left' );
    like( $text, qr/\r +\r20 moved \(/, '... and is gone in the end' );
};

done_testing;
