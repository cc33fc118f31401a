package RT::ExternalStorage::AmazonS3::Tool::Externalize::Uploads;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Native::Bulk;
use RT::ExternalStorage::AmazonS3::Tool::Memory;

use constant {

    # Larger ones are not copied: they are stored one at a time, from where they are
    LARGE => 32 * 1024 * 1024,

    # Of the memory, for contents that are under way; the rest is for those that are being read
    SHARE => 5 / 8,
};

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { %args, under_way => {}, bytes => 0 }, $class;
    $self->{memory} = int( SHARE * $self->{memory} );
    $self->_Open;
    return $self;
}

sub _Open {
    my ($self) = @_;
    my $tool = $self->{tool};
    ( $self->{bulk}, my $error ) = RT::ExternalStorage::AmazonS3::Native::Bulk->open( $tool->Native,
        map { $_ => $self->{$_} } qw(concurrency memory) );
    $tool->Stop($error) if !$self->{bulk};
    return;
}

sub Outstanding { return $_[0]{bulk}->outstanding }

sub Close {
    my ($self) = @_;
    $self->{bulk}->close;
    return;
}

# Waits until there is room for so many bytes, or nothing else is under way. False where it makes no sense to go on.
sub Room {
    my ( $self, $bytes ) = @_;
    $self->Wait while $self->Outstanding && $self->{bytes} + $bytes > $self->{memory} && !$self->{stops}->();
    return 0 if $self->{stops}->();

    # The threads and their connections take memory as well
    if ( $bytes > $self->{memory} ) {
        $self->{bulk}->close;
        $self->_Open;
    }
    RT::ExternalStorage::AmazonS3::Tool::Memory::Trim() if $bytes > LARGE;
    return 1;
}

sub Store {
    my ( $self, $row ) = @_;
    my $content = delete $row->{content};
    $row->{bytes} = length $$content;
    if ( $row->{bytes} > LARGE || $row->{bytes} > $self->{memory} ) {
        return if !$self->Room( $row->{bytes} );
        return $self->{done}->( $row, $self->_StoreLarge( $row, $content ) );
    }
    my ( $accepted, $error );
    until ($accepted) {
        ( $accepted, $error ) = $self->{bulk}->submit( $row->{id}, $$content, content_type => $row->{stored_as} );
        return $self->{done}->( $row, { error => $error } ) if $error;
        return                                              if !$accepted && $self->{stops}->();
        $self->Wait                                         if !$accepted;
    }
    $self->{under_way}{ $row->{id} } = $row;
    $self->{bytes} += $row->{bytes};
    while ( my $result = $self->{bulk}->wait(0) ) { $self->_Result($result) }
    return;
}

sub _StoreLarge {
    my ( $self, $row, $content ) = @_;
    my $native = $self->{tool}->Native;
    my $key    = $native->sha256($$content);
    my ( $found, $missing ) = $native->head($key);
    my ( $stored, $error )  = $native->store( $key, $$content, content_type => $row->{stored_as} );
    return { error => $error } if !$stored;
    return { key   => $key, existed => $found || $missing->name ne 'not-found' };
}

# Waits a moment for a result
sub Wait {
    my ($self) = @_;
    my ( $result, $error ) = $self->{bulk}->wait(1);
    die "$error\n"          if $error;
    $self->_Result($result) if $result;
    $self->{waits}->();
    return;
}

sub _Result {
    my ( $self, $result ) = @_;
    my $row = delete $self->{under_way}{ $result->{id} };
    $self->{bytes} -= $row->{bytes};
    return $self->{done}->( $row, $result );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Externalize::Uploads - contents on their way into the bucket

=head1 METHODS

=over

=item new tool => TOOL, concurrency => NUMBER, memory => BYTES, stops => CODE, waits => CODE, done => CODE

C<stops> says whether it makes no sense to go on; C<waits> is called while nothing happens, C<done> with each row and
its result, as L<RT::ExternalStorage::AmazonS3::Native::Bulk/wait> has it.

=item Room BYTES

Waits until there is room for so many; false where it makes no sense to go on.

=item Store ROW

Begins with a row of L<RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows/Read>, whose content it takes.

=item Wait, Outstanding, Close

=back

=cut
