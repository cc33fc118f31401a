#!/usr/bin/perl
# Options, against a server that checks every signature.

use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode      qw(decode_utf8 encode_utf8);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use RT::ExternalStorage::AmazonS3::Native;
use Rts3::Test::S3Server;

$ENV{RTS3_LIBRARY} ||= "$FindBin::Bin/../target/release/librts3.so";
delete @ENV{ grep {/_proxy$/i} keys %ENV };

my $content = "some content\n" x 1000;
my $key     = sha256_hex($content);
my $s3      = Rts3::Test::S3Server->start( session_token => 'to/ken+with=signs' );
$s3->make_bucket('files');

sub native {
    my (%options) = @_;
    my ( $native, $error ) = RT::ExternalStorage::AmazonS3::Native->open(
        Bucket => 'files',
        $s3->options,
        SessionToken => $s3->session_token,
        %options
    );
    return $native || BAIL_OUT("$error");
}

# What went wrong, if anything
sub round_trip {
    my ($native) = @_;
    for my $call (
        sub { $native->store( $key, $content, content_type => 'text/plain; charset="utf-8"' ) },
        sub { $native->store( $key, $content ) },
        sub { $native->head($key) },
        sub { $native->probe },
        )
    {
        my ( $ok, $error ) = $call->();
        return $error->message if !defined $ok;
    }
    my ( $got, $error ) = $native->get($key);
    return defined $got ? $got eq $content ? '' : 'other bytes' : $error->message;
}

for my $prefix ( 'rt/', 'a b/', 'Übersicht/日本/', q{100%/a+b=c&d?e#f'"(x)*!~,;:@$<>[]^`{|}} . '/' ) {
    is( round_trip( native( Prefix => $prefix ) ), '', encode_utf8("Prefix $prefix") );
    my @keys = map { decode_utf8($_) } $s3->objects('files');
    is_deeply( [ grep { $_ eq "$prefix$key" } @keys ], ["$prefix$key"], '... is where the object is' );
}

my $virtual = $s3->https =~ s{//}{//files.}r;
$s3->clear_log;
is( round_trip( native( Host => $s3->https, CAFile => $s3->ca, AddressingStyle => 'virtual' ) ),
    '', 'virtual-host style over https' );
is_deeply( [ grep { "https://$_->{host}" ne $virtual } $s3->requests ], [], '... every request to ' . $virtual );
is( scalar $s3->connections, 1, '... over one connection' );

my $token = native( SessionToken => 'another' );
like( round_trip($token), qr/InvalidToken.*check the option SessionToken/, 'a wrong SessionToken' );
like(
    round_trip( native( SecretAccessKey => 'wrong' x 8 ) ),
    qr/SignatureDoesNotMatch.*check the option SecretAccessKey.*\[credentials: HTTP 403, 1 attempt/,
    'a wrong SecretAccessKey'
);
like( round_trip( native( AccessKeyId => 'NOBODY' ) ), qr/InvalidAccessKeyId.*AccessKeyId/, 'a wrong AccessKeyId' );
like( round_trip( native( Bucket => 'nobucket' ) ),    qr/NoSuchBucket.*check the options Bucket/, 'a wrong Bucket' );
like(
    round_trip( native( Host => $s3->https ) ),
    qr/certificate verify failed.*goes into the option CAFile/,
    'an authority that is not known'
);

my ( $id, $secret ) = @{ [ $s3->no_list_key ] };
my %no_list = ( AccessKeyId => $id, SecretAccessKey => $secret, SessionToken => undef );
is( round_trip( native(%no_list) ), '', 'keys without the right to list' );
my $large     = 'large ' x 300_000;
my $large_key = sha256_hex($large);
my ( undef, $error ) = native(%no_list)->get($large_key);
like( $error->message, qr/denied.*/,      '... a missing object is denied' );
like( $error->message, qr/s3:ListBucket/, '... and the message says why that may be' );
ok( native(%no_list)->store( $large_key, $large ), '... a large content is stored for all that' );
ok( $s3->content( 'files', $large_key ) eq $large, '... whole' );

# Damage that a disk may do
my $path = $s3->object_path( 'files', $key );
for my $damage (
    [ 'cut short'      => substr $content, 0, 100 ],
    [ 'a flipped byte' => $content ^ ( "\0" x 500 . "\1" ) ],
    [ 'empty'          => '' ],
    [ 'zeros'          => "\0" x length $content ],
    [ 'too long'       => "$content$content" ],
    )
{
    my ( $name, $bytes ) = @$damage;
    open my $out, '>:raw', $path or die "$path: $!";
    print {$out} $bytes;
    close $out;
    my $native = native();
    my ( $got, $failure ) = $native->get($key);
    is( $got,           undef,     "$name: not returned" );
    is( $failure->name, 'corrupt', '... but an error' );
    my ($stored) = $native->store( $key, $content );
    is( $stored, $key, '... stored again' );
    ok( $s3->content( 'files', $key ) eq $content, '... whole' );
    my @warnings = grep { $_->[0] eq 'warning' && $_->[1] !~ m{begins with http://} } $native->drain;
    like( $warnings[0][1], qr/damaged object was written over/, '... with a warning' );
}

done_testing;
