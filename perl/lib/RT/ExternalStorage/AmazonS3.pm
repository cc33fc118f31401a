package RT::ExternalStorage::AmazonS3;

use strict;
use warnings;

our $VERSION = '0.1.0';

use Role::Basic qw/with/;
with 'RT::ExternalStorage::Backend';

use Time::HiRes ();

use RT::ExternalStorage::AmazonS3::Caller;
use RT::ExternalStorage::AmazonS3::Deadline;
use RT::ExternalStorage::AmazonS3::Error;
use RT::ExternalStorage::AmazonS3::Failure;
use RT::ExternalStorage::AmazonS3::Guard;
use RT::ExternalStorage::AmazonS3::Link;
use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Secrets;

# Deletion, NewBucket and Database are loaded where they are needed, which in most processes is nowhere

# What is ours in the hash of options: the library's handle, or why there is none; a mistake that forbids to write
my @OURS = qw(_Native _Broken _Refusal);

# With so little time, in milliseconds, the library looks for a local copy only
use constant COPIES_ONLY => 1;

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
        sub { $self->_WarnOfOwnSite },
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
    return if $Logged{$$}{$text}++;
    RT::ExternalStorage::AmazonS3::Secrets->WithoutArguments(
        sub { RT->Logger->$level("AmazonS3 external storage: $text") } );
    return;
}

