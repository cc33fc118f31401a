package Rts3::Test::ServerLinks;

use strict;
use warnings;
use utf8;

use Exporter qw(import);
use Test::More;

use Rts3::Test::Demo::Files ();
use Rts3::Test::Disposition qw(parse);
use Rts3::Test::Needs       qw(needs_rt);
use Rts3::Test::ServerFacts qw(make_public);

our @EXPORT_OK = qw(links_work);

=encoding UTF-8

=head1 NAME

Rts3::Test::ServerLinks - RT's direct links with an S3 server that is not ours

=head1 FUNCTIONS

=head2 links_work $server

Tests, with an L<Rts3::Test::RealServer>: what RT has stored there is fetched by presigned links with its name and type; such a
link opens nothing else; and public links, where the server knows policies.

=cut

my $Bucket = 'links';

my @Files = (
    [ 'scan.png',                               'image/png',       'inline',     'image/png' ],
    [ q{Übersicht "2026" 'neu' <b> שלום 😀.zip}, 'application/zip', 'attachment', 'application/zip' ],
    [ 'größer.txt',                             'text/plain',      'inline',     'text/plain; charset=utf-8' ],
    [ 'page.html',                              'text/html',       'inline',     'text/plain; charset=utf-8' ],
    [ 'logo.svg',                               'image/svg+xml',   'attachment', 'image/svg+xml' ],
    [ 'report.pdf',                             'application/pdf', 'attachment', 'application/pdf' ],
);

sub links_work {
    my ($server) = @_;
    my $client   = $server->client;
    my %storage  = ( Bucket => $Bucket, $server->options );
    my $rt       = needs_rt(
        storage => { %storage, DirectLink => 'presigned' },
        config  => "Set(\$ExternalStorageDirectLink, 1);\nSet(\$ExternalStorageCutoffSize, 1000);"
    );
    my %content = map { $_->[0] => "$_->[0]: " . Rts3::Test::Demo::Files::text( 'UTF-8', 60 ) } @Files;
    utf8::encode($_) for values %content;
    $rt->create_ticket(
        attachments => [
            map { { name => $_->[0], type => $_->[1], charset => 'UTF-8', content => $content{ $_->[0] } } } @Files
        ]
    );
    my ( $exit, undef, $errors ) = $rt->run_script('rt-externalize-attachments');
    is( $exit, 0, 'everything is moved' ) or diag $errors;

    my %link = _links($rt);
    for my $file (@Files) {
        my ( $name, undef, $kind, $type ) = @{$file};
        my $response = $client->fetch( $link{$name} // 'http:none' );
        is( $response->code, 200, "presigned: $name" ) or diag $response->content;
        ok( $response->content eq $content{$name}, '... its bytes' );
        is( $response->header('Content-Type'), $type, '... its type' );
        my $said = parse( $response->header('Content-Disposition') ) // {};
        is( $said->{kind},                      $kind,                   "... $kind" );
        is( $said->{name},                      $name,                   '... its name' );
        is( $response->header('Cache-Control'), 'private, max-age=3600', '... and a browser may keep it' );
    }
    _opens_nothing_else( $client, $link{'scan.png'}, $link{'logo.svg'} );

    $rt->set_storage( %storage, DirectLink => 'public' );
    my %public = _links($rt);
    is_deeply(
        [ sort keys %public ],
        [ sort map { $_->[0] } grep { $_->[1] !~ /html|svg|pdf/ } @Files ],
        'public links to what a browser does not run'
    );
    my $policy = make_public( $client, $Bucket );
    for my $name ( sort keys %public ) {
        my $response = $client->fetch( $public{$name} );
        if ( $policy =~ /^2/ ) {
            ok( $response->code == 200 && $response->content eq $content{$name}, "public: $name" );
        }
        else {
            is( $response->code, 403, "public: $name is refused, for the server knows no policies" );
        }
    }
    return;
}

# By name
sub _links {
    my ($rt) = @_;
    return %{ $rt->call(<<'END') };
        my $attachments = RT::Attachments->new( RT->SystemUser );
        $attachments->Limit( FIELD => 'ContentEncoding', VALUE => 'external' );
        my %link;
        while ( my $attachment = $attachments->Next ) {
            $link{ $attachment->Filename } = RT->System->ExternalStorageURLFor($attachment);
        }
        return { map { defined $link{$_} ? ( $_ => $link{$_} ) : () } keys %link };
END
}

# Where signatures are looked at, at all
sub _opens_nothing_else {
    my ( $client, $link, $other ) = @_;
    my ($key) = $other =~ m{/([0-9a-f]{64})\?};
    my %changed = (
        'another object'    => $link =~ s{/[0-9a-f]{64}\?}{/$key?}r,
        'another name'      => $link =~ s/scan/scam/gr,
        'another type'      => $link =~ s/image%2Fpng/text%2Fhtml/r,
        'a longer life'     => $link =~ s/(Expires=)/${1}9/r,
        'another signature' => $link =~ s/(.)\z/$1 eq '0' ? '1' : '0'/er,
    );
    my $believes = $client->with( secret_key => 'wrong' )->answer( GET => '/' ) eq '200';
    for my $what ( sort keys %changed ) {
        isnt( $changed{$what}, $link, $what );
        my $status = $client->fetch( $changed{$what} )->code;
        next if $believes;
        like( $status, qr/^40[03]\z/, '... is refused' );
    }
    return;
}

1;
