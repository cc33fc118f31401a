package RT::ExternalStorage::AmazonS3::Deadline;

use strict;
use warnings;

# Seconds. A web server has few processes, and behind each of them somebody waits.
use constant { WEB => 10, OTHERWISE => 120 };

# The bounds of the option, as the library has them
use constant { LEAST => 0.1, MOST => 3600 };

# Seconds that a call may take; 0 where this web request has used them up already
sub Remaining {
    my ( $class, $option ) = @_;
    my $seconds = $class->Seconds($option);
    my $request = _Request() or return $seconds;
    my $rest    = $seconds - ( $request->notes(__PACKAGE__) // 0 );
    return $rest > 0.001 ? $rest : 0;
}

sub Seconds {
    my ( $class, $option ) = @_;
    return $option
        if defined $option && $option =~ /\A\d+(?:\.\d*)?\z/ && $option >= LEAST && $option <= MOST;
    return $class->IsWeb ? WEB : OTHERWISE;
}

sub IsWeb { return $INC{'RT/Interface/Web/Handler.pm'} ? 1 : 0 }

# A call of this web request failed after so many seconds
sub Spend {
    my ( $class, $seconds ) = @_;
    my $request = _Request() or return;
    $request->notes( __PACKAGE__, ( $request->notes(__PACKAGE__) // 0 ) + $seconds );
    return;
}

# Mason's request, whose notes end with it
sub _Request {
    no warnings 'once';
    my $request = $HTML::Mason::Commands::m;
    return ref $request && eval { $request->can('notes') } ? $request : undef;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Deadline - how long a call may take

=head1 DESCRIPTION

A ticket page may ask for a hundred attachments. With the server down, the page must not wait a hundred times: all
failing calls of one web request share one deadline. Everywhere else each call has its own.

=head1 CLASS METHODS

=head2 Seconds OPTION

The option C<Deadline> where it is given and allowed, else 10 seconds in a web server, 120 elsewhere.

=head2 IsWeb

Whether this process belongs to a web server, where a call had better fail at once than wait for a server that is down.

=head2 Remaining OPTION

What is left of it for the next call, 0 if nothing is.

=head2 Spend SECONDS

Notes what a failing call took.

=cut
