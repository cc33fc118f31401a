package RT::ExternalStorage::AmazonS3::Tool::Check::Probes;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Tool::Check::Advice;

use constant ADVICE => __PACKAGE__ =~ s/Probes/Advice/r;

sub new {
    my ( $class, $check ) = @_;
    return bless { check => $check, keys => {} }, $class;
}

# One that is to be stored; that was surely not stored, so that deleting it only tries the right to; that was not tried
sub Add    { my ( $self, $key ) = @_; $self->{keys}{$key} = 1; return }
sub Absent { my ( $self, $key ) = @_; $self->{keys}{$key} = 0; return }
sub Forget { my ( $self, $key ) = @_; delete $self->{keys}{$key}; return }

sub Remove {
    my ($self) = @_;
    my ( $check, $is_there ) = @{$self}{qw(check keys)};
    $self->{keys} = {};
    my ( $error, @left );
    for my $key ( sort keys %{$is_there} ) {
        my ( $gone, $why );
        if ( !$error || $error->name !~ $check->OUTAGE ) {
            $check->Native->fail_fast(0);    # worth waiting for
            ( $gone, $why ) = $check->Native->delete($key);
        }
        $error ||= $why;
        $check->Report( ok => 'delete', 'allowed' ) if $gone;
        push @left, $key if !$gone && $is_there->{$key};
    }
    return if !$error;

    # That it is denied may be meant so: then what RT shreds stays in the bucket
    my $is_denied = $error->name eq 'denied';
    my @advice =
        $is_denied ? 'if what is shredded in RT shall be deleted, allow s3:DeleteObject' : ADVICE->For($error);
    push @advice, 'and delete what this check has made: ' . join ', ', @left if @left;
    $check->Report( $is_denied ? 'warning' : 'problem', 'delete', $error->message, join '; ', @advice );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Probes - objects that are removed again, whatever happens

=head1 METHODS

=over

=item new CHECK

=item Add KEY, Absent KEY, Forget KEY

It is about to be stored; it was refused, so that only the right to delete is tried with it; it was not even tried.

=item Remove

Deletes them, and reports how that went.

=back

=cut