# Calls $code with the library's handle and a deadline in milliseconds. Returns (value), or (undef, $error).
sub _Try {
    my ( $self, $code ) = @_;
    RT::ExternalStorage::AmazonS3::Deletion->Finish if $INC{'RT/ExternalStorage/AmazonS3/Deletion.pm'};

    my $native = $self->{_Native} or return ( undef, $self->{_Broken} );
    my $time   = 'RT::ExternalStorage::AmazonS3::Deadline';
    my $left   = $time->Remaining( $self->{Deadline} );
    return (
        undef,
        RT::ExternalStorage::AmazonS3::Error->new(
                  timeout => 'bucket '
                . ( $self->Bucket // '' )
                . ' not asked: earlier failures have used up the '
                . $time->Seconds( $self->{Deadline} )
                . ' s (Deadline) of this web request'
        )
    ) if !$left;

    my $start = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() );
    $native->fail_fast( $time->IsWeb );
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
    if ( !defined $content && $error->name eq 'timeout' && length( $self->{CacheDir} // '' ) ) {
        ($content) = $self->{_Native}->get( $sha, deadline => COPIES_ONLY );    # it takes no time
        $self->_Drain;
    }
    return ($content) if defined $content;

    # A 404 proves nothing before something was found: Bucket or Prefix may be wrong
    my $lost    = $error->name eq 'corrupt' || ( $error->name eq 'not-found' && $self->_IsProven($sha) );
    my $message = $error->message;
    $message .= '; nothing has been read from there yet: are the options Bucket and Prefix right?'
        if $error->name eq 'not-found' && !$lost;
    $message = RT::ExternalStorage::AmazonS3::Failure->Answer( $message, $lost );

    # In scalar context never the message: RT's shredder would take it for the content
    return wantarray ? ( undef, $message ) : undef;
}

# Whether a 404 means that the file is lost
sub _IsProven {
    my ( $self, $sha ) = @_;
    my $native = $self->{_Native} or return 0;
    return 1 if $native->proven;

   # RT's indexer begins where it ended the last time. Were that a lost file, it would never come to read another one.
    return 0 if !RT::ExternalStorage::AmazonS3::Caller->IsIndexer;
    require RT::ExternalStorage::AmazonS3::Database;
    for my $other ( grep { $_ ne $sha } RT::ExternalStorage::AmazonS3::Database->SomeExternal ) {
        my ($found) = $self->_Try( sub { $_[0]->head( $other, deadline => $_[1] ) } );
        return 1 if $found;
    }
    return 0;
}

sub Store {
    my $self = shift;
    my ( $sha, undef, $attachment ) = @_;
    return ( undef, $self->{_Refusal} ) if $self->{_Refusal};

    my $content = \$_[1];    # large: looked at where it is

   # As it is, without a character set: RT's own module (Amazon::S3 0.60) can't read objects whose type has parameters
    my $type = eval { $attachment->ContentType };
    $type =~ s/\0/\x{fffd}/g if defined $type;    # C's strings end there; the library warns of this one
    my $store = sub {
        return $self->_Try( sub { $_[0]->store( $sha, $$content, content_type => $type, deadline => $_[1] ) } );
    };
    my ( $key, $error ) = $store->();
    return ($key)                     if $key;
    return ( undef, $error->message ) if $error->name ne 'no-bucket';
    require RT::ExternalStorage::AmazonS3::NewBucket;
    return RT::ExternalStorage::AmazonS3::NewBucket->StoreAgain( $self, $error, $store );
}

sub IsWriteable {
    my $self = shift;
    return ( 0, $self->{_Refusal} ) if $self->{_Refusal};

    my ( $source, $error ) = $self->_Try( sub { $_[0]->probe( deadline => $_[1] ) } );
    return (1)                    if defined $source;
    return ( 0, $error->message ) if $error->name ne 'no-bucket';
    require RT::ExternalStorage::AmazonS3::NewBucket;
    my ( $ok, $why ) = RT::ExternalStorage::AmazonS3::NewBucket->Allowed( $self->{CreateBucket} );
    return $ok ? (1) : ( 0, $error->message . "; $why" );
}

sub Delete {
    my $self = shift;
    my ($sha) = @_;
    return ( undef, $self->{_Refusal} ) if $self->{_Refusal};
    require RT::ExternalStorage::AmazonS3::Deletion;
    return RT::ExternalStorage::AmazonS3::Deletion->Delete( $self, $sha );
}

sub _DeleteObject {
    my ( $self, $sha )   = @_;
    my ( $key,  $error ) = $self->_Try( sub { $_[0]->delete( $sha, deadline => $_[1] ) } );
    return $key ? ($key) : ( undef, $error->message );
}

sub DownloadURLFor {
    my ( $self, $object ) = @_;
    local ( $@, $!, $? );
    local $SIG{__DIE__} = 'DEFAULT';
    my $link = eval {
        my $url = eval { $self->_Link($object) };
        $self->_LogOnce( error => "no direct link: $@" ) if $@;
        $url;
    };
    return $link;
}

sub _Link {
    my ( $self, $object ) = @_;
    my $native    = $self->{_Native}                                        or return undef;
    my $digest    = RT::ExternalStorage::AmazonS3::Link->DigestFor($object) or return undef;
    my $presigned = ( $self->{DirectLink} // '' ) eq 'presigned';
    return undef if !$presigned && !RT::ExternalStorage::AmazonS3::Link->AllowsPublic($object);

    # A mail is read when the link is dead; without one RT puts the image into the mail
    return undef if $presigned && RT::ExternalStorage::AmazonS3::Caller->IsDashboard;

    my @about = $presigned ? RT::ExternalStorage::AmazonS3::Link->About($object) : ();
    my $start = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() );
    my ( $url, $error ) = $native->direct_url( $digest, @about );
    $self->_Drain;
    return $url if !$error;

    # It may have waited for temporary keys
    RT::ExternalStorage::AmazonS3::Deadline->Spend(
        Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) - $start );
    $self->_LogOnce( warning => 'RT serves files itself: ' . $error->message );
    return undef;
}

