package Rts3::Test::FaultMatrix::Answers;

use strict;
use warnings;

use JSON::PP ();

=head1 NAME

Rts3::Test::FaultMatrix::Answers - the faults that are answers: what the server says, and about itself

=head1 FUNCTIONS

=head2 faults $elsewhere

The list of faults; L<Rts3::Test::FaultMatrix> says what stands in each. C<$elsewhere> is the URL of another host.

=cut

# As well as can be, and at the second attempt
my $FIRST  = 'ok/1 ok/2 ok/2 ok/1 ok/1 ok/1 ok/1';
my $SECOND = 'ok/2 ok/3 ok/3 ok/2 ok/2 ok/2 ok/2';

sub _s3 {
    my ( $status, $code, %more ) = @_;
    return { answer => { status => $status, code => $code, message => 'because', %more } };
}

my $Page = '<html><body><h1>It works!</h1></body></html>';

sub _page {
    my ($status) = @_;
    return { answer => { status => $status, headers => { 'content-type' => 'text/html' }, body => $Page } };
}

sub faults {
    my ($elsewhere) = @_;
    return ( _refusals(), _passing(), _strange(), _regions($elsewhere), _redirects($elsewhere), _clocks() );
}

sub _refusals {
    return (
        {
            name   => '400 InvalidArgument',
            do     => _s3( 400, 'InvalidArgument' ),
            expect => 'server/2 server/3 server/2 server/1 server/1 server/1 server/2'
        },
        {
            name   => '403 AccessDenied',
            do     => _s3( 403, 'AccessDenied' ),
            expect => 'denied/1 denied/2 denied/1 denied/1 denied/1 denied/1 denied/1'
        },
        {
            name   => '403 RequestTimeTooSkewed, though the clock is right',
            do     => _s3( 403, 'RequestTimeTooSkewed' ),
            expect => 'credentials/1 credentials/2 credentials/1 credentials/1 credentials/1 credentials/1 denied/1'
        },
        {
            name   => '403 InvalidObjectState (archived)',
            do     => _s3( 403, 'InvalidObjectState' ),
            expect => 'denied/1 denied/2 denied/1 denied/1 denied/1 denied/1 denied/1'
        },
        {
            name   => '404 NoSuchKey',
            do     => _s3( 404, 'NoSuchKey' ),
            expect => 'not-found/1 not-found/2 not-found/1 not-found/1 not-found/1 ok/1+whole not-found/1'
        },
        {
            name   => '404 NoSuchBucket',
            do     => _s3( 404, 'NoSuchBucket' ),
            expect => 'no-bucket/1 no-bucket/2 no-bucket/1 no-bucket/1 no-bucket/1 no-bucket/1 not-found/1'
        },
        {
            name   => '404 of a web server, in HTML',
            do     => _page(404),
            expect => 'server/1 server/2 server/1 server/1 server/1 server/1 not-found/1'
        },
        {
            name   => '412 PreconditionFailed',
            do     => _s3( 412, 'PreconditionFailed' ),
            expect => 'server/2 server/4 server/2 server/1 server/1 server/1 server/1'
        },
        {
            name   => '501 NotImplemented',
            do     => _s3( 501, 'NotImplemented' ),
            expect => 'server/2 server/3 server/2 server/1 server/1 server/1 server/1'
        },
    );
}

