#!/usr/bin/perl
# rt-s3 externalize of attachments of 200 MB among others, on each database: its peak memory.
# RTS3_WRITE_DOCS=1: rewrite the table in docs/benchmarks.md, if all is well.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use MIME::Base64 ();
use POSIX        qw(strftime);
use Test::More;

use lib "$FindBin::Bin/../t/lib";
use Rts3::Test::AttachmentRows ();
use Rts3::Test::DatabaseServer ();
use Rts3::Test::File           qw(slurp spew);
use Rts3::Test::MadeUp         ();
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);

use constant { MOST => 350, LARGE => 200_000_000, SMALL => 100_000 };

needs_library;

# So that the servers end
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my %NAME  = ( SQLite => 'SQLite', Pg => 'PostgreSQL', mysql => 'MariaDB' );
my $block = join '', map { pack 'N', $_ * 2_654_435_761 % 2**32 } 1 .. 1_000_000;
my ( %figures, $s3 );

for my $type ( split /,/, $ENV{RTS3_DATABASES} || 'Pg,mysql,SQLite' ) {
    subtest $NAME{$type} => sub {
        needs( Rts3::Test::DatabaseServer->missing($type) ) if $type ne 'SQLite';
        $s3 //= needs_s3;
        my $bucket = lc "large-$type";
        my $server = $type eq 'SQLite' ? undef : Rts3::Test::DatabaseServer->start($type);
        my $rt     = needs_rt(
            storage => { Type => 'AmazonS3', Bucket => $bucket, $s3->options },
            config  => $server ? $server->config : ''
        );
        $s3->make_bucket($bucket);
        my $rows = Rts3::Test::AttachmentRows->new(
            rt     => $rt,
            s3     => $s3,
            bucket => $bucket,
            ( $server ? ( dbh => sub { $server->dbh } ) : () )
        );

        # Such a one can be put into MariaDB only where it is let; it can be read anyway
        $server->dbh->do('SET GLOBAL max_allowed_packet = 1024 * 1024 * 1024') if $type eq 'mysql';
        my ( @ids, @large );
        for my $round ( 1, 2 ) {
            push @ids, $rows->add( 300, mark => "$type$round", size => SMALL );
            my $bytes = $block x ( LARGE / length $block ) . $round;
            my %how   = ( content => $bytes );
            %how = ( content => MIME::Base64::encode_base64($bytes), as => $bytes, encoding => 'base64' )
                if $type eq 'Pg';
            push @large, $rows->add( 1, %how );
        }
        $server->dbh->do('SET GLOBAL max_allowed_packet = 16 * 1024 * 1024') if $type eq 'mysql';

        my $turn = $rt->externalizers_turn;
        my $run  = Rts3::Test::MadeUp->measured( [ $rt->tool(qw(externalize --json)) ], { $rt->environment } );
        is( $run->{exit}, 0, 'all are moved' ) or diag $run->{out}, $run->{err};
        cmp_ok( $run->{peak}, '<', MOST, sprintf '... in %.0f MB', $run->{peak} );
        is_deeply( [ $rows->left( @ids, @large ) ], [], '... none is left' );
        is( $rows->row($_)->{content}, sha256_hex( $rows->contents->{$_} ), "... $_ as it was" ) for @large;
        is_deeply( [ $rows->lost(@ids) ], [], '... none is lost' );
        $figures{$type} = sprintf "| %s | %.0f MB |\n", $NAME{$type}, $run->{peak};
        diag sprintf '%s: %.0f MB, %.0f s, %.0f s of a processor', $NAME{$type}, @{$run}{qw(peak seconds processor)};
    };
}

if ( $ENV{RTS3_WRITE_DOCS} && Test::More->builder->is_passing ) {
    my $file = "$FindBin::Bin/../docs/benchmarks.md";
    my $page = slurp($file);
    my $date = strftime( '%Y-%m-%d', gmtime );
    my $table =
          "| database | peak memory |\n|---|---|\n"
        . join( '', map { $figures{$_} // () } qw(SQLite Pg mysql) )
        . "\nMeasured $date.\n";
    $page =~ s/(?<=<!-- memory -->\n).*?(?=<!-- end -->)/$table/s or die "$file has no place for the table";
    spew( $file, $page );
}
done_testing;
