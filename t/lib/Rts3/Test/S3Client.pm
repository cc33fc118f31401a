package Rts3::Test::S3Client;

use strict;
use warnings;

use Digest::SHA    qw(hmac_sha256 hmac_sha256_hex sha256_hex);
use HTTP::Request  ();
use LWP::UserAgent ();
use POSIX          qw(strftime);

=head1 NAME

Rts3::Test::S3Client - single requests to an S3 server, signed by code that is not ours, and wrong ones if wanted

=head1 SYNOPSIS

    my $client   = Rts3::Test::S3Client->new( url => $url, access_key => $id, secret_key => $secret, region => $region );
    my $response = $client->request( PUT => "/bucket/$key", content => $bytes, headers => { 'If-None-Match' => '*' } );

=head1 METHODS

=head2 new url => $url, access_key => $id, secret_key => $secret, token => $token, region => $region; with %other

A client; and another one, for which something of that is different. Temporary keys have a token.

=cut

sub new {
    my ( $class, %self ) = @_;
    return bless {%self}, $class;
}

sub with {
    my ( $self, %other ) = @_;
    return bless { %{$self}, %other }, ref $self;
}

=head2 request $method => $path, %options

Signs and sends a request, and returns an L<HTTP::Response>. Options: headers, content, sent (another content, put into the
request after it was signed), and unsigned.

=cut

sub request {
    my ( $self, $method, $path, %option ) = @_;
    my @headers = %{ $option{headers} // {} };
    push @headers, 'X-Amz-Security-Token' => $self->{token} if defined $self->{token} && !$option{unsigned};
    my $request = HTTP::Request->new( $method => "$self->{url}$path", \@headers, $option{content} // '' );
    if ( !$option{unsigned} ) {
        require Net::Amazon::Signature::V4;    # comes with Amazon::S3
        Net::Amazon::Signature::V4->new( @{$self}{qw(access_key secret_key region)}, 's3' )->sign($request);
    }
    $request->content( $option{sent} ) if defined $option{sent};
    return $self->_agent->request($request);
}

sub _agent {
    my $self = shift;
    return $self->{agent} //= LWP::UserAgent->new( timeout => 60, max_redirect => 0, no_proxy => [] );
}

=head2 answer $method => $path, %options

The same request: its status and S3's code in one string, C<404 NoSuchKey>.

=cut

sub answer {
    my ( $self, @request ) = @_;
    return _in_words( $self->request(@request) );
}

sub _in_words {
    my ($response) = @_;
    my ($code)     = $response->content =~ m{<Code>([^<]+)</Code>};
    return join ' ', $response->code, $code // ();
}

=head2 keys_in $bucket

The keys in a bucket, sorted, as references to arrays: key, ETag and time of the last change. undef if it can't be listed.

=cut

sub keys_in {
    my ( $self, $bucket ) = @_;
    my $response = $self->request( GET => "/$bucket?list-type=2" );
    return undef if $response->code != 200;
    my @found;
    for my $entry ( $response->content =~ m{<Contents>(.*?)</Contents>}gs ) {
        push @found, [ map { $entry =~ m{<$_>([^<]*)</$_>} ? $1 : '' } qw(Key ETag LastModified) ];
    }
    return [ sort { $a->[0] cmp $b->[0] } @found ];
}

=head2 link_to $path, %query

A presigned URL with these parameters beside the usual ones, or in their place; one that is undef is left out. C<expires>,
C<time> (of signing, seconds since 1970) and C<method> can be said among them.

=cut

sub link_to {
    my ( $self, $path, %query ) = @_;
    my @then    = gmtime( delete $query{time} // time );
    my $expires = delete $query{expires} // 60;
    my $method  = delete $query{method}  // 'GET';
    my ( $day, $date ) = ( strftime( '%Y%m%d', @then ), strftime( '%Y%m%dT%H%M%SZ', @then ) );
    my $scope = "$day/$self->{region}/s3/aws4_request";
    my ($host) = $self->{url} =~ m{//(.*)};
    %query = (
        'X-Amz-Algorithm'     => 'AWS4-HMAC-SHA256',
        'X-Amz-Credential'    => "$self->{access_key}/$scope",
        'X-Amz-Date'          => $date,
        'X-Amz-Expires'       => $expires,
        'X-Amz-SignedHeaders' => 'host',
        ( defined $self->{token} ? ( 'X-Amz-Security-Token' => $self->{token} ) : () ),
        %query,
    );
    delete @query{ grep { !defined $query{$_} } keys %query };
    s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge for values %query;
    my $query   = join '&',  map {"$_=$query{$_}"} sort keys %query;
    my $request = join "\n", $method, $path, $query, "host:$host", '', 'host', 'UNSIGNED-PAYLOAD';
    my $text    = join "\n", 'AWS4-HMAC-SHA256', $date, $scope, sha256_hex($request);
    my $key     = "AWS4$self->{secret_key}";
    $key = hmac_sha256( $_, $key ) for $day, $self->{region}, 's3', 'aws4_request';
    return "$self->{url}$path?$query&X-Amz-Signature=" . hmac_sha256_hex( $text, $key );
}

=head2 fetch $url, $method, @headers

An L<HTTP::Response> for a URL as it stands, without a signature; with GET unless said.

=head2 fetched $url, $method, @headers

The same as L</answer> says it.

=cut

sub fetch {
    my ( $self, $url, $method, @headers ) = @_;
    return $self->_agent->request( HTTP::Request->new( $method // 'GET' => $url, \@headers ) );
}

sub fetched {
    my ( $self, @request ) = @_;
    return _in_words( $self->fetch(@request) );
}

1;
