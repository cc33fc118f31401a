package RT::ExternalStorage::AmazonS3::Tool::Externalize::Obstacle;

use strict;
use warnings;

use constant {

    # In the way of everything else, too
    HOPELESS => { map { $_ => 1 } qw(config credentials unavailable no-bucket) },

    # It may be: the server is asked, for so many seconds
    DOUBTFUL => { map { $_ => 1 } qw(denied network timeout) },
    PATIENCE => 10,

    # So many in a row without a success between: it is not the object. Fewer of those that take long.
    MOST => 100,
    SLOW => { map { $_ => 10 } qw(network timeout) },
};

sub new {
    my ( $class, %args ) = @_;
    return bless { %args, in_a_row => 0 }, $class;
}

# One object was stored
sub Passed {
    my ($self) = @_;
    $self->{in_a_row} = 0;
    return;
}

# Whether what is in the way of one object is in the way of all, so that going on makes no sense
sub IsForAll {
    my ( $self, $error ) = @_;
    my $name = $error->name;
    return 1 if HOPELESS->{$name} || ++$self->{in_a_row} >= ( SLOW->{$name} // MOST );
    return 0 if !DOUBTFUL->{$name};
    my $seconds = $self->{deadline} // '';
    $seconds = PATIENCE if $seconds !~ /\A[1-9]\d{0,5}\z/ || $seconds > PATIENCE;
    my ($may) = $self->{native}->probe( deadline => 1000 * $seconds );
    return defined $may ? 0 : 1;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Externalize::Obstacle - what is in the way of one object, or of all

=head1 METHODS

=over

=item new native => HANDLE, deadline => SECONDS

C<deadline>: what the option C<Deadline> says, if anything.

=item Passed

An object was stored.

=item IsForAll ERROR

One could not be. Whether the others can't be either: because of what the error is, because the server now refuses
whatever it is asked, or because there were so many in a row. The server may be asked for it.

=back

=cut
