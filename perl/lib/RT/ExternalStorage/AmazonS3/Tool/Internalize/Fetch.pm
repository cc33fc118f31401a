package RT::ExternalStorage::AmazonS3::Tool::Internalize::Fetch;

use strict;
use warnings;

use IO::Select ();
use JSON       ();
use POSIX      ();
use Socket     qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

# Bytes read or written at once
use constant PIECE => 1024 * 1024;

# %args: native, processes, memory (bytes), sizes (whether only those are wanted), locks (which are not the processes'),
# and what is called: done (with a job, and its content or an error), full (where there is no room for a content),
# tick (while there is nothing to do), stops (says whether to give up)
sub new {
    my ( $class, %args ) = @_;
    my $self = bless {
        %args,
        idle    => [],
        workers => {},
        held    => [],
        busy    => 0,
        bytes   => 0,
        select  => IO::Select->new,
        coder   => JSON->new->utf8->canonical,
        parent  => $$
    }, $class;
    $self->_Start for 1 .. $args{processes};
    return $self;
}

# $job: a hash with the digest; its size is put into it
sub Submit {
    my ( $self, $job ) = @_;
    while ( !@{ $self->{idle} } ) {
        return if $self->{stops}->();
        $self->_Wait;
    }
    my $worker = shift @{ $self->{idle} };
    $worker->{job} = $job;
    $self->{busy}++;
    return $self->_Ask( $worker, 'size' );
}

sub Finish {
    my ($self) = @_;
    $self->_Wait while $self->{busy} && !$self->{stops}->();
    return;
}

# So many bytes are no longer needed
sub Release {
    my ( $self, $bytes ) = @_;
    $self->{bytes} -= $bytes;
    return;
}

sub _Ask {
    my ( $self, $worker, $what ) = @_;
    $worker->{asked} = $what;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $worker->{socket}, "$what $worker->{job}{digest}\n" or _Ended();
    return;
}

sub _Ended { die "a process that fetches objects has ended before its time\n" }

sub _Wait {
    my ($self) = @_;
    $self->{tick}->();
    $self->_Grant;
    for my $socket ( $self->{select}->can_read(0.2) ) {
        my $worker = $self->{workers}{ fileno $socket };
        my $read   = sysread $socket, $worker->{text}, PIECE, length $worker->{text};
        next     if !defined $read && $!{EINTR};
        _Ended() if !$read || !$worker->{job};
        $self->_Answer($worker);
    }
    return;
}

# Contents are fetched as long as there is room for them; one that is larger than that, alone
sub _Grant {
    my ($self) = @_;
    while ( my $worker = $self->{held}[0] ) {
        my $size = $worker->{job}{size};
        $self->{full}->() if !$self->_HasRoom($size);
        return            if !$self->_HasRoom($size);
        shift @{ $self->{held} };
        $self->{bytes} += $size;
        $self->_Ask( $worker, 'get' );
    }
    return;
}

sub _HasRoom { return $_[0]{bytes} == 0 || $_[0]{bytes} + $_[1] <= $_[0]{memory} }

# A line, and after "get" as many bytes as it says
sub _Answer {
    my ( $self, $worker ) = @_;
    if ( !$worker->{answer} ) {
        my $end = index $worker->{text}, "\n";
        return if $end < 0;
        $worker->{answer} = $self->{coder}->decode( substr $worker->{text}, 0, $end + 1 );
        $worker->{text}   = substr $worker->{text}, $end + 1;
    }
    my ( $answer, $job ) = @{$worker}{qw(answer job)};
    my $is_content = $worker->{asked} eq 'get';
    return if $is_content && !$answer->{name} && length $worker->{text} < $answer->{size};
    delete $worker->{answer};
    if ( !$is_content && !$answer->{name} ) {
        $job->{size} = $answer->{size} // $self->{memory};
        if ( !$self->{sizes} ) {
            push @{ $self->{held} }, $worker;
            return;
        }
    }
    my $content = delete $worker->{text};
    delete $worker->{job};
    $worker->{text} = '';
    $self->{busy}--;
    push @{ $self->{idle} }, $worker;
    if ( $answer->{name} ) {
        $self->Release( $job->{size} ) if $is_content;
        return $self->{done}->( $job, undef, $answer );
    }
    return $self->{done}->( $job, \$content );
}

sub _Start {
    my ($self) = @_;
    socketpair my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    my $pid = fork // die "fork: $!\n";
    if ( !$pid ) {

        # A terminal's signal is for the parent, who ends this one
        local @SIG{qw(INT TERM HUP PIPE)} = qw(IGNORE DEFAULT DEFAULT DEFAULT);
        my $ended = eval {
            close $_ for $here, @{ $self->{locks} || [] }, map { $_->{socket} } values %{ $self->{workers} };
            $self->_Work($there);
            1;
        };
        POSIX::_exit( $ended ? 0 : 1 );
    }
    close $there or die "socketpair: $!\n";
    $self->{select}->add($here);
    my $worker = { socket => $here, pid => $pid, text => '' };
    $self->{workers}{ fileno $here } = $worker;
    push @{ $self->{idle} }, $worker;
    return;
}

sub _Work {
    my ( $self, $socket ) = @_;
    my $native = $self->{native};
    while ( defined( my $line = readline $socket ) ) {
        my ( $what,  $digest ) = $line =~ /\A(\w+) (\w+)\n\z/ or return;
        my ( $found, $error )  = $what eq 'get' ? $native->get($digest) : $native->head($digest);

        # The answer to HEAD does not tell a bucket that is missing
        ( undef, $error ) = $native->get($digest) if $error && $what eq 'size' && $error->name eq 'not-found';
        $native->drain;
        my $answer =
              $error         ? { name => $error->name, text => $error->message }
            : $what eq 'get' ? { size => length $found }
            : { size => $found ? $found->{size} : undef };
        _Write( $socket, $self->{coder}->encode($answer) . "\n" );
        _Write( $socket, $found ) if $what eq 'get' && !$error;
        undef $found;    # else Perl keeps the room for the next one
    }
    return;
}

sub _Write {
    my ( $socket, undef ) = @_;    # a content stays where it is
    my $done = 0;
    while ( $done < length $_[1] ) {
        $done += syswrite( $socket, $_[1], PIECE, $done ) // die "$!\n";
    }
    return;
}

# They hold nothing that could get lost
sub DESTROY {
    my ($self) = @_;
    return if $self->{parent} != $$;
    local ( $?, $!, $@ );
    my @workers = values %{ delete $self->{workers} || {} };
    close $_->{socket} for @workers;
    kill TERM => $_->{pid} for @workers;
    waitpid $_->{pid}, 0 for @workers;
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Internalize::Fetch - processes that fetch objects

=head1 DESCRIPTION

Each asks for the size of an object first, and fetches it when there is room for it. What they fetch was compared with
its digest by the library.

=head1 METHODS

=over

=item new NAME => VALUE, ...

=item Submit JOB

Gives a job to a process, and waits for one that is free. What comes of it goes to C<done>: a reference to the content
(to an empty one, where only sizes are wanted), or a hash with C<name> and C<text> of an
L<RT::ExternalStorage::AmazonS3::Error>.

=item Finish

Waits for all jobs.

=item Release BYTES

Makes room.

=back

=cut
