#!/usr/bin/perl
# Public links, in every shape: as RT's own module makes them where its configuration allows no other, and where the
# other options lead.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_library needs_rt needs_s3);
use Rts3::Test::OwnBackend;

my $native = needs_library;
my $s3     = needs_s3( public => [ 'att', 'my.att' ] );
my $key    = sha256_hex('content');

sub url {
    my (%options) = @_;
    my ( $handle, $error ) = $native->open( Bucket => 'att', AccessKeyId => 'a', SecretAccessKey => 's', %options );
    my $url = $handle ? $handle->direct_url($key) : die $error;
    return $url;
}

my @eu     = ( Region => 'eu-central-1' );
my @minio  = ( Host   => 'http://s3.example.com:9000' );
my @shapes = (
    'https://att.s3.amazonaws.com'                     => [],
    'https://att.s3.amazonaws.com'                     => [ DirectLink      => 'public' ],
    'https://att.s3.amazonaws.com'                     => [ Host            => 's3.amazonaws.com' ],
    'https://att.s3.amazonaws.com'                     => [ SecretAccessKey => 'other', SessionToken => 't' ],
    'https://s3.amazonaws.com/my.att'                  => [ Bucket          => 'my.att' ],
    'https://att.s3.amazonaws.com/rt'                  => [ Prefix          => 'rt/' ],
    'https://s3.amazonaws.com/att'                     => [ AddressingStyle => 'path' ],
    'https://att.s3.eu-central-1.amazonaws.com'        => \@eu,
    'https://s3.eu-central-1.amazonaws.com/my.att'     => [ @eu, Bucket => 'my.att' ],
    'https://att.s3.eu-central-1.amazonaws.com/a/b-'   => [ @eu, Prefix => 'a/b-' ],
    'https://att.s3.eu-central-1.amazonaws.com'        => [ Host => 's3.eu-central-1.amazonaws.com' ],
    'http://s3.example.com:9000/att'                   => \@minio,
    'http://s3.example.com:9000/att'                   => [ @minio, @eu ],
    'http://att.s3.example.com:9000'                   => [ @minio, AddressingStyle => 'virtual' ],
    'http://s3.example.com:9000/my.att'                => [ @minio, Bucket          => 'my.att' ],
    'http://s3.example.com:9000/att/a%20%22%3Cb%3E%27' => [ @minio, Prefix          => q{a "<b>'/} ],
    'https://s3.example.com/att'                       => [ Host           => 's3.example.com' ],
    'https://s3.example.com:8443/att'                  => [ Host           => 's3.example.com:8443' ],
    'https://cdn.example.com'                          => [ DirectLinkHost => 'cdn.example.com' ],
    'https://cdn.example.com:8443' => [ DirectLinkHost => 'cdn.example.com:8443',    @eu ],
    'http://cdn.example.com'       => [ DirectLinkHost => 'http://cdn.example.com/', @minio ],
    'https://cdn.example.com/rt'   => [ DirectLinkHost => 'cdn.example.com',         Prefix => 'rt/' ],
    'https://cdn.example.com'      =>
        [ DirectLinkHost => 'cdn.example.com', Bucket => 'my.att', AddressingStyle => 'path' ],
);
while ( my ( $address, $options ) = splice @shapes, 0, 2 ) {
    my %options  = @{$options};
    my $what     = join ', ', map {"$_ $options{$_}"} grep { !/^Secret|Token/ } sort keys %options;
    my $expected = $address =~ m{b-\z} ? "$address$key" : "$address/$key";
    is( url(%options), $expected, $what || 'nothing but a bucket' );
}
is( url( DirectLink => 'Public' ), undef, 'a kind of link that there is not: none' );
is( url( DirectLink => 'presigned', @eu, DirectLinkHost => 'cdn.example.com' ),
    undef, 'a signature does not hold for another host: none' );

# A link does not follow what is learned from the server: the same one in every process
my ($learns) = $native->open( Bucket => 'att', $s3->options );
my $before = $learns->direct_url($key);
$s3->make_bucket($_) for 'att', 'my.att';
$learns->store( $key, 'content' );
is( $learns->direct_url($key), $before, 'the same link before and after the first request' );

# ---- they lead there

require LWP::UserAgent;
for my $bucket ( 'att', 'my.att' ) {
    my ($handle) = $native->open( Bucket => $bucket, $s3->options, Prefix => 'r t/' );
    $handle->store( $key, 'content', content_type => 'image/png' );
    my $answer = LWP::UserAgent->new->get( scalar $handle->direct_url($key) );
    is( $answer->content,                'content',   "$bucket: the link leads to the object" );
    is( $answer->header('Content-Type'), 'image/png', '... with its type' );
}

# ---- as RT's own module makes them

SKIP: {
    my $missing = Rts3::Test::OwnBackend::missing();
    die "$missing\n" if $missing && $ENV{RTS3_TEST_ALL};
    skip $missing, 4 if $missing;
    my $rt = needs_rt();
    $rt->create_custom_field( 'Scan', 'Binary' );
    my $file = { name => 'a.png', type => 'image/png', content => 'content' };
    $rt->create_ticket( attachments => [$file], fields => { Scan => $file } );
    $rt->dbh->do(qq{UPDATE Attachments SET ContentEncoding = 'external', Content = '$key' WHERE Filename = 'a.png'});
    $rt->dbh->do(qq{UPDATE ObjectCustomFieldValues SET ContentEncoding = 'external', LargeContent = '$key'});
    my $links = <<'END';
        return map {
            my $found = $_->[0]->new( RT->SystemUser );
            $found->LoadByCols( ContentEncoding => 'external' );
            RT->System->ExternalStorage->DownloadURLFor($found);
        } ['RT::Attachment'], ['RT::ObjectCustomFieldValue'];
END

    for my $bucket (qw(att other-1)) {
        my %link;
        for my $backend (qw(own ours)) {
            $rt->{backend} = $backend;
            $rt->set_storage( Type => 'AmazonS3', Bucket => $bucket, AccessKeyId => 'a', SecretAccessKey => 's' );
            $link{$backend} = [ $rt->call($links) ];
        }
        is_deeply(
            $link{own},
            [ "https://$bucket.s3.amazonaws.com/$key", "https://$bucket.s3.amazonaws.com/$key" ],
            "$bucket: RT's own links"
        );
        is_deeply( $link{ours}, $link{own}, '... are ours, letter for letter' );
    }
}
done_testing;
