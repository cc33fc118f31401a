package RT::ExternalStorage::AmazonS3::Tool::Policy;

use strict;
use warnings;

use JSON::PP ();

use RT::ExternalStorage::AmazonS3::Tool;

# In this order, which is that of Amazon's own examples
my @ORDER = qw(Version Statement Sid Effect Principal Action Resource Condition);

# Regions of their own have names of their own: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
my @PARTITIONS = (
    [ 'cn-'      => 'aws-cn' ],
    [ 'us-gov-'  => 'aws-us-gov' ],
    [ 'us-iso-'  => 'aws-iso' ],
    [ 'us-isob-' => 'aws-iso-b' ],
    [ 'eu-isoe-' => 'aws-iso-e' ],
    [ 'us-isof-' => 'aws-iso-f' ],
    [ 'eusc-'    => 'aws-eusc' ],
);

# What rt-s3 check asks the bucket for
my @INSPECTED = qw(
    s3:GetBucketAcl s3:GetBucketLocation s3:GetBucketObjectLockConfiguration s3:GetBucketPolicyStatus
    s3:GetBucketPublicAccessBlock s3:GetBucketVersioning s3:GetEncryptionConfiguration
    s3:GetLifecycleConfiguration s3:ListBucketMultipartUploads
);

sub Options { return qw(public read-only delete file=s) }

sub new {
    my ( $class, %args ) = @_;
    return bless {%args}, $class;
}

