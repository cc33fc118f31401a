package RT::ExternalStorage::AmazonS3::Native::Inspection;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Argument qw(milliseconds text);
use RT::ExternalStorage::AmazonS3::Native;

use constant NATIVE => 'RT::ExternalStorage::AmazonS3::Native';

my %FUNCTION = ( rts3_inspect => [ [ 'opaque', 'string', 'uint64', 'opaque*', 'opaque*' ] => 'uint32' ] );

my $Attached;

sub new {
    my ( $class, $native ) = @_;
    if ( !$Attached ) {
        ( $Attached, my $error ) = NATIVE->attach_to( __PACKAGE__, %FUNCTION );
        return NATIVE->failed($error) if !$Attached;
    }
    return bless { native => $native }, $class;
}

sub document {
    my ( $self, $name, %args ) = @_;
    my $deadline = milliseconds( $args{deadline}, \my $error );
    my $document = text( 'the name of a document', $name, \$error );
    return NATIVE->failed($error) if $error;
    my ( $text, $failure );
    my $status = NATIVE->quietly( \&_rts3_inspect, $self->{native}->id, $document, $deadline, \$text, \$failure );
    return $status ? NATIVE->refused( $status, $failure ) : NATIVE->taken($text);
}

# Lines of "name: value" as a hash
sub facts {
    my ( $self, $name, %args ) = @_;
    my ( $text, $error ) = $self->document( $name, %args );
    return NATIVE->failed($error) if !defined $text;
    return { map { split /: /, $_, 2 } split /\n/, $text };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Native::Inspection - what the bucket says of itself

=head1 SYNOPSIS

    my ( $inspection, $error ) = RT::ExternalStorage::AmazonS3::Native::Inspection->new($s3);
    my ( $xml, $refused ) = $inspection->document('lifecycle');
    my $source = $inspection->facts('credentials')->{source};

=head1 METHODS

=over

=item new HANDLE

For an L<RT::ExternalStorage::AmazonS3::Native>.

=item document NAME, [deadline => MILLISECONDS]

A document of S3's, in XML: C<location>, C<lifecycle>, C<versioning>, C<encryption>, C<object-lock>, C<policyStatus>,
C<publicAccessBlock>, C<acl>, C<uploads>.

=item facts NAME, [deadline => MILLISECONDS]

What is known here, as a hash: of C<credentials> their C<source>, C<access-key-id> and, where they do, when it
C<expires>, in seconds since 1970; what was C<learned> of the server: its C<region>, the addressing C<style>, whether the
C<condition> that comes with a PUT is refused, and the C<clock-offset> in seconds.

=back

=cut
