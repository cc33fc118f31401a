#!/usr/bin/perl
# rt-s3 verify on PostgreSQL and MariaDB: the same findings, and content that comes back as it was.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use Rts3::Test::DatabaseServer ();
use Rts3::Test::File           qw(slurp spew);
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);
use Rts3::Test::Process        ();

needs_library;
needs( Rts3::Test::DatabaseServer->missing($_) ) for qw(Pg mysql);
my $s3   = needs_s3;
my $json = JSON::PP->new->utf8;

# Bytes that PostgreSQL keeps as base64, as quoted-printable and as they are
my %content = (
    'zero.bin'   => join( '', map { chr( $_ % 256 ) } 1 .. 20_000 ),
    'latin1.bin' => "Gr\xf6\xdfe \xbd\n" x 1000,
    'ascii.bin'  => "plain = text\n" x 1000,
    'utf8.bin'   => "Gr\xc3\xb6\xc3\x9fe\r\n" x 1000,
);
my %digest = map { $_ => sha256_hex( $content{$_} ) } keys %content;
my @files  = map { { name => $_, content => $content{$_} } } sort keys %content;

for my $type (qw(Pg mysql)) {
    my $server = Rts3::Test::DatabaseServer->start($type);
    my $bucket = lc "on-$type";
    my $rt     = needs_rt(
        storage => { Type => 'AmazonS3', Bucket => $bucket, $s3->options },
        config  => $server->config . 'Set(@LexiconLanguages, qw(en));'
    );
    my $verify = sub {
        my ( $status, $out, $err ) = $rt->run_tool( 'verify', '--json', @_ );
        diag $err if length $err;
        my @records = map { $json->decode($_) } split /\n/, $out;
        my %found;
        push @{ $found{ $_->{finding} } }, $_->{digest} // $_->{object} for grep { $_->{finding} } @records;
        $_ = [ sort @{$_} ] for values %found;
        return ( $status, \%found, $records[-1], \@records );
    };
    my $create = <<'END';
        my ( $files, $with_value ) = @_;
        Rts3::Test::RT::Inside::create_custom_field( 'Contract', 'Binary' ) if $with_value;
        Rts3::Test::RT::Inside::create_ticket(
            attachments => $files,
            fields      => $with_value ? { Contract => { name => 'value', content => $files->[-1]{content} } } : {},
        );
END

    my $status_of = sub {
        my ( undef, $out, $err ) = $rt->run_tool(qw(status --json));
        diag $err if length $err;
        my $figures = $json->decode( ( split /\n/, $out )[-1] )->{summary};
        return { map { $_ => ref $figures->{$_} ? join ' ', @{ $figures->{$_} }{qw(count bytes)} : $figures->{$_} }
                qw(waiting external objects saved) }, $figures;
    };
    my $bytes = length join '', values %content;
    my $twice = length $content{'zero.bin'};

    subtest $type => sub {
        $s3->make_bucket($bucket);
        $rt->call( $create, \@files, 1 );
        my ($counted) = $status_of->();
        my $all = '5 ' . ( $bytes + $twice );
        is_deeply(
            $counted,
            { waiting => $all, external => '0 0', objects => '0 0', saved => 0 },
            'rt-s3 status knows what waits, and how large it is'
        );
        my ( $exit, undef, $errors ) = $rt->run_script('rt-externalize-attachments');
        is( $exit, 0, "RT's script has moved the files" ) or diag $errors;
        is_deeply( [ $s3->objects($bucket) ], [ sort values %digest ], '... which are in the bucket' );

        ( $counted, my $figures ) = $status_of->();
        is_deeply(
            $counted,
            { waiting => '0 0', external => $all, objects => "4 $bytes", saved => $twice },
            'rt-s3 status knows what was moved'
        );
        is_deeply(
            [ map { $_->{external} } values %{ $figures->{months} } ],
            [ [ 5, $bytes + $twice ] ],
            '... and in which month it came'
        );

        my ( $status, $found, $last ) = $verify->('--deep');
        is( $status,                      0, 'all is well' );
        is( $last->{summary}{references}, 5, '... with all references' );
        is( $last->{summary}{checked},    4, '... each file once' );

        unlink map { $s3->object_path( $bucket, $_ ) } @digest{qw(zero.bin utf8.bin)};
        spew( $s3->object_path( $bucket, $digest{$_} ), '' ) for qw(latin1.bin ascii.bin);
        ( $status, $found, undef, my $records ) = $verify->();
        is( $status, 1, 'missing and damaged ones' );
        is_deeply(
            $found,
            {
                missing => [ sort @digest{qw(zero.bin utf8.bin)} ],
                damaged => [ sort @digest{qw(latin1.bin ascii.bin)} ]
            },
            '... all of them'
        );
        my ($zero) = grep { ( $_->{digest} // '' ) eq $digest{'zero.bin'} } @{$records};
        my %about = map { $_->{table} => $_ } @{ $zero->{references} };
        is( $about{Attachments}{file},              'zero.bin', '... with the name of a file' );
        is( $about{Attachments}{ticket},            1,          '... its ticket' );
        is( $about{ObjectCustomFieldValues}{field}, 'Contract', '... and that of a custom field' );

        $rt->call( $create, \@files, 0 );
        my %encodings = map { $_->[0] => 1 } @{
            $server->dbh->selectall_arrayref(
                q{SELECT ContentEncoding FROM Attachments WHERE ContentEncoding <> 'external' AND Filename LIKE '%.bin'}
            )
        };
        is_deeply(
            [ sort keys %encodings ],
            $type eq 'Pg' ? [qw(base64 none quoted-printable)] : ['none'],
            'RT keeps content in its ways'
        );
        ( $status, $found ) = $verify->('--repair');
        is_deeply( $found->{repaired}, [ sort values %digest ], '... of which all are repaired' );
        is( $s3->content( $bucket, $digest{$_} ), $content{$_}, "... $_ as it was" ) for sort keys %content;
        ($status) = $verify->('--deep');
        is( $status, 0, '... and all is well' );

        $server->dbh->do( 'UPDATE ObjectCustomFieldValues SET LargeContent = ?', {}, uc $digest{'zero.bin'} );
        ( $status, $found ) = $verify->();
        is_deeply(
            $found,
            { invalid => [ uc $digest{'zero.bin'} ] },
            'what only looks like a digest, to a collation'
        );

        $s3->faults( { operation => 'ListObjectsV2', do => { delay_ms => 2000 } } );
        $s3->clear_log;
        my $out = $rt->dir . '/out';
        my $pid = Rts3::Test::Process::spawn(
            command => [ $rt->tool(qw(verify --json)) ],
            env     => { $rt->environment },
            out     => $out,
            err     => "$out.err"
        );

        for ( 1 .. 600 ) {
            last if $s3->requests( operation => 'ListObjectsV2' ) || $s3->log_lines;
            sleep 0.05;
        }
        $server->stop;
        ok( Rts3::Test::Process::wait_for( $pid, 60 ), 'a database that goes away in the middle' );
        is( $? >> 8, 2, '... exit status' );
        like( slurp($out), qr/\A\{"error":"RT's database: [^\n]*\}\n\z/, '... and why, and nothing else' )
            or diag slurp("$out.err");
        $s3->faults;
    };
}

done_testing;
