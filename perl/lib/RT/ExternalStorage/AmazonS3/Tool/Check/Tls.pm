package RT::ExternalStorage::AmazonS3::Tool::Check::Tls;

use strict;
use warnings;

use IO::Socket::IP ();
use POSIX          ();

use RT::ExternalStorage::AmazonS3::Quantity qw(counted);
use RT::ExternalStorage::AmazonS3::Tool::Check::Child;
use RT::ExternalStorage::AmazonS3::Tool::Check::Web;

use constant { CHILD => __PACKAGE__ =~ s/Tls/Child/r, WEB => __PACKAGE__ =~ s/Tls/Web/r };

use constant { SECONDS => 10, STEP => 4, DAY => 86_400, SOON => 14 };

sub Look {
    my ( $class, $check, %to ) = @_;
    if ( !eval { require IO::Socket::SSL; require IO::Socket::SSL::Utils; 1 } ) {
        $check->Report( unknown => 'tls', 'not looked at: the Perl module IO::Socket::SSL is not there' );
        return;
    }
    my ( $found, $error ) =
        CHILD->Answer( SECONDS, sub { return _Shake( $check, %to ) } );
    if ( !$found ) {
        $error = 'no answer to the handshake within ' . STEP . ' s' if $error =~ /wants a (?:read|write) first/;
        my $advice =
            $error =~ /wrong version number|http request/i
            ? q{if it is a server without TLS: Host => 'http://...'}
            : 'let the server speak TLS 1.2 or 1.3; see whether something between answers in its place';
        $check->Report( problem => 'tls', "no TLS with $to{host}:$to{port}: $error", $advice );
        return;
    }
    $check->Report( ok => 'tls', join ', ', grep {defined} @{$found}{qw(version cipher)} );
    _Certificate( $check, $to{host}, $found );
    return;
}

sub _Certificate {
    my ( $check, $host, $found ) = @_;
    my $text = "of $found->{subject}, by $found->{issuer}";
    my ( $wrong, $advice ) = _Wrong( $host, $found );
    return $check->Report( problem => 'certificate', "$text$wrong", $advice ) if defined $wrong;
    my $days = int( ( $found->{ends} - time ) / DAY );
    $text .= ', ends in ' . counted( $days, 'day' ) . ', on ' . _Day( $found->{ends} );
    return $check->Report(
        $days < SOON
        ? ( warning => 'certificate', $text, 'renew it on the server' )
        : ( ok => 'certificate', $text )
    );
}

sub _Day { return POSIX::strftime( '%Y-%m-%d', gmtime $_[0] ) }

# What is, and what to do about it; nothing where it is as it should be
sub _Wrong {
    my ( $host, $found ) = @_;
    my @errors = @{ $found->{errors} };
    return ( ', has expired on ' . _Day( $found->{ends} ), 'renew it on the server' ) if $found->{ends} <= time;
    return (
        ', is good only from ' . POSIX::strftime( '%Y-%m-%d %H:%M UTC', gmtime $found->{begins} ) . ' on',
        q{set this machine's clock, if that is over; else let the server have one that is good now}
    ) if $found->{begins} > time;
    return (
        ', is for ' . join( ', ', @{ $found->{names} } ) . ", and not for $host",
        'let Host be a name that the certificate has, or get a certificate with this name'
    ) if !$found->{fits};
    return ( ": $errors[0]", 'if the authority is your own: put its certificate into a file, and set CAFile to that' )
        if @errors;
    return;
}

# A handshake that goes on whatever the certificate is, to see it
sub _Shake {
    my ( $check, %to ) = @_;
    my ( $host, $port, $proxy ) = @to{qw(host port proxy)};
    my $socket = IO::Socket::IP->new(
        PeerHost => $to{address},
        PeerPort => $proxy ? $proxy->{port} : $port,
        Timeout  => STEP
    ) or die "$@\n";
    _Through( $socket, $proxy, $host, $port ) if $proxy;
    my @errors;
    my $see = sub {
        my ( $ok, $context ) = @_;
        push @errors, Net::SSLeay::X509_verify_cert_error_string( Net::SSLeay::X509_STORE_CTX_get_error($context) )
            if !$ok;
        return 1;
    };
    my $is_number = $host =~ /:|\A[\d.]+\z/;
    IO::Socket::SSL->start_SSL(
        $socket,
        SSL_verify_mode     => IO::Socket::SSL::SSL_VERIFY_PEER(),
        SSL_verify_callback => $see,
        SSL_version         => 'SSLv23:!SSLv2:!SSLv3:!TLSv1:!TLSv1_1',
        Timeout             => STEP,
        ( $is_number ? () : ( SSL_hostname => $host ) ),
        WEB->Authorities($check),
    ) or die "$IO::Socket::SSL::SSL_ERROR\n";
    my $certificate = IO::Socket::SSL::Utils::CERT_asHash( $socket->peer_certificate );
    my @names       = map { $_->[1] } grep { $_->[0] =~ /\A(?:DNS|IP)\z/ } @{ $certificate->{subjectAltNames} || [] };
    return {
        version => $socket->get_sslversion =~ s/\ATLSv1_/TLS 1./r,
        cipher  => $socket->get_cipher,
        subject => _Whom( $certificate->{subject} ),
        issuer  => _Whom( $certificate->{issuer} ),
        begins  => $certificate->{not_before},
        ends    => $certificate->{not_after},
        names   => \@names,
        fits    => $socket->verify_hostname( $host, 'http' ) ? 1 : 0,
        errors  => \@errors,
    };
}

sub _Through {
    my ( $socket, $proxy, $host, $port ) = @_;
    my $server = $host =~ /:/            ? "[$host]:$port"                                    : "$host:$port";
    my $more   = $proxy->{authorization} ? "Proxy-Authorization: $proxy->{authorization}\r\n" : '';
    syswrite $socket, "CONNECT $server HTTP/1.1\r\nHost: $server\r\n$more\r\n" or die "the proxy: $!\n";
    my $answer = '';
    while ( $answer !~ /\r\n\r\n/ ) {
        sysread $socket, $answer, 1, length $answer or die "the proxy has closed the connection\n";
    }
    my ($status) = $answer =~ m{\AHTTP/1\.\d (\d+[^\r\n]*)};
    return if ( $status // '' ) =~ /\A2/;
    die 'the proxy says: ' . ( $status // 'nothing that is HTTP' ) . "\n";
}

sub _Whom {
    my ($name)  = @_;
    my ($short) = grep { defined && length } @{$name}{qw(commonName organizationName organizationalUnitName)};
    $short = $short->[0] if ref $short;
    return $short // 'nobody';
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Tls - TLS and the server's certificate

=head1 CLASS METHODS

=over

=item Look CHECK, host => NAME, port => NUMBER, address => ADDRESS, [proxy => PROXY]

Reports the version of TLS, and the certificate: whose, by whom, for which names and until when. PROXY is as
L<RT::ExternalStorage::AmazonS3::Tool::Check::Web> has it; ADDRESS is the server's or the proxy's.

=back

=cut
