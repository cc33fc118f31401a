#!/usr/bin/perl
# What is measured of RT's backend, its own or this one, and of Net::Amazon::S3: a line "store FILE KEY" or "get KEY" at a
# time on standard input; each is answered by a line: seconds, seconds of the processor, the peak of memory above what was
# there before, in kB, and bytes.
#
#     worker.pl rt                                   (in RT's environment)
#     worker.pl net-amazon-s3 HOST:PORT SECURE BUCKET

use strict;
use warnings;

use Time::HiRes ();

STDOUT->autoflush(1);
my ( $what,  @arguments ) = @ARGV;
my ( $store, $get )       = $what eq 'rt' ? rt() : net_amazon_s3(@arguments);
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
