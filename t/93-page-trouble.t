#!/usr/bin/perl
# RT's page about external storage in a real browser: what it says when all is not well.
use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Browser::Page;

my $page = Rts3::Test::Browser::Page->new->fill;
my ( $s3, $rt, $browser ) = ( $page->s3, $page->rt, $page->browser );
my ( $text, $lost );

$page->tool($_) for qw(verify status);
$page->serve;
$page->login;

sub tells {
    my ( $what, @words ) = @_;
    like( $text, $_, "$what: $_" ) for @words;
    return;
}

subtest 'missing objects' => sub {
    my ( $id, %key ) = $page->attachment('plan.pdf');
    for my $name ( 'plan.pdf', 'photo.png' ) {
        ($text) = $page->look( 'attachment:' . $page->attachment($name) );
        ( $key{$name} ) = $text =~ /Key\s+([0-9a-f]{64})/;
    }
    $lost = $s3->object_path( 'files', $key{'plan.pdf'} );
    my $torn = $s3->object_path( 'files', $key{'photo.png'} );
    rename $lost, "$lost.away" or die "$lost: $!";
    rename $torn, "$torn.away" or die "$torn: $!";
    system("printf torn >'$torn'") == 0 or die;
    $page->tool(qw(verify --deep));

    $text = $page->look;
    tells(
        missing => qr/^There is a problem\.$/m,
        qr/rt-s3 verify has found 2 objects missing or damaged/, qr/backup/
    );
    tells( verify => qr/1 missing, 1 damaged/, qr/missing.*?Ticket 1: plan\.pdf/s, qr/\Q$key{'plan.pdf'}\E/ );
    is(
        $browser->run(
            q{return document.querySelectorAll(".rts3-verify a[href$='/Ticket/Display.html?id=1']").length}),
        3,
        'each with links to its tickets'
    );
    $page->keeps_secrets('missing objects');
    $page->picture( 'page-missing', '#rts3-page .rts3-verify' );
    $text = $page->look("attachment:$id");
    tells( 'the lost one' => qr/The object is not in the bucket/ );
    $text = $page->look( 'attachment:' . $page->attachment('photo.png') );
    tells( 'the damaged one' => qr/The object is there, but damaged/ );
    rename "$lost.away", $lost or die "$lost: $!";
    rename "$torn.away", $torn or die "$torn: $!";
    $page->tool(qw(verify --deep));
    my $archived = { answer => { status => 403, code => 'InvalidObjectState' } };
    $s3->faults( { operation => 'GetObject', key => $key{'plan.pdf'}, do => $archived } );
    $text = $page->look("attachment:$id");
    tells(
        archived => qr/The object is there, but in an archive/,
        qr/have been moved to an archive.*?Restore them/s
    );

    $s3->faults( { operation => 'GetObject', key => $key{'photo.png'}, do => { rate => 5000 } } );
    my $slow = $rt->call( <<'END', $page->attachment('photo.png') );
        require RT::ExternalStorage::AmazonS3::Page;
        require RT::ExternalStorage::AmazonS3::Page::Attachment;
        no warnings 'redefine';
        *RT::ExternalStorage::AmazonS3::Page::Attachment::READING = sub { 1 };
        my $page = RT::ExternalStorage::AmazonS3::Page->new( RT->SystemUser );
        my $find = 'RT::ExternalStorage::AmazonS3::Page::Attachment';
        my $seen = $find->Look( $page, $find->Find( $page, attachment => @_ )->{one} );
        return { %$seen, level => $page->Health->Level };
END
    like( "$slow->{state} $slow->{text}[0]", qr/note .*?was not read within/, 'one that comes slowly' );
    is( $slow->{level}, 'ok', '... is waited for no longer, and says nothing of the server' );
    $s3->faults;
};

