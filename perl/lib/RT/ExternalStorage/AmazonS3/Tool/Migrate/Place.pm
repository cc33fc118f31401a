package RT::ExternalStorage::AmazonS3::Tool::Migrate::Place;

use strict;
use warnings;

use Data::Dumper ();

use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Secrets;
use RT::ExternalStorage::AmazonS3::Tool::Migrate::File;

use constant S3 => qr/\A(?:RT::ExternalStorage::)?AmazonS3\z/;

# RT's own module of that Type, beside this one
use constant OWN => 'RT::ExternalStorage::AmazonS3::Tool::Migrate::Own';

# The place that an option names: by a file, by "Disk:PATH", by "Own:" and a file, or, where it is not given, that of RT's
# configuration in force
sub Of {
    my ( $class, $tool, $option ) = @_;
    my $given = $tool->Option($option);
    my $role  = $option eq 'from' ? 'source' : 'target';
    my $self  = bless { tool => $tool, role => $role, given => $given }, $class;
    if ( !defined $given ) {
        my $in_force = $class->InForce($tool)
            or $tool->Stop("RT has no external storage configured; say with --$option where it is");
        $self->{options} = $in_force->{options};
    }
    elsif ( $given =~ /\ADisk:(.+)\z/s ) {
        $self->{options} = { Type => 'Disk', Path => $1 };
    }
    else {
        $self->{own}     = $option eq 'from' && $given =~ s/\AOwn:(?=.)//s;
        $self->{options} = RT::ExternalStorage::AmazonS3::Tool::Migrate::File->Read( $tool, $option, $given );
        $tool->Refuse("--from: Own: is for Type 'AmazonS3', and $given has Type '$self->{options}{Type}'")
            if $self->{own} && $self->Type !~ S3;
    }
    return $self;
}

