package RT::ExternalStorage::AmazonS3::Tool::Verify::Progress;

use strict;
use warnings;

use IO::Handle  ();
use Time::HiRes ();

# A line this often where nobody watches, and on a terminal; seconds
use constant { SELDOM => 60, OFTEN => 0.2 };

sub new {
    my ( $class, $tool ) = @_;
    my $terminal = -t STDERR;    ## no critic (ProhibitInteractiveTest) it is not about asking
    $_->autoflush(1) for \*STDOUT, \*STDERR;
    return bless {
        silent   => scalar $tool->Option('quiet'),
        terminal => $terminal,
        shown    => $terminal ? 0 : Time::HiRes::time(),
        width    => 0
    }, $class;
}

sub Show {
    my ( $self, $text, $done, $most ) = @_;
    return if $self->{silent};
    my $now = Time::HiRes::time();
    return if $now - $self->{shown} < ( $self->{terminal} ? OFTEN : SELDOM );
    if ( ( $self->{phase} // '' ) ne $text ) { @$self{qw(phase begun first)} = ( $text, $now, $done ) }
    $self->{shown} = $now;
    my $line = "$text: $done" . ( $most ? sprintf ' of %d (%d%%)', $most, 100 * $done / $most : '' );
    my $time = $now - $self->{begun};
    $line .= sprintf ', %.0f/s', ( $done - $self->{first} ) / $time if $time > 1;

    if ( $self->{terminal} ) {
        printf STDERR "\r%-*s", $self->{width}, $line;
        $self->{width} = length $line;
    }
    else {
        print STDERR "$line\n";
    }
    return;
}

sub Clear {
    my ($self) = @_;
    printf STDERR "\r%*s\r", $self->{width}, '' if $self->{width};
    $self->{width} = 0;
    return;
}

sub DESTROY { $_[0]->Clear; return }

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Progress - how far a command is that does one thing after another

=head1 DESCRIPTION

On a terminal a line that is written over; elsewhere one a minute. With C<--quiet> nothing.

=head1 METHODS

=head2 Show WHAT, DONE, OF

How far it is, now and then; OF may be undefined.

=head2 Clear

Takes the line away, for what is told.

=cut
