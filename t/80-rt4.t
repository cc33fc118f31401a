#!/usr/bin/perl
# RT 4.4, as Debian has it: its own rt-externalize-attachments, and what a failed Get does there.
use strict;
use warnings;

use Encode ();
use FindBin;
use LWP::UserAgent;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Demo::Files;
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs needs_s3);
use Rts3::Test::RT;

needs( Rts3::Test::RT->missing(4) );
my $s3     = needs_s3( public => ['att'] );
my $cutoff = 1000;
my $config = "Set(\$ExternalStorageCutoffSize, $cutoff);\nSet(\$MaxInlineBody, 0);\n"
    . "Set(\%Crypt, Enable => 1, AllowEncryptDataInDB => 1);\nSet(\%GnuPG, Enable => 1);\n";
my %storage = (
    Type   => 'AmazonS3',
    Bucket => 'att',
    $s3->options,
    Retries  => 0,
    Deadline => 3,
);
my $rt     = Rts3::Test::RT->new( version => 4, config => $config, storage => \%storage );
my $script = 'rt-externalize-attachments-4';
like( $rt->call('return $RT::VERSION'), qr/^4\.4\./, 'RT ' . $rt->call('return $RT::VERSION') );

my $text  = Encode::encode( 'UTF-8', "Gr\x{f6}\x{df}e: \x{6f22}\x{5b57} and \x{1f512}\n" x 200 );
my @files = (
    { name => 'one.bin',    content => "\0" },
    { name => '1MB.bin',    content => Rts3::Test::Demo::Files::noise(1_000_000) },
    { name => 'utf8.txt',   type    => 'text/plain',      content => $text, charset => 'UTF-8' },
    { name => 'a.pdf',      type    => 'application/pdf', content => Rts3::Test::Demo::Files::pdf() },
    { name => 'scan.png',   type    => 'image/png',       content => Rts3::Test::Demo::Files::png( 100, 80 ) },
    { name => 'small.text', type    => 'text/plain',      content => "small\n", charset => 'UTF-8', stays => 1 },
);
my @values = (
    { name => 'contract.pdf', type => 'application/pdf', content => "%PDF\0\xff" x 300 },
    { name => 'photo.png',    type => 'image/png',       content => Rts3::Test::Demo::Files::png( 120, 90 ) },
);
my $ticket = $rt->call( <<'END', \@files, \@values );
    my ( $files, $values ) = @_;
    Rts3::Test::RT::Inside::create_custom_field( $_, $_ ) for qw(Binary Image);
    return Rts3::Test::RT::Inside::create_ticket(
        content     => 'BODY-OF-THE-MAIL ' . 'b' x 2000 . "\n",
        attachments => $files,
        fields      => { Binary => $values->[0], Image => $values->[1] },
    );
END

