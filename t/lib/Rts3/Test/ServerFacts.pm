package Rts3::Test::ServerFacts;

use strict;
use warnings;

use Cwd            qw(abs_path);
use Digest::MD5    qw(md5_hex);
use Digest::SHA    qw(sha256 sha256_hex);
use Exporter       qw(import);
use File::Basename qw(dirname);
use MIME::Base64   qw(encode_base64);
use Test::More;

use Rts3::Test::File qw(slurp);

our @EXPORT_OK = qw(facts as_documented make_public);

=head1 NAME

Rts3::Test::ServerFacts - what an S3 server does where servers differ, and whether F<docs/servers.md> says so

=head1 SYNOPSIS

    as_documented( Garage => facts($client) );

=head1 FUNCTIONS

=head2 facts $client

Tries it out with an L<Rts3::Test::S3Client>, in buckets of its own: a list of pairs, what was asked and what was the answer, the words
being those of the table in F<docs/servers.md>.

=cut

my $Bucket  = 'facts';
my $Content = "the content\n" x 50;
my $Path    = "/$Bucket/" . sha256_hex($Content);

sub facts {
    my ($client) = @_;
    $client->answer( PUT => "/$Bucket" );
    my $answer = $client->answer( PUT => $Path, content => $Content );
    die "it does not even store: $answer\n" if $answer ne '200';
    return (
        _conditions($client), _checksums($client), _objects($client), _headers($client),
        _keys($client),       _links($client),     _public($client),
    );
}

sub _conditions {
    my ($client) = @_;
    my $etag = $client->request( HEAD => $Path )->header('ETag') // '';
    return (
        [
            '`If-None-Match: *` on an object that exists' =>
                $client->answer( PUT => $Path, content => $Content, headers => { 'If-None-Match' => '*' } )
        ],
        [
            '`If-Match` that does not fit, on reading' =>
                $client->answer( GET => $Path, headers => { 'If-Match' => '"' . '0' x 32 . '"' } )
        ],
        [
            '`If-None-Match` with the ETag, on reading' =>
                $client->answer( GET => $Path, headers => { 'If-None-Match' => $etag } )
        ],
        [ '`Range` on reading' => $client->answer( GET => $Path, headers => { Range => 'bytes=10-19' } ) ],
    );
}

# A body that is not what was announced: the answer, and what is there afterwards
sub _damaged {
    my ( $client, $name, %request ) = @_;
    my $answer = $client->answer( PUT => "/$Bucket/$name", content => $Content, %request );
    my $there  = $client->request( GET => "/$Bucket/$name" );
    my $object = $there->code != 200 ? 'nothing stored' : 'stored as it came';
    return $answer =~ /^2/ && $there->code == 200 ? 'stored as it came' : "$answer, $object";
}

sub _checksums {
    my ($client) = @_;
    my $other    = $Content =~ tr/a-z/A-Z/r;
    my $right    = encode_base64( sha256($Content), '' );
    my $wrong    = encode_base64( sha256($other),   '' );
    my $taken    = $client->answer(
        PUT     => "/$Bucket/checked",
        content => $Content,
        headers => { 'x-amz-checksum-sha256' => $right }
    );
    my $head = $client->request( HEAD => "/$Bucket/checked", headers => { 'x-amz-checksum-mode' => 'ENABLED' } );
    my $told = $head->header('x-amz-checksum-sha256') // '';
    return (
        [ 'a body with another SHA-256 than the signed one' => _damaged( $client, 'damaged', sent => $other ) ],
        [
            'a body with another `x-amz-checksum-sha256`' =>
                _damaged( $client, 'wrong', headers => { 'x-amz-checksum-sha256' => $wrong } )
        ],
        [ '`x-amz-checksum-sha256` that is right' => $taken ],
        [ '... asked for with HEAD' => $told eq $right ? 'told' : $told ? 'another one told' : 'not told' ],
    );
}

sub _objects {
    my ($client) = @_;
    my $etag = $client->request( HEAD => $Path )->header('ETag') // '';
    $client->answer( PUT => "/$Bucket/gone", content => $Content );
    my $deleted = $client->answer( DELETE => "/$Bucket/gone" );
    my $form    = { 'Content-Type' => 'application/x-www-form-urlencoded' };
    $client->answer( PUT => "/$Bucket/form", content => 'a=b&c=d', headers => $form );
    my $kept = $client->request( GET => "/$Bucket/form" )->content;
    return (
        [ 'the ETag'                       => $etag eq '"' . md5_hex($Content) . '"' ? 'the MD5' : 'not the MD5' ],
        [ 'an object that is not there'    => $client->answer( GET => "/$Bucket/gone" ) ],
        [ 'a bucket that is not there'     => $client->answer( PUT => '/no-such/key', content => $Content ) ],
        [ 'Delete'                         => $deleted ],
        [ 'Delete of what is not there'    => $client->answer( DELETE => "/$Bucket/gone" ) ],
        [ 'an empty multipart upload'      => $client->answer( POST   => "/$Bucket/parts?uploads=" ) ],
        [ 'the type of a web form\'s data' => $kept eq 'a=b&c=d' ? 'stored as it came' : 'stored **empty**' ],
    );
}

