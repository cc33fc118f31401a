package RT::ExternalStorage::AmazonS3::Secrets;

use strict;
use warnings;

use constant {
    HIDDEN   => 'Password not printed',
    SHORTEST => 6,                        # a shorter one can't be told from other text

    # What AWS makes as SecretAccessKey, and never as AccessKeyId
    SWAPPED => qr{\A(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/]{40}\z},
};

# Makes RT's System Configuration page show the options without what is secret in them. Loading the configuration from
# the database puts RT's own metadata back, so this is done at each Init.
my $Registered;

# While it is only tried whether RT can do it, no translation is needed, which would load RT's lexicon
my $Trying;

sub Hide {
    my ($class) = @_;
    my $meta    = RT->Config->Meta('ExternalStorage') or return;
    my $others  = $meta->{Obfuscate};
    return if $others && $Registered && $others == $Registered;
    $Registered        = $others ? sub { return _Obfuscate( $_[0], $others->(@_), $_[2] ) } : \&_Obfuscate;
    $meta->{Obfuscate} = $Registered;
    $Trying            = 1;
    _MendGetObfuscated() if !eval { RT->Config->GetObfuscated('ExternalStorage'); 1 };
    $Trying = 0;
    return;
}

# RT 4.4 clones the value in list context, which fails with a hash: its whole System Configuration page is an error
# then. None of its own options that have an Obfuscate is one, so it does not know.
sub _MendGetObfuscated {
    my $original = RT::Config->can('GetObfuscated') or return;
    no warnings 'redefine';
    *RT::Config::GetObfuscated = sub {
        my ( $config, $name, $user ) = @_;
        my $obfuscate = ( $config->Meta($name) || {} )->{Obfuscate};
        return $config->$original( $name, $user ) if $name ne 'ExternalStorage' || !$obfuscate;
        my $value = $config->Get($name);                                     # a reference in scalar context
        my $shown = $obfuscate->( $config, { %{ $value || {} } }, $user );
        return wantarray ? %$shown : $shown;
    };
    return;
}

# While RT makes its backend, all options are arguments of calls under way, and RT's log has those in its stack traces
# ($LogStackTraces). So there are none in the traces of what is logged then.
sub WithoutArguments {
    my ( $class, $code ) = @_;
    my $new = eval { require Devel::StackTrace; Devel::StackTrace->can('new') } or return $code->();
    no warnings 'redefine';
    local *Devel::StackTrace::new = sub { push @_, no_args => 1; goto &$new };
    return $code->();
}

# The same for others who show options: a copy
sub Shown {
    my ( $class, $options, $user ) = @_;
    return _Obfuscate( RT->Config, $options, $user );
}

# RT calls it with its configuration, the option's value (older ones: not a copy of it) and the user
sub _Obfuscate {
    my ( $config, $value, $user ) = @_;
    return $value if ref $value ne 'HASH';
    my $hidden = !$Trying && $user && eval { $user->loc(HIDDEN) } || HIDDEN;
    my %shown  = %$value;
    my @given  = @shown{qw(SecretAccessKey SessionToken)};
    push @given, $shown{AccessKeyId} if ( $shown{AccessKeyId} // '' ) =~ SWAPPED;
    @given = grep { defined && !ref && length >= SHORTEST } @given;
    for my $name ( keys %shown ) {
        next if !defined $shown{$name};
        if ( _IsSecret($name) ) {
            $shown{$name} = $hidden;
        }
        elsif ( !ref $shown{$name} ) {
            $shown{$name} =~ s{(?<=://)[^/]*\@}{***\@};
            $shown{$name} =~ s/\Q$_\E/***/g for @given;    # pasted into the wrong option, too
        }
    }
    return \%shown;
}

# SecretAccessKey and SessionToken, and what was meant to be one of them
sub _IsSecret {
    my ($name) = @_;
    return $name =~ /sec|tok|pass|key/i && $name !~ /\A(?:AccessKeyId|SSEKMSKeyId)\z/;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Secrets - keeps keys off RT's System Configuration page and out of its log

=head1 CLASS METHODS

=head2 Hide

Registers an C<Obfuscate> for C<%ExternalStorage> in RT's configuration metadata. RT's web editor leaves options that
have one alone, so C<%ExternalStorage> is changed in the configuration files only. Where RT's C<GetObfuscated> can't
do this for a hash (RT 4.4), it is mended for C<%ExternalStorage>, and for nothing else.

=head2 Shown OPTIONS, [USER]

A reference to a copy of the options in which nothing is secret, in the language of the user.

=head2 WithoutArguments CODE

Runs code, and what it logs has stack traces without arguments: RT's C<$LogStackTraces> would show keys.

=cut
