package RT::ExternalStorage::AmazonS3::Tool::Externalize::Commit;

use strict;
use warnings;

use parent 'RT::ExternalStorage::AmazonS3::Tool::Batch';

use RT::ExternalStorage::AmazonS3::Tool::Encoding;

use constant {

    # Where so many bytes would have to be kept, a transaction is over
    MOST_BYTES => 16 * 1024 * 1024,

    # Milliseconds for the server to say whether an object is there
    PATIENCE => 30_000,

    # So many rows in a row that the database does not take: it is not the row
    REFUSED => 3,
};

# A row whose object is in the bucket
sub Add {
    my ( $self, $row ) = @_;
    return $self->_Keep( $row, $row->{spool} ? MOST_BYTES : $row->{existed} ? $row->{bytes} : 0 );
}

# Points the rows to their objects. Returns them: "changed" if it was not what it was read as, and stays as it is, "gone"
# if there is none; "problem" if it could not be done. Where one is locked, say, each is done by itself.
sub Commit {
    my ($self) = @_;
    my @rows = $self->_Take or return;
    @rows = $self->_OneByOne(@rows) if defined $self->_Transaction(@rows);
    my $silent;
    for my $row ( grep { $_->{kept} } @rows ) {
        $silent = $self->_LookAgain( $row, $silent );
    }
    return @rows;
}

# Why the database takes no rows any more, or undef
sub Refused { return $_[0]{refused} }

# Returns those that it came to
sub _OneByOne {
    my ( $self,     @rows ) = @_;
    my ( $in_a_row, @done ) = (0);
    for my $row (@rows) {
        push @done, $row;
        $row->{problem} = $self->_Transaction($row);
        $in_a_row = defined $row->{problem} ? $in_a_row + 1 : 0;
        next if $in_a_row < REFUSED;
        $self->{refused} = $row->{problem};
        last;
    }
    delete $_->{kept} for grep { defined $_->{problem} } @done;
    return @done;
}

sub _Write {
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
    elsif ( $row->{existed} ) { $row->{kept} = $row->{spool} }
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
# unused, so what is there now stays. $silent: the server was asked for another one, and did not answer; it is not asked
# for each. Returns that.
sub _LookAgain {
    my ( $self, $row, $silent ) = @_;
    my $kept = delete $row->{kept};
    if ( !$silent ) {
        my ( $found, $error ) = $self->{native}->head( $row->{key}, deadline => PATIENCE );
        return if $found;

        # Without the right to list the bucket, one that is not there is denied
        if ( $error->name =~ /\A(?:not-found|denied)\z/ ) {
            my $again = $self->_StoreAgain( $row, $kept ) // return;
            $self->_PutBack( $row, $kept, "its object went away again: $again" );
            return;
        }
        $silent = $error;
    }
    $self->_PutBack( $row, $kept, "its object could not be looked for once more: $silent" );
    return $silent;
}

# Returns why it could not be stored, or undef
sub _StoreAgain {
    my ( $self, $row, $kept ) = @_;
    my ($content) =
        ref $kept
        ? $kept->Content
        : RT::ExternalStorage::AmazonS3::Tool::Encoding::Decoded( $row->{encoding}, \$kept );
    my ( $stored, $error ) = $self->{native}->store( $row->{key}, $$content, content_type => $row->{stored_as} );
    return $stored ? undef : $error;
}

sub _PutBack {
    my ( $self, $row, $kept, $why ) = @_;
    my ( $table, $column ) = ( $self->{rows}->Table, $self->{rows}->Column );
    my $raw = ref $kept ? $kept->Raw : $kept;
    my $sql = "UPDATE $table SET $column = ?, ContentEncoding = ? WHERE id = ? AND ContentEncoding = 'external'";
    $self->{database}->Transaction( sub { $_[0]->do( $sql, undef, $raw, $row->{encoding}, $row->{id} ) } );
    $row->{problem} = $why;
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

=item Add ROW, IsDue, Commit, Refused

=back

=cut
