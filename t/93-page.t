#!/usr/bin/perl
# RT's page about external storage in a real browser: what an administrator sees, and who does not.
# When all is not well: t/93-page-trouble.t.
use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Browser::Page;

my $page = Rts3::Test::Browser::Page->new;
my ( $s3, $rt, $browser ) = ( $page->s3, $page->rt, $page->browser );
my $text;

sub tells {
    my ( $what, @words ) = @_;
    like( $text, $_, "$what: $_" ) for @words;
    return;
}

subtest 'never configured' => sub {
    $page->serve( none => 1 );
    $page->login;
    $text = $page->look;
    tells( none => qr/^Not in use\.$/m, qr/not configured, and there is no record of anything that is still there/ );
    tells( none => qr/set %ExternalStorage in RT_SiteConfig\.pm/, qr/Configuration in force\s+There is none/ );
    $browser->click('.rts3-check button');
    $browser->wait_until('return document.querySelector(".rts3-check [role=status]")');
    $text = $page->said('check');
    tells( check => qr/^problem\s+configuration: external storage is not configured/m );
};

subtest 'the menu, and who may see it' => sub {
    $page->serve;
    $page->fill;
    $page->login('staff');
    my $home = $rt->web->url;
    $browser->open("$home/Admin/");
    unlike( $browser->source, qr/ExternalStorage\.html/, 'not in the menu of who is no SuperUser' );
    $browser->open( $page->url );
    like( $browser->source, qr/only available to system administrators/, '... the page is refused' );
    unlike( $browser->source, qr/rts3-page|At a glance/, '... and shows nothing' );
    my $id = $page->attachment('plan.pdf');
    $browser->open("$home/Admin/Tools/ExternalStorage/Direct.html?id=attachment:$id");
    like( $browser->url,    qr/^\Q$home\E/,                              '... nor does a direct link lead anywhere' );
    like( $browser->source, qr/only available to system administrators/, '... but to a refusal' );

    $page->login;
    $browser->open("$home/Admin/Tools/");
    my $link =
        'document.querySelector(".list-menu a[href$=\'ExternalStorage.html\'], #body a[href$=\'ExternalStorage.html\']")';
    ok( $browser->run("return !!$link"), 'root finds it in Admin, Tools' );
    $browser->run("$link.click()");
    $browser->wait_until('return document.querySelector("#rts3-page")');
    is( $browser->url, $page->url, '... and the entry leads there' );
};

subtest 'never verified, no figures' => sub {
    $text = $page->look;
    tells( new => qr/^Healthy\.$/m, qr/Nobody has ever looked.*?rt-s3 verify/s, qr/never collected.*?rt-s3 status/s );
    $page->tool($_) for qw(verify status);
};

