package RT::ExternalStorage::AmazonS3::Deadline;

use strict;
use warnings;

use Scalar::Util ();

use RT::ExternalStorage::AmazonS3::Caller;

# Seconds. A web server has few processes, and behind each of them somebody waits.
use constant { WEB => 10, OTHERWISE => 120 };

# The bounds of the option, as the library has them
use constant { LEAST => 0.1, MOST => 3600 };

# Of a request of RT's REST 2 in which a call has failed
my $Environment;

# Seconds that a call may take; 0 where this web request has used them up already
sub Remaining {
    my ( $class, $option ) = @_;
    my $seconds = $class->Seconds($option);
    my $request = _Request();
    my $spent   = $request ? $request->notes(__PACKAGE__) : _SpentByREST();
    return $seconds if !$spent;
    my $rest = $seconds - $spent;
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
    if ( my $request = _Request() ) {
        $request->notes( __PACKAGE__, ( $request->notes(__PACKAGE__) // 0 ) + $seconds );
    }
    elsif ( my $environment = $class->IsWeb && RT::ExternalStorage::AmazonS3::Caller->Environment ) {
        Scalar::Util::weaken( $Environment = $environment );
        $environment->{ +__PACKAGE__ } += $seconds;
    }
    return;
}

# One that is still there may be of another request than this one
sub _SpentByREST {
    return undef if !$Environment;
    my $environment = RT::ExternalStorage::AmazonS3::Caller->Environment;
    return $environment && $environment == $Environment ? $environment->{ +__PACKAGE__ } : undef;
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
failing calls of one web request, REST included, share one deadline. Everywhere else each call has its own.

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
