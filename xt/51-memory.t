#!/usr/bin/perl
# rt-s3 externalize of attachments of 200 MB among others, on each database: its peak memory.
# RTS3_WRITE_DOCS=1: rewrite the table in docs/benchmarks.md, if all is well.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use MIME::Base64 ();
use Test::More;

use lib "$FindBin::Bin/../t/lib", "$FindBin::Bin/lib";
use Rts3::Test::EachDatabase qw(each_database write_table);
use Rts3::Test::MadeUp       ();
use Rts3::Test::Needs        qw(needs_library);

use constant { MOST => 350, LARGE => 200_000_000, SMALL => 100_000 };

needs_library;

# So that the servers end
local @SIG{qw(INT TERM)} = ( sub { exit 130 } ) x 2;

my $block = join '', map { pack 'N', $_ * 2_654_435_761 % 2**32 } 1 .. 1_000_000;

sub peak {
    my ( $type, $rt, $rows, undef, $server ) = @_;

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
    diag sprintf '%.0f s, %.0f s of a processor', @{$run}{qw(seconds processor)};
    return sprintf '%.0f MB', $run->{peak};
}

each_database( bucket => 'large', test => \&peak );
write_table( 'benchmarks.md', 'memory', '| database | peak memory |', '|---|---|' );
done_testing;