# What RT is configured for, or undef
sub InForce {
    my ( $class, $tool ) = @_;
    my $options = RT->Config->Get('ExternalStorage');
    return undef if !ref $options || !length( $options->{Type} // '' );
    return bless { tool => $tool, options => {%$options} }, $class;
}

sub Type      { return $_[0]{options}{Type} }
sub IsS3      { return $_[0]->Type =~ S3 && !$_[0]{own} ? 1 : 0 }
sub IsInForce { return defined $_[0]{given}             ? 0 : 1 }
sub Given     { return $_[0]{given} }

sub Describe {
    my ($self) = @_;
    my $options = $self->{options};
    if ( $self->Type !~ S3 ) {
        return $self->Type . ( length( $options->{Path} // '' ) ? " in $options->{Path}" : '' );
    }
    my $text = 'bucket ' . ( $options->{Bucket} // '' );
    return "$text, as RT's own module reads it" if $self->{own};
    $text .= " at $options->{Host}"                 if length( $options->{Host}   // '' );
    $text .= " below the prefix $options->{Prefix}" if length( $options->{Prefix} // '' );
    return $text;
}

# The options, undef in the place of what is secret
sub Configuration {
    my ($self) = @_;
    my $hidden = RT::ExternalStorage::AmazonS3::Secrets->HIDDEN;
    my $shown  = RT::ExternalStorage::AmazonS3::Secrets->Shown( $self->{options} );
    return map { $_ => $shown->{$_} eq $hidden ? undef : $shown->{$_} } grep { defined $shown->{$_} } keys %{$shown};
}

# The same for RT_SiteConfig.pm
sub ConfigurationLines {
    my ($self) = @_;
    my %options = $self->Configuration;
    my ( $width, @lines, $has_secret ) = (0);
    for my $name ( keys %options ) { $width = length $name if length $name > $width }
    for my $name ( sort { _Rank($a) <=> _Rank($b) || $a cmp $b } keys %options ) {
        my $value = defined $options{$name} ? _Quoted( $options{$name} ) : q{'...'};
        $has_secret ||= $value =~ /\A'\.\.\.'\z|\*{3}/;
        push @lines, sprintf "    %-${width}s => %s,", $name =~ /\A\w+\z/ ? $name : _Quoted($name), $value;
    }
    return ( 'Set(%ExternalStorage,',
        @lines, ');', $has_secret ? "# with what is secret as it is in $self->{given}" : () );
}

sub _Rank { return { Type => 0, Bucket => 1 }->{ $_[0] } // 2 }

# As Perl reads it, in ASCII
sub _Quoted {
    my ($value) = @_;
    return $value if $value =~ /\A(?:0|[1-9]\d{0,14})\z/;
    return q{'} . $value =~ s/(['\\])/\\$1/gr . q{'} if $value =~ /\A[ -~]*\z/;
    return Data::Dumper->new( [$value] )->Terse(1)->Useqq(1)->Indent(0)->Dump;
}

# The same for places that are the same
sub Identity {
    my ($self) = @_;
    my $options = $self->{options};
    if ( $self->Type =~ S3 ) {
        my $host = lc( $options->{Host} // '' );
        $host =~ s{/+\z}{};
        $host =~ s{\A(?:https://)?([^/:]+)(?::443)?\z}{$1};
        $host =~ s{\Ahttp://([^/:]+)(?::80)?\z}{$1};
        $host =~ s{\.\z}{};

        # One name space for all regions
        $host = 'amazonaws.com' if $host eq '' || $host =~ /(?:\A|\.)amazonaws\.com\z/;
        return join "\0", 'S3', $host, map { $_ // '' } @{$options}{qw(Bucket Prefix)};
    }
    my $path = $options->{Path};
    my @stat = defined $path && !ref $path ? stat $path : ();
    return join "\0", $self->Type, @stat
        ? "$stat[0]:$stat[1]"
        : map { "$_=" . ( $options->{$_} // '' ) } sort grep { $_ ne 'Type' } keys %$options;
}

# ---- for modules that ask the command for RT's own: here they get this place

sub Backend { return $_[0]{options} }

sub Stop {
    my ( $self, $text ) = @_;
    return $self->{tool}->Stop("the $self->{role}: $text");
}

sub Native {
    my ($self) = @_;
    return $self->{native} if $self->{native};
    my %options = %{ $self->{options} };
    delete $options{Type};
    my ($wrong) = sort grep { ref $options{$_} || /\A_/ } keys %options;
    $self->Stop("option $wrong of %ExternalStorage is not a plain value") if defined $wrong;
    ( my $native, my $error ) = RT::ExternalStorage::AmazonS3::Native->open(%options);
    $self->Stop($error) if !$native;

    for my $message ( $native->drain ) {
        my ( $level, $text ) = @$message;
        my $how = $level eq 'error' ? 'Problem' : 'Line';
        $self->{tool}->Output->$how("$self->{given}: $text") if defined $self->{given};
    }
    return $self->{native} = $native;
}

# ---- RT's other backends

# One of RT's own, as RT makes it; it has no say in what the log gets
sub Foreign {
    my ($self) = @_;
    require RT::ExternalStorage;
    my @said;
    my $backend = eval {
        local $RT::Logger = RT::ExternalStorage::AmazonS3::Tool::Migrate::Ear->new( \@said );
        local $SIG{__WARN__} = sub { push @said, $_[0] };
        my %options = %{ $self->{options} };
        $options{Type} = _Own() if $self->{own};
        RT::ExternalStorage::Backend->new(%options);
    };
    return $backend if $backend;
    my $why = join( '; ', grep {length} @said, $@ ) || "RT's backend of this Type does not start";
    return $self->Stop($why);
}

# RT finds this module under the name of its own, so that gets another one
sub _Own {
    my $file = $INC{'RT.pm'} =~ s{RT[.]pm\z}{RT/ExternalStorage/AmazonS3.pm}r;
    open my $handle, '<', $file or die "RT's own module can't be read: $file: $!\n";
    my $code = do { local $/ = undef; readline $handle };
    close $handle or die "$file: $!\n";
    my $own = OWN;
    $code =~ s/^package RT::ExternalStorage::AmazonS3;/package $own;/m or die "$file is not RT's own module\n";
    eval "$code; 1" or die $@;                     ## no critic (ProhibitStringyEval) RT's, but for its name
    $INC{ $own =~ s{::}{/}gr . '.pm' } = $file;    ## no critic (RequireLocalizedPunctuationVars) it is loaded
    return $own;
}

package RT::ExternalStorage::AmazonS3::Tool::Migrate::Ear;    ## no critic (ProhibitMultiplePackages)

sub new {
    my ( $class, $said ) = @_;
    return bless { said => $said }, $class;
}

for my $level (qw(debug info notice warn warning err error crit critical alert emerg emergency)) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    *{$level} = sub { push @{ $_[0]{said} }, $_[1]; return };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Migrate::Place - from where rt-s3 migrate copies, and to where

=head1 METHODS

=over

=item Of TOOL, OPTION

What the option names, or what RT is configured for.

=item InForce TOOL

What RT is configured for, or C<undef>.

=item Type, IsS3, IsInForce, Given

Its Type; whether that is a bucket; whether it is RT's own at the moment; what was given.

=item Describe, Identity

In words; and the same string for the same place.

=item Configuration, ConfigurationLines

Its options, without what is secret: as a list of names and values, C<undef> for a secret; and as Perl.

=item Native, Backend, Stop

For a bucket what L<RT::ExternalStorage::AmazonS3::Tool> has of RT's own: the library's handle, the options; and the end.

=item Foreign

For another Type RT's own backend.

=back

=cut
