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

my $link = $rt->call( $links . <<'END', @ids );
    $link{page}   = RT->System->ExternalStorageURLFor( $object{attachment} );
    $link{nobody} = do {
        my $denied = RT::Attachment->new( RT->Nobody );
        $denied->Load($id);
        $storage->DownloadURLFor($denied);
    };
    my @others = ( undef, '', 'RT::Attachment', [], {}, RT->System, RT->SystemUser, RT::Attachment->new( RT->SystemUser ),
        bless( {}, 'RT::Attachment' ), bless( [], 'RT::ObjectCustomFieldValue' ), sub { } );
    $link{others} = [ map { eval { [ $storage->DownloadURLFor($_) ] } || 'died' } @others ];
    $link{none}   = [ eval { $storage->DownloadURLFor } ];
    return \%link;
END
is( $link->{attachment}, $s3->http . "/att/$key",  'an attachment' );
is( $link->{page},       $link->{attachment},      '... also by way of RT' );
is( $link->{field},      $s3->http . "/att/$scan", 'a custom field value' );
is( $link->{text},       undef,                    'what is in the database: none' );
is( $link->{nobody},     undef,                    'nor for a user who may not see it' );
is_deeply( $_,            [undef], 'anything else: undef, and no exception' ) for @{ $link->{others} };
is_deeply( $link->{none}, [undef], 'nothing at all, too' );
unlike( $link->{attachment}, qr{[^A-Za-z0-9\-_.~%/?&=:]}, 'safe in HTML, whatever the file is called' );
is( $s3->connections, 0, 'no connection' );

# ---- as RT's own backend makes them

$rt->set_storage(%storage);
is(
    $rt->call( "$links return \\%link;", @ids )->{attachment},
    "https://att.s3.amazonaws.com/$key",
    'Amazon: the same URL as ever'
);

# ---- RT's rules

my %rule = (
    'text/plain'                                                              => [ 1, 1 ],
    'image/png'                                                               => [ 1, 1 ],
    'image/png; name="a<b>.png"'                                              => [ 1, 1 ],
    'application/octet-stream'                                                => [ 1, 1 ],
    'application/vnd.openxmlformats-officedocument.wordprocessingml.document' => [ 1, 1 ],
    'text/html'                                                               => [ 0, 1 ],
    'TEXT/HTML; charset=utf-8'                                                => [ 0, 1 ],
    'application/xhtml+xml'                                                   => [ 0, 1 ],
    'text/xml'                                                                => [ 0, 1 ],
    'application/xml'                                                         => [ 0, 1 ],
    'image/svg+xml'                                                           => [ 0, 0 ],
    'Image/SVG+xml'                                                           => [ 0, 0 ],
    'application/pdf'                                                         => [ 0, 0 ],
    'application/rss+xml'                                                     => [ 0, 0 ],
    'text/javascript'                                                         => [ 0, 0 ],
    'application/x-shockwave-flash'                                           => [ 0, 0 ],
    'multipart/x-mixed-replace'                                               => [ 0, 0 ],
    ' text/html'                                                              => [ 0, 0 ],
    'text/html,text/plain'                                                    => [ 0, 0 ],
    'nonsense'                                                                => [ 0, 0 ],
    ''                                                                        => [ 0, 0 ],
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
    $rt->set_config("Set(\$ExternalStorageDirectLink, 1);\nSet(\$TrustHTMLAttachments, $trust);");
    my $answer = $rt->call( $by_type, @ids, [ sort keys %rule ] );
    for my $type ( sort keys %rule ) {
        my $expected = $rule{$type}[$trust];
        is_deeply(
            $answer->{$type},
            [ $expected, $expected ],
            "'$type'" . ( $trust ? ', HTML trusted' : '' ) . ': ' . ( $expected ? 'a link' : 'RT serves it' )
        );
    }
}
$rt->set_config("Set(\$ExternalStorageDirectLink, 1);\nSet(\$AlwaysDownloadAttachments, 1);");
is( $rt->call( "$links return \\%link;", @ids )->{attachment},
    undef, 'AlwaysDownloadAttachments: RT serves all of them' );

# ---- in RT's pages

$rt->set_config('Set($ExternalStorageDirectLink, 1);');
$rt->set_storage( %storage, Host => $s3->http );
my $web = $rt->start_web( workers => 1 );
eval { $web->login };
my $page = $web->get('/Helpers/TicketHistory?id=1')->decoded_content;
like( $page, qr{\Q$link->{attachment}\E}, "a ticket's history links to the bucket" );
done_testing;
