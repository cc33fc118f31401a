#!/usr/bin/perl
# RT's pages in a real browser, with presigned links into a private bucket, over https.
use strict;
use warnings;
use utf8;

use File::Path qw(make_path);
use FindBin;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Browser::Links qw(links_lead trap_works);
use Rts3::Test::Browser::Ticket;
use Rts3::Test::File qw(spew);

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

my $ticket = Rts3::Test::Browser::Ticket->new( bucket => 'private', DirectLink => 'presigned' );
my ( $s3, $browser ) = ( $ticket->s3, $ticket->browser );

subtest 'the trap' => sub { trap_works($ticket) };

subtest 'presigned links' => sub {
    $ticket->serve( direct => 1 );
    links_lead(
        $ticket,
        'sales-october.png'     => [ S3 => shown => 'image/png' ],
        'report.pdf'            => [ S3 => saved => 'report.pdf' ],
        'price form.html'       => [ S3 => shown => 'text/plain' ],
        'logo.svg'              => [ S3 => saved => 'logo.svg' ],
        'import.log'            => [ S3 => shown => 'text/plain' ],
        'chart "final" <i>.png' => [ S3 => shown => 'image/png' ],
        'stamp.svg'             => [ S3 => saved => 'stamp.svg' ],
        'page.html'             => [ S3 => shown => 'text/plain' ],
        map { $_ => [ S3 => saved => tr/"<>/_/r ] } Rts3::Test::Browser::Files::awkward(),
    );
};

subtest 'other pages' => sub {
    my %pages = (
        '/Ticket/Modify.html'       => 6,
        '/Ticket/Update.html'       => 5,
        '/SelfService/Display.html' => 10,
        '/m/ticket/show'            => 6,
    );
    for my $path ( sort keys %pages ) {
        my $page = $ticket->look_elsewhere($path);
        cmp_ok( @{ $page->{urls} }, '>=', $pages{$path}, "$path has links" );
        is_deeply( $page->{broken},                                          [], '... shows its images' );
        is_deeply( [ grep {m{[^A-Za-z0-9\-_.~%/?&=:]}} @{ $page->{urls} } ], [], '... all safe in HTML' );
        ok( !$ticket->sprung, '... and no script has run' );
    }
};

subtest 'looked at again' => sub {
    my $links = sub {
        $s3->clear_log;
        return join "\n", map { $_->{url} } $ticket->look;
    };
    my $before = $links->();
    my $after  = $links->();
    ( $before, $after ) = ( $after, $links->() ) if $before ne $after;    # a window has ended just now
    is( $after,        $before, 'the page has the same links' );
    is( $s3->requests, 0,       'and the browser has kept the images: it asks for none' );
};

# For README and docs, on request
if ( $ENV{RTS3_WRITE_SCREENSHOTS} ) {
    my $images = "$FindBin::Bin/../docs/img";
    make_path($images);
    $ticket->look;
    spew( "$images/ticket.png", $browser->screenshot('.transaction.message') );
}

subtest 'where HTML is trusted' => sub {
    $ticket->serve( direct => 1, config => 'Set($TrustHTMLAttachments, 1);' );
    $ticket->look;
    for my $link ( [ history => 'price form.html' ], [ field => 'page.html' ] ) {
        my $got = $ticket->follow( @{$link} );
        is( $got->{name}, $link->[1], "$link->[1] is downloaded" );
        ok( !$ticket->sprung, '... and its script does not run' );
    }
};

subtest 'a link that has expired' => sub {
    my $life = 5;
    $ticket->serve( direct => 1, DirectLinkExpires => $life );
    my $link = sub {
        return ( map { $_->{url} } grep { $_->{name} eq 'report.pdf' } $ticket->look )[0];
    };

    # The name of what is downloaded; nothing if an answer is shown instead
    my $open = sub {
        $browser->forget;
        $browser->open( $_[0] );
        return $browser->url eq $_[0] ? '' : $browser->came_of_it( $browser->url )->{name};
    };
    my ( $url, $name );
    for ( 1 .. 3 ) {    # a busy machine may take longer to come to it
        $url  = $link->();
        $name = $open->($url);
        last if $name;
    }
    is( $name, 'report.pdf', 'is good while it lives' );

    sleep $life + 1;
    is( $open->($url), '', 'and no more afterwards' );
    like( $browser->run('return document.documentElement.textContent'), qr/AccessDenied/, '... but refused' );
    is( ( map { $_->{status} } $browser->requests( url => qr/^\Q$url\E/ ) )[0], 403, '... with 403' );

    for ( 1 .. 3 ) {
        my $new = $link->();
        isnt( $new, $url, 'the page, loaded again, has another one' );
        my $got = $ticket->follow( history => 'report.pdf' );
        $name = ( $got->{content} // '' ) eq $ticket->file('report.pdf')->{content} ? $got->{name} : '';
        last if $name;
    }
    is( $name, 'report.pdf', '... that works' );
};

done_testing;
