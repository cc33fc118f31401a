package RT::ExternalStorage::AmazonS3::Tool::Migrate::Copy;

use strict;
use warnings;

use Time::HiRes ();

use RT::ExternalStorage::AmazonS3::Native;

use constant NATIVE => 'RT::ExternalStorage::AmazonS3::Native';

# Seconds for which a bucket that was just made may not be known everywhere
use constant NEW_BUCKET => 60;

# How RT's backends say of a file that it is not there
use constant MISSING => qr/does not exist|no such file|not[ _-]?found/i;

# AmazonS3 ends there when the server answers 404
use constant NO_REASON => qr/\ACould not retrieve from AmazonS3:\s*\z/;

# %args: source (a Native, or one of RT's backends), target (a Native), checksums (whether the target can be asked for
# them), new (whether the target was just made)
sub new {
    my ( $class, %args ) = @_;
    return bless {%args}, $class;
}

# What comes of a job, { digest, type, there }: { name => 'copied' or 'present', bytes }, or { side, name, text }, the name
# being that of an error
sub Work {
    my ( $self, $job ) = @_;
    my $verdict = $self->_Work($job);
    $_->drain for grep { $_->isa(NATIVE) } @{$self}{qw(source target)};
    return $verdict;
}

sub _Work {
    my ( $self, $job ) = @_;
    if ( $job->{there} ) {
        my ( $whole, $error ) = $self->_IsWhole( $job->{digest} );
        return { name => 'present' } if $whole;
        return { side => 'target', name => $error->name, text => $error->message }
            if $error && $error->name ne 'not-found' && $error->name ne 'corrupt';
    }
    my ( $content, $failure ) = $self->_Read( $job->{digest} );
    return { side => 'source', %$failure } if !defined $content;
    my $error = $self->_Store( $job, \$content );
    return { name => 'copied', bytes => length $content } if !$error;
    return { side => 'source', name => 'corrupt', text => "it is not what was stored: $error" }
        if $error->name eq 'mismatch';
    return { side => 'target', name => $error->name, text => $error->message };
}

# Whether what is in the target is the content
sub _IsWhole {
    my ( $self, $digest ) = @_;
    my $target = $self->{target};
    if ( $self->{checksums} ) {
        my ( $head, $error ) = $target->head($digest);
        return ( 0, $error )                        if !$head;
        return $head->{checksum} eq $digest ? 1 : 0 if length( $head->{checksum} // '' );
    }
    my ( $content, $error ) = $target->get($digest);
    return defined $content ? 1 : ( 0, $error );
}

sub _Read {
    my ( $self, $digest ) = @_;
    my $source = $self->{source};
    if ( $source->isa(NATIVE) ) {
        my ( $content, $error ) = $source->get($digest);
        return defined $content ? $content : ( undef, { name => $error->name, text => $error->message } );
    }
    my ( $content, $why ) = eval {
        local $SIG{__DIE__} = 'DEFAULT';
        $source->Get($digest);
    };
    return $content if defined $content;
    $why = $@                   if !length( $why // '' );
    $why = 'it gives no reason' if !length( $why // '' );
    $why =~ s/\s*\R\s*/ /g;
    return ( undef, { name => 'not-found', text => "$why it, or the bucket, is not there" } ) if $why =~ NO_REASON;
    return ( undef, { name => $why =~ MISSING ? 'not-found' : 'unreadable', text => $why } );
}

# Returns an error, or nothing. The library compares the content with its digest before it sends anything.
sub _Store {
    my ( $self, $job, $content ) = @_;
    my $end = time + ( $self->{new} ? NEW_BUCKET : 0 );
    while () {
        my ( $stored, $error ) =
            $self->{target}->store( $job->{digest}, $$content, content_type => $job->{type} );
        return        if $stored;
        return $error if $error->name ne 'no-bucket' || time >= $end;
        Time::HiRes::sleep(1);
    }
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Migrate::Copy - copy one object, and know that it is whole

=head1 METHODS

=head2 Work JOB

Copies the object of a digest, unless it is in the target and whole. Returns what came of it.

=cut
