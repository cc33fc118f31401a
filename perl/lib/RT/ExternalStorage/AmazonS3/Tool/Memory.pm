package RT::ExternalStorage::AmazonS3::Tool::Memory;

use strict;
use warnings;

# M_MMAP_THRESHOLD and M_ARENA_MAX of malloc.h. From this size on, in bytes, each gets pages of its own; the library's
# threads share one arena, for they wait most of the time.
use constant { THRESHOLD => -3, SIZE => 512 * 1024, ARENAS => -8 };

my %SIGNATURE = ( mallopt => [ [ 'int', 'int' ] => 'int' ], malloc_trim => [ ['size_t'] => 'int' ] );

# Contents that are done with go back to the system at once. Else glibc, once it has freed a large one, keeps up to 32 MB
# for the next ones. Without glibc nothing changes.
sub GiveBack { return _Call( mallopt => ARENAS, 1 ) && _Call( mallopt => THRESHOLD, SIZE ) }

# So does what lies between smaller ones
sub Trim { return _Call( malloc_trim => 0 ) }

sub _Call {
    my ( $name, @arguments ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    return eval {
        require FFI::Platypus;
        FFI::Platypus->new( api => 1, lib => [undef] )->function( $name => @{ $SIGNATURE{$name} } )->call(@arguments);
    };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Memory - commands that hold large contents

=head1 FUNCTIONS

=head2 GiveBack

From now on, memory of large contents goes back to the system as soon as it is free.

=head2 Trim

What is free now goes back.

=cut
