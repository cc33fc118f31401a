package RT::ExternalStorage::AmazonS3::Tool::Internalize::Commit;

use strict;
use warnings;

use parent 'RT::ExternalStorage::AmazonS3::Tool::Batch';

use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Tool::Encoding;

# After so many bytes a transaction is over
use constant MOST_BYTES => 64 * 1024 * 1024;

# A larger one is written alone
use constant LARGE => 8 * 1024 * 1024;

# What stands in a statement beside the content, at most
use constant BESIDE => 1024;

# A row whose content is here
sub Add {
    my ( $self, $row, $content ) = @_;
    my $bytes = length $$content;
    return $self->_Keep( { %{$row}, content => $content, bytes => $bytes }, $bytes );
}

# Writes the contents into their rows. Returns these: "changed" if it no longer refers to that object, and stays as it is,
# "gone" if there is none; "problem" if the database does not take it.
sub Commit {
    my ($self)   = @_;
    my @rows     = $self->_Take or return;
    my @together = grep { $_->{bytes} <= LARGE } @rows;
    my @alone    = grep { $_->{bytes} > LARGE } @rows;
    push @alone, @together if @together == 1 || @together && defined $self->_Transaction(@together);
    for my $row (@alone) {
        $row->{last} = 1;
        my $why = $self->_Transaction($row);
        $row->{problem} = $why if defined $why;
        delete $row->{content};
    }
    delete $_->{content} for @rows;
    return @rows;
}

sub _Write {
    my ( $self, $dbh, $row ) = @_;
    my $rows = $self->{rows};
    my ( $table, $column ) = ( $rows->Table, $rows->Column );
    my $now = $rows->Look( $row->{id}, "ContentEncoding, ContentType, $column", 1 );
    if (   !$now
        || ( $now->{contentencoding} // '' ) ne 'external'
        || ( $now->{ lc $column } // '' ) ne $row->{digest} )
    {
        $row->{ $now ? 'changed' : 'gone' } = 1;
        return;
    }
    my ( $encoding, $raw ) =
        RT::ExternalStorage::AmazonS3::Tool::Encoding::Encoded( $row->{content}, $now->{contenttype} );
    $row->{problem} = $self->_TooLarge( $dbh, $raw ) and return;
    undef ${ $row->{content} } if $row->{last};    # it is not tried again
    my $statement = $dbh->prepare(
        "UPDATE $table SET $column = ?, ContentEncoding = ? WHERE id = ? AND ContentEncoding = 'external'");

    # As RT binds it
    $statement->bind_param( 1, undef, $RT::Handle->BLOBParams( $column, 'longblob' ) ) if !$RT::Handle->KnowsBLOBs;
    my $changed = $statement->execute( $$raw, $encoding, $row->{id} );
    die "row $row->{id} of $table was not changed\n" if $changed != 1;
    undef $raw;
    undef $statement;

    # The object may be deleted one day, so what counts is what can be read here
    my $digest = _DigestOf( $dbh, "SELECT ContentEncoding, $column FROM $table WHERE id = ?", $row->{id} );
    die "what the database makes of row $row->{id} of $table is not what it was given\n"
        if ( $digest // '' ) ne $row->{digest};
    return;
}

# Of what stands there, without a copy of it
sub _DigestOf {
    my ( $dbh, $query, $id ) = @_;
    my $statement = $dbh->prepare($query);
    $statement->execute($id);
    $statement->bind_columns( \my ( $encoding, $raw ) );
    $statement->fetch;
    my ($content) = RT::ExternalStorage::AmazonS3::Tool::Encoding::Decoded( $encoding, \$raw );
    return $content && RT::ExternalStorage::AmazonS3::Native->sha256($$content);
}

# Why it is too much for one statement, with what has to be quoted in it
sub _TooLarge {
    my ( $self, $dbh, $raw ) = @_;
    return if RT->Config->Get('DatabaseType') !~ /\A(?:mysql|mariadb)\z/i;
    $self->{packet} //= $dbh->selectrow_array('SELECT @@max_allowed_packet');
    my $size = length($$raw) + ( $$raw =~ tr/\0\n\r\\'"\x1a// ) + BESIDE;
    return if $size <= $self->{packet};
    return "the database takes $self->{packet} bytes at once (max_allowed_packet), and this needs $size";
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Internalize::Commit - write contents into their rows

=head1 DESCRIPTION

Many rows in one transaction, each only if it still refers to that object. Before the transaction is over each is read
again and compared with its digest. What the database does not take does not keep the others back.

=head1 METHODS

=over

=item new database => DATABASE

=item Begin ROWS

The rows that follow are of these, an L<RT::ExternalStorage::AmazonS3::Tool::Internalize::Rows>.

=item Add ROW, CONTENT; IsDue; Commit

=back

=cut
