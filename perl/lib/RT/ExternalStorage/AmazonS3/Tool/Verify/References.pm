package RT::ExternalStorage::AmazonS3::Tool::Verify::References;

use strict;
use warnings;

use JSON              ();
use MIME::Base64      ();
use MIME::QuotedPrint ();

use RT::ExternalStorage::AmazonS3::Tool::Verify::Sort;

use constant SORT => 'RT::ExternalStorage::AmazonS3::Tool::Verify::Sort';

# Rows are read by their ids, so many of these at a time: whatever is asked, no database has to hold, lock or sort more
use constant RANGE => 1_000;

use constant EMPTY => 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

my %PLACE = (
    A => { table => 'Attachments',             column => 'Content',      hint => 'Headers' },
    V => { table => 'ObjectCustomFieldValues', column => 'LargeContent', hint => q{''} },
);

sub new {
    my ( $class, $tool ) = @_;
    return bless { tool => $tool, sort => SORT->new, rows => 0, contents => 0 }, $class;
}

sub Rows     { return $_[0]{rows} }
sub Contents { return $_[0]{contents} }

# Reads all references. $invalid is called with (place, id, what stands there) for what is no digest.
sub Read {
    my ( $self, $tick, $invalid ) = @_;
    for my $place ( sort keys %PLACE ) {
        my ( $table, $column, $hint ) = @{ $PLACE{$place} }{qw(table column hint)};
        my $query = "SELECT id, $column, $hint FROM $table WHERE id > ? AND id <= ? AND ContentEncoding = 'external'";
        $self->_Ranges(
            $table,
            sub {
                for my $row ( @{ $self->Select( $query, @_ ) } ) {
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

sub _Ranges {
    my ( $self, $table, $code ) = @_;
    my ( $least, $most ) = @{ $self->Select("SELECT MIN(id), MAX(id) FROM $table")->[0] };
    return if !defined $most;
    for ( my $after = $least - 1; $after < $most; $after += RANGE ) {    ## no critic (ProhibitCStyleForLoops)
        $code->( $after, $after + RANGE );
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
    my ( $table, $column ) = @{ $PLACE{$place} }{qw(table column)};
    my @common = ( table => $table, id => $id + 0 );
    my $about;
    if ( $place eq 'A' ) {
        my $row = $self->Select(
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
        my $row = $self->Select(
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
    for my $place ( sort keys %PLACE ) {
        my ( $table, $column ) = @{ $PLACE{$place} }{qw(table column)};
        my $in_database = "$column IS NOT NULL AND (ContentEncoding IS NULL OR ContentEncoding <> 'external')";
        $self->_Ranges(
            $table,
            sub {
                my $ids = $self->Select( "SELECT id FROM $table WHERE id > ? AND id <= ? AND $in_database", @_ );
                for my $id ( map { $_->[0] } @$ids ) {
                    $tick->();
                    $self->{contents}++;
                    my $row = $self->Select(
                        "SELECT ContentEncoding, ContentType, $column FROM $table WHERE id = ? AND $in_database",
                        $id )->[0]
                        or next;
                    my $content = _Decoded( $row->[0], $row->[2] ) // next;
                    $code->( \$content, $row->[1] );
                }
            }
        );
    }
    return;
}

# As RT::Record::_DecodeLOB does it, but for the encodings that it doesn't know
sub _Decoded {
    my ( $encoding, $content ) = @_;
    utf8::encode($content) if utf8::is_utf8($content);
    $encoding ||= 'none';
    return $content                              if $encoding eq 'none';
    return MIME::Base64::decode_base64($content) if $encoding eq 'base64';
    return MIME::QuotedPrint::decode($content)   if $encoding eq 'quoted-printable';
    return undef;
}

# The rows, or the end of the command: a query that failed never looks like one that found nothing
sub Select {
    my ( $self, $query, @values ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    my $rows = eval {
        my $dbh = $self->_Connection;
        local $dbh->{RaiseError}  = 1;
        local $dbh->{PrintError}  = 0;
        local $dbh->{HandleError} = undef;
        $dbh->selectall_arrayref( $query, {}, @values ) // die 'no answer: ' . $dbh->errstr . "\n";
    };
    return $rows if $rows;
    return $self->{tool}->Stop( "RT's database: " . ( $@ || 'unknown error' ) );
}

# A connection that was idle for an hour may have been ended
sub _Connection {
    my ($self) = @_;
    my $dbh    = $RT::Handle->dbh;
    my $idle   = time - ( $self->{used} // time );
    if ( $idle > 60 && !( $dbh && $dbh->ping ) ) {
        $RT::Handle->Connect;
        $dbh = $RT::Handle->dbh;
    }
    $self->{used} = time;
    return $dbh // die "RT is not connected to it\n";
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::References - what RT's database says of external files

=head1 METHODS

=head2 Read TICK, INVALID

Reads all references into a sort, without holding the database up.

=head2 Next MOST

The next digest, with at most MOST of those that refer to it.

=head2 Suspect GROUP, SIZE

Whether an object of this size is worth a look.

=head2 About PLACE, ID, DIGEST

A hash for a report: ticket, transaction, file, custom field.

=head2 EachContent TICK, CODE

All content that is still in the database.

=head2 Select QUERY, VALUE, ...

Rows; stops the command where there is no answer.

=cut
