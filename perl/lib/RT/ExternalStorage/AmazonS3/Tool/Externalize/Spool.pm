package RT::ExternalStorage::AmazonS3::Tool::Externalize::Spool;

use strict;
use warnings;

use File::Spec ();

use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Tool::Encoding;

# Bytes of a piece; or characters, where the database counts those
use constant { PIECE => 8 * 1024 * 1024, SMALL => 2 * 1024 * 1024 };

# Bytes that are decoded at once
use constant PART => 256 * 1024;

# SQLite has the whole of it in memory for each piece: so small that it fits in beside that, but no more of them than needed
use constant FITS => 200 * 1024 * 1024;

sub new {
    my ( $class, %args ) = @_;
    return bless {%args}, $class;
}

# Reads the column of a row, piece by piece. Returns what is wrong, or undef. All of it has to be within one snapshot.
sub Fill {
    my ( $self, $dbh ) = @_;
    my ( $column, $table, $id, $type ) = @{$self}{qw(column table id type)};
    open my $file, q{+>}, undef or return _NoFile();    ## no critic (RequireBriefOpen) it goes with the object
    binmode $file;
    my $bytes = $type eq 'SQLite' ? "CAST($column AS BLOB)"  : $column;
    my $step  = $type eq 'SQLite' ? _Step( $self->{length} ) : PIECE;
    my $query = "SELECT SUBSTR($bytes, %d, $step) FROM $table WHERE id = ?";
    for ( my $from = 1; 1; $from += $step ) {           ## no critic (ProhibitCStyleForLoops)
        my $statement = $dbh->prepare( sprintf $query, $from );
        $statement->execute($id);
        $statement->bind_col( 1, \my $piece );
        my $found = $statement->fetch && length( $piece // '' );
        if ( utf8::is_utf8($piece) ) {
            $self->{characters} = 1;
            utf8::encode($piece);
        }
        print {$file} $piece // '' or return _NoFile();
        $statement->finish;
        undef $piece;
        last                                if !$found;
        return 'it was not read to its end' if !$self->{room}->(0);
    }
    $file->flush or return _NoFile();
    $self->{file} = $file;
    $self->{size} = -s $file;

    # PostgreSQL may count what it has in another encoding
    return if $type eq 'Pg' || $self->{size} == $self->{length};
    return "the database gave $self->{size} of its $self->{length} bytes";
}

sub _Step {
    my ($length) = @_;
    my $step = int( ( FITS - $length ) / 4 );
    return $step < SMALL ? SMALL : $step > PIECE ? PIECE : $step;
}

sub _NoFile {
    my $why = "$!";
    return 'it has no room in a temporary file in ' . File::Spec->tmpdir . ": $why";
}

# The bytes that it stands for, as a reference, or (undef, $why). Nothing but a piece is in memory twice.
sub Content {
    my ($self)   = @_;
    my $file     = $self->{file};
    my $encoding = lc( $self->{encoding} // '' ) || 'none';
    my $size     = $encoding eq 'base64' ? int( $self->{size} / 4 + 1 ) * 3 : $self->{size};
    seek $file, 0, 0 or return ( undef, "its temporary file: $!" );
    FFI::Platypus::Buffer::grow( my $content, $size + 1, { clear => 0, set_length => 0 } );
    FFI::Platypus::Buffer::set_used_length( $content, 0 );
    return ( undef, "its temporary file: $!" )
        if $encoding eq 'none' && !defined read $file, $content, $size;
    my ( $rest, $last ) = ( '', $encoding eq 'none' );

    while ( !$last ) {
        defined read $file, $rest, PART, length $rest or return ( undef, "its temporary file: $!" );
        $last = eof $file;
        my ( $part, $problem ) =
            RT::ExternalStorage::AmazonS3::Tool::Encoding::Decoded( $encoding, _Part( $encoding, \$rest, $last ) );
        return ( undef, $problem ) if !$part;
        $content .= $$part;
    }
    return \$content;
}

# What can be decoded by itself, taken off the front
sub _Part {
    my ( $encoding, $rest, $last ) = @_;
    my $size = length $$rest;
    if ( $encoding eq 'base64' ) {
        $$rest =~ tr/ \t\r\n\f\x0b//d;
        $size = length $$rest;

        # Padding may only stand in the last four characters, so those wait for what follows
        $size = int( ( $size - 1 ) / 4 ) * 4 if !$last && $size;
        return \'=' if !$last && index( substr( $$rest, 0, $size ), '=' ) >= 0;
    }
    elsif ( $encoding eq 'quoted-printable' ) {
        $size = 1 + rindex $$rest, "\n" if !$last;
    }
    my $part = substr $$rest, 0, $size, '';
    return \$part;
}

# As the database had it
sub Raw {
    my ($self) = @_;
    my $file = $self->{file};
    seek $file, 0, 0 or die "a temporary file: $!\n";
    my $read = read $file, my $raw, $self->{size};
    die "a temporary file: $!\n" if !defined $read || $read != $self->{size};
    utf8::decode($raw)           if $self->{characters};
    return $raw;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Externalize::Spool - one large content, on its way through a temporary file

=head1 DESCRIPTION

A database's driver has a content in memory two or three times when it reads it, and decoding makes another copy. Here a
content is read in pieces into a temporary file, which has no name and goes with the object, and from there into memory
once.

=head1 METHODS

=over

=item new table => NAME, column => NAME, id => ID, type => TYPE, encoding => ENCODING, length => BYTES,
room => CODE

TYPE: RT's C<DatabaseType>. CODE says, when called with 0, whether to go on.

=item Fill DBH

Reads it; returns what is wrong, or undef. To be called within a snapshot.

=item Content

The bytes, decoded, as a reference; or undef and a reason.

=item Raw

What is in the database.

=back

=cut
