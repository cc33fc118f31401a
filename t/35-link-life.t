#!/usr/bin/perl
# Presigned links: how long they live, what they open, and what they cost.
use strict;
use warnings;

use File::Temp;
use FindBin;
use HTTP::Tiny;
use List::Util qw(min);
use POSIX      qw(floor);
use Test::More;
use Time::Local qw(timegm);
use Time::HiRes qw(clock_gettime sleep time CLOCK_PROCESS_CPUTIME_ID);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_library needs_s3);

my $native = needs_library;
my $s3     = needs_s3;
my $agent  = HTTP::Tiny->new( max_redirect => 0 );
my %signed = ( Bucket    => 'att', $s3->options, Region => 'us-east-1', DirectLink => 'presigned' );
my %about  = ( file_name => 'scan.png', content_type => 'image/png', disposition => 'inline' );
$s3->make_bucket('att');

sub handle {
    my (%options) = @_;
    my ( $handle, $error ) = $native->open( %signed, %options );
    return $handle // die $error;
}

sub status { my ( $method, $url ) = @_; return $agent->request( $method, $url )->{status} }

# Runs code within one window of so many seconds
sub within {
    my ( $seconds, $code ) = @_;
    for ( 1 .. 20 ) {
        my $window = floor( time / $seconds );
        my @result = $code->();
        return @result if floor( time / $seconds ) == $window;
    }
    die 'too slow for a window of this length';
}

