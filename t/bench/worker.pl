#!/usr/bin/perl
# What is measured of RT's backend, its own or this one, and of Net::Amazon::S3: a line "store FILE KEY" or "get KEY" at a
# time on standard input; each is answered by a line: seconds, seconds of the processor, the peak of memory above what was
# there before, in kB, and bytes.
#
#     worker.pl rt                                   (in RT's environment)
#     worker.pl net-amazon-s3 HOST:PORT SECURE BUCKET
#     worker.pl bare URL BUCKET CA
#
# "bare" is what cannot be undercut: the bytes and the server's own work, over one connection. It takes the key for the hash,
# looks at nothing that it reads, and keeps none of it.

use strict;
use warnings;

use Time::HiRes ();

STDOUT->autoflush(1);
my ( $what, @arguments ) = @ARGV;
my %worker = ( rt => \&rt, 'net-amazon-s3' => \&net_amazon_s3, bare => \&bare );
my ( $store, $get ) = $worker{$what}->(@arguments);
while ( defined( my $line = readline STDIN ) ) {
    my ( $operation, @words ) = split ' ', $line;
    my $content = $operation eq 'store' ? slurp( shift @words ) : undef;
    my ($key) = @words;
    open my $clear, '>', '/proc/self/clear_refs' or die "clear_refs: $!";
    print {$clear} '5';
    close $clear or die "clear_refs: $!";
    my $memory = status('VmRSS');
    my $before = processor();
    my $start  = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() );
    my $size   = $operation eq 'store' ? $store->( $key, \$content ) : $get->($key);
    my $end    = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() );
    printf "%.6f %.6f %d %d\n", $end - $start, processor() - $before, status('VmHWM') - $memory, $size;
}

# What RT's own module asks it for
sub Attachment::ContentType { return 'application/octet-stream' }

sub rt {
    require RT;
    RT->LoadConfig;
    RT->Init;
    my $storage    = RT->System->ExternalStorage or die 'no storage';
    my $attachment = bless {}, 'Attachment';
    return (
        sub {
            my ( $key, $content ) = @_;
            my ( $ok,  $why )     = $storage->Store( $key, $$content, $attachment );
            die $why if !$ok;
            return length $$content;
        },
        sub {
            my ( $content, $why ) = $storage->Get( $_[0] );
            return length( $content // die $why );
        },
    );
}

sub net_amazon_s3 {
    my ( $host, $secure, $name ) = @_;
    require Net::Amazon::S3;
    my $s3 = Net::Amazon::S3->new(
        aws_access_key_id     => $ENV{AWS_ACCESS_KEY_ID},
        aws_secret_access_key => $ENV{AWS_SECRET_ACCESS_KEY},
        host                  => $host,
        secure                => $secure,
        use_virtual_host      => 0,
    );
    my $bucket = $s3->bucket($name);
    return (
        sub {
            my ( $key, $content ) = @_;
            $bucket->add_key( $key, $$content ) or die $s3->err . ': ' . $s3->errstr;
            return length $$content;
        },
        sub {
            my $object = $bucket->get_key( $_[0] ) or die $s3->err . ': ' . $s3->errstr;
            return length $object->{value};
        },
    );
}

sub bare {
    my ( $url, $bucket, $authority ) = @_;
    require IO::Socket::SSL;
    require Net::Amazon::Signature::V4;
    require HTTP::Request;
    my ($address) = $url =~ m{//(.*)};
    my @keys      = @ENV{qw(AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY)};
    my $signer    = Net::Amazon::Signature::V4->new( @keys, 'us-east-1', 's3' );
    my ( $socket, $used );
    my $ask = sub {
        my ( $method, $key, $content ) = @_;
        $socket = connection( $url, $authority ) if !$socket || time - $used > 5;
        my @headers = $content ? ( 'X-Amz-Content-SHA256' => $key, 'If-None-Match' => '*' ) : ();
        my $request = HTTP::Request->new( $method, "$url/$bucket/$key", [ @headers, Host => $address ] );
        $request = $signer->sign($request);
        $request->header( 'Content-Length' => length $$content ) if $content;
        my $head = "$method /$bucket/$key HTTP/1.1\r\n" . $request->headers->as_string("\r\n") . "\r\n";
        write_all( $socket, \$head );
        write_all( $socket, $content ) if $content;
        my $size = drain($socket);
        $used = time;
        return $size;
    };
    return ( sub { $ask->( PUT => @_ ); return length ${ $_[1] } }, sub { return $ask->( GET => $_[0] ) } );
}

sub connection {
    my ( $url, $authority ) = @_;
    my ( $scheme, $host, $port ) = $url =~ m{\A(https?)://(.*):(\d+)\z};
    my $class  = $scheme eq 'https' ? 'IO::Socket::SSL' : 'IO::Socket::INET';
    my @tls    = ( SSL_hostname => $host, SSL_ca_file => $authority );
    my $socket = $class->new( PeerAddr => '127.0.0.1', PeerPort => $port, @tls ) or die "$url: $!";
    setsockopt $socket, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1 or die "$url: $!";
    return $socket;
}

# Reads an answer, and drops it; its length
sub drain {
    my ($socket) = @_;
    my ( $head, $size, $got ) = ('');
    while ( !defined $size || $got < $size ) {
        my $read = sysread $socket, my $buffer, 262_144 or die "read: $!";
        $got += $read;
        next if defined $size;
        $head .= $buffer;
        my $end = index $head, "\r\n\r\n";
        next if $end < 0;
        die $head if $head !~ m{\AHTTP/1.1 200 };
        $size = $head =~ /^content-length:\s*(\d+)/im ? $1 : 0;
        $got -= $end + 4;
    }
    return $size;
}

sub write_all {
    my ( $socket, $content ) = @_;
    my $sent = 0;
    while ( $sent < length $$content ) {
        my $written = syswrite $socket, $$content, 262_144, $sent;
        $sent += $written // die "write: $!";
    }
    return;
}

sub slurp {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!";
    my $content = do { local $/ = undef; readline $in };
    close $in or die "$file: $!";
    return $content;
}

sub status {
    my ($name) = @_;
    return slurp('/proc/self/status') =~ /^$name:\s+(\d+)/m ? $1 : 0;
}

# Of all threads, also of those that have ended meanwhile
sub processor {
    return Time::HiRes::clock_gettime( Time::HiRes::CLOCK_PROCESS_CPUTIME_ID() );
}
