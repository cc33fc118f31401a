package RT::ExternalStorage::AmazonS3::Tool::Check::Rights;

use strict;
use warnings;

use Digest::MD5 ();
use Time::HiRes ();

use RT::ExternalStorage::AmazonS3::Database;
use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Native::Listing;
use RT::ExternalStorage::AmazonS3::Tool::Check::Web;

use constant {
    NATIVE  => 'RT::ExternalStorage::AmazonS3::Native',
    LISTING => 'RT::ExternalStorage::AmazonS3::Native::Listing'
};
use constant WEB => __PACKAGE__ =~ s/Rights/Web/r;

# A smaller one of RT's attachments than this is read where nothing can be stored
use constant SMALL => 1024 * 1024;

my $READING = q{allow s3:GetObject for the bucket's objects};

# Returns whether the server can be asked for more
sub Look {
    my ( $class, $check )   = @_;
    my ( $key,   $content ) = ( $class->Key($check), $class->Content($check) );
    $check->Probes->Add($key);
    my ( $stored, $error ) = $check->Native->store( $key, $content, content_type => 'text/plain' );
    if ($stored) {
        $check->Report( ok => 'put', 'allowed' );
        $check->{probe} = { key => $key, content => $content };
    }
    else {
        $check->Probes->Forget($key) if $error->name eq 'config';    # it was not even tried
        $check->Probes->Absent($key) if $error->name eq 'denied';
        $check->Failed(
            put    => $error,
            denied =>
                q{allow s3:PutObject for the bucket's objects; where all else is denied too, see that Bucket is the }
                . 'name of your own'
        ) or return 0;
    }
    my @steps =
        $stored
        ? ( \&_Read, \&_List, \&_Begin, \&_Answer, \&_Checksum, \&_Attachments )
        : ( \&_List, \&_Attachments, \&_ReadAttachment );
    for my $step (@steps) { $step->( $check, $stored ? $key : undef ) or return 0 }
    $check->Heard;
    return 1;
}

# Random, so that it is no attachment's
sub Content {
    my ( $class, $check ) = @_;
    return $check->{content} //= _Random();
}

sub Key {
    my ( $class, $check ) = @_;
    return scalar NATIVE->sha256( $class->Content($check) );
}

sub _Random {
    my $bytes = '';
    if ( open my $random, '<:raw', '/dev/urandom' ) {
        sysread $random, $bytes, 32;
        close $random or $bytes .= $!;
    }
    $bytes .= join ' ', $$, time, rand;
    return 'This object was made by rt-s3 check, which removes it again. ' . unpack( 'H*', $bytes ) . "\n";
}

sub _Read {
    my ( $check,   $key )   = @_;
    my ( $content, $error ) = $check->Native->get($key);
    if ( defined $content ) { $check->Report( ok => 'get', 'allowed' ) }
    else                    { $check->Failed( get => $error, denied => $READING ) or return 0 }
    ( my $head, $error ) = $check->Native->head($key);
    return $check->Failed( head => $error, denied => $READING ) if !$head;
    $check->Report( ok => 'head', 'allowed' );
    return 1;
}

# Where there is no object of this check
sub _ReadAttachment {
    my ($check) = @_;
    return _Read( $check, $check->{attachment} ) if defined $check->{attachment};
    $check->Report( unknown => $_, 'not tried: there is no object to try it with' ) for qw(get head);
    return 1;
}

# What RT's script asks before it begins
sub _Begin {
    my ($check) = @_;
    my ( undef, $error ) = $check->Native->probe;
    return $check->Failed(
        begin  => $error,
        denied => 'let the keys begin uploads in parts (s3:PutObject): rt-externalize-attachments asks that first, '
            . 'and does nothing then'
    ) if $error;
    $check->Report( ok => 'begin', 'rt-externalize-attachments may begin' );
    return 1;
}

sub _List {
    my ( $check, $key ) = @_;

    # What comes after all but the last digit of a key is the key itself
    my ( $listing, $error ) = LISTING->new( $check->Native, after => substr $key // 'f' x 64, 0, 63 );
    my $found;
    ( $found, $error ) = $listing->next if $listing;
    if ( $error && $error->name eq 'denied' ) {
        $check->Report(
            warning => 'list',
            $error->message,
            'allow s3:ListBucket for the bucket: without it S3 says of a missing object what it says of a forbidden '
                . 'one, and rt-s3 verify does not work'
        );
        return 1;
    }
    return $check->Failed( list => $error ) if $error;
    my $is_there = !defined $key || ( $found && $found->[0] eq $key );
    $check->Report(
        $is_there
        ? ( ok => 'list', 'allowed' )
        : (
            warning => 'list',
            'allowed, but an object that was just stored is not in the list',
            'see whether the server keeps lists up to date: rt-s3 verify depends on it'
        )
    );
    return 1;
}

# What the server says of the object, and whether it is written a second time
sub _Answer {
    my ( $check, $key ) = @_;
    my ($signer) = $check->Handle( DirectLink => 'presigned', DirectLinkHost => undef );
    $signer->head($key) if $signer;    # there is no link before the region is known
    my $ask = sub {
        my ($url) = $signer ? $signer->direct_url($key) : ();
        my $answer = $url ? WEB->Fetch( $check, $url ) : {};
        return $answer->{success} ? $answer->{headers} : undef;
    };
    my $first = $ask->();
    if ( !$first ) {
        $check->Report( unknown => 'condition', 'the object could not be looked at from outside' );
        return 1;
    }
    my $kms = $first->{'x-amz-server-side-encryption-aws-kms-key-id'};
    my $how = $first->{'x-amz-server-side-encryption'};
    $check->Report(
        ok => 'encrypted',
        defined $how
        ? $how . ( defined $kms ? " with the key $kms" : '' )
        : 'the server does not say that it encrypts'
    );
    my $tag = lc( $first->{etag} // '' ) =~ tr/"//dr;
    $check->Report(
        ok => 'way back',
        $tag eq Digest::MD5::md5_hex( $check->{content} )
        ? q{RT's own module could read what is stored}
        : q{RT's own module could not read what is stored: its ETag is not its MD5}
    );

    # Times of objects are in whole seconds, and servers may round them up
    my $changed = eval { require HTTP::Date; HTTP::Date::str2time( $first->{'last-modified'} ) } // time;
    my $there   = eval { HTTP::Date::str2time( $first->{date} ) }                                // time;
    Time::HiRes::sleep( 0.1 + ( $changed >= $there ? 1 : 0 ) );
    $check->Native->store( $key, $check->{content}, content_type => 'text/plain' );
    my $second = $ask->() // {};
    $check->Report(
        ok => 'condition',
        ( $check->Learned->{condition} // '' ) eq 'unsupported'
        ? 'the server knows no If-None-Match, and is not asked for it any more'
        : ( $second->{'last-modified'} // '' ) eq ( $first->{'last-modified'} // '' ) ? 'If-None-Match is heeded'
        :                                'If-None-Match is ignored: what is there already is written once more'
    );
    return 1;
}

sub _Checksum {
    my ($check)  = @_;
    my ($handle) = $check->Handle( Checksum => 'always' );
    my $content  = "With a checksum. $check->{content}";
    my $key      = NATIVE->sha256($content);
    return 1 if !$handle;
    $check->Probes->Add($key);
    my ( $stored, $error ) = $handle->store( $key, $content, content_type => 'text/plain' );
    $check->Probes->Absent($key) if !$stored && $error->name eq 'denied';
    my $head;
    ( $head, $error ) = $handle->head($key) if $stored;
    my $text =
          !$stored          ? 'the server takes no SHA-256, so leave the option Checksum as it is: ' . $error->message
        : !$head            ? $error->message
        : $head->{checksum} ? 'the server keeps the SHA-256 that it is given'
        :                     'the server takes a SHA-256, and does not tell it';
    $check->Report( ( $head ? 'ok' : 'unknown' ), 'checksum', $text );
    return !$error || $error->name !~ $check->OUTAGE;
}

sub _Attachments {
    my ($check) = @_;
    my @digests = grep {/\A[0-9a-f]{64}\z/} RT::ExternalStorage::AmazonS3::Database->SomeExternal;
    if ( !@digests ) {
        $check->Report( ok => 'attachments', 'RT has moved none yet' );
        return 1;
    }
    my @missing;
    for my $digest (@digests) {
        my ( $head, $error ) = $check->Native->head($digest);
        return $check->Failed( attachments => $error, denied => $READING ) if $error && $error->name ne 'not-found';
        push @missing, $digest if $error;
        $check->{attachment} //= $digest if $head && ( $head->{size} // SMALL ) < SMALL;
    }
    my $count = @digests;
    $check->Report(
        @missing
        ? (
            problem => 'attachments',
            scalar(@missing) . " of $count that RT has moved are not in this bucket: @missing",
            'see that Bucket and Prefix are those they were stored with; "rt-s3 verify" finds all that are missing'
            )
        : ( ok => 'attachments', "$count that RT has moved are there" )
    );
    return 1;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Rights - what the keys may do, each tried

=head1 CLASS METHODS

=over

=item Look CHECK

Stores an object, reads it, asks for it, and finds it in the list; whoever calls removes it. Reports what it has learned
of the server thereby, and whether a few of RT's attachments are there.

=item Content CHECK, Key CHECK

That object's content, and its key.

=back

=cut
