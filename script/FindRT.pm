package FindRT;

use strict;
use warnings;

use Cwd            ();
use Exporter       qw(import);
use File::Basename qw(dirname);
use File::Spec     ();

our @EXPORT_OK = qw(ask_rt canonical compare_versions rts_in);

=head1 NAME

FindRT - the RTs of this machine, as Makefile.PL needs to know them

=cut

# An absolute path without symbolic links, also of what does not exist yet
sub canonical {
    my ($path) = @_;
    return Cwd::realpath($path) // File::Spec->rel2abs($path);
}

# The RTs in these places, the highest version first
sub rts_in {
    my @found  = grep {defined} map { ask_rt($_) } @_;
    my @sorted = sort { compare_versions( $b->{VERSION}, $a->{VERSION} ) } @found;
    return @sorted;
}

# What the RT in (or with the lib directory) $place says of itself; nothing if there is none, and dies if it is none that
# could be served.
sub ask_rt {
    my ($place) = @_;
    my ($lib)   = grep { -f "$_/RT.pm" && -f "$_/RT/Generated.pm" } "$place/lib", $place;
    return if !$lib;
    $lib = Cwd::realpath($lib);

    # RT.pm would load half of CPAN, so the child reads only RT::Generated. That one is strict and sets variables
    # which RT.pm declares: names made from another package count as declared.
    my $ask = <<'END';
        my $lib = shift;
        my @names = qw(VERSION BasePath LocalPath LocalLibPath LocalEtcPath EtcPath SbinPath MasonLocalComponentRoot
            MasonDataDir);
        open my $in, '<', "$lib/RT/Generated.pm" or die $!;
        no strict 'refs';
        my %all = map { $_ => 1 } @names, map { /^\s*\$(\w+)\s*=/ ? $1 : () } <$in>;
        *{"RT::$_"} = \${"RT::$_"} for keys %all;
        require "$lib/RT/Generated.pm";
        print map { "$_=" . ( ${"RT::$_"} // '' ) . "\n" } @names;
END
    open my $child, '-|', $^X, '-e', $ask, $lib or die "can't run $^X: $!\n";
    my %rt = map { /^(\w+)=(.*)$/ ? ( $1 => $2 ) : () } <$child>;
    close $child;
    die "$lib/RT/Generated.pm does not say which RT this is.\n" if !$rt{VERSION} || !$rt{LocalLibPath};
    die "RT $rt{VERSION} in $place has no external storage: 4.4 or later is needed.\n"
        if compare_versions( $rt{VERSION}, '4.4' ) < 0;

    # RT's "relative" and "inplace" layouts: as RT.pm's CanonicalizeGeneratedPaths
    $rt{BasePath} = dirname($lib) if !File::Spec->file_name_is_absolute( $rt{BasePath} );
    for my $path ( grep {/(?:Path|Root|Dir)$/} keys %rt ) {
        $rt{$path} = File::Spec->rel2abs( $rt{$path}, $rt{BasePath} ) if length $rt{$path};
    }
    $rt{lib}  = $lib;
    $rt{home} = dirname($lib);
    return \%rt;
}

sub compare_versions {
    my ( $this, $that ) = @_;
    my @these = split /\./, $this =~ s/[^0-9.].*//r;
    my @those = split /\./, $that =~ s/[^0-9.].*//r;
    while ( @these || @those ) {
        my $order = ( shift(@these) || 0 ) <=> ( shift(@those) || 0 );
        return $order if $order;
    }
    return 0;
}

1;