sub _headers {
    my ($client) = @_;
    my $try = sub {
        my ( $name, $value ) = @_;
        my $answer = $client->answer( PUT => "/$Bucket/header", content => $Content, headers => { $name => $value } );
        return $answer if $answer ne '200';
        my $told = $client->request( HEAD => "/$Bucket/header" )->header($name) // '';
        return $told eq $value ? 'taken' : 'ignored';
    };
    my $owner = $client->answer( GET => $Path, headers => { 'x-amz-expected-bucket-owner' => '999999999999' } );
    return (
        [ '`ServerSideEncryption => \'AES256\'`'         => $try->( 'x-amz-server-side-encryption', 'AES256' ) ],
        [ '`ServerSideEncryption => \'aws:kms\'`'        => $try->( 'x-amz-server-side-encryption', 'aws:kms' ) ],
        [ '`StorageClass => \'STANDARD_IA\'`'            => $try->( 'x-amz-storage-class',          'STANDARD_IA' ) ],
        [ '`ExpectedBucketOwner`, and it is another one' => $owner eq '200' ? 'ignored' : $owner ],
    );
}

sub _keys {
    my ($client) = @_;
    my $taken    = sub { my $answer = shift; return $answer eq '200' ? 'taken' : $answer };
    my $region   = $client->with( region => 'eu-nowhere-7' )->request( GET => $Path );
    my ($code)   = $region->content =~ m{<Code>([^<]+)};
    my $hint =
          $region->code == 200                   ? ''
        : $region->header('x-amz-bucket-region') ? ', names it'
        :                                          ', without a header that names it';
    return (
        [ 'a wrong secret key' => $taken->( $client->with( secret_key => 'wrong' )->answer( GET => $Path ) ) ],
        [ 'a wrong region'     => $taken->( join ' ', $region->code, $code // () ) . $hint ],
    );
}

sub _links {
    my ($client) = @_;
    my %say = (
        'response-content-disposition' => 'attachment; filename="x y.txt"',
        'response-content-type'        => 'text/plain; charset=utf-8',
        'response-cache-control'       => 'private, max-age=60',
    );
    my $link  = $client->link_to( $Path, %say );
    my $named = $client->fetch($link);
    my $late  = $client->fetch( $client->link_to( $Path, time    => time - 120 ) );
    my $long  = $client->fetch( $client->link_to( $Path, expires => 604_801 ) );
    return (
        [ 'a presigned link' => $client->fetch( $client->link_to($Path) )->code ],
        (
            map {
                my $header = s/\Aresponse-//r;
                [ "... with `$_`" => ( $named->header($header) // '' ) eq $say{$_} ? 'heeded' : 'ignored' ]
            } sort keys %say
        ),
        [ '... with another type written into it' => $client->fetch( $link =~ s/plain/html/r )->code ],
        [ '... after its end'                     => $late->code ],
        [ '... for more than 7 days'              => $long->code ],
    );
}

sub _public {
    my ($client) = @_;
    my $before   = $client->answer( GET => $Path, unsigned => 1 );
    my $answer   = make_public( $client, $Bucket );
    return (
        [ 'reading without a signature'              => $before eq '200' ? 'allowed' : $before ],
        [ 'a bucket policy for public reading'       => $answer ],
        [ '... and then reading without a signature' => $client->answer( GET => $Path, unsigned => 1 ) ],
    );
}

=head2 make_public $client, $bucket

Gives the bucket the policy of F<docs/direct-links.md>; returns what the server says to it.

=cut

sub make_public {
    my ( $client, $bucket ) = @_;
    return $client->answer( PUT => "/$bucket?policy=", content => <<"END" );
{"Version":"2012-10-17","Statement":[{"Sid":"AllowPublicRead","Effect":"Allow","Principal":"*",
"Action":"s3:GetObject","Resource":"arn:aws:s3:::$bucket/*"}]}
END
}

=head2 as_documented $server => @facts

Tests that the table of F<docs/servers.md> says just that in this server's column.

=cut

sub as_documented {
    my ( $server, @facts ) = @_;
    my $file = abs_path( dirname(__FILE__) . '/../../../..' ) . '/docs/servers.md';
    my ( $column, %said );
    for my $line ( grep {/^\|/} split /\n/, slurp($file) ) {
        my ( undef, $what, @cells ) = map {s/^\s+|\s+$//gr} split /\|/, $line;
        ($column) = grep { $cells[$_] =~ /^\Q$server\E\b/ } 0 .. $#cells if !defined $column;
        $said{$what} = $cells[$column] if defined $column;
    }
    ok( defined $column, "docs/servers.md has a column for $server" ) or return;
    is( $said{ $_->[0] }, $_->[1], "docs/servers.md, $server: $_->[0]" ) for @facts;
    return;
}

1;