sub _passing {
    my @passing = (
        [
            '400 RequestTimeout' => _s3( 400, 'RequestTimeout' ),
            'timeout', 'ok/2 ok/3 ok/3 ok/2 ok/2 ok/2 ok/3',
            'timeout/3 timeout/4 timeout/3 timeout/3 timeout/3 timeout/3 timeout/6',
        ],
        [ '408, empty'              => { answer => { status => 408, body => '' } }, 'timeout' ],
        [ '409 OperationAborted'    => _s3( 409, 'OperationAborted' ),              'server' ],
        [ '429 TooManyRequests'     => _s3( 429, 'TooManyRequests' ),               'throttled' ],
        [ '500 InternalError'       => _s3( 500, 'InternalError' ),                 'server' ],
        [ '504 of a proxy, in HTML' => _page(504),                                  'server' ],
    );
    return (
        (
            map {
                my ( $name, $do, $code, $once, $always ) = @$_;
                my $tries = join ' ', map {"$code/$_"} 3, 4, (3) x 5;
                (
                    { name => "$name, once", do => $do, once => 1, expect => $once // $SECOND },
                    { name => "$name, always", do => $do, expect => $always // $tries },
                );
            } @passing
        ),
        {
            name   => '503 SlowDown, Retry-After: 1, once',
            do     => _s3( 503, 'SlowDown', headers => { 'retry-after' => '1' } ),
            once   => 1,
            least  => 1,
            waits  => 1,
            expect => $SECOND,
        },
        {
            name   => '503 SlowDown, Retry-After: 3600',
            do     => _s3( 503, 'SlowDown', headers => { 'retry-after' => '3600' } ),
            expect => 'throttled/1 throttled/2 throttled/1 throttled/1 throttled/1 throttled/1 throttled/1',
        },
        { name => 'the answer comes 0.2 s late', do => { delay_ms => 200 }, expect => $FIRST },
    );
}

sub _strange {
    my $cut = '<?xml version="1.0"?><Error><Code>InternalErr';
    return (
        {
            name   => '500 without a body',
            do     => { answer => { status => 500, body => '' } },
            expect => 'server/3 server/4 server/3 server/3 server/3 server/3 server/3'
        },
        {
            name   => '500, its XML broken off',
            do     => { answer => { status => 500, body => $cut } },
            expect => 'server/3 server/4 server/3 server/3 server/3 server/3 server/3'
        },
        {
            name   => '500, 10 MB of XML',
            do     => _s3( 500, 'InternalError', pad => 10_000_000 ),
            expect => 'server/3 server/4 server/3 server/3 server/3 server/3 server/3'
        },
        {
            name   => '403, 10 MB of XML',
            do     => _s3( 403, 'AccessDenied', pad => 10_000_000 ),
            expect => 'denied/1 denied/2 denied/1 denied/1 denied/1 denied/1 denied/1'
        },
        {
            name   => 'not HTTP',
            do     => { raw => "SSH-2.0-OpenSSH_9.2\r\n" },
            expect => 'server/3! server/4 server/3! server/3! server/3! server/3! server/3!'
        },
        {
            name   => 'a header of 2 MB',
            do     => { header_bytes => 2_000_000 },
            expect => 'server/3!+whole server/4+whole server/3! server/3! server/3! server/3!+nothing server/3!'
        },
        {
            name   => 'a header that is not ASCII',
            do     => { headers => { 'x-amz-meta-a' => "\x{fc}" } },
            expect => $FIRST
        },
        {
            name   => 'a header in ISO 8859-1',
            do     => { latin1_headers => { 'x-amz-meta-a' => "\x{fc}" } },
            expect => $FIRST
        },
        {
            name   => 'an ETag that is not ASCII',
            do     => { latin1_headers => { etag => "\"\x{fc}\"" } },
            expect => 'ok/3 ok/4 ok/2 ok/1 ok/1 ok/1 server/3'
        },
        {
            name   => 'no ETag',
            do     => { drop_etag => JSON::PP::true() },
            expect => 'ok/3 ok/4 ok/2 ok/1 ok/1 - server/3'
        },
        {
            name   => 'Content-Length too small',
            do     => { length => { add => -5 } },
            expect => 'server/7+whole ok/4 server/6 corrupt/2 corrupt/2 server/3+nothing ok/1'
        },
        {
            name   => 'Content-Length too large',
            do     => { length => { add => 5 } },
            loose  => 1,
            waits  => 1,
            expect => 'ok/1 ok/2 timeout timeout~ timeout~ ok/1 ok/1'
        },
        {
            name   => 'Content-Length: abc',
            do     => { length => { say => 'abc' } },
            expect => 'server/3!+whole server/4+whole server/3! server/3! server/3! server/3+nothing server/3'
        },
        {
            name   => 'no Content-Length',
            do     => { length => 'missing' },
            expect => $FIRST
        },
        {
            name   => 'chunks in place of Content-Length',
            do     => { length => 'chunked' },
            expect => $FIRST
        },
    );
}

# Where it is told in the XML alone, HEAD needs GET to find it out
my $ASKED = 'ok/2 ok/4 ok/3 ok/2 ok/2 ok/2 ok/3';

sub _regions {
    my ($elsewhere) = @_;
    my $amazon      = 'http://files.s3.eu-central-1.amazonaws.com';
    my $title       = 'the bucket is in another region';
    my @ways        = ( [ 301, 'moved' ], [ 400, 'malformed' ], [ 307, 'redirect', $amazon, $elsewhere ] );
    my ( @told, @untold );
    for (@ways) {
        my ( $status, $how, $there, $not_there ) = @$_;
        my %region = ( name   => 'eu-central-1', refuse => $how );
        my %silent = ( header => JSON::PP::false(), xml => JSON::PP::false() );
        my %fault  = ( warns => qr/region 'eu-central-1'/ );
        push @told,
            {
            %fault,
            name   => "$status: $title, told in header and XML",
            do     => { region => { %region, $there ? ( location => $there ) : () } },
            expect => $SECOND,
            },
            {
            %fault,
            name   => "$status: $title, told in the " . ( $there ? 'Location' : 'XML' ),
            do     => { region => { %region, header => JSON::PP::false(), $there ? ( location => $there ) : () } },
            expect => $there ? $SECOND : $ASKED,
            };
        push @untold,
            {
            name   => "$status: $title, which one is not told",
            do     => { region => { %region, %silent, $not_there ? ( location => $not_there ) : () } },
            says   => qr/Region/,
            expect => 'config/1 config/2 config/1 config/1 config/1 config/1 config/2',
            };
    }
    return (
        @told, @untold,
        {
            name   => "400 of Garage: $title, told in the XML",
            do     => { region => { name => 'eu-central-1', refuse => 'garage' } },
            warns  => qr/region 'eu-central-1'/,
            expect => $ASKED,
        },
    );
}

sub _redirects {
    my ($elsewhere) = @_;
    my %asks = ( 301 => 2, 307 => 2 );
    return map {
        {
            name   => "$_ to another host",
            do     => { answer => { status => $_, headers => { location => "$elsewhere/x" }, body => '' } },
            says   => qr/not followed/,
            expect => 'server/1 server/2 server/1 server/1 server/1 server/1 server/' . ( $asks{$_} // 1 ),
        }
    } 301, 302, 307, 308;
}

sub _clocks {
    return map {
        {
            name   => "this machine's clock is 20 minutes " . ( $_ > 0 ? 'behind' : 'ahead' ),
            do     => { clock_s => $_ },
            warns  => qr/clock is 1[12]\d\d s/,
            expect => $SECOND,
        }
    } 1200, -1200;
}

1;
