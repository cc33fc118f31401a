package RT::ExternalStorage::AmazonS3::Tool::Batch;

use strict;
use warnings;

use Time::HiRes qw(time);

use RT::ExternalStorage::AmazonS3::Tool;

# A transaction is over after so many rows, or so many seconds; or after the bytes that a class below this one says
use constant { MOST_ROWS => 100, MOST_SECONDS => 1 };

sub new {
    my ( $class, %args ) = @_;
    return bless { %args, waiting => [], bytes => 0 }, $class;
}

sub Begin {
    my ( $self, $rows ) = @_;
    $self->{rows} = $rows;
    return;
}

sub IsDue {
    my ($self) = @_;
    my $rows = @{ $self->{waiting} } or return 0;
    return $rows >= MOST_ROWS || $self->{bytes} >= $self->MOST_BYTES || time - $self->{since} >= MOST_SECONDS;
}

# Another row, of which so many bytes count
sub _Keep {
    my ( $self, $row, $bytes ) = @_;
    $self->{since} //= time;
    $self->{bytes} += $bytes;
    push @{ $self->{waiting} }, $row;
    return;
}

# All that were kept
sub _Take {
    my ($self) = @_;
    my @rows = @{ $self->{waiting} } or return;
    @{$self}{qw(waiting bytes since)} = ( [], 0, undef );
    return @rows;
}

# Writes rows, all or none. Returns why that was not done, while the database is there.
sub _Transaction {
    my ( $self, @rows ) = @_;
    delete @{$_}{qw(changed gone kept problem)} for @rows;
    return undef if eval {
        $self->{database}->Transaction(
            sub {
                my ($dbh) = @_;
                $self->_Write( $dbh, $_ ) for @rows;
            }
        );
        1;
    };
    my $error = $@;
    die $error if !RT::ExternalStorage::AmazonS3::Tool::IsStopped($error) || !_IsThere();
    return $error->{text};
}

# MariaDB ends a connection over which more comes than it takes
sub _IsThere {
    local $@;
    return eval {
        $RT::Handle->Connect if !$RT::Handle->dbh->ping;
        $RT::Handle->dbh->ping;
    };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Batch - rows that wait for a transaction together

=head1 DESCRIPTION

A class below this one says C<MOST_BYTES>, and has C<Add> and C<Commit>, which call C<_Keep>, C<_Take> and C<_Transaction>, and
C<_Write>, which writes one row.

=head1 METHODS

=over

=item new NAME => VALUE, ...

=item Begin ROWS

The rows that follow are of these.

=item IsDue

Whether it is time for the transaction.

=back

=cut
