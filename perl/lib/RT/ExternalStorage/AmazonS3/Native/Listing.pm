package RT::ExternalStorage::AmazonS3::Native::Listing;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Argument qw(milliseconds text);
use RT::ExternalStorage::AmazonS3::Native;

use constant NATIVE => 'RT::ExternalStorage::AmazonS3::Native';

my %FUNCTION =
    ( rts3_list => [ [ 'opaque', 'string', 'uint64', 'opaque*', 'sint32*', 'opaque*' ] => 'uint32' ] );

my $Attached;

sub new {
    my ( $class, $native, %args ) = @_;
    if ( !$Attached ) {
        ( $Attached, my $error ) = NATIVE->attach_to( __PACKAGE__, %FUNCTION );
        return NATIVE->failed($error) if !$Attached;
    }
    my $deadline = milliseconds( $args{deadline}, \my $error );
    my $after    = defined $args{after} ? text( 'after', $args{after}, \$error ) : undef;
    return NATIVE->failed($error) if $error;
    return bless { native => $native, deadline => $deadline, after => $after, page => [], more => 1 }, $class;
}

sub next {
    my ($self) = @_;
    if ( !@{ $self->{page} } && $self->{more} ) {
        my ( $ok, $error ) = $self->_read;
        return NATIVE->failed($error) if !$ok;
    }
    return shift @{ $self->{page} } || 0;
}

sub _read {
    my ($self) = @_;
    my ( $lines, $more, $failure ) = ( undef, 0, undef );
    my $status = NATIVE->quietly( \&_rts3_list, $self->{native}->id,
        $self->{after}, $self->{deadline}, \$lines, \$more, \$failure );
    return NATIVE->refused( $status, $failure ) if $status;
    my @page = map { [ split /\t/ ] } split /\n/, NATIVE->taken($lines);
    if (@page) {
        $self->{after} = $page[-1][0] =~ s/%([0-9A-F]{2})/chr hex $1/ger;
        $self->{page}  = \@page;
    }
    $self->{more} = $more;
    return 1;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Native::Listing - what is in the bucket

=head1 SYNOPSIS

    my ( $listing, $error ) = RT::ExternalStorage::AmazonS3::Native::Listing->new($s3);
    while ( my ( $object, $error ) = $listing->next ) {
        die "$error\n" if $error;
        last           if !$object;
        my ( $name, $size ) = @{$object};
    }

=head1 DESCRIPTION

The objects below the option C<Prefix>, in the order of their names, read from the server 1,000 at a time.

=head1 METHODS

=over

=item new HANDLE, [after => NAME], [deadline => MILLISECONDS]

For an L<RT::ExternalStorage::AmazonS3::Native>; with the objects whose names come after NAME. The deadline is that of
each request.

=item next

The next object: its name, without the prefix and percent-encoded (which leaves a key as it is), and its size in bytes;
0 where there is none left; C<(undef, $error)> where the server could not be asked. It may be called again then.

=back

=cut
