#!/usr/bin/perl
# What RT's System Configuration page gets to see. The page itself: t/41-who-asks-web.t
## no critic (ProhibitMultiplePackages)
use strict;
use warnings;

use Test::More;

use RT::ExternalStorage::AmazonS3::Secrets;

my %meta;
sub RT::Config          { return 'Configuration' }
sub Configuration::Meta { return \%meta }
sub German::loc         { return "nicht gezeigt" }
my $class = 'RT::ExternalStorage::AmazonS3::Secrets';

my %options = (
    Type            => 'AmazonS3',
    Bucket          => 'att',
    AccessKeyId     => 'id',
    SecretAccessKey => 's1',
    SessionToken    => 's2',
    SecrtAcessKey   => 's3',
    Proxy           => 'http://user:s4@proxy:8080',
    Region          => undef,
);
my %before = %options;
$class->Hide;
my $first = $meta{Obfuscate};
my $shown = $first->( 'Configuration', \%options, undef );
is( join( ' ', map { $_ // '' } values %$shown ) =~ /s[1234]/ ? 'shown' : 'hidden',
    'hidden', 'no secret, no mistyped one, none in a URL' );
is_deeply(
    [ @$shown{qw(Type Bucket AccessKeyId Region Proxy)} ],
    [ 'AmazonS3', 'att', 'id', undef, 'http://***@proxy:8080' ],
    'the rest'
);
is( $shown->{SecretAccessKey}, 'Password not printed', 'it says so' );
is(
    $first->( 'Configuration', \%options, bless {}, 'German' )->{SessionToken},
    'nicht gezeigt',
    '... in the language of the user'
);
is_deeply( \%options, \%before, 'the options themselves are as before' );

my %pasted = ( SecretAccessKey => 'a(b/c+d', Regoin => 'a(b/c+d', Prefix => 'x/a(b/c+d/', Bucket => 'att' );
is_deeply(
    [ @{ $first->( 'Configuration', \%pasted ) }{qw(Regoin Prefix Bucket)} ],
    [ '***', 'x/***/', 'att' ],
    'a key in the wrong option'
);

my %swapped = ( AccessKeyId => 'abcdE/ghij' x 4, SecretAccessKey => 'AKIAIOSFODNN7EXAMPLE', Bucket => 'att' );
is_deeply(
    $first->( 'Configuration', \%swapped ),
    { AccessKeyId => '***', SecretAccessKey => 'Password not printed', Bucket => 'att' },
    'the two keys swapped'
);

$class->Hide;
is( $meta{Obfuscate}, $first, 'once more: nothing new' );
delete $meta{Obfuscate};
$class->Hide;
ok( $meta{Obfuscate}, "RT has put its own metadata back: done again" );
$meta{Obfuscate} = my $theirs = sub { return { %{ $_[1] }, Bucket => 'hidden' } };
$class->Hide;
my $both = $meta{Obfuscate};
$class->Hide;
is( $meta{Obfuscate}, $both, 'somebody else obfuscates, too: chained once' );
is( $both->( 'Configuration', \%options )->{Bucket},          'hidden',               '... theirs works' );
is( $both->( 'Configuration', \%options )->{SecretAccessKey}, 'Password not printed', '... and ours' );

# RT's logger makes such a trace, where it is told to
sub trace { return Devel::StackTrace->new( ignore_class => [] )->as_string }
sub make  { return $_[0]->() }
SKIP: {
    skip 'no Devel::StackTrace' => 4 if !eval { require Devel::StackTrace };
    like( make( \&trace, SecretAccessKey => 's1' ), qr/'s1'/, 'a stack trace shows arguments' );
    my $trace = make( sub { $class->WithoutArguments( \&trace ) }, SecretAccessKey => 's1' );
    like( $trace, qr/\bmain::make\b/, 'also this one, with the calls' );
    unlike( $trace, qr/s1/, '... but without their arguments' );
    like( make( \&trace, SecretAccessKey => 's1' ), qr/'s1'/, 'the next one is as ever' );
}
done_testing;
