package File::Dropbox;

use strict;
use warnings;

use Errno  ();
use Symbol ();
use Tie::Handle;

use parent -norequire, 'Tie::StdHandle';

=head1 NAME

File::Dropbox - a stand-in for the module of this name: its files are those of a directory

=head1 DESCRIPTION

RT's own RT::ExternalStorage::Dropbox is tried with it. The directory is in the environment variable C<STAND_IN_DROPBOX>; where
it is not there, neither is the service.

=head1 METHODS

=head2 new %args

A handle to be opened with the name of a file, which RT does.

=cut

sub new {
    my ( $class, %args ) = @_;
    die "no access token\n" if !$args{access_token};
    my $handle = Symbol::gensym();
    tie *{$handle}, $class;
    return $handle;
}

sub OPEN {
    my ( $self, $mode, $name ) = @_;
    my $directory = $ENV{STAND_IN_DROPBOX};
    if ( !-d $directory ) {
        $! = Errno::EIO();    ## no critic (RequireLocalizedPunctuationVars) as open does
        return 0;
    }
    return CORE::open( $self, $mode, "$directory/$name" );    ## no critic (RequireBriefOpen) held by the caller
}

1;
