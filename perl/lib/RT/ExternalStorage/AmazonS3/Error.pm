package RT::ExternalStorage::AmazonS3::Error;

use strict;
use warnings;

use overload '""' => sub { return $_[0]->message }, bool => sub { return 1 }, fallback => 1;

# The library's numbers and names (include/rts3.h); 'library' is ours: the library itself is not to be had.
our %STATUS = (
    'library'     => 0,
    'config'      => 1,
    'credentials' => 2,
    'denied'      => 3,
    'not-found'   => 4,
    'corrupt'     => 5,
    'mismatch'    => 6,
    'network'     => 7,
    'timeout'     => 8,
    'throttled'   => 9,
    'server'      => 10,
    'unavailable' => 11,
    'internal'    => 12,
    'argument'    => 13,
    'no-bucket'   => 14,
);
my %NAME = reverse %STATUS;

sub new {
    my ( $class, $name, $message ) = @_;
    $message //= '';
    $message =~ s/\s*\R\s*/ /g;
    $message =~ s/^\s+|\s+\z//g;
    return bless { name => $name, status => $STATUS{$name}, message => $message }, $class;
}

sub from_status {
    my ( $class, $status, $message ) = @_;
    my $self = $class->new( $NAME{$status} // 'unknown', $message );
    $self->{status} = $status;
    return $self;
}

sub status  { return $_[0]->{status} }
sub name    { return $_[0]->{name} }
sub message { return $_[0]->{message} }

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Error - what went wrong, as a value

=head1 SYNOPSIS

    my ( $content, $error ) = $s3->get($key);
    warn $error->message if $error && $error->name ne 'not-found';

=head1 DESCRIPTION

Methods of L<RT::ExternalStorage::AmazonS3::Native> return a value, or C<undef> and one of these. In string context it
is its message.

=head1 METHODS

=head2 new NAME, MESSAGE

One of these names, see below; the message is made to fit on one line.

=head2 from_status STATUS, MESSAGE

The same for a number of the library's. One that is newer than this module has the name C<unknown>.

=head2 status

The number of the library's status (F<rts3.h>); 0 where the library itself could not be loaded.

=head2 name

The status as a word: C<config>, C<credentials>, C<denied>, C<not-found>, C<corrupt>, C<mismatch>, C<network>,
C<timeout>, C<throttled>, C<server>, C<unavailable>, C<internal>, C<argument>, C<no-bucket>, or C<library>.

=head2 message

One line for the log. It holds no secret.

=cut
