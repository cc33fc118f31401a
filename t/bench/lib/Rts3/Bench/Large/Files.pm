package Rts3::Bench::Large::Files;

use strict;
use warnings;

use parent 'Rts3::Test::MadeUp';

use Digest::SHA qw(sha256 sha256_hex);
use Fcntl       ();
use File::Temp  ();
use POSIX       ();

=head1 NAME

Rts3::Bench::Large::Files - any number of attachments that can be read, and the bucket that they are in

=head1 SYNOPSIS

    my $files = Rts3::Bench::Large::Files->new( count => 1_000_000, orphans => 100 );
    $files->fill($dbh);
    $files->forget;
    ... $files->requests ...

=head1 DESCRIPTION

As L<Rts3::Test::MadeUp>, but each digest is that of a content, which the server makes up when it is asked for it. All
are in the bucket C<made-up>; in C<copy> is what was stored there. What else is stored is kept as it is.

=head1 METHODS

=head2 new count => $number, orphans => $number, size => $bytes

So many attachments, and so many objects more.

=head2 fill $dbh

Rows of C<Attachments>: the references, over ten years, and in between as many texts, which RT keeps in the database.

=head2 forget, requests

Counts from here on; how many requests there were of each kind, as a hash.

=cut

# A record of the table of all objects: digest and number
use constant { RECORD => 36, DIGEST => 32 };

use constant { PAGE => 1000, ROWS => 500, YEARS => 10 };

my @KINDS = qw(LIST HEAD GET PUT POST DELETE);

sub new {
    my ( $class, %args ) = @_;
    my $dir = File::Temp->newdir( 'rts3-large-XXXXXX', TMPDIR => 1 );
    my $all = $args{count} + ( $args{orphans} || 0 );
    for my $file ( 'copy', @KINDS ) { _write( "$dir/$file", $file eq 'copy' ? "\0" x $all : '' ) }
    return $class->SUPER::new( size => 1000, %args, dir => $dir, all => $all );
}

sub content {
    my ( $self, $number ) = @_;
    my $line = "attachment $number\n";
    return substr $line x ( 1 + $self->{size} / length $line ), 0, $self->{size};
}

sub digest { return sha256_hex( $_[0]->content( $_[1] ) ) }

sub fill {
    my ( $self, $dbh ) = @_;
    my $text    = "Some words that RT keeps.\n" x 20;
    my $headers = "From: somebody\@example.test\nSubject: made up\nX-Made-Up: yes\n";
    my $span    = YEARS * 365 * 86_400;
    my $now     = time;
    $dbh->begin_work;
    for ( my $from = 0; $from < $self->{count}; $from += ROWS ) {    ## no critic (ProhibitCStyleForLoops)
        my $rows = $self->{count} - $from < ROWS ? $self->{count} - $from : ROWS;
        $dbh->do( 'INSERT INTO Transactions (ObjectType, ObjectId, Type, Creator) VALUES ' . join ', ',
            (q{('RT::Ticket', 1, 'Correspond', 1)}) x $rows );
    }
    my $first = $dbh->selectrow_array('SELECT MAX(id) FROM Transactions') - $self->{count} + 1;
    for ( my $from = 0; $from < $self->{count}; $from += ROWS ) {    ## no critic (ProhibitCStyleForLoops)
        my @rows;
        for my $number ( $from .. $from + ROWS - 1 ) {
            last if $number >= $self->{count};
            my $created = POSIX::strftime( '%Y-%m-%d %H:%M:%S',
                gmtime $now - 86_400 * 2 - $span * ( 1 - $number / $self->{count} ) );
            my $more = $first + $number . ", 0, 1, '$created'";
            push @rows,
                "($more, NULL, 'text/plain', 'none', '$text', '${headers}Content-Length: " . length($text) . "\n')",
                "($more, 'file $number.pdf', 'application/pdf', 'external', '"
                . $self->digest($number)
                . "', '${headers}Content-Length: $self->{size}\n')";
        }
        $dbh->do(
            'INSERT INTO Attachments (TransactionId, Parent, Creator, Created, Filename, ContentType, '
                . 'ContentEncoding, Content, Headers) VALUES '
                . join ', ',
            @rows
        );
    }
    $dbh->commit;
    return;
}

sub forget {
    my ($self) = @_;
    truncate "$self->{dir}/$_", 0 or die "$self->{dir}/$_: $!" for @KINDS;
    return;
}

sub requests {
    my ($self) = @_;
    return map { $_ => -s "$self->{dir}/$_" } grep { -s "$self->{dir}/$_" } @KINDS;
}

# ---- the server

sub _begin {
    my ($self) = @_;
    $self->{table} = join '', sort map { sha256( $self->content($_) ) . pack 'N', $_ } 0 .. $self->{all} - 1;
    return;
}

