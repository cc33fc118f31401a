#!/usr/bin/perl
# RT's own module (with Debian's Amazon::S3) and ours, by turns over the same bucket: each reads what the other stored,
# and what both stored is one object. http and https.
use strict;
use warnings;
use utf8;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::Demo::Files;
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs needs_rt needs_s3);
use Rts3::Test::OwnBackend;

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

needs( Rts3::Test::OwnBackend::missing() );
my $s3     = needs_s3;
my $script = 'rt-externalize-attachments';
my $rt     = needs_rt( env => { Rts3::Test::OwnBackend::environment($s3) } );
my $bucket;

# In a process of RT. A task: what to do (store or read), with whose contents, of which sizes.
my $inside = <<'END';
    my ( $block, @tasks ) = @_;
    require Rts3::Test::File;
    $block = Rts3::Test::File::slurp($block);
    my $storage    = RT->System->ExternalStorage;
    my $attachment = RT::Attachment->new( RT->SystemUser );
    $attachment->LoadByCols( ContentType => 'application/octet-stream' );
    my @answers;
    for my $task (@tasks) {
        my ( $what, $whose, @sizes ) = @{$task};
        push @answers, [];
        for my $size (@sizes) {
            my $content = substr $whose . $block x ( 1 + $size / length $block ), $whose eq 'own', $size;
            my $key     = Digest::SHA::sha256_hex($content);
            my ( $got, $message ) = $what eq 'read' ? $storage->Get($key) : $storage->Store( $key, $content, $attachment );
            my $well = ( $got // '' ) eq ( $what eq 'read' ? $content : $key );
            push @{ $answers[-1] }, $well ? "$size bytes, $key" : $message // 'something else';
        }
    }
    return \@answers;
END

for my $scheme (qw(http https)) {
    $bucket = "by-$scheme";
    $s3->make_bucket($bucket);    # RT's own never makes one with today's Amazon::S3
    subtest "$scheme: RT's script, by turns" => sub { by_turns($scheme) };
    subtest "$scheme: sizes"                 => sub { sizes($scheme) };
}
is( errors(), '', 'no error in the log' );
subtest "what RT's own can't do" => sub {
    other_etag();
    no_bucket();
    other_addresses();
};

is( ( $rt->loaded_modules )[0]{path}, '/usr/share/request-tracker5/lib/RT/ExternalStorage/AmazonS3.pm', "RT's own" );
is_deeply(
    [ sort keys %{ { map { $_->{path} => 1 } $rt->loaded_modules } } ],
    [ sort map { in_charge( $_, 'http' ); $rt->expected_module } qw(own ours) ],
    'and ours were loaded, and no other module'
);
done_testing;

# Each turn stores new contents, and once more those that the other one stored in the turn before.
sub by_turns {
    my ($scheme) = @_;
    my ( %known, @all, $last );
    for my $backend (qw(own ours own)) {
        in_charge( $backend, $scheme );
        my ( $new, @again ) =
            Rts3::Test::Contents->create( $rt, { mark => @all . $backend }, map { +{ like => $_ } } $last // () );
        my %before = map { $_ => state_of($_) } $s3->objects($bucket);
        $s3->clear_log;
        my ( $exit, $out, $err ) = $rt->run_script($script);
        is( "$exit $out$err", '0 ', "$backend: $script ends well, and has nothing to say" );
        is_deeply( [ map { $_->not_moved } $new, @again ], [], '... and moved everything' );

        my @new = grep { !$known{$_}++ } $new->digests;
        is_deeply( [ $s3->objects($bucket) ], [ sort keys %known ], '... the new contents are objects' );
        is( stored(), scalar @new, '... nothing else was stored' );
        is_deeply( { map { $_ => state_of($_) } keys %before }, \%before, '... what was there is untouched' );
        push @all, $new, @again;
        $last = $new;
    }
    for my $backend (qw(own ours)) {
        in_charge( $backend, $scheme );
        is_deeply( [ Rts3::Test::Contents::not_intact(@all) ], [], "$backend reads all that both stored" );
    }
    return;
}

# Straight through the module, inside RT. 200 MB: once each way.
sub sizes {
    my ($scheme) = @_;
    my @sizes    = ( 1, 2, 1023, 65_536, 1_048_576, 1_048_577, 5_242_881, 30_000_000 );
    my %size     = ( own => [@sizes], ours => [@sizes] );
    push @{ $size{ $scheme eq 'http' ? 'ours' : 'own' } }, 200_000_000;
    spew( my $block = $rt->dir . '/block', Rts3::Test::Demo::Files::noise(1_000_003) );
    my $do = sub {
        my ( $backend, @tasks ) = @_;
        in_charge( $backend, $scheme );
        return @{ $rt->call( $inside, $block, @tasks ) };
    };
    $s3->clear_log;
    my ($own) = $do->( own => [ store => own => @{ $size{own} } ] );
    my ( $read, $again, $ours ) =
        $do->( ours => map { [ @{$_}, @{ $size{ $_->[1] } } ] } [qw(read own)], [qw(store own)], [qw(store ours)] );
    is_deeply( $read,  $own, 'ours reads what own stored' );
    is_deeply( $again, $own, '... stores the same' );
    ( $read, $again ) = $do->( own => map { [ $_, ours => @{ $size{ours} } ] } qw(read store) );
    is_deeply( $read,  $ours, 'own reads what ours stored' );
    is_deeply( $again, $ours, '... stores the same' );
    is_deeply(
        [ map {/\A([0-9]+) bytes, [0-9a-f]{64}\z/} @{$own}, @{$ours} ],
        [ @{ $size{own} },                                  @{ $size{ours} } ],
        '... these sizes'
    ) or diag explain [ $own, $ours ];
    is( stored(), @{$own} + @{$ours}, '... and each was stored once' );
    return;
}

# Amazon::S3 takes the ETag for the content's MD5. With SSE-KMS, SSE-C and multipart uploads it is something else.
sub other_etag {
    my ($key) = $s3->objects($bucket);
    $s3->faults(
        {
            operation => 'GetObject',
            do => { answer => { status => 200, headers => { ETag => '"' . '0' x 32 . '"' }, body => "encrypted\n" } }
        }
    );
    my $get = 'my ($key) = @_; return eval { RT->System->ExternalStorage->Get($key) } // "died: $@"';
    $key = Digest::SHA::sha256_hex("encrypted\n");
    in_charge( 'own', 'http' );
    like( $rt->call( $get, $key ), qr/died: Computed and Response MD5's do not match/, "RT's own dies" );
    in_charge( 'ours', 'http' );
    is( $rt->call( $get, $key ), "encrypted\n", 'ours reads it' );
    $s3->faults;
    return;
}

# RT's manual promises to make it; the request that would find out is none with this Amazon::S3.
sub no_bucket {
    $bucket = 'not-made-yet';
    in_charge( 'own', 'http' );
    my $file = { name => 'no bucket.bin', content => "no bucket\0" };
    $rt->create_ticket( attachments => [$file] );
    $s3->clear_log;
    my ($exit) = $rt->run_script($script);
    isnt( $exit, 0, "RT's own stores nothing where there is no bucket" );
    is( scalar $s3->requests( operation => 'CreateBucket' ), 0, '... and makes none' );
    like( ( $s3->requests )[0]{headers}{authorization}, qr{/us-east-1/s3/}, '... signing for us-east-1' );
    return;
}

# As docs/servers.md says of a Host with a port
sub other_addresses {
    my $uri = sub {
        my ( $host, $name ) = @_;
        my $client = Amazon::S3->new( { aws_access_key_id => 'a', aws_secret_access_key => 'b', host => $host } );
        return $client->_make_request( { method => 'GET', path => "$name/key", region => 'us-east-1' } )->uri . '';
    };
    is( $uri->( 's3.test:9000', 'rt-1' ), 'http://rt-1.s3.test:9000/key',
        'a port: http, and the bucket in the host' );
    is( $uri->( 's3.test:9000', 'rt.1' ), 'https://s3.test:9000/rt.1/key', '... unless there is a dot in it' );
    is( $uri->( 's3.test',      'rt-1' ), 'https://rt-1.s3.test/key',      'no port: https' );
    return;
}

sub in_charge {
    my ( $backend, $scheme ) = @_;
    my $config = 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ');';
    Rts3::Test::OwnBackend::take_over(
        $rt, $backend,
        s3     => $s3,
        scheme => $scheme,
        bucket => $bucket,
        config => $config
    );
    return;
}

# How many requests stored something
sub stored {
    return scalar $s3->requests( operation => 'PutObject', status => 200 );
}

sub state_of {
    my ($key) = @_;
    my @stat = stat $s3->object_path( $bucket, $key );
    return join ' ', @stat[ 1, 7, 9 ];
}

sub errors {
    return join "\n", grep {/\[(?:error|critical|alert)\]/} split /\n/, $rt->log_text;
}
