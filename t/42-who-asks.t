#!/usr/bin/perl
# What a failed Get does outside of web pages: code that calls it, mail, RT's indexer, tools.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3 = needs_s3;
my $rt = needs_rt(
    config  => "Set(\$ExternalStorageCutoffSize, 100);\n",
    storage => {
        Type   => 'AmazonS3',
        Bucket => 'att',
        $s3->options,
        Retries  => 0,
        Deadline => 3,
    },
);

# The scrip writes down what it reads
my $ticket = $rt->call( <<'END', { name => 'a.bin', content => "bin\0" . 'x' x 200 } );
    require RT::Scrip;
    my ( $ok, $message ) = RT::Scrip->new( RT->SystemUser )->Create(
        Queue             => 0,
        ScripCondition    => 'On Correspond',
        ScripAction       => 'User Defined',
        Template          => 'Blank',
        CustomPrepareCode => '1',
        CustomCommitCode  => <<'SCRIP',
            my $files = $self->TicketObj->Attachments;
            $files->Limit( FIELD => 'Filename', VALUE => 'a.bin' );
            my $content = $files->First->Content;
            $self->TicketObj->SetSubject( 'read ' . length $content );
SCRIP
    );
    die $message if !$ok;
    return Rts3::Test::RT::Inside::create_ticket( attachments => [@_] );
END
my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
is( $exit, 0, "RT's externalizer" ) or diag $err;
my ($row) = grep { $_->{ContentEncoding} eq 'external' } $rt->attachment_rows;
my ( $id, $key ) = @$row{qw(id Content)};
my $bytes = $s3->content( 'att', $key );
ok( $bytes, 'an external attachment' );

my $subject = sub { return ( $rt->dbh->selectrow_array('SELECT Subject FROM Tickets') )[0] };

# Something else, with which a process finds out that the bucket is the right one
my $proof = $rt->call('RT->System->ExternalStorage->Store( Digest::SHA::sha256_hex("p"), "p" )');
my $prove = 'RT->System->ExternalStorage->Get(' . "'$proof');";

