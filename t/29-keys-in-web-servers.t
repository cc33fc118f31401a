#!/usr/bin/perl
# Keys of an instance in RT's web servers: each worker finds its own, and replaces them, while files are read; and what
# RT_SiteConfig.pm puts into the environment, the library finds there, in each kind of web server.
use strict;
use warnings;

use FindBin;
use List::Util qw(uniq);
use Test::More;
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Metadata;
use Rts3::Test::Needs qw(needs needs_rt needs_s3);
use Rts3::Test::WebServer;
use Rts3::Test::WebServer::Clients;

use constant { CLIENTS => 4, LIFE => 24, REPLACED => 16 };    # seconds; a third before they end

my $s3       = needs_s3;
my $aws      = Rts3::Test::Metadata->start( s3 => $s3, lifetime => LIFE );
my %instance = ( $aws->instance, AWS_EC2_METADATA_DISABLED => 'false' );
my $rt       = needs_rt(
    Rts3::Test::WebServer->rt_options(
        storage => { Type => 'AmazonS3', Bucket => 'att', Host => $s3->http, CredentialSource => 'instance' },
        config  => join '',
        map {"\$ENV{$_} = '$instance{$_}';\n"} sort keys %instance
    )
);
my @files    = Rts3::Test::WebServer->external_files( $rt, map { "\1$_" x 500 } 1 .. 10 );
my @sessions = Rts3::Test::WebServer->sessions( $rt, CLIENTS );
like(
    $rt->log_text,
    qr/the credentials come from instance: access key ASIAINSTANCE\w+/,
    q{RT's externalizer has keys}
);

for my $kind (qw(starman mod_perl mod_fcgid)) {
    subtest $kind => sub {
        needs( Rts3::Test::WebServer->missing($kind) );
        $rt->clear_log;
        $s3->clear_log;
        $aws->forget;
        my $server = Rts3::Test::WebServer->start( rt => $rt, kind => $kind, workers => CLIENTS );
        is( scalar $aws->requests, 0, 'none are looked for before they are needed' );
        my @answers = fetch($server);
        my $begin   = clock_gettime(CLOCK_MONOTONIC);
        my @before  = uniq map { $_->{worker} } @answers;
        is( scalar $aws->given, @before, 'each worker has keys of its own' );
        is( ( () = $rt->log_text =~ /the credentials come from instance/g ), @before, '... and says so once' );

        my $wait = $begin + REPLACED + 0.5 - clock_gettime(CLOCK_MONOTONIC);
        sleep $wait if $wait > 0;
        push @answers, fetch($server);
        my @after = uniq map { $_->{worker} } @answers;
        is( ( grep { !$_->{whole} } @answers ), 0, 'every file is whole' );
        cmp_ok( scalar $aws->given, '>', @after, 'keys were replaced' );
        is( scalar $s3->requests( status => qr/^4/ ), 0, '... before S3 refused one' );
        is( ( () = $rt->log_text =~ /the credentials come from instance/g ), @after,
            '... without a word in the log' );
        is( scalar $aws->requests( v1 => 1 ), 0, 'never version 1' );
        $server->stop;
    };
}
done_testing;

sub fetch {
    my ($server) = @_;
    return Rts3::Test::WebServer::Clients::fetch(
        server   => $server,
        sessions => \@sessions,
        files    => \@files,
        count    => 10 * CLIENTS
    );
}
