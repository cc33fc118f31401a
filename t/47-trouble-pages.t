#!/usr/bin/perl
# What RT's pages and downloads do while S3 is in trouble: a real RT 5 with its web server, every kind of trouble against
# every kind of page, for attachments and for custom field values. Where each pair of them is seen:
#
#                                    down, missing, damaged          slow, denying, misconfigured
#   pages that show a ticket         47 (the history alone: 41, too) 47
#   downloads, REST 1.0, REST 2      41; by a customer: 47           47
#   forms that quote a text          41                              47
#   mail: a forward, a reply         48 (without the web: 42)        48
#   mail: dashboards                 48                              48
#   RT's indexer, serializer,        49 (a tool that reads: 42)      49
#   externalizer
#   code that calls Get itself       42                              49 (misconfigured: 40)
use strict;
use warnings;

use FindBin;
use JSON         qw(encode_json);
use MIME::Base64 qw(decode_base64 encode_base64);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_rt needs_s3);

use constant { DEADLINE => 2, LOADED_MACHINE => 4 };

my $bucket  = 'rts3-bucket-47';
my $s3      = needs_s3;
my %storage = (
    Type   => 'AmazonS3',
    Bucket => $bucket,
    $s3->options,
    Deadline    => DEADLINE,
    ReadTimeout => 1,
    Retries     => 0,
);
my $rt = needs_rt(
    config => <<'END',
Set($ExternalStorageCutoffSize, 100);
Set($MaxInlineBody, 0);
Set($ShowHistory, 'always');
Set($RecordOutgoingEmail, 0);
END
    storage => {%storage},
);

# ---- a ticket with eight external texts, a file, a text that stays in the database, two custom field values

my $texts   = 8;
my %content = ( pdf => "%PDF\0" . 'p' x 300, scan => "scan\0" . 's' x 200, picture => "picture\0" . 'i' x 200 );
my $ticket  = $rt->call( <<'END', \%content, "STAYS-IN-THE-DATABASE\n", map { text($_) } 1 .. $texts );
    my ( $content, $small, $text, @texts ) = @_;
    my $user = RT::User->new( RT->SystemUser );
    my ( $ok, $message ) =
        $user->Create( Name => 'customer', EmailAddress => 'customer@example.com', Password => 'password' );
    die $message if !$ok;
    my $everyone = RT::Group->new( RT->SystemUser );
    $everyone->LoadSystemInternalGroup('Everyone');
    $everyone->PrincipalObj->GrantRight( Right => $_, Object => RT->System )
        for qw(ShowTicket SeeQueue SeeCustomField ReplyToTicket);

    Rts3::Test::RT::Inside::create_custom_field( Scan    => 'Binary' );
    Rts3::Test::RT::Inside::create_custom_field( Picture => 'Image' );
    my $ticket = Rts3::Test::RT::Inside::create_ticket(
        subject     => 'SUBJECT-OF-THE-TICKET',
        requestor   => 'customer@example.com',
        content     => $text,
        attachments => [ { name => 'a.pdf', type => 'application/pdf', content => $content->{pdf} } ],
        fields      => {
            Scan    => { name => 's.pdf', type => 'application/pdf', content => $content->{scan} },
            Picture => { name => 'p.png', type => 'image/png',       content => $content->{picture} },
        },
    )->{id};
    Rts3::Test::RT::Inside::reply( $ticket, content => $_ ) for $small, @texts;
    return $ticket;
END
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit, 0, "RT's externalizer" ) or diag $err;

my @rows  = $rt->attachment_rows;
my ($pdf) = grep { $_->{ContentType} eq 'application/pdf' } @rows;
my ( $text, @others ) = grep { $_->{ContentType} eq 'text/plain' && $_->{ContentEncoding} eq 'external' } @rows;
my %value = map { $_->{ContentType} => $_ } $rt->field_value_rows;
my ( $scan, $picture ) = @value{qw(application/pdf image/png)};
is( $_->{ContentEncoding}, 'external', "$_->{ContentType} is external" ) for $pdf, $scan, $picture;
is( @others, $texts - 1, 'so are the texts' );

