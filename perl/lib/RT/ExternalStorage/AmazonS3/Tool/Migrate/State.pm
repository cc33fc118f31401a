package RT::ExternalStorage::AmazonS3::Tool::Migrate::State;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Records;

# Seconds from one writing to the next
use constant EVERY => 20;

# Digests to be looked at again; with more of them it stays where it is
use constant AGAIN => 100;

use constant RECORDS => 'RT::ExternalStorage::AmazonS3::Records';

# %args: target (what it is a copy in)
sub new {
    my ( $class, %args ) = @_;
    my $last = RECORDS->Last('migrate') || {};
    my $same = ( $last->{target} // '' ) eq $args{target};
    return bless {
        %args,
        after   => $same ? $last->{after} // '' : '',
        again   => { map { $_ => 1 } $same ? @{ $last->{again} || [] } : () },
        waiting => [],
        done    => {},
        written => time,
    }, $class;
}

# Whether an earlier run has left this one whole in the target
sub IsDone {
    my ( $self, $digest ) = @_;
    return $digest le $self->{after} && !$self->{again}{$digest};
}

# Digests begin in their order and end in any
sub Begun {
    my ( $self, $digest ) = @_;
    push @{ $self->{waiting} }, $digest if $digest gt $self->{after} && !$self->{stays};
    return;
}

sub Ended {
    my ( $self, $digest, $is_whole ) = @_;
    my $again = $self->{again};
    if ($is_whole) {
        delete $again->{$digest};
    }
    elsif ( $digest le $self->{after} && keys %$again >= AGAIN && !$again->{$digest} ) {
        @{$self}{qw(after again stays waiting done)} = ( '', {}, 1, [], {} );
    }
    elsif ( !$self->{stays} ) {
        $again->{$digest} = 1;
    }
    return if $self->{stays} || $digest le $self->{after};
    $self->{done}{$digest} = 1;
    my $waiting = $self->{waiting};
    while ( @$waiting && $self->{done}{ $waiting->[0] } ) {
        if ( $again->{ $waiting->[0] } && keys %$again > AGAIN ) {
            delete @{$again}{ grep { $_ gt $self->{after} } keys %$again };
            @{$self}{qw(stays waiting done)} = ( 1, [], {} );
            return;
        }
        $self->{after} = shift @$waiting;
        delete $self->{done}{ $self->{after} };
    }
    return;
}

sub IsDue { return time - $_[0]{written} >= EVERY }

sub Save {
    my ( $self, %record ) = @_;
    $self->{written} = time;
    RECORDS->Keep(
        migrate => (
            %record,
            target => $self->{target},
            after  => $self->{after},
            again  => [ sort grep { $_ le $self->{after} } keys %{ $self->{again} } ],
        )
    );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Migrate::State - how far rt-s3 migrate has come

=head1 DESCRIPTION

It stands in the record of the last run, so that the next one does not read again what is whole in the target.

=head1 METHODS

=head2 IsDone DIGEST, Begun DIGEST, Ended DIGEST, IS_WHOLE

Digests begin in their order and end in any.

=head2 IsDue, Save FIELD => VALUE, ...

When to write it, with what else the record tells.

=cut
