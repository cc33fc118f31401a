#!/usr/bin/perl
# RT's Encrypt and Decrypt would overwrite the digest in an external row: refused.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3 = needs_s3;
my $rt = needs_rt(
    config  => "Set(\%Crypt, Enable => 1, AllowEncryptDataInDB => 1);\nSet(\%GnuPG, Enable => 1);\n",
    storage => {
        Type   => 'AmazonS3',
        Bucket => 'att',
        $s3->options,
    },
);
$rt->create_ticket( attachments => [ { name => 'a.bin', content => 'a' x 100 } ] );
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit, 0, "RT's externalizer" ) or diag $err;
my ($external) = grep { $_->{ContentEncoding} eq 'external' } $rt->attachment_rows;
my ($inside)   = grep { $_->{ContentEncoding} ne 'external' } $rt->attachment_rows;
ok( $external && $inside, 'an attachment in the bucket, one in the database' );

my $answer = $rt->call( <<'END', $external->{id}, $inside->{id} );
    my @attachments = map { my $a = RT::Attachment->new( RT->SystemUser ); $a->Load($_); $a } @_;
    my %answer;
    $answer{encrypt} = [ map { [ $_->Encrypt ] } @attachments ];
    $answer{decrypt} = [ map { [ $_->Decrypt ] } @attachments ];
    $attachments[0]->__Set( Field => 'ContentType', Value => 'x-application-rt/gnupg-encrypted; original-type="text/plain"' );
    $answer{encrypted} = [ [ $attachments[0]->Encrypt ], [ $attachments[0]->Decrypt ] ];
    my $wrapper = \&RT::Attachment::Encrypt;
    RT->Config->PostLoadCheck for 1 .. 3;
    $answer{once}   = $wrapper == \&RT::Attachment::Encrypt ? 1 : 0;
    my $nobody = RT::Attachment->new( RT->Nobody );
    $nobody->Load( $_[0] );
    $answer{nobody} = [ $nobody->Encrypt ];
    $answer{length} = [ map { $_->ContentLength } @attachments ];
    return \%answer;
END
my $kept = 'This attachment is kept in external storage and cannot be';
is_deeply( $answer->{encrypt}[0], [ 0, "$kept encrypted in the database" ], 'external: Encrypt is refused' );
is(
    $answer->{encrypt}[1][1],
    'No key suitable for encryption',
    "the other one: RT's own answer, here for want of a key"
);
is( $answer->{decrypt}[$_][1], 'Is not encrypted', "Decrypt of what is not encrypted: RT's own answer" ) for 0, 1;
is_deeply( $answer->{encrypted}[0], [ 1, 'Already encrypted' ], "Encrypt of what is encrypted: RT's own answer" );
is_deeply(
    $answer->{encrypted}[1],
    [ 0, "$kept decrypted in the database" ],
    'external and encrypted: Decrypt is refused'
);
is( $answer->{once}, 1, 'Init again: wrapped once' );
is_deeply( $answer->{nobody}, [ 0, 'Permission Denied' ], "who may not see it gets RT's own answer" );
is( $answer->{length}[0], 100, 'ContentLength is as before' );
my ($after) = grep { $_->{id} == $external->{id} } $rt->attachment_rows;
is( $after->{Content}, $external->{Content}, 'the row still holds the digest' );

# ---- as a user sees it

my $web = $rt->start_web( workers => 1 );
eval { $web->login };
$rt->dbh->do( 'UPDATE Attachments SET ContentType = ? WHERE id = ?',  undef, 'text/plain',      $external->{id} );
$rt->dbh->do( 'UPDATE Attachments SET ContentType = ? WHERE id <> ?', undef, 'multipart/mixed', $external->{id} );
my $page = $web->get("/Ticket/Crypt.html?id=$external->{TransactionId}&Encrypt=1");
is( $page->code, 200, "RT's page" );
like( $page->decoded_content, qr/\Q$kept\E encrypted/, '... shows the refusal' );
($after) = grep { $_->{id} == $external->{id} } $rt->attachment_rows;
is( $after->{Content}, $external->{Content}, '... and the row still holds the digest' );
done_testing;
