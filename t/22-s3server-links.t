#!/usr/bin/perl
# The S3 server that the other tests use: temporary keys, presigned links and buckets that anyone may read.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use POSIX qw(strftime);
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs needs_s3);
use Rts3::Test::OwnBackend;
use Rts3::Test::S3Client;

needs( Rts3::Test::OwnBackend::missing() );
my $s3      = needs_s3( keys => { SECOND => 'second' } );
my $content = "some content\n" x 7;
my $path    = '/attachments/' . sha256_hex($content);
my $client  = Rts3::Test::S3Client->new(
    url        => $s3->http,
    access_key => $s3->access_key,
    secret_key => $s3->secret_key,
    region     => 'us-east-1',
);
$s3->make_bucket('attachments');
is( $client->answer( PUT => $path, content => $content, headers => { 'Content-Type' => 'text/html' } ),
    200, 'an object' );

sub message_of { my ($response) = @_; return $response->content =~ m{<Message>(.*?)</Message>}s ? $1 : '' }

# Expects answers to links: [ $answer, $what, %parameters ]
sub links {
    my ( $by, @cases ) = @_;
    for (@cases) {
        my ( $expected, $what, %parameters ) = @$_;
        is( $by->fetched( $by->link_to( $path, %parameters ) ), $expected, $what );
    }
    return;
}