for my $file (@files) {
    my ($attachment) = grep { ( $_->{name} // '' ) eq $file->{name} } @{ $ticket->{attachments} };
    $file->{id} = $attachment->{id} or BAIL_OUT("RT did not take $file->{name}");
}
$values[$_]{id} = $_ + 1 for 0 .. $#values;

# ---- RT's own script

my ( $exit, $out, $err ) = $rt->run_script($script);
is( $exit,       0,  "RT's own $script" );
is( $out . $err, '', '... has nothing to say' );
my %row = map { $_->{id} => $_ } $rt->attachment_rows;
for my $file (@files) {
    my $got = $rt->attachment( $file->{id} );
    ok( $got->{bytes} eq $file->{content}, "$file->{name}, byte for byte" );
    if ( $file->{stays} ) {
        isnt( $row{ $file->{id} }{ContentEncoding}, 'external', '... from the database' );
        next;
    }
    is( $got->{encoding}, 'external', '... from S3' );
    ok( $s3->content( 'att', $row{ $file->{id} }{Content} ) eq $file->{content}, '... where the object is the file' );
}
for my $value (@values) {
    my $got = $rt->field_value( $value->{id} );
    ok( $got->{bytes} eq $value->{content}, "the value $value->{name}, byte for byte" );
    is( $got->{encoding}, 'external', '... from S3' );
}
is( $rt->attachment( $files[2]{id} )->{content}, Encode::decode( 'UTF-8', $text ), 'text comes as characters' );

my @objects = $s3->objects('att');
$s3->clear_log;
my $rows = [ $rt->attachment_rows, $rt->field_value_rows ];
($exit) = $rt->run_script($script);
is( $exit,                                            0, 'a second run' );
is( scalar $s3->requests( operation => 'PutObject' ), 0, '... sends nothing' );
is_deeply( [ $s3->objects('att') ],                         \@objects, '... the same objects' );
is_deeply( [ $rt->attachment_rows, $rt->field_value_rows ], $rows,     '... and the same rows' );

# ---- direct links

my %kind = ( public => [], presigned => [ DirectLink => 'presigned', Region => 'us-east-1' ] );
for my $kind ( sort keys %kind ) {
    $rt->set_storage( %storage, @{ $kind{$kind} } );
    $rt->set_config("$config\nSet(\$ExternalStorageDirectLink, 1);");
    my @objects = (
        ( map { [ 'RT::Attachment',             $_->{id} ] } @files ),
        ( map { [ 'RT::ObjectCustomFieldValue', $_->{id} ] } @values )
    );
    my @links = $rt->call( <<'END', @objects );
        return map {
            my $object = $_->[0]->new( RT->SystemUser );
            $object->Load( $_->[1] );
            RT->System->ExternalStorageURLFor($object);
        } @_;
END
    for my $file ( @files, @values ) {
        my $link = shift @links;
        if ( $file->{stays} || ( $kind eq 'public' && ( $file->{type} // '' ) =~ /pdf/ ) ) {
            is( $link, undef, "$file->{name}: no $kind link" );
            next;
        }
        my $answer = LWP::UserAgent->new->get( $link // '' );
        is( $answer->code, 200, "$file->{name}: a $kind link" );
        ok( $answer->content eq $file->{content}, '... to the file' );
        like( $answer->header('Content-Disposition'), qr/filename="\Q$file->{name}\E"/, '... with its name' )
            if $kind eq 'presigned';
    }
}
$rt->set_storage(%storage);
$rt->set_config($config);

# ---- Encrypt and Decrypt

my ($pdf) = grep { $_->{name} eq 'a.pdf' } @files;
my $refused = $rt->call( <<'END', $pdf->{id} );
    my $attachment = RT::Attachment->new( RT->SystemUser );
    $attachment->Load(@_);
    my @encrypt = $attachment->Encrypt;
    $attachment->__Set( Field => 'ContentType', Value => 'x-application-rt/gnupg-encrypted; original-type="text/plain"' );
    my @decrypt = $attachment->Decrypt;
    $attachment->__Set( Field => 'ContentType', Value => 'application/pdf' );
    return [ \@encrypt, \@decrypt ];
END
my $kept = 'This attachment is kept in external storage and cannot be';
is_deeply( $refused->[0], [ 0, "$kept encrypted in the database" ], 'Encrypt is refused' );
is_deeply( $refused->[1], [ 0, "$kept decrypted in the database" ], 'Decrypt is refused' );
ok( $rt->attachment( $pdf->{id} )->{bytes} eq $pdf->{content}, '... and the file is still there' );

# ---- the web

my $web = $rt->start_web( workers => 1 )->login;
my %url = (
    attachment     => "/Ticket/Attachment/$ticket->{transaction}/$pdf->{id}/a.pdf",
    headers        => "/Ticket/Attachment/WithHeaders/$pdf->{id}",
    'self-service' => "/SelfService/Attachment/$ticket->{transaction}/$pdf->{id}/a.pdf",
    value          => "/Download/CustomFieldValue/$values[0]{id}/contract.pdf",
    'REST 1.0'     => "/REST/1.0/ticket/$ticket->{id}/attachments/$pdf->{id}/content",
);
my $page = "/Helpers/TicketHistory?id=$ticket->{id}";
ok( $web->get( $url{attachment} )->content eq $pdf->{content}, 'downloaded: the file' );
ok( $web->get( $url{value} )->content eq $values[0]{content},  '... the custom field value' );
like( $web->get($page)->decoded_content, qr/BODY-OF-THE-MAIL/, "the ticket's history shows its text" );

sub look {
    my ( $how, $code ) = @_;
    for my $what ( sort keys %url ) {
        $rt->clear_log;
        my $answer = $web->get( $url{$what} );
        is( $answer->code, $code, "$how, $what: $code" );
        like(
            $answer->decoded_content,
            qr/This file (?:cannot be read from|is missing from) the file storage/,
            '... a plain sentence'
        );
        is( $answer->header('Cache-Control'),       'no-store', '... not to be kept' );
        is( $answer->header('Content-Disposition'), undef,      '... no Content-Disposition' );
        like( $rt->log_text, qr/\[error\].*GET \w{64} in bucket att.*reference/, '... and the log says more' );
    }
    is( $web->get("/Ticket/Display.html?id=$ticket->{id}")->code, 200, "$how: the ticket's page appears" );
    my $shown = $web->get($page);
    is( $shown->code, 200, '... its history too' );
    like( $shown->decoded_content, qr/a\.pdf/, '... with the name of the file' );
    unlike( $shown->decoded_content, qr/BODY-OF-THE-MAIL/, '... without the text' );
    like( $shown->decoded_content, qr/<i>This text (?:cannot be read|is missing) from/, '... as it says' );
    return;
}

$s3->stop;
look( 'server down', 503 );
$s3->restart;
$web->recovers( $url{attachment} );
ok( $web->get( $url{attachment} )->content eq $pdf->{content}, 'the server is back: the file again' );
rename $s3->root . '/att/' . $_, $s3->root . '/' . $_ or die "$_: $!" for @objects;
look( 'objects gone', 404 );
rename $s3->root . '/' . $_, $s3->root . '/att/' . $_ or die "$_: $!" for @objects;

my $shown = $web->get('/Admin/Tools/Configuration.html');
is( $shown->code, 200, 'the System Configuration page' );
my $secret = $s3->secret_key;
unlike( $shown->decoded_content, qr/\Q$secret\E/, '... shows no secret' );
my ($options) = $shown->decoded_content =~ /(SecretAccessKey.{1,80})/s;
like( $options // '', qr/SecretAccessKey.{1,40}Password(?:&nbsp;| )not/s, '... says that it does not' );
my $id = $s3->access_key;
like( $shown->decoded_content, qr/ExternalStorage.*\Q$id\E/s,        '... and shows the rest' );
like( $shown->decoded_content, qr/WebDomain.*Loaded perl modules/si, '... and all its other parts' );
$rt->stop_web;

# ---- mail

sub mail_again {
    $rt->clear_mails;
    $rt->clear_log;
    $rt->call( <<'END', $ticket->{id}, $pdf->{id} );
        my $ticket = RT::Ticket->new( RT->SystemUser );
        $ticket->Load( $_[0] );
        my $mail = MIME::Entity->build( From => 'root@localhost', Subject => 'again', Data => 'see the old file' );
        $mail->head->add( 'RT-Attach', $_[1] );
        my ($ok) = $ticket->Correspond( MIMEObj => $mail );
        $ticket->Forward( To => 'forward@example.com' );
        return $ok;
END
    return $rt->mails;
}
$s3->stop;
is( scalar( grep {/a\.pdf/} mail_again() ), 0, 'server down: no mail with an empty file' );
like(
    $rt->log_text,
    qr/\[error\].*Mail not sent \(ticket #$ticket->{id}, to [^)]*root\@localhost/,
    '... as the log says'
);
like( $rt->log_text, qr/\[error\].*Mail not sent \(ticket #$ticket->{id}, to [^)]*forward\@example/, '... of each' );
$s3->restart;
like( join( '', mail_again() ), qr/see the old file.*a\.pdf/s, 'the server is back: mail with the file' );

# ---- a tool

$s3->stop;
( $exit, $out, $err ) =
    $rt->perl( 'my $a = RT::Attachment->new( RT->SystemUser ); $a->Load(@ARGV); print length $a->Content',
    $pdf->{id} );
isnt( $exit, 0, 'server down: a tool ends' );
like( $out . $err, qr/^GET \w{64} in bucket att [^\n]*\[network/m, '... with the reason' );
$s3->restart;

# ---- rt-s3

$rt->call(q{Rts3::Test::RT::Inside::create_ticket( attachments => [ { name => 'new.bin', content => "\0new" } ] )});
( $exit, $out, $err ) = $rt->run_tool('externalize');
is( $exit . $err, '0', 'rt-s3 externalize' );
like( $out, qr/^[1-9]\d* moved .* 0 failed$/m, '... moves what is new' );
( $exit, $out, $err ) = $rt->run_tool(qw(verify --deep --quiet));
is( "$exit$out$err", '0', '... rt-s3 verify finds nothing' );
( $exit, $out ) = $rt->run_tool('check');
my @problems = $out =~ /^problem\s+(\S+)/mg;
is_deeply( \@problems, ['public:'], '... rt-s3 check that this bucket is public, and no other problem' );

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);
unlike( slurp("/usr/sbin/$script"), qr/rts3/i, "and RT's own script" );
done_testing;
