package RT::ExternalStorage::AmazonS3::Signals;

use strict;
use warnings;

use Config ();
use POSIX  ();

# Before and after every call, so it has to be quick
my @NAMES   = grep { !/\A__/ } keys %SIG;
my %IS_NONE = map  { $_ => 1 } '', qw(DEFAULT IGNORE);

my %Number;

# Blocks the signals that Perl has handlers for, until Release is called with what this returns. A handler may die at any
# moment in here, or before Release: whatever unwinds then restores the mask, which is why it is known before it is changed.
sub Hold {
    my ($class) = @_;
    return undef if !grep { defined && !$IS_NONE{$_} } @SIG{@NAMES};
    my @handled =
        grep { defined $SIG{$_} && !$IS_NONE{ $SIG{$_} } && ( $Number{$_} //= _Number($_) ) } @NAMES;
    my $signals = POSIX::SigSet->new( @Number{@handled} );
    my $before  = POSIX::SigSet->new;
    POSIX::sigprocmask( POSIX::SIG_BLOCK(), POSIX::SigSet->new, $before );
    my $held = bless { before => $before }, $class;
    POSIX::sigprocmask( POSIX::SIG_BLOCK(), $signals );
    return $held;
}

sub Release {
    my ( $class, $held ) = @_;
    POSIX::sigprocmask( POSIX::SIG_SETMASK(), $held->{before} ) if $held;
    return;
}

sub DESTROY {
    my ($self) = @_;
    POSIX::sigprocmask( POSIX::SIG_SETMASK(), $self->{before} );
    return;
}

# What POSIX does not know stands in a part of Config that is slow to load.
sub _Number {
    my ($name) = @_;
    my $constant = POSIX->can("SIG$name");
    return $constant->() if $constant;
    my %number;
    @number{ split ' ', $Config::Config{sig_name} } = split ' ', $Config::Config{sig_num};
    return $number{$name} // 0;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Signals - keep Perl's signal handlers out of native calls

=head1 DESCRIPTION

A handler runs when Perl gets the word: that is after a native call, but also in the middle of one that calls back into
Perl. If it dies there (C<alarm> with C<die>), the exception is lost; if it makes a call of its own, that waits for the
one it interrupts. So signals that have a handler are kept for after the call. Signals without one do at once what they
always do.

=head1 CLASS METHODS

=head2 Hold

Blocks the signals that have handlers. Returns what L</Release> wants.

=head2 Release HELD

Lets them come.

=cut
