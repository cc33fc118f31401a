#!/usr/bin/perl
# The processes of rt-s3 verify and migrate: one that hangs is ended, one that goes away is noticed, and large files wait.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/../perl/lib";
use RT::ExternalStorage::AmazonS3::Tool::Workers;

use constant LARGE => 40 * 1024 * 1024;

my @done;

sub workers {
    my (%args) = @_;
    @done = ();
    return RT::ExternalStorage::AmazonS3::Tool::Workers->new(
        verb        => 'copied',
        hangs       => { name => 'hangs' },
        concurrency => 3,
        memory      => 100,
        begin       => sub { },
        done        => sub { push @done, [ $_[0]{digest}, @{ $_[1] }{qw(name begun ended pid)} ] },
        tick        => sub { },
        limit       => sub { return 60 },
        work        => sub {
            my ($job) = @_;
            my $begun = time;
            sleep $job->{seconds} // 0;
            return { name => 'copied', begun => $begun, ended => time, pid => $$ };
        },
        %args
    );
}

sub job {
    my ( $digest, %more ) = @_;
    return { digest => $digest, size => 0, %more };
}

subtest 'one that hangs' => sub {
    my $workers = workers( limit => sub { return $_[0]{digest} eq 'hangs' ? 1 : 60 } );
    my $start   = time;
    $workers->Submit( job( hangs             => seconds => 100 ) );
    $workers->Submit( job( 'second', seconds => 0.1 ) );
    $workers->Finish;
    cmp_ok( time - $start, '<', 30, 'is not waited for' );
    is_deeply( { map { @{$_}[ 0, 1 ] } @done }, { hangs => 'hangs', second => 'copied' }, '... the others go on' );
    $workers->Submit( job('third') );
    $workers->Finish;
    is( $done[-1][1], 'copied', '... and so does what comes later' );
};

subtest 'one that goes away' => sub {
    my $workers = workers( work => sub { kill KILL => $$ } );
    ok( !eval { $workers->Submit( job('lost') ); $workers->Finish; 1 }, 'ends the work' );
    like( $@, qr/^the process that copied lost has ended before its time$/, '... which says where it was' );
};

subtest 'memory' => sub {
    my $workers = workers();
    $workers->Submit( job( $_, size => 60, seconds => 0.2 ) ) for qw(a b c);
    $workers->Finish;
    my @overlapping = grep { $done[$_][2] < $done[ $_ - 1 ][3] } 1 .. $#done;
    is_deeply( \@overlapping, [], 'two that are too large together come one after the other' );
    $workers = workers( memory => 3 * LARGE );
    $workers->Submit( job( $_, size => LARGE ) ) for qw(a b c);
    $workers->Finish;
    $workers->Submit( job('d') );
    $workers->Finish;
    my %pid = map { $_->[4] => 1 } @done;
    is( scalar keys %pid, 4, 'a process that has held a large file does no more' );
};

is( waitpid( -1, 0 ), -1, 'none is left' );

done_testing;
