#!/usr/bin/perl
# Each configuration in docs/ is Perl, and the library takes its options and values: nothing is told as wrong.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Documents qw(blocks);
use Rts3::Test::File      qw(slurp);
use Rts3::Test::Needs     qw(needs_library);

needs_library;

my $root = "$FindBin::Bin/..";
my $page = slurp("$root/docs/servers.md");

# The keys that stand in the place of yours
my %keys = ( AccessKeyId => 'GK31c2f218a2e44f485b94239e', SecretAccessKey => 'b892c0665f0ada8a4755dae98baa3b13' );

# What a text for RT_SiteConfig.pm sets %ExternalStorage to
# (RT's Set takes a reference to it; this one gets nothing of a hash that is empty)
my %set;
sub Rts3::Test::SiteConfig::Set { %set = @_; return }

sub options {
    my ($text) = @_;
    my $prologue = 'package Rts3::Test::SiteConfig; use strict; use warnings FATAL => "all"; our %ExternalStorage;';
    eval "$prologue\n$text\n1;" or die "$text$@";    ## no critic (ProhibitStringyEval)
    return %set;
}

my %configured;
for my $file ( map {s{\A\Q$root/}{}r} glob "$root/docs/*.md" ) {
    for my $block ( grep {/^Set\(%ExternalStorage,/m} blocks( slurp("$root/$file") ) ) {
        my ($first) = $block =~ /(Bucket +=> '[^']*')/;
        my $name    = "$file: " . ( $first // 'no bucket' );
        my %options = options($block);
        my $type    = delete $options{Type};
        next if $type ne 'AmazonS3';
        for my $key ( grep { exists $options{$_} } keys %keys ) {
            $options{$key} = $keys{$key};
        }
        $options{Bucket} = 'attachments' if ( $options{Bucket} // '' ) =~ /\A(?:[.]{3})?\z/;

        my ( $native, $error ) = RT::ExternalStorage::AmazonS3::Native->open(%options);
        ok( $native, "$name: the library opens it" ) or diag $error->message;
        next if !$native;
        my @told = grep { $_->[0] ne 'info' } $native->drain;
        is( join( "\n", map {"$_->[0]: $_->[1]"} @told ), '', '... and finds nothing wrong' );
        $configured{$file}++;
    }
}

# ---- docs/servers.md

my %server = $page =~ /^### (.+)\n\n((?:(?!^#).*\n)*)/mg;
for my $server ( 'Amazon S3', 'MinIO', 'Ceph Object Gateway', 'Garage', 'Cloudflare R2', 'Backblaze B2', 'Wasabi' ) {
    my ($block) = grep {/^Set/m} blocks( $server{$server} // '' );
    ok( $block, "$server has a configuration" ) or next;
    my %options = options($block);
    ok( $options{Region}, '... which says the region' );
    is( !$options{Host} ? 1 : 0, $server eq 'Amazon S3' ? 1 : 0, '... and, but for Amazon, the host' );
    is(
        $server{$server} =~ /Not tried here/           ? 1 : 0,
        $server          =~ /\A(?:Amazon S3|Garage)\z/ ? 0 : 1,
        '... and whether it was tried'
    );
}
cmp_ok( $configured{'docs/servers.md'}, '>=', 8, 'all of them are read' );

# The links within it lead somewhere
my %heading = map { lc(s/[^\w -]//gr) =~ s/ /-/gr => 1 } $page =~ /^#+ (.+)$/mg;
is( join( ' ', grep { !$heading{$_} } $page =~ /\]\(#([^)]+)\)/g ), '', 'no link to a heading that is not there' );

done_testing;
