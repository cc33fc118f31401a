#!/usr/bin/perl
# One version: Cargo.toml has it, all others repeat it.
use strict;
use warnings;

use Cwd            qw(realpath);
use File::Basename qw(dirname);
use File::Find     ();
use Test::More;

use RT::ExternalStorage::AmazonS3::Native;

my $project = realpath( dirname(__FILE__) . '/..' );
my ($version) = first_match( 'Cargo.toml', qr/^version\s*=\s*"([^"]+)"/ );
like( $version, qr/^\d+\.\d+\.\d+$/, 'Cargo.toml has a version' );

is( first_match( 'Cargo.lock', qr/^version\s*=\s*"([^"]+)"/, qr/^name\s*=\s*"rts3"$/ ), $version, 'Cargo.lock' );
is( first_match( 'Changes',    qr/^(\d\S*)\s/ ), $version, 'the newest entry in Changes' );
is( first_match( 'debian/changelog', qr/^rt-externalstorage-s3 \((\S+)\)/ ),
    $version, "... in the package's changelog" )
    if -e "$project/debian";

my @modules;
File::Find::find(
    {
        no_chdir => 1,
        wanted   => sub { push @modules, s{^\Q$project\E/}{}r if /\.pm$/ }
    },
    "$project/perl/lib"
);
for my $module ( sort @modules ) {
    my $own = first_match( $module, qr/^\s*our\s+\$VERSION\s*=\s*'([^']+)'/ );
    is( $own, $version, $module ) if defined $own;
}

my $native = 'RT::ExternalStorage::AmazonS3::Native';
local $ENV{RTS3_LIBRARY} = "$project/target/release/librts3.so" if !-e $native->library_path;
is( scalar $native->version, $version, 'librts3.so' );

done_testing;

# The first capture in a file, after the line that matches $after if one is given
sub first_match {
    my ( $file, $pattern, $after ) = @_;
    open my $in, '<', "$project/$file" or die "$file: $!";
    my @lines = <$in>;
    close $in;
    if ($after) {
        shift @lines while @lines && $lines[0] !~ $after;
    }
    my ($found) = map { /$pattern/ ? $1 : () } @lines;
    return $found;
}
