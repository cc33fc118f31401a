#!/usr/bin/perl
# What is written twice says the same twice: the manual, the Perl modules and the library about the options.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use RT::ExternalStorage::AmazonS3::Deadline;
use Rts3::Test::Needs qw(needs_library);

my $native = needs_library;
my %keys   = ( AccessKeyId => 'a', SecretAccessKey => 's' );

sub messages {
    my (%options) = @_;
    my ( $handle, $error ) = $native->open( Bucket => 'b', %keys, %options );
    return map { $_->[1] } $handle ? $handle->drain : die $error;
}

# ---- the names

my ($allowed)     = map {/allowed are (.*)/} messages( Nonsense => 1 );
my @library       = sort split /, /, $allowed;
my ($manual_file) = grep {-e} map {"$_/RT/ExternalStorage/AmazonS3.pm"} grep { !ref } @INC;
open my $in, '<:encoding(UTF-8)', $manual_file or die "$manual_file: $!";
my $manual = do { local $/ = undef; <$in> };
close $in;
my ($section) = $manual =~ /^=head1 CONFIGURATION\n(.*?)^=head1/ms;
my @manual    = sort 'Type', map {/C<(\w+)>/g} $section =~ /^=item (.*)/mg;
is_deeply( \@manual, \@library, 'the manual explains the options that the library knows' );

# ---- the defaults, from the library's answers to values that are not allowed

my %entry = $section =~ /^=item ([^\n]*)\n\n(.*?)(?=^=item|^=back)/msg;
for my $name (qw(ConnectTimeout ReadTimeout Retries AddressingStyle CreateBucket)) {
    my ($default) = map {/using the default, (\S+)/} messages( $name => '?' );
    ok( length $default, "$name has a default, $default" );
    like( $entry{"C<$name>"}, qr/Default:\s+(?:C<)?\Q$default\E\b/, '... the one in the manual' );
}
my ($host) = map {/using the default, (\S+)/} messages( Host => '' );
like( $entry{'C<Host>'}, qr/Default:\s+C<\Q$host\E>/, "Host's default is $host" );

# ---- Deadline, which the Perl side knows too

my $deadline = 'RT::ExternalStorage::AmazonS3::Deadline';
my ( $least, $most, $default ) =
    map {/seconds from (\S+) to (\S+); using the default, (\S+)/} messages( Deadline => '?' );
is( $deadline->LEAST,     $least,   "Deadline: at least $least" );
is( $deadline->MOST,      $most,    "... at most $most" );
is( $deadline->OTHERWISE, $default, "... by default $default" );
like(
    $entry{'C<Deadline>'},
    qr/Default: @{[ $deadline->WEB ]} in a web server, $default otherwise|Default: @{[ $deadline->WEB ]} in a web server, $default elsewhere/,
    '... as the manual says'
);

is( $deadline->Seconds(undef), $default, 'a tool' );
is( $deadline->Seconds(7.5),   7.5,      '... with the option' );
is( $deadline->Seconds($_),    $default, "... with $_, which is not allowed" ) for 0, -1, 'soon', 0.01, 9_999, '';
{
    local $INC{'RT/Interface/Web/Handler.pm'} = 'loaded';
    is( $deadline->Seconds(undef), 10, 'a web server' );
    is( $deadline->Seconds(7),     7,  '... with the option' );
    is( $deadline->Remaining,      10, 'outside of a request each call has it all' );
    $deadline->Spend(8);
    is( $deadline->Remaining, 10, '... whatever failed before' );

    no warnings 'once';
    local $HTML::Mason::Commands::m = bless {}, 'Request';
    is( $deadline->Remaining, 10, 'a web request' );
    $deadline->Spend(4);
    is( $deadline->Remaining, 6, '... after a call that failed in 4 s' );
    $deadline->Spend(5.9995);
    is( $deadline->Remaining, 0, '... after all is used up' );
    local $HTML::Mason::Commands::m = bless {}, 'Request';
    is( $deadline->Remaining, 10, 'the next request begins anew' );
}
done_testing;

package Request;
sub notes { my ( $self, $name, @value ) = @_; $self->{$name} = $value[0] if @value; return $self->{$name} }
