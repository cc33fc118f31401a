package RT::ExternalStorage::AmazonS3::Native::Bulk;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Argument qw(bytes text);
use RT::ExternalStorage::AmazonS3::Error;
use RT::ExternalStorage::AmazonS3::Native;

use constant { ERROR => 'RT::ExternalStorage::AmazonS3::Error', NATIVE => 'RT::ExternalStorage::AmazonS3::Native' };

my %FUNCTION = (
    rts3_bulk_open   => [ [ 'opaque', 'uint32', 'uint64', 'opaque*', 'opaque*' ] => 'uint32' ],
    rts3_bulk_submit =>
        [ [ 'opaque', 'uint64', 'string', 'string', 'size_t', 'string', 'sint32*', 'opaque*' ] => 'uint32' ],
    rts3_bulk_wait => [
        [ 'opaque', 'uint64', 'sint32*', 'uint64*', 'opaque', 'sint32*', 'opaque*', 'uint64*', 'opaque*' ] => 'uint32'
    ],
    rts3_bulk_close => [ [ 'opaque', 'opaque*' ] => 'uint32' ],
);

my $Attached;

sub open {
    my ( $class, $native, %args ) = @_;
    if ( !$Attached ) {
        ( $Attached, my $error ) = NATIVE->attach_to( __PACKAGE__, %FUNCTION );
        return NATIVE->failed($error) if !$Attached;
    }
    for my $name (qw(concurrency memory)) {
        my $value = $args{$name} // 0;
        return NATIVE->failed( ERROR->new( argument => "$name must be a whole number" ) ) if $value !~ /\A\d{1,15}\z/;
    }
    my ( $bulk, $failure );
    my $status = _rts3_bulk_open( $native->id, $args{concurrency} // 0, $args{memory} // 0, \$bulk, \$failure );
    return NATIVE->refused( $status, $failure ) if $status;
    return bless { bulk => $bulk, native => $native, process => $$, outstanding => 0 }, $class;
}

sub submit {
    my ( $self, $id, undef, %args ) = @_;    # content stays where it is
    return NATIVE->failed( ERROR->new( argument => 'the id must be a whole number' ) )
        if ( $id // '' ) !~ /\A\d{1,19}\z/;
    my $error;
    my $content = bytes( $_[2], \$error ) or return NATIVE->failed($error);
    my @about   = map { scalar( defined $args{$_} ? text( $_, $args{$_}, \$error ) : undef ) } qw(key content_type);
    return NATIVE->failed($error) if $error;
    my ( $accepted, $failure ) = ( 0, undef );
    my $status = _rts3_bulk_submit( $self->{bulk}, $id, $about[0], $$content, length $$content,
        $about[1], \$accepted, \$failure );
    return NATIVE->refused( $status, $failure ) if $status;
    $self->{outstanding}++                      if $accepted;
    return $accepted ? 1 : 0;
}

sub wait {
    my ( $self, $seconds ) = @_;
    my ( $found, $id, $existed, $failed, $outstanding, $failure ) = ( 0, 0, 0, undef, 0, undef );
    my $key    = "\0" x 65;
    my $status = _rts3_bulk_wait(
        $self->{bulk}, int( 1000 * ( $seconds // 1 ) ),
        \$found,       \$id,     FFI::Platypus::Buffer::scalar_to_pointer($key),
        \$existed,     \$failed, \$outstanding, \$failure
    );
    return NATIVE->refused( $status, $failure ) if $status;
    $self->{outstanding} = $outstanding;
    return 0                                                                if !$found;
    return { id => $id, key => substr( $key, 0, 64 ), existed => $existed } if !$failed;
    my ( undef, $error ) = NATIVE->refused( NATIVE->error_status($failed), $failed );
    return { id => $id, error => $error };
}

# Contents whose result was not taken yet, as the last call knows it
sub outstanding { return $_[0]->{outstanding} }

sub close {
    my ($self) = @_;
    my $bulk   = delete $self->{bulk} or return 1;
    my $status = _rts3_bulk_close( $bulk, \my $failure );
    return $status ? NATIVE->refused( $status, $failure ) : 1;
}

# In a forked child it is the parent's to close
sub DESTROY {
    my ($self) = @_;
    return if !$self->{bulk} || $self->{process} != $$ || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ( $@, $!, $? );
    $self->close;
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Native::Bulk - store many contents at once

=head1 SYNOPSIS

    my ( $bulk, $error ) = RT::ExternalStorage::AmazonS3::Native::Bulk->open( $s3, concurrency => 32 );
    for my $id (@ids) {
        my $content = content_of($id);
        until ( $bulk->submit( $id, $content, content_type => 'image/png' ) ) {
            take( $bulk->wait );
        }
    }
    take( $bulk->wait ) while $bulk->outstanding;

    sub take {
        my ($done) = @_;
        return if !$done;
        print $done->{error} ? "$done->{id}: $done->{error}\n" : "$done->{id} is $done->{key}\n";
    }

=head1 DESCRIPTION

Contents are copied, hashed and stored by threads of the library, which are born with all signals blocked. Perl's signal
handlers run between two calls, and no call takes much longer than 200 ms. It belongs to the process that made it.

Every method returns a value, or C<(undef, $error)> with an L<RT::ExternalStorage::AmazonS3::Error>; in scalar context
just C<undef>.

=head1 METHODS

=over

=item open HANDLE, [concurrency => NUMBER], [memory => BYTES]

For an L<RT::ExternalStorage::AmazonS3::Native>. C<concurrency>: uploads under way at once, what the option C<Concurrency> says if not said here; C<memory>:
bytes of contents that it may hold, 256 MiB if not said.

=item submit ID, CONTENT, [key => KEY], [content_type => TYPE]

1, or 0 where there is no room for it before another content is done. ID is a number that comes back with the result;
KEY the digest that the content must have.

=item wait [SECONDS]

A result, C<< { id => ID, key => KEY, existed => BOOLEAN } >> (whether the object may have been there before) or
C<< { id => ID, error => ERROR } >>; 0 where none has come within that
time, or within 200 ms.

=item outstanding

Contents whose result was not taken yet.

=item close

Ends it; contents that are not done are given up. An object that goes away is closed.

=back

=cut
