#!/usr/bin/perl
# Mail that needs a file while S3 is in trouble: a forward and a reply by RT's web interface, and dashboards. None is
# sent with an empty file, the log says which one was not sent, and once the trouble is over the same mail goes out whole.
#
# What of external content can a dashboard of RT 5.0 show? The text of a message: a saved search for transactions, with
# the column Content. A picture: a saved search for tickets that shows a custom field of the type Image, which RT puts
# into the mail. It shows no attached files.
use strict;
use warnings;

use FindBin;
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs_rt needs_s3);

use constant { DEADLINE => 2, LOADED_MACHINE => 4 };

my $bucket  = 'rts3-bucket-48';
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
    config  => "Set(\$ExternalStorageCutoffSize, 100);\nSet(\$RecordOutgoingEmail, 0);\n",
    storage => {%storage},
);

my %content = (
    text    => 'TEXT-OF-THE-MESSAGE ' . 'x' x 200 . "\n",
    pdf     => "%PDF\0" . 'p' x 300,
    picture => "\x89PNG\r\n\x1a\n" . "i\xff" x 200,
);
my $ticket = $rt->call( <<'END', \%content );
    my ($content) = @_;
    my $user = RT::User->new( RT->SystemUser );
    $user->Create( Name => 'watcher', EmailAddress => 'watcher@example.com', Privileged => 1 );
    Rts3::Test::RT::Inside::create_custom_field( Picture => 'Image' );
    my $ticket = Rts3::Test::RT::Inside::create_ticket(
        requestor   => 'customer@example.com',
        content     => $content->{text},
        attachments => [ { name => 'a.pdf', type => 'application/pdf', content => $content->{pdf} } ],
        fields      => { Picture => { name => 'p.png', type => 'image/png', content => $content->{picture} } },
    )->{id};

    my $root = RT::CurrentUser->new;
    $root->Load('root');
    my $subscribe = sub {
        my ( $name, %search ) = @_;
        my %mine   = ( Name => $name, Privacy => 'RT::User-' . $root->id );
        my $search = RT::SavedSearch->new($root);
        my ( $ok, $message ) =
            $search->Save( %mine, Type => delete $search{Type}, SearchParams => { OrderBy => 'id', %search } );
        die $message if !$ok;
        my $portlet = { portlet_type => 'search', id => $search->Id, privacy => $search->Privacy, description => $name };
        my $dashboard = RT::Dashboard->new($root);
        ( $ok, $message ) = $dashboard->Save( %mine, Panes => { body => [$portlet], sidebar => [] } );
        die $message if !$ok;
        $root->UserObj->AddAttribute(
            Name        => 'Subscription',
            ContentType => 'storable',
            Content     => {
                DashboardId => $dashboard->Id,
                Frequency   => 'daily',
                Hour        => '06:00',
                Rows        => 20,
                Recipients  => { Users => [ $user->id ], Groups => [] },
            },
        );
    };
    require RT::Dashboard;
    require RT::SavedSearch;
    my %tickets = ( Type => 'Ticket', Query => 'id > 0' );
    $subscribe->( 'Messages', Type => 'Transaction', Query => "Type = 'Create'", ObjectType => 'RT::Ticket',
        Format => q{'__id__','__Content__'} );
    $subscribe->( 'Pictures', %tickets, Format => q{'__id__','__CustomField.{Picture}__'} );
    $subscribe->( 'Plain', %tickets, Format => q{'__id__','PLAIN __Status__'} );
    return $ticket;
END
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit, 0, "RT's externalizer" ) or diag $err;
my %row = map { $_->{ContentType} => $_ } $rt->attachment_rows;
is( $_->{ContentEncoding}, 'external', "$_->{ContentType} is external" )
    for @row{qw(text/plain application/pdf)}, $rt->field_value_rows;
my $pdf    = $row{'application/pdf'}{id};
my %backup = map { $_ => $s3->content( $bucket, $_ ) } $s3->objects($bucket);
is( keys %backup, 3, 'each in an object of its own' );

my %trouble = (
    down    => { says => 'network|unavailable', begin => sub { $s3->stop },   end => sub { $s3->restart } },
    slow    => { says => 'timeout|unavailable', begin => sub { $s3->freeze }, end => sub { $s3->thaw } },
    denying => {
        says  => 'denied',
        begin => sub {
            $s3->faults(
                { operation => 'GetObject', do => { answer => { status => 403, code => 'AccessDenied' } } } );
        },
        end => sub { $s3->faults },
    },
    misconfigured => {
        says  => 'no-bucket',
        begin => sub { start( %storage, Bucket => "${bucket}x" ) },
        end   => sub { start(%storage) },
    },
    missing => {
        says  => 'not-found',
        begin => sub {
            unlink map { $s3->object_path( $bucket, $_ ) } keys %backup;
        },
        end => \&restore,
    },
    damaged => {
        says  => 'corrupt',
        begin => sub { spew( $s3->object_path( $bucket, $_ ), $backup{$_} =~ s/.\z/X/sr ) for keys %backup },
        end   => \&restore,
    },
);

my $web;
start(%storage);
my ($loaded) = grep { $_->{pid} == $web->pid } $rt->loaded_modules;
is( $loaded->{path}, $rt->expected_module, 'the web server has loaded our module' );

