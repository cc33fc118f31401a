#!/usr/bin/perl
# Presigned links: whatever a file is called, the link is safe in HTML and short, and the name that arrives is the one
# that was sent.
use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Disposition qw(cleaned parse);
use Rts3::Test::Needs       qw(needs_library needs_s3);

my $native = needs_library;
my $token  = 'T/+=' . 'a' x 700;    # temporary keys make every link longer
my %server = ( '' => needs_s3, ', temporary keys' => needs_s3( session_token => $token ) );
my $agent  = HTTP::Tiny->new( max_redirect => 0 );

my $content = "%PDF-1.7\n";
my $key     = $native->sha256($content);
my %handle;
for my $keys ( keys %server ) {
    my %options = ( $server{$keys}->options, Region => 'us-east-1', DirectLink => 'presigned' );
    $options{SessionToken} = $token if $keys;
    ( $handle{$keys}, my $error ) = $native->open( Bucket => 'att', %options );
    die $error if !$handle{$keys};
    $server{$keys}->make_bucket('att');
    $handle{$keys}->store( $key, $content, content_type => 'application/pdf' );
}

# What is wrong with a link to a file of this name, or undef
sub wrong {
    my ( $from, $name, $kind ) = @_;
    my ( $url, $error ) =
        $from->direct_url( $key, file_name => $name, content_type => 'image/png', disposition => $kind );
    return "no link: $error"                 if !$url;
    return "not safe in HTML: $url"          if $url =~ m{[^A-Za-z0-9\-_.~%/?&=:]};
    return length($url) . ' characters long' if length $url >= 2000;

    my $answer = $agent->get($url);
    return "the server answers $answer->{status}: $answer->{content}" if $answer->{status} != 200;
    return 'other content'                                            if $answer->{content} ne $content;
    return "type $answer->{headers}{'content-type'}" if $answer->{headers}{'content-type'} ne 'image/png';
    my $header = $answer->{headers}{'content-disposition'};
    my $got    = parse($header) or return "not by RFC 6266: $header";
    return "it is $got->{kind}" if $got->{kind} ne $kind;
    return wrong_name( $got, cleaned($name), length $url );
}

# A name is whole, unless it would make the URL too long: then it is cut, and keeps its extension.
sub wrong_name {
    my ( $got, $sent, $length ) = @_;
    my ( $name, $plain ) = @{$got}{qw(name plain)};
    if ( !defined $sent ) {
        return defined $name || defined $plain ? 'a name where there is none' : undef;
    }
    return 'no name' if !defined $name || !defined $plain;
    if ( $name ne $sent ) {
        my $extension = extension($sent);
        my $stem      = substr $name, 0, length($name) - length $extension;
        return 'another name'     if !length $stem || index( $sent, $stem ) != 0;
        return 'no extension'     if $name !~ /\Q$extension\E\z/;
        return "cut at a $length" if $length < 1950;
    }
    my $expected = $name =~ tr/ !#-$&-[]-~/_/cr;
    return $plain eq $expected ? undef : "plain: '$plain', not '$expected'";
}

sub extension {
    my ($name)  = @_;
    my ($found) = $name =~ /.(\.[^.]*)\z/s or return '';
    utf8::encode( my $bytes = $found );
    return length $bytes <= 16 ? $found : '';
}

# ---- chosen ones

my %name = (
    'plain'               => 'report.png',
    'quotes'              => q{"a" 'b'.png},
    'angle brackets'      => '<script>alert(1)</script>.png',
    'an end of the value' => q{a"; filename="b.exe},
    'newlines'            => "a\r\nSet-Cookie: x=1\r\n\r\n<html>.png",
    'NUL alone is left'   => 'a%00b.png',
    'percent signs'       => '100%41%2f%.png',
    'backslashes'         => 'C:\\Temp\\"x\\".png',
    'a path'              => '../../etc/passwd',
    'marks of direction'  => "invoice\x{202e}gnp.exe\x{202c}\x{200f}",
    'Hebrew'              => "\x{5d3}\x{5d5}\x{5d7} \x{5e9}\x{5e0}\x{5ea}\x{5d9}.png",
    'emoji'               => "\x{1f512}\x{1f468}\x{200d}\x{1f4bb}.png",
    'latin 1'             => "\x{dc}bersicht \x{df}.png",
    'what looks encoded'  => "\x{c3}\x{bc}.png",
    'reserved by Windows' => 'CON',
    'its characters'      => 'a:b*c?d|e.png',
    'dots at the end'     => 'a.png...',
    'dots at the begin'   => '...a',
    'blanks around'       => '  a.png  ',
    'none'                => undef,
    'empty'               => '',
    'dots only'           => '..',
    'a newline only'      => "\n",
    '300 characters'      => 'x' x 296 . '.png',
    '300 of Hebrew'       => "\x{5d0}" x 295 . '.docx',
    '300 of emoji'        => "\x{1f512}" x 300,
    'a long extension'    => 'a.' . 'x' x 1500,
    'plus and blanks'     => 'a+b c&d=e#f.png',
);
for my $what ( sort keys %name ) {
    my $chosen = $name{$what};
    utf8::upgrade($chosen) if defined $chosen;
    is( wrong( $handle{''}, $chosen, 'attachment' ), undef, $what );
}
my ( undef, $error ) = $handle{''}->direct_url( $key, file_name => "a\0b" );
is( $error && $error->name, 'argument', 'NUL is for the caller to remove' );

# ---- and a thousand that nobody thought of

my @pieces = (
    ( map { chr hex } qw(22 27 3c 3e 26 25 5c 2f 3b 2c 3d 3a 2a 3f 7c 23 2b 40 60 7e 20 2e) ),
    ( map { chr hex } qw(01 07 09 0a 0b 0d 1b 7f 80 85 9f a0 ad) ),
    ( map { chr hex } qw(61c 200b 200d 200e 200f 2028 2029 202a 202d 202e 2066 2069 feff fffd fffe e000 10ffff) ),
    ( map { chr hex } qw(e4 df 5d0 5ea 627 6f22 301 1f512 1f468 e0041) ),
    qw(../ ..\\ CON nul. %00 %0d%0a &quot; '' filename="x" <b> .tar.gz .png),
    "\r\n",
    ' .a',
    ( map { 'a' x $_ } 30,       300 ),
    ( map { "\x{5e9}" x $_ } 30, 300 ),
);
my $seed = srand( $ENV{RTS3_TEST_SEED} // 20_261_125 );

sub generated {
    return join '', map { rand() < 0.4 ? chr( 97 + rand 26 ) : $pieces[ rand @pieces ] } 1 .. 1 + rand 24;
}
for my $keys ( sort keys %handle ) {
    my @wrong;
    for my $kind (qw(inline attachment)) {
        for ( 1 .. 250 ) {
            my $name = generated();
            utf8::upgrade($name);
            my $wrong = wrong( $handle{$keys}, $name, $kind ) // next;
            push @wrong, "$wrong: " . join ' ', map { sprintf '%x', ord } split //, substr $name, 0, 100;
        }
    }
    is( scalar @wrong, 0, "500 generated names$keys (seed $seed)" ) or diag join "\n", splice @wrong, 0, 3;
}
done_testing;
