package RT::ExternalStorage::AmazonS3::NewBucket;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Database;

# Whether a missing bucket may be made: (1), or (0, $why). Never where RT has external rows: then the bucket was
# deleted, or belongs to another account, and an empty new one would hide that.
sub Allowed {
    my ( $class, $option ) = @_;
    return ( 0, 'it is not created, because CreateBucket is not 1' ) if ( $option // 1 ) ne '1';
    my ( $any, $why ) = RT::ExternalStorage::AmazonS3::Database->AnyExternal;
    return ( 0, "it is not created, because RT's database could not be asked whether files were stored before: $why" )
        if !defined $any;
    return ( 0,
              'it is not created, because RT has external files already: the bucket was deleted, or is another '
            . "account's; restore it, or correct Bucket, Host and keys" )
        if $any;
    return (1);
}

# Makes the bucket for $backend if it may, then calls $store again, which waits until the new bucket is there. Returns
# what $store returns, or (undef, $message).
sub StoreAgain {
    my ( $class, $backend, $error, $store ) = @_;
    my ( $ok, $why ) = $class->Allowed( $backend->{CreateBucket} );
    return ( undef, $error->message . "; $why" ) if !$ok;
    my ( $made, $failure ) = $backend->_Try( sub { $_[0]->create_bucket( deadline => $_[1] ) } );
    return ( undef, $failure->message ) if !$made;
    ( my $key, $failure ) = $store->();
    return $key ? ($key) : ( undef, $failure->message );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::NewBucket - makes the bucket, once

=head1 CLASS METHODS

=head2 Allowed CREATEBUCKET

Whether a missing bucket may be made: C<(1)>, or C<(0, $why)>.

=head2 StoreAgain BACKEND, ERROR, CODE

Makes the bucket after a Store that got ERROR, C<NoSuchBucket>, and stores again.

=cut
