#!/usr/bin/perl
# "Check now" under the web servers that RT is run with, whose processes have tied handles and an environment of their own;
# and where the check does not end.
use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Browser::Page;
use Rts3::Test::Needs qw(needs needs_rt needs_s3);
use Rts3::Test::WebServer;
use Rts3::Test::WebServer::Clients;

my $s3 = needs_s3;
my $rt = needs_rt(
    Rts3::Test::WebServer->rt_options(
        storage => {
            Type   => 'AmazonS3',
            Bucket => 'files',
            $s3->options,
            Host   => $s3->https,
            CAFile => $s3->ca
        }
    )
);
$s3->make_bucket('files');
my $path = $Rts3::Test::Browser::Page::Path;
my ($session) = Rts3::Test::WebServer->sessions( $rt, 1 );

for my $kind (qw(mod_perl mod_fcgid)) {
    subtest $kind => sub {
        needs( Rts3::Test::WebServer->missing($kind) );
        my $server = Rts3::Test::WebServer->start( rt => $rt, kind => $kind, workers => 1 );
        my $agent  = LWP::UserAgent->new( timeout => 90 );
        my @header = (
            Referer => $server->url . '/',
            Cookie  => Rts3::Test::WebServer::Clients::cookie( $server, $session )
        );
        my $page = $agent->get( $server->url . $path, @header );
        like( $page->decoded_content, qr/At a glance.*Healthy\./s, 'the page' ) or diag $server->errors;
        for ( 1, 2 ) {
            $page = $agent->post( $server->url . $path, { Check => 1 }, @header );
            like( $page->decoded_content, qr/\d+ problems?, \d+ warnings?, \d\d ok/, 'check now' )
                or diag $page->decoded_content =~ s/<[^>]*>//gr;
            like( $page->decoded_content, qr/options.*?understood/s, '... of this configuration' );
        }
        is( scalar $s3->objects('files'), 0, '... leaves nothing in the bucket' );
        $server->stop;
    };
}

subtest 'a check that does not end' => sub {
    my $marker = $rt->dir . '/pids';
    my $answer = $rt->call( <<'END', $marker );
        require RT::ExternalStorage::AmazonS3::Page::Check;
        my ($marker) = @_;
        my $began   = time;
        my $command = "trap 'echo >$marker.tidy; exit' TERM; echo \$\$ >>$marker; sleep 100 & echo \$! >>$marker; "
            . q(echo '{"check":"name","result":"ok","text":"first"}'; wait);
        my $result = RT::ExternalStorage::AmazonS3::Page::Check->Run( 2, '/bin/sh', '-c', $command );
        return { %$result, took => time - $began };
END
    cmp_ok( $answer->{took}, '<', 10, 'is ended' );
    is_deeply( $answer->{error}, [ 'It was not done after [_1] seconds, and was ended.', 2 ], '... as it says' );
    is( $answer->{lines}[0]{text}, 'first', '... and what it had said is shown' );
    ok( -e "$marker.tidy", '... and it could tidy up' );
    open my $in, '<', $marker or die $!;
    chomp( my @pids = <$in> );
    close $in or die $!;
    is( scalar @pids, 2, 'two processes' );
    my $end = time + 5;

    while ( time < $end && grep { kill 0 => $_ } @pids ) {
        sleep 0.1;
    }
    is( scalar( grep { kill 0 => $_ } @pids ), 0, '... and none is left' );

    my @ends = $rt->call(<<'END');
        require RT::ExternalStorage::AmazonS3::Page::Check;
        my $check = 'RT::ExternalStorage::AmazonS3::Page::Check';
        return map { $check->Run( 5, @$_ )->{error} } [ '/bin/sh', '-c', 'kill -9 $$' ], [ '/no/such/program' ],
            [ '/bin/sh', '-c', 'head -c 3000000 /dev/zero; sleep 100' ];
END
    is_deeply( $ends[0], [ 'It has ended early ([_1]): run "rt-s3 check" in a shell to see why.', 'signal 9' ],
        'killed' );
    like( $ends[1][0], qr/ended early/, 'not there' );
    ok( $ends[2], 'talks without end' );
    my @turns = $rt->call(<<'END');
        require RT::ExternalStorage::AmazonS3::Page::Check;
        my $check  = 'RT::ExternalStorage::AmazonS3::Page::Check';
        my $marker = RT->Config->Get('LogDir') . '/begun';
        my $pid    = fork // die $!;
        if ( !$pid ) {
            $check->Run( 5, '/bin/sh', '-c', "echo >$marker; sleep 1" );
            require POSIX;
            POSIX::_exit(0);
        }
        select undef, undef, undef, 0.05 until -e $marker;
        my $began = time;
        my $other = $check->Run( 5, '/bin/true' );
        my $took  = time - $began;
        waitpid $pid, 0;
        return ( $other->{busy}, $took, $check->Run( 5, '/bin/true' )->{busy} );
END
    is( $turns[0], 1, 'while one is being run there is no other' );
    cmp_ok( $turns[1], '<', 2, '... and nobody waits for it' );
    is( $turns[2], undef, '... but one afterwards' );
    my $secret = $rt->call(<<'END');
        require RT::ExternalStorage::AmazonS3::Page::Check;
        local @ENV{qw(HTTP_PROXY AWS_SECRET_ACCESS_KEY)} = ( 'http://evil.example', 'hush' );
        my $show = 'printf \'{"check":"e","result":"ok","text":"%s %s %s"}\' "$HTTP_PROXY" "$AWS_SECRET_ACCESS_KEY" '
            . '"$(tr "\0" " " </proc/$PPID/cmdline | grep -c hush)"';
        return RT::ExternalStorage::AmazonS3::Page::Check->Run( 5, '/bin/sh', '-c', $show )->{lines}[0]{text};
END
    is( $secret, ' hush 0', "the server's environment, without its request's, and not where everybody sees it" );
};

done_testing;
