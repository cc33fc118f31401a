package RT::ExternalStorage::AmazonS3::Tool::Verify::Workers;

use strict;
use warnings;

use IO::Select ();
use JSON       ();
use POSIX      ();
use Socket     qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

# An object is held in memory whole: of large ones fewer are read at once
use constant BYTES => 256 * 1024 * 1024;

# %args: native, concurrency, checksums (whether the server can be asked for them), done (called with each job and its
# verdict), tick (called while there is nothing to do)
sub new {
    my ( $class, %args ) = @_;
    return bless {
        %args,
        idle   => [],
        busy   => {},
        bytes  => 0,
        select => IO::Select->new,
        coder  => JSON->new->canonical,
        parent => $$
    }, $class;
}

# $job: digest, size (0 where it isn't known), deep (whether it has to be looked at, or only for)
sub Submit {
    my ( $self, $job ) = @_;
    my $busy = $self->{busy};
    while ( keys %$busy >= $self->{concurrency}
        || %$busy && $self->{bytes} + $job->{size} > BYTES )
    {
        $self->_Wait;
    }
    my $worker = shift @{ $self->{idle} } // $self->_Start;
    $busy->{ fileno $worker->{socket} } = $worker;
    $worker->{job} = $job;
    $self->{bytes} += $job->{size};
    local $SIG{PIPE} = 'IGNORE';
    syswrite $worker->{socket}, ( $job->{deep} ? 'deep' : 'head' ) . " $job->{digest}\n"
        or die "a process that reads objects has ended: $!\n";
    return;
}

sub Finish {
    my ($self) = @_;
    $self->_Wait while %{ $self->{busy} };
    return;
}

sub _Wait {
    my ($self) = @_;
    $self->{tick}->();
    for my $socket ( $self->{select}->can_read(0.5) ) {
        my $worker = $self->{busy}{ fileno $socket };
        my $read   = sysread $socket, my $text, 65536;
        next                                                           if !defined $read && $!{EINTR};
        die "a process that reads objects has ended before its time\n" if !$read || !$worker;
        $worker->{text} .= $text;
        next if $worker->{text} !~ /\n\z/;
        my $verdict = $self->{coder}->decode( $worker->{text} );
        my $job     = delete $worker->{job};
        $worker->{text} = '';
        delete $self->{busy}{ fileno $socket };
        push @{ $self->{idle} }, $worker;
        $self->{bytes} -= $job->{size};
        $self->{done}->( $job, $verdict );
    }
    return;
}

sub _Start {
    my ($self) = @_;
    socketpair my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    if ( my $dbh = $RT::Handle && $RT::Handle->dbh ) { $dbh->{AutoInactiveDestroy} = 1 }
    my $pid = fork // die "fork: $!\n";
    if ( !$pid ) {

        # A terminal's signal is for the parent, who ends this one
        local @SIG{qw(INT TERM HUP)} = qw(IGNORE DEFAULT DEFAULT);
        my $ended = eval {
            close $_ for $here, map { $_->{socket} } values %{ $self->{busy} }, @{ $self->{idle} };
            $self->_Work($there);
            1;
        };
        POSIX::_exit( $ended ? 0 : 1 );
    }
    close $there or die "socketpair: $!\n";
    $self->{select}->add($here);
    my $worker = { socket => $here, pid => $pid, text => '' };
    push @{ $self->{workers} }, $worker;
    return $worker;
}

sub _Work {
    my ( $self, $socket ) = @_;
    while ( defined( my $line = readline $socket ) ) {
        my ( $how, $digest ) = $line =~ /\A(\w+) (\w+)\n\z/ or return;
        my $verdict = $how eq 'deep' ? $self->_Look($digest) : _Verdict( ( $self->{native}->head($digest) )[1] );
        $self->{native}->drain;
        my $answer = $self->{coder}->encode($verdict) . "\n";
        while ( length $answer ) {
            my $written = syswrite $socket, $answer or return;
            substr $answer, 0, $written, '';
        }
    }
    return;
}

# Whether the object is the content of that digest
sub _Look {
    my ( $self, $digest ) = @_;
    my $native = $self->{native};
    if ( $self->{checksums} ) {
        my ( $head, $error ) = $native->head($digest);
        return _Verdict($error) if !$head;
        my $checksum = $head->{checksum} // '';
        return { name => 'whole' }                                                     if $checksum eq $digest;
        return { name => 'corrupt', text => "the server keeps the SHA-256 $checksum" } if length $checksum;
    }
    my ( undef, $error ) = $native->get($digest);
    return _Verdict($error);
}

sub _Verdict {
    my ($error) = @_;
    return { name => 'whole' } if !$error;
    return { name => $error->name, text => $error->message };
}

# They hold nothing that could get lost
sub DESTROY {
    my ($self) = @_;
    return if $self->{parent} != $$;
    local ( $?, $!, $@ );
    my @workers = @{ delete $self->{workers} || [] };
    close $_->{socket} for @workers;
    kill TERM => $_->{pid} for @workers;
    waitpid $_->{pid}, 0 for @workers;
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Workers - processes that look at objects

=head1 METHODS

=head2 Submit JOB

Gives a job to a process, and waits for one that is free. What is found out goes to C<done>: a hash with the C<name> of
an error as in L<RT::ExternalStorage::AmazonS3::Error>, or C<whole>, and its C<text>.

=head2 Finish

Waits for all jobs.

=cut
