package RT::ExternalStorage::AmazonS3::Tool::Verify::Look;

use strict;
use warnings;

# %args: native, checksums (whether the server can be asked for them)
sub new {
    my ( $class, %args ) = @_;
    return bless {%args}, $class;
}

# $job: digest, deep (whether it has to be looked at, or only for)
sub Work {
    my ( $self, $job ) = @_;
    my $native  = $self->{native};
    my $verdict = $job->{deep} ? $self->_Deep( $job->{digest} ) : _Verdict( ( $native->head( $job->{digest} ) )[1] );
    $native->drain;
    return $verdict;
}

# Whether the object is the content of that digest
sub _Deep {
    my ( $self, $digest ) = @_;
    my $native = $self->{native};
    if ( $self->{checksums} ) {
        my ( $head, $error ) = $native->head($digest);
        return _Verdict($error) if !$head;
        my $checksum = $head->{checksum} // '';
        return { name => 'whole' }                                                     if $checksum eq $digest;
        return { name => 'corrupt', text => "the server keeps the SHA-256 $checksum" } if length $checksum;
    }
    my ( undef, $error ) = $native->get($digest);
    return _Verdict($error);
}

sub _Verdict {
    my ($error) = @_;
    return { name => 'whole' } if !$error;
    return { name => $error->name, text => $error->message };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Look - looks at one object

=head1 METHODS

=head2 Work JOB

Returns a hash with the C<name> of an error as in L<RT::ExternalStorage::AmazonS3::Error>, or C<whole>, and its C<text>.

=cut
