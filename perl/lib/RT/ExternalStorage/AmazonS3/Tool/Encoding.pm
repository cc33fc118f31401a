package RT::ExternalStorage::AmazonS3::Tool::Encoding;

use strict;
use warnings;

use MIME::Base64      ();
use MIME::QuotedPrint ();

# The bytes of a content in RT's database, as a reference, or (undef, $why). RT itself would make something of what is no
# base64, and the rest of it would be lost: such a content is refused, but where "as_rt" is given.
sub Decoded {
    my ( $encoding, $raw, %args ) = @_;
    if ( utf8::is_utf8($$raw) ) {
        utf8::encode( my $bytes = $$raw );
        $raw = \$bytes;
    }
    $encoding = lc( $encoding // '' ) || 'none';
    return $raw if $encoding eq 'none';
    if ( $encoding eq 'base64' ) {
        return ( undef, 'it is said to be base64, and is not' ) if !$args{as_rt} && !_IsBase64($raw);
        return \MIME::Base64::decode_base64($$raw);
    }
    if ( $encoding eq 'quoted-printable' ) {
        return ( undef, 'it is said to be quoted-printable, and is not' )
            if !$args{as_rt} && $$raw =~ /=(?!(?:[0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\z))/;
        return \MIME::QuotedPrint::decode($$raw);
    }
    return ( undef, "RT does not know its ContentEncoding, '$encoding'" );
}

# The other way round: (encoding, reference), as RT itself would have it in this database
sub Encoded {
    my ( $content, $type ) = @_;
    my $most = RT->Config->Get('MaxAttachmentSize');
    RT->Config->Set( MaxAttachmentSize => 0 );    # else RT cuts off, or drops, what is larger
    my ( $encoding, $raw ) = eval {
        my $attachment = RT::Attachment->new( RT->SystemUser );
        my @encoded    = $attachment->_EncodeLOB( $$content, $type );
        $attachment->_EncodeLOB($_) for "\0", "\xff";    # else its regular expressions keep the content
        @encoded[ 0, 1 ];
    };
    my $why = $@;
    RT->Config->Set( MaxAttachmentSize => $most );
    die $why if !defined $raw;

    # Quoted-printable is made for text
    return ( $encoding, \$raw ) if $encoding ne 'quoted-printable' || MIME::QuotedPrint::decode($raw) eq $$content;
    return ( 'base64',  \MIME::Base64::encode_base64($$content) );
}

# Perl keeps a copy of what a regular expression was tried on
sub _IsBase64 {
    my ($raw) = @_;
    return 0 if $$raw =~ tr{A-Za-z0-9+/= \t\n\x0b\f\r}{}c;
    my $end = index $$raw, '=';
    return 0 if $end >= 0 && substr( $$raw, $end ) !~ /\A(?:=\s*){1,2}\z/;
    return ( $$raw =~ tr{A-Za-z0-9+/=}{} ) % 4 == 0;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Encoding - contents as RT's database has them

=head1 FUNCTIONS

=head2 Decoded ENCODING, REFERENCE, [as_rt => 1]

The bytes of what stands in the database, as a reference; or C<undef> and a reason.

=head2 Encoded REFERENCE, TYPE

The encoding, and what would stand in the database, as a reference. Nothing is cut off, whatever C<$MaxAttachmentSize> is.

=cut