sub _answer {
    my ( $self, $method, $path, $body ) = @_;
    my ( $bucket, $key, $query ) = $path =~ m{\A/([^/?]*)/?([^?]*)\??(.*)}s;
    my $kind = $method eq 'GET' && $query =~ /list-type=2/ ? 'LIST' : $method;
    my $seen = $self->{seen}{$kind} //= _open( "$self->{dir}/$kind", Fcntl::O_WRONLY() | Fcntl::O_APPEND() );
    syswrite $seen, '.' or die "$kind: $!";
    return $self->_page( $bucket, $query ) if $kind eq 'LIST';
    return _upload( $method, $query )      if $query =~ /\Auploads?(?:Id)?\b/i;
    return _response( '501 Not Implemented', '<Error><Code>NotImplemented</Code></Error>' )
        if $query =~ /\A[a-z]\w*=?(?:&|\z)/i && $method ne 'HEAD';
    return _response('200 OK') if !length $key;
    my $place = $self->_place( $bucket, $key );
    return $self->_object( $method, $body, $place ) if defined $place;
    return _kept( $method, "$self->{dir}/kept $bucket " . $key =~ s{\W}{_}gr, $body );
}

# Where it is in the table, or undef where it is none of those
sub _place {
    my ( $self, $bucket, $key ) = @_;
    return undef if $key !~ /\A[0-9a-f]{64}\z/;
    my $raw   = pack 'H*', $key;
    my $place = $self->_from($raw);
    return $raw eq substr( $self->{table}, $place * RECORD, DIGEST )
        ? { at => $place, copy => $bucket eq 'copy' }
        : undef;
}

# The first one that is not before a digest
sub _from {
    my ( $self, $raw ) = @_;
    my ( $from, $to )  = ( 0, $self->{all} );
    while ( $from < $to ) {
        my $middle = int( ( $from + $to ) / 2 );
        if   ( substr( $self->{table}, $middle * RECORD, DIGEST ) lt $raw ) { $from = $middle + 1 }
        else                                                                { $to   = $middle }
    }
    return $from;
}

sub _object {
    my ( $self, $method, $body, $place ) = @_;
    my $copy = $self->{copy} //= _open( "$self->{dir}/copy", Fcntl::O_RDWR() );
    if ( $method eq 'PUT' ) {
        return _response('200 OK') if !$place->{copy};
        sysseek $copy, $place->{at}, 0 or die "copy: $!";
        syswrite $copy, '1' or die "copy: $!";
        return _response('200 OK');
    }
    if ( $place->{copy} ) {
        sysseek $copy, $place->{at}, 0 or die "copy: $!";
        sysread $copy, my $byte, 1;
        return _response('404 Not Found') if $byte ne '1';
    }
    my $number = unpack 'N', substr $self->{table}, $place->{at} * RECORD + DIGEST, 4;
    return _response( '200 OK', $self->content($number), $method );
}

# None is ever completed: rt-s3 and IsWriteable only look whether they might
sub _upload {
    my ( $method, $query ) = @_;
    return _response('204 No Content') if $method eq 'DELETE';
    return _response(
        '200 OK',
        '<?xml version="1.0"?><InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>1</UploadId>'
            . '</InitiateMultipartUploadResult>'
    );
}

sub _kept {
    my ( $method, $file, $body ) = @_;
    if ( $method eq 'PUT' ) {
        _write( $file, $body );
        return _response('200 OK');
    }
    if ( $method eq 'DELETE' ) {
        unlink $file;
        return _response('204 No Content');
    }
    return _response('404 Not Found') if !-e $file;
    my $handle = _open( $file, Fcntl::O_RDONLY() );
    sysread $handle, my $content, -s $handle;
    return _response( '200 OK', $content, $method );
}

sub _page {
    my ( $self, $bucket, $query ) = @_;
    my $most = $query =~ /\bmax-keys=(\d+)/ ? $1 : PAGE;
    my $at   = 0;
    if ( my ($after) = $query =~ /\bstart-after=([0-9a-f]{64})/ ) {
        my $raw = pack 'H*', $after;
        $at = $self->_from($raw);
        $at++ if $at < $self->{all} && $raw eq substr $self->{table}, $at * RECORD, DIGEST;
    }
    my $there = '1' x $self->{all};
    if ( $bucket eq 'copy' ) {
        my $copy = _open( "$self->{dir}/copy", Fcntl::O_RDONLY() );
        sysread $copy, $there, $self->{all};
    }
    my @listed;
    while ( @listed < $most && ( $at = index $there, '1', $at ) >= 0 ) {
        push @listed, unpack 'H64', substr $self->{table}, $at++ * RECORD, DIGEST;
    }
    return $self->_listing( $at >= 0 && index( $there, '1', $at ) >= 0, @listed );
}

sub _response {
    my ( $status, $content, $method ) = @_;
    my $length = length( $content //= '' );
    return "HTTP/1.1 $status\r\nETag: \"e\"\r\nx-amz-request-id: made-up\r\nContent-Length: $length\r\n\r\n"
        . ( ( $method // '' ) eq 'HEAD' ? '' : $content );
}

sub _open {
    my ( $file, $how ) = @_;
    sysopen my $handle, $file, $how or die "$file: $!";
    return $handle;
}

sub _write {
    my ( $file, $content ) = @_;
    open my $handle, '>:raw', $file or die "$file: $!";
    print {$handle} $content or die "$file: $!";
    close $handle            or die "$file: $!";
    return;
}

1;
