package RT::ExternalStorage::AmazonS3::Tool::Migrate::File;

use strict;
use warnings;

use Cwd        ();
use Fcntl      ();
use File::Spec ();
use POSIX      ();
use Storable   ();

# What nobody else should read
use constant SECRET => qr/\A(?:SecretAccessKey|SessionToken|AccessToken)\z/;

# The %ExternalStorage that a file sets, as a hash; or ends the command
sub Read {
    my ( $class, $tool, $option, $file ) = @_;
    my $refuse = sub { $tool->Refuse("--$option: $file $_[0]") };
    my @stat   = stat $file;
    $refuse->("cannot be read: $!") if !@stat;
    $refuse->('is no file')         if !-f _;
    $refuse->('can be written by everybody on this machine, and would be carried out as Perl: chmod o-w')
        if $stat[2] & Fcntl::S_IWOTH();
    open my $handle, '<', $file or $refuse->("cannot be read: $!");
    close $handle or $refuse->("cannot be read: $!");

    my $answer = _Elsewhere( Cwd::abs_path($file) ) || { problem => 'could not be read: its process has ended' };
    $refuse->( $answer->{problem} ) if defined $answer->{problem};
    my $options = $answer->{options};
    $refuse->('sets no %ExternalStorage; it must look like "Set(%ExternalStorage, Type => ..., ...);"')
        if !%$options;
    $refuse->('sets %ExternalStorage without a Type') if !length( $options->{Type} // '' );
    $tool->Output->Problem(
        "warning: $file can be read by everybody on this machine, and holds a secret: chmod o-r $file")
        if $stat[2] & Fcntl::S_IROTH() && grep { $_ =~ SECRET } keys %$options;
    return $options;
}

# In a process of its own: whatever else the file does, is not done to RT's configuration in force
sub _Elsewhere {
    my ($file) = @_;
    pipe my $here, my $there or return { problem => "could not be read: $!" };
    my $pid = fork // return { problem => "could not be read: $!" };
    if ( !$pid ) {
        close $here;
        if ( my $dbh = $RT::Handle && $RT::Handle->dbh ) { $dbh->{AutoInactiveDestroy} = 1 }
        my $written = eval { print {$there} Storable::freeze( _Evaluate($file) ); close $there };
        POSIX::_exit( $written ? 0 : 1 );
    }
    close $there;
    binmode $here;
    my $answer = do { local $/ = undef; readline $here };
    close $here;
    waitpid $pid, 0;
    return eval { Storable::thaw($answer) };
}

# As RT::Config does it
sub _Evaluate {
    my ($file) = @_;
    my %options;
    my $read = eval {

        package RT;                     ## no critic (ProhibitMultiplePackages) in which RT's own files are compiled
        no warnings qw(once redefine);
        our %ExternalStorage;
        local *Set = sub (\[$@%]@) {    ## no critic (ProhibitSubroutinePrototypes) RT's
            my ( $option, @values ) = @_;
            %options = ( @values, %options ) if ref $option eq 'HASH' && $option == \%ExternalStorage;
            return 1;
        };
        local *Plugin        = sub { return 1 };
        local @INC           = ( grep {defined} $RT::LocalEtcPath, $RT::EtcPath, @INC );
        local $SIG{__WARN__} = sub { };
        delete $INC{$file};
        require $file;
        1;
    };
    return { options => \%options } if $read || $@ =~ /did not return a true value/;

    # No more of the message than where it is: it may repeat what stands there
    my ($line) = $@ =~ /\Q$file\E line (\d+)/;
    return { problem => 'is not in the form of RT_SiteConfig.pm: there is an error'
            . ( defined $line ? " in line $line" : '' ) };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Migrate::File - %ExternalStorage out of a file like RT_SiteConfig.pm

=head1 METHODS

=head2 Read TOOL, OPTION, FILE

The options, as a hash. Ends the command, which was called with OPTION, where there are none. RT's configuration in force
stays what it is.

=cut
