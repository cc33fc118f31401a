#!/usr/bin/perl
# RT's page about external storage as HTML: without mistakes, in whatever state the storage is, with RT 5 and RT 4.4; and
# without a browser, which is without JavaScript.
use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Browser::Page;
use Rts3::Test::File qw(slurp spew);
use Rts3::Test::Html;
use Rts3::Test::Needs qw(needs needs_library);
use Rts3::Test::RT;

needs( Rts3::Test::Html->missing );
needs( Rts3::Test::RT->missing(4) );
needs_library;

my $path = $Rts3::Test::Browser::Page::Path;
my ( $page, $web );

# Our part of an answer
sub ours {
    my ($answer) = @_;
    return $answer->decoded_content
        =~ m{(<link[^>]+ExternalStorage/style\.css".*)<!-- the end of external storage -->}s
        ? $1
        : '';
}

sub is_html {
    my ( $what, $answer ) = @_;
    is( $answer->code, 200, "$what: 200" );
    my $html = ours($answer);
    ok( length $html, '... with our part' );
    is_deeply( [ Rts3::Test::Html->mistakes($html) ], [], '... HTML without mistakes' );
    $html =~ s/ onclick="return rollup\([^"]*"//g;    # RT 4's own boxes
    my %seen;
    my @twice = grep { $seen{$_}++ } $html =~ /\bid="([^"]+)"/g;
    is( "@twice", '', '... no id twice' );
    unlike( $html, qr/<script|\son\w+=|javascript:/i,                    '... and no script' );
    unlike( $html, qr/\Q@{[ $page->s3->secret_key ]}\E|X-Amz-Signature/, '... and no secret' );
    return $html;
}

sub keep_wrong_records {
    $page->rt->call(<<'END');
        my @about    = ( 1, { table => 'ObjectCustomFieldValues', id => 1, object => 'RT::Article 12', file => '<i>' } );
        my @findings = map { { kind => '<b>[_1', digest => $_, references => \@about, count => 9 } } 1 .. 200;
        my %record   = ( ended => 1, missing => 10_000, findings => \@findings, failed => [], failures => [ 'x' ], months => { x => 1 } );
        for my $name (qw(verify externalize figures)) {
            RT->System->SetAttribute( Name => "ExternalStorageS3 $name", Content => \%record );
        }
        return 1;
END
    return;
}

# Perl's message about a comma that is missing quotes what stands there
sub spoil_configuration {
    my $file = $page->rt->dir . '/RT_SiteConfig.pm';
    my $text = slurp($file);
    spew( $file, $text =~ s/("SecretAccessKey" => "[^"]*"),?/$1 "more"/r );
    my $html = is_html( 'check now, with a mistake in RT_SiteConfig.pm', $web->post( $path, { Check => 1 } ) );
    like( $html, qr/configuration can&#39;t be loaded.*?syntax error at \S+ line \d+/, '... and where it is' );
    spew( $file, $text );
    return;
}

subtest 'the validators see mistakes' => sub {
    for my $wrong ( '<p>a<div>b</p></div>', '<table><p>a</p></table>', '<p title="a" title="b">', '<i><b>a</i></b>' )
    {
        isnt( scalar( my @found = Rts3::Test::Html->mistakes($wrong) ), 0, $wrong );
    }
};

for my $version ( 5, 4 ) {
    subtest "RT $version" => sub {
        $page = Rts3::Test::Browser::Page->new( version => $version, browser => 0 );
        $web  = $page->serve->login;
        my $html = is_html( 'nothing moved yet', $web->get($path) );
        like( $html, qr/There was none yet/, '... as it says' );

        $page->fill;
        my ($key) = $page->s3->objects('files');
        rename $page->s3->object_path( 'files', $key ), $page->s3->root . '/away' or die $!;
        $page->tool($_) for qw(verify status);
        is_html( 'after all commands', $web->get($path) );
        like( $web->get('/Admin/Tools/')->decoded_content, qr/ExternalStorage\.html/, 'it is in the menu' );
        like( $web->get('/Admin/Tools/ExternalStorage/style.css')->header('Content-Type'),
            qr{^text/css}, 'and has its style' );
        $html = is_html( 'a ticket', $web->get("$path?id=ticket:$page->{ticket}{id}") );
        like( $html, qr/&lt;b&gt;&#34;A&#38;B&#34;&#39;s\.zip/, '... names are text' );

        for my $name ( 'plan.pdf', q{<b>"A&B"'s.zip}, 'small.txt' ) {
            is_html( $name, $web->get( "$path?id=attachment:" . $page->attachment($name) ) );
        }
        for my $odd ( '0', 'x"><b>', 'attachment:', 'value:1', "\x{1f512}", '9' x 30 ) {
            my $id = $odd;
            utf8::encode($id);
            $id =~ s/(\W)/sprintf '%%%02X', ord $1/ge;
            is_html( 'an odd id', $web->get("$path?id=$id") );
        }
        $html = is_html( 'twice',     $web->get("$path?id=1&id=2") );
        $html = is_html( 'check now', $web->post( $path, { Check => 1 } ) );
        like( $html, qr/\d+ problems?, \d+ warnings?, \d\d ok/, '... with its end' );
        unlike( ours( $web->get("$path?Check=1") ), qr/\d+ problems?, /, '... not for what is no click' );

        rename $page->s3->root . '/away', $page->s3->object_path( 'files', $key ) or die $!;
        if ( $version == 5 ) {
            keep_wrong_records();
            $html = is_html( 'more than can be shown, and what is no record', $web->get($path) );
            like(
                $html,
                qr{<details><summary>180 more</summary>.*?These are the first 200; the command tells all}s,
                '... the first are open, and it is told that there are more'
            );
            like( $html, qr{href="/Articles/Article/Display\.html\?id=12">Article 12</a>}, '... with links' );
            spoil_configuration();
            $page->s3->stop;
            is_html( 'S3 down', $web->get($path) );
            $page->s3->restart;
        }
        $web  = $page->serve( none => 1 )->login;
        $html = is_html( 'not configured', $web->get($path) );
        like( $html, qr/is not configured any more/, '... as it says' );
        is( $web->get('/Admin/Tools/ExternalStorage/Direct.html?id=attachment:1')->code, 404, '... no direct link' );

        my $other = $page->rt->web->another;
        $other->login( 'staff', 'password' );
        is( $other->get($_)->code, 403, "refused to who is no SuperUser: $_" )
            for $path, '/Admin/Tools/ExternalStorage/Direct.html?id=attachment:1';
        is( $other->get('/Admin/Tools/ExternalStorage/Elements/Glance')->code, 403, '... as are its parts' );
    };
}

subtest 'a server that says nothing' => sub {
    require IO::Socket::INET;
    my $deaf = IO::Socket::INET->new( LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 50 ) or die $!;
    $page =
        Rts3::Test::Browser::Page->new( browser => 0, storage => { Host => 'http://127.0.0.1:' . $deaf->sockport } );
    $web = $page->serve->login;
    my $start = time;
    my $html  = is_html( 'it', $web->get($path) );
    cmp_ok( time - $start, '<', 12, '... within seconds' );
    like( $html, qr/does not answer in time|can&#39;t reach/, '... as it says' );
};

done_testing;
