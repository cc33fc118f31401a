package RT::ExternalStorage::AmazonS3::Page::Rows;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Tool::Database;

# Ids that are looked at to say what waits, and to find a few digests; attachments of a ticket that are listed
use constant { AHEAD => 10_000, BEHIND => 1_000, LISTED => 100 };

# RT's own script keeps its high-water mark there
use constant MARK => 'ExternalStorage';

sub new {
    my ( $class, $tool ) = @_;
    return bless { database => RT::ExternalStorage::AmazonS3::Tool::Database->new($tool) }, $class;
}

# Up to which id all was looked at, by class, and when that was changed last
sub Mark {
    my ($self) = @_;
    return @{ $self->{mark} } if $self->{mark};
    my $attribute = RT->System->FirstAttribute(MARK);
    my $content   = $attribute ? $attribute->Content              : undef;
    my $moved     = $attribute ? $attribute->LastUpdatedObj->Unix : 0;
    $self->{mark} = [ ref $content eq 'HASH' ? $content : {}, $moved ];
    return @{ $self->{mark} };
}

# What the next run of an externalizer looks at: { count, since, more }. Of the ids above the mark so many, whatever the
# table's size.
sub Waiting {
    my ($self)  = @_;
    my ($mark)  = $self->Mark;
    my %waiting = ( count => 0, since => undef, more => 0 );
    for my $place ( $self->{database}->Places ) {
        my ( $table, $column ) = @{$place}{qw(table column)};
        my $after = $mark->{ $place->{class} } || 0;
        my $upto  = $after + AHEAD;
        my $where = "id > $after AND id <= $upto AND $column IS NOT NULL AND ContentEncoding <> 'external'";
        my ( $count, $first ) = @{ $self->_Select("SELECT COUNT(*), MIN(id) FROM $table WHERE $where")->[0] };
        my ($last) = @{ $self->_Select("SELECT MAX(id) FROM $table")->[0] };
        $waiting{count} += $count;
        $waiting{more} = 1 if ( $last // 0 ) > $upto;
        next               if !$count;
        my $created = RT::Date->new( RT->SystemUser );
        $created->Set(
            Format => 'sql',
            Value  => $self->_Select("SELECT Created FROM $table WHERE id = $first")->[0][0]
        );
        my $since = $created->Unix;
        $waiting{since} = $since if $since && ( !$waiting{since} || $since < $waiting{since} );
    }
    return \%waiting;
}

# A few digests below the mark, the newest first: where externalizers have been, there they are
sub Samples {
    my ( $self, $most ) = @_;
    my ($mark) = $self->Mark;
    my @digests;
    for my $place ( $self->{database}->Places ) {
        my ( $table, $column ) = @{$place}{qw(table column)};
        my $upto  = $mark->{ $place->{class} } || $self->_Select("SELECT MAX(id) FROM $table")->[0][0] || next;
        my $after = $upto - BEHIND;
        my $rows  = $self->_Select(
            "SELECT id, $column FROM $table WHERE id > $after AND id <= $upto AND ContentEncoding = 'external' ORDER BY id DESC"
        );
        push @digests, grep {/\A[0-9a-f]{64}\z/} map { ( $_->[1] // '' ) =~ s/\s+\z//r } @{$rows};
        last if @digests >= $most;
    }
    my %seen;
    @digests  = grep { !$seen{$_}++ } @digests;
    $#digests = $most - 1 if @digests > $most;
    return @digests;
}

# What RT knows of one attachment (sign A) or custom field value (V), without its content; undef where there is none
sub Facts {
    my ( $self, $sign, $id ) = @_;
    my $query =
        $sign eq 'A'
        ? 'SELECT a.id, a.TransactionId AS transaction_id, a.Filename AS file_name, a.ContentType AS type, '
        . 'a.ContentEncoding AS encoding, a.Created AS created, '
        . $self->{database}->BytesOf('a.Content')
        . ' AS bytes_kept, t.ObjectType AS object_type, '
        . 't.ObjectId AS object_id FROM Attachments a LEFT JOIN Transactions t ON t.id = a.TransactionId WHERE a.id = ?'
        : 'SELECT v.id, v.Content AS file_name, v.ContentType AS type, v.ContentEncoding AS encoding, v.Created AS created, '
        . $self->{database}->BytesOf('v.LargeContent')
        . ' AS bytes_kept, v.ObjectType AS object_type, v.ObjectId AS object_id, f.Name AS field '
        . 'FROM ObjectCustomFieldValues v LEFT JOIN CustomFields f ON f.id = v.CustomField WHERE v.id = ?';
    my $row   = $self->{database}->Row( $query, $id ) or return undef;
    my %facts = ( %{$row}, sign => $sign );
    utf8::decode( $facts{$_} ) for grep { defined $facts{$_} && !utf8::is_utf8( $facts{$_} ) } keys %facts;
    $facts{external} = ( $facts{encoding}    // '' ) eq 'external'   ? 1                 : 0;
    $facts{ticket}   = ( $facts{object_type} // '' ) eq 'RT::Ticket' ? $facts{object_id} : undef;
    return \%facts;
}

sub Digest {
    my ( $self, $sign, $id ) = @_;
    my ( $table, $column ) = @{ $self->{database}->Place($sign) }{qw(table column)};
    my $row = $self->_Select( "SELECT $column FROM $table WHERE id = ? AND ContentEncoding = 'external'", $id )->[0];
    return $row ? ( $row->[0] // '' ) =~ s/\s+\z//r : undef;
}

# All that a ticket has content of, with those that were merged into it, as Facts; and how much more there is. RT has no
# index for the values of a ticket alone.
sub OfTicket {
    my ( $self, $ticket ) = @_;
    my @found = (
        (
            map { [ A => $_->[0] ] } @{
                $self->_Select(
                          'SELECT a.id FROM Attachments a JOIN Transactions t ON t.id = a.TransactionId '
                        . q{WHERE t.ObjectType = 'RT::Ticket' AND a.Content IS NOT NULL }
                        . 'AND t.ObjectId IN (SELECT id FROM Tickets WHERE EffectiveId = ?) ORDER BY a.id', $ticket
                )
            }
        ),
        (
            map { [ V => $_->[0] ] } @{
                $self->_Select(
                    q{SELECT id FROM ObjectCustomFieldValues WHERE ObjectType = 'RT::Ticket' AND ObjectId = ? }
                        . q{AND CustomField IN (SELECT id FROM CustomFields WHERE Type IN ('Binary', 'Image')) }
                        . 'AND LargeContent IS NOT NULL ORDER BY id',
                    $ticket
                )
            }
        )
    );
    my $more = @found > LISTED ? @found - LISTED : 0;
    $#found = LISTED - 1 if $more;
    return ( [ grep { $_ && ( $_->{external} || $_->{bytes_kept} ) } map { $self->Facts( @{$_} ) } @found ], $more );
}

sub _Select {
    my ( $self, @query ) = @_;
    return $self->{database}->Select(@query);
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Rows - what the page about external storage asks RT's database

=head1 METHODS

=over

=item Mark

The high-water marks by class, and when they were changed last.

=item Waiting

What came in since: a hash with C<count>, C<since> and, where not all ids were looked at, C<more>.

=item Samples NUMBER

So many digests of what was moved lately, or fewer.

=item Facts SIGN, ID; Digest SIGN, ID; OfTicket ID

What RT knows of an attachment (A) or a custom field value (V); its key; all that a ticket has, and how many more there are.

=back

=cut
