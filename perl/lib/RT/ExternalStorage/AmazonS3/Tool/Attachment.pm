package RT::ExternalStorage::AmazonS3::Tool::Attachment;

use strict;
use warnings;

use parent 'RT::Attachment';

sub Moves {
    my ($moves) = _Ask(@_);
    return $moves ? 1 : 0;
}

# Why it does not move, or undef if it does: of a row without its content
sub Why {
    my ( $self, $row, $length ) = @_;
    $self->DBIx::SearchBuilder::Record::LoadFromHash($row);
    my ( $moves, $why ) = $self->_Ask( $row->{contenttype}, $length );
    return $moves ? undef : $why // 'RT keeps it';
}

sub _Ask {
    my ( $self, $type, $length ) = @_;
    @{$self}{qw(rts3_type rts3_length)} = ( $type // '', $length );
    return $self->ShouldStoreExternally;
}

# RT's own would read the content, and write its length down
sub ContentType   { return $_[0]{rts3_type} }
sub ContentLength { return $_[0]{rts3_length} }

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Attachment - an attachment of which only type and length are known

=head1 METHODS

=head2 Moves TYPE, LENGTH

Whether RT's C<ShouldStoreExternally>, and what a site has made of it, moves such a one into external storage.

=head2 Why ROW, LENGTH

Why RT keeps this one in its database, or undef if it moves. ROW: the columns of the database without the content, a
hash with names in lower case.

=head2 ContentType, ContentLength

What RT asks for then.

=cut