subtest 'the signer of this test' => sub {

    # AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", the example
    my $example = Rts3::Test::S3Client->new(
        url        => 'https://examplebucket.s3.amazonaws.com',
        access_key => 'AKIAIOSFODNN7EXAMPLE',
        secret_key => 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
        region     => 'us-east-1',
    );
    my %example = ( time => 1_369_353_600, expires => 86_400 );
    is(
        $example->link_to( '/test.txt', %example ),
        'https://examplebucket.s3.amazonaws.com/test.txt'
            . '?X-Amz-Algorithm=AWS4-HMAC-SHA256'
            . '&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request'
            . '&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host'
            . '&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
        q{makes the link of AWS's example}
    );
    my $late = $client->with( access_key => 'SECOND', secret_key => 'second' );
    is( $late->fetched( $late->link_to( $path, %example ) ), '403 AccessDenied', 'which is over' );
};

subtest 'a link' => sub {
    my $response = $client->fetch( $client->link_to($path) );
    is( $response->code,                   200,         'good' );
    is( $response->content,                $content,    '... the content' );
    is( $response->header('content-type'), 'text/html', '... as the object says' );
    links(
        $client,
        [ 200,                         'for a second',                    expires => 1, time => time + 5 ],
        [ 200,                         'for a week',                      expires => 604_800 ],
        [ 200,                         'signed 13 minutes in the future', time    => time + 780 ],
        [ '403 SignatureDoesNotMatch', 'for another method',              method  => 'PUT' ],
    );
    my $other = $client->with( secret_key => 'other' );
    is( $client->fetched( $other->link_to($path) ), '403 SignatureDoesNotMatch', 'of another secret' );
    $other = $client->with( access_key => 'NOBODY' );
    is( $client->fetched( $other->link_to($path) ),                '403 InvalidAccessKeyId', 'of an unknown key' );
    is( $client->fetched( $client->link_to('/attachments/none') ), '404 NoSuchKey',          'to nothing' );
    my $host = 'attachments.localhost' . ( $s3->http =~ /(:\d+)\z/ )[0];
    my $link = $client->with( url => "http://$host" )->link_to( $path =~ s{^/attachments}{}r );
    $link =~ s/\Q$host/$s3->host/e;
    is( $client->fetch( $link, GET => Host => $host )->content, $content, q{with the bucket's name in the host} );
};

subtest 'HEAD' => sub {
    my $link     = $client->link_to( $path, method => 'HEAD', 'response-content-type' => 'text/plain' );
    my $response = $client->fetch( $link, 'HEAD' );
    is( $response->code,                     200,                         'good' );
    is( $response->header('content-length'), length $content,             '... its length' );
    is( $response->header('content-type'),   'text/plain',                '... the type as the link says' );
    is( $client->fetched($link),             '403 SignatureDoesNotMatch', 'not for GET' );
    is( $client->fetched( $client->link_to($path), 'HEAD' ),   403,       'and one for GET not for HEAD' );
    is( $client->fetched( $client->link_to($path), 'DELETE' ), '403 SignatureDoesNotMatch', 'nor for DELETE' );
    is( $s3->content( split m{/}, substr $path, 1 ),           $content, 'the object is still there' );
};

subtest 'changed' => sub {
    my $link = $client->link_to( $path, expires => 60, 'response-content-disposition' => 'attachment; filename="a"' );
    is( $client->fetched($link), 200, 'as it was signed' );
    my %change = (
        'its end'            => sub {s/Expires=60/Expires=61/},
        'its date'           => sub {s/(Date=\d{8}T\d{5})(\d)/$1 . ( $2 ? $2 - 1 : 1 )/e},
        'the object'         => sub {s{/attachments/.}{/attachments/x}},
        'the bucket'         => sub {s{/attachments/}{/attachment/}},
        'the file name'      => sub {s/%22a%22/%22b%22/},
        'no file name'       => sub {s/&?response-content-disposition=[^&]*//},
        'a type'             => sub {s/\z/&response-content-type=text%2Fhtml/},
        'another parameter'  => sub {s/\z/&a=b/},
        'a second file name' => sub {s/\z/&response-content-disposition=inline/},
        'the region'         => sub {s/us-east-1/eu-west-1/},
        'a token'            => sub {s/\z/&x-amz-meta=1/},
        'the signature'      => sub {s/(.)\z/$1 eq '0' ? 1 : 0/e},
    );
    for my $what ( sort keys %change ) {
        my $changed = $link;
        $change{$what}->() for $changed;
        isnt( $changed, $link, "$what ..." );
        is( $client->fetched($changed), '403 SignatureDoesNotMatch', '... is refused' );
    }
    is( $client->fetched( $link =~ s/attachment%3B/attachment;/r ), 200, 'written differently it is the same' );
};

subtest 'its time' => sub {
    my $link     = $client->link_to( $path, expires => 2 );
    my $response = $client->fetch($link);
    is( $response->code, 200, 'in time' );
    sleep 3;
    $response = $client->fetch($link);
    is( $response->code, 403, 'too late' );
    like( $response->content, qr{<Code>AccessDenied</Code><Message>Request has expired</Message>}, '... says so' );
    $response = $client->fetch( $client->link_to( $path, time => time + 960 ) );
    is( $response->code, 403, 'too early' );
    like( $response->content, qr{<Code>AccessDenied</Code><Message>Request is not valid yet</Message>},
        '... says so' );
};

subtest 'not well formed' => sub {
    my $bad = '400 AuthorizationQueryParametersError';
    my $day = strftime( '%Y%m%d', gmtime );
    my $id  = $s3->access_key;
    links(
        $client,
        [ $bad, 'for more than a week',    expires               => 604_801 ],
        [ $bad, 'for no time',             expires               => 0 ],
        [ $bad, 'for less',                expires               => -1 ],
        [ $bad, 'for nonsense',            expires               => 'abc' ],
        [ $bad, 'without an end',          'X-Amz-Expires'       => undef ],
        [ $bad, 'without a date',          'X-Amz-Date'          => undef ],
        [ $bad, 'without a credential',    'X-Amz-Credential'    => undef ],
        [ $bad, 'without signed headers',  'X-Amz-SignedHeaders' => undef ],
        [ $bad, 'another algorithm',       'X-Amz-Algorithm'     => 'AWS4-HMAC-SHA512' ],
        [ $bad, 'a date of another kind',  'X-Amz-Date'          => '2026-01-02T03:04:05Z' ],
        [ $bad, 'a credential of nothing', 'X-Amz-Credential'    => $id ],
        [ $bad, 'of another day',          'X-Amz-Credential'    => "$id/20130524/us-east-1/s3/aws4_request" ],
        [ $bad, 'of another service',      'X-Amz-Credential'    => "$id/$day/us-east-1/sts/aws4_request" ],
        [ $bad, 'of another end',          'X-Amz-Credential'    => "$id/$day/us-east-1/s3/aws5_request" ],
    );
    is( $client->fetched( $client->link_to($path) =~ s/&X-Amz-Signature.*//r ), $bad, 'without a signature' );
    is( $client->fetched( $client->link_to($path) . '&X-Amz-Expires=604801' ),  $bad, 'with two ends' );
    my ($query) = $client->link_to($path) =~ /\?(.*)/;
    is( $client->answer( GET => "$path?$query" ), '400 InvalidArgument', 'beside an Authorization header' );
};

subtest 'the region' => sub {
    my $there = needs_s3( region => 'eu-central-1' );
    $there->make_bucket('attachments');
    my $here     = $client->with( url => $there->http );
    my $response = $here->fetch( $here->link_to('/attachments/none') );
    is( $response->code, 400, 'another one' );
    like( $response->content, qr{<Code>AuthorizationQueryParametersError<}, '... is refused' );
    like( $response->content, qr{<Region>eu-central-1</Region>},            '... and the right one named' );
    is( $response->header('x-amz-bucket-region'), 'eu-central-1', '... also in a header' );
    $here = $here->with( region => 'eu-central-1' );
    is( $here->fetched( $here->link_to('/attachments/none') ), '404 NoSuchKey', 'the right one' );
};

subtest 'name and type' => sub {
    my %said = (
        'content-disposition' => q{attachment; filename="a b.html"; filename*=UTF-8''%C3%BC.html},
        'content-type'        => 'text/plain; charset=utf-8',
        'cache-control'       => 'private, max-age=60',
        'content-language'    => 'de',
    );
    my %parameters = map { ( "response-$_" => $said{$_} ) } keys %said;
    my $response   = $client->fetch( $client->link_to( $path, %parameters ) );
    is( $response->code,       200,       'a link that says them' );
    is( $response->header($_), $said{$_}, "... $_ as it says" ) for sort keys %said;
    is( $response->content,    $content,  '... the content' );
    is(
        $client->fetched( $client->link_to( $path, 'response-content-disposition' => "a\r\nX-Evil: 1" ) ),
        '400 InvalidArgument',
        'no new line'
    );
    is(
        $client->fetched( $client->link_to( $path, 'response-content-disposition' => "\xe2\x82\xac" ) ),
        '400 InvalidArgument',
        'nor what is not in ISO 8859-1'
    );
    is(
        $client->fetch( $client->link_to( $path, 'response-content-disposition' => "\xc3\xbc" ) )
            ->header('content-disposition'),
        "\xfc",
        'which is what it is sent in'
    );
    $response = $client->request( GET => "$path?response-content-type=text%2Fplain" );
    is( $response->header('content-type'), 'text/plain', 'also with an Authorization header' );
    $response = $client->fetch( $client->link_to( '/attachments/none', %parameters ) );
    is( $response->code . ' ' . $response->header('content-type'), '404 application/xml', 'an error is one' );
};

subtest 'what a browser has already' => sub {
    my $link     = $client->link_to($path);
    my $etag     = $client->fetch($link)->header('etag');
    my $response = $client->fetch( $link, GET => 'If-None-Match' => $etag );
    is( $response->code,                                                       304,            'is not sent again' );
    is( $response->content,                                                    '',             '... no content' );
    is( $response->header('etag'),                                             $etag,          '... its ETag' );
    is( $client->fetched( $link, GET => 'If-None-Match' => qq("x", W/$etag) ), 304,            '... one of several' );
    is( $client->fetch( $link, GET => 'If-None-Match' => '"x"' )->content,     $content,       'something else is' );
    is( $client->fetched( $link, GET => 'If-None-Match' => $etag, Range => 'bytes=0-1' ), 304, 'nor a part of it' );
    is(
        $client->fetched( $client->link_to( $path, time => time - 90 ), GET => 'If-None-Match' => $etag ),
        '403 AccessDenied',
        'a link that is over is refused'
    );
};

subtest 'who may read' => sub {
    my $url = $s3->http . $path;
    is( $client->fetched($url), '403 AccessDenied', 'not anyone' );
    $s3->set_public( attachments => 1 );
    is( $client->fetch($url)->content,                     $content,             'anyone, if the bucket says so' );
    is( $client->fetched( $url, 'HEAD' ),                  200,                  '... HEAD' );
    is( $client->fetched( $url, $_ ),                      '403 AccessDenied',   "... not $_" ) for qw(PUT DELETE);
    is( $client->fetched("$url?response-$_=text%2Fplain"), '400 InvalidRequest', "... nor say its $_" )
        for qw(content-type content-disposition);
    is( $client->fetched( $s3->http . '/attachments/none' ), '403 AccessDenied', '... nor see what is not there' );
    is( $client->fetched( $s3->http . '/attachments?list-type=2' ), '403 AccessDenied', '... nor list' );
    is(
        $client->fetched( $client->link_to( $path, expires => 5, time => time - 10 ) ),
        '403 AccessDenied',
        '... nor use a link that is over'
    );
    $s3->set_public( attachments => 0 );
    is( $client->fetched($url), '403 AccessDenied', 'not any more' );
};

subtest 'temporary keys' => sub {
    my %key       = ( secret => 'temporary/secret', token => 'To/ken+1==', expires => time + 3 );
    my $temporary = $client->with( access_key => 'ASIATEMPORARY', secret_key => $key{secret}, token => $key{token} );
    my @all       = (
        [ 'a request', sub { shift->answer( GET => $path ) } ],
        [ 'a link',    sub { my $by = shift; $by->fetched( $by->link_to( $path, expires => 3600 ) ) } ]
    );
    is( $_->[1]->($temporary), '403 InvalidAccessKeyId', "$_->[0] with unknown keys" ) for @all;
    $s3->set_key( ASIATEMPORARY => %key );
    for (@all) {
        my ( $what, $do ) = @$_;
        is( $do->($temporary),                              200,                         "$what with keys" );
        is( $do->( $temporary->with( token => undef ) ),    '403 InvalidAccessKeyId',    '... without their token' );
        is( $do->( $temporary->with( token => 'other' ) ),  '400 InvalidToken',          '... with another token' );
        is( $do->( $temporary->with( secret_key => 'x' ) ), '403 SignatureDoesNotMatch', '... with another secret' );
        is( $do->( $client->with( token => 'none' ) ),      '400 InvalidToken', '... with a token for other keys' );
    }
    my $link = $temporary->link_to( $path, expires => 3600 );
    is(
        $client->fetched( $link =~ s/(Security-Token=)[^&]*/$1other/r ),
        '400 InvalidToken',
        'a link with another token'
    );
    is( $client->fetched($link), 200, 'and as it was' );
    sleep 1 while time < $key{expires};
    for (@all) {
        my ( $what, $do ) = @$_;
        is( $do->($temporary), '400 ExpiredToken', "$what with keys that are over" );
    }
    my $response = $client->fetch($link);
    is( message_of($response), 'The provided token has expired.', 'the link is over, too' );
    like( $response->content, qr{<Token-0>\Q$key{token}\E</Token-0>}, '... and the token repeated, as AWS does' );

    $s3->set_key( ASIATEMPORARY => %key, expires => time + 600, token => 'new' );
    is( $temporary->with( token => 'new' )->answer( GET => $path ), 200, 'keys can be renewed' );
    $s3->drop_key('ASIATEMPORARY');
    is( $temporary->with( token => 'new' )->answer( GET => $path ), '403 InvalidAccessKeyId', '... and dropped' );
    $s3->drop_key('SECOND');
    my $second = $client->with( access_key => 'SECOND', secret_key => 'second' );
    is( $second->answer( GET => $path ), '403 InvalidAccessKeyId', '... also others' );
    is( $client->answer( GET => $path ), 200,                      'the rest is as it was' );
    my $rights = $s3->file('rights');
    open my $handle, '>>', $rights or die "$rights: $!";
    print {$handle} qq({"key":"K","mistake":1}\n);
    close $handle or die "$rights: $!";
    is( $client->answer( GET => $path ), '500 InternalError', 'a line with a mistake is not overlooked' );
};

done_testing;
