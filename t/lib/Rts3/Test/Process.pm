package Rts3::Test::Process;

use strict;
use warnings;

use Carp        qw(croak);
use File::Temp  ();
use POSIX       qw(WNOHANG);
use Time::HiRes qw(sleep time);

use Rts3::Test::File qw(slurp);

=head1 NAME

Rts3::Test::Process - Children of a test, none of which outlives it

=head1 FUNCTIONS

=head2 spawn command => \@command, env => \%env, out => $file, err => $file

Starts a command in a process group of its own, with nothing on its standard input, and returns its process id.
The kernel ends it with SIGTERM when the caller dies in whatever way.

=cut

sub spawn {
    my %args = @_;
    my $pid  = fork // croak "fork: $!";
    return $pid if $pid;

    # From here on, in the child, nothing may run the caller's END blocks.
    my $ok = eval {
        POSIX::setpgid( 0, 0 );
        local %ENV = $args{env} ? %{ $args{env} } : %ENV;
        open STDIN,  '<', '/dev/null' or die "/dev/null: $!\n";
        open STDOUT, '>', $args{out}  or die "$args{out}: $!\n";
        open STDERR, '>', $args{err}  or die "$args{err}: $!\n";
        local @SIG{qw(INT TERM PIPE CHLD HUP ALRM)} = ('DEFAULT') x 6;
        no warnings 'exec';
        exec {'/usr/bin/setpriv'} 'setpriv', '--pdeathsig', 'TERM', '--', @{ $args{command} };
    };
    print STDERR $@ || "setpriv: $!\n" unless $ok;
    POSIX::_exit(127);
}

=head2 run command => \@command, env => \%env, timeout => $seconds

Runs a command to its end (120 s at most, unless said) and returns a reference to a hash:
pid, exit (128 and the signal's number if one ended it), out, err, seconds.

=cut

sub run {
    my %args    = ( timeout => 120, @_ );
    my $out     = File::Temp->new;
    my $err     = File::Temp->new;
    my $start   = time;
    my $pid     = spawn( %args, out => $out->filename, err => $err->filename );
    my $expired = !defined wait_for( $pid, $args{timeout} );
    stop($pid)                                                                              if $expired;
    croak "@{ $args{command} } took more than $args{timeout} s: " . slurp( $err->filename ) if $expired;
    my $status = $?;
    return {
        pid     => $pid,
        exit    => $status & 127 ? 128 + ( $status & 127 ) : $status >> 8,
        out     => slurp( $out->filename ),
        err     => slurp( $err->filename ),
        seconds => time - $start,
    };
}

=head2 wait_for $pid, $seconds

Waits for the end of a child, whose status is then in $?: true, or undef if it still runs.

=cut

sub wait_for {
    my ( $pid, $seconds ) = @_;
    my $end   = time + $seconds;
    my $pause = 0.002;
    while ( time < $end ) {
        return 1 if waitpid( $pid, WNOHANG );
        sleep $pause;
        $pause *= 1.2 if $pause < 0.05;
    }
    return undef;
}

=head2 stop $pid

Ends a child that C<spawn> started with SIGTERM, or after 5 s SIGKILL, and then whatever it left behind in its process
group: a server that is told to end while it starts forgets its workers.

=cut

sub stop {
    my $pid = shift;
    kill TERM => $pid;
    my $ended = wait_for( $pid, 5 );
    kill KILL => -$pid;
    waitpid $pid, 0 unless $ended;
    return;
}

1;
