package RT::ExternalStorage::AmazonS3::Tool::Verify::Repair;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Native;

use constant NATIVE => 'RT::ExternalStorage::AmazonS3::Native';

# Trouble with the server, not with an object
use constant OUTAGE => qr/\A(?:library|config|credentials|denied|network|timeout|throttled|unavailable|no-bucket)\z/;

sub new {
    my ( $class, %args ) = @_;
    return bless { %args, wanted => {} }, $class;
}

# A digest to be repaired
sub Want {
    my ( $self, $digest ) = @_;
    $self->{wanted}{$digest} = 1;
    return;
}

# Stores all wanted ones of which the database still has the content
sub Run {
    my ( $self, $references, $tick ) = @_;
    my $wanted = $self->{wanted};
    return if !%$wanted;
    $references->EachContent(
        $tick,
        sub {
            my ( $content, $type ) = @_;
            return if !%$wanted;
            my ( $digest, $error ) = NATIVE->sha256($$content);
            $self->{tool}->Stop($error)               if !$digest;
            $self->_Store( $digest, $content, $type ) if $wanted->{$digest};
        }
    );
    $self->{report}->Note("not repaired, because no row of the database has the content: $_") for sort keys %$wanted;
    return;
}

sub _Store {
    my ( $self, $digest, $content, $type ) = @_;
    my $native = $self->{native};
    delete $self->{wanted}{$digest};
    my ( $done, $error ) = $native->store( $digest, $$content, content_type => $type );
    ( $done, $error ) = $native->get($digest) if defined $done;
    $native->drain;
    if ( defined $done ) {
        $self->{report}->Finding( repaired => digest => $digest );
        return;
    }
    $self->{tool}->Stop("$digest could not be repaired: $error") if $error->name =~ OUTAGE;
    $self->{report}->Note("not repaired: $digest: $error");
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Repair - write objects again from what the database still has

=head1 METHODS

=head2 Want DIGEST

What is missing or damaged.

=head2 Run REFERENCES, TICK

Looks through all content that is still in the database, and stores what is wanted.

=cut