# Of a time as links have it
sub epoch {
    my ( $year, $month, @rest ) = $_[0] =~ /\A(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\z/ or return 0;
    return timegm( reverse(@rest), $month - 1, $year );
}

sub next_window {
    my ($seconds) = @_;
    my $window = floor( time / $seconds );
    sleep 0.05 while floor( time / $seconds ) == $window;
    return;
}

my $handle = handle();
my ( $key, $other ) = map { $native->sha256($_) } qw(one other);
$handle->store( $key,   'one',   content_type => 'text/html' );
$handle->store( $other, 'other', content_type => 'text/html' );

# ---- what it opens

my $url = $handle->direct_url( $key, %about );
is( status( GET => $url ),              200, 'a link into a private bucket' );
is( status( GET => $url =~ s/\?.*//r ), 403, '... which is private' );
is( status( $_  => $url ),              403, "... and does not open for $_" ) for qw(PUT DELETE POST);

my ( $address, $query ) = split /\?/, $url;
my @parameters = split /&/, $query;
for my $index ( 0 .. $#parameters ) {
    my @changed = @parameters;
    my ($name) = $changed[$index] =~ /^([^=]+)/;
    next if $name eq 'X-Amz-Algorithm';
    $changed[$index] =~ s/(.)\z/$1 eq '1' ? '2' : '1'/e;
    isnt( status( GET => "$address?" . join '&', @changed ), 200, "another $name: refused" );
    splice @changed, $index, 1;
    isnt( status( GET => "$address?" . join '&', @changed ), 200, '... none, too' );
}
isnt( status( GET => "$url&response-cache-control=public" ), 200, 'one more parameter: refused' );
is( status( GET => $url =~ s/$key/$other/r ), 403, 'another object: refused' );

# The key is the content; the type is the attachment's
my %type = map {
    my $answer = $agent->get( $handle->direct_url( $key, %about, content_type => $_ ) );
    ( $_ => $answer->{headers}{'content-type'} );
} 'image/png', 'text/plain; charset=utf-8';
is( $type{$_}, $_, "the same object as $_" ) for sort keys %type;

my @unknown = handle( Region => undef )->direct_url( $key, %about );
is( $unknown[0], undef, 'the region is not known: no link' );
like( $unknown[1], qr/\[config\]|set Region/, '... and what to do' );
my $learned = handle( Region => undef, Retries => 1 );
$learned->get($key);
is( status( GET => $learned->direct_url( $key, %about ) // '' ), 200, '... until the server has answered' );

my $kept = $agent->get( scalar $handle->direct_url( $key, %about ) )->{headers}{'cache-control'};
is( $kept, 'private, max-age=3600', 'a browser may keep it as long as the link lives, and nobody else' );

# ---- how long it lives

my $six = handle( DirectLinkExpires => 24 );
my ( $first, $again, $third ) = within(
    6,
    sub {
        map { scalar $six->direct_url( $key, %about ) } 1 .. 3;
    }
);
is( $again, $first, 'within a quarter of its life an attachment has one URL' );
is( $third, $first, '... for a browser to keep' );
my ( $one, $two ) = within(
    6,
    sub {
        map { scalar $six->direct_url( $key, %about, file_name => $_ ) } qw(a b);
    }
);
isnt( $one, $two, '... another name: another one' );

my $short  = handle( DirectLinkExpires => 8 );
my $before = $short->direct_url( $key, %about );
is( status( GET => $before ), 200, 'a link for 8 seconds' );
next_window(2);
isnt( $short->direct_url( $key, %about ), $before, 'in the next window: another link' );
is( status( GET => $before ), 200, '... while the one before still works' );
sleep 8;
is( status( GET => $before ),                                   403, '... until its end' );
is( status( GET => scalar $short->direct_url( $key, %about ) ), 200, '... and the page is loaded again' );

# ---- no longer than temporary keys live

my $directory = File::Temp->newdir;
my $temporary = needs_s3( session_token => my $token = 'token/+=' . 't' x 400 );
my $program   = "$directory/keys";
spew( $program, <<"END" );
#!/usr/bin/perl
use POSIX;
my \$end = strftime '%Y-%m-%dT%H:%M:%SZ', gmtime( time + \$ARGV[0] );
print qq({"Version":1,"AccessKeyId":"@{[ $s3->access_key ]}","SecretAccessKey":"@{[ $s3->secret_key ]}",),
    qq("SessionToken":"$token","Expiration":"\$end"});
END
chmod 0755, $program or die "$program: $!";
my @lives = ( 30, 100, 5000 );
spew( "$directory/config", join '', map {"[profile lives-$_]\ncredential_process = $program $_\n"} @lives );
local @ENV{qw(AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE)} = ( "$directory/config", "$directory/none" );

my %link;
for my $life (@lives) {
    my %none = ( AccessKeyId => undef, SecretAccessKey => undef, Host => $temporary->http );
    my ( $got, $why ) = handle( %none, Profile => "lives-$life" )->direct_url( $key, %about );
    $link{$life} = $got // $why->name;
}
is( $link{30}, 'credentials', 'keys that end in 30 s: no link' );
my ($lives) = $link{100} =~ /X-Amz-Expires=(\d+)/;
my ($date)  = $link{100} =~ /X-Amz-Date=(\d+T\d+Z)/;
cmp_ok( $lives, '<', 3600, "in 100 s: a link for $lives s from the begin of its window" );
cmp_ok( abs( epoch($date) + $lives - time - 100 ), '<', 10, '... which end when the keys do' );
like( $link{5000}, qr/X-Amz-Expires=3600&/, 'in 5000 s: a link for the usual time' );
$temporary->make_bucket('att');
my $stored = $agent->get( $link{100} );
is( $stored->{status}, 404, '... that the server takes, with its token: nothing was stored there' );

# ---- what it costs

$s3->clear_log;
my $rounds = 5;
my $count  = 20_000;
my @cost;
for ( 1 .. $rounds ) {
    my $begin = clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
    $handle->direct_url( $key, %about ) for 1 .. $count;
    push @cost, ( clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $begin ) / $count * 1e6;
}
my $cost = min @cost;
cmp_ok( $cost, '<', 50, sprintf 'a link costs %.1f microseconds', $cost );
is( $s3->connections, 0, '... and no connection' );
done_testing;
