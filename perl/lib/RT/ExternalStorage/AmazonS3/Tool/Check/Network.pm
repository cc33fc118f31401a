package RT::ExternalStorage::AmazonS3::Tool::Check::Network;

use strict;
use warnings;

use IO::Select     ();
use IO::Socket::IP ();
use Socket         qw(SOCK_STREAM getaddrinfo getnameinfo NI_NUMERICHOST NIx_NOSERV);
use Time::HiRes    ();

use RT::ExternalStorage::AmazonS3::Tool::Check::Advice;
use RT::ExternalStorage::AmazonS3::Tool::Check::Child;
use RT::ExternalStorage::AmazonS3::Tool::Check::Tls;
use RT::ExternalStorage::AmazonS3::Tool::Check::Web;

use constant { CHILD => __PACKAGE__ =~ s/Network/Child/r, WEB => __PACKAGE__ =~ s/Network/Web/r };

# Seconds for a look-up, and for all addresses together
use constant { LOOK_UP => 10, CONNECT => 4, MOST_ADDRESSES => 8 };

# Differences of clocks, in seconds: what nobody minds, and what servers refuse
use constant { EXACT => 60, REFUSED => 900 };

# What fails here may still work for the library, which is asked next
sub Look {
    my ( $class, $check ) = @_;
    my ( $scheme, $host, $port ) = $class->Server($check);
    return 1 if !$host;
    my $proxy = WEB->Proxy( $check, $scheme eq 'https', $host );
    $check->Report( ok => 'proxy', "$proxy->{host}:$proxy->{port}" ) if $proxy;
    my ( $name, $at ) = $proxy ? @{$proxy}{qw(host port)} : ( $host, $port );
    my @addresses = _Name( $check, $name, $at )                or return 1;
    my @answered  = _Connect( $check, $name, $at, @addresses ) or return 1;

    if ( $scheme eq 'https' ) {
        RT::ExternalStorage::AmazonS3::Tool::Check::Tls->Look(
            $check,
            host    => $host,
            port    => $port,
            proxy   => $proxy,
            address => $answered[0]
        );
    }
    else {
        $check->Report( unknown => 'tls', 'none: Host begins with http://' );
    }
    _Clock( $check, $scheme . '://' . ( $host =~ /:/ ? "[$host]" : $host ) . ":$port/" );
    return 1;
}

# Scheme, host and port as the library has them
sub Server {
    my ( $class, $check ) = @_;
    my ($handle) = $check->Handle( DirectLink => 'public', DirectLinkHost => undef );
    my ($url)    = $handle ? $handle->direct_url( '0' x 64 ) : ();
    my $given    = $check->Given->{Host} // '';
    $given = "https://$given" if $given !~ m{://};
    return WEB->Parts( $url // $given );
}

sub _Name {
    my ( $check, $name, $port ) = @_;
    my ( $found, $error ) = CHILD->Answer(
        LOOK_UP,
        sub {
            my ( $failure, @found ) = getaddrinfo( $name, $port, { socktype => SOCK_STREAM } );
            die "$failure\n" if $failure;
            my %seen;
            return [
                grep { !$seen{$_}++ }
                map  { ( getnameinfo( $_->{addr}, NI_NUMERICHOST, NIx_NOSERV ) )[1] } @found
            ];
        }
    );
    if ( !$found ) {
        $check->Report(
            problem => 'name',
            "$name can't be looked up: $error",
            'correct Host (or Proxy) in RT_SiteConfig.pm, or this machine\'s name service'
        );
        return;
    }
    my $is_number = @$found == 1 && lc $found->[0] eq lc $name;
    $check->Report( ok => 'name', "$name is " . ( $is_number ? 'an address' : join ', ', @$found ) );
    return @$found;
}

sub _Connect {
    my ( $check, $name, $port, @addresses ) = @_;
    splice @addresses, MOST_ADDRESSES if @addresses > MOST_ADDRESSES;
    my $why      = _Unreachable( $port, @addresses );
    my @answered = grep { !defined $why->{$_} } @addresses;
    my @silent   = map  {"$_ ($why->{$_})"} grep { defined $why->{$_} } @addresses;
    if ( !@answered ) {
        $check->Report(
            problem => 'connection',
            "port $port of $name: @silent",
            'see that Host (or Proxy) is right, that the server runs, and that no firewall is between'
        );
    }
    elsif (@silent) {
        $check->Report(
            warning => 'connection',
            "port $port of $name: not at " . join( ', ', @silent ),
            'mend those addresses, or take them out of the name service: each call may try them first'
        );
    }
    else {
        $check->Report( ok => 'connection', "port $port of $name" );
    }
    return @answered;
}

# Why there is no connection, for each address; undef where there is one
sub _Unreachable {
    my ( $port, @addresses ) = @_;
    my %why    = map { $_ => "no answer within ${\ CONNECT } s" } @addresses;
    my $select = IO::Select->new;
    my %address;
    for my $address (@addresses) {
        my $socket = IO::Socket::IP->new( PeerHost => $address, PeerPort => $port, Blocking => 0 );
        if ( !$socket ) { $why{$address} = $@; next }
        $address{ fileno $socket } = $address;
        $select->add($socket);
    }
    my $end = Time::HiRes::time() + CONNECT;
    while ( $select->count && ( my $left = $end - Time::HiRes::time() ) > 0 ) {
        for my $socket ( $select->can_write($left) ) {
            my $address = $address{ fileno $socket };
            $why{$address} = $socket->connect && $socket->connected ? undef : "$!";
            $select->remove($socket);
        }
    }
    return \%why;
}

sub _Clock {
    my ( $check, $url ) = @_;
    my $answer = WEB->Fetch( $check, $url, method => 'HEAD' );
    my $date   = $answer->{headers}{date};
    my $theirs = defined $date && !ref $date && eval { require HTTP::Date; HTTP::Date::str2time($date) };
    if ( !$theirs ) {
        $check->Report( unknown => 'clock', 'the server did not tell its time' );
        return;
    }
    my $ahead  = time - $theirs;
    my $text   = abs($ahead) . ' s ' . ( $ahead > 0 ? 'ahead of' : 'behind' ) . q{ the server's};
    my $advice = RT::ExternalStorage::AmazonS3::Tool::Check::Advice->Of('clock');
    $check->Report(
          abs($ahead) <= 2       ? ( ok => 'clock', q{the same as the server's} )
        : abs($ahead) <= EXACT   ? ( ok => 'clock', $text )
        : abs($ahead) <= REFUSED ? ( warning => 'clock', $text, $advice )
        :                          ( problem => 'clock', "$text: it refuses signatures of that time", $advice )
    );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Network - the way to the server

=head1 CLASS METHODS

=over

=item Look CHECK

Reports proxy, name, connection, TLS and clock.

=item Server CHECK

Scheme, host and port of the bucket.

=back

=cut
