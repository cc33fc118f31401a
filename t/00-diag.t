#!/usr/bin/perl
# What this run is made of: the first thing that a report of a failure needs.
use strict;
use warnings;

use Config;
use File::Basename qw(dirname);
use Test::More;

my $native = 'RT::ExternalStorage::AmazonS3::Native';

# The blank line keeps prove's own line apart.
diag '';
show( 'Perl',          sprintf '%vd, %s', $^V, $Config{usethreads} ? 'threaded' : 'not threaded' );
show( 'FFI::Platypus', version_of('FFI::Platypus') );
show( 'RT',            rt_version() );
require_ok($native);
local $ENV{RTS3_LIBRARY} = dirname(__FILE__) . '/../target/release/librts3.so' if !-e $native->library_path;
show( 'librts3', library() );
done_testing;

sub show {
    my ( $what, $version ) = @_;
    diag sprintf '%-14s %s', $what, $version;
    return;
}

sub version_of {
    my ($module) = @_;
    return eval "require $module; $module->VERSION" // 'not there';    ## no critic (ProhibitStringyEval)
}

# Each RT beside which this may be installed, without loading it
sub rt_version {
    my @found;
    for my $home ( grep {defined} $ENV{RTHOME}, glob '/opt/rt[456] /usr/share/request-tracker[45]' ) {
        open my $in, '<', "$home/lib/RT/Generated.pm" or next;
        my ($version) = map { /\$VERSION\s*=\s*'([^']+)'/ ? $1 : () } <$in>;
        close $in;
        push @found, "$version in $home" if defined $version;
    }
    return @found ? join( ', ', @found ) : 'not there';
}

sub library {
    my ( $version, $error ) = eval { $native->version };
    return $version ? "$version in " . $native->library_path : "can't be used: " . ( $error // $@ );
}
