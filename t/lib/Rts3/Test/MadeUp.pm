package Rts3::Test::MadeUp;

use strict;
use warnings;

use Carp             qw(croak);
use File::Temp       ();
use IO::Socket::INET ();
use POSIX            ();
use Socket           ();

use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::MadeUp - Any number of external files that never were: rows of a database, and a bucket

=head1 SYNOPSIS

    my $files = Rts3::Test::MadeUp->new( count => 5000, missing => [ 7, 4999 ] );
    $files->fill( $rt->dbh );
    my $run = $files->measured( [ $rt->tool('verify') ], { $rt->environment } );

=head1 METHODS

=head2 new count => $number, missing => \@numbers, size => $bytes

Starts a server, which makes up its pages: a bucket with so many objects but those missing, numbered from 0. It ends with the object.
A class below this one has its own C<_begin>, called once in the server, and C<_answer>.

=head2 host, digest $number, fill $dbh

Its address as a URL; the key of a file; rows of Attachments, in no order, that refer to all of them.

=cut

# Of digits, so many stand for the number
use constant DIGITS => 8;

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { count => 1000, size => 1000, %args, parent => $$ }, $class;
    $self->{missing} = { map { $_ => 1 } @{ $args{missing} || [] } };
    $self->{step}    = int( 16**DIGITS / $self->{count} );
    my $listener = IO::Socket::INET->new( LocalAddr => '127.0.0.1', Listen => 20, Proto => 'tcp' )
        or croak "listen: $!";
    $self->{port} = $listener->sockport;
    $self->{pid}  = fork // croak "fork: $!";
    if ( !$self->{pid} ) {
        local $SIG{CHLD} = 'IGNORE';
        $self->_begin;
        while ( my $client = $listener->accept ) {
            next if fork;
            eval { $self->_serve($client); 1 } or print STDERR $@;
            POSIX::_exit(0);
        }
        POSIX::_exit(1);
    }
    return $self;
}

sub _begin {return}

sub host { return "http://127.0.0.1:$_[0]{port}" }

sub digest {
    my ( $self, $number ) = @_;
    return sprintf( '%0*x', DIGITS, $number * $self->{step} ) . 'e' x ( 64 - DIGITS );
}

sub fill {
    my ( $self,  $dbh )   = @_;
    my ( $count, $prime ) = ( $self->{count}, 7919 );
    croak "$count is a multiple of $prime" if $count % $prime == 0;
    my $headers = "Content-Type: application/pdf; name=\"file.pdf\"\nContent-Disposition: attachment\n"
        . "X-Made-Up: yes\nContent-Length: $self->{size}\n";
    $dbh->begin_work;
    my $insert = $dbh->prepare( 'INSERT INTO Attachments (TransactionId, Parent, Filename, ContentType, '
            . "ContentEncoding, Content, Headers) VALUES (1, 0, ?, 'application/pdf', 'external', ?, ?)" );
    for my $row ( 0 .. $count - 1 ) {
        my $number = $row * $prime % $count;
        $insert->execute( "file $number.pdf", $self->digest($number), $headers );
    }
    $dbh->commit;
    return;
}

=head2 measured \@command, \%env, $timeout

Runs a command, for 900 s at most if not said: what L<Rts3::Test::Process/run> says, C<peak>, its largest memory in MB, and
C<processor>, the seconds that it used of a processor.

=cut

sub measured {
    my ( $self, $command, $env, $timeout ) = @_;
    my $peak = File::Temp->new;
    my $run  = Rts3::Test::Process::run(
        command => [ '/usr/bin/env', 'bash', '-c', <<'END', 'measured', $peak->filename, @{$command} ],
exec 3>"$1"; shift
"$@" & pid=$!
while [ -e "/proc/$pid/status" ]; do
    grep VmHWM "/proc/$pid/status" >&3 2>/dev/null
    cat "/proc/$pid/stat" >&3 2>/dev/null
    sleep 0.05
done
wait $pid
END
        env     => $env,
        timeout => $timeout // 900,
    );
    my ( $kilobytes, $ticks );
    while ( defined( my $line = readline $peak ) ) {
        $kilobytes = $1      if $line =~ /VmHWM:\s+(\d+) kB/;
        $ticks     = $1 + $2 if $line =~ /\) \S+(?: \S+){10} (\d+) (\d+) /;
    }
    croak 'no memory was seen' if !$kilobytes;
    $run->{peak}      = $kilobytes / 1000;
    $run->{processor} = $ticks / POSIX::sysconf( POSIX::_SC_CLK_TCK() );
    return $run;
}

sub _serve {
    my ( $self, $client ) = @_;
    setsockopt $client, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    while ( defined( my $request = readline $client ) ) {
        my $length = 0;
        while ( defined( my $line = readline $client ) ) {
            last if $line =~ /\A\r?\n\z/;
            $length = $1 if $line =~ /\AContent-Length:\s*(\d+)/i;
        }
        return if $length != read( $client, my $body, $length );
        my ( $method, $path ) = split / /, $request;
        print {$client} $self->_answer( $method, $path, $body ) or return;
        $client->flush;
    }
    return;
}

sub _answer {
    my ( $self, $method, $path ) = @_;
    return $method eq 'GET' && $path =~ /list-type=2/ ? $self->_page($path) : $self->_head($path);
}

sub _head {
    my ( $self, $path ) = @_;
    my ($digest) = $path =~ m{/([0-9a-f]{64})\b};
    my $number = hex( substr $digest, 0, DIGITS ) / $self->{step};
    return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" if $self->{missing}{$number};
    return "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: $self->{size}\r\n\r\n";
}

sub _page {
    my ( $self, $path ) = @_;
    my ($after) = $path =~ /start-after=([0-9a-f]{64})/;
    my $next = defined $after ? int( hex( substr $after, 0, DIGITS ) / $self->{step} ) + 1 : 0;
    my @listed;
    while ( @listed < 1000 && $next < $self->{count} ) {
        my $number = $next++;
        push @listed, $self->digest($number) if !$self->{missing}{$number};
    }
    return $self->_listing( $next < $self->{count}, @listed );
}

sub _listing {
    my ( $self, $is_truncated, @digests ) = @_;
    my $body = join '', '<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType><IsTruncated>',
        $is_truncated ? 'true' : 'false', '</IsTruncated>',
        ( map {"<Contents><Key>$_</Key><Size>$self->{size}</Size></Contents>"} @digests ), '</ListBucketResult>';
    return
          "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nx-amz-request-id: made-up\r\nContent-Length: "
        . length($body)
        . "\r\n\r\n$body";
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{parent} != $$ || !$self->{pid};
    local ( $?, $! );
    kill TERM => $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

1;
