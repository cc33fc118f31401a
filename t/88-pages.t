#!/usr/bin/perl
# Links among the pages lead to files and headings that are there.
use strict;
use warnings;

use File::Basename qw(dirname);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File qw(slurp);

my $root  = "$FindBin::Bin/..";
my @pages = map {s{\A\Q$root/}{}r} map { glob "$root/$_" } qw(*.md docs/*.md examples/*.md xt/*.md .github/*.md);

# What GitHub makes of a heading
sub anchors {
    my ($text) = @_;
    my @headings = $text =~ /^#+ (.+)$/mg;
    return map { lc( s/\]\([^)]*\)//gr =~ s/[^\w\x80-\xff -]//gr ) =~ s/ /-/gr } @headings;
}

my %anchors = map {
    $_ => { map { $_ => 1 } anchors( slurp("$root/$_") ) }
} @pages;
my $links = 0;
for my $page (@pages) {
    my @lost;
    for my $link ( slurp("$root/$page") =~ /\]\(([^)\s]+)\)/g ) {
        next if $link =~ /\A\w+:/;
        $links++;
        my ( $file, $anchor ) = split /#/, $link, 2;
        my $target = length $file ? dirname($page) . "/$file" : $page;
        $target =~ s{\A[.]/}{};
        1 while $target =~ s{[^/]+/[.][.]/}{};
        push @lost, $link
            if !-e "$root/$target" || ( defined $anchor && $anchors{$target} && !$anchors{$target}{$anchor} );
    }
    is( join( ' ', @lost ), '', $page );
}
cmp_ok( $links, '>', 100, 'the links are found' );

done_testing;