sub Run {
    my ($self) = @_;
    my $tool   = $self->{tool};
    my @given  = grep { $tool->Option($_) } qw(public read-only delete);
    $tool->Refuse("--$given[0] and --$given[1] don't go together") if @given > 1;

    my $options = $self->{options} = $self->_Configured;
    delete @{$options}{ grep { ref $options->{$_} } keys %$options };
    my $bucket = $options->{Bucket} // '';
    $tool->Stop('the option Bucket of %ExternalStorage says no name') if !length $bucket;

    # A sign that stands for others would allow it for other buckets, too
    $tool->Stop("the option Bucket of %ExternalStorage: '$bucket' is not the name of a bucket")
        if $bucket !~ /\A[!-~]+\z/ || $bucket =~ m{[*?\$/]};
    utf8::decode( $options->{Prefix} ) if defined $options->{Prefix} && !utf8::is_utf8( $options->{Prefix} );
    my $host = $options->{Host} // '';
    my ($region) = $host =~ m{\bs3(?:-fips)?(?:\.dualstack)?[.-]([a-z]{2,5}(?:-[a-z]+)+-\d+)\.amazonaws\.com}i;
    $self->{region} = length( $options->{Region} // '' ) ? $options->{Region} : $region // '';
    my ($partition) = map { $_->[1] } grep { index( $self->{region}, $_->[0] ) == 0 } @PARTITIONS;
    $partition //= 'aws-cn' if $host =~ /\.amazonaws\.com\.cn\b/i;
    $self->{arn} = 'arn:' . ( $partition // 'aws' );

    $self->_Print( $tool->Option('public') ? $self->_Public : $self->_Keys );
    return RT::ExternalStorage::AmazonS3::Tool::WELL;
}

# %ExternalStorage as it is in force, or as a file sets it
sub _Configured {
    my ($self) = @_;
    my $tool   = $self->{tool};
    my $file   = $tool->Option('file') // return { %{ $tool->Backend } };
    $tool->LoadRT;
    require RT::ExternalStorage::AmazonS3::Tool::Migrate::Place;
    my $place = RT::ExternalStorage::AmazonS3::Tool::Migrate::Place->Of( $tool, 'file' );
    $tool->Refuse( "--file: $file is " . $place->Describe . ', no bucket' ) if !$place->IsS3;
    return { %{ $place->Backend } };
}

# What the keys need that RT is configured with
sub _Keys {
    my ($self)     = @_;
    my $tool       = $self->{tool};
    my $only_reads = $tool->Option('read-only');
    my ( $bucket, $objects ) = $self->_Resources;
    my @objects =
        $only_reads
        ? [ ReadObjects         => 's3:GetObject' ]
        : [ ReadAndWriteObjects => [qw(s3:AbortMultipartUpload s3:GetObject s3:PutObject)] ];
    push @objects, [ DeleteObjects => 's3:DeleteObject' ] if $tool->Option('delete');
    my @statements = map { _Allow( @$_, $objects ) } @objects;

# The condition holds only where a request names a prefix. S3 asks for this right also when somebody wants an object that
# is not there, and says that it is forbidden to who does not have it.
    my $prefix = $self->{options}{Prefix} // '';
    push @statements,
        _Allow(
        ListBucket => 's3:ListBucket',
        $bucket,
        length $prefix ? { StringLikeIfExists => { 's3:prefix' => _Literal($prefix) . q{*} } } : ()
        );
    my $makes = ( $self->{options}{CreateBucket} // 1 ) eq '1';
    push @statements, _Allow( MakeBucket    => 's3:CreateBucket', $bucket ) if $makes && !$only_reads;
    push @statements, _Allow( InspectBucket => \@INSPECTED,       $bucket ) if !$only_reads;
    push @statements, $self->_Encryption($only_reads);
    $self->_Say( q{s3:DeleteObject is left out: RT's shredder (RT 5.0.8 and later) then leaves the files of what it }
            . 'removes in the bucket, and rt-s3 check the objects that it tries with; --delete allows it' )
        if !$only_reads && !$tool->Option('delete');
    return { Version => '2012-10-17', Statement => \@statements };
}

# With a key of one's own. That of S3 itself may be used by whoever may use the bucket.
sub _Encryption {
    my ( $self, $only_reads ) = @_;
    my ( $how,  $key )        = map { $_ // '' } @{ $self->{options} }{qw(ServerSideEncryption SSEKMSKeyId)};
    return if $how !~ /\Aaws:kms/ || $key eq '';
    my $region = $self->{region};
    $key = "$self->{arn}:kms:" . ( $region || q{*} ) . q{:*:} . ( $key =~ m{\Aalias/} ? '' : 'key/' ) . $key
        if $key !~ /\Aarn:/;
    my $alias     = $key =~ s{(alias/.*)\z}{key/*} ? $1 : undef;
    my %condition = ( 'ForAnyValue:StringEquals' => { 'kms:ResourceAliases' => $alias } );
    return _Allow(
        UseEncryptionKey => $only_reads ? 'kms:Decrypt' : [qw(kms:Decrypt kms:GenerateDataKey)],
        $key, defined $alias ? \%condition : ()
    );
}

# Of RT's manual
sub _Public {
    my ($self) = @_;
    my ( undef, $objects ) = $self->_Resources;
    $self->_Say(
        'Beware: with this policy everybody can read all files, without logging in to RT, who has a link or knows '
            . q{the SHA-256 digest of a file. RT's rights do not count there, whoever has a link may pass it on, and you }
            . 'pay for what is read. Block Public Access has to be off for the bucket.' );
    $self->_Say(q{The option DirectLink is 'presigned', which needs no such policy.})
        if ( $self->{options}{DirectLink} // '' ) eq 'presigned';
    my $statement = _Allow( AllowPublicRead => 's3:GetObject', $objects );
    $statement->{Principal} = { AWS => q{*} };

    # Signs that must be escaped can only be in the newer language
    my $version = $objects =~ /\$\{/ ? '2012-10-17' : '2008-10-17';
    return { Version => $version, Statement => [$statement] };
}

# The bucket, and its objects below the prefix
sub _Resources {
    my ($self) = @_;
    my $bucket = "$self->{arn}:s3:::$self->{options}{Bucket}";
    return ( $bucket, "$bucket/" . _Literal( $self->{options}{Prefix} // '' ) . q{*} );
}

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
sub _Literal { return $_[0] =~ s/([*?\$])/\${$1}/gr }

sub _Allow {
    my ( $sid, $action, $resource, $condition ) = @_;
    return {
        Sid      => $sid,
        Effect   => 'Allow',
        Action   => $action,
        Resource => $resource,
        ( $condition ? ( Condition => $condition ) : () )
    };
}

# To standard error, so that what is on standard output can be handed on
sub _Say {
    my ( $self, $text ) = @_;
    print STDERR "$text\n" if !$self->{tool}->Option('quiet');
    return;
}

sub _Print {
    my ( $self, $policy ) = @_;
    my %rank;
    @rank{@ORDER} = 0 .. $#ORDER;
    my $json = JSON::PP->new->ascii->sort_by(
        sub {
            no warnings 'once';
            ( $rank{$JSON::PP::a} // 99 ) <=> ( $rank{$JSON::PP::b} // 99 ) || $JSON::PP::a cmp $JSON::PP::b;
        }
    );
    $json = $json->indent->indent_length(4)->space_after if !$self->{tool}->Option('json');

    # With an encoding, print says of more than 1,024 bytes that they were written, also where they were not
    for my $part ( $json->encode($policy) =~ s/\n?\z/\n/r =~ /.{1,1000}/gs ) {
        print $part or $self->{tool}->Stop("the policy could not be written: $!");
    }
    return;
}

1;

__END__

=head1 NAME

rt-s3 policy - prints what must be allowed to whom

=head1 SYNOPSIS

    rt-s3 policy > rt.json
    aws iam put-user-policy --user-name rt --policy-name attachments --policy-document file://rt.json

    rt-s3 policy --public > public.json
    aws s3api put-bucket-policy --bucket my-rt-attachments --policy file://public.json

=head1 DESCRIPTION

Prints the least that the keys need that RT is configured with, as a policy for an IAM user or role: for the bucket, prefix and
encryption key of C<%ExternalStorage>, what RT and the commands of C<rt-s3> do there. It needs neither the server nor keys.

=over

=item C<ReadAndWriteObjects>

C<s3:GetObject> and C<s3:PutObject>. C<s3:AbortMultipartUpload> takes back the empty upload with which it is tried whether
something may be written.

=item C<DeleteObjects>

Only with C<--delete>. RT's shredder deletes files from RT 5.0.8 on, and C<rt-s3 check> the objects that it tries with;
nothing else does. Without it both leave theirs where they are, and C<rt-s3 check> says that it may not.

=item C<ListBucket>

For C<rt-s3 verify> and C<rt-s3 migrate>; and so that S3 says of an object that is not there just this, and not that it is
forbidden. With C<Prefix> only what begins with it may be listed. A request that names no prefix is allowed, for S3 asks for
this right without one when somebody wants an object that is not there.

=item C<MakeBucket>

C<s3:CreateBucket>, unless the option C<CreateBucket> is 0.

=item C<InspectBucket>

What C<rt-s3 check> reads of the bucket's configuration. It changes nothing, and may be left out.

=item C<UseEncryptionKey>

With C<ServerSideEncryption> and C<SSEKMSKeyId>. If it is the bucket's default to encrypt with a KMS key, say its key there,
or allow C<kms:Decrypt> and C<kms:GenerateDataKey> for it.

=back

=head1 OPTIONS

=over

=item C<--public>

The policy of RT's manual for the bucket itself, with which direct links work that are not signed. B<Everybody> can read
every file then, if he has its link or digest. C<< DirectLink => 'presigned' >> does without.

=item C<--read-only>

Only what is needed to read and to C<verify>: for a second RT that works on a copy of the database.

=item C<--delete>

With the right to delete objects.

=item C<--file=FILE>

For the C<%ExternalStorage> of a file, in the form of F<RT_SiteConfig.pm>, and not for the one in force: before RT moves there.

=item C<--json>

The same on one line.

=item C<--quiet>, C<-q>

Without the remarks on standard error.

=item C<--help>, C<-h>

This manual.

=back

=head1 EXIT STATUS

=over

=item C<0>

The policy stands on standard output.

=item C<2>

The configuration does not name a bucket, or can't be read.

=item C<64>

It was called wrongly.

=back

=head1 SEE ALSO

L<rt-s3>, L<RT::ExternalStorage::AmazonS3/DIRECT LINKING>

=cut
