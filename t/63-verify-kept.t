#!/usr/bin/perl
# What rt-s3 verify keeps in RT for those who look later: the worst of it, also where it was stopped.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Fcntl       qw(LOCK_EX);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File    qw(spew);
use Rts3::Test::Needs   qw(needs_library needs_rt needs_s3);
use Rts3::Test::Process ();

needs_library;
my $s3     = needs_s3;
my $bucket = 'attachments';
my $rt     = needs_rt(
    storage => { Type => 'AmazonS3', Bucket => $bucket, $s3->options, Retries => 0 },
    config  => 'Set(@LexiconLanguages, qw(en));'
);

my @contents = map { $_ x 500 } qw(first second third);
my ( $first, $second, $third ) = map { sha256_hex($_) } @contents;
$rt->call( <<'END', @contents );
    my @files = map { { name => 'file', content => $_ } } @_;
    Rts3::Test::RT::Inside::create_ticket( attachments => \@files );
    Rts3::Test::RT::Inside::create_ticket( attachments => [ $files[0] ] );
END
my ($exit) = $rt->run_script('rt-externalize-attachments');
is( $exit, 0, 'files are in the bucket' );

sub restore {
    spew( $s3->object_path( $bucket, sha256_hex($_) ), $_ ) for @contents;
    return;
}

sub verify {
    my (@options) = @_;
    my ($status)  = $rt->run_tool( 'verify', '--quiet', @options );
    return $status;
}

sub kept {
    my (@of) = @_;
    return $rt->call( <<'END', join ' ', 'verify', @of );
        require RT::ExternalStorage::AmazonS3::Records;
        return RT::ExternalStorage::AmazonS3::Records->Last( $_[0] );
END
}

verify();
my $kept = kept();
is( $kept->{$_}, { references => 4, objects => 3, missing => 0, deep => 0 }->{$_}, "a run: $_" )
    for qw(references objects missing deep);
is( $kept->{stopped}, undef, '... not stopped' );
is_deeply( $kept->{findings}, [], '... and nothing found' );
cmp_ok( $kept->{started}, '<=', $kept->{ended}, '... and when' );

my @orphans = map { sprintf '%064x', $_ } 1 .. 205;
spew( $s3->object_path( $bucket, $_ ), 'nobody' ) for @orphans;
unlink map { $s3->object_path( $bucket, $_ ) } $first, $third;
spew( $s3->object_path( $bucket, $second ), '' );
verify(qw(--deep --orphans));
$kept = kept();
is_deeply( [ @{$kept}{qw(missing damaged orphan deep)} ], [ 2, 1, 205, 1 ], 'how much was found' );
is( scalar @{ $kept->{findings} }, 200, '... of which so much is kept' );
is_deeply(
    [ map {"$_->{kind} $_->{digest}"} @{ $kept->{findings} }[ 0 .. 2 ] ],
    [ ( map {"missing $_"} sort $first, $third ), "damaged $second" ],
    '... the worst first, though the orphans came first'
);
my ($finding) = grep { ( $_->{digest} // '' ) eq $first } @{ $kept->{findings} };
is( $finding->{count}, 2, '... with the number of references' );
is_deeply( [ sort map { $_->{ticket} } @{ $finding->{references} } ], [ 1, 2 ], '... and their tickets' );

# What an externalizer has just stored looks like an orphan
my $turn = $rt->externalizers_turn;
open my $script, '<', $rt->release->program('rt-externalize-attachments') or die $!;
flock $script, LOCK_EX or die $!;
( undef, my $out ) = $rt->run_tool(qw(verify --orphans --json));
close $script or die $!;
like(
    $out,
    qr/^\{"note":"RT's externalizer is at work .*: among the orphans may be files/m,
    'beside an externalizer'
);
undef $turn;
unlink map { $s3->object_path( $bucket, $_ ) } @orphans;
restore();

$s3->stop;
verify();
$s3->restart;
$kept = kept();
like( $kept->{stopped}, qr/\Athe bucket can't be listed: .*Connection refused/, 'a run that was stopped, and why' );
is( $kept->{deep},       0, '... instead of the last one' );
is( kept($_)->{damaged}, 1, "... but not of the last $_ one" ) for qw(whole deep);
verify();
is( kept()->{missing},       0, 'the next one' );
is( kept('whole')->{orphan}, 0, '... is a whole one' );
is( kept('deep')->{damaged}, 1, '... and not a deep one' );

verify(qw(--state x));
is( kept()->{stopped}, undef, 'what was not even begun is not kept' );

my $run = Rts3::Test::Process::run(
    command => [ 'sh', '-c', 'exec "$@" > /dev/full', 'sh', $rt->tool(qw(verify --json)) ],
    env     => { $rt->environment }
);
is( $run->{exit}, 2, 'what can be told to nobody: exit status' );
is( $run->{err},  "rt-s3 verify: not everything could be written: No space left on device\n", '... and why' );

done_testing;
