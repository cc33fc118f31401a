package Rts3::Test::Internalize;

use strict;
use warnings;

use Digest::SHA  qw(sha256_hex);
use Exporter     qw(import);
use MIME::Base64 ();
use Time::HiRes  qw(sleep time);

use Rts3::Test::File    qw(slurp);
use Rts3::Test::Process ();

our @EXPORT_OK = qw(add_rows beside columns internalize mark);

=head1 NAME

Rts3::Test::Internalize - what the tests of rt-s3 internalize have in common

=head1 SYNOPSIS

    my $files = Rts3::Test::Internalize->new( rt => $rt, s3 => $s3, bucket => 'files' );
    my @ids   = $files->external( 20, 'mark' );
    my $pid   = $files->started('--concurrency=2');
    $files->until_fetched(5);
    is( $files->ended($pid), 0, 'exit status' );
    is_deeply( [ $files->left(@ids), $files->lost(@ids) ], [], 'all is in the database' );

=head1 FUNCTIONS

=head2 internalize $rt, @args

Runs C<rt-s3 internalize>, when no other test externalizes, and returns the same as L<Rts3::Test::RT/run_tool>.

=cut

sub internalize {
    my ( $rt, @args ) = @_;
    return $rt->run_tool( 'internalize', @args );
}

=head2 columns $dbh

What stands in the rows: class and id => "encoding digest", for those that have content. The bytes are those of the column.

=cut

