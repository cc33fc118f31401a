#!/usr/bin/perl
# What RT may expect of its backend: Init, Get, Store, IsWriteable, in a real RT 5.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Copy  ();
use File::Path  qw(make_path);
use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);
use Rts3::Test::RT;

my $s3 = needs_s3;
$s3->make_bucket('att');
my %keys    = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key );
my %storage = ( Type => 'AmazonS3', Bucket => 'att', Host => $s3->http, %keys );
my $rt      = needs_rt( storage => {%storage} );
my $content = "some content \xff" x 100;
my $key     = sha256_hex($content);

# ---- Init

is_deeply(
    $rt->call(
        <<'END'), { class => 'RT::ExternalStorage::AmazonS3', does => 1, same => 1, threads => 1, fds => 0, bucket => 'att' },
    my $first  = RT->System->ExternalStorage;
    RT->Config->PostLoadCheck;
    my $second = RT->System->ExternalStorage;
    return {
        class   => ref $second,
        does    => $second->DOES('RT::ExternalStorage::Backend'),
        same    => $first != $second && $first->{_Native}->id == $second->{_Native}->id ? 1 : 0,
        threads => scalar( my @tasks = glob '/proc/self/task/*' ),
        fds     => scalar( grep { ( readlink($_) // '' ) =~ /socket|epoll/ } glob '/proc/self/fd/*' ),
        bucket  => $second->Bucket,
    };
END
    'Init twice: the same handle, no thread, no socket'
);
is( $s3->connections, 0, '... no connection' );
my ($loaded) = $rt->loaded_modules;
is( $loaded->{path}, $rt->expected_module, 'RT has loaded our module' );
unlike(
    $rt->log_text =~ s/AmazonS3 external storage: option Host begins with http:.*//gr,
    qr/AmazonS3 external/,
    '... and had nothing to say of it but that it is http'
);

# ---- Get, Store

# Where nobody runs RT's externalizer, which would keep Delete from deleting
my $sbin = File::Temp->newdir;
File::Copy::copy( '/usr/sbin/rt-externalize-attachments-5', $sbin ) or die $!;

my $got = $rt->call( <<'END', $key, $content, "$sbin" );
    ( my ( $key, $content ), $RT::SbinPath ) = @_;
    $RT::BasePath = $RT::SbinPath;
    my $storage = RT->System->ExternalStorage;
    my %got;
    $got{writeable} = [ $storage->IsWriteable ];
    $got{missing}   = [ $storage->Get($key) ];
    $got{scalar}    = [ scalar $storage->Get($key) ];
    $got{stored}    = [ $storage->Store( $key, $content, bless { type => 'image/png' }, 'Typed' ) ];
    $got{again}     = [ $storage->Store( $key, $content, undef ) ];
    $got{read}      = [ $storage->Get($key) ];
    my $read = $storage->Get($key);
    $got{read_scalar} = $read;
    my $flagged = $content;
    utf8::upgrade($flagged);
    $got{flagged} = [ $storage->Store( $key, $flagged, bless {}, 'Dies' ), utf8::is_utf8($flagged) ? 1 : 0 ];
    $got{wide}    = [ $storage->Store( $key, "\x{263a}" ) ];
    $got{undef}   = [ $storage->Store( $key, undef ) ];
    $got{other}   = [ $storage->Store( $key, 'other' ) ];
    $got{bad}     = { map { $_ => [ $storage->Get($_) ] } '../x', substr( $key, 1 ), uc $key, "$key\n", '' };
    $got{nothing} = [ $storage->Get(undef) ];
    $got{deleted} = [ $storage->Delete($key) ];
    $got{objects} = [ $storage->Get($key) ];
    return \%got;
    sub Typed::ContentType { return $_[0]{type} }
    sub Dies::ContentType  { die 'no type' }
END
is_deeply( $got->{writeable}, [1], 'IsWriteable' );
is( @{ $got->{missing} }, 2,     'Get of what is not there, in a list: undef and a message' );
is( $got->{missing}[0],   undef, '... undef' );
like( $got->{missing}[1], qr/^GET $key in bucket att[^\n]*not-found[^\n]*$/,
    '... one line that says what and where' );
is_deeply( $got->{scalar},      [undef],    '... in scalar context undef' );
is_deeply( $got->{stored},      [$key],     'Store' );
is_deeply( $got->{again},       [$key],     '... once more' );
is_deeply( $got->{read},        [$content], 'Get in a list: the bytes, and nothing else' );
is_deeply( $got->{read_scalar}, $content,   '... in scalar context' );
is_deeply(
    $got->{flagged},
    [ $key, 1 ],
    "Perl's UTF-8 flag: the same bytes, the caller's scalar as it was; type unknown"
);
like( $got->{wide}[1],  qr/^the content has wide characters/,          'wide characters are refused' );
like( $got->{undef}[1], qr/^the content is not defined/,               'undef is refused' );
like( $got->{other}[1], qr/^the content given is not that of the key/, 'other content is refused' );
is_deeply( [ map { $_->[0] } @$got{qw(wide undef other)} ], [ undef, undef, undef ], '... with undef first' );

for my $bad ( sort keys %{ $got->{bad} } ) {
    my ( $value, $message ) = @{ $got->{bad}{$bad} };
    ok( !defined $value, 'Get of ' . length($bad) . ' characters that are no key' );
    like( $message, qr/^[^\n]*key[^\n]*64[^\n]*\z/, '... one line: ' . $message );
}
like( $got->{nothing}[1], qr/^the key is not defined/, 'Get of undef' );
my ($put) = $s3->requests( operation => 'PutObject' );
is( $put->{headers}{'content-type'}, 'image/png', 'the attachment gives the type' );
is_deeply( $got->{deleted}, [$key], 'Delete' );
is( $got->{objects}[0], undef, '... is gone' );

# ---- what can't work still is a backend, and says why

sub broken {
    my ( $name, $why, %options ) = @_;
    my %env = %{ delete $options{env} || {} };
    local $rt->{env} = \%env;
    $rt->set_storage( Type => 'AmazonS3', %options );
    $rt->clear_log;
    my $answer = $rt->call( <<'END', $key );
        my ($key) = @_;
        RT->Config->PostLoadCheck;
        my $storage = RT->System->ExternalStorage or return { none => 1 };
        return {
            get       => [ $storage->Get($key) ],
            scalar    => scalar $storage->Get($key),
            store     => [ $storage->Store( $key, 'content', undef ) ],
            writeable => [ $storage->IsWriteable ],
            delete    => [ $storage->Delete($key) ],
            link      => $storage->DownloadURLFor( RT::Attachment->new( RT->SystemUser ) ),
        };
END
    ok( !$answer->{none}, "$name: RT has a backend" );
    for my $method (qw(get store writeable)) {
        my ( $value, $message ) = @{ $answer->{$method} };
        ok( !$value, "$name: $method fails" );
        like( $message, $why, '... and says why' );
    }
    is( $answer->{writeable}[0], 0, "$name: IsWriteable gives 0" );
    is_deeply( [ @$answer{qw(scalar link)} ], [ undef, undef ],
        "$name: Get in scalar context, and links, are undef" );
    my @lines = grep { /\[error\]/ && $_ =~ $why } split /\n/, $rt->log_text;
    is( @lines, 1, "$name: logged as an error, once in a process that has two backends" );
    return;
}
broken( 'no library', qr{cannot load the rts3 library: there is no file '/nowhere/librts3.so'},
    %storage, env => { RTS3_LIBRARY => '/nowhere/librts3.so' } );
broken( 'no Bucket',  qr/option Bucket is missing/,          Host   => $s3->http, %keys );
broken( 'half a key', qr/option SecretAccessKey is missing/, Bucket => 'att', Host => $s3->http, AccessKeyId => 'a' );
broken( 'a wrong Host', qr/option Host/,                     %storage, Host => 'http://a b/' );

# ---- mistakes: reading goes on

my $text = 'kept';
my $kept = sha256_hex($text);
$rt->set_storage(%storage);
is( $rt->call( 'RT->System->ExternalStorage->Store(@_)', $kept, $text ), $kept, 'something to read' );

sub mistake {
    my ( $name, $line, $store, %options ) = @_;
    $rt->set_storage( %storage, %options );
    $rt->clear_log;
    my $answer = $rt->call( <<'END', $kept, $text );
        my $storage = RT->System->ExternalStorage;
        return [ scalar $storage->Get( $_[0] ), [ $storage->Store( @_, undef ) ], [ $storage->IsWriteable ] ];
END
    is( $answer->[0], $text, "$name: Get works" );
    my ( $key, $message ) = @{ $answer->[1] };
    is( $key,            $store ? $kept : undef, "$name: Store " . ( $store ? 'works' : 'refuses' ) );
    is( $answer->[2][0], $store ? 1     : 0,     "$name: so does IsWriteable" );
    like( $message // '', $line, '... and says why' ) if !$store;
    my @lines = grep { /\[error\]/ && $_ =~ $line } split /\n/, $rt->log_text;
    is( @lines, 1, "$name: one error in the log" );
    return;
}
mistake( 'an unknown option',    qr/unknown option 'Reties': did you mean Retries\?/, 1, Reties          => 3 );
mistake( 'an empty option',      qr/option Retries is empty/,                         1, Retries         => '' );
mistake( 'a value out of range', qr/option ReadTimeout: '9999' is not allowed/,       1, ReadTimeout     => 9999 );
mistake( 'an addressing style',  qr/option AddressingStyle: 'foo' is not allowed/,    1, AddressingStyle => 'foo' );
mistake( 'a reference as value', qr/option Region is not a plain value/,              0, Region          => ['x'] );
mistake( 'CreateBucket',         qr/option CreateBucket: 'perhaps' is not allowed/,   0, CreateBucket => 'perhaps' );

# ---- trouble with the server

$rt->set_storage( %storage, SecretAccessKey => 'wrong' );
$rt->clear_log;
my $denied = $rt->call( <<'END', $kept );
    my $storage = RT->System->ExternalStorage;
    return [ [ $storage->Get( $_[0] ) ], [ $storage->Store( $_[0], 'kept' ) ], [ $storage->IsWriteable ] ];
END
like( $_->[1], qr/^[^\n]*SignatureDoesNotMatch[^\n]*\z/, "wrong secret: $_->[1]" ) for @$denied;
$rt->set_storage( %storage, Bucket => 'other', CreateBucket => 0 );
my $other = $rt->call( 'my $s = RT->System->ExternalStorage; [ $s->Get(@_) ]', $kept );
like( $other->[1], qr/^[^\n]*NoSuchBucket[^\n]*\z/, 'wrong bucket' );

# ---- what the library has to say goes into RT's log

$rt->set_storage(%storage);
$rt->clear_log;
open my $object, '>:raw', $s3->object_path( 'att', $kept ) or die $!;
print {$object} 'lost';
close $object or die $!;
is( $rt->call( 'RT->System->ExternalStorage->Store(@_)', $kept, $text ),
    $kept, 'Store of what is damaged in the bucket' );
is( $s3->content( 'att', $kept ), $text, '... mends it' );
like( $rt->log_text, qr/\[warning\]: AmazonS3 external storage: [^\n]*$kept/, '... and RT logs a warning' );

# ---- a site's own changes

my $site = File::Temp->newdir;
make_path("$site/RT/ExternalStorage");
open my $overlay, '>', "$site/RT/ExternalStorage/AmazonS3_Local.pm" or die $!;
print {$overlay} "package RT::ExternalStorage::AmazonS3; sub SiteName { return 'local ' . \$_[0]->Bucket } 1;\n";
close $overlay or die $!;
my $local = Rts3::Test::RT->new( storage => {%storage}, module_dirs => [ @{ $rt->{module_dirs} }, "$site" ] );
is( $local->call('RT->System->ExternalStorage->SiteName'), 'local att', "a site's AmazonS3_Local.pm is loaded" );
done_testing;
