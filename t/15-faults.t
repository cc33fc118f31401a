#!/usr/bin/perl
# Every trouble with the server, for every call: what comes of it, and what must be true whatever comes of it. The table of faults is
# in t/lib/Rts3/Test/FaultMatrix/, what was found in docs/faults.md, which RTS3_WRITE_DOCS=1 writes anew.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::FaultMatrix;
use Rts3::Test::FaultMatrix::Document qw(rows write_document written);
use Rts3::Test::FaultMatrix::Outcome  qw(word wrongs);

delete @ENV{ grep {/_proxy$/i} keys %ENV };

my $start  = time;
my $matrix = Rts3::Test::FaultMatrix->new;
$matrix->run;
write_document($matrix) if $ENV{RTS3_WRITE_DOCS};
my %written = written();
my %found   = map {@$_} rows($matrix);
my $cells   = 0;

for my $fault ( $matrix->faults ) {
    my @cells  = $matrix->cells($fault);
    my @wrongs = map {
        my $cell = $_;
        map {"$cell->{call}{name}: $_"} wrongs($cell)
    } grep {defined} @cells;
    $cells += grep {defined} @cells;
    is( join( ' ',  map { word($_) } @cells ), $fault->{expect}, $fault->{name} );
    is( join( "\n", @wrongs ),                 '',               '... nothing lost, false or late' );
    is( $found{ $fault->{name} }, $written{ $fault->{name} }, '... as docs/faults.md says' );
    delete $written{ $fault->{name} };
}
ok( !$matrix->was_followed, 'no redirect was followed to another host' );
is_deeply( [ sort keys %written ], ['fault'], 'docs/faults.md has no other rows' );
note "$cells cells in " . ( time - $start ) . ' s';

done_testing;