sub columns {
    my ($dbh) = @_;
    my %columns;
    for my $place ( [ Attachments => 'Content' ], [ ObjectCustomFieldValues => 'LargeContent' ] ) {
        my ( $table, $column ) = @{$place};
        for my $row ( @{ $dbh->selectall_arrayref("SELECT id, ContentEncoding, $column FROM $table") } ) {
            my ( $id, $encoding, $content ) = @{$row};
            next                   if !length( $content // '' );
            utf8::encode($content) if utf8::is_utf8($content);
            $columns{"$table $id"} = "$encoding " . sha256_hex($content);
        }
    }
    return \%columns;
}

=head2 beside $dbh

What stands beside the content in all rows, headers and types for instance: class and id => digest.

=cut

sub beside {
    my ($dbh) = @_;
    my %beside;
    for my $table (qw(Attachments ObjectCustomFieldValues)) {
        my $statement = $dbh->prepare("SELECT * FROM $table");
        $statement->execute;
        while ( my $row = $statement->fetchrow_hashref('NAME_lc') ) {
            my $id = $row->{id};
            delete @{$row}{ 'contentencoding', $table eq 'Attachments' ? 'content' : 'largecontent' };
            my $text = join "\0", map { ( $_ => $row->{$_} // 'NULL' ) } sort keys %{$row};
            utf8::encode($text) if utf8::is_utf8($text);
            $beside{"$table $id"} = sha256_hex($text);
        }
    }
    return \%beside;
}

=head2 mark $rt

RT's high-water mark, a hash.

=cut

sub mark {
    my ($rt)   = @_;
    my ($mark) = $rt->call('my $a = RT->System->FirstAttribute("ExternalStorage"); return [ $a ? $a->Content : {} ]');
    return $mark->[0];
}

=head2 add_rows $dbh, $like, @contents

Attachments straight into the table, like the one with this id; returns their ids.

=cut

sub add_rows {
    my ( $dbh, $like, @contents ) = @_;
    my $statement = $dbh->prepare('SELECT * FROM Attachments WHERE id = ?');
    $statement->execute($like);
    my @columns = grep { !/^(?:id|Content|ContentEncoding)$/i } @{ $statement->{NAME} };
    $statement->finish;
    my $columns = join ', ', @columns;
    my $insert  = $dbh->prepare(
        "INSERT INTO Attachments ($columns, Content, ContentEncoding) SELECT $columns, ?, 'none' FROM Attachments WHERE id = ?"
    );
    my ($last) = $dbh->selectrow_array('SELECT MAX(id) FROM Attachments');
    $dbh->begin_work;
    $insert->execute( $_, $like ) for @contents;
    $dbh->commit;
    return map { $_->[0] } @{ $dbh->selectall_arrayref("SELECT id FROM Attachments WHERE id > $last ORDER BY id") };
}

=head1 METHODS

=head2 new rt => $rt, s3 => $s3, bucket => $bucket

Attachments of an RT on SQLite, beside one that they are like and that is moved with them.

=cut

sub new {
    my ( $class, %args ) = @_;
    my $like = $args{rt}->call( <<'END' );
        my $ticket = Rts3::Test::RT::Inside::create_ticket( attachments => [ { name => 'like.bin', content => 'like' } ] );
        my ($attachment) = grep { ( $_->{name} // '' ) eq 'like.bin' } @{ $ticket->{attachments} };
        return $attachment->{id};
END
    return bless { %args, like => $like, content => {} }, $class;
}

=head2 external $count, $mark, $size

Makes so many external ones, instead of those that were there, and returns their ids.

=cut

sub external {
    my ( $self, $count, $mark, $size ) = @_;
    my $dbh = $self->{rt}->dbh;
    $dbh->do( 'DELETE FROM Attachments WHERE id > ?', undef, $self->{like} );
    $dbh->do(q{DELETE FROM Attributes WHERE Name = 'ExternalStorage'});
    my @contents = map { join ' ', $mark, $_, "\0", 'x' x ( $size // 500 ) } 1 .. $count;
    my @ids      = add_rows( $dbh, $self->{like}, @contents );
    @{ $self->{content} }{@ids} = @contents;
    my ( $exit, undef, $err ) = $self->{rt}->run_tool(qw(externalize --quiet));
    die $err if $exit;
    return @ids;
}

=head2 content $id, key $id, row $id

The content of one; the name of its object; its row.

=cut

sub content { return $_[0]{content}{ $_[1] } }
sub key     { return sha256_hex( $_[0]->content( $_[1] ) ) }

sub row {
    my ( $self, $id ) = @_;
    return $self->{rt}->dbh->selectrow_hashref( 'SELECT * FROM Attachments WHERE id = ?', undef, $id );
}

sub _rows {
    my ($self) = @_;
    return { map { $_->{id} => $_ } $self->{rt}->attachment_rows };
}

=head2 lost @ids, left @ids, not_read @ids

Those that are neither external, with their object, nor in the database; those that are external; those that RT does
not read as they were.

=cut

sub lost {
    my ( $self, @ids ) = @_;
    my $rows  = $self->_rows;
    my %there = map { $_ => 1 } $self->{s3}->objects( $self->{bucket} );
    return grep {
        my ( $row, $key ) = ( $rows->{$_}, $self->key($_) );
        $row->{ContentEncoding} eq 'external'
            ? $row->{Content} ne $key || !$there{$key}
            : $row->{ContentEncoding} ne 'base64'
            || MIME::Base64::decode_base64( $row->{Content} ) ne $self->content($_)
    } @ids;
}

sub left {
    my ( $self, @ids ) = @_;
    my $rows = $self->_rows;
    return grep { $rows->{$_}{ContentEncoding} eq 'external' } @ids;
}

sub not_read {
    my ( $self, @ids ) = @_;
    my $read = $self->{rt}->call( 'return [ map { Rts3::Test::RT::Inside::attachment($_)->{bytes} } @_ ]', @ids );
    return map { $ids[$_] } grep { $read->[$_] ne $self->content( $ids[$_] ) } 0 .. $#ids;
}

=head2 started @arguments, ended $pid, said $file

Starts C<rt-s3 internalize>; waits for its end, and returns its exit status or C<signal> and its number; what it has
written to C<out> or C<err>.

=cut

sub started {
    my ( $self, @arguments ) = @_;
    my $rt = $self->{rt};
    $self->{s3}->clear_log;
    $self->{turn} = $rt->externalizers_turn;
    return Rts3::Test::Process::spawn(
        command => [ $rt->tool( 'internalize', @arguments ) ],
        env     => { $rt->environment },
        out     => $rt->dir . '/out',
        err     => $rt->dir . '/err',
    );
}

sub ended {
    my ( $self, $pid ) = @_;
    Rts3::Test::Process::wait_for( $pid, 60 ) or die "it does not end\n";
    delete $self->{turn};
    return $? & 127 ? 'signal ' . ( $? & 127 ) : $? >> 8;
}

sub said { return slurp( $_[0]{rt}->dir . "/$_[1]" ) }

=head2 until_fetched $number

Waits until the server has answered so often.

=cut

sub until_fetched {
    my ( $self, $number ) = @_;
    my $end = time + 30;
    sleep 0.02 while time < $end && $self->{s3}->requests( operation => 'GetObject' ) < $number;
    return;
}

1;
