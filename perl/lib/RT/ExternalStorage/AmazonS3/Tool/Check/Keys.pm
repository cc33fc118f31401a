package RT::ExternalStorage::AmazonS3::Tool::Check::Keys;

use strict;
use warnings;

use POSIX ();

use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Native::Inspection;
use RT::ExternalStorage::AmazonS3::Tool::Check::Child;

use constant { CHILD => 'RT::ExternalStorage::AmazonS3::Tool::Check::Child', SECONDS => 25 };

# The user given with --as: a hash, or undef
sub User {
    my ( $class, $tool ) = @_;
    my $name = $tool->Option('as') // return undef;
    my @user = getpwnam $name;
    $tool->Refuse("--as: there is no user '$name'") if !@user;
    my %user = ( name => $name, id => $user[2], group => $user[3], home => $user[7] );
    $tool->Stop("--as $name needs root: nobody else can become another user") if $> != 0 && $> != $user{id};
    return \%user;
}

sub Look {
    my ( $class, $check, $user ) = @_;
    my $mine = _Facts( $check->Native );
    _Tell( $check, keys => $mine );
    if ( !$user ) {
        $check->Report(
            unknown => 'keys of the web server',
            'not looked at: --as USER does, for example --as www-data'
        ) if ( $mine->{source} // '' ) ne 'options';
        return 1;
    }
    my ( $theirs, $error ) = CHILD->Answer( SECONDS, sub { _Become($user); return _AsUser($check) } );
    $theirs //= { error => $error };
    my $name = "keys of $user->{name}";
    $check->Report( problem => $name, $_, "let $user->{name} read it" ) for @{ delete $theirs->{unreadable} || [] };
    $check->Report( warning => "options of $user->{name}", $_, "let $user->{name} use that directory" )
        for @{ delete $theirs->{warnings} || [] };
    _Tell( $check, $name, $theirs );
    my $differ = defined $mine->{id} && defined $theirs->{id} && $mine->{id} ne $theirs->{id};
    $check->Report(
        warning => $name,
        "not the same as this user's, $mine->{id}: what one stores the other may not be allowed to read",
        'give both the same keys, or see that both may read and write the bucket'
    ) if $differ && ( $mine->{source} ne $theirs->{source} || !$mine->{expires} );
    return 1;
}

sub _Tell {
    my ( $check, $name, $facts ) = @_;
    if ( defined $facts->{error} ) {
        $check->Report(
            problem => $name,
            $facts->{error},
            'set AccessKeyId and SecretAccessKey in RT_SiteConfig.pm, or give this user keys as KEYS in '
                . '"perldoc RT::ExternalStorage::AmazonS3" says'
        );
        return;
    }
    my $text = ( $facts->{id} // 'of unknown id' ) . ', from ' . $facts->{source};
    my $end  = $facts->{expires};
    if ( !defined $end ) {
        my $is_lent = $facts->{source} eq 'options' && length( $check->Given->{SessionToken} // '' );
        $check->Report(
            $is_lent
            ? (
                warning => $name,
                "$text; they are temporary, and nobody renews them",
                'use keys without a SessionToken, or let them be found: see KEYS in "perldoc '
                    . 'RT::ExternalStorage::AmazonS3"'
                )
            : ( ok => $name, "$text; they do not expire" )
        );
        return;
    }
    my $when = POSIX::strftime( '%Y-%m-%d %H:%M UTC', gmtime $end );
    $check->Report(
        $end > time
        ? ( ok => $name, "$text; good until $when, and renewed in time" )
        : ( problem => $name, "$text; expired at $when", 'renew them where they come from' )
    );
    return;
}

# Source, id and end of a handle's keys, or an error
sub _Facts {
    my ($native) = @_;
    my ( $inspection, $error ) = RT::ExternalStorage::AmazonS3::Native::Inspection->new($native);
    ( my $found, $error ) = $inspection->facts('credentials') if $inspection;
    return { error => $error->message } if !$found;
    return { source => $found->{source}, id => $found->{'access-key-id'}, expires => $found->{expires} };
}

# In a child, for good. What this shell says of keys is not what that user has.
sub _Become {
    my ($user) = @_;
    ## no critic (RequireLocalizedPunctuationVars)
    if ( $> == 0 ) {
        POSIX::setgid( $user->{group} ) or die "can't take the group of $user->{name}: $!\n";
        my @groups = ( $user->{group}, _Groups( $user->{name} ) );
        $! = 0;
        $) = join ' ', $groups[0], @groups;
        die "can't take the groups of $user->{name}: $!\n" if $!;
        POSIX::setuid( $user->{id} ) or die "can't become $user->{name}: $!\n";
    }
    delete @ENV{ grep { /\AAWS_/ && !/METADATA/ } keys %ENV };
    @ENV{qw(HOME USER LOGNAME)} = @{$user}{qw(home name name)};
    chdir '/' or die "/: $!\n";
    return;
}

# As initgroups finds them, which Perl has not
sub _Groups {
    my ($name) = @_;
    open my $id, '-|', 'id', '-G', $name or die "id: $!\n";
    my @groups = map { split ' ' } readline $id;
    close $id or die "can't find the groups of $name\n";
    return @groups;
}

# Another option than this process has used, so that the handle is another one too, which looks for its keys anew
sub _AsUser {
    my ($check) = @_;
    my @modules = grep {m{AmazonS3|rts3}} grep {defined} RT::ExternalStorage::AmazonS3::Native->library_path,
        values %INC;

    # RT goes on without a configuration that it can't read: without external storage, and files are empty then
    my @configs    = map { $_->{filename} } RT->Config->LoadedConfigs;
    my @unreadable = map {"$_ can't be read by this user"}
        grep { !-r } sort grep {defined} @modules, @configs, $check->Given->{CAFile};
    my ( $native, $error ) = $check->Handle( ReadTimeout => 13 );
    my $facts = $native ? _Facts($native) : { error => $error->message };
    ( undef, $error ) = $native->get( '0' x 64 ) if $native && !defined $facts->{error};
    my @warnings = grep {/\boption CacheDir\b/} map { $_->[1] } $native ? $native->drain : ();
    $facts->{error} = $error->message if $error && $error->name =~ /\A(?:credentials|config)\z/;
    return { %$facts, unreadable => \@unreadable, warnings => \@warnings };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Keys - whose keys, from where, and until when

=head1 CLASS METHODS

=over

=item User TOOL

The user of the option C<--as>; ends the command where that can't be.

=item Look CHECK, USER

Reports the keys that this user has, and those that USER has.

=back

=cut
