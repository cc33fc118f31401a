package RT::ExternalStorage::AmazonS3::Tool::Check::Bucket;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Native::Listing;
use RT::ExternalStorage::AmazonS3::NewBucket;

use constant LISTING => 'RT::ExternalStorage::AmazonS3::Native::Listing';

# Nothing else can be asked after these
my $HOPELESS = qr/\A(?:network|timeout|unavailable|credentials|config|no-bucket|internal|server|throttled|library)\z/;

# Returns whether it is worth asking more
sub Look {
    my ( $class, $check ) = @_;
    my $bucket = $check->Given->{Bucket};
    my ( $listing, $error ) = LISTING->new( $check->Native );
    my $found;
    ( $found, $error ) = $listing->next if $listing;
    if ( $error && $error->name =~ $HOPELESS ) {
        $error->name eq 'no-bucket' ? _Missing( $check, $error ) : $check->Failed( bucket => $error );
        $check->Heard;
        return 0;
    }
    my $prefix = $check->Given->{Prefix} // '';
    my $where  = length $prefix ? " below $prefix" : '';
    $check->Report(
        ok => 'bucket',
        "$bucket is there"
            . ( $error ? ', but these keys may not list it' : $found ? '' : ", with no object$where yet" )
    );
    _Owner($check);
    _Region($check);
    return 1;
}

sub _Missing {
    my ( $check,   $error ) = @_;
    my ( $allowed, $why )   = RT::ExternalStorage::AmazonS3::NewBucket->Allowed( $check->Given->{CreateBucket} );
    $allowed
        ? $check->Report(
        warning => 'bucket',
        $error->message . '; RT makes it when it stores the first file',
        'see that Bucket is spelt right; to make it now: run rt-externalize-attachments'
        )
        : $check->Failed(
        bucket      => $error,
        'no-bucket' => "correct Bucket, Host or Region, or make the bucket ($why)"
        );
    return;
}

sub _Owner {
    my ($check) = @_;
    my $expected = length( $check->Given->{ExpectedBucketOwner} // '' ) ? ', the one of ExpectedBucketOwner' : '';
    my ( $answer, $error ) = $check->Document('acl');
    if ( !$answer ) {
        $check->Report( unknown => 'owner', $error->message );
    }
    elsif ( $answer->IsDenied ) {
        $check->Report( unknown => 'owner', "these keys may not ask for it (s3:GetBucketAcl)$expected" );
    }
    elsif ( !$answer->IsOk || $answer->IsUnknown('AccessControlPolicy') ) {
        $check->Report( ok => 'owner', "not known to this server$expected" );
    }
    else {
        my $owner = $answer->First('Owner') // '';
        my @names = grep { defined && length } map { $answer->First( $_, $owner ) } qw(DisplayName ID);
        $check->Report( ok => 'owner', ( join( ', ', @names ) || 'the server does not tell it' ) . $expected );
    }
    return;
}

# The library has learned it by now, and says so where it was wrong
sub _Region {
    my ($check)  = @_;
    my $in_force = $check->Learned->{region};
    my $is_told  = grep { $_ eq 'region' } $check->Heard;
    return if $is_told;
    my ($answer) = $check->Document('location');
    my $is_known = $answer && $answer->IsOk && !$answer->IsUnknown('LocationConstraint');
    my $location = $is_known ? $answer->First('LocationConstraint') // '' : undef;
    $location = { '' => 'us-east-1', EU => 'eu-west-1' }->{$location} // $location if defined $location;
    my $region = $in_force // $location // $check->Given->{Region} // 'as the server wants it';
    $region .= ", which the server calls $location" if defined $location && $location ne $region;
    $check->Report( ok => 'region', $region );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Bucket - whether it is there, whose and where

=head1 CLASS METHODS

=over

=item Look CHECK

Reports bucket, owner and region; returns whether the server can be asked more.

=back

=cut
