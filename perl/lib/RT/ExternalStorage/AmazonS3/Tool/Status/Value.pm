package RT::ExternalStorage::AmazonS3::Tool::Status::Value;

use strict;
use warnings;

use parent 'RT::ObjectCustomFieldValue';

sub Moves {
    my ( $self, $field, $length ) = @_;
    @{$self}{qw(rts3_field rts3_length)} = ( $field, $length );
    my ($moves) = $self->ShouldStoreExternally;
    return $moves ? 1 : 0;
}

sub CustomFieldObj {
    my ($self) = @_;
    return $self->{rts3_fields}{ $self->{rts3_field} } //= do {
        my $field = RT::CustomField->new( RT->SystemUser );
        $field->Load( $self->{rts3_field} );
        $field;
    };
}

# RT asks for its length, and whether that is above the limit
sub LargeContent {
    my ($self) = @_;
    my $most = RT->Config->Get('ExternalStorageCutoffSize') + 1;
    return 'x' x ( $self->{rts3_length} < $most ? $self->{rts3_length} : $most );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Status::Value - a custom field's value of which only field and length are known

=head1 METHODS

=head2 Moves FIELD, LENGTH

Whether RT's C<ShouldStoreExternally>, and what a site has made of it, moves such a one into external storage. FIELD: the
custom field's id.

=head2 CustomFieldObj, LargeContent

What RT asks for then: its field; something of its length, but not longer than RT's limit.

=cut
