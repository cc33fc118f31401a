package Rts3::Test::RT::NewerShredder;

use strict;
use warnings;

use RT::Attachments;
use RT::ObjectCustomFieldValues;
use RT::Shredder;

=head1 NAME

Rts3::Test::RT::NewerShredder - Gives an older RT's shredder what RT 5.0.8 and 6.0 do with external files

=head1 SYNOPSIS

    use Rts3::Test::RT::NewerShredder;
    Rts3::Test::RT::NewerShredder::shred( 'RT::Attachment', 12 );

=head1 DESCRIPTION

RT 5.0.8 (lib/RT/Record.pm, BeforeWipeout) fetches the content of an external row before it wipes the row out, asking
Get in scalar context, puts it into the row, so that the dump has it, looks for other references by its collections, in
the column Content of both tables, and calls Delete: all of it within the shredder's transaction. Loading this module puts a
stand-in for that into RT::Record; the shredder itself is RT's own.

=head1 FUNCTIONS

=head2 shred $class, $id

Wipes out one object, as rt-shredder does, and dies where the shredder does.

=cut

sub shred {
    my ( $class, $id ) = @_;
    my $object = $class->new( RT->SystemUser );
    $object->Load($id);
    die "No $class $id\n" unless $object->id;
    my $shredder = RT::Shredder->new( force => 1 );
    $shredder->Wipeout( Object => $object );
    return;
}

sub before_wipeout {
    my $self = shift;
    return 1 unless $self->isa('RT::Attachment') || $self->isa('RT::ObjectCustomFieldValue');
    return 1 unless ( $self->ContentEncoding // '' ) eq 'external';
    my $digest  = $self->ExternalStoreDigest;
    my $storage = RT->System->ExternalStorage or die "No external storage\n";
    my $content = $storage->Get($digest);
    if ( !$content ) {
        RT->Logger->error("Could not get content of $digest");
        return 1;
    }
    _internalize( $self, $content );
    for my $class (qw(RT::Attachments RT::ObjectCustomFieldValues)) {
        my $others = $class->new( $self->CurrentUser );
        $others->Limit( FIELD => 'ContentEncoding', VALUE => 'external' );
        $others->Limit( FIELD => 'Content',         VALUE => $digest );
        $others->RowsPerPage(1);
        return 1 if $others->First;
    }
    my ( $ok, $message ) = $storage->Delete($digest);
    die "Failed to delete $digest from external storage: $message\n" unless $ok;
    return 1;
}

sub _internalize {
    my ( $self, $content ) = @_;
    my @name = $self->isa('RT::Attachment') ? $self->Filename : ();
    my %new;
    @new{qw(ContentEncoding Content)} = $self->_EncodeLOB( $content, $self->ContentType, @name );
    for my $field (qw(ContentEncoding Content)) {
        my ( $ok, $message ) = $self->__Set( Field => $field, Value => $new{$field} );
        die "Could not set $field: $message\n" unless $ok;
    }
    return;
}

{
    no warnings 'redefine';
    *RT::Record::BeforeWipeout = \&before_wipeout;
}

1;