my %backup = map { $_ => $s3->content( $bucket, $_ ) } $s3->objects($bucket);
is( keys %backup, $texts + 3, 'each in an object of its own' );

# ---- who asks: by (a user), path, and what is to be seen where all is well

my %file = (
    attachment      => { path => "/Ticket/Attachment/$pdf->{TransactionId}/$pdf->{id}/a.pdf" },
    'with headers'  => { path => "/Ticket/Attachment/WithHeaders/$pdf->{id}",    like => qr/\n\n\Q$content{pdf}\E/ },
    field           => { path => "/Download/CustomFieldValue/$scan->{id}/s.pdf", want => $content{scan} },
    'image field'   => { path => "/Download/CustomFieldValue/$picture->{id}/p.png", want => $content{picture} },
    'by a customer' => { by => 'customer', path => "/SelfService/Attachment/$pdf->{TransactionId}/$pdf->{id}/a.pdf" },
    'rest 1, ticket'   => { path => "/REST/1.0/ticket/$ticket/attachments/$pdf->{id}/content", rest => 1 },
    'rest 1, its file' => { path => "/REST/1.0/attachment/$pdf->{id}/content",                 rest => 1 },
);
my @seen_in_41 = grep { $_ ne 'by a customer' && $_ ne 'image field' } keys %file;

# What is seen in any case
my @history    = ( qr/STAYS-IN-THE-DATABASE/, qr/a\.pdf/, qr/s\.pdf added/ );
my @whole_page = ( @history, qr/SUBJECT-OF-THE-TICKET/, qr{</html>\s*\z} );

my %page = (
    ticket       => { path => "/Ticket/Display.html?id=$ticket" },
    helper       => { path => "/Helpers/TicketHistory?id=$ticket",    shows => \@history },
    self_service => { path => "/SelfService/Display.html?id=$ticket", by    => 'customer' },
);

# Pages that can't do without a text: forms that quote it, and those that are no element called Show...
my $export = '/Search/Results.tsv?Class=RT::Transactions&ObjectType=RT::Ticket&Query=';
my %form   = (
    'reply, quoting' => "/Ticket/Update.html?id=$ticket&Action=Respond&QuoteTransaction=$text->{TransactionId}",
    'mobile history' => "/m/ticket/history?id=$ticket",
    'export'         => $export . "Type%3D'Create'&Format='__id__','__Content__'",
    'customer reply' => "/SelfService/Update.html?id=$ticket&QuoteTransaction=$text->{TransactionId}",
);

my @password = ( Authorization => 'Basic ' . encode_base64( 'root:password', '' ) );
my %rest2    = (
    attachment => { path => "/REST/2.0/attachment/$pdf->{id}", want => $content{pdf}, json => 1 },
    field => { path => "/REST/2.0/download/cf/$scan->{id}",                                want => $content{scan} },
    list  => { path => "/REST/2.0/ticket/$ticket/attachments?fields=Content&per_page=100", like => qr/"Content"/ },
);

# ---- troubles: what the log says, how it begins and ends

my %trouble = (
    down    => { says => 'network|unavailable', begin => sub { $s3->stop },   end => sub { $s3->restart } },
    slow    => { says => 'timeout|unavailable', begin => sub { $s3->freeze }, end => sub { $s3->thaw } },
    denying => {
        says  => 'denied',
        begin => sub { $s3->faults( { operation => 'GetObject', do => { answer => denied() } } ) },
        end   => sub { $s3->faults },
        asked => 1,
    },
    misconfigured => {
        says  => 'no-bucket',
        begin => sub { start( %storage, Bucket => "${bucket}x" ) },
        end   => sub { start(%storage) },
        asked => 1,
    },
    missing => {
        says  => 'not-found',
        lost  => 1,
        begin => sub {
            unlink map { $s3->object_path( $bucket, $_ ) } keys %backup;
        },
        end   => \&restore,
        asked => 1,
    },
    damaged => {
        says  => 'corrupt',
        lost  => 1,
        begin => sub { spew( $s3->object_path( $bucket, $_ ), $backup{$_} =~ s/.\z/X/sr ) for keys %backup },
        end   => \&restore,
        asked => 1,
    },
);

