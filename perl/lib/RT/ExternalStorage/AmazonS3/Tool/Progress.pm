package RT::ExternalStorage::AmazonS3::Tool::Progress;

use strict;
use warnings;

use POSIX       ();
use Time::HiRes qw(time);

# Seconds between two lines where nobody watches, and between two looks of who does; how wide figures are beside a bar
use constant { PAUSE => 60, OFTEN => 0.2, WIDTH => 54 };

sub new {
    my ( $class, %args ) = @_;
    my $now  = time;
    my $self = bless { pause => PAUSE, %args, start => $now, shown => $now, done => 0, bytes => 0, width => 0 },
        $class;
    return $self if !$args{output}->IsText || !$args{total} || !POSIX::isatty(2);
    STDERR->autoflush(1);
    @{$self}{qw(terminal pause shown)} = ( 1, OFTEN, 0 );
    return $self if !eval { require Term::ProgressBar; 1 };
    $self->{bar} = Term::ProgressBar->new(
        { count => $args{total}, ETA => 'linear', fh => \*STDERR, remove => 1, name => 'x' x WIDTH } );
    $self->{bar}->max_update_rate(OFTEN);
    return $self;
}

sub Show {
    my ( $self, $done, $bytes ) = @_;
    $self->{first} //= [ $done, $bytes ];
    @{$self}{qw(done bytes)} = ( $done - $self->{first}[0], $bytes - $self->{first}[1] );
    my $now = time;
    return if $now - $self->{shown} < $self->{pause};
    $self->{shown} = $now;
    if ( $self->{bar} ) {
        $self->{bar}->name( sprintf '%-*s', WIDTH, $self->_Speed );
        $self->{bar}->update( $self->{done} < $self->{total} ? $self->{done} : $self->{total} - 1 );
    }
    elsif ( $self->{terminal} ) {
        my $line = $self->_Speed . $self->_Left;
        printf STDERR "\r%-*s", $self->{width}, $line;
        $self->{width} = length $line;
    }
    else {
        $self->{output}->Line( $self->_Speed . $self->_Left );
    }
    return;
}

# Nothing of it stays on a terminal
sub End {
    my ($self) = @_;
    if    ( $self->{bar} )   { $self->{bar}->update( $self->{total} ) }
    elsif ( $self->{width} ) { printf STDERR "\r%*s\r", $self->{width}, '' }
    @{$self}{qw(bar width)} = ( undef, 0 );
    return;
}

sub _Seconds { return time - $_[0]{start} || 1 }

sub _Speed {
    my ($self) = @_;
    my $seconds = $self->_Seconds;
    return sprintf '%d of %d %s, %.1f MB/s, %.1f objects/s', @{$self}{qw(done total verb)},
        $self->{bytes} / 1e6 / $seconds, $self->{done} / $seconds;
}

sub _Left {
    my ($self) = @_;
    my ( $done, $total ) = @{$self}{qw(done total)};
    return '' if !$done || $total <= $done;
    my $left = ( $total - $done ) * $self->_Seconds / $done;
    return $left < 90 ? sprintf ', about %d s left', $left + 0.5 : sprintf ', about %d min left', $left / 60 + 0.5;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Progress - how far it is

=head1 DESCRIPTION

On a terminal a bar, with L<Term::ProgressBar> where that is installed, else a line that changes; elsewhere a line a
minute. It says how many are done of how many, bytes and objects a second since it began, and the time that is left.

=head1 METHODS

=over

=item new output => OUTPUT, total => NUMBER, verb => PARTICIPLE, [pause => SECONDS]

C<pause>: between two lines, where that is not a terminal.

=item Show DONE, BYTES

So much is done. To be called often, also while nothing happens: the figures say so.

=item End

=back

=cut
