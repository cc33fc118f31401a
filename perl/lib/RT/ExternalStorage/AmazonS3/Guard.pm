package RT::ExternalStorage::AmazonS3::Guard;

use strict;
use warnings;

use Scalar::Util ();

# Methods of RT::Attachment that would overwrite the digest in an external row, or write down a false length
my %WRAPPER = ( Encrypt => \&_Encrypt, Decrypt => \&_Decrypt, ContentLength => \&_ContentLength );

# The methods as RT has them, by full name, and what we put in their place
my ( %Original, %Installed );

# Set while RT measures an attachment; see Unmeasurable
our $Measuring;

# Init runs again and again, and in development RT's modules may be loaded again: wrapped once, and again if replaced
sub Install {
    my ($class) = @_;
    return if !RT::Attachment->can('Encrypt');
    _Wrap( 'RT::Attachment', $_, $WRAPPER{$_} ) for sort keys %WRAPPER;
    return;
}

sub _Wrap {
    my ( $class, $name, $wrapper ) = @_;
    my $method  = "${class}::$name";
    my $current = $class->can($name) or return;
    return if $Installed{$method} && $Installed{$method} == $current;
    $Original{$method}  = $current;
    $Installed{$method} = sub { unshift @_, $Original{$method}; goto &$wrapper };
    no strict 'refs';    ## no critic (TestingAndDebugging::ProhibitNoStrict)
    no warnings 'redefine';
    *{$method} = $Installed{$method};
    return;
}

sub _IsExternal {
    my ($attachment) = @_;

    # undef where this user may not see it: then RT's own refusal is the answer
    return ( $attachment->ContentEncoding // '' ) eq 'external';
}

sub _Encrypt {
    my ( $original, $self, @rest ) = @_;
    my $writes =
        _IsExternal($self) && ( $self->ContentType // '' ) !~ m{^(?:multipart/|x-application-rt/[^-]+-encrypted)}i;
    return $self->$original(@rest) if !$writes;
    return ( 0, $self->loc('This attachment is kept in external storage and cannot be encrypted in the database') );
}

sub _Decrypt {
    my ( $original, $self, @rest ) = @_;
    my $writes = _IsExternal($self) && ( $self->ContentType // '' ) =~ m{^x-application-rt/[^-]+-encrypted}i;
    return $self->$original(@rest) if !$writes;
    return ( 0, $self->loc('This attachment is kept in external storage and cannot be decrypted in the database') );
}

# RT measures the content of an attachment that has no Content-Length, and saves the result. Content that could not be
# read would be saved as 0 bytes, and RT would never link to the file again.
sub _ContentLength {
    my ( $original, $self, @rest ) = @_;
    return $self->$original(@rest) if !_IsExternal($self);
    local $Measuring = 1;
    my $length;
    return $length if eval { $length = $self->$original(@rest); 1 };
    my $error = $@;
    return 0 if Scalar::Util::blessed($error) && $error->isa(__PACKAGE__);
    die $error;
}

# Called where Get is about to say that there is no content: not while RT measures it
sub Unmeasurable {
    my ( $class, $message ) = @_;
    return if !$Measuring;
    RT->Logger->error("The size of an attachment is not known: $message");
    die bless { message => $message }, $class;
}

# Called where a file for a mail could not be read. RT's lists catch the exception and write "Invalid column", and the
# dashboard mailer would send that. Each dashboard has a pretended request of its own, which remembers it.
sub KeepBack {
    my ( $class, $message ) = @_;
    no warnings 'once';
    my $r = $HTML::Mason::Commands::r;
    return if !Scalar::Util::blessed($r) || !$r->isa('RT::Dashboard::FakeRequest');
    return if Scalar::Util::reftype($r) ne 'HASH';
    $r->{ (__PACKAGE__) } = $message;
    _Wrap( 'RT::Dashboard::Mailer', 'EmailDashboard', \&_EmailDashboard );
    return;
}

sub _EmailDashboard {
    my ( $original, $self, @rest ) = @_;
    my $message = eval { $HTML::Mason::Commands::r->{ (__PACKAGE__) } };
    die "$message\n" if defined $message;
    return $self->$original(@rest);
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Guard - keeps RT from overwriting what points to an external file

=head1 DESCRIPTION

RT's C<Encrypt> and C<Decrypt> of an attachment write the new content into its row, over the digest, and leave the row
marked as external: the file would be lost. C<ContentLength> writes what it measured. All three are wrapped, and
behave as before for every attachment that is not external. So is what mails a dashboard, once a file for one could
not be read.

=head1 CLASS METHODS

=head2 Install

Wraps them, unless that is done.

=head2 Unmeasurable MESSAGE

Leaves C<ContentLength>, if that is who asks, without writing a length; else returns.

=head2 KeepBack MESSAGE

Keeps the dashboard that is being made, if there is one, from being mailed.

=cut
