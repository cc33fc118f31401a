#!/usr/bin/perl
# RT's pages in a real browser, the files being in S3: served by RT itself, and by public direct links over https.
use strict;
use warnings;
use utf8;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Browser::Links qw(links_lead trap_works);
use Rts3::Test::Browser::Ticket;

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

my $ticket = Rts3::Test::Browser::Ticket->new( bucket => 'public' );
my $s3     = $ticket->s3;

# What RT serves itself in either case
my %active = (
    'report.pdf'      => [ RT => saved => 'report.pdf' ],
    'price form.html' => [ RT => shown => 'text/plain' ],
    'logo.svg'        => [ RT => saved => 'logo.svg' ],
    'stamp.svg'       => [ RT => saved => 'stamp.svg' ],
    'page.html'       => [ RT => shown => 'text/plain' ],
);

subtest 'the trap' => sub { trap_works($ticket) };

subtest 'without direct links' => sub {
    $ticket->serve( direct => 0 );
    links_lead(
        $ticket, %active,
        'sales-october.png'     => [ RT => shown => 'image/png' ],
        'chart "final" <i>.png' => [ RT => shown => 'image/png' ],
        'import.log'            => [ RT => shown => 'text/plain' ],
        map { $_ => [ RT => saved => tr/"<>/_/r ] } Rts3::Test::Browser::Files::awkward(),
    );
    is( $ticket->browser->requests( url => qr/^https/ ), 0, 'the browser has asked S3 for nothing' );
};

subtest 'public links' => sub {
    $ticket->serve( direct => 1 );

    # Nobody says the browser the character set of text
    links_lead(
        $ticket, %active,
        'sales-october.png'     => [ S3 => shown => 'image/png' ],
        'chart "final" <i>.png' => [ S3 => shown => 'image/png' ],
        'import.log'            => [ S3 => shown => 'text/plain', 'cp1252' ],
        map { $_ => [ S3 => saved => $ticket->digest($_) . '.zip' ] } Rts3::Test::Browser::Files::awkward(),
    );
};

done_testing;
