package Rts3::Test::AttachmentRows;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);

=head1 NAME

Rts3::Test::AttachmentRows - many attachments, straight into RT's database

=head1 SYNOPSIS

    my $rows = Rts3::Test::AttachmentRows->new( rt => $rt, s3 => $s3, bucket => 'files' );
    my @ids  = $rows->add( 2000, mark => 'killed', size => 20_000 );
    ...
    is_deeply( [ $rows->lost(@ids) ], [], 'none is lost' );

=head1 METHODS

=head2 new rt => $rt, s3 => $s3, bucket => $name, [dbh => $code]

C<dbh>: gives a handle of RT's database; that of the SQLite file, if not said. Makes one attachment by way of RT: those
that follow are like it.

=cut

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { %args, contents => {} }, $class;
    $self->{dbh} //= sub { $args{rt}->dbh };
    $self->{like} = $args{rt}->call(<<'END');
        my $ticket = Rts3::Test::RT::Inside::create_ticket(
            attachments => [ { name => 'like.bin', content => 'like' } ] );
        my ($attachment) = grep { ( $_->{name} // '' ) eq 'like.bin' } @{ $ticket->{attachments} };
        return $attachment->{id};
END
    return $self;
}

=head2 like, contents

The id of that one; what the others hold, by their ids.

=cut

sub like     { return $_[0]{like} }
sub contents { return $_[0]{contents} }

=head2 add $count, [mark => $text, size => $bytes] or [content => $bytes], [encoding => $name, as => $decoded]

So many, all different, or with this content, which the database has under that encoding. Returns their ids.

=cut

sub add {
    my ( $self, $count, %args ) = @_;
    my $dbh = $self->{dbh}->();
    my $any = $dbh->prepare('SELECT * FROM Attachments WHERE id = 0');
    $any->execute;
    my @columns = grep { !/^(?:id|Content|ContentEncoding|Headers)$/i } @{ $any->{NAME} };
    my $columns = join ', ', @columns;
    my $insert  = $dbh->prepare( "INSERT INTO Attachments ($columns, Headers, Content, ContentEncoding) "
            . "SELECT $columns, ?, ?, ? FROM Attachments WHERE id = ?" );
    $dbh->begin_work;
    my @ids;

    for my $number ( 1 .. $count ) {
        my $content = $args{content} // join ' ', $args{mark} // 'row', $number, 'x' x ( $args{size} // 500 );
        my $decoded = $args{as} // $content;
        $insert->execute(
            'Content-Length: ' . length($decoded) . "\n",
            $content, $args{encoding} // 'none',
            $self->like
        );
        push @ids, $dbh->selectrow_array('SELECT MAX(id) FROM Attachments');
        $self->{contents}{ $ids[-1] } = $decoded;
    }
    $dbh->commit;
    return @ids;
}

=head2 row $id

A row as the database has it, a hash with names in lower case.

=cut

sub row {
    my ( $self, $id ) = @_;
    my $statement = $self->{dbh}->()->prepare('SELECT * FROM Attachments WHERE id = ?');
    $statement->execute($id);
    return $statement->fetchrow_hashref('NAME_lc');
}

# [id, ContentEncoding, Content] of each
sub _rows {
    my ( $self, @ids ) = @_;
    my $dbh = $self->{dbh}->();
    my @rows;
    while ( my @some = splice @ids, 0, 500 ) {
        my $some = join ', ', map { $_ + 0 } @some;
        push @rows,
            @{ $dbh->selectall_arrayref("SELECT id, ContentEncoding, Content FROM Attachments WHERE id IN ($some)") };
    }
    return @rows;
}

=head2 lost @ids

Those that are neither in the database as they were, nor in the bucket.

=cut

sub lost {
    my ( $self, @ids )    = @_;
    my ( $s3,   $bucket ) = @{$self}{qw(s3 bucket)};
    my %there = map { $_ => 1 } $s3->objects($bucket);
    my %rows  = map { ( $_->[0] => $_ ) } $self->_rows(@ids);
    return grep {
        my ( undef, $encoding, $content ) = @{ $rows{$_} || [] };
        my $expected = $self->{contents}{$_};
        my $key      = sha256_hex($expected);
        ( $encoding // '' ) eq 'external'
            ? $content ne $key || !$there{$key} || $s3->content( $bucket, $key ) ne $expected
            : ( $content // '' ) ne $expected
    } @ids;
}

=head2 left @ids

Those that are still in the database.

=cut

sub left {
    my ( $self, @ids ) = @_;
    my @left = sort { $a <=> $b } map { $_->[0] } grep { $_->[1] ne 'external' } $self->_rows(@ids);
    return @left;
}

=head2 mark

Up to where RT believes that all was moved.

=cut

sub mark {
    my ($self) = @_;
    my $mark =
        $self->{rt}->call('my $a = RT->System->FirstAttribute("ExternalStorage"); return [ $a ? $a->Content : {} ]');
    return $mark->[0]{'RT::Attachments'};
}

=head2 unread @ids

Those that RT does not read as they were.

=cut

sub unread {
    my ( $self, @ids ) = @_;
    my @wrong;
    while ( my @some = splice @ids, 0, 500 ) {
        my $read =
            $self->{rt}->call( 'return [ map { Rts3::Test::RT::Inside::attachment($_)->{bytes} } @_ ]', @some );
        push @wrong, map { $some[$_] } grep { ( $read->[$_] // '' ) ne $self->{contents}{ $some[$_] } } 0 .. $#some;
    }
    return @wrong;
}

1;