my %trouble = (
    down => {
        line   => qr/GET $key in bucket att [^\n]*\[(?:network|unavailable)/,
        before => sub { $s3->stop },
        after  => sub { $s3->restart }
    },
    gone => {
        line   => qr/GET $key in bucket att [^\n]*\[not-found/,
        before => sub { unlink path() },
        after  => \&put_back
    },
    damaged =>
        { line => qr/GET $key in bucket att [^\n]*\[corrupt/, before => sub { put_back('x') }, after => \&put_back },
);
my $load = 'my $a = RT::Attachment->new( RT->SystemUser ); $a->Load(shift @ARGV);';

for my $how ( sort keys %trouble ) {
    my ( $line, $before, $after ) = @{ $trouble{$how} }{qw(line before after)};
    $before->();

    # code that calls Get itself
    my $direct =
        $rt->call( 'my $s = RT->System->ExternalStorage; return [ [ $s->Get(@_) ], scalar $s->Get(@_) ]', $key );
    is( $direct->[0][0], undef, "$how, called directly: undef" );
    like( $direct->[0][1], qr/^$line[^\n]*\z/, '... and a message of one line' );
    is( $direct->[1], undef, '... in scalar context undef' );
    my $unproven = $how eq 'gone' ? qr/; nothing has been read from there yet: are the options/ : qr/\]\z/;
    like( $direct->[0][1], $unproven, '... which says what to look at' );

    # a tool
    for my $method (qw(Content OriginalContent)) {
        my ( $status, $out, $errors ) = $rt->perl( "$prove $load print 'got ', length \$a->$method", $id );
        isnt( $status, 0, "$how, a tool reads $method: it ends" );
        is( $out, '', '... and has not got anything' );
        like( $errors, $line, '... with the message' );
    }
    my $caught =
        $rt->call( 'my $a = RT::Attachment->new( RT->SystemUser ); $a->Load(@_); eval { $a->Content }; return $@',
        $id );
    like( $caught, qr/^$line[^\n]*\n\z/, "$how: the exception is one line" );

    # the indexer
    my $lost = $how ne 'down';
    for my $proven ( 0, 1 ) {
        my $empty = $how eq 'gone' && !$proven;
        hide_bucket() if $empty;
        my $code = ( $proven ? $prove : '' ) . $load . q{print 'indexed ', length( $a->Content // '' )};
        local $rt->{program_name} = 'rt-fulltext-indexer-5';
        $rt->clear_log;
        my ( $status, $out ) = $rt->perl( $code, $id );
        show_bucket() if $empty;
        my $goes_on = $how eq 'damaged' || ( $how eq 'gone' && $proven );
        my $name    = "$how, the indexer" . ( $proven ? '' : ' where nothing can be read' );
        is( $out, $goes_on ? 'indexed 0' : '', "$name: " . ( $goes_on ? 'goes on' : 'ends' ) );
        is( $status == 0, !!$goes_on, '... and so it says' );
        like( $rt->log_text, qr/\[(?:error|critical)\].*$line/, '... and it is logged' );
    }

    # RT measures a file that has no Content-Length, and would write down 0
    $rt->dbh->do( q{UPDATE Attachments SET Headers = replace(Headers, 'Content-Length:', 'X-Length:') WHERE id = ?},
        undef, $id );
    {
        local $rt->{program_name} = 'rt-fulltext-indexer-5';
        my ( $status, $out ) = $rt->perl( "$prove $load print 'length ', \$a->ContentLength", $id );
        is( $out, $lost ? 'length 0' : '', "$how: a length that can't be measured" );
        my ($headers) = $rt->dbh->selectrow_array( 'SELECT Headers FROM Attachments WHERE id = ?', undef, $id );
        unlike( $headers, qr/^Content-Length/m, '... is not written down' );
    }
    $rt->dbh->do( q{UPDATE Attachments SET Headers = replace(Headers, 'X-Length:', 'Content-Length:') WHERE id = ?},
        undef, $id );

    # mail
    mail_with_attachment( $how, $line );
    $after->();
}

sub mail_with_attachment {
    my ( $how, $line ) = @_;
    $rt->clear_log;
    $rt->clear_mails;
    my $answer = $rt->call( <<'END', $ticket->{id}, $id );
        my ( $ticket_id, $attachment ) = @_;
        my $ticket = RT::Ticket->new( RT->SystemUser );
        $ticket->Load($ticket_id);
        my $mail = MIME::Entity->build( From => 'root@localhost', Subject => 'again', Data => 'see the old file' );
        $mail->head->add( 'RT-Attach', $attachment );
        my ($ok) = $ticket->Correspond( MIMEObj => $mail, CcMessageTo => 'cc@example.com' );
        $ok = ( $ticket->Forward( To => 'forward@example.com' ) )[0] && $ok;
        return $ok;
END
    ok( $answer, "$how: a reply with the file, and a forward, are recorded" );
    is( $subject->(), 'Test', '... a scrip that reads the file has not read anything' );
    like( $rt->log_text, qr/Scrip \d+ Commit failed: $line/, '... and RT logs why' );
    my @mails = grep {/a\.bin/} $rt->mails;
    is( @mails, 0, "$how: no mail with an empty file" );
    unlike( join( '', $rt->mails ), qr/see the old file/, '... nor without it' );
    my @lines = grep {/\[error\].*Mail not sent/} split /\n/, $rt->log_text;
    my @about = grep { /Mail not sent \(ticket #$ticket->{id}, to [^)]*root\@localhost/ && $_ =~ $line } @lines;
    ok( scalar @about, '... the log names ticket and recipients' )                    or diag join "\n", @lines;
    ok( ( scalar grep {/forward\@example\.com/} @lines ), '... of the forward, too' ) or diag join "\n", @lines;
    return;
}

# ---- all is well again

$rt->clear_mails;
my $sent = $rt->call( <<'END', $ticket->{id}, $id );
    my $ticket = RT::Ticket->new( RT->SystemUser );
    $ticket->Load( $_[0] );
    my $mail = MIME::Entity->build( From => 'root@localhost', Subject => 'again', Data => 'see the old file' );
    $mail->head->add( 'RT-Attach', $_[1] );
    return ( $ticket->Correspond( MIMEObj => $mail ) )[0];
END
ok( $sent, 'a reply with the file' );
like( join( '', $rt->mails ), qr/see the old file.*a\.bin/s, '... is sent, with the file' );
is( $subject->(),                  'read ' . length $bytes, 'the scrip reads the file' );
is( $rt->attachment($id)->{bytes}, $bytes,                  'and RT reads it' );

# ---- a dashboard's pretended request; rt-email-digest, whose mail is put together by a function of its own

$rt->clear_log;
my $pretended = $rt->call( <<'END', $id );
    require RT::Dashboard::Mailer;
    my $attachment = RT::Attachment->new( RT->SystemUser );
    $attachment->Load(@_);
    local $HTML::Mason::Commands::r = RT::Dashboard::FakeRequest->new;
    RT->System->ExternalStorage->{_Native}->close;
    my $content = eval { $attachment->Content };
    my $error   = $@;
    undef $HTML::Mason::Commands::r;
    sub main::build_digest_for_user { my $user = shift; return $_[1]->Content }
    my $digest = eval { main::build_digest_for_user( 'digest@example.com', {}, $attachment ) };
    return [ $content, $error, $digest, $@ ];
END
is( $pretended->[0], undef, "a dashboard's page: dies" );
like( $pretended->[1], qr/^[^\n]+\n\z/, '... with one line' );
is( $pretended->[2], undef, 'a digest: dies' );
like( $pretended->[3], qr/^[^\n]+\n\z/, '... with one line' );
like(
    $rt->log_text,
    qr/\[error\].*Mail not sent \(ticket #$ticket->{id}, to digest\@example\.com\)/,
    '... and the log says of what'
);
done_testing;

# As if another prefix, or another bucket, had been meant
sub hide_bucket {
    rename $s3->root . '/att', $s3->root . '/hidden' or die "rename: $!";
    $s3->make_bucket('att');
    return;
}

sub show_bucket {
    rmdir $s3->root . '/att';
    rename $s3->root . '/hidden', $s3->root . '/att' or die "rename: $!";
    return;
}

sub path { return $s3->object_path( 'att', $key ) }

sub put_back {
    my ($instead) = @_;
    open my $object, '>:raw', path() or die $!;
    print {$object} $instead // $bytes;
    close $object or die $!;
    return;
}
