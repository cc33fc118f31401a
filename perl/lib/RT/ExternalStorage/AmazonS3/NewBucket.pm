package RT::ExternalStorage::AmazonS3::NewBucket;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Database;

# A bucket that was just made may not be known to every server yet: seconds for which NoSuchBucket is not believed
use constant GRACE => 60;

# When this process made the bucket: process id and bucket => time
my %Made;

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

# Makes the bucket for $backend if it may, then calls $store until it no longer says that there is none. Returns what
# $store returns, or (undef, $message).
sub StoreAgain {
    my ( $class, $backend, $error, $store ) = @_;
    my $bucket = $backend->Bucket;
    if ( !$class->_IsYoung($bucket) ) {
        my ( $ok, $why ) = $class->Allowed( $backend->{CreateBucket} );
        return ( undef, $error->message . "; $why" ) if !$ok;
        my ( $made, $failure ) = $backend->_Try( sub { $_[0]->create_bucket( deadline => $_[1] ) } );
        return ( undef, $failure->message ) if !$made;
        $Made{$$}{$bucket} = time;
        RT->Logger->info("External storage: created the bucket '$bucket'");
    }
    while (1) {
        my ( $key, $failure ) = $store->();
        return ($key)                       if $key;
        return ( undef, $failure->message ) if $failure->name ne 'no-bucket' || !$class->_IsYoung($bucket);
        sleep 1;
    }
    return;
}

sub _IsYoung {
    my ( $class, $bucket ) = @_;
    my $made = $Made{$$}{$bucket} // return 0;
    return time - $made < GRACE ? 1 : 0;
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
