#!/usr/bin/perl
# Presigned links, in a real RT 5: what a browser gets by one is what RT itself would have served, and no less safe.
use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode      qw(decode encode);
use FindBin;
use HTML::Entities qw(decode_entities);
use LWP::UserAgent;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Disposition qw(parse);
use Rts3::Test::Needs       qw(needs_library needs_rt needs_s3);

my $s3      = needs_s3;
my %storage = ( Type => 'AmazonS3', Bucket => 'att', $s3->options, Region => 'eu-central-1' );
my $linking = 'Set($ExternalStorageDirectLink, 1); Set($ExternalStorageCutoffSize, 100);';
my $rt      = needs_rt( config => $linking, storage => { %storage, DirectLink => 'presigned' } );
my $anybody = LWP::UserAgent->new( max_redirect => 0 );

my $text  = "Größe, façade, ½\n" x 30;
my $html  = "<html><body>Größe<script>document.title = 'ran'</script></body></html>\n" x 5;
my @files = (
    { name => 'utf8.txt',   type => 'text/plain', charset => 'UTF-8',      content => encode( 'UTF-8',      $text ) },
    { name => 'latin1.txt', type => 'text/plain', charset => 'ISO-8859-1', content => encode( 'iso-8859-1', $text ) },
    { name => 'latin1.htm', type => 'text/html',  charset => 'ISO-8859-1', content => encode( 'iso-8859-1', $html ) },
    { name => 'latin1.csv', type => 'text/csv',   charset => 'ISO-8859-1', content => encode( 'iso-8859-1', $text ) },
    { name => 'utf8.csv',   type => 'text/csv',              content => encode( 'UTF-8', $text ) },
    { name => 'data.xml',   type => 'application/xml',       content => encode( 'UTF-8', "<a>ö</a>\n" ) },
    { name => 'page.xhtml', type => 'application/xhtml+xml', content => encode( 'UTF-8', $html ) },
    { name => 'sign.svg',   type => 'image/svg+xml',         content => '<svg onload="alert(1)"></svg>' x 10 },
    { name => 'a.pdf',      type => 'application/pdf',       content => "%PDF-1.7\n\xe2" },
    { name => 'photo.png',  type => 'image/png',             content => "\x89PNG\xff" x 50 },
    { name => 'same.bin',   content => "\x89PNG\xff" x 50 },
    { name => 'Übersicht "2026" <ö> שלום.png', type => 'image/png', content => "\x89PNG\xfe" x 50 },
);
my @values = (
    { name => 'Vertrag "ü".pdf', type => 'application/pdf', content => '%PDF-value' },
    { name => 'value.html',      type => 'text/html',       content => encode( 'UTF-8', $html ) },
    { name => 'value.txt',       type => 'text/plain',      content => encode( 'UTF-8', $text ) . 'value' },
    { name => 'value.png',       type => 'image/png',       content => "\x89PNG\xfd" x 50 },
);
$rt->create_custom_field( Scan  => 'Binary' );
$rt->create_custom_field( Photo => 'Image' );
$_->{disposition} = 'inline' for @files;    # else RT shows no image
my %fields = ( Scan => [ @values[ 0 .. 2 ] ], Photo => $values[3] );
my $ticket = $rt->create_ticket( attachments => \@files, fields => \%fields );
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments');
is( $exit, 0, "RT's externalizer" ) or diag $err;

