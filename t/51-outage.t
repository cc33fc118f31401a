#!/usr/bin/perl
# An outage is paid for once: a ticket page with fifty external texts in a real RT 5, with S3 refusing connections and
# with S3 hanging; the page after it; recovery.
use strict;
use warnings;

use File::Temp;
use FindBin;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

use constant { TEXTS => 50, DEADLINE => 4, CONNECT => 1, LOADED_MACHINE => 3 };

my $s3 = needs_s3;
my $rt = needs_rt(
    config => <<'END',
Set($ExternalStorageCutoffSize, 100);
Set($MaxInlineBody, 0);
Set($ShowHistory, 'always');
Set($RecordOutgoingEmail, 0);
END
    storage => {
        Type   => 'AmazonS3',
        Bucket => 'att',
        $s3->options,
        Deadline       => DEADLINE,
        ConnectTimeout => CONNECT,
    },
);
my $ticket = $rt->call( <<'END', map { "TEXT-$_-" . 'x' x 200 } 1 .. TEXTS );
    my $ticket = Rts3::Test::RT::Inside::create_ticket( content => 'first' )->{id};
    Rts3::Test::RT::Inside::reply( $ticket, content => $_ ) for @_;
    return $ticket;
END
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit,                                       0,     "RT's externalizer" ) or diag $err;
is( scalar( my @objects = $s3->objects('att') ), TEXTS, 'fifty external texts' );

my $web = $rt->start_web;
$web->login;
page();    # whatever RT compiles, it has compiled then
$s3->clear_log;
my ( $whole, $shown ) = page();
is( $shown,                                           TEXTS, 'the page shows all of them' );
is( scalar $s3->requests( operation => 'GetObject' ), TEXTS, '... each read from S3' );
cmp_ok( scalar $s3->connections, '<=', 1, '... over one connection' );
note sprintf 'the page: %.2f s', $whole;

my %outage = (
    refused => { begin => sub { $s3->stop },   end => sub { $s3->restart } },
    hanging => { begin => sub { $s3->freeze }, end => sub { $s3->thaw } },
);
for my $how ( sort keys %outage ) {
    my ( $begin, $end ) = @{ $outage{$how} }{qw(begin end)};
    $rt->clear_log;
    $begin->();
    my ( $first, $seen ) = page();
    my $began = time;
    is( $seen, 0, "$how: the page appears without the texts" );
    cmp_ok( $first, '<', $whole + DEADLINE + LOADED_MACHINE, '... and costs one Deadline' );
    my ($next) = page();
    cmp_ok( $next, '<', $whole + 0.1 + LOADED_MACHINE / 3, '... the next one nothing' );
    note sprintf '%s: the first page %.2f s, the next one %.2f s', $how, $first, $next;

    # Five seconds later one call tries again
    sleep max( 0, $began + 5.2 - time );
    my ($trial) = page();
    cmp_ok( $trial, '<', $whole + CONNECT + LOADED_MACHINE, '... a trial one ConnectTimeout' );
    is( transitions('is down'),       1, 'the log has one line for the outage' );
    is( transitions('is still down'), 1, '... one for the trial' );
    is( transitions('answers again'), 0, '... none of recovery' );

    $end->();
    my $found = 0;
    for ( 1 .. 30 ) {
        ( undef, $found ) = page();
        last if $found == TEXTS;
        sleep 0.5;
    }
    is( $found,                       TEXTS, '... and all texts are there again' );
    is( transitions('answers again'), 1,     '... with one line in the log' );
}

# The storage's share alone, in a process that belongs to a web server
$s3->stop;
my $times = $rt->call( <<'END', \@objects, DEADLINE );
    my ( $objects ) = @_;
    require RT::Interface::Web::Handler;
    my $storage = RT->System->ExternalStorage;
    return [ map {
        my $start = Time::HiRes::time();
        for my $key (@$objects) {
            my ($content) = $storage->Get($key);
            die 'read from nowhere' if defined $content;
        }
        Time::HiRes::time() - $start;
    } 1, 2 ];
END
cmp_ok( $times->[0], '<', DEADLINE + 1, 'fifty calls cost one Deadline at most' );
cmp_ok( $times->[1], '<', 0.1,          '... fifty more under 100 ms' );
note sprintf 'fifty calls %.3f s, fifty more %.4f s', @$times;

# With local copies of half of the files, each after one that is not there: all that are there are given, at once, although
# the others have used up the time of the request
$s3->restart;
my $copies = File::Temp->newdir;
my @kept   = map { $objects[ 2 * $_ + 1 ] } 0 .. TEXTS / 2 - 1;
$rt->set_storage(
    Type   => 'AmazonS3',
    Bucket => 'att',
    $s3->options,
    Deadline       => 1,
    ConnectTimeout => CONNECT,
    CacheDir       => "$copies"
);
my $read = 'my $storage = RT->System->ExternalStorage; return [ grep { defined scalar $storage->Get($_) } @_ ];';
is_deeply( $rt->call( $read, @kept ), \@kept, 'half of the files are read' );

# A stand-in for Mason's request, which keeps what time was used up
my $request = <<'END';
    require RT::Interface::Web::Handler;
    package Request { sub notes { my ( $self, $name, @value ) = @_; $self->{$name} = $value[0] if @value; $self->{$name} } }
    local $HTML::Mason::Commands::m = bless {}, 'Request';
END
for my $how ( sort keys %outage ) {
    $outage{$how}{begin}->();
    $rt->clear_log;
    my $start = time;
    my $found = $rt->call( "$request $read", @objects );
    is_deeply( $found, \@kept, "$how: those are given" );
    cmp_ok( time - $start, '<', 1 + 2 * LOADED_MACHINE, '... and the others cost one Deadline' );
    $outage{$how}{end}->();
}
is_deeply( [ grep {/copies|CacheDir/} $rt->log_text ], [], 'nothing is told of copies' );

done_testing;

sub page {
    my $start  = time;
    my $answer = $web->get("/Ticket/Display.html?id=$ticket");
    my $took   = time - $start;
    is( $answer->code, 200, 'the page appears' ) if $answer->code != 200;
    my %seen = map { $_ => 1 } $answer->decoded_content =~ /TEXT-(\d+)-x/g;
    return ( $took, scalar keys %seen );
}

sub transitions {
    my ($text) = @_;
    return scalar( () = $rt->log_text =~ /AmazonS3 external storage: the server \Q$text\E/g );
}
