package RT::ExternalStorage::AmazonS3::Tool::Output;

use strict;
use warnings;

use IO::Handle ();
use JSON       ();

sub new {
    my ( $class, %args ) = @_;
    binmode STDOUT, ':encoding(UTF-8)';
    binmode STDERR, ':encoding(UTF-8)';
    STDOUT->autoflush(1);    # whoever reads it through a pipe sees each line at once
    return bless { json => $args{json}, quiet => $args{quiet}, coder => JSON->new->canonical->allow_nonref }, $class;
}

sub IsText { return !$_[0]{json} && !$_[0]{quiet} }

sub Line {
    my ( $self, $text ) = @_;
    $self->_Write($text) if $self->IsText;
    return;
}

sub Problem {
    my ( $self, $text ) = @_;
    print STDERR "$text\n" if !$self->{json};
    return;
}

sub Record {
    my ( $self, %record ) = @_;
    $self->_Write( $self->{coder}->encode( \%record ) ) if $self->{json};
    return;
}

# Why not everything could be written, or undef
sub Failed { return $_[0]{failed} }

sub _Write {
    my ( $self, $line ) = @_;

    # With an encoding, print says of more than 1,024 bytes that they were written, also where they were not
    for my $part ( "$line\n" =~ /.{1,250}/gs ) {
        $self->{failed} //= "$!" if !print $part;
    }
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Output - what a command of rt-s3 writes

=head1 DESCRIPTION

Text, or, with C<--json>, one object a line.

=head1 METHODS

=over

=item Line TEXT

What there is to tell; not with C<--quiet>.

=item Problem TEXT

What is wrong, to standard error; also with C<--quiet>.

=item Record NAME => VALUE, ...

The same for programs.

=item Failed

Why not all of it could be written to standard output, or C<undef>.

=item IsText

Whether C<Line> writes anything.

=back

=cut
