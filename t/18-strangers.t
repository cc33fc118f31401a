#!/usr/bin/perl
# Types and file names of a stranger's e-mail can't write a header, nor into a link.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use MIME::Base64 qw(encode_base64);
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Needs qw(needs_library needs_rt needs_s3);

delete @ENV{ grep {/_proxy$/i} keys %ENV };
my $native  = needs_library;
my $s3      = needs_s3;
my %options = ( $s3->options );
$s3->make_bucket('files');

my %expected_header = map { $_ => 1 }
    qw(accept content-length content-type host x-amz-date x-amz-content-sha256 authorization
    user-agent if-none-match content-disposition);

my @types = (
    "text/plain\r\nx-amz-acl: public-read",
    "text/plain\r\n\r\nDELETE /files HTTP/1.1\r\nHost: x\r\n\r\n",
    "text/plain\nx-amz-acl: public-read",
    "text/plain\rx-amz-acl: public-read",
    "\r\nx-amz-acl: public-read",
    "text/plain\r\n x-amz-acl: public-read",
    ( map { sprintf "text/%cplain", $_ } 1 .. 31, 127 ),
    "text/pl\x{e4}n",
    "text/\x{2028}plain\x{85}x-amz-acl: a",
    "text/\x{6f22}\x{1f512}",
    "text/\xff\xfe",
    'text/' . 'x' x 10_000,
    'plain',
    '"image',
);
my @nul = ( "text/plain\0", "text/plain\0\r\nx-amz-acl: public-read", "\0" );

# Header values all the same, but no types: a browser would look at the content and may find HTML in it
my @no_types = (
    '<script>alert(1)</script>', 'image/<script>alert(1)</script>',
    '"image/png', ':/text/html', '/', 'text /plain'
);

sub shown { my ($text) = @_; return substr( $text, 0, 60 ) =~ s/([^ -~])/sprintf '\\x{%x}', ord $1/ger }

sub only_known_headers {
    my ( $name, @requests ) = @_;
    my @unknown = map {
        grep { !$expected_header{$_} }
            sort keys %{ $_->{headers} }
    } @requests;
    return is_deeply( \@unknown, [], $name );
}

