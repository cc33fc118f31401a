package Rts3::Bench::Garage;

use strict;
use warnings;

use Rts3::Bench ();
use Rts3::Bench::Garage::Server;
use Rts3::Bench::Objects;

=head1 NAME

Rts3::Bench::Garage - one object after the other, with a server that is not the tests' own

=cut

my @PEERS = qw(ours own aws-sdk-s3);
my @WHAT =
    ( { size => 10_000, name => '10 kB', rounds => 40 }, { size => 10_000_000, name => '10 MB', rounds => 11 } );

sub options { return () }

sub run {
    my ( $class, %option ) = @_;
    my $server = 'Rts3::Bench::Garage::Server';
    if ( $server->missing ) {
        print "building Garage, once: some minutes\n";
        $server->build;
    }
    my $s3    = $server->start;
    my $bench = Rts3::Bench::Objects->new(
        s3     => $s3,
        scheme => 'http',
        host   => 'localhost:' . $s3->port,
        number => 'garage',
        peers  => \@PEERS
    );
    my @rows = ( "| | this module | RT's own | aws-sdk-s3 |", '|---' x ( 1 + @PEERS ) . '|' );
    for my $what (@WHAT) {
        my $result = $bench->measure( size => $what->{size}, rounds => $option{rounds} // $what->{rounds} );
        for my $operation (qw(store get)) {
            push @rows,
                Rts3::Bench::Objects::row( "\u$operation $what->{name}",
                map { 1000 * $result->{$operation}{$_}{seconds} } @PEERS );
            print "$rows[-1]\n";
        }
    }
    return join "\n", @rows, '',
          Rts3::Bench::when()
        . Rts3::Bench::machine()
        . '. Garage '
        . $server->version
        . ', built without optimisation, on the same machine over http. Milliseconds; in brackets the ratio to this module.',
        '';
}

1;