subtest 'all is well' => sub {
    $s3->clear_log;
    my $start = time;
    $text = $page->look;
    cmp_ok( time - $start, '<', 5, 'opened in no time' );
    is_deeply( [ grep { $_->{operation} !~ /\A(?:Get|Head)Object\z/ } $s3->requests ], [], 'only reading' );
    tells(
        glance => qr/^Healthy\.$/m,
        qr/answers, and RT can read its bucket files/,
        qr/All attachments were in the bucket/,
        qr/Next run of cron\s+nothing new to look at/,
        qr/Stored once\s+\d+\.\d kB saved: 4 files are 3 different ones/,
        qr/These figures are of \w.*?\(\d/,
        qr/Local copies\s+none: the option CacheDir is not set/,
        qr/Failures of the last day\s+none that this web server has met/,
    );
    tells( verify      => qr/Last verify\s+\w.*? on .*?Nothing is missing, and nothing is damaged/s );
    tells( externalize => qr/4 files were moved, \d+\.\d kB/ );
    is( $browser->run('return document.querySelectorAll(".rts3-glance svg[role=img]").length'), 2, 'two pictures' );
    my $drawn = $browser->run(
        'return document.querySelector(".rts3-glance svg rect.external").getBoundingClientRect().width');
    cmp_ok( $drawn, '>', 100, '... with something in them' );
    $page->keeps_secrets('all is well');
    $page->picture( 'page', '#rts3-page .rts3-glance' );
};

subtest 'dark, and on a telephone' => sub {
    my $theme = sub {
        $rt->call( <<'END', @_ );
            my $user = RT::User->new( RT->SystemUser );
            $user->Load('root');
            return ( $user->SetPreferences( RT->System, { WebDefaultStylesheet => $_[0] } ) )[0];
END
    };
    $theme->('elevator-dark');
    $page->look;
    my $luminance = <<'END';
        const colors = getComputedStyle( document.querySelector(arguments[0]) )[ arguments[1] ].match(/[\d.]+/g);
        return 0.2126 * colors[0] + 0.7152 * colors[1] + 0.0722 * colors[2];
END
    cmp_ok( $browser->run( $luminance, 'body', 'backgroundColor' ), '<', 80,  'dark: the page is' );
    cmp_ok( $browser->run( $luminance, $_,     'color' ),           '>', 110, "... and $_ is light" )
        for '.rts3-summary', '.rts3-findings p', '.rts3-word.rts3-ok', '.rts3-settings td', '.rts3-check form button';
    my $color = 'return getComputedStyle( document.querySelector(arguments[0]) ).color';
    isnt( $browser->run( $color, '.rts3-word.rts3-ok' ), $browser->run( $color, 'body' ), '... what is ok is green' );
    cmp_ok( $browser->run( $luminance, '.rts3-check form button', 'borderTopColor' ),
        '>', 80, '... a button has an edge' );
    cmp_ok( $browser->run( $luminance, '.rts3-chart', 'fill' ), '>', 110, '... the text of pictures, too' );
    $page->picture( 'page-dark', '#rts3-page .rts3-glance' );
    $theme->('elevator-light');

    $browser->resize( 360, 740 );
    $page->look( 'ticket:' . $page->ticket->{id} );
    my $wide = $browser->run('return [ document.documentElement.scrollWidth, innerWidth ]');
    is( $wide->[0], 360, 'on a telephone nothing has to be scrolled sideways' );
    my $out = $browser->run(<<'END');
        return [ ...document.querySelectorAll('#rts3-page *') ].filter( part => {
            const box = part.getBoundingClientRect();
            return box.width && box.right > innerWidth + 1 && !part.closest('.rts3-scroll, svg');
        } ).map( part => part.outerHTML.slice( 0, 80 ) );
END
    is_deeply( $out, [], '... and nothing sticks out' );
    $page->picture( 'page-phone', '#rts3-page .rts3-glance' );
    $browser->resize;
};

subtest 'configuration in force' => sub {
    my $settings = $page->said('settings');
    my %row      = map { ( split /\t/, $_, 2 ) } grep {/\t/} split /\n/, $settings;
    my $file     = $rt->dir . '/RT_SiteConfig.pm';
    like( $row{Bucket},                       qr/^files\t\Q$file\E, line \d+$/, 'what is set, and where' );
    like( $row{SecretAccessKey},              qr/^Password not printed\t/,      'the secret is hidden' );
    like( $row{Retries},                      qr/^4\tdefault$/,                 'a default' );
    like( $row{Deadline},                     qr/^10\tdefault$/,                '... that of a web server' );
    like( $row{library},                      qr/^\d+\.\d+\.\d+, /,             'the library' );
    like( $row{'$ExternalStorageCutoffSize'}, qr/^1000\t\Q$file\E, line/,       "RT's own setting" );
};

subtest 'check now, by keyboard alone' => sub {
    $page->look;
    my @before = $s3->objects('files');
    $browser->run('document.querySelector(".rts3-check form button").blur(); document.activeElement.blur()');
    my $reached = q{return document.activeElement.matches(arguments[0])};
    my $tabs    = 0;
    $browser->run('document.querySelector("#rts3-page a, #rts3-page button, #rts3-page [tabindex]").focus()');
    $browser->press('Tab') while !$browser->run( $reached, '.rts3-check button' ) && $tabs++ < 20;
    ok( $browser->run( $reached, '.rts3-check button' ), 'the button is reached with the tab key' );
    $browser->press('Enter');
    $browser->wait_until('return document.querySelector(".rts3-check [role=status]")');
    $text = $page->said('check');
    tells(
        check => qr/0 problems, \d warnings?, \d\d ok/,
        qr/^ok\s+bucket: files is there$/m, qr/^ok\s+put: allowed$/m
    );
    is_deeply( [ $s3->objects('files') ], \@before, 'nothing is left in the bucket' );
    $page->keeps_secrets('check now');
    $page->picture( 'page-check', '#rts3-page .rts3-check' );
};

subtest 'one attachment' => sub {
    $page->look;
    $browser->run('document.querySelector("#rts3-of").focus()');
    $browser->press('Tab');
    is( $browser->run('return document.activeElement.id'), 'rts3-id', 'the field comes after the choice' );
    $browser->press( $page->ticket->{id}, 'Enter' );
    $browser->wait_until('return document.querySelector(".rts3-attachment table")');
    $text = $page->said('attachment');
    tells( ticket => qr/plan\.pdf\s+application\/pdf\s+in S3/, qr/small\.txt\s+text\/plain\s+in RT's database/ );
    tells( ticket => qr/<b>"A&B"'s\.zip/ );
    is( $browser->run('return document.querySelectorAll(".rts3-attachment b").length'), 0, 'a name is never markup' );

    $browser->run(
        q{[ ...document.querySelectorAll('.rts3-attachment td') ].find( cell => /plan/.test( cell.innerText ) ).querySelector('a').click()}
    );
    $browser->wait_until('return document.querySelector(".rts3-attachment .rts3-ways")');
    $text = $page->said('attachment');
    my ($key) = $text =~ /Key\s+([0-9a-f]{64})/;
    ok( $key && grep( { $_ eq $key } $s3->objects('files') ), 'its key is that of an object' );
    tells( attachment => qr/The object is there, and whole/, qr/Ticket $page->{ticket}{id}/, qr/Size\s+\d\.\d kB/ );
    tells( attachment => qr/In the bucket since\s+\w.*?20\d\d \(\d/ );
    $page->keeps_secrets('one attachment');
    $page->picture( 'page-attachment', '#rts3-page .rts3-attachment' );

    for my $way ( [ 'through RT' => 0 ], [ 'by direct link' => 1 ] ) {
        $s3->clear_log;
        $browser->forget;
        my $here = $browser->url;
        $browser->click( '.rts3-ways a:nth-of-type(' . ( $way->[1] + 1 ) . ')' );
        my ($got) = $browser->came_of_it($here);
        ok( $got && $got->{content} =~ /\A%PDF/, "downloaded $way->[0]" );
        my @direct = grep { ( $_->{query} // $_->{url} // '' ) =~ /X-Amz-Signature/ } $s3->requests;
        my $signed = grep { $_->{url}                          =~ /X-Amz-Signature/ } $browser->requests;
        is( $signed ? 1 : 0, $way->[1], '... where it should come from' );
    }
    for my $wrong (
        [ 4711     => qr/There is no ticket 4711/ ],
        [ '9' x 14 => qr/There is no ticket 9{14}\./ ],
        [ 'x"<i>'  => qr/"x"<i>" is no id/ ]
        )
    {
        $text = $page->look( $wrong->[0] );
        tells( 'not found' => $wrong->[1] );
    }
    $text = $page->look( 'attachment:' . $page->attachment('small.txt') );
    tells( 'not external' => qr/RT has it in its own database/ );
};

done_testing;