subtest 'types that would be headers' => sub {
    my ($handle) = $native->open( %options, Bucket => 'files' );
    $handle->drain;
    my $count = 0;
    for my $type ( @types, @no_types ) {
        my $name  = shown($type);
        my $bytes = 'content ' . $count++;
        my $sha   = sha256_hex($bytes);
        $s3->clear_log;
        my ( $stored, $error ) = $handle->store( $sha, $bytes, content_type => $type );
        is( $stored,                       $sha,   "'$name': stored" ) or diag $error->message;
        is( $s3->content( 'files', $sha ), $bytes, '... whole' );
        my @requests = $s3->requests;
        is( @requests, 1, '... with one request' );
        only_known_headers( '... no additional header', @requests );
        my @messages = map {"@$_"} $handle->drain;
        is( $requests[0]{headers}{'content-type'}, 'application/octet-stream', '... a harmless type' );
        like( join( "\n", @messages ), qr/\Awarning .*Content-Type .* can't be sent[^\n]*\z/, '... a warning' );
        unlike( join( ' ', @messages ), qr/\p{Control}/, '... on one line' );
    }
    for my $type (@nul) {
        my ( undef, $error ) = $handle->store( sha256_hex('x'), 'x', content_type => $type );
        is( $error->name, 'argument', "'" . shown($type) . "' can't be given to the library" );
    }
};

# ---- the same in RT

my @parts = (
    qq{Content-Type: image/<script>alert(1)</script>; name="<img src=x onerror=alert(1)>.png"},
    qq{Content-Type: "image/png\n x-amz-acl:public-read"},
    qq{Content-Type: image/p\x01ng; name="a\x01b\x7f.png"},
    qq{Content-Type: image/png\r x-amz-acl: public-read},
    qq{Content-Type: image/png; name="=?UTF-8?B?YQ0KeC1hbXotYWNsOiBwdWJsaWMtcmVhZA==?="},
    qq{Content-Type: =?utf-8?Q?image/png=0D=0Ax-amz-acl:_public-read?=},
    qq{Content-Type: application/} . 'x' x 300,
    qq{Content-Type: application/\xc3\xa4; name="\xff\xfe"},
    qq{Content-Type: application/x\0-evil},
    qq{Content-Type: image/png\nContent-Disposition: attachment;}
        . qq{ filename*=utf-8''..%2F%22%3E%3Csvg%20onload%3Dx%3E%0D%0Ax-amz-acl%3A%20public-read%00.png},
    qq{Content-Type: image/png\nContent-Disposition: attachment; filename="a b\\"c'd&e\tf.png"},
);
my ($no_type) = map {"the part $_"} grep { $parts[$_] =~ /\0/ } 0 .. $#parts;
my @names     = ( qq{"><script>alert(1)</script>.png}, "a\r\nx-amz-acl: public-read.png", "'\t\x{2028}\x{85} .png" );
my @values    = map { { name => 'v.bin', type => $_ } } @types, @nul, @no_types;
push @values, map { { name => $_, type => 'image/png' } } @names;
$values[$_]{content} = "the value $_" for 0 .. $#values;

sub mail {
    my $mail = "From: root\@localhost\nTo: rt\@example.test\nSubject: hostile\nMIME-Version: 1.0\n"
        . "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee below.\n";
    $mail .= "--b\n$parts[$_]\nContent-Transfer-Encoding: base64\n\n" . encode_base64("the part $_") for 0 .. $#parts;
    return "$mail--b--\n";
}

subtest 'through RT' => sub {
    $s3->make_bucket('att');
    my $rt = needs_rt(
        config  => 'Set($ExternalStorageDirectLink, 1); Set($ExternalStorageCutoffSize, 1);',
        storage => { %options, Type => 'AmazonS3', Bucket => 'att' },
    );
    $rt->call( <<'END', mail(), \@values );
        my ( $mail, $values ) = @_;
        my ( $ok, $message, $ticket ) =
            RT::Interface::Email::Gateway( { message => $mail, queue => 'General', action => 'correspond' } );
        die "no mail: $message" if !$ok || !$ticket || !$ticket->id;
        my $field = RT::CustomField->new( RT->SystemUser );
        $field->Create( Name => 'File', Type => 'Binary', MaxValues => 0, LookupType => 'RT::Queue-RT::Ticket' );
        $field->AddToObject( RT::Queue->new( RT->SystemUser ) );
        for my $value (@$values) {
            my ( $id, $why ) = $ticket->AddCustomFieldValue( Field => 'File', Value => $value->{name},
                LargeContent => $value->{content}, ContentType => $value->{type} );
            die $why if !$id;
        }
END
    $s3->clear_log;
    my ( $exit, $out, $err ) = $rt->run_script('rt-externalize-attachments-5');
    is( $exit . $out . $err, '0', "RT's externalizer" );
    only_known_headers( 'no additional header', my @puts = $s3->requests );
    cmp_ok( scalar @puts, '>=', @parts + @values, 'all were sent' );
    my $log = $rt->log_text;
    my %warned;
    $warned{$1}++ while $log =~ /^\[(\d+)\] \[[^\]]+\] \[warning\]: [^\n]*option Host begins with http:/gm;
    is_deeply( [ grep { $_ != 1 } values %warned ], [], 'http was warned about once in each process' );
    cmp_ok( scalar keys %warned, '>', 1, '... in all of them' );
    is( () = $log =~ /\[error\]/g, 0, 'no error' );
    cmp_ok( scalar( () = $log =~ /\[warning\]: [^\n]*Content-Type '.*can't be sent/g ), '>', 30,
        'warnings of types' );

    my $read =
        $rt->call( <<'END', [ map { $_->{id} } $rt->attachment_rows ], [ map { $_->{id} } $rt->field_value_rows ] );
        my ( $attachments, $values ) = @_;
        my @found;
        for ( [ 'RT::Attachment', @$attachments ], [ 'RT::ObjectCustomFieldValue', @$values ] ) {
            my ( $class, @ids ) = @$_;
            for my $id (@ids) {
                my $object = $class->new( RT->SystemUser );
                $object->Load($id);
                push @found, {
                    encoding => $object->ContentEncoding,
                    bytes    => $class =~ /Att/ ? $object->OriginalContent : $object->LargeContent,
                    link     => scalar RT->System->ExternalStorage->DownloadURLFor($object),
                    shown    => scalar RT->System->ExternalStorageURLFor($object),
                };
            }
        }
        return \@found;
END
    my %found = map { $_->{bytes} => $_ } @$read;
    for my $expected ( ( map {"the part $_"} 0 .. $#parts ), map { $_->{content} } @values ) {
        my $name = shown($expected);
        ok( $found{$expected}, "$name: byte for byte" ) or next;
        is( $found{$expected}{encoding}, 'external', '... from S3' );
        next if $expected eq $no_type;   # RT takes it for text of the character set that it guesses, and stores UTF-8
        ok( ( $s3->content( 'att', sha256_hex($expected) ) // '' ) eq $expected, '... where it is whole' );
    }
    my @links = grep {defined} map { @$_{qw(link shown)} } @$read;
    cmp_ok( scalar @links, '>', 10, 'links' );
    is_deeply( [ grep { !m{\Ahttp://[\w.:]+/att/[0-9a-f]{64}\z} } @links ], [],
        '... with nothing of a name or type' );
};

done_testing;
