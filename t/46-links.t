#!/usr/bin/perl
# DownloadURLFor: what gets a direct link, in a real RT 5.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3 = needs_s3;
my %storage =
    ( Type => 'AmazonS3', Bucket => 'att', AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );
my $rt = needs_rt(
    config  => 'Set($ExternalStorageDirectLink, 1);',
    storage => { %storage, Host => $s3->http }
);
$rt->create_custom_field( 'Scan', 'Binary' );
my $awkward = qq{\x{dc}bersicht "2026" <final>.png};
my $file    = { name => $awkward, type => 'image/png', content => "png\0" x 10 };
$rt->create_ticket( attachments => [$file], fields => { Scan => { %$file, content => "scan\0" } } );

# Rows as RT's externalizer leaves them, without the objects: a link needs no network
$rt->dbh->do( q{UPDATE Attachments SET ContentEncoding = 'external', Content = ? WHERE ContentType = 'image/png'},
    undef, my $key = sha256_hex( "png\0" x 10 ) );
$rt->dbh->do( q{UPDATE ObjectCustomFieldValues SET ContentEncoding = 'external', LargeContent = ?},
    undef, my $scan = sha256_hex("scan\0") );
my ($attachment) = grep { $_->{Content} eq $key } $rt->attachment_rows;
my ($text)       = grep { $_->{ContentEncoding} ne 'external' } $rt->attachment_rows;
my ($value)      = $rt->field_value_rows;

my $links = <<'END';
    my ( $id, $field, $text ) = @_;
    my %object = (
        attachment => RT::Attachment->new( RT->SystemUser ),
        field      => RT::ObjectCustomFieldValue->new( RT->SystemUser ),
        text       => RT::Attachment->new( RT->SystemUser ),
    );
    $object{attachment}->Load($id);
    $object{field}->Load($field);
    $object{text}->Load($text) if $text;
    my $storage = RT->System->ExternalStorage;
    my %link    = map { $_ => $storage->DownloadURLFor( $object{$_} ) } keys %object;
END
my @ids = ( $attachment->{id}, $value->{id}, $text->{id} );

