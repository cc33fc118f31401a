#!/usr/bin/perl
# What a failed Get does in RT's web interface: with the server down, the object gone, the object damaged.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3 = needs_s3;

my $secret = $s3->secret_key;
my $rt     = needs_rt(
    config  => "Set(\$ExternalStorageCutoffSize, 100);\nSet(\$MaxInlineBody, 0);\n",
    storage => {
        Type            => 'AmazonS3',
        Bucket          => 'att',
        Host            => $s3->http,
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $secret,
        SesionToken     => 'mistyped-token',
        Retries         => 1,
    },
);
$rt->create_custom_field( 'Scan', 'Binary' );
my $pdf    = "%PDF\0" . 'p' x 300;
my $ticket = $rt->create_ticket(
    content     => 'BODY-OF-THE-MAIL ' . 'b' x 300 . "\n",
    attachments => [ { name => 'a.pdf', type => 'application/pdf', content => $pdf } ],
    fields      => { Scan => { name => 's.pdf', type => 'application/pdf', content => "scan\0" . 's' x 200 } },
);
$rt->call( <<'END', $ticket->{id} );
    my $inner = MIME::Entity->build( From => 'a@example.com', Subject => 'inner', Data => 'INNER ' . 'i' x 300 );
    my $outer = MIME::Entity->build( From => 'root@localhost', Subject => 'outer', Type => 'multipart/mixed' );
    $outer->attach( Type => 'text/plain', Data => 'see below' );
    $outer->attach( Type => 'message/rfc822', Data => $inner->as_string, Encoding => '8bit', Filename => 'm.eml' );
    my $ticket = RT::Ticket->new( RT->SystemUser );
    $ticket->Load(@_);
    $ticket->Correspond( MIMEObj => $outer );
END
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit, 0, "RT's externalizer" ) or diag $err;
my ($value) = $rt->field_value_rows;
my %row;
$row{ $_->{ContentType} } //= $_ for $rt->attachment_rows;
is( $row{$_}{ContentEncoding}, 'external', "$_ is external" ) for qw(text/plain application/pdf message/rfc822);
is( $value->{ContentEncoding}, 'external', 'so is the custom field value' );
my ( $text, $file, $message ) = map { $_->{id} } @row{qw(text/plain application/pdf message/rfc822)};
my $txn = $row{'text/plain'}{TransactionId};

my $web = $rt->start_web;
eval { $web->login };
is( $web->get('/')->code, 200, 'logged in' );
like( $web->get('/')->decoded_content, qr/Logout/, '... really' );

my $rest2 = [ Authorization => 'Basic ' . encode_base64( 'root:password', '' ) ];
my %file  = (
    attachment     => "/Ticket/Attachment/$txn/$file/a.pdf",
    message        => "/Ticket/Attachment/$row{'message/rfc822'}{TransactionId}/$message/m.eml",
    headers        => "/Ticket/Attachment/WithHeaders/$file",
    'self-service' => "/SelfService/Attachment/$txn/$file/a.pdf",
    field          => "/Download/CustomFieldValue/$value->{id}/s.pdf",
);
my %rest1 = (
    'rest 1 attachment' => "/REST/1.0/attachment/$file/content",
    'rest 1 ticket'     => "/REST/1.0/ticket/$ticket->{id}/attachments/$file/content",
);
my $history = "/Helpers/TicketHistory?id=$ticket->{id}";
my $quote   = "/Ticket/Update.html?id=$ticket->{id}&Action=Respond&QuoteTransaction=$txn";

my @stored = $s3->objects('att');
my %backup = map { $_ => $s3->content( 'att', $_ ) } @stored;

# ---- all is well

is( $web->get( $file{attachment} )->content, $pdf,                 'the file, byte for byte' );
is( $web->get( $file{field} )->content,      "scan\0" . 's' x 200, 'the custom field value' );
like( $web->get( $file{message} )->content, qr/INNER i{300}/,     'the message' );
like( $web->get($history)->decoded_content, qr/BODY-OF-THE-MAIL/, 'the history shows the text' );
like( $web->get($quote)->decoded_content,   qr/BODY-OF-THE-MAIL/, 'the reply quotes it' );

# ---- trouble

