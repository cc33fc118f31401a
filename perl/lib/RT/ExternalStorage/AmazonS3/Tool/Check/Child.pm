package RT::ExternalStorage::AmazonS3::Tool::Check::Child;

use strict;
use warnings;

use IO::Select  ();
use JSON        ();
use POSIX       ();
use Time::HiRes ();

# What $code returns in a child process, or (undef, $why); after so many seconds the child is ended. What it returns must
# be data that JSON knows.
sub Answer {
    my ( $class, $seconds, $code ) = @_;
    pipe my $read, my $write or return ( undef, "pipe: $!" );
    my $pid = fork // return ( undef, "fork: $!" );
    if ( !$pid ) {
        local @SIG{qw(INT TERM HUP)} = ('DEFAULT') x 3;
        my $answer = eval { { value => $code->() } } || { error => "$@" };
        my $json   = JSON->new->ascii->allow_nonref->encode($answer);
        while ( length $json ) {
            my $written = syswrite $write, $json or last;
            substr $json, 0, $written, '';
        }

        # RT's database handle and END blocks are the parent's
        POSIX::_exit(0);
    }
    close $write or return ( undef, "pipe: $!" );
    my ( $text, $is_over ) = eval { _Read( $read, $seconds ) };
    my $error = $@;    # a signal's, perhaps
    kill KILL => $pid;
    waitpid $pid, 0;
    die $error                                      if ref $error || length $error;
    return ( undef, "no answer within $seconds s" ) if !$is_over;
    my $answer = eval { JSON->new->allow_nonref->decode($text) };
    return ( undef, 'it ended without an answer' )   if !$answer;
    return ( undef, $answer->{error} =~ s/\s+\z//r ) if defined $answer->{error};
    return $answer->{value};
}

sub _Read {
    my ( $handle, $seconds ) = @_;
    my $end  = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) + $seconds;
    my $text = '';
    while (1) {
        my $left = $end - Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() );
        return ( $text, 0 ) if $left <= 0;
        next                if !IO::Select->new($handle)->can_read($left);
        my $read = sysread $handle, $text, 65_536, length $text;
        return ( $text, 1 ) if !$read;
    }
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Child - something done in another process

=head1 DESCRIPTION

What can't be interrupted, such as a name look-up, or must not be undone, such as becoming another user.

=head1 CLASS METHODS

=over

=item Answer SECONDS, CODE

What the code returns, any data; or C<(undef, $why)>. The process is gone afterwards.

=back

=cut