my ( $web, %browser );
start(%storage);
my ($loaded) = grep { $_->{pid} == $web->pid } $rt->loaded_modules;
is( $loaded->{path}, $rt->expected_module, 'the web server has loaded our module' );
well('before');

for my $how (qw(slow denying missing damaged down misconfigured)) {
    my $trouble = $trouble{$how};
    $trouble->{begin}->();
    $s3->clear_log;
    my $in_41 = $trouble->{lost} || $how eq 'down';
    my %ask   = %file;
    delete @ask{@seen_in_41} if $in_41;

    # first a page with all the texts, while it is not known yet that S3 is down
    shown( "$how: $_", $page{$_}, $trouble )  for sort keys %page;
    refused( "$how: $_", $ask{$_}, $trouble ) for sort keys %ask;
    if ( !$in_41 ) {
        refused_form( "$how: $_", $form{$_}, $trouble )           for sort keys %form;
        refused_rest2( "$how: REST 2, $_", $rest2{$_}, $trouble ) for sort keys %rest2;
    }
    uploaded($how);
    ok( scalar $s3->requests, "$how: S3 was asked" ) if $trouble->{asked};
    $trouble->{end}->();
    ok( $browser{root}->recovers( $file{attachment}{path} ), "after $how: RT finds out that S3 is back" );
    well("after $how");
}

# ---- late, but within the bound

$s3->faults( { operation => 'GetObject', do => { delay_ms => 300 } } );
$s3->clear_log;
for my $cell ( @file{qw(attachment field)}, $page{helper} ) {
    my ( $answer, $seconds ) = ask($cell);
    my $wanted = $cell->{shows} ? $texts : 1;
    is( $answer->code, 200, "$cell->{path}, late" );
    cmp_ok( $seconds, '>', 0.3 * $wanted, '... really' );
    my $whole = $cell->{shows} ? qr/(TEXT-NUMBER-\d)/ : qr/\A(\Q$content{pdf}\E|\Q$content{scan}\E)\z/;
    my @found = $answer->content =~ /$whole/g;
    is( @found, $wanted, '... and whole' );
}
$s3->faults;

# ---- no answer comes to its end: RT compares a new file with all that the field has, within one Deadline

( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit, 0, "RT's externalizer" ) or diag $err;
my $several = 2 * DEADLINE;
cmp_ok( scalar( grep { $_->{CustomField} == $scan->{CustomField} } $rt->field_value_rows ), '>', $several, 'files' );
for my $way ( [ 'the form', \&uploaded ], [ 'REST 2', \&uploaded_by_rest2 ] ) {
    my ( $name, $upload ) = @{$way};
    $s3->faults( { operation => 'GetObject', do => { stall => { at => 'body' } } } );
    $s3->clear_log;
    $upload->($name);
    cmp_ok( scalar $s3->requests( operation => 'GetObject' ), '<=', $several - 1, '... few have been asked for' );
    $s3->faults;
    is( ( ask( $rest2{field} ) )[0]->content, $content{scan}, '... and the next request reads' );
}
done_testing;

sub text { return "TEXT-NUMBER-$_[0]- " . 'x' x 200 . "\n" }

sub denied { return { status => 403, code => 'AccessDenied', message => 'Access Denied' } }

sub restore {
    spew( $s3->object_path( $bucket, $_ ), $backup{$_} ) for keys %backup;
    return;
}

# One worker, so that what it has learned of the bucket stands for the next request
sub start {
    my (%options) = @_;
    $rt->set_storage(%options);
    $web               = $rt->start_web( workers => 1 );
    $browser{root}     = $web->login;
    $browser{customer} = $web->another->login('customer');
    return;
}

