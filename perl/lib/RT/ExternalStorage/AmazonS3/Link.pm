package RT::ExternalStorage::AmazonS3::Link;

use strict;
use warnings;

use Scalar::Util ();

# Types that RT serves as text/plain, unless $TrustHTMLAttachments
my $AS_TEXT = qr{\A(?:text/html|application/xhtml\+xml|text/xml|application/xml)}i;

# These, those that RT always serves as a download (SVG, PDF), and what else a browser may run, or once did;
# openxmlformats and PostScript it does not
my $ACTIVE =
    qr{(?<!open)xml|html|svg|\bxsl|(?<!post)script|flash|futuresplash|pdf|x-mixed-replace|\brelated\b|rfc822}i;

# Types that a browser may show: of all others none is shown, whatever the disposition
my $SHOWN = qr{\A(?:text|image|audio|video)/}i;

my $TYPE = qr{\A([\w.+-]+/[\w.+-]+)\s*(?:;|\z)}a;

use constant UNKNOWN => 'application/octet-stream';

# The digest of what may be linked to directly, else undef. $object is whatever RT gives.
sub DigestFor {
    my ( $class, $object ) = @_;
    my ($column) = _Columns($object) or return undef;
    return undef if ( $object->ContentEncoding // '' ) ne 'external';
    my $digest = $object->__Value($column) // '';
    return $digest =~ /\A[0-9a-f]{64}\z/ ? $digest : undef;
}

# A public link carries no type and no disposition: the object has those of whoever stored this content first, maybe RT's
# own module. So RT itself serves what a browser might run, even where it trusts HTML.
sub AllowsPublic {
    my ( $class, $object ) = @_;
    return 0 if RT->Config->Get('AlwaysDownloadAttachments');
    my $type = $object->__Value('ContentType') // '';
    return $type !~ $TYPE || $type =~ $ACTIVE ? 0 : 1;
}

# What a presigned link says of the file, for Native's direct_url
sub About {
    my ( $class, $object )      = @_;
    my ( undef,  $column )      = _Columns($object);
    my ( $type,  $disposition ) = _Served($object);
    my $name = $object->__Value($column);
    if ( defined $name ) {
        $name =~ s/\0//g;
        $name =~ s/[^\x{0}-\x{d7ff}\x{e000}-\x{10ffff}]/\x{fffd}/g;    # what UTF-8 has not
    }
    return ( file_name => $name, content_type => $type, disposition => $disposition );
}

# Type and disposition, as RT's /Ticket/Attachment and /Download/CustomFieldValue have them; but what a browser would
# run is a download even where RT trusts it, as it is by a public link.
sub _Served {
    my ($object) = @_;
    my $given = $object->__Value('ContentType');
    $given = 'text/plain' if !$given;
    my ($type) = $given =~ $TYPE or return ( UNKNOWN, 'attachment' );
    $type = 'text/plain' if $type =~ $AS_TEXT && !RT->Config->Get('TrustHTMLAttachments');

    my $shown = $type =~ $SHOWN && $type !~ $ACTIVE && !RT->Config->Get('AlwaysDownloadAttachments');
    $type .= '; charset=' . _Charset( $object, $given ) if $type =~ m{\Atext/}i;
    return ( $type, $shown ? 'inline' : 'attachment' );
}

# The character set of the content as it is stored, which is not always the one that RT serves: what RT takes for text
# it keeps in UTF-8, and turns back into the original one when it is read.
sub _Charset {
    my ( $object, $given ) = @_;
    my $charset =
          !$object->isa('RT::Attachment')        ? _Parameter($given)
        : RT::I18N::IsTextualContentType($given) ? _Parameter( $object->GetHeader('Content-Type') )
        :                                          $object->OriginalEncoding;
    return ( $charset // '' ) =~ /\A[\w.:+-]{1,40}\z/a ? $charset : 'utf-8';
}

sub _Parameter {
    my ($type) = @_;
    return ( $type // '' ) =~ /;\s*charset\s*=\s*"?([^\s";]+)/i ? $1 : undef;
}

# RT's session cookie has a path and no domain: browsers send it to RT's host alone, but to all ports of it
sub OwnSite {
    my ( $class, %option ) = @_;
    my $public = ( $option{DirectLink} // 'public' ) ne 'presigned';
    my $other  = $public       ? _Host( $option{DirectLinkHost} ) : '';
    my $host   = length $other ? $other                           : _Host( $option{Host} );
    return undef if !length $host;
    $host = lc "$option{Bucket}.$host" if !length $other && ( $option{AddressingStyle} // '' ) eq 'virtual';
    my %own = map { _Host( scalar RT->Config->Get($_) ) => 1 } qw(WebDomain WebBaseURL WebURL);
    return $own{$host} ? $host : undef;
}

# Of a host, a host with its port, or a URL
sub _Host {
    my ($address) = @_;
    my ($host)    = ( $address // '' ) =~ m{\A\s*(?:[a-z]+://)?(?:[^/\@]*\@)?(\[[^\]]*\]|[^/:?\#\s]*)}i;
    return lc( $host =~ s/\.\z//r );
}

# Where RT keeps the digest and the file's name
sub _Columns {
    my ($object) = @_;
    return if !Scalar::Util::blessed($object);
    return ( 'Content',      'Filename' ) if $object->isa('RT::Attachment');
    return ( 'LargeContent', 'Content' )  if $object->isa('RT::ObjectCustomFieldValue');
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Link - what may be linked to directly, and what a link says of it

=head1 DESCRIPTION

RT has rules for serving attachments: C<$AlwaysDownloadAttachments>; HTML and XML as plain text, unless
C<$TrustHTMLAttachments>; SVG and PDF always as a download. A direct link must not be the way around them.

A public link says nothing of the file, so what RT would not simply show gets none. A presigned link makes the server
say what RT would have said; and what a browser might run is a download in any case.

=head1 CLASS METHODS

=head2 DigestFor OBJECT

The digest of an external attachment or custom field value; C<undef> for anything else.

=head2 AllowsPublic OBJECT

Whether a public link to it would break none of RT's rules.

=head2 About OBJECT

What a presigned link to it says: a list of C<file_name>, C<content_type> and C<disposition> with their values, by RT's
rules for exactly this object, whoever stored the same content first.

=head2 OwnSite %options

The host name that direct links would lead to with these options, where it is that of RT's own web site; else C<undef>.

=cut