sub _WarnOfOwnSite {
    my $self = shift;
    return if !RT->Config->Get('ExternalStorageDirectLink');
    my $host = RT::ExternalStorage::AmazonS3::Link->OwnSite(%$self) // return;
    $self->_LogOnce( warning => "direct links lead to $host, which is RT's own host name: browsers send the cookies "
            . 'of RT there, and an HTML file that somebody has stored could act in RT as the user who opens it; '
            . 'let another host name serve them (another port is not enough), by the option '
            . ( length( $self->{DirectLinkHost} // '' ) ? 'DirectLinkHost' : 'Host' ) );
    return;
}

RT::Base->_ImportOverlays();

1;

__END__

=encoding utf-8

=head1 NAME

RT::ExternalStorage::AmazonS3 - keep RT's attachments in Amazon S3, or in any server that speaks its protocol

=head1 SYNOPSIS

    Set(%ExternalStorage,
        Type            => 'AmazonS3',
        AccessKeyId     => '...',
        SecretAccessKey => '...',
        Bucket          => '...',
    );

=head1 DESCRIPTION

RT can move large attachments, and binary and image custom field values, out of its database: see
L<RT::ExternalStorage>. With this backend they go into a bucket of Amazon S3, or of another server with the same
protocol. Each file is stored under the SHA-256 digest of its content. The same file in ten tickets is therefore one
object in the bucket, stored once and paid for once.

It takes the place of the module with this name that comes with RT: the configuration and the bucket stay as they are.
Hashing, signing and the conversation with the server are done by a native library, F<librts3.so>.

B<Nothing in the bucket may be changed or removed> by anyone but RT. The bucket holds the only copy: what is deleted
there, by hand or by a lifecycle rule, is an attachment that RT can no longer show. What was changed there is noticed,
since its digest is no longer its name, and not shown either.

B<The account must be kept in funds>, and the bucket within its quota, for what RT stores and for what it reads. When
the account is closed the attachments are gone.

=head1 SETUP

RT needs a pair of keys for S3 and the name of a bucket. On a machine of Amazon's it needs no keys in its configuration:
see L</KEYS>.

=over

=item 1.

Sign in to the AWS Management Console, L<https://aws.amazon.com/s3/>, with the account that shall own the files. With
another server, use its own tool in this step and the next three.

=item 2.

Open B<Security credentials> in the menu under your account's name. Better than the account's own keys are those of an
IAM user that may do no more than RT needs: C<s3:GetObject>, C<s3:PutObject> and C<s3:DeleteObject> for the bucket's
objects, C<s3:ListBucket> for the bucket, and C<s3:CreateBucket> if RT is to make it. C<rt-s3 policy> prints them as a
policy for IAM, once the bucket stands in the configuration.

=item 3.

Find B<Access keys>.

=item 4.

Choose B<Create access key>.

=item 5.

Put the access key's id and the secret into F<RT_SiteConfig.pm>:

    Set(%ExternalStorage,
        Type            => 'AmazonS3',
        AccessKeyId     => '...', # the access key's id between the quotes
        SecretAccessKey => '...', # the secret access key between the quotes
        Bucket          => '...',
    );

=item 6.

Choose a bucket. You can make one yourself in the console; leave I<Block Public Access> on unless you want direct links
(see L</DIRECT LINKING>). Or let RT make it when it stores the first file. Either way RT must be told its name:

    Set(%ExternalStorage,
        Type            => 'AmazonS3',
        AccessKeyId     => '...',
        SecretAccessKey => '...',
        Bucket          => '...', # the bucket's name between the quotes
    );

=item 7.

If the files do not live at C<s3.amazonaws.com>, say where with the option C<Host>; and with C<Region> if the server
wants another than it has by default:

    Set(%ExternalStorage,
        Type            => 'AmazonS3',
        AccessKeyId     => '...',
        SecretAccessKey => '...',
        Bucket          => 'attachments',
        Host            => 'https://s3.example.com:9000',
        Region          => 'garage',
    );

=item 8.

Restart the web server, and let RT move what is large, now and then regularly from cron:

    /opt/rt5/sbin/rt-externalize-attachments

It first asks whether the bucket can be written to, and says what is wrong if not. C<rt-s3 externalize>, which is
installed beside it, does the same many at a time; the two can be used in turn.

F<docs/getting-started.md> goes the whole way with C<rt-s3>, F<docs/operating.md> says what comes then: cron or systemd,
monitoring, backup, upgrades.

=back

=head1 CONFIGURATION

Options of C<%ExternalStorage>. Times are in seconds and may have decimals.

=over

=item C<Bucket>

The bucket's name. Required.

=item C<AccessKeyId>, C<SecretAccessKey>

The pair of keys. Default: those that are found, see L</KEYS>.

=item C<SessionToken>

Belongs to temporary keys. Default: none.

=item C<Profile>

The name of a profile in AWS's files F<~/.aws/credentials> and F<~/.aws/config>, or in those that the environment
variables C<AWS_SHARED_CREDENTIALS_FILE> and C<AWS_CONFIG_FILE> name. Default: none.

=item C<CredentialSource>

The one place to look for keys: C<environment>, C<web-identity>, C<profile>, C<container> or C<instance>. Default: all of
them, in this order.

=item C<Host>

The server: C<host>, C<host:port>, or a URL that begins with C<http://> or C<https://>. https if not said. Default:
C<s3.amazonaws.com>. (RT's own module speaks http to a C<host:port>, with the bucket's name before it; for such a server
write C<http://host:port> here, and C<< AddressingStyle => 'virtual' >> if it needs that.) Without TLS whoever is on the
way can read the files, so RT's log has a warning. TLS is version 1.2 or later, the server's certificate must be valid
for its name, and nothing turns that off: see C<CAFile>.

=item C<Region>

The region to sign for. Default: what C<Host> says (C<s3.eu-central-1.amazonaws.com>), else C<us-east-1>. Without
C<Host> it also chooses Amazon's server of that region. Where it is wrong, the right one is learned from the server's
answer and used from then on, and RT's log says what to write here; with that written, each process saves a request.

=item C<AddressingStyle>

Where the bucket's name stands in the address: C<path> (C<https://host/bucket/key>), C<virtual>
(C<https://bucket.host/key>), or C<auto>. Default: C<auto>, which is virtual with Amazon, unless the bucket's name can't
be part of a host name, and path with other servers. Where a server then says that it wants the other one, that is
tried once, and RT's log says what to write here.

=item C<Prefix>

Put before every object's key, for example C<rt/>, if the bucket has other contents too. Default: empty. What was
stored with one prefix is not found with another.

=item C<ServerSideEncryption>, C<SSEKMSKeyId>

How the server encrypts what it stores: C<AES256>, C<aws:kms> or C<aws:kms:dsse>, the latter two with the key that
C<SSEKMSKeyId> names, else with the account's own. Default: what the bucket says. Where a server ignores it, RT's log
has a warning. RT's own module can't read objects that are encrypted with KMS.

=item C<StorageClass>

The class to store in, such as C<STANDARD_IA>. Default: what the server says. Classes of an archive (C<GLACIER>,
C<DEEP_ARCHIVE>), which can't be read at once, are refused.

=item C<ExpectedBucketOwner>

The 12 digits of the AWS account that the bucket belongs to. The server then refuses every request if it belongs to
another one. Default: none.

=item C<Checksum>

Whether the server gets the SHA-256 of an object as a checksum to keep, and is asked for it: C<always>, C<never>, or
C<auto>. Default: C<auto>, which is with Amazon only; some other servers refuse it.

=item C<CAFile>

A file in PEM format with a certificate authority to trust beside those of the system. Default: none.

=item C<Proxy>

An HTTP proxy to go through, C<http://host:port> or C<http://user:password@host:port>, or C<none>. Default: what the
environment variables C<https_proxy>, C<http_proxy> and C<no_proxy> say.

=item C<CreateBucket>

C<0> if RT must not make the bucket. Default: C<1>: it is made when the first file is stored and the server says that
there is no such bucket, and only while RT's database knows of no external file. If it does, a missing bucket was
deleted, or the keys are those of another account, and you are told so instead.

=item C<ConnectTimeout>

Time to reach the server, including look-up of its name and TLS. Default: 3.

=item C<ReadTimeout>

A transfer that moves less than 1 kB in this time has stalled. Default: 15.

=item C<Deadline>

Time that may pass without success: for all calls of one web request together, elsewhere for each call. Transfers that
move may go on longer, to this time plus that of the size at 64 kB/s. Default: 10 in a web server, 120 elsewhere. A
value given here holds in both.

=item C<Retries>

Attempts after the first, with random pauses that grow up to 5 seconds, or as long as the server asks for. What can't
get better, such as a file that is not there or a right that is missing, is tried once. Default: 4.

=item C<Concurrency>

Uploads under way at once when many files are moved, by C<rt-s3 externalize>. Default: 32.

=item C<CacheDir>

A directory on this machine for copies of what was read or stored, see L</LOCAL COPIES>. Default: none, and no copies
are kept.

=item C<CacheSize>

What the copies of one user may take: bytes, or a whole number of KiB, MiB, GiB or TiB. Default: 1 GiB.

=item C<DirectLink>

The kind of direct links: C<public> or C<presigned>, see L</DIRECT LINKING>. Default: C<public>. They are off unless RT's
C<$ExternalStorageDirectLink> is on.

=item C<DirectLinkExpires>

How long a presigned link can be followed, in whole seconds, 604800 (a week) at most. Default: 3600. On a page that was
just loaded a link has at least three quarters of that left, but never more than temporary keys have.

=item C<DirectLinkHost>

Another host that serves the bucket's objects, such as a CDN or a reverse proxy: C<host>, C<host:port> or a URL. Public
links then lead to it, with the object's key as their path. Default: none. With presigned links it is a mistake, since a
signature is good for one host only.

=back

An option that does not exist, or has a value that is not allowed, is an error in RT's log which names what is allowed.
Reading goes on. Where the mistake touches what is written, such as the prefix, nothing is stored until it is mended.

C<%ExternalStorage> can't be changed in RT's web interface, and its System Configuration page does not show the
secrets. That page shows all environment variables of the web server, though: do not keep secrets there.

=head1 WHAT USERS SEE

RT takes a file that its storage could not give for an empty one. This module does not let it: an attachment that can't
be read is an error page with status 503 ("please try again", with a reference that is also in the log), or 404 where
it is missing or damaged for certain. A ticket's history says so in the place of a text that could not be read. Mail whose
attachment could not be read is not sent, and the log names ticket and recipients. A command-line tool ends with the
reason. RT's full-text indexer skips what is missing or damaged. New files can be added all the while.

An attachment that is in external storage can't be encrypted or decrypted in the database: RT would overwrite the
reference to it.

=head1 LOCAL COPIES

With C<CacheDir> a file that was read or stored before is read again without the network, also while S3 is down. Make
the directory (C<mkdir -m 1777 /var/cache/rts3>), and add C<< CacheDir => '/var/cache/rts3' >> and, for example,
C<< CacheSize => '4 GiB' >>.

Each user of the machine has a directory of their own in there, with mode 700: the web server's copies are the web
server's, and all its processes share them. It has to be on a local disk. What was not used for longest goes first; a
file larger than a quarter of C<CacheSize> is not kept. A copy is named after its content, so it is never out of date,
and its SHA-256 is checked each time it is read: one that was damaged is dropped, and the file comes from S3. Only
reading uses copies; storing, and the commands of C<rt-s3>, ask S3 itself. Trouble with the directory is a warning in
RT's log, once in ten minutes, and costs no file.

The copies are whole attachments, not encrypted: whoever may read the web server's files may read them. C<Delete> drops
the copy of the user it runs as; those of other users stay until they make room, or until you remove their directory,
which may be done at any time.

=head1 DELETING

RT deletes no file until it is told to: RT 5.0.8 and later can do so when they shred tickets; older ones never do. This
module deletes an object only after the shredder's transaction is over, and only if RT's database then has no other
attachment or custom field value with that content. It keeps the object, and says so in RT's log, whenever it can't be
sure: if the database gives no answer, or while F<rt-externalize-attachments> runs on the same machine. What is kept
without need costs a little money.

B<Do not shred on one machine while F<rt-externalize-attachments> runs on another.> That program finds an object in the
bucket and only then notes in the database that it is needed; it can't be seen from another machine. If the object is
deleted in between, the attachment is lost.

B<A bucket, or a prefix in it, is for one RT alone> where files are deleted: only its own database is asked who needs
them.

Where the bucket keeps versions of its objects, a deleted object is only hidden: the file is still there, still paid
for, and can be read by whoever may read old versions. If shredding must destroy it, let a lifecycle rule remove
I<noncurrent> versions; such a rule touches no object that RT needs.

=head1 KEYS

Where the configuration has no C<AccessKeyId>, keys are looked for in this order: the environment (C<AWS_ACCESS_KEY_ID>,
C<AWS_SECRET_ACCESS_KEY>, C<AWS_SESSION_TOKEN>); a web identity (C<AWS_WEB_IDENTITY_TOKEN_FILE>, C<AWS_ROLE_ARN>, as EKS
sets them); AWS's files, with C<role_arn>, C<source_profile> and C<credential_process>; the service for containers of
ECS and EKS; and the metadata service of an EC2 instance, version 2. RT's log says where they were found. Temporary ones
are replaced before they expire; while that can't be done, those that are still good go on being used, and the failed
attempt is repeated only after 5 seconds, and later after up to a minute.

B<All of RT must find the same keys.> The web server, cron and you are different users, with environments and home
directories of their own; what one of them stores in an account that another one can't reach is lost to it. So nothing
is stored with keys from the environment or from a home directory, unless C<CredentialSource> or C<Profile> names them.
Reading takes what it finds. RT's administrators can see the environment, on its System Configuration page.

F<docs/credentials.md> has a recipe for each place, and the rights that RT needs.

=head1 DIRECT LINKING

RT can put links to the bucket into its pages, so that browsers fetch attachments and images from S3 and not through
RT. That saves RT the work and the traffic. It does so once they are switched on in F<RT_SiteConfig.pm>:

    Set($ExternalStorageDirectLink, 1);

B<Think about privacy and cost before you do this.> For what is read from S3, RT's access control does not exist:
whoever has got a link can pass it on, and you pay for each download. None of this holds for attachments that RT itself
delivers: RT reads them with its own keys, after it has checked the user's rights. There are two kinds of links, and
F<docs/direct-links.md> helps to choose.

=head2 Presigned links

The bucket stays private. A link is signed with RT's keys, opens one object, and ends after C<DirectLinkExpires>.

    Set(%ExternalStorage,
        Type            => 'AmazonS3',
        AccessKeyId     => '...',
        SecretAccessKey => '...',
        Bucket          => '...',
        Region          => 'eu-central-1',
        DirectLink      => 'presigned',
    );

C<Region> belongs to it: until the region is known, from that option, from C<Host>, or from the server's answer to
something else, RT serves the files itself.

The link tells the server what to say of the file: its name and type in RT, whoever stored the same content first, and
whether a browser may show it. As with RT itself, HTML and XML are plain text unless C<$TrustHTMLAttachments> is set;
whatever a browser might run, SVG and PDF are downloads, and with C<$AlwaysDownloadAttachments> all files are.

=head2 Public links

Everything in the bucket can be read by everybody, for ever. The only hurdle is that one must know the SHA-256 digest of a
file to fetch it, and each link that is passed on, to one person or to the whole world, tells it.

Open the bucket in the S3 console, and the B<Permissions> tab. Allow public bucket policies under B<Block public access>,
and put this into B<Bucket policy>, with the name of your bucket in the place of C<BUCKET> (C<rt-s3 policy --public>
prints it with your bucket and prefix):

    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AllowPublicRead",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::BUCKET/*"
            }
        ]
    }

RT still delivers some attachments itself, since a public link could not keep its rules for them: all of them with
C<$AlwaysDownloadAttachments>; HTML, XML, SVG, PDF and whatever else a browser might run.

=head2 The host name of the links

Let it be another one than RT's. Browsers send RT's cookies to every port of RT's own host name, and to a file that is
shown from there RT looks like its own site. RT's log has a warning.

=head1 TROUBLESHOOTING

Everything that goes wrong is one line in RT's log: what was tried, on which object in which bucket, the server's
answer, how often it was tried, and the server's id for the request. F<docs/troubleshooting.md> has every message, with
what it means and what to do; here are the most frequent ones.

=over

=item Nothing works

C<rt-s3 check> looks at options, keys, network, bucket, rights and links, and says what to do about each problem; with
C<--as www-data> as the web server's user. After a change, restart the web server.

=item Something is missing

C<rt-s3 verify> compares what the database refers to with what is in the bucket, and names what is missing or damaged.

=item C<cannot load the rts3 library>

F<librts3.so> belongs beside F<RT/ExternalStorage/AmazonS3/Native.pm>, or at the path that the environment variable
C<RTS3_LIBRARY> gives. The Perl module L<FFI::Platypus> is needed, too.

=item C<the server is down>, C<not asked, because the server was down>

No connection could be made, or several files in a row got no answer or an error of the server's own. To keep pages
quick it is then not asked for 5 seconds, and longer each time up to a minute, until one call finds it back: C<the server
answers again>. All processes of one web server know. Tools outside of it wait for the server instead, within their
C<Deadline>, and RT's own script goes on where it was.

=item C<this machine's clock is ... s behind the server's>

S3 refuses requests whose time is off by more than 15 minutes. They are signed with the server's time until the clock is
right again; set it.

=item C<NoSuchBucket>

The bucket does not exist, or not at this C<Host>. If RT has external files already it is not made anew: ask who
deleted it, and whose keys these are.

=item C<AccessDenied>, C<SignatureDoesNotMatch>, C<InvalidAccessKeyId>

The keys are wrong, or their user lacks a right: see step 2 of L</SETUP>. A wrong clock spoils signatures, too. For
public links the bucket needs the policy above as well.

=item C<PermanentRedirect>, C<AuthorizationHeaderMalformed>

The bucket is in another region, and the server does not say in which: set C<Region>.

=item Links are not to S3

C<$ExternalStorageDirectLink> must be on. RT itself serves those types that L</Public links> names. Where there can be no
link, RT's log says why, once in each process: C<RT serves files itself>.

=item Links that have worked give C<AccessDenied>

They have expired, or the keys that signed them were withdrawn. Loading the page again makes new ones. If it happens at
once, look at the clock of RT's machine.

=item C<Store>: C<has wide characters>

A program gave characters where bytes are wanted; the content must be encoded first.

=back

=head1 METHODS

RT calls these; see L<RT::ExternalStorage::Backend>.

=over

=item Init

Always returns the object: a backend that can't work says why in RT's log, and whenever it is called. It uses no
network.

=item Get DIGEST

C<($content)>, or C<(undef, $message)>; in scalar context C<undef> and never the message. If RT itself asks, on behalf
of a page or a mail, a failure may end the request or throw an exception: see L</WHAT USERS SEE>.

=item Store DIGEST, CONTENT, ATTACHMENT

C<($digest)>, or C<(undef, $message)>.

=item IsWriteable

C<(1)>, or C<(0, $message)>.

=item Delete DIGEST

C<($digest)>, or C<(undef, $message)>.

=item DownloadURLFor OBJECT

A URL, or C<undef> where RT should serve the file itself. It throws no exception, whatever it is given, and uses no
network, unless temporary keys must be fetched.

=item Bucket, AccessKeyId, SecretAccessKey

The options' values.

=back

=head1 SEE ALSO

L<rt-s3>, L<RT::ExternalStorage>, L<RT::ExternalStorage::AmazonS3::Native>

=head1 LICENSE

This module is free software under the GNU General Public License, version 2.

=cut
