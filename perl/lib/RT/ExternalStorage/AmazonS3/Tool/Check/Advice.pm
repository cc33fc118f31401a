package RT::ExternalStorage::AmazonS3::Tool::Check::Advice;

use strict;
use warnings;

my %ADVICE = (
    'clock'         => 'set it, and let NTP keep it right',
    'config'        => 'mend the option in RT_SiteConfig.pm, and restart the web server',
    'configuration' => 'mend RT_SiteConfig.pm; see CONFIGURATION in "perldoc RT::ExternalStorage::AmazonS3"',
    'rt'            => 'see that RT itself works, and call this as root, or as the user that the web server runs as',
    'credentials'   => 'correct AccessKeyId and SecretAccessKey, or the place where the keys come from; see KEYS in '
        . '"perldoc RT::ExternalStorage::AmazonS3"',
    'denied'      => 'let the keys do this; see SETUP in "perldoc RT::ExternalStorage::AmazonS3"',
    'network'     => 'see that Host and Proxy are right, that the server runs, and that no firewall is between',
    'timeout'     => 'see whether the server is overloaded, or a firewall drops what is sent',
    'unavailable' => 'see why the server was down a moment ago, and check again',
    'throttled'   => 'the server asks to slow down: try again later',
    'no-bucket'   => 'correct Bucket, Host or Region, or make the bucket',
    'not-found'   => 'let RT store nothing there before it is known why: what was just stored is gone',
    'corrupt'     => 'let RT store nothing there before it is known why: what was just stored is another content now',
    'library'     => 'install the library with "make install", or set RTS3_LIBRARY to its path',
);

sub For {
    my ( $class, $error ) = @_;
    my $text = $error->message;
    return 'correct Host in RT_SiteConfig.pm' if $text =~ /\bcheck the option Host\b/;
    return q{set Checksum => 'always': with Object Lock the bucket wants a checksum of each object}
        if $text =~ /\bObject ?Lock\b/i && $text !~ /\bAccessDenied\b/;
    return $class->Of( $error->name );
}

sub Of {
    my ( $class, $name ) = @_;
    return $ADVICE{$name} // 'if this comes again, ask the server\'s administrator';
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Advice - what to do about an error of the library

=head1 CLASS METHODS

=over

=item For ERROR, Of NAME

What there is to do about an L<RT::ExternalStorage::AmazonS3::Error>, or about all of that name, where nothing better can
be said.

=back

=cut
