package RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows;

use strict;
use warnings;

use MIME::Base64      ();
use MIME::QuotedPrint ();
use POSIX             ();

# Ids read at once
use constant PAGE => 1000;

my %COLUMN = ( 'RT::Attachments' => 'Content', 'RT::ObjectCustomFieldValues' => 'LargeContent' );

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { %args, page => [], left => $args{batchsize} // -1, seen => {} }, $class;
    $self->{after}  = 0 if $args{ids} || !$self->{after};
    $self->{table}  = $args{class} =~ s/\ART:://r;
    $self->{column} = $COLUMN{ $args{class} };
    return $self;
}

sub Table  { return $_[0]{table} }
sub Column { return $_[0]{column} }

sub Count {
    my ($self) = @_;
    my ( $where, @values ) = $self->_Where;
    my ($count) = _Dbh()->selectrow_array( "SELECT COUNT(*) FROM $self->{table} WHERE $where", undef, @values );
    my $most = $self->{batchsize};
    return defined $most && $most < $count ? $most : $count;
}

# The next one, or nothing
sub NextId {
    my ($self) = @_;
    return if $self->{left} == 0;
    if ( !@{ $self->{page} } && !$self->{ended} ) {
        my ( $where, @values ) = $self->_Where;
        my $rows = _Dbh()->selectcol_arrayref( "SELECT id FROM $self->{table} WHERE $where ORDER BY id",
            { MaxRows => PAGE }, @values );
        $self->{page}  = $rows;
        $self->{ended} = 1 if @{$rows} < PAGE;
    }
    my $id = shift @{ $self->{page} } or return;
    $self->{after} = $id;
    $self->{left}--;
    $self->{seen}{$id} = 1 if $self->{ids};
    return $id;
}

# Ids that were asked for, and were not found
sub Unknown {
    my ($self) = @_;
    return if $self->{left} == 0;
    return grep { !$self->{seen}{$_} } @{ $self->{ids} || [] };
}

sub _Where {
    my ($self) = @_;
    my @where  = ( 'id > ?', q{ContentEncoding <> 'external'} );
    my @values = ( $self->{after} );
    if ( defined $self->{age} && $self->{age} ) {
        push @where,  'Created < ?';
        push @values, POSIX::strftime( '%Y-%m-%d', localtime( time - $self->{age} * 86_400 ) );
    }
    if ( defined $self->{since} ) {
        push @where,  'Created >= ?';
        push @values, $self->{since};
    }
    if ( $self->{ids} ) {
        my @ids = grep { $_ > $self->{after} } @{ $self->{ids} };
        @ids = ( splice( @ids, 0, PAGE ), 0 );
        push @where,  'id IN (' . join( ', ', ('?') x @ids ) . ')';
        push @values, @ids;
    }
    return ( join( ' AND ', @where ), @values );
}

# What there is to be moved: { id, content, stored_as, encoding, type, length }, or why it is not: { id, why } where it
# stays, { id, problem } where it can't be moved
sub Read {
    my ( $self, $id ) = @_;
    my $row    = $self->Look( $id, '*' ) or return { id => $id, why => 'it is gone' };
    my $object = $self->{class}->new( RT->SystemUser )->NewItem;
    my %facts  = map { $_ => $row->{$_} } qw(contentencoding contenttype rts3_length);
    $object->LoadFromHash( { map { $_ => $row->{$_} } grep { $_ ne 'rts3_length' } keys %{$row} } );
    undef $row;

    my ( $ok, $why ) = $object->ShouldStoreExternally;
    return { id => $id, why => $why // 'RT keeps it' } if !$ok;
    my $raw = $object->__Value( $self->{column}, decode_utf8 => 0 );
    my ( $content, $problem ) = Decoded( $facts{contentencoding}, \$raw );
    return { id => $id, problem => $problem } if !$content;
    ( my $type = $object->ContentType // '' ) =~ s/\0/\x{fffd}/g;    # as Store has it
    return {
        id        => $id,
        content   => $content,
        stored_as => $type,
        encoding  => $facts{contentencoding},
        type      => $facts{contenttype},
        length    => $facts{rts3_length},
    };
}

# A row as it is now
sub Look {
    my ( $self, $id, $columns, $lock ) = @_;
    my $sql = "SELECT $columns, LENGTH($self->{column}) AS rts3_length FROM $self->{table} WHERE id = ?";
    $sql =~ s/\*, /$self->{table}.*, /;
    $sql .= ' FOR UPDATE' if $lock && RT->Config->Get('DatabaseType') ne 'SQLite';
    my $statement = _Dbh()->prepare_cached($sql);
    $statement->execute($id);
    my $row = $statement->fetchrow_hashref('NAME_lc');
    $statement->finish;
    return $row;
}

# The bytes of a content as RT reads it, as a reference, or (undef, $why). RT itself would make something of what is no
# base64, and the rest of it would be lost.
sub Decoded {
    my ( $encoding, $raw ) = @_;
    $encoding = lc( $encoding // '' ) || 'none';
    return $raw if $encoding eq 'none';
    if ( $encoding eq 'base64' ) {
        my $text = $$raw =~ s/\s+//gr;
        return ( undef, 'it is said to be base64, and is not' )
            if length($text) % 4 || $text !~ m{\A[A-Za-z0-9+/]*={0,2}\z};
        return \MIME::Base64::decode_base64($text);
    }
    if ( $encoding eq 'quoted-printable' ) {
        return ( undef, 'it is said to be quoted-printable, and is not' )
            if $$raw =~ /=(?!(?:[0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\z))/;
        return \MIME::QuotedPrint::decode($$raw);
    }
    return ( undef, "RT does not know its ContentEncoding, '$encoding'" );
}

# A query that fails must not look like one that finds nothing
sub _Dbh {
    my $dbh = $RT::Handle->dbh;
    $dbh->{RaiseError} = 1;
    $dbh->{PrintError} = 0;
    return $dbh;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows - what there is to be moved

=head1 DESCRIPTION

The rows of one class that RT's own F<rt-externalize-attachments> would look at, one at a time: of a row that is not
looked at yet only the id is in memory.

=head1 METHODS

=over

=item new class => CLASS, after => ID, [age =>, batchsize =>, ids =>, since =>]

=item Count, NextId, Unknown

How many there are, at most; the next one; those asked for that are not there.

=item Read ID

The row, with its content decoded, or why it is not to be moved.

=item Look ID, COLUMNS, [LOCK]

The row as it is now, its content's length as C<rts3_length>.

=item Table, Column

=back

=head1 FUNCTIONS

=head2 Decoded ENCODING, REFERENCE

=cut
