package RT::ExternalStorage::AmazonS3::Tool::Verify::References;

use strict;
use warnings;

use JSON ();

use RT::ExternalStorage::AmazonS3::Tool::Database;
use RT::ExternalStorage::AmazonS3::Tool::Encoding;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Sort;

use constant SORT => 'RT::ExternalStorage::AmazonS3::Tool::Verify::Sort';

use constant EMPTY => 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

# Where a length stands
my %HINT = ( A => 'Headers', V => q{''} );

sub new {
    my ( $class, $tool ) = @_;
    my $database = RT::ExternalStorage::AmazonS3::Tool::Database->new($tool);
    return bless { database => $database, sort => SORT->new, rows => 0, contents => 0 }, $class;
}

sub Rows     { return $_[0]{rows} }
sub Contents { return $_[0]{contents} }

# Reads all references. $invalid is called with (place, id, what stands there) for what is no digest.
sub Read {
    my ( $self, $tick, $invalid ) = @_;
    for my $at ( $self->{database}->Places ) {
        my ( $place, $table, $column ) = @{$at}{qw(sign table column)};
        my $query =
            "SELECT id, $column, $HINT{$place} FROM $table WHERE id > ? AND id <= ? AND ContentEncoding = 'external'";
        $self->{database}->Ranges(
            $table,
            sub {
                for my $row ( @{ $self->{database}->Select( $query, @_ ) } ) {
                    my ( $id, $digest, $headers ) = @$row;
                    $self->{rows}++;
                    if ( ( $digest // '' ) !~ /\A[0-9a-f]{64}\z/ ) {
                        $invalid->( $place, $id, $digest // '' );
                        next;
                    }
                    my ($length) = ( $headers // '' ) =~ /^Content-Length:[ \t]*(\d{1,15})[ \t]*\r?$/im;
                    $self->{sort}->Add( join ' ', $digest, $place, $id, $length // '' );
                }
                $tick->();
            }
        );
    }
    return;
}

# The next digest with those that refer to it: { digest, count, references => [ [ place, id ], ... ], lengths => {} }
sub Next {
    my ( $self, $most ) = @_;
    my $line = $self->{line} // $self->{sort}->Next // return undef;
    my $group;
    while ( defined $line ) {
        my ( $digest, $place, $id, $length ) = split / /, $line;
        $group //= { digest => $digest, count => 0, references => [], lengths => {} };
        last if $digest ne $group->{digest};
        push @{ $group->{references} }, [ $place, $id ] if $group->{count}++ < $most;
        $group->{lengths}{$length} = 1 if defined $length && keys %{ $group->{lengths} } < $most;
        $line = $self->{sort}->Next;
    }
    $self->{line} = $line;
    return $group;
}

# Why an object of this size can hardly be what is referred to. RT keeps no length but the one in a header, which whoever
# has sent a mail may have written, and which stays when RT cuts a file off.
sub Suspect {
    my ( $self, $group, $size ) = @_;
    return $group->{digest} ne EMPTY if $size == 0;
    return 1                         if $group->{digest} eq EMPTY;
    my @lengths = keys %{ $group->{lengths} };
    return @lengths && !grep { $_ == $size } @lengths;
}

# What RT says of one reference, or undef where it is gone, or refers to something else now
sub About {
    my ( $self, $place, $id, $digest ) = @_;
    my @common = ( table => $self->{database}->Place($place)->{table}, id => $id + 0 );
    my $about;
    if ( $place eq 'A' ) {
        my $row = $self->{database}->Select(
            'SELECT a.Content, a.TransactionId, a.Filename, a.ContentType, t.ObjectType, t.ObjectId FROM Attachments a '
                . "LEFT JOIN Transactions t ON t.id = a.TransactionId WHERE a.id = ? AND a.ContentEncoding = 'external'",
            $id
        )->[0] or return undef;
        my ( $now, $transaction, $file, $type, $object, $object_id ) = @$row;
        return undef if ( $now // '' ) ne $digest;
        $about =
            { @common, transaction => $transaction, file => $file, type => $type, _Object( $object, $object_id ) };
    }
    else {
        my $row = $self->{database}->Select(
            'SELECT v.LargeContent, v.Content, v.ContentType, v.ObjectType, v.ObjectId, v.CustomField, f.Name, v.Disabled '
                . 'FROM ObjectCustomFieldValues v LEFT JOIN CustomFields f ON f.id = v.CustomField '
                . "WHERE v.id = ? AND v.ContentEncoding = 'external'",
            $id
        )->[0] or return undef;
        my ( $now, $file, $type, $object, $object_id, $field, $name, $disabled ) = @$row;
        return undef if ( $now // '' ) ne $digest;
        $about = {
            @common,
            field => $name // "number $field",
            file  => $file,
            type  => $type,
            $disabled ? ( disabled => JSON::true() ) : (),
            _Object( $object, $object_id )
        };
    }
    utf8::decode( $about->{$_} )
        for grep { defined $about->{$_} && !utf8::is_utf8( $about->{$_} ) } qw(file type field object);
    delete @$about{ grep { !defined $about->{$_} } keys %$about };
    return $about;
}

sub _Object {
    my ( $type, $id ) = @_;
    return () if !defined $type;
    return $type eq 'RT::Ticket' ? ( ticket => $id + 0 ) : ( object => "$type $id" );
}

# Calls $code with each content in the database, as bytes, and its type
sub EachContent {
    my ( $self, $tick, $code ) = @_;
    for my $place ( $self->{database}->Places ) {
        my ( $table, $column ) = @{$place}{qw(table column)};
        my $in_database = "$column IS NOT NULL AND (ContentEncoding IS NULL OR ContentEncoding <> 'external')";
        $self->{database}->Ranges(
            $table,
            sub {
                my $ids = $self->{database}
                    ->Select( "SELECT id FROM $table WHERE id > ? AND id <= ? AND $in_database", @_ );
                for my $id ( map { $_->[0] } @$ids ) {
                    $tick->();
                    $self->{contents}++;
                    my $row =
                        $self->{database}->Select(
                        "SELECT ContentEncoding, ContentType, $column FROM $table WHERE id = ? AND $in_database",
                        $id )->[0]
                        or next;
                    my ($content) =
                        RT::ExternalStorage::AmazonS3::Tool::Encoding::Decoded( $row->[0], \$row->[2], as_rt => 1 );
                    $code->( $content, $row->[1] ) if $content;
                }
            }
        );
    }
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::References - what RT's database says of external files

=head1 METHODS

=head2 Read TICK, INVALID

Reads all references into a sort, without holding the database up.

=head2 Rows, Contents

How many rows that refer to something, and contents, have been read so far.

=head2 Next MOST

The next digest, with at most MOST of those that refer to it.

=head2 Suspect GROUP, SIZE

Whether an object of this size is worth a look.

=head2 About PLACE, ID, DIGEST

A hash for a report: ticket, transaction, file, custom field.

=head2 EachContent TICK, CODE

All content that is still in the database.

=cut
