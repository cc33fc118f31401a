package RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows;

use strict;
use warnings;

use POSIX ();

use RT::ExternalStorage::AmazonS3::Tool::Encoding;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Spool;

use constant STAYS => 'RT::ExternalStorage::AmazonS3::Tool::Attachment';

# Ids read at once; rows looked at without their content at once; bytes above which a content is not copied
use constant { PAGE => 1000, AHEAD => 100, LARGE => 4 * 1024 * 1024 };

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { %args, page => [], left => $args{batchsize} // -1, seen => {} }, $class;
    my $item = $self->{place}{class}->new( RT->SystemUser )->NewItem;
    $self->{item}     = ref $item;
    $self->{type}     = RT->Config->Get('DatabaseType');
    $self->{bytes}    = $self->{database}->BytesOf( $self->Column );
    $self->{columns}  = join ', ', grep { lc ne lc $self->Column } sort keys %{ $item->_ClassAccessible };
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

        # RT keeps the transaction of each attachment for 100 minutes, 3 kB
        DBIx::SearchBuilder::Record::Cachable->FlushCache;
        shift @{ $self->{portions} } if @{$rows} < PAGE;
    }
    my $id = shift @{ $self->{page} } or return;
    $self->{after} = $id;
    $self->{left}--;
    $self->{seen}{$id} = 1 if $self->{ids};
    return $id;
}

# Ids that were asked for, and were not among the rows: { id, why } or { id, problem } of each, as Read has it
sub Others {
    my ($self) = @_;
    return if $self->{left} == 0;
    my @others;
    for my $portion ( $self->{ids} ? $self->_Portions : () ) {
        my @ids = grep { !$self->{seen}{$_} } @{$portion} or next;
        my $query =
            'SELECT id, ContentEncoding FROM ' . $self->Table . ' WHERE id IN (' . join( ', ', ('?') x @ids ) . ')';
        my %encoding = map { @{$_} } @{ $self->{database}->Select( $query, @ids ) };
        push @others, map {
            {
                id => $_,
                exists $encoding{$_}
                ? ( why => $self->_WhyNot( $encoding{$_} ) )
                : ( problem => 'there is no such row' )
            }
        } @ids;
    }
    return @others;
}

