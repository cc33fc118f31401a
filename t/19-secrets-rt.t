#!/usr/bin/perl
# Searches what RT's externalizer, log and configuration page print for secrets, while S3 gives them back.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Leaks qw(found_in looks signing_keys);
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $id     = 'AKIDSEARCHEDFOR';
my $secret = 'wJalrXUtn/FEMI+K7MDENGbPxRfiCYzExaMpLe12';
my $token  = 'FwoGZXIvYXdzEJr//wEaDTokenOfASession+qPzXwVuTsRq==';
my $s3     = needs_s3( access_key => $id, secret_key => $secret, session_token => $token );
my %keys   = ( AccessKeyId => $id, SecretAccessKey => $secret, SessionToken => $token );

my $rt = needs_rt(
    config  => "Set(\$LogStackTraces, 'debug'); Set(\$ExternalStorageCutoffSize, 1);",
    storage => {
        %keys,
        Type    => 'AmazonS3',
        Bucket  => 'rt',
        Host    => $s3->http,
        Retries => 1,
        Regoin  => $secret,
    },
    env => { RUST_LOG => 'trace', RUST_BACKTRACE => 'full', SSLKEYLOGFILE => $s3->dir . '/rt.keylog' },
);
$s3->make_bucket('rt');
$rt->create_ticket( attachments => [ { name => 'a.bin', content => "\0a" } ] );
my @texts;

for my $operation (qw(CreateMultipartUpload PutObject)) {
    my $answer = { status => 403, code => 'AccessDenied', message => "not $secret nor $token" };
    $s3->faults( { operation => $operation, do => { answer => $answer } } );
    my ( $exit, $out, $err ) = $rt->run_script( 'rt-externalize-attachments-5', '--verbose' );
    isnt( $exit, 0, "$operation fails" );
    push @texts, [ "output, $operation" => $out ], [ "errors, $operation" => $err ];
}
push @texts, [ configuration => scalar $rt->call(<<'END') ], [ log => $rt->log_text ];
        require Data::Dumper;
        return Data::Dumper::Dumper( scalar RT->Config->GetObfuscated( 'ExternalStorage', RT->SystemUser ) );
END
like( $texts[-1][1], qr/Trace begun at .*AccessDenied: not \*\*\*/s, 'the log has something to search' );
like( $texts[-2][1], qr/'AccessKeyId' => '$id'/,                     'so has the configuration' );
my @needles = map { ( looks($_), signing_keys( $_, 'us-east-1' ) ) } $secret, $token;
my @lines   = map {
    my ( $where, $text ) = @$_;
    map { [ $where => $_ ] } split /\n/, $text
} @texts;
my @found = found_in( \@needles, @lines );
is( scalar @found, 0, 'no secret in ' . @lines . ' lines' ) or diag join "\n", @found;
is( scalar found_in( \@needles, @lines, [ here => "a line with $secret" ] ), 1, 'one would be found' );
ok( !-e $s3->dir . '/rt.keylog', 'no file of TLS keys' );

done_testing;
