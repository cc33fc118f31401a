package RT::ExternalStorage::AmazonS3::Tool::Check::Document;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Native::Inspection;

my %ENTITY = ( lt => '<', gt => '>', quot => '"', apos => q{'}, amp => '&' );

# Answers to what is not set
my %NOT_SET = map { $_ => 1 } qw(
    NoSuchLifecycleConfiguration
    ObjectLockConfigurationNotFoundError
    ServerSideEncryptionConfigurationNotFoundError
    NoSuchPublicAccessBlockConfiguration
    NoSuchBucketPolicy
);

sub Of {
    my ( $class, $native, $what, @more ) = @_;
    my ( $inspection, $error ) = RT::ExternalStorage::AmazonS3::Native::Inspection->new($native);
    return ( undef, $error ) if !$inspection;
    ( my $text, $error ) = $inspection->document( $what, @more );
    return $class->new($text) if defined $text;
    my ($status) = $error->message =~ /\bHTTP (\d{3})\b/ or return ( undef, $error );
    my ($code)   = $error->message =~ /: ([A-Z]\w+)/;
    return $class->new( '', status => $status, code => $code );
}

sub new {
    my ( $class, $body, %error ) = @_;
    return bless { body => $body, status => 200, code => '', %error }, $class;
}

sub Status { return $_[0]{status} }
sub Code   { return $_[0]{code} // '' }
sub IsOk   { return $_[0]{status} =~ /\A2/ }

sub IsNotSet { return $NOT_SET{ $_[0]->Code } }
sub IsDenied { return $_[0]{status} == 401 || $_[0]{status} == 403 }

# The server has no such thing; some answer with something else instead. $root: a pattern of the element that it
# should be.
sub IsUnknown {
    my ( $self, $root ) = @_;
    return $self->{body} !~ /<(?:\w+:)?$root\b/ if $self->IsOk;
    return 1 if $self->Code =~ /\A(?:NotImplemented|MethodNotAllowed|XNotImplemented|NotSupported)\z/;
    return $self->{status} =~ /\A(?:404|405|501)\z/ && !$self->IsNotSet && $self->Code ne 'NoSuchBucket';
}

# The inner text of all elements of that name, and of the first one; markup in it stays
sub All {
    my ( $self, $name, $within ) = @_;
    my $text = ( $within // $self->{body} ) =~ s/<!--.*?-->//gsr;
    my @found;
    while ( $text =~ m{<(?:\w+:)?\Q$name\E(?:\s[^>]*)?(?:/>|>(.*?)</(?:\w+:)?\Q$name\E\s*>)}gs ) {
        push @found, _Decoded( $1 // '' );
    }
    return @found;
}

sub First { my ( $self, @what ) = @_; return ( $self->All(@what) )[0] }

sub _Decoded {
    my ($text) = @_;
    return $text if $text =~ /</;
    $text                 =~ s/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w+));/_Entity( $1, $2, $3 )/gie;
    return $text          =~ s/\A\s+|\s+\z//gr;
}

sub _Entity {
    my ( $hex, $decimal, $name ) = @_;
    return $ENTITY{$name} // '?' if defined $name;
    my $number = defined $hex ? hex $hex : $decimal;
    return $number > 31 && $number < 0xD800 ? chr $number : '?';
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Document - what a server says of a bucket

=head1 DESCRIPTION

An answer of S3: its status and its XML, as far as C<rt-s3 check> needs it.

=head1 METHODS

=over

=item Of NATIVE, WHAT, [deadline => MILLISECONDS]

Asks the server. Returns what it has answered, an error of S3 too, or C<(undef, $error)> where there was no answer.

=item new TEXT, [status => NUMBER, code => NAME]

The same from a text.

=item Status, Code

The HTTP status, and S3's code of an error, or an empty string.

=item IsOk, IsNotSet, IsDenied, IsUnknown ROOT

Whether it is an answer, says that nothing is set, that these keys may not ask, or that the server has no such thing.

=item All NAME, [WITHIN], First NAME, [WITHIN]

What is in the elements of that name, or in the first one.

=back

=cut
