package Rts3::Test::Owner;

use strict;
use warnings;

use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::Owner - base class of what starts processes that end with it

=head1 DESCRIPTION

An object has C<owner>, the process that made it. Its processes end with it there, but not in a child that goes.

=head1 METHODS

=head2 holders

The hashes with a C<pid>; by default the object itself.

=head2 stop

Ends the process of each of them.

=cut

sub holders { return $_[0] }

sub stop {
    my $self = shift;
    for my $holder ( $self->holders ) {
        my $pid = delete $holder->{pid} // next;
        Rts3::Test::Process::stop($pid);
    }
    return;
}

sub DESTROY {
    my $self = shift;
    return if $self->{owner} != $$;
    local ( $@, $?, $! );
    $self->stop;
    return;
}

1;
