package RT::ExternalStorage::AmazonS3::Tool::Externalize::Obstacle;

use strict;
use warnings;

use constant {

    # In the way of everything else, too
    HOPELESS => { map { $_ => 1 } qw(library config credentials unavailable no-bucket) },

    # It may be: the server is asked, for so many seconds
    DOUBTFUL => { map { $_ => 1 } qw(denied network timeout) },
    PATIENCE => 10,

    # So many in a row without a success between: it is not the object. Fewer of those that take long.
    MOST => 100,
    SLOW => { map { $_ => 10 } qw(network timeout) },

    # A key that no object has
    NOBODYS => '0' x 64,
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
    my ( $self, $name ) = @_;
    return 1 if HOPELESS->{$name} || ++$self->{in_a_row} >= ( SLOW->{$name} // MOST );
    return 0 if !DOUBTFUL->{$name};
    my $seconds = $self->{deadline} // '';
    $seconds = PATIENCE if $seconds !~ /\A[1-9]\d{0,5}\z/ || $seconds > PATIENCE;
    my $asks = $self->{asks};
    return $self->$asks( deadline => 1000 * $seconds ) ? 0 : 1;
}

# Whether it takes objects
sub Writes {
    my ( $self, @limit ) = @_;
    my ($may) = $self->{native}->probe(@limit);
    return defined $may;
}

# Whether it answers at all, for it may well deny what does not exist
sub Answers {
    my ( $self, @limit ) = @_;
    my ( undef, $error ) = $self->{native}->head( NOBODYS, @limit );
    return !$error || $error->name =~ /\A(?:not-found|denied)\z/;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Externalize::Obstacle - what is in the way of one object, or of all

=head1 METHODS

=over

=item new native => HANDLE, deadline => SECONDS, asks => METHOD

C<deadline>: what the option C<Deadline> says, if anything. C<asks>: how the server is asked, C<Writes> or C<Answers>.

=item Writes, Answers

Whether the server takes objects; whether it answers.

=item Passed

An object was stored, or read.

=item IsForAll NAME

One could not be, by an error of that name. Whether the others can't be either: because of what the error is, because the server now refuses
whatever it is asked, or because there were so many in a row. The server may be asked for it.

=back

=cut
