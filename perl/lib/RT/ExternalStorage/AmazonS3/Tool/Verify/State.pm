package RT::ExternalStorage::AmazonS3::Tool::Verify::State;

use strict;
use warnings;

use Fcntl      ();
use IO::Handle ();
use JSON       ();

# Seconds from one writing to the next
use constant EVERY => 2;

# Digests to be looked at again; with more of them the state stays where it is
use constant AGAIN => 10_000;

sub new {
    my ( $class, %args ) = @_;
    my $self = bless {
        %args,
        after   => '',
        started => time,
        looked  => 0,
        again   => {},
        waiting => [],
        done    => {},
        written => time,
        coder   => JSON->new->canonical->utf8
    }, $class;
    $self->_Read  if defined $self->{file} && -s $self->{file};
    $self->_Write if defined $self->{file};
    return $self;
}

sub After   { return $_[0]{after} }
sub Started { return $_[0]{started} }

# How many earlier runs have found whole
sub Earlier { return $_[0]{earlier} // 0 }

sub _Read {
    my ($self) = @_;
    my ( $file, $tool ) = @{$self}{qw(file tool)};
    open my $handle, '<:raw', $file or $tool->Stop("--state: $file cannot be read: $!");
    my $text = do { local $/ = undef; readline $handle };
    close $handle or $tool->Stop("--state: $file cannot be read: $!");
    my $state = eval { $self->{coder}->decode($text) };
    $tool->Stop("--state: $file is no file of this command; nothing was done")
        if ref $state ne 'HASH'
        || ( $state->{after} // '-' ) !~ /\A(?:[0-9a-f]{64})?\z/
        || ref $state->{again} ne 'ARRAY'
        || grep { ( $state->{$_} // 0 ) !~ /\A\d{1,15}\z/ } qw(started looked);
    $tool->Stop("--state: $file is that of another bucket ($state->{bucket}); nothing was done")
        if ( $state->{bucket} // '' ) ne $self->{bucket};
    $self->{after} = $state->{after};
    $self->{again} = { map { $_ => 1 } @{ $state->{again} } };
    for my $name (qw(started looked)) { $self->{$name} = $state->{$name} if $state->{$name} }
    my $again = grep { $_ le $self->{after} } @{ $state->{again} };
    $self->{earlier} = $self->{looked} > $again ? $self->{looked} - $again : 0;
    return;
}

# Whether an earlier run has found this one whole
sub IsDone {
    my ( $self, $digest ) = @_;
    return $digest le $self->{after} && !$self->{again}{$digest};
}

# In the order of the digests
sub Begun {
    my ( $self, $digest ) = @_;
    push @{ $self->{waiting} }, $digest if $self->_Moves($digest);
    return;
}

sub Ended {
    my ( $self, $digest, $is_whole ) = @_;
    my $again = $self->{again};
    delete $again->{$digest} if $is_whole;
    if ( $self->_Moves($digest) ) {
        $again->{$digest} = 1 if !$is_whole;
        $self->{done}{$digest} = 1;
        $self->_Move;
    }
    $self->Save if time - $self->{written} >= EVERY;
    return;
}

# Without a file nothing is noted; with too much to be looked at again nothing more
sub _Moves {
    my ( $self, $digest ) = @_;
    return defined $self->{file} && !$self->{stays} && $digest gt $self->{after};
}

sub _Move {
    my ($self) = @_;
    my ( $waiting, $again ) = @{$self}{qw(waiting again)};
    while ( @$waiting && $self->{done}{ $waiting->[0] } ) {
        $self->{after} = shift @$waiting;
        delete $self->{done}{ $self->{after} };
        $self->{looked}++;
    }
    return if keys %{$again} <= AGAIN;
    delete @{$again}{ grep { $_ gt $self->{after} } keys %{$again} };
    @{$self}{qw(stays waiting done)} = ( 1, [], {} );
    return;
}

# Returns whether there is a file
sub Save {
    my ($self) = @_;
    return 0 if !defined $self->{file};
    $self->_Write;
    return 1;
}

# A whole file or the one before
sub _Write {
    my ($self) = @_;
    my $file   = $self->{file};
    my $new    = "$file.$$";
    my $text   = $self->{coder}->encode(
        {
            again => [ sort keys %{ $self->{again} } ],
            map { $_ => $self->{$_} } qw(bucket after started looked)
        }
    );
    unlink $new;
    my $written = sysopen my $handle, $new, Fcntl::O_WRONLY() | Fcntl::O_CREAT() | Fcntl::O_EXCL();
    $written &&= print {$handle} "$text\n";
    $written &&= $handle->flush && $handle->sync;
    $written &&= close $handle;
    $written &&= rename $new, $file;

    if ( !$written ) {
        my $why = $!;
        unlink $new;
        $self->{tool}->Stop("--state: $file cannot be written: $why");
    }
    $self->{written} = time;
    return;
}

# The next run begins anew
sub Forget {
    my ($self) = @_;
    my $file = delete $self->{file} // return;
    unlink $file or $self->{tool}->Stop("--state: $file cannot be removed: $!");
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::State - how far rt-s3 verify --deep has come

=head1 DESCRIPTION

The file of C<--state>: up to which digest all objects were looked at, and which of them have to be looked at again.

=head1 METHODS

=head2 IsDone DIGEST, Begun DIGEST, Ended DIGEST, IS_WHOLE

Digests begin in their order and end in any.

=head2 Save, Forget, After

Write the file; remove it; up to where.

=head2 Started, Earlier

When the first of the runs began, and how many objects those before this one have found whole.

=cut
