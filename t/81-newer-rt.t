#!/usr/bin/perl
# What RT 5.0.8 and 6.0 do differently, on RT 5.0.3 with stand-ins for exactly those callers: the option Region, files
# that browsers may keep, the externalizer's --class and --ids. What their shredder does: t/82-shredder.t.
use strict;
use warnings;

use File::Path qw(make_path);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp spew);
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3      = needs_s3;
my %storage = (
    Type   => 'AmazonS3',
    Bucket => 'att',
    $s3->options,
    Retries => 0,
);
my $rt   = needs_rt( storage => \%storage );
my $html = $rt->dir . '/html';
$rt->set_config("\$RT::MasonLocalComponentRoot = '$html';\n");

# ---- Region, which RT 6.0's own backend documents

sub signed_for {
    my (%options) = @_;
    $rt->set_storage( %storage, %options );
    $s3->clear_log;
    my $answer = $rt->call('return [ RT->System->ExternalStorage->Store( Digest::SHA::sha256_hex("r"), "r" ) ]');
    ok( $answer->[0], 'Store' ) or diag $answer->[1];
    my %regions = map { ( m{Credential=[^/]+/\d+/([^/]+)/s3/} ? $1 : '?' ) => 1 }
        map { $_->{headers}{authorization} // '' } $s3->requests;
    return join ' ', sort keys %regions;
}
$s3->make_bucket('att');
is( signed_for( Region => 'eu-central-1' ), 'eu-central-1', '... signed for Region' );
is( signed_for(),                           'us-east-1',    '... without it for us-east-1, as with Amazon::S3' );
is( signed_for( Region => '' ),             'us-east-1',    '... an empty one counts as none, as in RT 6.0' );
like( $rt->call(q{return RT->System->ExternalStorage->{_Native}->direct_url( 'a' x 64 )}) // '',
    qr{^http://127\.0\.0\.1}, 'Host stays the host' );

# Nothing but Region: Amazon's server there, as Amazon::S3 does
$rt->set_storage( %storage, Host => undef, Region => 'eu-west-3', Deadline => 1 );
my $url = $rt->call(q{return ( RT->System->ExternalStorage->{_Native}->direct_url( 'a' x 64 ) )[0]});
is( $url, 'https://att.s3.eu-west-3.amazonaws.com/' . 'a' x 64, "Region alone: Amazon's server of that region" );
$rt->set_storage(%storage);

# ---- files that browsers may keep for a day: an error page never

my $bytes  = "bin\0" . 'x' x 500;
my $ticket = $rt->create_ticket( attachments => [ { name => 'a.bin', content => $bytes } ] );
my ($exit) = $rt->run_script('rt-externalize-attachments');
is( $exit, 0, "RT's externalizer" );
my ($file) = grep { ( $_->{name} // '' ) eq 'a.bin' } @{ $ticket->{attachments} };

# RT 6.0's page reads the content first and then allows to keep it; here the other way round, too
make_path("$html/Ticket/Attachment");
spew( "$html/Ticket/Attachment/dhandler", <<'END' );
<%perl>
my ($id)       = $m->dhandler_arg =~ m{^\d+/(\d+)};
my $attachment = RT::Attachment->new( $session{'CurrentUser'} );
$attachment->Load($id);
$m->comp( '/Elements/HttpResponseHeaders', MaxAgeSeconds => 24 * 3600 ) if $ARGS{before};
my $content = $attachment->OriginalContent;
$m->comp( '/Elements/HttpResponseHeaders', MaxAgeSeconds => 24 * 3600 );
$r->content_type('application/octet-stream');
$m->clear_buffer();
$m->out($content);
$m->abort;
</%perl>
<%attr>
AutoFlush => 0
</%attr>
END
my $web  = $rt->start_web( workers => 1 )->login;
my $path = "/Ticket/Attachment/$ticket->{transaction}/$file->{id}/a.bin";
for my $query ( '', '?before=1' ) {
    my $answer = $web->get("$path$query");
    ok( $answer->content eq $bytes, 'the file' );
    is( join( '; ', $answer->header('Cache-Control') ), 'max-age=86400, private', '... may be kept for a day' );
}
my ($key) = grep { $s3->content( 'att', $_ ) eq $bytes } $s3->objects('att');

my %trouble = (
    'server down' => [ 503, sub { $s3->stop }, sub { $s3->restart; $web->recovers($path) } ],
    'object gone' => [
        404,
        sub { rename $s3->object_path( 'att', $key ), $s3->root . '/away' or die $! },
        sub { rename $s3->root . '/away', $s3->object_path( 'att', $key ) or die $! },
    ],
);
for my $how ( sort keys %trouble ) {
    my ( $code, $begin, $end ) = @{ $trouble{$how} };
    $begin->();
    for my $query ( '', '?before=1' ) {
        my $answer = $web->get("$path$query");
        is( $answer->code, $code, "$how$query: $code" );
        is( join( '; ', $answer->header('Cache-Control') ), 'no-store', '... no-store, and nothing beside it' );
        is( join( '; ', grep {defined} map { $answer->header($_) } qw(Expires Pragma ETag Last-Modified) ),
            '', '... no other header about keeping' );
        like( $answer->header('Content-Type'), qr{^text/html}, '... an HTML page' );
    }
    $end->();
}
ok( $web->get($path)->content eq $bytes, 'all is well again: the file' );
$rt->stop_web;

# ---- --class and --ids, which RT 6.0's shredder writes into the script that undoes what it did

# RT 5.0.3's script with the lines that 6.0's has more
my $script = $rt->dir . '/rt-externalize-attachments';
my $text   = slurp( $rt->release->program('rt-externalize-attachments') );
my $edits  = 0;
$edits += $text =~ s/^(\s+"dry-run",\n)/$1    "class=s",\n    "ids=s",\n/m;
$edits += $text =~ s/^(for my \$class \(qw.*\n)/$1    next if \$opts{class} && \$opts{class} ne \$class;\n/m;
$edits
    += $text =~ s/^(\s+OPERATOR +=> )'>',(\s+VALUE +=> )\$id,/${1}( \$opts{ids} ? 'IN' : '>' ),${2}_wanted(\$id),/m;
$edits += $text =~ s/^(\s+\$last->\{\$class\} = \$id);/$1 unless \$opts{ids};/m;
$edits += $text =~ s/^(sub Store \{)/sub _wanted { return \$opts{ids} ? [ split ',', \$opts{ids} ] : \$_[0] }\n\n$1/m;
is( $edits, 5, "RT's script, made like that of RT 6.0" );
spew( $script, $text );
chmod 0755, $script or die $!;

my @new   = map { $rt->create_ticket( attachments => [ { name => "$_.bin", content => "$_\0" x 100 } ] ) } 1 .. 3;
my @ids   = map { $_->{id} } grep { length( $_->{name} // '' ) } map { @{ $_->{attachments} } } @new;
my $which = sub {
    my %encoding = map { $_->{id} => $_->{ContentEncoding} } $rt->attachment_rows;
    return join ' ', map { $encoding{$_} eq 'external' ? 1 : 0 } @ids;
};
my $mark = sub {
    return ( $rt->dbh->selectrow_array(q{SELECT Content FROM Attributes WHERE Name = 'ExternalStorage'}) )[0];
};
my $before = $mark->();
my $run    = $rt->_run( $script, '--class', 'RT::Attachments', '--ids', $ids[1] );
is( $run->{exit},                        0,           '--class and --ids' ) or diag $run->{err};
is( $which->(),                          '0 1 0',     '... move that one, and no other' );
is( $mark->() eq $before,                1,           "... and leave RT's mark" );
is( $rt->attachment( $ids[1] )->{bytes}, "2\0" x 100, '... RT reads it' );
$run = $rt->_run( $script, '--class', 'RT::ObjectCustomFieldValues' );
is( $run->{exit}, 0,       '--class of the other kind' );
is( $which->(),   '0 1 0', '... moves none of these' );
$run = $rt->_run($script);
is( $run->{exit}, 0,       'and without options' );
is( $which->(),   '1 1 1', '... the rest' );

# Shredded, the object deleted, and undone with both scripts of RT's
my $undo = $rt->dir . '/undo.sql';
my $sha  = ( grep { $_->{id} == $ids[2] } $rt->attachment_rows )[0]{Content};
$rt->call( <<'END', $rt->dir, $ids[2], $undo );
    use Rts3::Test::RT::NewerShredder;
    ( my $dir, my $id, my $undo ) = @_;
    $RT::SbinPath = $RT::BasePath = $dir;
    $RT::VarPath = $dir;
    my $shredder = RT::Shredder->new( force => 1 );
    $shredder->AddDumpPlugin( Arguments => { file_name => $undo, from_storage => 0 } );
    my $attachment = RT::Attachment->new( RT->SystemUser );
    $attachment->Load($id);
    $shredder->Wipeout( Object => $attachment );
    return 1;
END
is( $s3->content( 'att', $sha ), undef, 'shredded: the object is gone' );
ok( !( grep { $_->{id} == $ids[2] } $rt->attachment_rows ), '... and the row' );
$rt->dbh->do($_) for split /^(?=INSERT)/m, slurp($undo);
is( $rt->attachment( $ids[2] )->{bytes}, "3\0" x 100, "RT's dump brings both back" );
is( $which->(),                          '1 1 0',     '... in the database' );
$run = $rt->_run( $script, '--class', 'RT::Attachments', '--ids', $ids[2] );
is( $run->{exit},                        0,           'and --ids' );
is( $which->(),                          '1 1 1',     '... moves it again' );
is( $s3->content( 'att', $sha ),         "3\0" x 100, '... into the same object' );
is( $rt->attachment( $ids[2] )->{bytes}, "3\0" x 100, '... RT reads it' );

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);
done_testing;
