#!/usr/bin/perl
# RT's own rt-externalize-attachments, unchanged: what it moves into S3 is read back byte for byte.
use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode      ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Demo::Files;
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs_rt needs_s3);

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

my $s3 = needs_s3;

my $script = 'rt-externalize-attachments-5';
my $cutoff = 10_000;
my $rt     = needs_rt(
    config  => "Set(\$ExternalStorageCutoffSize, $cutoff);",
    storage => {
        Type   => 'AmazonS3',
        Bucket => 'attachments',
        $s3->options,
    },
);

# Whether RT moves a file is RT's to say: text and images only above the cutoff, everything else always.
my $utf8_text = Encode::encode( 'UTF-8',      "Größe: 漢字, € und \x{1f512}\n" x 1000 );
my $latin1    = Encode::encode( 'ISO-8859-1', "Größe, façade, ½\r\n" x 1000 );
my $png       = Rts3::Test::Demo::Files::png( 100, 80 );
my $pdf       = Rts3::Test::Demo::Files::pdf();
my @files     = (
    { name => 'one.bin',                      content => "\0" },
    { name => '64k.bin',                      content => join( '', map { chr( $_ % 256 ) } 1 .. 65536 ) },
    { name => '5MB.bin',                      content => Rts3::Test::Demo::Files::noise(5_000_000) },
    { name => 'utf8.txt',                     type => 'text/plain', charset => 'UTF-8',      content => $utf8_text },
    { name => 'latin1.txt',                   type => 'text/plain', charset => 'ISO-8859-1', content => $latin1 },
    { name => 'utf8-as-bytes',                content => $utf8_text },
    { name => 'scan.png',                     type    => 'image/png',       content => $png },
    { name => 'document.pdf',                 type    => 'application/pdf', content => $pdf },
    { name => 'Übersicht "2026" <final>.pdf', type    => 'application/pdf', content => "$pdf\n" },
    { name => 'crlf.html', type => 'text/html', charset => 'UTF-8', content => "<p>x</p>\r\n" x 2000 },

    { name => 'small.txt', stays => 1, type => 'text/plain', charset => 'UTF-8', content => "Größe\n" x 10 },
    { name => 'small.png', stays => 1, type => 'image/png',  content => Rts3::Test::Demo::Files::png( 10, 10 ) },
    { name => 'exact.txt', stays => 1, type => 'text/plain', charset => 'UTF-8', content => 'x' x $cutoff },
);
$_->{charset} //= undef for @files;
utf8::encode( $_->{content} ) for grep { utf8::is_utf8( $_->{content} ) } @files;

my @values = (
    { name => 'contract.pdf',   type    => 'application/pdf', content => "$pdf\n\n" },
    { name => 'one more "<ü>"', content => "\0\xff" x 500 },
    { name => 'photo.png',      type    => 'image/png', content => Rts3::Test::Demo::Files::png( 120, 90 ) },
    { name => 'icon.png',       stays   => 1, type => 'image/png', content => Rts3::Test::Demo::Files::png( 8, 8 ) },
);

my $ticket = $rt->call( <<'END', \@files, \@values );
    my ( $files, $values ) = @_;
    Rts3::Test::RT::Inside::create_custom_field( $_, $_ ) for qw(Binary Image);
    return Rts3::Test::RT::Inside::create_ticket(
        attachments => $files,
        fields      => { Binary => [ @{$values}[ 0, 1 ] ], Image => [ @{$values}[ 2, 3 ] ] },
    );
