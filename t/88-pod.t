#!/usr/bin/perl
# The POD is in order, and complete: each function that another module may call is explained.
use strict;
use warnings;

use File::Find ();
use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Needs qw(needs needs_rt);

for my $file (qw(Test/Pod.pm Pod/Coverage.pm)) {
    needs("$file is needed (Debian: libtest-pod-perl, libpod-coverage-perl)") if !eval { require $file; 1 };
}
my $perl = "$FindBin::Bin/../perl";
my $rt   = needs_rt();

Test::Pod::pod_file_ok( $_, s{\A\Q$perl\E/}{}r ) for sort( Test::Pod::all_pod_files($perl) );

my @modules;
File::Find::find( { no_chdir => 1, wanted => sub { push @modules, s{\A\Q$perl\E/lib/}{}r if /[.]pm\z/ } },
    "$perl/lib" );
my ( $exit, $out, $err ) = $rt->perl( <<'END', "$perl/lib", @modules );
    use JSON::PP;
    use Pod::Coverage;
    my $lib = shift @ARGV;
    my %found;
    for my $file ( sort @ARGV ) {
        my $package  = $file =~ s{/}{::}gr =~ s/[.]pm\z//r;
        require $file;
        my $coverage = Pod::Coverage->new(
            package      => $package,
            pod_from     => "$lib/$file",
            also_private => [ qr/\A[A-Z0-9_]+\z/ ],    # constants
        );
        my @naked = defined $coverage->coverage ? $coverage->naked : $coverage->why_unrated;
        $found{$package} = [ grep { !/no public symbols/ } @naked ];
    }
    print encode_json( \%found );
END
is( $exit, 0, 'all modules are loaded' ) or diag $err;
my %naked = %{ JSON::PP::decode_json($out) };
is( scalar keys %naked, scalar @modules, '... and looked at' );

# For whoever writes programs with them, and what RT calls: their constructors, too
my $public = qr/\ART::ExternalStorage::AmazonS3(?:::(?:Error|Native(?:::\w+)?))?\z/;
is( scalar( grep {/$public/} keys %naked ), 6, 'six modules are for everybody' );

# The POD of a command is its manual, for an administrator
my $command =
    qr/\ART::ExternalStorage::AmazonS3::Tool::(?:Check|Externalize|Internalize|Migrate|Policy|Status|Verify)\z/;
for my $package ( sort grep { !/$command/ } keys %naked ) {
    my @naked = grep { $_ ne 'new' || $package =~ $public } @{ $naked{$package} };
    is( join( ' ', sort @naked ), '', $package );
}

done_testing;
