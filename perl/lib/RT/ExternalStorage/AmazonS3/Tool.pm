package RT::ExternalStorage::AmazonS3::Tool;

use strict;
use warnings;

use Getopt::Long ();
use Scalar::Util ();

use RT::ExternalStorage::AmazonS3::Tool::Output;

use constant { WELL => 0, SOMETHING => 1, NOT_DONE => 2, WRONG_USE => 64 };

use constant {
    BACKEND => 'RT::ExternalStorage::AmazonS3',
    STOPPED => 'RT::ExternalStorage::AmazonS3::Tool::Stopped'
};

my %COMMAND = map { $_ => 'RT::ExternalStorage::AmazonS3::Tool::' . ucfirst }
    qw(check externalize internalize migrate policy status verify);

sub new {
    my ( $class, %args ) = @_;
    return bless {%args}, $class;
}

sub Run {
    my ( $self, @arguments ) = @_;
    @arguments = ( $arguments[1], '--help' ) if @arguments == 2 && $arguments[0] eq 'help';
    my $name = $arguments[0] // '';
    return $self->_Manual( $self->{program}, 0 ) if $name =~ /\A(?:|-h|--help|help)\z/ && @arguments <= 1;
    return $self->_Version                       if $name eq '--version';
    return $self->_WrongUse("options come after the command, as in: rt-s3 COMMAND $name") if $name =~ /\A-/;
    return $self->_WrongUse( "there is no command '$name'; there are " . join ', ', sort keys %COMMAND )
        if !$COMMAND{$name};
    shift @arguments;

    my $command = $COMMAND{$name};
    eval "require $command; 1" or die $@;    ## no critic (ProhibitStringyEval): one of those above
    $self->{name} = $name;
    my ( %given, @wrong );
    {
        local $SIG{__WARN__} = sub { push @wrong, $_[0] =~ s/\s+\z//r };
        my $parser = Getopt::Long::Parser->new( config => [qw(no_auto_abbrev no_ignore_case)] );
        $parser->getoptionsfromarray( \@arguments, \%given, qw(json quiet|q help|h version), $command->Options );
    }
    return $self->_WrongUse( lcfirst $wrong[0] )                           if @wrong;
    return $self->_Version                                                 if $given{version};
    return $self->_Manual( $INC{ $command =~ s{::}{/}gr . '.pm' } )        if $given{help};
    return $self->_WrongUse("there is nothing to do with '$arguments[0]'") if @arguments;

    $self->{options} = \%given;
    $self->{output}  = RT::ExternalStorage::AmazonS3::Tool::Output->new( map { $_ => $given{$_} } qw(json quiet) );
    my $status = eval { $command->new( tool => $self )->Run };
    my $error  = $@;
    if ( !defined $status ) {
        $error = { text => "rt-s3 itself has failed: $error" =~ s/\s+\z//r } if !IsStopped($error);
        return $self->_WrongUse( $error->{text} )                            if $error->{wrong_use};
        $self->{output}->Problem("rt-s3 $name: $error->{text}");
        $self->{output}->Record( error => $error->{text} );
        return NOT_DONE;
    }
    my $why = $self->{output}->Failed // return $status;
    print STDERR "rt-s3 $name: not everything could be written: $why\n";
    return NOT_DONE;
}

sub Output { return $_[0]{output} }

# The value of an option; undef if it was not given
sub Option { return $_[0]{options}{ $_[1] } }

# The whole number given as an option, within bounds
sub Number {
    my ( $self, $option, $default, $least, $most ) = @_;
    my $value = $self->Option($option) // return $default;
    return $value if $value =~ /\A\d{1,15}\z/ && $value >= $least && $value <= $most;
    return $self->Refuse("--$option: '$value' is not a whole number from $least to $most");
}

# Ends the command, which can't be carried out
sub Stop { return _Stop( text => $_[1] ) }

# The same, because of what the command was called with
sub Refuse { return _Stop( text => $_[1], wrong_use => 1 ) }

sub _Stop {
    my (%why) = @_;
    $why{text} =~ s/\s*\R\s*/ /g;
    $why{text} =~ s/\s+\z//;
    die bless \%why, STOPPED;
}

# Whether that is why a command ended
sub IsStopped {
    my ($error) = @_;
    return Scalar::Util::blessed($error) && $error->isa(STOPPED);
}

# RT with its configuration and its database
sub LoadRT {
    my ($self) = @_;
    return if $self->{rt};
    local $SIG{__DIE__} = 'DEFAULT';
    eval { require RT; 1 }
        or $self->Stop("RT can't be loaded (its lib directory is sought in @{ $self->{libs} }): $@");
    eval { RT->LoadConfig; 1 } or $self->Stop( "RT's configuration can't be loaded: " . _WithoutSource($@) );

    # What is never used here takes memory: the catalogues of all languages 70 MB, libraries that draw 7 MB
    RT->Config->Set( LexiconLanguages => 'en' );
    RT->Config->Set( $_               => 1 ) for qw(DisableGD DisableGraphViz);
    eval { RT->Init; 1 } or $self->Stop("RT can't start: $@");
    $self->{rt} = 1;
    return;
}

# Perl's message without the piece of the file that it quotes: a key may stand there
sub _WithoutSource {
    my ($message) = @_;
    $message =~ s/,? near ".*//s;
    $message =~ s/ marked by <-- HERE.*//s;
    return $message;
}

# RT's external storage, which must be this one
sub Backend {
    my ($self) = @_;
    $self->LoadRT;
    my $backend = RT->System->ExternalStorage
        or $self->Stop( q{external storage is not configured: set %ExternalStorage in RT_SiteConfig.pm, with }
            . q{Type => 'AmazonS3'} );
    my $type = RT->Config->Get('ExternalStorage') || {};
    $type = $type->{Type} // '' if ref $type;
    $self->Stop("external storage is of Type '$type', not 'AmazonS3'") if !$backend->isa(BACKEND);
    $self->Stop( "RT's own module is loaded instead of this one: $INC{'RT/ExternalStorage/AmazonS3.pm'}; "
            . 'see where "make install" has put it' )
        if !$backend->can('DownloadURLFor') || !defined &{ BACKEND . '::_Try' };
    $self->_AskServer($backend) if length( $backend->{CacheDir} // '' );
    return $backend;
}

# The library's handle for these options of %ExternalStorage, but without local copies: what is in the bucket counts
sub OpenServer {
    my ($options) = @_;
    my @names = grep { !/\A(?:_.*|Type|CacheDir|CacheSize)\z/ && !ref $options->{$_} } keys %{$options};
    return RT::ExternalStorage::AmazonS3::Native->open( map { $_ => $options->{$_} } @names );
}

sub _AskServer {
    my ( $self, $backend ) = @_;
    return if $self->{asks_server}++ || !$backend->{_Native};
    my ( $native, $error ) = OpenServer($backend);
    $self->Stop($error) if !$native;
    $native->drain;
    $backend->_Drain;
    $backend->{_Native} = $native;
    return;
}

# The library's handle of that backend
sub Native {
    my ($self) = @_;
    my $backend = $self->Backend;
    return $backend->{_Native} || $self->Stop( $backend->{_Broken} );
}

sub _Manual {
    my ( $self, $file, $verbose ) = @_;
    require Pod::Usage;
    Pod::Usage::pod2usage(
        -input     => $file,
        -verbose   => $verbose // 2,
        -exitval   => 'NOEXIT',
        -output    => \*STDOUT,
        -noperldoc => 1
    );
    return WELL;
}

sub _WrongUse {
    my ( $self, $text ) = @_;
    my $name = join ' ', grep {defined} 'rt-s3', $self->{name};
    print STDERR "$name: $text\nSee $name --help\n";
    return WRONG_USE;
}

sub _Version {
    my ($self) = @_;
    require RT::ExternalStorage::AmazonS3::Native;
    my ( $library, $error ) = RT::ExternalStorage::AmazonS3::Native->version;
    my $rt = eval { require RT; $RT::VERSION } // 'not found';
    print 'rt-s3 ', $library // "without its library: $error", "\nRT $rt\n";
    return $library ? WELL : NOT_DONE;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool - what all commands of rt-s3 share

=head1 SYNOPSIS

    exit RT::ExternalStorage::AmazonS3::Tool->new( libs => \@libs, program => $0 )->Run(@ARGV);

=head1 DESCRIPTION

Each command is a class below this one, with the methods C<Options> (what L<Getopt::Long> is told beside the options
of all commands), C<new> and C<Run>, which returns the exit status. Its module holds its manual.

=head1 METHODS

=over

=item Run ARGUMENTS

Carries out a command. Returns the exit status: C<WELL>, C<SOMETHING>, C<NOT_DONE> or C<WRONG_USE>.

=item Option NAME, Number NAME, DEFAULT, LEAST, MOST

What was given as an option.

=item Stop TEXT, Refuse TEXT

End the command: it can't be carried out, or was called wrongly. They do not return.

=item IsStopped ERROR

As a function: whether an exception is one of theirs.

=item OpenServer OPTIONS

As a function: the library's handle for these options of C<%ExternalStorage>, without local copies; or (undef, ERROR).

=item LoadRT, Backend, Native

RT, its external storage, and the library's handle of that. Each stops the command where there is none.

=item Output

An L<RT::ExternalStorage::AmazonS3::Tool::Output>.

=back

=cut
