package Rts3::Test::RT::Release;

use strict;
use warnings;

=head1 NAME

Rts3::Test::RT::Release - One of Debian's request-tracker packages, as it is installed

=head1 METHODS

=head2 new $version

The RT with this major version, 4 or 5 (the default).

=head2 versions

Those that there may be.

=head2 version, base, libs

The version; where RT is; its two lib directories in the order that RT's own scripts name them, the local one first.

=head2 missing

Why this RT can't be run here, or undef.

=head2 program $name

The path of one of RT's own programs, C<rt-shredder> or C<rt-shredder-5>; or of a copy, where $name is a path. undef
if there is none.

=cut

sub new {
    my ( $class, $version ) = @_;
    return bless { version => $version || 5 }, $class;
}

sub versions { return ( 4, 5 ) }

sub version { return $_[0]{version} }
sub base    { return "/usr/share/request-tracker$_[0]{version}" }

sub libs {
    my $self = shift;
    return ( "/usr/local/share/request-tracker$self->{version}/lib", $self->base . '/lib' );
}

sub missing {
    my $self = shift;
    return "Debian's request-tracker$self->{version} is not installed" unless -e $self->base . '/lib/RT.pm';
    return 'DBD::SQLite is not installed'                              unless eval { require DBD::SQLite; 1 };
    return undef;
}

sub program {
    my ( $self, $name ) = @_;
    return -x $name ? $name : undef if $name =~ m{/};
    my @places = ( '/usr/sbin', '/usr/bin', $self->base . '/libexec' );
    my ($path) = grep {-x} map {
        my $place = $_;
        map {"$place/$_"} "$name-$self->{version}", $name
    } @places;
    return $path;
}

1;
