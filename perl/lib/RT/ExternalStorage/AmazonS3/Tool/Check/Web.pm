package RT::ExternalStorage::AmazonS3::Tool::Check::Web;

use strict;
use warnings;

use HTTP::Tiny   ();
use MIME::Base64 ();
use Socket       ();

use RT::ExternalStorage::AmazonS3::Tool::Check::Child;

use constant CHILD => __PACKAGE__ =~ s/Web/Child/r;

use constant { SECONDS => 8, LARGEST => 1024 * 1024 };

# Asks like a browser, without keys. Returns HTTP::Tiny's answer; a status of 599 is no answer, and 'content' says why.
# %more: method, timeout (seconds), request (what HTTP::Tiny's request takes). In another process, because HTTP::Tiny waits
# for ever where TLS has something to read and HTTP has not, and for as long as a server sends a byte now and then.
sub Fetch {
    my ( $class, $check, $url, %more ) = @_;
    my ( $scheme, $host ) = $class->Parts($url);
    my $proxy = $class->Proxy( $check, $scheme eq 'https', $host );
    $proxy = $proxy && "http://$proxy->{given}";
    my $timeout = $more{timeout} // SECONDS;
    my $agent   = HTTP::Tiny->new(
        agent        => 'rt-s3',
        http_proxy   => $proxy,
        https_proxy  => $proxy,
        proxy        => undef,
        max_size     => LARGEST,
        max_redirect => 0,
        timeout      => $timeout,
        verify_SSL   => 1,
        SSL_options  => { $class->Authorities($check) },
    );
    local $@;
    my ( $answer, $error ) = CHILD->Answer( $timeout + 1,
        sub { return $agent->request( $more{method} // 'GET', $url, $more{request} // {} ) } );
    $answer //= { success => 0, status => 599, reason => 'Internal Exception', headers => {}, content => $error };
    $answer->{content} = '' if !defined $answer->{content};
    return $answer;
}

sub Parts {
    my ( $class, $url ) = @_;
    my ( $scheme, $host, $port ) = $url =~ m{\A(https?)://(\[[^\]]*\]|[^/:?#]+)(?::(\d+))?}i or return;
    $scheme = lc $scheme;
    return ( $scheme, lc( $host =~ tr/[]//dr ), $port || ( $scheme eq 'https' ? 443 : 80 ) );
}

# Those of the machine and of the option CAFile, for IO::Socket::SSL
sub Authorities {
    my ( $class, $check ) = @_;
    my $file = $check->Given->{CAFile};
    return () if !defined $file || ref $file || !-r $file || !eval { require IO::Socket::SSL; 1 };
    my %default = IO::Socket::SSL::default_ca();
    return ( ( $default{SSL_ca_path} ? ( SSL_ca_path => $default{SSL_ca_path} ) : () ), SSL_ca_file => $file );
}

# As the library has it (src/config/proxy.rs): a hash, or undef
sub Proxy {
    my ( $class, $check, $is_https, $host ) = @_;
    my $given = $check->Given->{Proxy};
    if ( !defined $given || ref $given || !length $given ) {
        my @names = $is_https ? qw(https_proxy HTTPS_PROXY) : qw(http_proxy);
        ($given) = grep { defined && length } @ENV{@names};
        my ($exceptions) = grep { defined && length } @ENV{qw(no_proxy NO_PROXY)};
        return undef if !defined $given || _IsException( $exceptions // '', $host );
    }
    return undef if $given eq 'none' || $given =~ m{\A(?!http:)\w+://}i;
    $given                                     =~ s{\Ahttp://}{}i;
    $given                                     =~ s{/.*}{}s;
    my ( $user, $address ) = $given   =~ /\A(?:(.*)@)?(.*)\z/s;
    my ( $name, $port )    = $address =~ /\A(\[[^\]]*\]|[^:]+)(?::(\d+))?\z/ or return undef;
    $port ||= 80;
    return {
        host  => $name =~ tr/[]//dr,
        port  => $port,
        given => ( defined $user ? "$user@" : '' ) . "$name:$port",
        defined $user
        ? ( authorization => 'Basic ' . MIME::Base64::encode_base64( $user =~ s/%([0-9a-f]{2})/chr hex $1/gier, '' ) )
        : ()
    };
}

sub _IsException {
    my ( $list, $host ) = @_;
    for my $entry ( split /,/, $list ) {
        my $name = lc $entry =~ s/\A\s*\.?|\s+\z//gr;
        $name =~ s/:.*//s;
        return 1 if $name eq '*' || ( length $name && $host =~ /(?:\A|\.)\Q$name\E\z/ );
    }
    return 0;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Web - what somebody without keys gets

=head1 CLASS METHODS

=over

=item Fetch CHECK, URL, [METHOD]

The answer, as L<HTTP::Tiny> gives it. No redirect is followed.

=item Parts URL

Scheme, host (without brackets) and port.

=item Authorities CHECK

What L<IO::Socket::SSL> is to be told of certificate authorities.

=item Proxy CHECK, IS_HTTPS, HOST

The proxy for that host, or C<undef>: its C<host> and C<port>, perhaps C<authorization>, and how it was C<given>.

=back

=cut