sub look {
    my ( $how, $code ) = @_;
    for my $what ( sort keys %file ) {
        $rt->clear_log;
        my $start  = time;
        my $answer = $web->get( $file{$what} );
        refused( "$how: $what", $answer, $code );
        cmp_ok( time - $start, '<', 12, '... within 12 s' );
        unlike( $answer->header('Content-Disposition') // '', qr/./, '... no Content-Disposition' );
        like( $answer->header('Content-Type'), qr{^text/html},      '... an HTML page' );
        like( $answer->decoded_content,        qr/<title>RT Error/, "... of RT's own" );
    }
    for my $what ( sort keys %rest1 ) {
        $rt->clear_log;
        my $answer = $web->get( $rest1{$what} );
        refused( "$how: $what", $answer, $code );
        like( $answer->content,                qr{^RT/\S+ $code }, '... in the first line, too' );
        like( $answer->header('Content-Type'), qr{^text/plain},    '... as text' );
    }
    my $list = $web->get("/REST/1.0/ticket/$ticket->{id}/attachments");
    is( $list->code, 503, "$how: REST 1.0's list of attachments, which measures them" );

    for my $path ( "/REST/2.0/attachment/$file", "/REST/2.0/download/cf/$value->{id}" ) {
        $rt->clear_log;
        my $answer = $web->get( $path, @$rest2 );
        is( $answer->code, $code == 503 ? 503 : 500, "$how: $path" );
        unlike( $answer->content, qr/bucket|127\.0\.0\.1/, '... says nothing of the bucket' );
        like( $answer->content, qr/\A\{"message":"$SENTENCE::ANY[^"]+\(Reference: [0-9A-F]{8}\)"\}\z/,
            '... but why' );
        is( $answer->header('Cache-Control'), 'no-store', '... not to be kept' );
        my @files = grep { defined $answer->header($_) } qw(Content-Disposition ETag Last-Modified);
        is( "@files", '', '... without the headers of the file' );
        like( $rt->log_text, qr/\[error\].* in bucket att /, '... the log does' );
    }

    $rt->clear_log;
    my $shown = $web->get($history);
    is( $shown->code, 200, "$how: the history is shown" );
    like( $shown->decoded_content, qr/a\.pdf/, '... with the name of the file' );
    unlike( $shown->decoded_content, qr/BODY-OF-THE-MAIL/, '... without the text' );
    like( $rt->log_text, qr/Failed to load \w{64} from external storage: .* in bucket att /, '... and RT logs why' );

    $rt->clear_log;
    my $form = $web->get($quote);
    like( $form->decoded_content, qr/$SENTENCE::ANY/, "$how: a form that quotes the text is an error" );
    unlike( $form->decoded_content, qr{</textarea>}, '... and has no field with an empty quote' );

    my $page = $web->get("/Ticket/ShowEmailRecord.html?id=$ticket->{id}&Transaction=$txn&Attachment=$text");
    refused( "$how: a page that is the text", $page, 503 );
    return;
}

sub refused {
    my ( $name, $answer, $code ) = @_;
    is( $answer->code, $code, "$name: $code" );
    like( $answer->header('Cache-Control'), qr/no-store/, '... not to be kept' );
    unlike( $answer->header('Cache-Control'), qr/max-age=[1-9]/, '... nowhere' );
    if ( $code == 503 ) { like( $answer->header('Retry-After'), qr/^\d+$/, '... Retry-After' ) }
    else                { is( $answer->header('Retry-After'), undef, '... no Retry-After' ) }
    my $text = $answer->decoded_content;
    $text =~ s/&#(\d+);/chr $1/ge;
    like( $text, $SENTENCE::ANY, '... a plain sentence' );
    my ($reference) = $text =~ /Reference: ([0-9A-F]{8})/;
    ok( $reference, '... with a reference' ) or return;
    unlike( $text, qr/bucket att|\b[0-9a-f]{64}\b/, '... nothing of bucket and key' );
    my ($line) = grep {/\[error\].*reference \Q$reference\E/} split /\n/, $rt->log_text;
    like( $line // '', qr/GET \w{64} in bucket att/, '... which the log explains' );
    return;
}
BEGIN { $SENTENCE::ANY = qr/This file (?:cannot be read from|is missing from) the file storage/ }

$s3->stop;
look( 'server down', 503 );
$s3->restart;

# A web server that has not read anything yet can't know whether the bucket is the right one
$web = $rt->start_web( workers => 1 );
eval { $web->login };
unlink map { $s3->object_path( 'att', $_ ) } @stored;
is( $web->get( $file{attachment} )->code, 503, 'a 404 before anything was read may be a wrong bucket: 503' );
restore( @stored[ 0 .. 0 ] );
prove_bucket();
look( 'object gone', 404 );

restore(@stored);
for my $key (@stored) {
    open my $object, '+<:raw', $s3->object_path( 'att', $key ) or die $!;
    print {$object} 'X';
    close $object or die $!;
}
look( 'object damaged', 404 );

restore(@stored);
is( $web->get( $file{attachment} )->content, $pdf, 'the object is back: the file again' );

# ---- an outage is paid for once in a request

$s3->freeze;
$rt->set_storage( %{ $rt->{storage} }, ReadTimeout => 2, Deadline => 3, Retries => 0 );
$web = $rt->start_web( workers => 1 );
eval { $web->login };
my $start = time;
is( $web->get($history)->code, 200, 'a history with texts that hang' );
cmp_ok( time - $start, '<', 8, '... takes no longer than Deadline, however many there are' );
$s3->thaw;

# ---- the secret

for my $page ( '/Admin/Tools/Configuration.html', '/Admin/Tools/EditConfig.html' ) {
    my $answer = $web->get($page);
    is( $answer->code, 200, $page );
    my $shown = $answer->decoded_content;
    unlike( $shown, qr/\Q$secret\E|mistyped-token/, '... shows no secret' );
    next if $page !~ /Configuration/;
    like( $shown, qr/SecretAccessKey.{1,40}Password(?:&nbsp;| )not/s, '... says that it does not' );
    like( $shown, qr/ExternalStorage.*@{[ $s3->access_key ]}/s,       '... and shows the rest' );
}
done_testing;

sub restore {
    my (@keys) = @_;
    for my $key (@keys) {
        open my $object, '>:raw', $s3->object_path( 'att', $key ) or die $!;
        print {$object} $backup{$key};
        close $object or die $!;
    }
    return;
}

# The one worker reads something
sub prove_bucket {
    my ($row)        = grep { $backup{$_} } $stored[0];
    my ($attachment) = grep { $_->{Content} eq $row } $rt->attachment_rows;
    my $path         = $attachment ? "/Ticket/Attachment/WithHeaders/$attachment->{id}" : $file{field};
    is( $web->get($path)->code, 200, 'something was read out of the bucket' );
    unlink $s3->object_path( 'att', $stored[0] );
    return;
}