my $odd = $links . <<'END';
    $link{page}   = RT->System->ExternalStorageURLFor( $object{attachment} );
    $link{nobody} = do {
        my $denied = RT::Attachment->new( RT->Nobody );
        $denied->Load($id);
        $storage->DownloadURLFor($denied);
    };
    my $changed = sub {
        my ( $column, $value ) = @_;
        my $other = RT::Attachment->new( RT->SystemUser );
        $other->Load($id);
        $other->{values}{$column} = $value;
        return $other;
    };
    @Dies::ISA  = 'RT::Attachment';
    @Wide::ISA  = 'RT::ObjectCustomFieldValue';
    *Dies::ContentEncoding = sub { die { a => 'reference' } };
    *Wide::ContentEncoding = sub {'external'};
    *Wide::__Value         = sub { ( $!, $? ) = ( 13, 7 ); die "cannot say\n" };
    *Liar::isa             = sub { die "isa\n" };
    $link{dashboard} = do {
        no warnings 'once';
        local $HTML::Mason::Commands::r = bless {}, 'RT::Dashboard::FakeRequest';
        $storage->DownloadURLFor( $object{field} );
    };
    my @others = (
        undef, '', 0, 'RT::Attachment', 'f' x 64, [], {}, \*STDOUT, qr/a/, sub { }, \my $scalar,
        RT->System, RT->SystemUser, RT::Ticket->new( RT->SystemUser ),
        RT::Attachment->new( RT->SystemUser ), RT::ObjectCustomFieldValue->new( RT->SystemUser ),
        bless( {}, 'RT::Attachment' ), bless( [], 'RT::ObjectCustomFieldValue' ), bless( sub { }, 'RT::Attachment' ),
        bless( {}, 'Nothing' ), bless( {}, 'Liar' ), bless( {}, 'Dies' ), bless( {}, 'Wide' ),
        ( map { $changed->( content => $_ ) } undef, '', 'A' x 64, 'a' x 63, 'a' x 65, 'a' x 64 . "\n", '../' . 'a' x 61 ),
        ( map { $changed->( contentencoding => $_ ) } undef, '', 'none', 'base64', 'External' ),
    );
    my $caught = 0;
    local $SIG{__DIE__} = sub { $caught++ };
    my %signals = %SIG;
    my @state;
    for my $object ( @object{qw(attachment text)}, @others ) {
        $@ = 'before';
        ( $!, $? ) = ( 2, 3 );
        my @answer = eval { $storage->DownloadURLFor($object) };
        push @state, join ' ', $! + 0, $?, scalar @answer;
        $@ = 'before';
        $storage->DownloadURLFor($object);
        push @state, $@;
        push @{ $link{others} }, $answer[0];
    }
    splice @{ $link{others} }, 0, 2;
    $link{none}    = [ eval { $storage->DownloadURLFor } ];
    $link{state}   = { map { ( $_ => 1 ) } @state };
    $link{caught}  = $caught;
    $link{signals} = [ grep { ( $SIG{$_} // '' ) ne ( $signals{$_} // '' ) } keys %SIG ];
    $link{count}   = @others;
    return \%link;
END

my $link = $rt->call( $odd, @ids );
is( $link->{attachment}, $s3->http . "/att/$key",  'an attachment' );
is( $link->{field},      $s3->http . "/att/$scan", 'a custom field value' );
unlike( $link->{attachment}, qr{[^A-Za-z0-9\-_.~%/?&=:]}, 'safe in HTML, whatever the file is called' );

$rt->set_storage( %storage, Host => $s3->http, Region => 'us-east-1', DirectLink => 'presigned' );
my $signed = $rt->call( $odd, @ids );
like( $signed->{attachment}, qr{\A\Q$link->{attachment}\E\?\S+Signature=}, 'presigned: an attachment' );
like( $signed->{field},      qr{\A\Q$link->{field}\E\?\S+Signature=},      '... a custom field value' );

is( $link->{dashboard},   $link->{field}, "a dashboard's mail has public links" );
is( $signed->{dashboard}, undef,          '... but none that will be dead soon' );

for my $got ( $link, $signed ) {
    my $kind = $got == $link ? 'public' : 'presigned';
    is( $got->{page},   $got->{attachment}, "$kind: the same by way of RT" );
    is( $got->{text},   undef,              '... what is in the database: none' );
    is( $got->{nobody}, undef,              '... nor for a user who may not see it' );
    my $others = $got->{others};
    is( scalar @{$others}, $got->{count}, '... all the others were tried' );
    is_deeply( [ grep { defined $others->[$_] } 0 .. $#{$others} ], [],      '... anything else: undef' );
    is_deeply( $got->{none},                                        [undef], '... nothing at all, too' );
    is_deeply( $got->{state},   { '2 3 1' => 1, 'before' => 1 }, q{... no exception, and $@, $! and $? as before} );
    is_deeply( $got->{signals}, [],                              '... %SIG, too' );
    is( $got->{caught}, 0, '... whose handlers hear nothing' );
}
is( $s3->connections, 0, 'no connection' );

# ---- what it costs, without RT's own look into its rows

my $cost = $rt->call( <<'END', $key );
    my ($key) = @_;
    my %column = ( Content => $key, Filename => 'scan 1.png', ContentType => 'image/png' );
    @Fast::ISA             = 'RT::Attachment';
    *Fast::ContentEncoding = sub {'external'};
    *Fast::__Value         = sub { $column{ $_[1] } };
    my $storage = RT->System->ExternalStorage;
    my $object  = bless {}, 'Fast';
    my $least;
    for ( 1 .. 5 ) {
        my $begin = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_PROCESS_CPUTIME_ID() );
        $storage->DownloadURLFor($object) for 1 .. 20_000;
        my $spent = Time::HiRes::clock_gettime( Time::HiRes::CLOCK_PROCESS_CPUTIME_ID() ) - $begin;
        $least = $spent if !defined $least || $spent < $least;
    }
    return $least / 20_000 * 1e6;
END
cmp_ok( $cost, '<', 50, sprintf 'a presigned link costs %.1f microseconds', $cost );

# ---- where there can be none

my $unknown = <<'END';
    my ( $id, $field ) = @_;
    my @links = map {
        my $attachment = RT::Attachment->new( RT->SystemUser );
        $attachment->Load($id);
        RT->System->ExternalStorage->DownloadURLFor($attachment);
    } 1 .. 3;
    my ($content) = RT->System->ExternalStorage->Store( Digest::SHA::sha256_hex('a'), 'a' );
    my $attachment = RT::Attachment->new( RT->SystemUser );
    $attachment->Load($id);
    return @links, RT->System->ExternalStorage->DownloadURLFor($attachment);
END
$s3->make_bucket('att');
$rt->set_storage( %storage, Host => $s3->http, DirectLink => 'presigned' );
$rt->clear_log;
my @links = $rt->call( $unknown, @ids );
is_deeply( [ @links[ 0 .. 2 ] ], [ undef, undef, undef ], 'presigned, the region is not known: none' );
my @lines = grep {/no direct link/} split /\n/, $rt->log_text;
is( scalar @lines, 1, '... one line in the log' );
like( $lines[0], qr/\[warning\].*RT serves files itself: no direct link yet: .*set Region/, '... says what to do' );
ok( $links[3], '... until the server has answered' );

$rt->set_storage( %storage, DirectLink => 'presigned', Region => 'us-east-1', DirectLinkHost => 'cdn.example.com' );
$rt->clear_log;
is_deeply( [ ( $rt->call( $unknown, @ids ) )[ 0 .. 2 ] ], [ undef, undef, undef ], 'another host: none' );
like( $rt->log_text, qr/DirectLinkHost makes no sense with DirectLink 'presigned'/, '... as the log says' );

# ---- on RT's own site, where browsers send its cookies

my %site = (
    'http://127.0.0.1:9000'  => [ 1, Host           => 'http://127.0.0.1:9000' ],
    'another option counts'  => [ 0, Host           => 'http://127.0.0.1:9000', DirectLinkHost => 'cdn.example.com' ],
    '127.0.0.1:8443'         => [ 1, DirectLinkHost => '127.0.0.1:8443' ],
    'presigned'              => [ 1, DirectLink     => 'presigned', Host => '127.0.0.1' ],
    'RT.example.com'         => [ 1, DirectLinkHost => 'https://RT.example.com' ],
    'rt.example.com.'        => [ 1, Host           => 'rt.example.com.:8443' ],
    'alias.example.com'      => [ 1, Host           => 'alias.example.com' ],
    'a name below'           => [ 0, DirectLinkHost => 'files.rt.example.com' ],
    'a name above'           => [ 0, Host           => 'example.com' ],
    'the bucket as its name' => [ 1, Host           => 'example.com', Bucket => 'rt', AddressingStyle => 'virtual' ],
    'the bucket before it'   => [ 0, Host           => 'rt.example.com', AddressingStyle => 'virtual' ],
    'a name like it'         => [ 0, Host           => 'xrt.example.com' ],
    'Amazon'                 => [ 0, Region         => 'eu-central-1' ],
    'an empty one'           => [ 0, Host           => '', DirectLinkHost => undef ],
    'no text'                => [ 0, Host           => ['rt.example.com'] ],
);
my $linking = "Set(\$ExternalStorageDirectLink, 1);\n";
my $address = "Set(\$WebBaseURL, 'https://rt.example.com:8443');\nSet(\$WebURL, 'https://alias.example.com/rt/');\n";
$rt->set_config( $linking . $address );
my $own = $rt->call( <<'END', \%site );
    return { map {
        my ( undef, %options ) = @{ $_[0]{$_} };
        ( $_ => defined RT::ExternalStorage::AmazonS3::Link->OwnSite( Bucket => 'att', %options ) ? 1 : 0 );
    } keys %{ $_[0] } };
END
is( $own->{$_}, $site{$_}[0], "$_: " . ( $site{$_}[0] ? 'a warning' : 'none' ) ) for sort keys %site;

sub warnings_for {
    my ( $config, %more ) = @_;
    $rt->set_config($config);
    $rt->set_storage( %storage, %more );
    $rt->clear_log;
    $rt->call('RT->System->ExternalStorage->Init for 1 .. 3; return 1');
    return grep {/\[warning\].*RT's own host name/} split /\n/, $rt->log_text;
}
my @warned = warnings_for( $linking, Host => $s3->http );
is( scalar @warned, 1, 'the warning comes once, however often Init does' );
like(
    $warned[0],
    qr/lead to 127\.0\.0\.1, .*could act in RT .*by the option Host\b/,
    '... names the host and the danger'
);
@warned = warnings_for( $linking, DirectLinkHost => '127.0.0.1:8443' );
like( $warned[0], qr/by the option DirectLinkHost\b/, '... and the option' );
is( scalar warnings_for( $linking, Host => $s3->http =~ s/127.0.0.1/localhost/r ), 0, 'another name: none' );
is( scalar warnings_for( '',       Host => $s3->http ),                            0, 'no direct links: none' );
$rt->set_config($linking);

# ---- as RT's own backend makes them

$rt->set_storage(%storage);
is(
    $rt->call( "$links return \\%link;", @ids )->{attachment},
    "https://att.s3.amazonaws.com/$key",
    'Amazon: the same URL as ever'
);

# ---- RT's rules

my %rule = (
    'text/plain'                                                              => 1,
    'image/png'                                                               => 1,
    'image/png; name="a<b>.png"'                                              => 1,
    'application/octet-stream'                                                => 1,
    'application/vnd.openxmlformats-officedocument.wordprocessingml.document' => 1,
    'text/html'                                                               => 0,
    'TEXT/HTML; charset=utf-8'                                                => 0,
    'application/xhtml+xml'                                                   => 0,
    'text/xml'                                                                => 0,
    'application/xml'                                                         => 0,
    'image/svg+xml'                                                           => 0,
    'Image/SVG+xml'                                                           => 0,
    'application/pdf'                                                         => 0,
    'application/pdfx'                                                        => 0,
    'message/rfc822'                                                          => 0,
    'application/rss+xml'                                                     => 0,
    'text/javascript'                                                         => 0,
    'application/x-shockwave-flash'                                           => 0,
    'multipart/x-mixed-replace'                                               => 0,
    ' text/html'                                                              => 0,
    'text/html,text/plain'                                                    => 0,
    'nonsense'                                                                => 0,
    ''                                                                        => 0,
);
my $by_type = $links . <<'END';
    my %by_type;
    for my $type ( @{ $_[3] } ) {
        for my $object ( @object{qw(attachment field)} ) {
            no warnings 'redefine';
            local $object->{values}{contenttype} = $type;
            push @{ $by_type{$type} }, defined $storage->DownloadURLFor($object) ? 1 : 0;
        }
    }
    return \%by_type;
END
for my $trust ( 0, 1 ) {
    $rt->set_config("${linking}Set(\$TrustHTMLAttachments, $trust);");
    my $answer = $rt->call( $by_type, @ids, [ sort keys %rule ] );
    for my $type ( sort keys %rule ) {
        my $expected = $rule{$type};
        is_deeply(
            $answer->{$type},
            [ $expected, $expected ],
            "'$type'" . ( $trust ? ', HTML trusted' : '' ) . ': ' . ( $expected ? 'a link' : 'RT serves it' )
        );
    }
}
$rt->set_config("${linking}Set(\$AlwaysDownloadAttachments, 1);");
is( $rt->call( "$links return \\%link;", @ids )->{attachment},
    undef, 'AlwaysDownloadAttachments: RT serves all of them' );

# ---- in RT's pages

$rt->set_config($linking);
$rt->set_storage( %storage, Host => $s3->http );
my $web = $rt->start_web( workers => 1 );
eval { $web->login };
my $page = $web->get('/Helpers/TicketHistory?id=1')->decoded_content;
like( $page, qr{\Q$link->{attachment}\E}, "a ticket's history links to the bucket" );
done_testing;