subtest 'S3 down' => sub {
    $s3->stop;
    my $start = time;
    $text = $page->look;
    cmp_ok( time - $start, '<', 10, 'the page opens all the same' );
    tells(
        down => qr/^There is a problem\.$/m,
        qr/RT can't reach the server http:\S+, where the attachments are/,
        qr/See that the server runs/,
        qr/Nothing is lost/
    );
    $page->keeps_secrets('S3 down');
    $page->picture( 'page-down', '#rts3-page .rts3-glance' );
    $start = time;
    $text  = $page->look( 'attachment:' . $page->attachment('plan.pdf') );
    cmp_ok( time - $start, '<', 12, 'an attachment is asked for' );
    tells( 'its object' => qr/RT can't reach the server.*?See that the server runs.*?At a glance/s );
    my $id = $page->attachment('plan.pdf');
    $browser->open( $rt->web->url . "/Ticket/Attachment/$page->{ticket}{transaction}/$id/plan.pdf" );
    like( $browser->source, qr/This file cannot be read/, 'somebody wants that file' );
    $text = $page->look;
    tells( failures => qr/Failures of the last day\s+.*server not reached: \d/ );
    $start = time;
    $browser->click('.rts3-check button');
    $browser->wait_until('return document.querySelector(".rts3-check [role=status]")');
    cmp_ok( time - $start, '<', 45, 'check now comes to an end' );
    $text = $page->said('check');
    tells( check => qr/^problem\s+connection: /m );
    $s3->restart;
};

subtest 'a region that is wrong, and a file that was wanted while it was away' => sub {
    $page->serve( Region => 'us-west-2', CacheDir => $rt->dir . '/cache' );
    my $id = $page->attachment('plan.pdf');
    rename $lost, "$lost.away" or die "$lost: $!";
    $browser->open( $rt->web->url . "/Ticket/Attachment/$page->{ticket}{transaction}/$id/plan.pdf" );
    rename "$lost.away", $lost or die "$lost: $!";
    $browser->open( $rt->web->url . "/Ticket/Display.html?id=$page->{ticket}{id}" );
    $text = $page->look;
    tells( failures => qr/In the last day RT has met missing or damaged attachments: 1 time/ );
    tells( cache    => qr/Local copies\s+\d.*? of 1\.1 GB in \S+cache/ );
    tells( region   => qr/is in the region eu-central-1, and not in us-west-2.*?Set Region to eu-central-1/s );
};

subtest 'another bucket' => sub {
    $page->serve( Bucket => 'nowhere' );
    $text = $page->look;
    tells(
        bucket => qr/^There is a problem\.$/m,
        qr/There is no bucket nowhere on the server/, qr/Correct the options Bucket/
    );
    $text = $page->look( 'attachment:' . $page->attachment('plan.pdf') );
    tells( 'one attachment' => qr/The bucket itself is not there/ );
    unlike( $text, qr/The object is not in the bucket/, '... and nothing is said of the object' );
    $s3->make_bucket('other');
    $page->serve( Bucket => 'other' );
    $text = $page->look;
    tells(
        bucket => qr/of 3 attachments looked for in its bucket other 3 are not there/,
        qr/Most likely the options/
    );
};

subtest 'wrong keys' => sub {
    $page->serve( SecretAccessKey => 'rts3-test/another+key' );
    $text = $page->look;
    tells( keys => qr/^There is a problem\.$/m, qr/(?:no valid keys for|refuses RT's keys)/ );
    unlike( $page->source, qr/another\+key/, 'which it does not show' );
};

subtest 'no bucket is named' => sub {
    $page->serve( Bucket => undef );
    $text = $page->look;
    tells( options => qr/^There is a problem\.$/m, qr/options of %ExternalStorage have a mistake/, qr/Bucket/ );
};

subtest 'not configured any more' => sub {
    $page->serve( none => 1 );
    $text = $page->look;
    tells( none => qr/^There is a problem\.$/m, qr/is not configured any more/, qr/Put %ExternalStorage back/ );
};

done_testing;
