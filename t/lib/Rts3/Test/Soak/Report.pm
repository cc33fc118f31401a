package Rts3::Test::Soak::Report;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(page tables);

=head1 NAME

Rts3::Test::Soak::Report - what a soak found, for people

=head1 FUNCTIONS

=head2 tables $soak

The figures of a L<Rts3::Test::Soak>, as tables in Markdown.

=cut

my @CALLS = qw(store store-again get head delete);
my %CALL  = ( 'store-again' => 'store of what is there already', store => 'store of something new' );

# What an administrator can make of the names in the server's log
my %FAULT = (
    answer           => 'an error as answer: 400, 403, 429, 500, 502, 503',
    raw              => 'an answer that is not HTTP, or ends in its head',
    ignore_condition => 'If-None-Match not heeded',
    refuse_condition => 'If-None-Match refused (501)',
    drop_etag        => 'an answer without ETag',
    delay            => 'an answer 0.5 or 3 s late',
    rate             => 'an answer at 300 kB/s',
    upload_rate      => 'an upload taken at 300 kB/s',
    'flip:body'      => 'a byte of the answer changed on its way',
    'flip:upload'    => 'a byte of the upload changed on its way',
    length           => 'a wrong, missing or meaningless Content-Length',
    headers          => 'headers that are not ASCII, or one of 1 MB',
    close_ms         => 'connection closed after an answer',
    reset_ms         => 'connection reset after an answer',
    region           => 'another region demanded',
    clock            => 'a clock that is 20 minutes off',
);
my %BREAK = ( stall => 'silence', reset => 'connection reset', close => 'connection closed' );
my %POINT = (
    upload   => 'within the upload',
    received => 'after the request, nothing done',
    answered => 'the request is carried out, no answer',
    head     => q{at the answer's begin},
    body     => 'within the answer',
);

sub tables {
    my $soak = shift;
    return join "\n", _calls($soak), _codes($soak), _faults($soak), _memory($soak);
}

sub _table {
    my ( $head, @rows ) = @_;
    return join '', map {"$_\n"} join( ' | ', "| $head->[0]", @{$head}[ 1 .. $#{$head} ] ) . ' |',
        '|---' x @{$head} . '|',
        map { join( ' | ', "| $_->[0]", @{$_}[ 1 .. $#{$_} ] ) . ' |' } @rows;
}

sub _calls {
    my $soak = shift;
    my @rows = map {
        [ $CALL{$_} // $_, map { $_ // 0 } @{ $soak->{calls}{$_} }{qw(ok failed longest)} ]
    } @CALLS;
    $_->[3] = sprintf '%.1f s', $_->[3] for @rows;
    my @sum = ( 0, 0 );
    for my $row (@rows) { $sum[ $_ - 1 ] += $row->[$_] for 1, 2 }
    return _table( [ 'call', 'succeeded', 'failed', 'longest' ], @rows, [ 'together', @sum, '' ] );
}

sub _codes {
    my $soak = shift;
    my @rows;
    for my $code ( sort keys %{ $soak->{codes} } ) {
        my $calls = $soak->{codes}{$code};
        push @rows, [ "`$code`", map { $calls->{$_} // 0 } @CALLS ];
    }
    return _table( [ 'failed with', map {"`$_`"} @CALLS ], @rows );
}

sub _faults {
    my $soak = shift;
    my %count;
    while ( my ( $names, $number ) = each %{ $soak->{faults} } ) {
        $count{$_} += $number for split /\+/, $names;
    }
    my @rows = map { [ _fault($_), $count{$_} ] } sort { _fault($a) cmp _fault($b) } keys %count;
    return _table( [ 'trouble', 'requests' ], @rows );
}

sub _fault {
    my $name = shift;
    my ( $how, $at ) = split /:/, $name;
    return $FAULT{$name} // "$BREAK{$how}: $POINT{$at}";
}

sub _memory {
    my $soak = shift;
    my ( @rows, @head );
    for my $memory ( $soak->memory ) {
        my $number = @head / 2 + 1;
        push @head, map {"process $number $_"} 'warm', 'in the end';
        my $row = 0;
        for my $what (qw(rss pss)) {
            push @{ $rows[ $row++ ] }, map { sprintf '%.1f MB', $_ / 1024 } @{ $memory->{$what} };
        }
        push @{ $rows[ $row++ ] }, @{ $memory->{$_} } for qw(descriptors threads);
    }
    my @names = ( 'memory (RSS)', 'memory (PSS)', 'descriptors, at most', 'threads, at most' );
    return _table( [ 'process that was spared', @head ], map { [ $names[$_], @{ $rows[$_] } ] } 0 .. $#names );
}

=head2 page $soak, %run

The whole of F<docs/soak.md>, for a soak in which nothing failed; with C<date> and C<library>, its version.

=cut

sub page {
    my ( $soak, %run ) = @_;
    my ( $calls, $codes, $faults, $memory ) = ( _calls($soak), _codes($soak), _faults($soak), _memory($soak) );
    my $minutes = sprintf '%.0f', $soak->{seconds} / 60;
    my ( $sum, $met ) = ( 0, 0 );
    $sum += $_->{ok} + $_->{failed} for values %{ $soak->{calls} };
    $met += $_                      for values %{ $soak->{faults} };
    my $said = join ', ', map {"$soak->{said}{$_} of level $_"} sort keys %{ $soak->{said} };
    $said ||= 'none';
    my $warm = $soak->{warm_up} == 60 ? 'a minute' : "$soak->{warm_up} seconds";
    return <<"END";
# $minutes minutes of trouble

Does anything get lost, mixed up or used up when many processes use the library for a time, the server and the network
fail in every way, and processes are killed in the middle of a call? Tried out by `xt/20-soak.t`, which also wrote this page:
change it there.

## What was done

$soak->{processes} processes store, read, ask for and delete contents of 100 bytes to 5 MB in one bucket, through http and https in
turn, as fast as they can. One is killed with `kill -9` every $soak->{kill_every} seconds, and a new one takes its place; two are
spared. One of ${\ sprintf '%.0f', 1 / $soak->{chance}} requests to the server meets with trouble, if it is one that such trouble can happen to. Each process compares every byte
that it reads with what it must be, and keeps a journal: a line before each call and one after it. So it is known afterwards of each
content whether its Store was said to be a success, also where the process was killed in the next moment; and that is compared with the
files of the server.

`ReadTimeout` and `ConnectTimeout` were 2 seconds and `Deadline` was 20, so that much trouble fits into the time; everything else as it
is by default.

Left out is a server that answers that it stored what it did not, or that it does not know an object that it has: no client can
make good for these. (What the library does about damaged objects is tested elsewhere.)

## What it showed

$run{date}, rts3 $run{library}. $sum calls, $soak->{requests} requests, $met of them in trouble; $soak->{kills} processes killed,
$soak->{cut} of them in the middle of a call. Everything ran on one machine with other work to do: the times say nothing of how
fast anything is.

| | |
|---|---|
| contents whose Store was a success, and that nobody deleted | $soak->{kept} |
| ... not in the bucket | ${\ scalar @{ $soak->{lost} } } |
| objects in the bucket that are damaged | ${\ scalar @{ $soak->{damaged} } } |
| ... that nobody stored | ${\ scalar @{ $soak->{strange} } } |
| ... whose Delete was a success | ${\ scalar @{ $soak->{undead} } } |
| calls that gave wrong bytes, or a wrong size | ${\ scalar keys %{ $soak->{wrong} } } |

$calls
$codes
(A call fails when all its attempts met with trouble, or when the trouble is such that another attempt would be no use: `denied` is an
error 403, `corrupt` a byte changed on its way twice in a row.) Messages for RT's log: $said.

What the requests met with:

$faults
Warm is after $warm:

$memory
For an administrator:

- **What RT was told to be stored is stored, whole.** `rt-externalize-attachments` removes a content from the database only
  after that, so it may be killed at any moment, and started again.
- **A Get gives the right bytes or an error**, whatever the network does to them on their way. RT then shows an error page, or
  answers so that a browser, or whoever else asked, comes again.
- Most trouble is never seen: the call tries again, by default up to 4 times within its `Deadline`. What failed here can simply be
  done again.
- The processes of a web server do not grow: neither memory nor connections nor threads add up with failures.
END
}

1;