for my $how (qw(down slow denying missing damaged misconfigured)) {
    my $trouble = $trouble{$how};
    $trouble->{begin}->();
    my $spent = qr/in bucket|not asked: earlier failures have used up/;    # by another mail in the same request
    my $line  = qr/GET [0-9a-f]{64} in bucket ${bucket}x? [^\n]*\[(?:$trouble->{says})\b/;

    $rt->clear_mails;
    my @asked = ( reply => \&reply, forward => \&forward );
    while ( my ( $what, $ask ) = splice @asked, 0, 2 ) {
        $rt->clear_log;
        my $start  = time;
        my $answer = $ask->();
        is( $answer->code, 200, "$how: $what: RT goes on" );
        cmp_ok( time - $start, '<', DEADLINE + LOADED_MACHINE, '... in time' );
        my @lines = grep {/\[error\].*Mail not sent/} split /\n/, $rt->log_text;
        my $to    = $what eq 'forward' ? qr/forward\@example\.com/ : qr/customer\@example\.com/;
        ok( ( scalar grep {/Mail not sent \(ticket #$ticket, to [^)]*$to[^)]*\): [^\n]*$spent/} @lines ),
            '... and logs ticket, recipient and reason' )
            or diag join "\n", @lines;
        ok( ( scalar grep { $_ =~ $line } @lines ), "... which is $trouble->{says}" );
    }
    is( ( join '', grep {/a\.pdf|see the old file|forward\@example\.com/} $rt->mails ),
        '', "$how: neither reply nor forward was sent" );

    dashboards();
    my %mail = dashboard_mails();
    is( $mail{Messages}, undef, "$how: no dashboard without its text" );
    is( $mail{Pictures}, undef, '... nor without its picture' );
    like( $mail{Plain}   // '', qr/PLAIN \w+/, '... but one that needs neither' );
    unlike( $mail{Plain} // '', qr/TEXT-OF|Picture/, '... with nothing of the others' );
    my @lines = grep {/\[error\].*Mail not sent/} split /\n/, $rt->log_text;
    is( ( scalar grep { $_ =~ $line } @lines ), 2, '... and the log gives the reason' ) or diag join "\n", @lines;

    for my $name (qw(Messages Pictures)) {
        my @told = grep {/\(dashboard '$name' of root, to watcher\@example\.com\)/} @lines;
        is( scalar @told, 1, "... and which it is: $name" );
    }
    $trouble->{end}->();
    ok( $web->recovers("/Ticket/Attachment/WithHeaders/$pdf"), "$how: it is over" );
}

# ---- all is well again

$rt->clear_mails;
is( reply()->code,   200, 'a reply with the file' );
is( forward()->code, 200, 'a forward' );
my $bytes = bare( encode_base64( $content{pdf} ) );
my @mails = grep {/a\.pdf/} $rt->mails;
is( ( scalar grep { index( bare($_), $bytes ) >= 0 } @mails ), 2, '... are sent, with the file, byte for byte' );
my ($forward) = grep {/^To:.*forward\@example\.com/m} @mails;
like( $forward, qr/TEXT-OF-THE-MESSAGE x{50}/, '... the forward with the text, too' );

dashboards();
my %mail = dashboard_mails();
like( $mail{Messages} // '', qr/TEXT-OF-THE-MESSAGE x{200}/, 'the dashboard with the text' );
my $picture = bare( encode_base64( $content{picture} ) );
ok( index( bare( $mail{Pictures} // '' ), $picture ) >= 0, 'the dashboard with the picture, byte for byte' );
done_testing;

sub restore {
    spew( $s3->object_path( $bucket, $_ ), $backup{$_} ) for keys %backup;
    return;
}

# One worker, which has read out of the bucket: what is missing there is known to be missing
sub start {
    my (%options) = @_;
    $rt->set_storage(%options);
    $web = $rt->start_web( workers => 1 );
    $web->login;
    my $code = $web->get("/Ticket/Attachment/WithHeaders/$pdf")->code;
    is( $code, $options{Bucket} eq $bucket ? 200 : 503, 'a web server that has asked S3' );
    return;
}

sub reply {
    return $web->post(
        '/Ticket/Update.html',
        {
            id             => $ticket,
            Action         => 'Respond',
            UpdateType     => 'response',
            UpdateSubject  => 'again',
            UpdateContent  => 'see the old file',
            AttachExisting => $pdf,
            SubmitTicket   => 'Update Ticket',
        }
    );
}

sub forward {
    return $web->post(
        '/Ticket/Forward.html',
        {
            id      => $ticket,
            To      => 'forward@example.com',
            Subject => 'Fwd: Test',
            Content => 'for you',
            Forward => 'Forward Message',
        }
    );
}

sub dashboards {
    $rt->clear_log;
    $rt->clear_mails;
    my ( $status, undef, $errors ) = $rt->run_script( 'rt-email-dashboards-5', '--all' );
    is( $status, 0, "RT's dashboard mailer, which goes on with the next one" ) or diag $errors;
    return;
}

# By the dashboard's name, the whole mail and its page as text
sub dashboard_mails {
    my %found;
    for my $mail ( $rt->mails ) {
        my ($name) = $mail =~ /^Subject: .*?(\w+)$/m;
        my $text   = join '', map { MIME::Base64::decode_base64($_) } $mail =~ m{\n\n([A-Za-z0-9+/=\n]{60,})}g;
        $found{ $name // '' } = $mail . $text;
    }
    return %found;
}

sub bare { return $_[0] =~ s/\s+//gr }
