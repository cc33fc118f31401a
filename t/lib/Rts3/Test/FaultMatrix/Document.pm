package Rts3::Test::FaultMatrix::Document;

use strict;
use warnings;

use Cwd            qw(abs_path);
use Exporter       qw(import);
use File::Basename qw(dirname);

use Rts3::Test::FaultMatrix::Outcome qw(takes word);
use Rts3::Test::File                 qw(slurp spew);

our @EXPORT_OK = qw(rows write_document written);

=head1 NAME

Rts3::Test::FaultMatrix::Document - F<docs/faults.md>

=head1 FUNCTIONS

=head2 rows $matrix

The lines of the table that the run has found: pairs of a fault's name and its line.

=cut

sub rows {
    my ($matrix) = @_;
    return map {
        my $fault = $_;
        my @cells = $matrix->cells($fault);
        my $takes = takes( grep {defined} @cells );
        [ $fault->{name}, '| ' . join( ' | ', $fault->{name}, ( map { _cell($_) } @cells ), $takes ) . ' |' ];
    } $matrix->faults;
}

sub _cell {
    my ($cell) = @_;
    my $word = word($cell);
    return '-' if $word eq '-';
    my ( $outcome, $requests, $rest, $down ) = $word =~ m{^([a-z-]+)(?:/([0-9]+))?(~?)(!?)} or return $word;
    my $text = $outcome;
    $text .= " ($requests)" if defined $requests;
    $text .= ', rest'       if $rest;
    $text .= ', down'       if $down;
    return $text if $cell->{call}{call} =~ /^(?:get|head)\z/;
    return "$text; $cell->{result}{bucket}";
}

=head2 written

What F<docs/faults.md> says now: a hash of lines, by the fault's name.

=head2 write_document $matrix

Writes it anew.

=cut

sub _file { return abs_path( dirname(__FILE__) . '/../../../../..' ) . '/docs/faults.md' }

sub written {
    return map { /^\| (.*?) \|/ ? ( $1 => $_ ) : () } split /\n/, slurp( _file() );
}

sub write_document {
    my ($matrix) = @_;
    my @titles   = ( 'fault', ( map { $_->{title} } $matrix->calls ), 'takes' );
    my $text     = _introduction($matrix);
    $text .= "\n## The table\n\n| " . join( ' | ', @titles ) . " |\n|" . '---|' x @titles . "\n";
    $text .= "$_->[1]\n" for rows($matrix);
    spew( _file(), $text );
    return;
}

sub _introduction {
    my ($matrix) = @_;
    my %options  = $matrix->options;
    my $options  = join ', ', map {"`$_ => $options{$_}`"} sort keys %options;
    return <<"END";
# Faults

What comes of each call in each trouble with the S3 server. The table is made by `t/15-faults.t`, which lets a server of its own be in
trouble, makes every call once in each, and fails where a line is not true any more. After a change that is meant:

    RTS3_WRITE_DOCS=1 prove -Iperl/lib -It/lib t/15-faults.t

## How to read it

Each row is a trouble, each column a call; *exists* is the question whether an object is there. *Once*
means that the first request is struck and the next one is well; otherwise every request is. The options were $options: short
times, so that the test is quick. With the defaults the same happens, only later. The handle is that of a web server, which fails at
once while S3 is down; RT's tools wait for its recovery, within their `Deadline`.

A cell says

- `ok`, or the kind of the error, which is the word in brackets at the end of the line in RT's log: `network` (no connection, or it broke), `timeout`,
  `server` (it failed, or does not speak S3), `throttled` (it asks to slow down), `denied`, `credentials`, `config` (look at the options), `not-found`,
  `no-bucket`, `corrupt` (what is in the bucket is not what was stored);
- `(2)`: how many requests were made for the object. The first row shows how many there are where nothing is wrong: Store asks
  first for a large content, and reads what is there already, for it believes nothing that it has not seen. Where it depends on the time they
  took, their number is not told;
- `rest`: a later request asked only for what had not arrived yet;
- `down`: the server is taken for down. Further calls do not ask it for 5 s, then up to 60 s; in a web server they fail at once with `unavailable`;
- `whole`, `damaged`, `nothing`: what is in the bucket afterwards, for calls that write. Get and *exists* change nothing;
- `-`: this trouble can't strike this call.

`takes` says how long: `at once` (the pauses between attempts are at most 0.3 s), `Deadline` (up to the option of that name), or
`Deadline + size` (a transfer that moves may go on, at 64 kB/s at least).

Where no answer came, one byte of another object is asked for, too (its key is the SHA-256 of nothing, under the same prefix): is it the server
that is silent, or only this object? Such requests are not counted. Store, refused with 400 or 501, tries once without the condition
`If-None-Match`, which not every server knows. Where Store of a large content asks first, it is the upload that is struck.

## What is true in every cell

The test looks at this whatever the outcome was expected to be:

1. Get returned the content, byte for byte, or an error.
2. Where Store said yes, the object in the bucket is whole. The exception is a server that says it stored what it did not (the rows *success is said*);
   no client can see that without reading every object back. Get then says `not-found` or `corrupt` and never returns wrong bytes, and storing
   the same content again mends it.
3. What was whole before is whole afterwards, Delete aside: a Delete that failed may have deleted. *exists* says `not-found` only where the server said 404.
4. The call ended within its Deadline, or for transfers that move its Deadline + size at 64 kB/s.
5. The error is one line, names operation, key, bucket and host, and holds neither the secret key nor the session token nor a signature.
6. The trouble really took place: the server's log says so. A redirect to another host was never followed.
END
}

1;
