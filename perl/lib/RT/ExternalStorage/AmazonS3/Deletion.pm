package RT::ExternalStorage::AmazonS3::Deletion;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Database;
use RT::ExternalStorage::AmazonS3::Lock;

use constant DATABASE => 'RT::ExternalStorage::AmazonS3::Database';

# Digests to be deleted once the transaction is over: process id => { digest => the backend that was asked }.
# A child has its parent's list in memory, but the parent works it off.
my %Noted;

# Takes ($backend, $digest). Returns ($digest), or (undef, $message) where the server refused.
sub Delete {
    my ( $class, $backend, $digest ) = @_;
    if ( DATABASE->InTransaction ) {
        _EndWithRequest();
        $Noted{$$}{$digest} = $backend;
        return ($digest);
    }
    $class->Finish;
    return _DeleteUnreferenced( $backend, $digest );
}

sub Pending { return $Noted{$$} ? 1 : 0 }

# Works off what was noted, unless a transaction is still open. Says in the log what failed, and never dies.
sub Finish {
    my ($class) = @_;
    return if !$Noted{$$} || DATABASE->InTransaction;
    my $noted = delete $Noted{$$};
    my %by_backend;
    for my $digest ( sort keys %$noted ) {
        my $entry = $by_backend{ $noted->{$digest} } ||= { backend => $noted->{$digest}, digests => [] };
        push @{ $entry->{digests} }, $digest;
    }
    local $@;
    for my $entry ( values %by_backend ) {
        my ( $ok, $why ) = eval { _DeleteUnreferenced( $entry->{backend}, @{ $entry->{digests} } ) };
        RT->Logger->error( 'Cannot delete from external storage: ' . ( $why || $@ || 'unknown error' ) ) if !$ok;
    }
    return;
}

# Deletes those to which surely no external row refers. Whatever is doubtful stays: an object too many costs money, one
# too few a document.
sub _DeleteUnreferenced {
    my ( $backend, @digests ) = @_;
    my $locks = RT::ExternalStorage::AmazonS3::Lock->Shared;
    if ( !ref $locks ) {
        _Kept( $locks, @digests );
        return ( $digests[0] );
    }
    my ( $referenced, $why ) = DATABASE->Referenced(@digests);
    if ( !$referenced ) {
        _Kept( "RT's database could not be asked: $why", @digests );
        return ( $digests[0] );
    }

    my @failures;
    for my $digest (@digests) {
        if ( $referenced->{ lc $digest } ) {
            RT->Logger->info(
                "External storage: kept $digest: another attachment or custom field value has the same content");
            next;
        }
        my ( $ok, $message ) = $backend->_DeleteObject($digest);
        push @failures, $message if !$ok;
    }
    return @failures ? ( undef, join '; ', @failures ) : ( $digests[0] );
}

sub _Kept {
    my ( $why, @digests ) = @_;
    RT->Logger->warning( "External storage: not deleted, because $why: " . join( ', ', @digests ) );
    return;
}

# ---- when a transaction is over: at our next call (Finish), at the end of the web request, of the process

my $Wrapped;

sub _EndWithRequest {
    return if !$INC{'RT/Interface/Web/Handler.pm'};
    my $current = RT::Interface::Web::Handler->can('CleanupRequest') or return;
    return if $Wrapped && $Wrapped == $current;
    $Wrapped = sub {
        my @result = $current->(@_);    # rolls back what is open
        __PACKAGE__->Finish;
        return @result;
    };
    no warnings qw(redefine once);
    *RT::Interface::Web::Handler::CleanupRequest = $Wrapped;
    return;
}

# What is still open when the process ends is rolled back, and its rows are there again: then nothing is deleted
END {
    if ( Pending() ) {
        local ( $?, $@, $! );
        __PACKAGE__->Finish;
    }
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Deletion - deletes files that nothing refers to, and nothing else

=head1 DESCRIPTION

RT's shredder (5.0.8 and later) calls C<Delete> within a database transaction. Were the transaction rolled back, the
rows would be there again, but not the file. So within a transaction the digest is only noted. Once it is over, which
is noticed at the next call of the backend, at the end of the web request, or at the end of the process, RT's database
is asked for external rows with that digest, of attachments and of custom field values. The object is deleted only
where there is surely none, and RT's externalizer is not at work on this machine.

=head1 CLASS METHODS

=over

=item Delete BACKEND, DIGEST

Returns C<(DIGEST)> where it was deleted, noted or kept, C<(undef, $message)> where the server refused.

=item Finish

Works off what was noted, unless a transaction is open.

=item Pending

Whether this process has noted something.

=back

=cut
