package Rts3::Test::Metadata::Server;

use strict;
use warnings;

use IO::Select      ();
use IO::Socket::IP  ();
use IO::Socket::SSL ();
use JSON::PP        ();
use POSIX           ();
use Socket          qw(SO_LINGER SOL_SOCKET);
use Time::HiRes     qw(time);

use Rts3::Test::File              qw(slurp spew);
use Rts3::Test::Metadata::Answers ();

=head1 NAME

Rts3::Test::Metadata::Server - the process behind Rts3::Test::Metadata

=head1 FUNCTIONS

=head2 run $dir

Serves until it is ended. The directory has F<config> (what to listen on), F<state> (read anew for each request) and
F<log>, to which a line is written before its answer goes out.

=cut

my $Json = JSON::PP->new->utf8->canonical;
my %Listener;    # what to do with a connection, by its listener
my @Later;       # [ when, socket, bytes ]; without bytes never

sub run {
    my ($dir) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $config = $Json->decode( slurp("$dir/config") );

    my %port = ( http => _listen("127.0.0.1:$config->{http}") );
    _listen($_) for @{ $config->{listen} };
    $port{https} = _listen( "127.0.0.1:$config->{https}", $config->{tls} ) if $config->{tls};
    spew( "$dir/ready.new", $Json->encode( \%port ) );
    rename "$dir/ready.new", "$dir/ready" or die "ready: $!\n";

    my $waiting = IO::Select->new( map { $_->{socket} } values %Listener );
    while (1) {
        my ($next) = sort { $a <=> $b } map { $_->[0] } grep { defined $_->[2] } @Later;
        my $patience = defined $next ? $next - time : 60;
        for my $listener ( $waiting->can_read( $patience > 0 ? $patience : 0 ) ) {
            my $client = $listener->accept or next;
            _serve( $dir, $config, $client, $Listener{$listener}{tls} );
        }
        my @due = grep { defined $_->[2] && $_->[0] <= time } @Later;
        @Later = grep { !defined $_->[2] || $_->[0] > time } @Later;
        _send( @{$_}[ 1, 2 ] ) for @due;
    }
    return;
}

sub _listen {
    my ( $address, $tls ) = @_;
    my $socket = IO::Socket::IP->new( LocalAddr => $address, Listen => 50, ReuseAddr => 1 )
        or die "$address: $@\n";
    $Listener{$socket} = { socket => $socket, tls => $tls };
    return $socket->sockport;
}

sub _serve {
    my ( $dir, $config, $client, $tls ) = @_;
    if ($tls) {
        IO::Socket::SSL->start_SSL(
            $client,
            SSL_server    => 1,
            SSL_cert_file => $tls,
            SSL_key_file  => "$tls.key",
            Timeout       => 5
        ) or return;
    }
    my $request = _read( $client, 5 ) or return;
    my $state   = $Json->decode( slurp("$dir/state") );
    my $answer  = Rts3::Test::Metadata::Answers::answer( $request, $state, $config->{rights} );
    my $how     = $answer->{how};
    delete $answer->{given} if $how->{hang} || $how->{reset};
    my %line = (
        %$request,
        time => time,
        map { $_ => $answer->{$_} } qw(what status v1 refusal given)
    );
    _log( "$dir/log", { %line, is_tls => $tls ? 1 : 0 } );

    return push @Later, [ 0, $client ] if $how->{hang};
    if ( $how->{reset} ) {
        setsockopt $client, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        return close $client;
    }
    my $bytes = join "\r\n", "HTTP/1.1 $answer->{status} Answer", 'Content-Type: ' . $answer->{type},
        'Content-Length: ' . length $answer->{body}, 'Connection: close', "Date: $answer->{date}", '',
        $answer->{body};
    return _send( $client, $bytes ) if !$how->{delay};
    return push @Later, [ time + $how->{delay}, $client, $bytes ];
}

sub _log {
    my ( $file, $line ) = @_;
    open my $log, '>>', $file or die "$file: $!\n";
    print {$log} $Json->encode($line), "\n";
    close $log or die "$file: $!\n";
    return;
}

# A whole request, or undef
sub _read {
    my ( $client, $seconds ) = @_;
    my $bytes = '';
    my $text  = eval {
        local $SIG{ALRM} = sub { die "too slow\n" };
        alarm $seconds;
        while ( $bytes !~ /\r\n\r\n/ ) { sysread $client, $bytes, 4096, length $bytes or die "closed\n" }
        my ( $head, $body ) = split /\r\n\r\n/, $bytes, 2;
        my ($length) = $head =~ /^content-length:\s*(\d+)/mi;
        while ( length $body < ( $length // 0 ) ) { sysread $client, $body, 4096, length $body or die "closed\n" }
        alarm 0;
        [ $head, $body ];
    };
    alarm 0;
    return undef if !$text;
    my ( $first,  @lines ) = split /\r\n/, $text->[0];
    my ( $method, $path )  = split / /,    $first;
    my %headers = map { /^([^:]+):\s*(.*?)\s*\z/ ? ( lc $1 => $2 ) : () } @lines;
    return { method => $method, path => $path, headers => \%headers, host => $headers{host}, body => $text->[1] };
}

sub _send {
    my ( $client, $bytes ) = @_;
    print {$client} $bytes;
    close $client;
    return;
}

1;
