#!/usr/bin/perl
# What the library gives to others and what it needs of them: the functions of its header, and the system's C library and
# OpenSSL, and nothing else.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs needs_library);

my $library = needs_library->library_path;
for my $program (qw(nm readelf)) {
    needs("no $program") if !grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $header   = slurp("$FindBin::Bin/../include/rts3.h") =~ s{/[*].*?[*]/}{}gsr;
my @declared = sort $header                             =~ /\b(rts3_\w+)\(/g;
cmp_ok( scalar @declared, '>', 20, 'the header declares functions' );

my @exported = sort map { /^\S* (.) (\S+)$/ ? "$2 $1" : $_ } split /\n/, qx(nm -D --defined-only '$library');
is_deeply( \@exported, [ map {"$_ T"} @declared ], 'the library exports these, and nothing else' );

my @needed = sort qx(readelf -d '$library') =~ /\(NEEDED\).*\[([^].]+)/g;
is_deeply( [ grep { !/^(?:lib(?:c|dl|gcc_s|m|pthread)|ld-linux.*)$/ } @needed ],
    [qw(libcrypto libssl)], "it needs OpenSSL of the system, and otherwise what every program does: @needed" );

done_testing;
