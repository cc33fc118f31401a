package RT::ExternalStorage::AmazonS3::Tool::Workers;

use strict;
use warnings;

use IO::Select  ();
use JSON        ();
use POSIX       ();
use Socket      qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Time::HiRes ();

# One that has held so much is not kept: Perl does not give memory back
use constant LARGE => 32 * 1024 * 1024;

# Seconds for which those that were killed are waited for: one that hangs in the kernel does not end
use constant PATIENCE => 5;

# %args: verb (what they do to a digest, for a message), concurrency, memory (bytes), begin (called in each process), work
# (called there with each job; returns a verdict), done (called here with both), tick (called while there is nothing to
# do); limit (seconds for a job) and hangs (the verdict after those), where the work itself has no bound
sub new {
    my ( $class, %args ) = @_;
    return bless {
        %args,
        idle    => [],
        busy    => {},
        workers => {},
        bytes   => 0,
        select  => IO::Select->new,
        coder   => JSON->new->canonical->ascii,
        parent  => $$
    }, $class;
}

# $job: digest, size (0 where it isn't known), and what the process is to know
sub Submit {
    my ( $self, $job ) = @_;
    my $busy = $self->{busy};
    while ( keys %$busy >= $self->{concurrency}
        || %$busy && $self->{bytes} + $job->{size} > $self->{memory} )
    {
        $self->_Wait;
    }
    my $worker = shift @{ $self->{idle} } // $self->_Start;
    $busy->{ fileno $worker->{socket} } = $worker;
    $worker->{job}                      = $job;
    $worker->{until}                    = time + $self->{limit}->($job) if $self->{limit};
    $self->{bytes} += $job->{size};
    local $SIG{PIPE} = 'IGNORE';
    syswrite $worker->{socket}, $self->{coder}->encode($job) . "\n" or $self->_Ended($worker);
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
        my $worker = $self->{workers}{ fileno $socket };
        my $read   = sysread $socket, my $text, 65536;
        next if !defined $read && $!{EINTR};
        return $self->_Ended($worker) if !$read;
        $worker->{text} .= $text;
        next if $worker->{text} !~ /\n\z/;
        my $verdict = $self->{coder}->decode( $worker->{text} );
        $worker->{text} = '';
        my $job = $self->_Release($worker);
        if   ( $job->{size} > LARGE ) { $self->_Kill($worker) }
        else                          { push @{ $self->{idle} }, $worker }
        $self->{done}->( $job, $verdict );
    }
    for my $worker ( grep { defined $_->{until} && time > $_->{until} } values %{ $self->{busy} } ) {
        my $job = $self->_Release($worker);
        $self->_Kill($worker);
        $self->{done}->( $job, $self->{hangs} );
    }
    return;
}

sub _Release {
    my ( $self, $worker ) = @_;
    my $job = delete $worker->{job};
    delete $worker->{until};
    delete $self->{busy}{ fileno $worker->{socket} };
    $self->{bytes} -= $job->{size};
    return $job;
}

sub _Ended {
    my ( $self, $worker ) = @_;
    my $digest = $worker->{job} ? $worker->{job}{digest} : 'nothing';
    die "the process that $self->{verb} $digest has ended before its time\n";
}

sub _Kill {
    my ( $self, @workers ) = @_;
    for my $worker (@workers) {
        delete $self->{workers}{ fileno $worker->{socket} };
        $self->{select}->remove( $worker->{socket} );
        close $worker->{socket};
    }
    kill KILL => map { $_->{pid} } @workers;
    my %left  = map { $_->{pid} => 1 } @workers;
    my $until = time + PATIENCE;
    while ( %left && time <= $until ) {
        delete @left{ grep { waitpid( $_, POSIX::WNOHANG() ) } keys %left };
        Time::HiRes::sleep(0.01) if %left;
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
            close $_ for $here, map { $_->{socket} } values %{ $self->{workers} };
            $self->{begin}->() if $self->{begin};
            $self->_Work($there);
            1;
        };
        POSIX::_exit( $ended ? 0 : 1 );
    }
    close $there or die "socketpair: $!\n";
    $self->{select}->add($here);
    return $self->{workers}{ fileno $here } = { socket => $here, pid => $pid, text => '' };
}

sub _Work {
    my ( $self, $socket ) = @_;
    while ( defined( my $line = readline $socket ) ) {
        my $verdict = $self->{work}->( $self->{coder}->decode($line) );
        my $answer  = $self->{coder}->encode($verdict) . "\n";
        while ( length $answer ) {
            my $written = syswrite $socket, $answer or return;
            substr $answer, 0, $written, '';
        }
    }
    return;
}

# They hold nothing that could get lost
sub DESTROY {
    my ($self) = @_;
    return if $self->{parent} != $$;
    local ( $?, $!, $@ );
    $self->_Kill( values %{ $self->{workers} } );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Workers - processes that each look at, or copy, one object at a time

=head1 METHODS

=head2 Submit JOB

Gives a job to a process, and waits for one that is free, and for memory. What comes of it goes to C<done>.

=head2 Finish

Waits for all jobs.

=cut