sub ask {
    my ($cell) = @_;
    $rt->clear_log;
    my $began  = time;
    my @header = $cell->{path} =~ m{^/REST/2} ? @password : ();
    my $answer = $browser{ $cell->{by} // 'root' }->get( $cell->{path}, @header );
    return ( $answer, time - $began );
}

sub well {
    my ($when) = @_;
    for my $name ( sort keys %file ) {
        my ($answer) = ask( $file{$name} );
        is( $answer->code, 200, "$when: $name" );
        my $content = $answer->content;
        if   ( $file{$name}{rest} ) { ($content) = $content =~ m{\ART/\S+ 200 Ok\n\n(.*?)\n*\z}s }
        if   ( $file{$name}{like} ) { like( $content, $file{$name}{like}, '... with the bytes' ) }
        else                        { ok( $content eq ( $file{$name}{want} // $content{pdf} ), '... byte for byte' ) }
    }
    for my $name ( sort keys %page ) {
        my ($answer) = ask( $page{$name} );
        my %seen = map { $_ => 1 } $answer->decoded_content =~ /(TEXT-NUMBER-\d+-)/g;
        is( keys %seen, $texts, "$when: $name, with all its texts" );
    }
    for my $name ( sort keys %form ) {
        my ($answer) = ask( { path => $form{$name} } );
        ok( $answer->decoded_content =~ m{TEXT-NUMBER-1-}, "$when: $name, with the text" );
    }
    for my $name ( sort keys %rest2 ) {
        my ( $cell,    $answer ) = ( $rest2{$name}, ask( $rest2{$name} ) );
        my ( $content, $encoded ) =
            $answer->content =~ /"Content" : "([^"]*)"/ ? ( $answer->content, $1 ) : $answer->content;
        $content = decode_base64( $encoded =~ s/\\n//gr ) if $cell->{json};
        is( $answer->code, 200, "$when: REST 2, $name" );
        ok( $cell->{like} ? $content =~ $cell->{like} : $content eq $cell->{want}, '... with the content' );
    }
    return;
}

# Nothing that belongs to the administrator
sub discreet {
    my ($answer) = @_;
    my $all = $answer->as_string;
    $all =~ s/&#(\d+);/chr $1/ge;
    my @secrets =
        ( $bucket, $s3->access_key, $s3->secret_key, $s3->host, map { $_->{Content} } $pdf, $text, @others );
    push @secrets, map { $_->{LargeContent} } $scan, $picture;
    my @found = grep { index( $all, $_ ) >= 0 } @secrets;
    is( "@found", '', '... without bucket, key, host, secret' );
    return;
}

sub logged {
    my ($trouble) = @_;
    my $line = qr/GET [0-9a-f]{64} in bucket ${bucket}x? [^\n]*\[(?:$trouble->{says})\b/;
    like( $rt->log_text, $line, "... the log says $trouble->{says}" );
    return;
}

sub refused {
    my ( $name, $cell, $trouble ) = @_;
    my $code = $trouble->{lost} ? 404 : 503;
    my ( $answer, $seconds ) = ask($cell);
    is( $answer->code, $code, "$name: $code" );
    cmp_ok( $seconds, '<', DEADLINE + LOADED_MACHINE, '... in time' );
    is( $answer->header('Cache-Control'),       'no-store', '... not to be kept' );
    is( $answer->header('Content-Disposition'), undef,      '... no download' );
    like( $answer->header('Retry-After') // 'none', $trouble->{lost} ? qr/^none$/ : qr/^\d+$/, '... Retry-After' );
    my $sentence = $trouble->{lost} ? qr/This file is missing from/ : qr/This file cannot be read .*Please try again/;
    like( $answer->decoded_content, qr/$sentence.*Reference: [0-9A-F]{8}/, '... in plain words' );
    discreet($answer);
    logged($trouble);
    return;
}

sub refused_form {
    my ( $name, $path, $trouble ) = @_;
    my ( $answer, $seconds ) = ask( { path => $path } );
    like( $answer->decoded_content, qr/This file cannot be read from/, "$name: an error" );
    ok( $answer->decoded_content !~ m{</textarea>|class="txn-content"},
        '... and nothing empty in the place of the text' );
    is( ( scalar( () = $answer->decoded_content =~ /<title>/g ) ), 1, '... on one page, not in one within another' );
    cmp_ok( $seconds, '<', DEADLINE + LOADED_MACHINE, '... in time' );
    discreet($answer);
    logged($trouble);
    return;
}

sub refused_rest2 {
    my ( $name, $cell, $trouble ) = @_;
    my ( $answer, $seconds ) = ask($cell);
    is( $answer->code, 503, "$name: 503" );
    like( $answer->header('Retry-After') // '', qr/^\d+$/, '... Retry-After' );
    like(
        $answer->content,
        qr/\A\{"message":"This file cannot be read .*Reference: \w+\)"\}\z/,
        '... in plain words'
    );
    cmp_ok( $seconds, '<', DEADLINE + LOADED_MACHINE, '... in time' );
    unlike( $answer->content, qr/"Content"/, '... no content' );
    discreet($answer);
    logged($trouble);
    return;
}

sub shown {
    my ( $name, $cell, $trouble ) = @_;
    my ( $answer, $seconds ) = ask($cell);
    my $page = $answer->decoded_content;
    is( $answer->code, 200, "$name: shown" );
    cmp_ok( $seconds, '<', DEADLINE + LOADED_MACHINE, "... in time, with its $texts texts" );
    my @missing = grep { $page !~ $_ } @{ $cell->{shows} // [@whole_page] };
    is( "@missing", '', '... with the rest of it' );
    ok( $page !~ /TEXT-NUMBER/, '... without the texts' );
    my $says       = $trouble->{lost} ? qr/is missing from/ : qr/cannot be read from/;
    my @references = $page =~ /<p><i>This text $says [^<]*Reference: ([0-9A-F]{8})/g;
    is( scalar @references, $texts, '... and says so in the place of each' );
    my $unknown = grep { $rt->log_text !~ /Failed to load .*\(reference $_\)/ } @references;
    is( $unknown, 0, '... with a reference to the log' );
    discreet($answer);
    logged($trouble);
    return;
}

# A new file for a field whose other files can't be read, with which RT compares it
sub uploaded {
    my ($how) = @_;
    my $bytes = "scanned while $how";
    my $field = "Object-RT::Ticket-$ticket-CustomField-$scan->{CustomField}-Upload";
    my @form  = (
        id           => $ticket,
        SubmitTicket => 'Save Changes',
        $field       => [ undef, "$how.pdf", 'Content-Type' => 'application/pdf', Content => $bytes ]
    );
    my $start  = time;
    my $answer = $browser{root}->post( '/Ticket/Modify.html', \@form, Content_Type => 'form-data' );
    like( $answer->decoded_content, qr/\Q$how.pdf\E added as a value for Scan/, "$how: another file for a field" );
    cmp_ok( time - $start, '<', DEADLINE + LOADED_MACHINE, '... in time' );
    my ($new) = grep { $_->{Content} eq "$how.pdf" } $rt->field_value_rows;
    my $path = '/Download/CustomFieldValue/' . ( $new->{id} // 0 ) . "/$how.pdf";
    is( $browser{root}->get($path)->content, $bytes, '... which is kept' );
    return;
}

sub uploaded_by_rest2 {
    my ($how) = @_;
    my $value = { FileName => 'rest.pdf', FileType => 'application/pdf', FileContent => encode_base64("sent") };
    my @body  = (
        'Content-Type' => 'application/json',
        Content        => encode_json( { CustomFields => { Scan => [$value] } } )
    );
    my $answer = $browser{root}->agent->put( $browser{root}->url . "/REST/2.0/ticket/$ticket", @password, @body );
    like( $answer->content, qr/rest\.pdf added as a value for Scan/, "$how: another file for a field" );
    return;
}
