package RT::ExternalStorage::AmazonS3::Database;

use strict;
use warnings;

# Where RT keeps the digests of external files. RT's own check for the second one looks into the wrong column.
my @PLACES = ( [ Attachments => 'Content' ], [ ObjectCustomFieldValues => 'LargeContent' ] );

# Digests asked for in one query: the columns have no index, so each query reads the whole table
use constant BATCH => 50;

# How many SomeExternal gives from either end
use constant FEW => 3;

# RT's collections can't be used here: with them a query that failed looks like one that found nothing

# Whether RT has any external row: 1, 0, or (undef, $why)
sub AnyExternal {
    my ($class) = @_;
    my ( $found, $why ) = (0);
    for my $place (@PLACES) {
        my $rows;
        ( $rows, $why ) = _Select("SELECT MAX(id) FROM $place->[0] WHERE ContentEncoding = 'external'");
        return ( undef, $why ) if !$rows;
        $found = 1             if defined $rows->[0][0];
    }
    return $found;
}

# The digests, of those given, that an external row still refers to, as a hash; or (undef, $why)
sub Referenced {
    my ( $class, @digests ) = @_;
    my %referenced;
    while ( my @batch = splice @digests, 0, BATCH ) {
        my $marks = join ', ', ('?') x @batch;
        for my $place (@PLACES) {
            my ( $table, $column ) = @$place;
            my $value = _IsSQLite() ? "CAST($column AS TEXT)" : $column;
            my ( $rows, $why ) =
                _Select( "SELECT $value FROM $table WHERE ContentEncoding = 'external' AND $value IN ($marks)",
                @batch );
            return ( undef, $why ) if !$rows;
            for my $row (@$rows) {
                my $digest = $row->[0] // '';
                $digest =~ s/\s+\z//;
                $referenced{ lc $digest } = 1;
            }
        }
    }
    return \%referenced;
}

# The digests of a few external attachments, the newest and the oldest; none where the database gives no answer
sub SomeExternal {
    my ($class) = @_;
    my @digests;
    for my $end ( [ 'MAX', '<' ], [ 'MIN', '>' ] ) {
        my ( $function, $beyond ) = @$end;
        my $where = q{ContentEncoding = 'external'};
        for ( 1 .. FEW ) {
            my ($found) = _Select("SELECT $function(id) FROM Attachments WHERE $where");
            my $id      = $found && $found->[0][0] or last;
            my ($rows)  = _Select("SELECT Content FROM Attachments WHERE id = $id");
            push @digests, map { $_->[0] } @{ $rows || [] };
            $where = "ContentEncoding = 'external' AND id $beyond $id";
        }
    }
    my %seen;
    return grep { !$seen{$_}++ } map { lc s/\s+\z//r } grep {defined} @digests;
}

# Whether a transaction is open: RT's, or one that someone began on the connection itself
sub InTransaction {
    my ($class) = @_;
    return 0 if !$RT::Handle;
    return 1 if eval { $RT::Handle->TransactionDepth };
    my $dbh = eval { $RT::Handle->dbh } or return 0;
    return $dbh->{AutoCommit} ? 0 : 1;
}

# There a text never equals a blob, whatever their bytes are
sub _IsSQLite { return ( RT->Config->Get('DatabaseType') // '' ) eq 'SQLite' }

sub _Select {
    my ( $query, @values ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    my $rows = eval {
        my $dbh = $RT::Handle && $RT::Handle->dbh or die "RT is not connected to its database\n";
        local $dbh->{RaiseError}  = 1;
        local $dbh->{PrintError}  = 0;
        local $dbh->{HandleError} = undef;
        $dbh->selectall_arrayref( $query, {}, @values ) // die 'no answer to a query: ' . $dbh->errstr . "\n";
    };
    return $rows if $rows;
    my $why = $@ || 'unknown error';
    $why =~ s/\s*\R\s*/ /g;
    return ( undef, $why );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Database - what RT's database says about external files

=head1 DESCRIPTION

Before a bucket is made, or a file deleted, RT's database is asked which external files it refers to. An answer that
could not be had is told apart from the answer "none".

=head1 CLASS METHODS

=head2 AnyExternal

1 where RT has an external row, 0 where it surely has none, C<(undef, $why)> where it could not be asked.

=head2 Referenced DIGEST, ...

A hash of those digests that an external row refers to, or C<(undef, $why)>.

=head2 SomeExternal

The digests of at most six external attachments.

=head2 InTransaction

Whether a database transaction is open.

=cut
