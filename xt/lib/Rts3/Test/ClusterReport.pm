package Rts3::Test::ClusterReport;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(page table);

=head1 NAME

Rts3::Test::ClusterReport - what F<xt/10-garage-cluster.t> found, for people

=head1 FUNCTIONS

=head2 table %run

The figures, as a table in Markdown. C<parts> is a list of hashes of them. Of C<said>, the library's different messages, only
C<page> makes use.

=cut

my @ROWS = (
    [ 'Stores'                                 => sub { $_->{stores} } ],
    [ '... that failed'                        => sub { $_->{failed} } ],
    [ 'contents, all different'                => sub { _size( $_->{smallest} ) . ' to ' . _size( $_->{largest} ) } ],
    [ '... together'                           => sub { _size( $_->{size} ) } ],
    [ 'the node was down for'                  => sub { _time( $_->{down} ) } ],
    [ 'Stores under way in that time'          => sub { $_->{during} } ],
    [ 'median of all Stores'                   => sub { _time( $_->{median} ) } ],
    [ 'longest Store'                          => sub { _time( $_->{longest} ) } ],
    [ 'requests that reached a node once more' => sub { $_->{repeated} } ],
    [ 'answers 5xx to Stores'                  => sub { $_->{refused} } ],
    [ 'messages for the log'                   => sub { $_->{messages} } ],
    [ 'all three nodes together again after'   => sub { _time( $_->{whole} ) } ],
    [ 'objects read back through each node: Get' => sub { $_->{library} } ],
    [ '... another client'                       => sub { $_->{other} } ],
);

sub table {
    my %run  = @_;
    my $text = join( ' | ', '| what was killed', map { $_->{name} } @{ $run{parts} } ) . " |\n";
    $text .= '|---' x ( 1 + @{ $run{parts} } ) . "|\n";
    for my $row (@ROWS) {
        my ( $what, $figure ) = @{$row};
        $text .= join( ' | ', "| $what", map { $figure->() } @{ $run{parts} } ) . " |\n";
    }
    return $text;
}

sub _size {
    my ($bytes) = @_;
    return "$bytes bytes" if $bytes < 1000;
    return sprintf '%.1f kB', $bytes / 1e3 if $bytes < 1e6;
    return sprintf '%.1f MB', $bytes / 1e6;
}

sub _time {
    my ($seconds) = @_;
    return sprintf '%.0f ms', $seconds * 1000 if $seconds < 1;
    return sprintf '%.1f s',  $seconds;
}

=head2 page %run

The whole of F<docs/cluster.md>, for a run in which nothing failed; with C<date>, C<minutes>, and the versions C<garage> and
C<library>.

=cut

sub page {
    my %run   = @_;
    my $table = table(%run);
    my ( $other, $spoken ) = @{ $run{parts} };
    my $all     = $other->{stores} + $spoken->{stores};
    my $longest = _time( $spoken->{longest} );
    my $said    = join '', map {"    $_\n"} map { @{ $_->{said} } } $other, $spoken;
    $said =~ s/127\.0\.0\.1:\K\d+/PORT/g;
    $said = "What the library had to say to RT's log, in both parts and all processes:\n\n$said\n" if $said;
    my $minutes = sprintf '%.0f', $run{minutes};
    return <<"END";
# When a node of the cluster dies

What happens to RT's attachments when a server of a storage cluster is lost while they are being stored? Tried out by
`xt/10-garage-cluster.t`, which also wrote this page: change it there.

## What was done

Three nodes of Garage $run{garage} on one machine, with `replication_factor = 3`, so that each keeps a copy of everything.
$other->{processes} processes store contents through the library, $other->{stores} in each part, all of them speaking to the same
node. After a quarter of them a node is killed with `kill -9`, and later started again, at the same address:

- first one that they do *not* speak to, which comes back after three quarters of the Stores;
- then the very node that they speak to, which comes back after 5 seconds. They know no other one.

When all three nodes have found each other again, each object is read through each of them and compared byte for byte: by
the library's Get, and by a client that has nothing to do with the library.

## What it showed

$run{date}, Garage $run{garage}, rts3 $run{library}; $minutes minutes. Garage was built without optimisation, and everything
ran on one machine: the times say nothing of how fast either is.

$table
${said}For an administrator:

- **All $all Stores succeeded, and each object could be read afterwards, through each node.** Nobody had to do or
  repeat anything.
- The loss of a node that RT does not speak to is not noticed: two of three copies are enough for Garage to store and to
  read, and the third one is made when the node is back.
- While the node that RT speaks to is down, `rt-externalize-attachments` and other programs wait for it, and go on when it is
  back: here the longest Store took $longest. They wait as long as the option `Deadline` says, 120 seconds; after that the
  Store fails, the attachment stays in the database, and the next run moves it. A web server does not wait so long: its users
  get an error page.
- So the node at `Host` is the one whose loss is felt. A load balancer before the nodes, which leaves out those that are
  down, makes it like any other one.
- **Restart one node at a time, and wait half a minute before the next.** Garage's nodes look for lost ones every 30 seconds.
  If a second one goes down before the first was found again, the third is left alone, and answers `503
  ServiceUnavailable: Could not reach quorum` for up to half a minute, although two nodes are up. `garage status`, asked on
  *each* node, says whom it has found.
- Write the other nodes into `bootstrap_peers` of each node's configuration, as was done here. A young node without it
  finds nobody when it comes back, and waits to be found.
END
}

1;
