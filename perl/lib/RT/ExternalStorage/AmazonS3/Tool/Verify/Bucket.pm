package RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Native::Listing;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Sort;

# A server that hangs is asked again: in between, a signal gets its turn. Milliseconds, and how often.
use constant { DEADLINE => 30_000, ATTEMPTS => 4 };

use constant DIGEST => qr/\A[0-9a-f]{64}\z/;

sub new {
    my ( $class, $tool ) = @_;
    $tool->Native;
    my %options = %{ $tool->Backend };
    my ( $native, $error ) = RT::ExternalStorage::AmazonS3::Tool::OpenServer( \%options );
    $tool->Stop($error) if !$native;
    $native->drain;
    return bless { tool => $tool, native => $native, options => \%options, objects => 0, bytes => 0, foreign => [] },
        $class;
}

sub Native  { return $_[0]{native} }
sub Objects { return $_[0]{objects} }
sub Bytes   { return $_[0]{bytes} }

# Which bucket that is, for a file that must not be taken for that of another one
sub Name {
    my ($self) = @_;
    return join ' ', map { $_ // '' } @{ $self->{options} }{qw(Host Bucket Prefix)};
}

# Elsewhere than at AWS a SHA-256 may be what somebody sent, not what is kept
sub KeepsChecksums {
    my ($self) = @_;
    my $host = $self->{options}{Host} // return 1;
    return $host =~ m{\A(?:https?://)?(?:[\w.-]+\.)?amazonaws\.com(?:\.cn)?\.?(?::\d+)?/*\z}i ? 1 : 0;
}

# Writes the listing down. $others is called with the names of objects that are none of RT's; $tick now and then.
sub List {
    my ( $self, $tick, $others ) = @_;
    my ( $listing, $error ) =
        RT::ExternalStorage::AmazonS3::Native::Listing->new( $self->{native}, deadline => DEADLINE );
    $self->{tool}->Stop($error) if !$listing;
    my $file = $self->{file} = RT::ExternalStorage::AmazonS3::Tool::Verify::Sort->Nameless;
    my $last = '';
    while ( my $object = $self->_NextListed( $listing, $tick ) ) {
        my ( $name, $size ) = @$object;
        $tick->() if $self->{objects}++ % 1000 == 0;
        $self->{bytes} += $size;
        if ( $name !~ DIGEST ) {
            $others->( $name, $size );
            next;
        }
        $self->{tool}->Stop("the server's listing is not in order ($name comes after $last), so nothing can be said")
            if $name le $last;
        $last = $name;
        print {$file} "$name $size\n" or die "$file: $!\n";
    }
    $file->flush or die "$file: $!\n";
    seek $file, 0, 0 or die "$file: $!\n";
    return;
}

sub _NextListed {
    my ( $self, $listing, $tick ) = @_;
    my $error;
    for ( 1 .. ATTEMPTS ) {
        ( my $object, $error ) = $listing->next;
        return $object if defined $object;
        $tick->();
        last if $error->name ne 'timeout';
    }
    return $self->{tool}->Stop("the bucket can't be listed: $error");
}

# The next object with a digest for a name, as [digest, size]; undef after the last one
sub Next {
    my ($self) = @_;
    my $line = readline $self->{file};
    if ( !defined $line ) {
        die "$self->{file}: $!\n" if $self->{file}->error;
        return undef;
    }
    chomp $line;
    return [ split / /, $line ];
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket - what is in the bucket

=head1 DESCRIPTION

The listing is read before the database: what is not in it but is referred to may have come since, and is asked for; and
to what is in it and is not referred to, nothing refers.

=head1 METHODS

=head2 List TICK, OTHERS

Lists the bucket into a temporary file, or stops the command. A part of a listing is never taken for the whole.

=head2 Next

The next object of RT's, in the order of their names.

=head2 Native, Name, Objects, Bytes, KeepsChecksums

The library's handle; which bucket it is; how many objects there are, and how large; whether the server can be asked for
an object's SHA-256.

=cut