# Why a row with that encoding is not among the rows
sub _WhyNot {
    my ( undef, $encoding ) = @_;
    return
          !defined $encoding      ? 'it has no content'
        : $encoding eq 'external' ? 'it is external already'
        :                           'it was not created at that time';
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
# stays, { id, problem } where it can't be moved. A large one has a "spool"; $room is called with its length before it
# is read, and may have nothing read: { id, unread }.
sub Read {
    my ( $self, $id, $room ) = @_;
    my $stays = $self->_Stays($id);
    return { id => $id, why => $stays } if defined $stays;
    my $hint = $self->_Hint($id);
    return { id => $id, unread => 1 } if $hint > LARGE && !$room->($hint);
    my $row = $self->_Whole($id) or return { id => $id, why => 'it is gone' };
    my ( $spool, $raw, $content, $problem );
    if ( ( $row->{rts3_length} // 0 ) > LARGE ) {
        return { id => $id, unread => 1 } if !$room->( $row->{rts3_length} );
        ( $row, $spool, $problem ) = $self->_Spooled( $id, $room );
        return { id => $id, unread  => 1 }            if !$room->(0);
        return { id => $id, why     => 'it is gone' } if !$row;
        return { id => $id, problem => $problem }     if defined $problem;
        ( $content, $problem ) = $spool->Content;
        return { id => $id, problem => $problem } if !$content;
    }
    my %facts  = map { $_ => $row->{$_} } qw(contentencoding contenttype);
    my $length = delete $row->{rts3_length};
    my $object = $self->_Object( $row, $content );
    undef $row;

    # RT would write down the length of one that has none in its header
    no warnings 'redefine';
    local *RT::Attachment::SetHeader = $self->{dry_run} ? sub {1} : \&RT::Attachment::SetHeader;
    my ( $ok, $why ) = $object->ShouldStoreExternally;
    return { id => $id, why => $why // 'RT keeps it' } if !$ok;
    if ( !$spool ) {
        $raw = $object->__Value( $self->Column, decode_utf8 => 0 );
        return { id => $id, problem => 'it has no content, but a length in its header' } if !defined $raw;
        ( $content, $problem ) =
            RT::ExternalStorage::AmazonS3::Tool::Encoding::Decoded( $facts{contentencoding}, \$raw );
        return { id => $id, problem => $problem } if !$content;
    }
    ( my $type = $object->ContentType // '' ) =~ s/\0/\x{fffd}/g;    # as Store has it
    return {
        id        => $id,
        content   => $content,
        spool     => $spool,
        stored_as => $type,
        encoding  => $facts{contentencoding},
        type      => $facts{contenttype},
        length    => $length,
    };
}

# Why an attachment stays where it is, where RT says so without its content. Most do, so many are asked about at once.
sub _Stays {
    my ( $self, $id ) = @_;
    return undef               if $self->{place}{class} ne 'RT::Attachments';
    return $self->{stays}{$id} if exists $self->{stays}{$id};
    require RT::ExternalStorage::AmazonS3::Tool::Attachment;
    my ( $page, @ids ) = ( $self->{page}, $id );
    push @ids, @{$page}[ 0 .. ( @{$page} < AHEAD ? $#{$page} : AHEAD - 1 ) ];
    $self->{stays} = { map { $_ => undef } @ids };
    my @columns = map {lc} split /, /, $self->{columns};
    my $query = "SELECT $self->{columns} FROM " . $self->Table . ' WHERE id IN (' . join( ', ', ('?') x @ids ) . ')';

    for my $values ( @{ $self->{database}->Select( $query, @ids ) } ) {
        my %row;
        @row{@columns} = @{$values};
        my ($length) = ( $row{headers} // '' ) =~ /(?:\A|\n)Content-Length:\s+(\d*)/i or next;
        my $why = STAYS->new( RT->SystemUser )->Why( \%row, $length || 0 );
        $self->{stays}{ $row{id} } = $why if defined $why;
    }
    return $self->{stays}{$id};
}

# A row as RT's object. RT asks it for its content's length only: of a large one, which was read already, that is known.
sub _Object {
    my ( $self, $row, $content ) = @_;
    my $class  = $self->{place}{class};
    my $object = $self->{item}->new( RT->SystemUser );
    if ( $content && $class ne 'RT::Attachments' ) {
        my $enough = RT->Config->Get('ExternalStorageCutoffSize') + 1;
        $enough = length $$content if length $$content < $enough;
        @{$row}{ lc $self->Column, 'contentencoding' } = ( "\0" x $enough, 'none' );
    }

    # Not by way of the cache of records, where it would stay for a while
    $object->DBIx::SearchBuilder::Record::LoadFromHash($row);
    return $object if $class ne 'RT::Attachments' || defined $object->GetHeader('Content-Length');

    # RT would count, and write it down
    if ($content) {
        if ( $self->{dry_run} ) { $row->{headers} .= 'Content-Length: ' . length($$content) . "\n" }
        else                    { $object->SetHeader( 'Content-Length' => length $$content ) }
    }
    return $object;
}

# SQLite has to read a content even for its length; what its header says is known before
sub _Hint {
    my ( $self, $id ) = @_;
    return 0 if $self->{type} ne 'SQLite' || $self->{place}{class} ne 'RT::Attachments';
    my $row = $self->{database}->Row( 'SELECT Headers FROM ' . $self->Table . ' WHERE id = ?', $id );
    my ($length) = ( $row->{headers} // '' ) =~ /^Content-Length:\s*(\d{1,15})\s*$/mi;
    return $length // 0;
}

# A row with its content, if that is not large
sub _Whole {
    my ( $self, $id ) = @_;
    my $column = $self->Column;
    my $large  = LARGE;
    my $value  = "CASE WHEN $self->{bytes} <= $large THEN $column END AS $column";

    # It would have a large one in memory twice
    if ( $self->{type} eq 'SQLite' ) {
        my $facts = $self->Look( $id, 'id' ) or return;
        $value = $column;
        $value = "NULL AS $column" if ( $facts->{rts3_length} // 0 ) > LARGE;
    }
    return $self->Look( $id, "$self->{columns}, $value" );
}

# A row without its content, and that in a spool, both of one moment
sub _Spooled {
    my ( $self, $id, $room ) = @_;
    my ( $row, $spool, $problem );
    $self->{database}->Snapshot(
        sub {
            my ($dbh) = @_;
            $row   = $self->Look( $id, $self->{columns} ) or return;
            $spool = RT::ExternalStorage::AmazonS3::Tool::Externalize::Spool->new(
                table    => $self->Table,
                column   => $self->Column,
                type     => $self->{type},
                id       => $id,
                encoding => $row->{contentencoding},
                length   => $row->{rts3_length},
                room     => $room,
            );
            $problem = $spool->Fill($dbh);
        }
    );
    return ( $row, $spool, $problem );
}

# A row as it is now
sub Look {
    my ( $self, $id, $columns, $lock ) = @_;
    my $query = "SELECT $columns, $self->{bytes} AS rts3_length FROM " . $self->Table . ' WHERE id = ?';
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

=item Count, NextId, Others

How many there are, at most; the next one; those asked for that are not among them, and why.

=item Read ID, ROOM

The row, with its content decoded, or why it is not to be moved. ROOM is called with the bytes of a large content before
that is read, and says whether to go on.

=item Look ID, COLUMNS, [LOCK]

The row as it is now, its content's length as C<rts3_length>.

=item Table, Column

=back

=cut
