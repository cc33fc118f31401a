package RT::ExternalStorage::AmazonS3::Link;

use strict;
use warnings;

use Scalar::Util ();

# Types that RT serves as text/plain, unless $TrustHTMLAttachments
my $AS_TEXT = qr{\A(?:text/html|application/xhtml\+xml|text/xml|application/xml)}i;

# Types that RT always serves as a download
my $AS_DOWNLOAD = qr{\A(?:image/svg\+xml|application/pdf)}i;

# And what else a browser may run
my $ACTIVE = qr{\b(?:xml|x?html?|svgz?|xslt?|(?:java|ecma|j|vb)script|flash|pdf|mhtml|x-mixed-replace)\b}i;

my $TYPE = qr{\A[\w.+-]+/[\w.+-]+\s*(?:;|\z)};

# The digest of what may be linked to directly, else undef. $object is whatever RT gives.
sub DigestFor {
    my ( $class, $object ) = @_;
    my $column = _Column($object) or return undef;
    return undef if ( $object->ContentEncoding // '' ) ne 'external';
    my $digest = $object->__Value($column) // '';
    return $digest =~ /\A[0-9a-f]{64}\z/ ? $digest : undef;
}

# A public link carries no type and no disposition: the object has those of whoever stored this content first. So RT
# itself serves what it would not simply show.
sub AllowsPublic {
    my ( $class, $object ) = @_;
    return 0 if RT->Config->Get('AlwaysDownloadAttachments');
    my $type = $object->__Value('ContentType') // '';
    return 0 if $type !~ $TYPE || $type =~ $AS_DOWNLOAD;
    return RT->Config->Get('TrustHTMLAttachments') ? 1 : 0 if $type =~ $AS_TEXT;
    return $type =~ $ACTIVE ? 0 : 1;
}

sub _Column {
    my ($object) = @_;
    return undef          if !Scalar::Util::blessed($object);
    return 'Content'      if $object->isa('RT::Attachment');
    return 'LargeContent' if $object->isa('RT::ObjectCustomFieldValue');
    return undef;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Link - what may be linked to directly

=head1 DESCRIPTION

RT has rules for serving attachments: C<$AlwaysDownloadAttachments>; HTML and XML as plain text, unless
C<$TrustHTMLAttachments>; SVG and PDF always as a download. A direct link must not be the way around them.

=head1 CLASS METHODS

=head2 DigestFor OBJECT

The digest of an external attachment or custom field value; C<undef> for anything else.

=head2 AllowsPublic OBJECT

Whether a public link to it would break none of RT's rules.

=cut
