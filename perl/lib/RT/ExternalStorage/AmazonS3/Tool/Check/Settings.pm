package RT::ExternalStorage::AmazonS3::Tool::Check::Settings;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Quantity qw(counted);

# Classes that can't be read at once, and seconds after which an upload is a forgotten one
use constant { ARCHIVE => qr/\A(?:GLACIER|DEEP_ARCHIVE)\z/, FORGOTTEN => 86_400, DAY => 86_400 };

# Name, element (moto 5.2 has a name of its own for one), and the right to ask
my @LOOKS = (
    [ lifecycle => qr/LifecycleConfiguration/, 's3:GetLifecycleConfiguration', \&_Lifecycle ],
    [
        versioning => qr/(?:VersioningConfiguration|GetBucketVersioningResponse)/,
        's3:GetBucketVersioning', \&_Versioning
    ],
    [ 'object-lock' => qr/ObjectLockConfiguration/,           's3:GetBucketObjectLockConfiguration', \&_Lock ],
    [ encryption    => qr/ServerSideEncryptionConfiguration/, 's3:GetEncryptionConfiguration',       \&_Encryption ],
    [ uploads       => qr/ListMultipartUploadsResult/,        's3:ListBucketMultipartUploads',       \&_Uploads ],
);

sub Look {
    my ( $class, $check ) = @_;
    for my $look (@LOOKS) {
        my ( $what, $root, $right, $judge ) = @$look;
        my ( $answer, $error ) = $check->Document($what);
        return $check->Failed( $what => $error ) if $error && $error->name =~ $check->OUTAGE;
        my @result =
             !$answer                   ? ( unknown => $what, $error->message )
            : $answer->IsUnknown($root) ? ( ok      => $what, 'not known to this server' )
            : $answer->IsNotSet         ? ( ok      => $what, 'none' )
            : $answer->IsDenied         ? ( unknown => $what, "these keys may not ask for it ($right)" )
            : !$answer->IsOk            ? ( unknown => $what, join ' ', 'HTTP', $answer->Status, $answer->Code )
            :                             ();
        $check->Report( @result ? @result : ( $judge->( $check, $answer ) ) );
    }
    return 1;
}

sub _Lifecycle {
    my ( $check, $answer ) = @_;
    my @rules = grep { _IsOurs( $answer, $_, $check->Given->{Prefix} // '' ) } $answer->All('Rule');
    my @found = map  { _Rule( $answer, $_ ) } @rules;
    ( $check->{aborted_after} ) = sort { $a <=> $b } grep {/\A\d+\z/}
        map { $answer->First( DaysAfterInitiation => $_ ) // '' }
        map { $answer->All( AbortIncompleteMultipartUpload => $_ ) } @rules;
    return ( ok => 'lifecycle', 'no rule that deletes or archives objects' ) if !@found;
    return (
        problem => 'lifecycle',
        join( '; ', @found ) . q{: RT can't show what is gone or archived},
        'remove those rules, or confine them to another prefix: the bucket holds the only copy'
    );
}

# Whether a rule is enabled, and for RT's objects, which have no tags
sub _IsOurs {
    my ( $answer, $rule, $ours ) = @_;
    return if ( $answer->First( Status => $rule ) // '' ) ne 'Enabled' || $rule =~ /<(?:\w+:)?Tag\b/;
    return _Meets( $answer->First( Prefix => $rule ) // '', $ours );
}

# What it does to them
sub _Rule {
    my ( $answer, $rule ) = @_;
    my $name = $answer->First( ID => $rule ) // '';
    $name = length $name ? "the rule '$name'" : 'a rule';
    my @does;
    for my $expiration ( $answer->All( Expiration => $rule ) ) {
        my $days = $answer->First( Days => $expiration );
        my $date = $answer->First( Date => $expiration );
        push @does, "$name deletes objects after " . counted( $days, 'day' ) if defined $days;
        push @does, "$name deletes objects on $date"                         if defined $date;
    }
    for my $transition ( $answer->All( Transition => $rule ) ) {
        my $class = $answer->First( StorageClass => $transition ) // '';
        my $days  = $answer->First( Days         => $transition );
        push @does, "$name archives objects ($class)" . ( defined $days ? ' after ' . counted( $days, 'day' ) : '' )
            if $class =~ ARCHIVE;
    }
    return @does;
}

# Whether keys below our prefix, which are hexadecimal digits, can begin with theirs
sub _Meets {
    my ( $theirs, $ours ) = @_;
    return 1 if index( $ours, $theirs ) == 0;
    return index( $theirs, $ours ) == 0 && substr( $theirs, length $ours ) =~ /\A[0-9a-f]{1,64}\z/;
}

sub _Versioning {
    my ( $check, $answer ) = @_;
    my $status = $answer->First('Status') // '';
    return ( ok => 'versioning', 'on: what is deleted can be brought back' ) if $status eq 'Enabled';
    return ( ok => 'versioning', 'off: what is deleted is gone, so see that the bucket has a backup' );
}

sub _Lock {
    my ( $check, $answer ) = @_;
    my $rule   = $answer->First('DefaultRetention') // '';
    my %time   = map { $_ => $answer->First( $_, $rule ) // '' } qw(Days Years);
    my ($time) = map {"$time{$_} \L$_"} grep { length $time{$_} } qw(Days Years);
    return ( ok => 'object-lock', 'on, without a default retention' ) if !defined $time;
    return ( ok => 'object-lock', "on: for $time a version can't be deleted; RT's Delete leaves it behind a marker" );
}

sub _Encryption {
    my ( $check, $answer ) = @_;
    my $algorithm = $answer->First('SSEAlgorithm') // return ( ok => 'encryption', 'none' );
    my $key       = $answer->First('KMSMasterKeyID');
    my $text      = $algorithm . ( length( $key // '' ) ? " with the key $key" : '' ) . ' by default';
    my $given     = $check->Given->{ServerSideEncryption} // '';
    $text .= "; RT asks for $given" if length $given && $given ne $algorithm;
    return ( ok => 'encryption', $text );
}

sub _Uploads {
    my ( $check, $answer ) = @_;
    my $ours  = $check->Given->{Prefix} // '';
    my @begun = map { $answer->First( Initiated => $_ ) // '' }
        grep { index( $answer->First( Key => $_ ) // '', $ours ) == 0 } $answer->All('Upload');
    my $more = ( $answer->First('IsTruncated') // '' ) eq 'true' ? ' and more' : '';
    require HTTP::Date;
    my $days = $check->{aborted_after};
    my $old  = time - ( FORGOTTEN + ( defined $days ? $days * DAY : 0 ) );
    my @old  = sort grep { ( HTTP::Date::str2time($_) // time ) < $old } @begun;
    my $soon = defined $days ? "; the rule of the bucket removes them after " . counted( $days, 'day' ) : '';
    return ( ok => 'uploads', @begun ? scalar(@begun) . "$more under way$soon" : 'none unfinished' ) if !@old;
    return (
        warning => 'uploads',
        scalar(@old) . "$more unfinished, the oldest since $old[0]: they cost money, and no list shows them",
        'let a lifecycle rule with AbortIncompleteMultipartUpload remove them'
    );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Settings - what the bucket is told to do

=head1 CLASS METHODS

=over

=item Look CHECK

Reports lifecycle rules, versions, object lock, encryption and unfinished uploads.

=back

=cut
