package Rts3::Test::WholePath;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use Rts3::Test::Contents;
use Rts3::Test::Needs qw(needs_rt);

our @EXPORT_OK = qw(whole_path);

=head1 NAME

Rts3::Test::WholePath - RT's script, RT's objects and RT's pages with an S3 server that is not ours

=head1 FUNCTIONS

=head2 whole_path $server

Tests, with an L<Rts3::Test::RealServer> that has no bucket yet: attachments are moved, into a bucket made for them; read back
byte for byte; a second run moves nothing; the same contents again are no new objects; Delete; and what is said when the
region or the keys are wrong.

=cut

my $Script = 'rt-externalize-attachments';
my $Bucket = 'attachments';

sub whole_path {
    my ($server) = @_;
    my $client   = $server->client;
    my %storage  = ( Bucket => $Bucket, $server->options );
    my $rt       = needs_rt(
        storage => \%storage,
        config  => 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ');'
    );
    my ($contents) = Rts3::Test::Contents->create( $rt, { mark => 'first' } );
    is( $client->answer( GET => "/$Bucket?list-type=2" ), '404 NoSuchBucket', 'there is no bucket' );

    _run( $rt, 'the first run' );
    is_deeply( [ $contents->not_moved ], [], '... moved everything' );
    my $objects = $client->keys_in($Bucket);
    is_deeply( [ map { $_->[0] } @{$objects} ], [ $contents->digests ],
        '... into a bucket made for it, and no more' );
    is_deeply( [ $contents->not_intact ], [], 'read back byte for byte' );
    _on_pages( $rt, $contents );

    my $rows = _rows($rt);
    _run( $rt, 'a second run' );
    is_deeply( _rows($rt),                $rows,    '... changed nothing in the database' );
    is_deeply( $client->keys_in($Bucket), $objects, '... and nothing in the bucket' );

    my ($again) = Rts3::Test::Contents->create( $rt, { like => $contents } );
    _run( $rt, 'the same contents again' );
    is_deeply( [ $again->not_moved ], [], '... are moved' );
    is_deeply(
        [ map { [ @{$_}[ 0, 1 ] ] } @{ $client->keys_in($Bucket) } ],
        [ map { [ @{$_}[ 0, 1 ] ] } @{$objects} ],
        '... to the objects that are there'
    );
    is_deeply( [ $again->not_intact ], [], '... and read back' );

    _delete( $rt, $client );
    _wrong_region( $rt, %storage ) if $client->with( region => 'eu-nowhere-7' )->answer( GET => '/' )       =~ /^4/;
    _wrong_keys( $rt, $contents, %storage ) if $client->with( secret_key => 'wrong' )->answer( GET => '/' ) =~ /^403/;
    is_deeply(
        [ sort keys %{ { map { $_->{path} => 1 } $rt->loaded_modules } } ],
        [ $rt->expected_module ],
        'all of this with our module'
    );
    return;
}

sub _run {
    my ( $rt, $what ) = @_;
    my ( $exit, $out, $err ) = $rt->run_script($Script);
    return is( "$exit $out$err", '0 ', "$what of $Script: well, and nothing to say" );
}

sub _rows {
    my ($rt) = @_;
    my $dbh = $rt->dbh;
    return { map { $_ => $dbh->selectall_arrayref("SELECT * FROM $_ ORDER BY id") }
            qw(Attachments ObjectCustomFieldValues) };
}

sub _on_pages {
    my ( $rt, $contents ) = @_;
    my $web   = $rt->start_web( workers => 1 )->login;
    my @wrong = grep {
        my $path =
            $_->{kind} eq 'attachment'
            ? "/Ticket/Attachment/$contents->{ticket}{transaction}/$_->{id}/file"
            : "/Download/CustomFieldValue/$_->{id}/file";
        my $response = $web->get($path);
        $response->code != 200 || $response->content ne $_->{content}
    } $contents->moved;
    is_deeply( [ map { $_->{name} } @wrong ], [], "and downloaded from RT's pages" );
    $rt->stop_web;
    return;
}

sub _delete {
    my ( $rt, $client ) = @_;
    my $said = $rt->call(<<'END');
        my $storage = RT->System->ExternalStorage;
        my $key     = Digest::SHA::sha256_hex('to be deleted');
        my $attachment = RT::Attachment->new( RT->SystemUser );
        $attachment->Load(1);
        return [ $key, map { $_ // 'undef' } $storage->Store( $key, 'to be deleted', $attachment ),
            $storage->Get($key), $storage->Delete($key), scalar( $storage->Get($key) ), $storage->Delete($key) ];
END
    my $key = shift @{$said};
    is_deeply(
        $said,
        [ $key, 'to be deleted', $key, 'undef', $key ],
        'stored, read, deleted, not there, deleted again'
    );
    is( $client->answer( HEAD => "/$Bucket/$key" ), '404', '... and the server says so, too' );
    return;
}

# The error names the right one
sub _wrong_region {
    my ( $rt, %storage ) = @_;
    $rt->set_storage( %storage, Region => 'eu-nowhere-7' );
    my ( $exit, $out, $err ) = $rt->run_script($Script);
    is( $exit, 0, 'a wrong region: the script goes on' ) or diag $err;
    like( $rt->log_text, qr/set Region => '\Q$storage{Region}\E'/, '... and the log says which one to set' );
    return;
}

# What is wrong is said in one line, without the secret
sub _wrong_keys {
    my ( $rt, $contents, %storage ) = @_;
    $rt->set_storage( %storage, SecretAccessKey => 'wrong/secret' );
    my ( $exit, $out, $err ) = $rt->run_script($Script);
    isnt( $exit, 0, 'a wrong secret key: the script fails' );
    like( $err, qr/SignatureDoesNotMatch|AccessDenied|Forbidden/, '... and names it' );
    unlike( $err, qr{wrong/secret}, '... but not the secret' );
    my ($file) = $contents->moved;
    ( $exit, $out, $err ) = $rt->perl( 'print Rts3::Test::RT::Inside::attachment(shift)->{bytes}', $file->{id} );
    isnt( $exit, 0, '... a tool that reads an attachment dies' );
    is( $out, '', '... and does not take it for empty' );
    return;
}

1;
