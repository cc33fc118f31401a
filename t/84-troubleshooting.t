#!/usr/bin/perl
# docs/troubleshooting.md and the sources have the same messages: whoever sees one finds it there.
use strict;
use warnings;
use utf8;

use FindBin;
use File::Find ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File     qw(slurp);
use Rts3::Test::Messages qw(perl_messages rust_messages);

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

my $root = "$FindBin::Bin/..";

# Most texts of the commands are results, which their manuals explain. Messages are what ends a command or warns,
my $ENDS  = '_Stop|_WrongUse|croak|die|Logger|Problem|_?Refuse|STDERR|Stop|warn';
my $FAILS = '_Fail|Failed|hangs|because|not moved';

# and, in these modules, why something is left as it is.
my $REASONS = qr{Tool/(?:Encoding|Externalize/(?:Commit|Rows|Spool)|Internalize/(?:Commit|Fetch|Rows)
    |Migrate/(?:Copy|File|Place)|Verify/(?:Look|Repair))[.]pm\z}x;

# SQL
my $QUERY = qr/\b(?:AS|CAST|FROM|IN|SELECT|UPDATE|WHERE)\b|\bContentEncoding(?:, \w| [=<])/;

# What no person sees, or not alone
my %PART = map { $_ => 1 } (

    # HTTP, and what is compared with what OpenSSL says
    q{aws4-hmac-sha256 credential=},
    q{… Credential=…/…,SignedHeaders=…,Signature=…},
    q{…; filename="…"; filename*=UTF-8''…},
    q{application/x-www-form-urlencoded; charset=utf-8},
    q{CONNECT … HTTP/1.1 Host: … …},
    q{Proxy-Authorization: …},
    q{text/html; charset=utf-8},
    q{text/plain; charset=utf-8},
    'packet length too long', 'protocol version', 'self-signed certificate', 'unable to get', 'unsupported protocol',
    'wrong version number',

    # what is in the documents of the library that rt-s3 check reads
    q{directory: … limit: … bytes: … hits: … misses: …},
    q{no objection},
    q{region: … style: … condition: … clock-offset: …},
    q{source: … access-key-id: … …},

    # what stands in the middle of a message
    q{… from … to …},
    'a direct link', 'a whole number',   'ahead of', 'any file', 'its value', 'no attempt', 'no message', 'not given',
    'option Host',   'the key',          'the name of a document', 'the name of an option',
    'the name of option …', 'the proxy', 'the value of option …',  'unknown type', 'option DirectLinkHost',

    # others
    'Content-Length: …',
    'Password not printed', 'RTS3_TEST_PANIC asks for it',
);

sub files {
    my ( $directory, $name ) = @_;
    my @files;
    File::Find::find( { no_chdir => 1, wanted => sub { push @files, s{\A\Q$root/}{}r if /$name/ } },
        "$root/$directory" );
    @files = sort @files;
    return @files;
}

my %said;
for my $file ( grep { !m{/tests[./]|/testing[.]rs\z} } files( 'src', qr/[.]rs\z/ ) ) {
    push @{ $said{$_} }, $file for rust_messages("$root/$file");
}
for my $file ( files( 'perl/lib', qr/[.]pm\z/ ), 'perl/bin/rt-s3' ) {
    my $verbs =
          $file =~ $REASONS                        ? undef
        : $file =~ m{/Tool/Check\b}                ? $ENDS
        : $file =~ m{/(?:Chart|Page|Tool|rt-s3)\b} ? "$ENDS|$FAILS"
        :                                            undef;
    my @messages = perl_messages( "$root/$file", $verbs );
    push @{ $said{$_} }, $file for grep { !/$QUERY/ } @messages;
}

my $page = slurp("$root/docs/troubleshooting.md");
utf8::decode($page) or die 'docs/troubleshooting.md is not UTF-8';
my @entries = $page =~ /^- `(.+)`$/mg;
my %entry;
$entry{$_}++ for @entries;

cmp_ok( scalar keys %said, '>', 300, 'messages are found in the sources' );
my @new = grep { !$entry{$_} && !$PART{$_} } sort keys %said;
is( join( "\n", map {"$_    ($said{$_}[0])"} @new ),                 '', 'no message without an entry' );
is( join( "\n", grep { !$said{$_} } sort keys %entry ),              '', 'no entry without a message' );
is( join( "\n", grep { $entry{$_} > 1 } sort keys %entry ),          '', 'no entry twice' );
is( join( "\n", grep { !$said{$_} || $entry{$_} } sort keys %PART ), '', 'each part is one, and has no entry' );

# ---- each entry has its words: a paragraph, indented, after the messages that it is about
my @without;
my @blocks = split /\n\s*\n/, $page =~ s/\A.*?^## How a message reads\n//msr;
for my $index ( 0 .. $#blocks ) {
    next if $blocks[$index] !~ /^- `/;
    push @without, $blocks[$index] if ( $blocks[ $index + 1 ] // '' ) !~ /\A  \S/;
}
is( join( "\n\n", @without ), '', 'each entry says what to do' );

my %code = map { $_ => 1 } slurp("$root/src/error.rs") =~ /Code::\w+ => "([\w-]+)"/g;
my ($contents) = $page =~ /^(- \[How a message reads\].*?)\n\n/ms;
is(
    join( ' ', sort { $a cmp $b } $contents =~ /`([\w-]+)`/g ),
    join( ' ', sort keys %code ),
    'the contents have a place for each code of an error'
);
is( join( ' ', grep { $page !~ /^#+ \Q$_\E$/m } $contents =~ /\[([^\]]+)\]/g ),
    '', '... and lead to headings that are there' );

done_testing;