END
for my $file (@files) {
    my ($attachment) = grep { ( $_->{name} // '' ) eq $file->{name} } @{ $ticket->{attachments} };
    $file->{id} = $attachment->{id} or BAIL_OUT("RT did not take $file->{name}");
}
$values[$_]{id} = $_ + 1 for 0 .. $#values;

sub rows {
    my %rows = map { ( "attachment $_->{id}" => $_ ) } $rt->attachment_rows;
    return { %rows, map { ( "value $_->{id}" => $_ ) } $rt->field_value_rows };
}

sub buckets {
    opendir my $root, $s3->root or die $s3->root . ": $!";
    my @names = grep { !/^\./ } readdir $root;
    closedir $root;
    return @names;
}

# Attributes holds the externalizer's mark
sub whole_database {
    my $dbh = $rt->dbh;
    return { map { $_ => $dbh->selectall_arrayref("SELECT * FROM $_ ORDER BY id") }
            qw(Attachments ObjectCustomFieldValues Attributes) };
}

# All in one process: reading is not what is measured here
sub read_back {
    my ( $attachments, $values ) = $rt->call( <<'END', [ map { $_->{id} } @files ], [ map { $_->{id} } @values ] );
    my ( $attachments, $values ) = @_;
    return [ map { Rts3::Test::RT::Inside::attachment($_) } @{$attachments} ],
        [ map { Rts3::Test::RT::Inside::field_value($_) } @{$values} ];
END
    return ( @{$attachments}, @{$values} );
}

sub same {
    my ( $got, $expected, $what ) = @_;
    return ok( defined $got && $got eq $expected, $what )
        || diag sprintf 'got %s bytes, digest %s; expected %d, %s', length( $got // '' ),
        sha256_hex( Encode::encode( 'UTF-8', $got // '' ) ), length $expected, sha256_hex($expected);
}

subtest '--dry-run changes nothing' => sub {
    my $before = whole_database();
    my ( $exit, $out, $err ) = $rt->run_script( $script, '--dry-run' );
    is( $exit,       0,  'exit code' );
    is( $out . $err, '', 'nothing to say' );
    like( $rt->log_text, qr/Stored RT::Attachments $files[0]{id} as DRY-RUN/, 'it says what it would do' );
    is_deeply( whole_database(), $before, 'the database is what it was' );
    is_deeply( [ buckets() ],    [],      'no bucket' );
    is( scalar $s3->requests( operation => 'PutObject' ), 0, 'nothing was sent' );
};

subtest 'first run, against an empty server' => sub {
    $rt->clear_log;
    my $before = rows();
    my ( $exit, $out, $err ) = $rt->run_script($script);
    is( $exit,       0,  'exit code' );
    is( $out . $err, '', 'nothing to say' );
    is_deeply( [ buckets() ], ['attachments'], 'the bucket was made' );

    my $after = rows();
    is_deeply( [ sort keys %{$after} ], [ sort keys %{$before} ], 'the same rows' );
    my %external;
    for my $file ( @files, @values ) {
        my $of_ticket = defined $file->{charset} || exists $file->{charset};
        my $row       = ( $of_ticket ? 'attachment' : 'value' ) . " $file->{id}";
        my $column    = $of_ticket ? 'Content' : 'LargeContent';
        if ( $file->{stays} ) {
            is_deeply( $after->{$row}, $before->{$row}, "$file->{name} stays where it was" );
            next;
        }
        is( $after->{$row}{ContentEncoding}, 'external', "$file->{name} is external" );
        my $digest = stored_digest($file);
        is( $after->{$row}{$column}, $digest, '... and the row holds its digest' );
        $external{$digest} = 1;
        ok( slurp( $s3->root . "/attachments/$digest" ) eq stored_bytes($file), '... the object is the content' );
    }
    is_deeply( [ sort $s3->objects('attachments') ], [ sort keys %external ], 'the bucket holds these, and no more' );
    is(
        scalar( grep { ( $_->{ContentEncoding} // '' ) eq 'external' } values %{$after} ),
        scalar( grep { !$_->{stays} } @files, @values ),
        'no other row went'
    );
};

# RT keeps text in UTF-8, whatever it came in
sub stored_bytes {
    my $file = shift;
    return $file->{content} unless ( $file->{charset} // '' ) eq 'ISO-8859-1';
    return Encode::encode( 'UTF-8', Encode::decode( 'ISO-8859-1', $file->{content} ) );
}
sub stored_digest { return sha256_hex( stored_bytes(shift) ) }

subtest 'read through RT' => sub {
    my @got = read_back();
    for my $file ( @files, @values ) {
        my $got = shift @got;
        same( $got->{bytes}, $file->{content}, "$file->{name}, byte for byte" );
        is( $got->{name},     $file->{name},                               '... its name' );
        is( $got->{type},     $file->{type} // 'application/octet-stream', '... its type' );
        is( $got->{encoding}, 'external',                                  '... from S3' ) unless $file->{stays};
        next unless defined $file->{charset};
        same( $got->{content}, Encode::decode( $file->{charset}, $file->{content} ), '... and as characters' );
    }
};

subtest 'downloaded from RT' => sub {
    my $web = $rt->start_web( workers => 1 )->login;
    for my $file (@files) {
        my $response = $web->get("/Ticket/Attachment/$ticket->{transaction}/$file->{id}/file");
        is( $response->code, 200, "$file->{name}: the answer" );
        ok( $response->content eq $file->{content}, '... is the file' );
    }
    for my $value (@values) {
        my $response = $web->get("/Download/CustomFieldValue/$value->{id}/file");
        is( $response->code, 200, "$value->{name}: the answer" );
        ok( $response->content eq $value->{content}, '... is the file' );
    }
    $rt->stop_web;
};

subtest 'a second run moves nothing' => sub {
    my $before = whole_database();
    $s3->clear_log;
    my ( $exit, $out, $err ) = $rt->run_script($script);
    is( $exit,                                            0,  'exit code' );
    is( $out . $err,                                      '', 'nothing to say' );
    is( scalar $s3->requests( operation => 'PutObject' ), 0,  'nothing was sent' );
    is_deeply( whole_database()->{Attachments},             $before->{Attachments}, 'the same attachments' );
    is_deeply( whole_database()->{ObjectCustomFieldValues}, $before->{ObjectCustomFieldValues}, 'the same values' );
};

subtest 'the same file in two tickets is one object' => sub {
    my @objects = sort $s3->objects('attachments');
    my %file    = map { $_->{name} => $_ } @files;
    my $big     = $file{'5MB.bin'};
    my @copies  = ( $file{'64k.bin'}, $big, { %{ $file{'document.pdf'} }, name => 'renamed.pdf' } );
    my $second  = $rt->create_ticket( attachments => \@copies );
    my $third   = $rt->reply( $ticket->{id}, attachments => [ $file{'64k.bin'} ] );
    $s3->clear_log;
    my ($exit) = $rt->run_script($script);
    is( $exit, 0, 'exit code' );
    is_deeply( [ sort $s3->objects('attachments') ], \@objects, 'no new object' );
    my %rows = map { $_->{id} => $_ } $rt->attachment_rows;

    for my $attachment ( grep { length( $_->{name} // '' ) } @{ $second->{attachments} }, @{ $third->{attachments} } )
    {
        my $row = $rows{ $attachment->{id} };
        is( $row->{ContentEncoding}, 'external', "$attachment->{name} is external, too" );
        ok( ( grep { $_ eq $row->{Content} } @objects ), '... with an object that was there' );
    }
    is( scalar $s3->requests( operation => 'PutObject', request_bytes => qr/^\d{7,}$/ ),
        0, 'the large one was not sent again' );
    my ($again) = grep { ( $_->{name} // '' ) eq '5MB.bin' } @{ $second->{attachments} };
    same( $rt->attachment( $again->{id} )->{bytes}, $big->{content}, 'and is read from the second ticket' );
};

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);
is( slurp('/usr/sbin/rt-externalize-attachments-5') =~ /rts3/i ? 1 : 0, 0, "and RT's own script" );
my $said = join "\n", grep {/\[(?:error|critical|alert)\]/} split /\n/, $rt->log_text;
is( $said, '', 'no error in the log' );

done_testing;
