package RT::ExternalStorage::AmazonS3::Tool::Internalize::Rows;

use strict;
use warnings;

use parent 'RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows';

use constant DIGEST => qr/\A[0-9a-f]{64}\z/;

# How many there are, and how many bytes, as far as RT knows: { rows, bytes, unknown }. A header says the length of an
# attachment; that of a custom field's value stands nowhere.
sub Measure {
    my ( $self, $stops ) = @_;
    my %sum    = ( rows => 0, bytes => 0, unknown => 0 );
    my $length = $self->Table eq 'Attachments' ? 'Headers' : q{''};
    my $left   = $self->{batchsize};
    for my $portion ( $self->_Portions ) {
        my $after = 0;
        while ( !$stops->( $sum{rows} ) ) {
            local $self->{after} = $after;
            my ( $where, @values ) = $self->_Where($portion);
            my $query = "SELECT id, $length FROM " . $self->Table . " WHERE $where ORDER BY id";
            $RT::Handle->ApplyLimits( \$query, $self->PAGE );
            my $rows = $self->{database}->Select( $query, @values );
            for my $row ( @{$rows} ) {
                return \%sum if defined $left && $left-- <= 0;
                $sum{rows}++;
                my ($bytes) = ( $row->[1] // '' ) =~ /^Content-Length:[ \t]*(\d{1,15})[ \t]*\r?$/im;
                $sum{ defined $bytes ? 'bytes' : 'unknown' } += $bytes // 1;
            }
            last if @{$rows} < $self->PAGE;
            $after = $rows->[-1][0];
        }
    }
    return \%sum;
}

sub _Where {
    my ( $self, $ids ) = @_;
    my @ids = @{ $ids || [] };
    return (
        join( ' AND ',
            'id > ?',
            q{ContentEncoding = 'external'},
            @ids ? 'id IN (' . join( ', ', ('?') x @ids ) . ')' : () ),
        $self->{after},
        @ids
    );
}

# What an earlier run has moved is not wrong
sub _WhyNot { return 'it is not external' }

# What is to be fetched: { id, digest }, or why it is not: { id, why } where there is nothing to do any more, { id, problem }
# where it can't be
sub Read {
    my ( $self, $id ) = @_;
    my $row = $self->Look( $id, 'ContentEncoding, ' . $self->Column );
    return { id => $id, why => 'it is gone' }               if !$row;
    return { id => $id, why => 'it is no longer external' } if ( $row->{contentencoding} // '' ) ne 'external';
    my $digest = $row->{ lc $self->Column } // '';
    return { id => $id, digest  => $digest } if $digest =~ DIGEST;
    return { id => $id, problem => 'what stands there is no SHA-256 digest' };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Internalize::Rows - what there is to be moved back

=head1 DESCRIPTION

The external rows of one class, one at a time; for the rest an
L<RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows>.

=head1 METHODS

=over

=item Measure STOPS

A hash: C<rows>, C<bytes>, and C<unknown>, rows of which RT does not know how many bytes they are. STOPS is called now and
then with how many there are so far, and says whether to give up.

=item Others

Of the ids that were asked for those of rows that are not external, or not there, each as C<Read> has it.

=item Read ID

The row with its digest, or why it is not to be moved.

=back

=cut
