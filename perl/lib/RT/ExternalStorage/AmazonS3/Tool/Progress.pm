package RT::ExternalStorage::AmazonS3::Tool::Progress;

use strict;
use warnings;

use POSIX       ();
use Time::HiRes qw(time);

# Seconds between two lines where nobody watches
use constant PAUSE => 60;

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { %args, start => time, shown => time, done => 0, bytes => 0 }, $class;
    if ( $args{output}->IsText && POSIX::isatty(2) && $args{total} && eval { require Term::ProgressBar; 1 } ) {
        $self->{bar} = Term::ProgressBar->new(
            { count => $args{total}, ETA => 'linear', fh => \*STDERR, remove => 1, name => $args{verb} } );
        $self->{bar}->max_update_rate(1);
    }
    return $self;
}

sub Show {
    my ( $self, $done, $bytes ) = @_;
    $self->{first} //= [ $done, $bytes ];
    @{$self}{qw(done bytes)} = ( $done - $self->{first}[0], $bytes - $self->{first}[1] );
    $self->{bar}->update( $self->{done} ) if $self->{bar};
    return                                if $self->{bar} || time - $self->{shown} < PAUSE;
    $self->{shown} = time;
    $self->{output}->Line( $self->_Text );
    return;
}

sub End {
    my ($self) = @_;
    $self->{bar}->update( $self->{total} ) if $self->{bar};
    return;
}

sub _Text {
    my ($self) = @_;
    my $seconds = time - $self->{start} || 1;
    my ( $done, $total ) = @{$self}{qw(done total)};
    my $left = $done && $total > $done ? ( $total - $done ) * $seconds / $done : 0;
    return sprintf '%d of %d %s, %.1f MB/s, %.1f objects/s, about %d min left', $done, $total, $self->{verb},
        $self->{bytes} / 1e6 / $seconds, $done / $seconds, $left / 60 + 0.5;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Progress - how far it is

=head1 DESCRIPTION

A bar on a terminal, where L<Term::ProgressBar> is installed; else a line a minute.

=head1 METHODS

=over

=item new output => OUTPUT, total => NUMBER, verb => PARTICIPLE

=item Show DONE, BYTES

=item End

=back

=cut
