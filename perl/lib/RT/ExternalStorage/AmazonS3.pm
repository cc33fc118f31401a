package RT::ExternalStorage::AmazonS3;

use strict;
use warnings;

use Role::Basic qw/with/;
with 'RT::ExternalStorage::Backend';

use Time::HiRes ();

use RT::ExternalStorage::AmazonS3::Deadline;
use RT::ExternalStorage::AmazonS3::Deletion;
use RT::ExternalStorage::AmazonS3::Error;
use RT::ExternalStorage::AmazonS3::Failure;
use RT::ExternalStorage::AmazonS3::Guard;
use RT::ExternalStorage::AmazonS3::Link;
use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::NewBucket;
use RT::ExternalStorage::AmazonS3::Secrets;

# What is ours in the hash of options: the library's handle, or why there is none; a mistake that forbids to write
my @OURS = qw(_Native _Broken _Refusal);

# Lines logged once in each process
my %Logged;

sub Bucket {
    my $self = shift;
    return $self->{Bucket};
}

sub AccessKeyId {
    my $self = shift;
    return $self->{AccessKeyId};
}

sub SecretAccessKey {
    my $self = shift;
    return $self->{SecretAccessKey};
}

# Without a backend RT shows every external file as empty. So there always is one, if only to say what is wrong.
sub Init {
    my $self = shift;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    for my $step (
        sub { RT::ExternalStorage::AmazonS3::Secrets->Hide },
        sub { RT::ExternalStorage::AmazonS3::Guard->Install },
        sub { $self->_Open },
        )
    {
        eval { $step->(); 1 } or $self->_LogOnce( error => "internal error: $@" );
    }
    $self->{_Broken} ||= RT::ExternalStorage::AmazonS3::Error->new( internal => 'Init has failed' )
        if !$self->{_Native};
    return $self;
}

sub _Open {
    my $self    = shift;
    my %options = %$self;
    delete @options{ 'Type', @OURS };
    delete @$self{qw(_Broken _Refusal)};

    for my $name ( sort grep { ref $options{$_} } keys %options ) {
        $self->{_Refusal} = "option $name is not a plain value; nothing is written until this is mended";
        $self->_LogOnce( error => $self->{_Refusal} );
        delete $options{$name};
    }
    my ( $native, $error ) = RT::ExternalStorage::AmazonS3::Native->open(%options);
    if ($native) {
        $self->{_Native} = $native;
        $self->_LogOnce(@$_) for $native->drain;
    }
    else {
        delete $self->{_Native};
        $self->{_Broken} = $error;
        $self->_LogOnce( error => $error->message );
    }
    return;
}

sub _LogOnce {
    my ( $self, $level, $text ) = @_;
    $text =~ s/\s*\R\s*/ /g;
    RT->Logger->$level("AmazonS3 external storage: $text") if !$Logged{$$}{$text}++;
    return;
}

# Calls $code with the library's handle and a deadline in milliseconds. Returns (value), or (undef, $error).
sub _Try {
    my ( $self, $code ) = @_;
    RT::ExternalStorage::AmazonS3::Deletion->Finish if RT::ExternalStorage::AmazonS3::Deletion->Pending;

    my $native = $self->{_Native} or return ( undef, $self->{_Broken} );
    my $time   = 'RT::ExternalStorage::AmazonS3::Deadline';
    my $left   = $time->Remaining( $self->{Deadline} );
    return (
        undef,
        RT::ExternalStorage::AmazonS3::Error->new(
                  timeout => 'not tried: earlier failures have used up the '
                . $time->Seconds( $self->{Deadline} )
                . ' s (Deadline) of this web request'
        )
    ) if !$left;

    my $start = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() );
    my ( $value, $error ) = $code->( $native, $left * 1000 );
    $time->Spend( Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) - $start ) if !defined $value;
    $self->_Drain;
    return defined $value ? ($value) : ( undef, $error );
}

sub _Drain {
    my $self = shift;
    while ( my ( $level, $text ) = $self->{_Native}->next_message ) {
        RT->Logger->$level("AmazonS3 external storage: $text");
    }
    return;
}

sub Get {
    my $self = shift;
    my ($sha) = @_;

    my ( $content, $error ) = $self->_Try( sub { $_[0]->get( $sha, deadline => $_[1] ) } );
    return ($content) if defined $content;

    # A 404 proves nothing before something was found: Bucket or Prefix may be wrong
    my $lost = $error->name eq 'corrupt'
        || ( $error->name eq 'not-found' && $self->{_Native} && $self->{_Native}->proven );
    my $message = RT::ExternalStorage::AmazonS3::Failure->Answer( $error->message, $lost );

    # In scalar context never the message: RT's shredder would take it for the content
    return wantarray ? ( undef, $message ) : undef;
}

sub Store {
    my $self = shift;
    my ( $sha, undef, $attachment ) = @_;
    return ( undef, $self->{_Refusal} ) if $self->{_Refusal};

    my $content = \$_[1];                              # large: looked at where it is
    my $type    = eval { $attachment->ContentType };
    my $store   = sub {
        return $self->_Try( sub { $_[0]->store( $sha, $$content, content_type => $type, deadline => $_[1] ) } );
    };
    my ( $key, $error ) = $store->();
    return ($key) if $key;
    return RT::ExternalStorage::AmazonS3::NewBucket->StoreAgain( $self, $error, $store )
        if $error->name eq 'no-bucket';
    return ( undef, $error->message );
}

sub IsWriteable {
    my $self = shift;
    return ( 0, $self->{_Refusal} ) if $self->{_Refusal};

    my ( $source, $error ) = $self->_Try( sub { $_[0]->probe( deadline => $_[1] ) } );
    return (1)                    if defined $source;
    return ( 0, $error->message ) if $error->name ne 'no-bucket';
    my ( $ok, $why ) = RT::ExternalStorage::AmazonS3::NewBucket->Allowed( $self->{CreateBucket} );
    return $ok ? (1) : ( 0, $error->message . "; $why" );
}

sub Delete {
    my $self = shift;
    my ($sha) = @_;
    return ( undef, $self->{_Refusal} ) if $self->{_Refusal};
    return RT::ExternalStorage::AmazonS3::Deletion->Delete( $self, $sha );
}

sub _DeleteObject {
    my ( $self, $sha )   = @_;
    my ( $key,  $error ) = $self->_Try( sub { $_[0]->delete( $sha, deadline => $_[1] ) } );
    return $key ? ($key) : ( undef, $error->message );
}

sub DownloadURLFor {
    my $self   = shift;
    my $object = shift;
    my $native = $self->{_Native} or return undef;

    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    my $link = eval {
        my $digest = RT::ExternalStorage::AmazonS3::Link->DigestFor($object);
        my ( $url, $error );
        if ( $digest && RT::ExternalStorage::AmazonS3::Link->AllowsPublic($object) ) {
            ( $url, $error ) = $native->direct_url($digest);
            $self->_LogOnce( error => 'no direct link: ' . $error->message ) if $error;
            $self->_Drain;
        }
        $url;
    };
    $self->_LogOnce( error => "no direct link: $@" ) if $@;
    return $link;
}

RT::Base->_ImportOverlays();

1;