for my $file (@files) {
    my ($attachment) = grep { ( $_->{name} // '' ) eq $file->{name} } @{ $ticket->{attachments} };
    @{$file}{qw(class id)} = ( 'RT::Attachment', $attachment->{id} );
    $file->{path} = "/Ticket/Attachment/$ticket->{transaction}/$attachment->{id}/x";
}
for my $file (@values) {
    my ($value) = grep { decode( 'UTF-8', $_->{Content} ) eq $file->{name} } $rt->field_value_rows;
    @{$file}{qw(class id)} = ( 'RT::ObjectCustomFieldValue', $value->{id} );
    $file->{path} = "/Download/CustomFieldValue/$value->{id}/x";
}

# ---- what the objects have, for those who follow a public link

my %stored = (
    'text/plain'      => encode( 'UTF-8',      $text ),
    'text/html'       => encode( 'UTF-8',      $html ),
    'text/csv'        => encode( 'iso-8859-1', $text ),
    'application/xml' => encode( 'UTF-8',      "<a>ö</a>\n" ),
    'image/png'       => $files[-1]{content},
);
my ($native) = needs_library->open( %storage, DirectLink => 'presigned' );
for my $type ( sort keys %stored ) {
    my $answer = $anybody->get( scalar $native->direct_url( sha256_hex( $stored{$type} ) ) );
    is( $answer->header('Content-Type'), $type, "stored as $type" );
}

# Text as characters, everything else as bytes
sub read_as {
    my ( $type, $charset, $bytes ) = @_;
    return ( $type // '' ) =~ m{^text/|/(?:xml|xhtml\+xml)} ? decode( $charset || 'UTF-8', $bytes ) : $bytes;
}

my $link_of = <<'END';
    return map {
        my $object = $_->{class}->new( RT->SystemUser );
        $object->Load( $_->{id} );
        $object->{values}{contenttype} = $_->{other} if exists $_->{other};
        $object->{values}{filename}    = $_->{named} if exists $_->{named};
        RT->System->ExternalStorageURLFor($object);
    } @_;
END

# ---- beside what RT itself serves

# Type, character set, disposition, and text or bytes
sub what {
    my ($answer) = @_;
    my ( $type, $charset ) = $answer->header('Content-Type') =~ /^([^;\s]+)(?:\s*;\s*charset=(\S+))?/;
    return {
        type    => $type,
        shown   => ( $answer->header('Content-Disposition') // '' ) =~ /^attachment/ ? 0 : 1,
        content => read_as( $type, $charset, $answer->content ),
    };
}

my %always = map { $_ => 1 } qw(same.bin);                                    # no browser shows it anyway
my %active = map { $_ => 1 } qw(latin1.htm data.xml page.xhtml value.html);
for my $trust ( 0, 1 ) {
    my $trusted = $trust ? ', HTML trusted' : '';
    $rt->set_config("$linking Set(\$TrustHTMLAttachments, $trust);");
    my @everything = ( @files, @values );
    my @links      = $rt->call( $link_of, @everything );
    my $web        = $rt->start_web( workers => 1 )->login;
    for my $file (@everything) {
        my $name = encode( 'UTF-8', $file->{name} );
        my $link = shift @links;
        my $got  = $anybody->get( $link // '' );
        is( $got->code, 200, "$name$trusted: a link" ) or next;
        my ( $ours, $own ) = ( what($got), what( $web->get( $file->{path} ) ) );
        is( $ours->{type}, $own->{type}, "... the type that RT says, $own->{type}" );
        my $shown = $always{ $file->{name} } || ( $trust && $active{ $file->{name} } ) ? 0 : $own->{shown};
        is( $ours->{shown}, $shown, $shown ? '... to be shown' : '... a download' );
        my $sent = read_as( @{$file}{qw(type charset content)} );
        ok( $ours->{content} eq $sent, '... and the content that was sent' );
        is( ( parse( $got->header('Content-Disposition') ) || {} )->{name}, $file->{name}, '... with its name' );
        like( $link, qr{\A[A-Za-z0-9\-_.~%/?&=:]{1,1999}\z}, '... safe in HTML' );
    }
    $rt->stop_web;
}

# ---- every type

my $plain    = [ 'text/plain; charset=utf-8', 'inline' ];
my $download = sub { return [ $_[0], 'attachment' ] };
my $unknown  = $download->('application/octet-stream');
my $word     = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document';
my %rule     = (
    'text/plain'                               => $plain,
    'TEXT/CSV'                                 => [ 'TEXT/CSV; charset=utf-8', 'inline' ],
    'image/png'                                => [ 'image/png',               'inline' ],
    'image/png; name="a<b>.png"'               => [ 'image/png',               'inline' ],
    'audio/mpeg'                               => [ 'audio/mpeg',              'inline' ],
    'video/mp4'                                => [ 'video/mp4',               'inline' ],
    'application/octet-stream'                 => $unknown,
    $word                                      => $download->($word),
    'text/html'                                => [ $plain, $download->('text/html; charset=utf-8') ],
    'TEXT/HTML;charset=utf-8'                  => [ $plain, $download->('TEXT/HTML; charset=utf-8') ],
    'text/xml'                                 => [ $plain, $download->('text/xml; charset=utf-8') ],
    'application/xml'                          => [ $plain, $download->('application/xml') ],
    'application/xhtml+xml'                    => [ $plain, $download->('application/xhtml+xml') ],
    'image/svg+xml'                            => $download->('image/svg+xml'),
    'Image/SVG+xml'                            => $download->('Image/SVG+xml'),
    'application/pdf'                          => $download->('application/pdf'),
    'application/rss+xml'                      => $download->('application/rss+xml'),
    'text/javascript'                          => $download->('text/javascript; charset=utf-8'),
    'image/svg'                                => $download->('image/svg'),
    'text/html-sandboxed'                      => [ $plain, $download->('text/html-sandboxed; charset=utf-8') ],
    'text/x-server-parsed-html'                => $download->('text/x-server-parsed-html; charset=utf-8'),
    'application/x-shockwave-flash'            => $download->('application/x-shockwave-flash'),
    'multipart/x-mixed-replace'                => $download->('multipart/x-mixed-replace'),
    'multipart/related'                        => $download->('multipart/related'),
    'message/rfc822'                           => $download->('message/rfc822'),
    'x-application-rt/gnupg; original-type="t' => $download->('x-application-rt/gnupg'),
    ''                                         => $plain,
    ' text/html'                               => $unknown,
    'text/html,text/plain'                     => $unknown,
    "image/png\r\nSet-Cookie: a=b"             => $unknown,
    'text/plain"><script>'                     => $unknown,
    "text/pl\x{e4}in"                          => $unknown,
    'nonsense'                                 => $unknown,
);
my @types = sort keys %rule;

sub served_as {
    my ( $file, $config ) = @_;
    $rt->set_config("$linking $config");
    my @objects = map { my %object = ( %{$file}, other => $_ ); \%object } @types;
    my @links   = $rt->call( $link_of, @objects );
    my %served;
    for my $type (@types) {
        my $answer = $anybody->get( shift @links );
        $served{$type} =
            [ $answer->header('Content-Type'), parse( $answer->header('Content-Disposition') )->{kind} ];
    }
    return %served;
}

my ($png) = grep { $_->{name} eq 'photo.png' } @files;
for my $trust ( 0, 1 ) {
    for my $file ( $png, $values[-1] ) {
        my %served = served_as( $file, "Set(\$TrustHTMLAttachments, $trust);" );
        for my $type (@types) {
            my $expected = ref $rule{$type}[0] ? $rule{$type}[$trust] : $rule{$type};
            my $what     = "$file->{class}, '" . encode( 'UTF-8', $type ) =~ s/\s/ /gr . q{'};
            is_deeply( $served{$type}, $expected, $what . ( $trust ? ', HTML trusted' : '' ) );
        }
    }
}
my %served = served_as( $png, 'Set($AlwaysDownloadAttachments, 1);' );
is_deeply( [ grep { $served{$_}[1] ne 'attachment' } @types ], [], 'AlwaysDownloadAttachments: all are downloads' );
is( $served{'image/png'}[0], 'image/png', '... of their types' );

my ($charset) = $rt->call( $link_of, { %{ $values[-1] }, other => 'text/plain; charset=latin1' } );
is( $anybody->get($charset)->header('Content-Type'), 'text/plain; charset=latin1', "a value's own character set" );

# ---- names that only a database can have

my %named = (
    "a\0b.png"         => 'ab.png',
    "\x{d800}.png"     => "\x{fffd}.png",
    "\x{110000}.png"   => "\x{fffd}.png",
    "../a\\b\r\nc.png" => '.._a_bc.png',
    "\0"               => undef,
    ''                 => undef,
);
my @odd      = sort keys %named;
my @requests = map { my %object = ( %{$png}, named => $_ ); \%object } @odd;
for my $link ( $rt->call( $link_of, @requests ) ) {
    my $name = shift @odd;
    my $got  = parse( $anybody->get( $link // '' )->header('Content-Disposition') );
    is( $got->{name}, $named{$name}, 'named ' . join ' ', map { sprintf '%x', ord } split //, $name );
}

# ---- in RT's pages

$rt->set_config($linking);
my $web     = $rt->start_web( workers => 1 )->login;
my $page    = $web->get("/Helpers/TicketHistory?id=$ticket->{id}")->decoded_content;
my $display = $web->get("/Ticket/Display.html?id=$ticket->{id}")->decoded_content;

# The names of the files that the page's links and images lead to
sub names {
    my ( $html, $attribute ) = @_;
    my %found;
    while ( $html =~ /<(?:a|img)\b[^>]*\b$attribute="([^"]*X-Amz-Signature[^"]*)"/g ) {
        my $answer = $anybody->get( decode_entities($1) );
        $found{ ( parse( $answer->header('Content-Disposition') ) || { name => $answer->status_line } )->{name} } = 1;
    }
    my @names = sort keys %found;
    return @names;
}
my @names  = sort map { $_->{name} } @files;
my @images = sort map { $_->{name} } grep { ( $_->{type} // '' ) =~ /^image/ } @files;
is_deeply( [ names( $page, 'href' ) ], \@names,  "a ticket's history links to each of its files in the bucket" );
is_deeply( [ names( $page, 'src' ) ],  \@images, '... and shows each image from there' );
my @linked = names( $display, 'href' );
for my $value (@values) {
    ok( ( grep { $_ eq $value->{name} } @linked ), encode( 'UTF-8', "its page links to the value $value->{name}" ) );
}
is_deeply( [ names( $display, 'src' ) ], ['value.png'], '... and shows the image' );
done_testing;
