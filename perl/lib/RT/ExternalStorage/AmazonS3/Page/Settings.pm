package RT::ExternalStorage::AmazonS3::Page::Settings;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Deadline;
use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Secrets;

use constant NATIVE => 'RT::ExternalStorage::AmazonS3::Native';

# In the order in which they are shown, with what holds where they are not given, as the library has it
my @OPTIONS = (
    Type                 => '',
    Bucket               => '',
    Host                 => 's3.amazonaws.com',
    Region               => '',
    AddressingStyle      => 'auto',
    Prefix               => '',
    AccessKeyId          => '',
    SecretAccessKey      => '',
    SessionToken         => '',
    Profile              => '',
    CredentialSource     => '',
    DirectLink           => 'public',
    DirectLinkExpires    => 3600,
    DirectLinkHost       => '',
    ServerSideEncryption => '',
    SSEKMSKeyId          => '',
    StorageClass         => '',
    ExpectedBucketOwner  => '',
    Checksum             => 'auto',
    CreateBucket         => 1,
    CacheDir             => '',
    CacheSize            => '1 GiB',
    CAFile               => '',
    Proxy                => '',
    ConnectTimeout       => 3,
    ReadTimeout          => 15,
    Deadline             => RT::ExternalStorage::AmazonS3::Deadline->OTHERWISE,
    Retries              => 4,
    Concurrency          => 32,
);
my %DEFAULT = @OPTIONS;
my @ORDER   = @OPTIONS[ grep { $_ % 2 == 0 } 0 .. $#OPTIONS ];

# RT's own that matter here
my @THEIRS = qw(ExternalStorageCutoffSize ExternalStorageDirectLink);

sub Defaults { return %DEFAULT }

# %ExternalStorage without what is secret in it
sub Shown {
    my ( $class, $user ) = @_;
    my $options = RT->Config->Get('ExternalStorage');
    return {} if ref $options ne 'HASH';
    my $shown = RT::ExternalStorage::AmazonS3::Secrets->Shown( $options, $user );
    for my $value ( grep { defined && !ref } values %{$shown} ) {
        $value =~ s{\A[^/\@]*\@}{***\@};    # a proxy's password, without a scheme before it
    }
    return $shown;
}

# What is in force: [ name, value, where it comes from ], the last two as arguments for loc
sub List {
    my ( $class, $page ) = @_;
    my $shown = $class->Shown( $page->User );
    my @files = _Files();
    my @rows;
    for my $name ( @ORDER, grep { !exists $DEFAULT{$_} } sort keys %{$shown} ) {
        my $value = $shown->{$name};
        if ( defined $value ) {
            push @rows, [ $name, ref $value ? ['not a plain value'] : _Plain($value), _Where( $name, @files ) ];
        }
        elsif ( my @found = $class->_Found( $name, $page, $shown ) ) {
            push @rows, [ $name, @found ];
        }
        elsif ( length $DEFAULT{$name} && ( $name ne 'CacheSize' || length( $shown->{CacheDir} // '' ) ) ) {
            my $default = $DEFAULT{$name};
            $default = RT::ExternalStorage::AmazonS3::Deadline->WEB if $name eq 'Deadline';
            push @rows, [ $name, _Plain($default), ['default'] ];
        }
    }
    push @rows, map { [ "\$$_", _Plain( scalar RT->Config->Get($_) ), _Source($_) ] } @THEIRS;
    push @rows, $class->_Program;
    return @rows;
}

# What is not given, and comes from elsewhere
sub _Found {
    my ( $class, $name, $page, $shown ) = @_;
    if ( $name eq 'Region' ) {
        my $region = ( $page->Facts('learned') || {} )->{region};
        return ( _Plain($region), ['the server has told it, or the Host says it'] ) if length( $region // '' );
        return;
    }
    if ( $name eq 'AccessKeyId' && !$shown->{SecretAccessKey} ) {
        my $keys = $page->Facts('credentials') or return;
        return if !defined $keys->{'access-key-id'};
        return ( _Plain( $keys->{'access-key-id'} ), [ 'found by the library: [_1]', $keys->{source} // '' ] );
    }
    if ( $name eq 'Proxy' ) {
        my @names = ( $shown->{Host} // '' ) =~ m{\Ahttp:}i ? qw(http_proxy) : qw(https_proxy HTTPS_PROXY);
        my ($variable) = grep { length( $ENV{$_} // '' ) } @names;
        return if !defined $variable;
        my $value = $ENV{$variable} =~ s{\A(\w+://)?[^/\@]*\@}{($1 // '') . '***@'}er;
        return ( _Plain($value), [ 'environment variable [_1]', $variable ] );
    }
    return;
}

sub _Program {
    my ($class) = @_;
    my ( $version, $error ) = NATIVE->version;
    my $is_told = length( $ENV{RTS3_LIBRARY} // '' ) ? 1 : 0;
    return (
        [
            'library',
            _Plain( ( $version ? "$version, " : '' ) . NATIVE->library_path ),
            $is_told ? [ 'environment variable [_1]', 'RTS3_LIBRARY' ] : ['beside the Perl modules']
        ],
        [ 'module', _Plain( $INC{'RT/ExternalStorage/AmazonS3.pm'} // '-' ), [ 'RT [_1]', $RT::VERSION ] ],
    );
}

# RT does not tell where a part of %ExternalStorage was set: the first of its files that has it counts
sub _Where {
    my ( $name, @files ) = @_;
    return ["RT's web interface, System Configuration"]
        if ( ( RT->Config->Meta('ExternalStorage') || {} )->{Source} || {} )->{Database};
    for my $file (@files) {
        my $line = $file->{lines}{$name} // next;
        return [ '[_1], line [_2]', $file->{path}, $line ];
    }
    return [ '[_1]', @files ? $files[0]{path} : 'RT_SiteConfig.pm' ];
}

# The files that set %ExternalStorage, in RT's order, with the lines on which a name stands before "=>"
sub _Files {
    no warnings 'once';
    my ($main) = grep { defined && -f } $ENV{RT_SITE_CONFIG},
        map { defined ? "$_/RT_SiteConfig.pm" : () } $RT::LocalEtcPath, $RT::EtcPath;
    my @directories =
        defined $ENV{RT_SITE_CONFIG_DIR}
        ? $ENV{RT_SITE_CONFIG_DIR}
        : map { defined ? "$_/RT_SiteConfig.d" : () } $RT::EtcPath, $RT::LocalEtcPath;
    my ( @files, %seen );
    for my $path ( grep { defined && !$seen{$_}++ } $main, map { sort glob "$_/*.pm" } @directories ) {
        open my $in, '<', $path or next;
        my ( $is_set, %lines );
        while ( my $line = <$in> ) {
            next if $line =~ /\A\s*#/;
            $is_set ||= $line =~ /%ExternalStorage\b/;
            next if !$is_set;
            $lines{$_} //= $. for $line =~ /\b(\w+)["']?\s*=>/g;
        }
        close $in or next;
        push @files, { path => $path, lines => \%lines } if $is_set;
    }
    return @files;
}

# A value that loc leaves as it is
sub _Plain {
    my ($value) = @_;
    return [ '[_1]', defined $value && length $value ? $value : '-' ];
}

# Where RT has a setting from
sub _Source {
    my ($name) = @_;
    my $source = ( RT->Config->Meta($name) || {} )->{Source};
    return ['default']                                  if ref $source ne 'HASH';
    return ["RT's web interface, System Configuration"] if $source->{Database};
    return ['default']                                  if !$source->{SiteConfig} && !$source->{Extension};
    return [ '[_1], line [_2]', $source->{File} // '?', $source->{Line} // '?' ];
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Settings - the configuration that is in force, and where it comes from

=head1 CLASS METHODS

=over

=item List PAGE

Lists of name, value and source.

=item Shown USER

C<%ExternalStorage> without what is secret in it.

=item Defaults

The options with their defaults.

=back

=cut
