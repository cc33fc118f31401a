package Rts3::Test::RT::Inside;

use strict;
use warnings;

use Encode ();
use MIME::Entity;
use Storable ();

use RT::Attachments;
use RT::CustomField;
use RT::I18N;
use RT::Interface::Email;
use RT::ObjectCustomFieldValue;
use RT::Queue;
use RT::Ticket;

=head1 NAME

Rts3::Test::RT::Inside - What tests do with RT's own objects, inside a process of RT

=head1 FUNCTIONS

=head2 answer $input, $output, $code

The other end of L<Rts3::Test::RT/call>.

=cut

sub answer {
    my ( $input, $output, $code ) = @_;
    my ( $list, @args ) = @{ Storable::retrieve($input) };
    my @answer = $list ? $code->(@args) : scalar $code->(@args);
    Storable::nstore( \@answer, $output );
    return;
}

=head2 create_ticket %spec

Creates a ticket as a mail to RT would: subject, requestor, content (characters), attachments.
An attachment is a hash with name (characters), type (application/octet-stream), content (bytes)
and charset. C<fields> maps the name of a Binary or Image custom field to such
a hash, or an array of them. Returns a hash with id, transaction, and what C<ticket_attachments> says.

=cut

sub create_ticket {
    my %spec   = ( subject => 'Test', requestor => 'root@localhost', queue => 'General', @_ );
    my $ticket = RT::Ticket->new( RT->SystemUser );
    my ( $id, $transaction, $message ) = $ticket->Create(
        Queue     => $spec{queue},
        Subject   => $spec{subject},
        Requestor => $spec{requestor},
        MIMEObj   => _message(%spec),
    );
    die "No ticket: $message\n" unless $id;
    _add_values( $ticket, %{ $spec{fields} || {} } );
    my $created = ref $transaction ? $transaction->id : $transaction;
    return { id => $id, transaction => $created, attachments => ticket_attachments($id), };
}

=head2 reply $ticket, %spec

Adds a correspondence with content and attachments, or with C<< type => 'Comment' >> a comment, and returns the same
as C<create_ticket>, the attachments being those of this transaction.

=cut

sub reply {
    my ( $id, %spec ) = ( @_, );
    my $ticket = _ticket($id);
    my $method = $spec{type} || 'Correspond';
    my ( $transaction, $message, $object ) = $ticket->$method( MIMEObj => _message(%spec) );
    die "No $method: $message\n" unless $transaction;
    my @attachments = grep { $_->{transaction} == $object->id } @{ ticket_attachments($id) };
    return { id => $id, transaction => $object->id, attachments => \@attachments };
}

=head2 ticket_attachments $ticket

All attachments of a ticket by their id, message bodies and multipart containers included: a reference to an array of hashes with id,
transaction, name (characters), type, encoding (the row's ContentEncoding).

=cut

sub ticket_attachments {
    my $attachments = _ticket(shift)->Attachments( WithHeaders => 1 );
    $attachments->OrderBy( FIELD => 'id' );
    my @found;
    while ( my $attachment = $attachments->Next ) {
        push @found,
            {
            id          => $attachment->id,
            transaction => $attachment->TransactionId,
            name        => $attachment->Filename,
            type        => $attachment->ContentType,
            encoding    => $attachment->ContentEncoding,
            };
    }
    return \@found;
}

=head2 attachment $id

What RT's objects say of one attachment: a hash with name, type, encoding, content (as Content says: characters for
text), bytes (as OriginalContent says), length.

=cut

sub attachment {
    my $id         = shift;
    my $attachment = RT::Attachment->new( RT->SystemUser );
    $attachment->Load($id);
    die "No attachment $id\n" unless $attachment->id;
    return {
        name     => $attachment->Filename,
        type     => $attachment->ContentType,
        encoding => $attachment->ContentEncoding,
        content  => $attachment->Content,
        bytes    => $attachment->OriginalContent,
        length   => $attachment->ContentLength,
    };
}

=head2 create_custom_field $name, $type

A custom field for tickets of all queues, of type Binary or Image, for any number of values; returns its id.

=cut

sub create_custom_field {
    my ( $name, $type ) = @_;
    my $field = RT::CustomField->new( RT->SystemUser );
    my ( $id, $message ) =
        $field->Create( Name => $name, Type => $type, MaxValues => 0, LookupType => 'RT::Queue-RT::Ticket' );
    die "No custom field: $message\n" unless $id;
    ( my $ok, $message ) = $field->AddToObject( RT::Queue->new( RT->SystemUser ) );
    die "$message\n" unless $ok;
    return $id;
}

=head2 field_value $id

What RT's objects say of one custom field value: a hash with name, type, encoding, bytes.

=cut

sub field_value {
    my $id    = shift;
    my $value = RT::ObjectCustomFieldValue->new( RT->SystemUser );
    $value->Load($id);
    die "No custom field value $id\n" unless $value->id;
    return {
        name     => $value->Content,
        type     => $value->ContentType,
        encoding => $value->ContentEncoding,
        bytes    => $value->LargeContent,
    };
}

sub _ticket {
    my $id     = shift;
    my $ticket = RT::Ticket->new( RT->SystemUser );
    $ticket->Load($id);
    die "No ticket $id\n" unless $ticket->id;
    return $ticket;
}

sub _message {
    my %spec   = @_;
    my $entity = MIME::Entity->build(
        From    => $spec{requestor} || 'root@localhost',
        Subject => RT::Interface::Email::EncodeToMIME( String => $spec{subject} || 'Test' ),
        Type    => 'text/plain',
        Charset => 'UTF-8',
        Data    => Encode::encode( 'UTF-8', $spec{content} // "Please see the attachments.\n" ),
    );
    for my $part ( @{ $spec{attachments} || [] } ) {
        $entity->attach(
            Type        => $part->{type} || 'application/octet-stream',
            Data        => $part->{content},
            Disposition => $part->{disposition} || 'attachment',
            Encoding    => 'base64',
            ( defined $part->{name}    ? ( Filename => Encode::encode( 'UTF-8', $part->{name} ) ) : () ),
            ( defined $part->{charset} ? ( Charset  => $part->{charset} )                         : () ),
            ( defined $part->{id}      ? ( Id       => $part->{id} )                              : () ),
        );
    }
    RT::I18N::SetMIMEEntityToUTF8($entity);    # as RT does with what comes by mail and by web
    return $entity;
}

sub _add_values {
    my ( $ticket, %fields ) = @_;
    for my $name ( sort keys %fields ) {
        for my $value ( ref $fields{$name} eq 'ARRAY' ? @{ $fields{$name} } : $fields{$name} ) {
            my ( $ok, $message ) = $ticket->AddCustomFieldValue(
                Field        => $name,
                Value        => $value->{name},
                LargeContent => $value->{content},
                ContentType  => $value->{type} || 'application/octet-stream',
            );
            die "$name: $message\n" unless $ok;
        }
    }
    return;
}

1;
