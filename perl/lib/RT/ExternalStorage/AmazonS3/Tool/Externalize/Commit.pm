package RT::ExternalStorage::AmazonS3::Tool::Externalize::Commit;

use strict;
use warnings;

use parent 'RT::ExternalStorage::AmazonS3::Tool::Batch';

use RT::ExternalStorage::AmazonS3::Tool::Encoding;

# Where so many bytes would have to be kept, a transaction is over
use constant MOST_BYTES => 16 * 1024 * 1024;

# A row whose object is in the bucket
sub Add {
    my ( $self, $row ) = @_;
    return $self->_Keep( $row, $row->{spool} ? MOST_BYTES : $row->{existed} ? $row->{bytes} : 0 );
}

# Points the rows to their objects. Returns them: "changed" if it was not what it was read as, and stays as it is, "gone"
# if there is none; "problem" if it could not be done.
sub Commit {
    my ($self) = @_;
    my @rows = $self->_Take or return;
    $self->{database}->Transaction(
        sub {
            my ($dbh) = @_;
            $self->_Point( $dbh, $_ ) for @rows;
        }
    );
    $self->_LookAgain($_) for grep { $_->{kept} } @rows;
    return @rows;
}

sub _Point {
    my ( $self, $dbh, $row ) = @_;
    my $rows = $self->{rows};
    my ( $table, $column ) = ( $rows->Table, $rows->Column );
    my $keep = $row->{existed} && !$row->{spool};
    my $now  = $rows->Look( $row->{id}, 'ContentEncoding, ContentType' . ( $keep ? ", $column" : '' ), 1 );
    if ( !$now || !_IsSame( $row, $now ) ) {
        $row->{ $now ? 'changed' : 'gone' } = 1;
        return;
    }
    my $changed = $dbh->prepare_cached("UPDATE $table SET $column = ?, ContentEncoding = 'external' WHERE id = ?")
        ->execute( $row->{key}, $row->{id} );
    die "row $row->{id} of $table was not changed\n" if $changed != 1;
    if    ($keep)             { $row->{kept} = $now->{ lc $column } }
    elsif ( $row->{existed} ) { $row->{kept} = delete $row->{spool} }
    return;
}

sub _IsSame {
    my ( $row, $now ) = @_;
    for my $pair ( [ encoding => 'contentencoding' ], [ type => 'contenttype' ], [ length => 'rts3_length' ] ) {
        return 0 if ( $row->{ $pair->[0] } // '' ) ne ( $now->{ $pair->[1] } // '' );
    }
    return 1;
}

# The object was there before. Whoever found it unused a moment ago may have deleted it since: from now on nobody finds it
# unused, so what is there now stays.
sub _LookAgain {
    my ( $self, $row ) = @_;
    my $kept   = delete $row->{kept};
    my $native = $self->{native};
    return if $native->head( $row->{key} );
    my ($content) =
        ref $kept
        ? $kept->Content
        : RT::ExternalStorage::AmazonS3::Tool::Encoding::Decoded( $row->{encoding}, \$kept );
    my ( $stored, $error ) = $native->store( $row->{key}, $$content, content_type => $row->{stored_as} );
    return if $stored;

    my ( $table, $column ) = ( $self->{rows}->Table, $self->{rows}->Column );
    undef $content;
    my $raw = ref $kept ? $kept->Raw : $kept;
    my $sql = "UPDATE $table SET $column = ?, ContentEncoding = ? WHERE id = ? AND ContentEncoding = 'external'";
    $self->{database}->Transaction( sub { $_[0]->do( $sql, undef, $raw, $row->{encoding}, $row->{id} ) } );
    $row->{problem} = "its object went away again: $error";
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Externalize::Commit - point rows to their objects

=head1 DESCRIPTION

Many rows in one transaction, each only if it is what it was when it was read: same encoding, type and length.

=head1 METHODS

=over

=item new database => DATABASE, native => HANDLE

=item Begin ROWS

The rows that follow are of these, an L<RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows>.

=item Add ROW, IsDue, Commit

=back

=cut
