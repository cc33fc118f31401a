package RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows;

use strict;
use warnings;

use POSIX ();

use RT::ExternalStorage::AmazonS3::Tool::Encoding;

# Ids read at once
use constant PAGE => 1000;

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { %args, page => [], left => $args{batchsize} // -1, seen => {} }, $class;
    $self->{portions} = [ $self->_Portions ];
    $self->{after}    = 0 if $args{ids} || !$self->{after};
    return $self;
}

sub Table  { return $_[0]{place}{table} }
sub Column { return $_[0]{place}{column} }

sub Count {
    my ($self) = @_;
    my $count = 0;
    for my $portion ( $self->_Portions ) {
        my ( $where, @values ) = $self->_Where($portion);
        $count
            += $self->{database}->Select( 'SELECT COUNT(*) FROM ' . $self->Table . " WHERE $where", @values )->[0][0];
    }
    my $most = $self->{batchsize};
    return defined $most && $most < $count ? $most : $count;
}

# The next one, or nothing
sub NextId {
    my ($self) = @_;
    return if $self->{left} == 0;
    while ( !@{ $self->{page} } && @{ $self->{portions} } ) {
        my ( $where, @values ) = $self->_Where( $self->{portions}[0] );
        my $query = 'SELECT id FROM ' . $self->Table . " WHERE $where ORDER BY id";
        $RT::Handle->ApplyLimits( \$query, PAGE );
        my $rows = $self->{database}->Select( $query, @values );
        $self->{page} = [ map { $_->[0] } @{$rows} ];
        shift @{ $self->{portions} } if @{$rows} < PAGE;
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

# No more ids in one query than every database takes: all there are, or those asked for, in order
sub _Portions {
    my ($self) = @_;
    my @ids = @{ $self->{ids} || [] } or return undef;
    my @portions;
    while ( my @portion = splice @ids, 0, PAGE ) { push @portions, \@portion }
    return @portions;
}

sub _Where {
    my ( $self, $ids ) = @_;
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
    if ($ids) {
        push @where,  'id IN (' . join( ', ', ('?') x @{$ids} ) . ')';
        push @values, @{$ids};
    }
    return ( join( ' AND ', @where ), @values );
}

# What there is to be moved: { id, content, stored_as, encoding, type, length }, or why it is not: { id, why } where it
# stays, { id, problem } where it can't be moved
sub Read {
    my ( $self, $id ) = @_;
    my $row    = $self->Look( $id, '*' ) or return { id => $id, why => 'it is gone' };
    my $object = $self->{place}{class}->new( RT->SystemUser )->NewItem;
    my %facts  = map { $_ => $row->{$_} } qw(contentencoding contenttype rts3_length);
    $object->LoadFromHash( { map { $_ => $row->{$_} } grep { $_ ne 'rts3_length' } keys %{$row} } );
    undef $row;

    my ( $ok, $why ) = $object->ShouldStoreExternally;
    return { id => $id, why => $why // 'RT keeps it' } if !$ok;
    my $raw = $object->__Value( $self->Column, decode_utf8 => 0 );
    my ( $content, $problem ) =
        RT::ExternalStorage::AmazonS3::Tool::Encoding::Decoded( $facts{contentencoding}, \$raw );
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
    my ( $table, $column ) = ( $self->Table, $self->Column );
    my $query = "SELECT $columns, LENGTH($column) AS rts3_length FROM $table WHERE id = ?";
    $query =~ s/\*, /$table.*, /;
    $query .= $self->{database}->ForUpdate if $lock;
    return $self->{database}->Row( $query, $id );
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

=item new database => DATABASE, place => PLACE, after => ID, [age =>, batchsize =>, ids =>, since =>]

=item Count, NextId, Unknown

How many there are, at most; the next one; those asked for that are not there.

=item Read ID

The row, with its content decoded, or why it is not to be moved.

=item Look ID, COLUMNS, [LOCK]

The row as it is now, its content's length as C<rts3_length>.

=item Table, Column

=back

=cut
