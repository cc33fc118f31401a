package Rts3::Test::FaultMatrix::Outcome;

use strict;
use warnings;

use Exporter   qw(import);
use List::Util qw(min);

our @EXPORT_OK = qw(takes word wrongs);

=head1 NAME

Rts3::Test::FaultMatrix::Outcome - what came of a call, and what must be true whatever came of it

=head1 FUNCTIONS

=head2 word $cell

What came of it, in the words of L<Rts3::Test::FaultMatrix/DESCRIPTION>.

=cut

use constant AT_ONCE => 2;
use constant LOAD    => 2;    # seconds that other programs may cost

# Loading the machine's certificate authorities: 0.1 s of the processor, more of a busy one
use constant AUTHORITIES => 4;
use constant SLOWEST     => 64_000;    # bytes per second

sub word {
    my ($cell) = @_;
    return '-' if !$cell;
    my ( $fault, $job, $result ) = @$cell{qw(fault job result)};
    return 'died' if !$result->{outcome};
    my $word = $result->{outcome};
    $word .= '/' . _own($cell) if $word eq 'ok' || !$fault->{loose};
    $word .= '~'               if _resumed($cell);
    $word .= '!'               if _down($cell);
    my $usual =
          $job->{call} eq 'store'  && !$job->{exists} ? ( $result->{outcome} eq 'ok' ? 'whole' : 'nothing' )
        : $job->{call} eq 'delete' && $result->{outcome} eq 'ok' ? 'nothing'
        :                                                          'whole';
    $word .= "+$result->{bucket}" if $result->{bucket} ne $usual;
    return $word;
}

sub _of_object {
    my ($cell) = @_;
    return grep { $_->{key} eq $cell->{job}{prefix} . $cell->{result}{key} } @{ $cell->{requests} };
}

# Without those that were made later, to see whether Store had told a lie
sub _own {
    my ($cell) = @_;
    my @requests = _of_object($cell);
    return $cell->{job}{after} ? scalar grep { $_->{operation} ne 'GetObject' } @requests[ 0 .. 1 ] : @requests;
}

sub _ranges {
    my ($cell) = @_;
    return map { ( $_->{headers}{range} // '' ) =~ /^bytes=([1-9][0-9]*)-\z/ ? $1 : () } _of_object($cell);
}

sub _resumed { my ($cell) = @_; my @ranges = _ranges($cell); return @ranges > 0 }

sub _down {
    my ($cell) = @_;
    return !!grep {/server is (?:still )?down/} @{ $cell->{result}{messages} };
}

=head2 wrongs $cell

What is wrong with a cell, whatever was expected of it: a list of lines.

=cut

sub wrongs {
    my ($cell) = @_;
    return                                if !$cell;
    return 'it died, or had to be killed' if !$cell->{result}{outcome};
    return ( _lost($cell), _late($cell), _error($cell), _not_fired($cell), _told($cell) );
}

sub _lost {
    my ($cell) = @_;
    my ( $fault, $job,    $result ) = @$cell{qw(fault job result)};
    my ( $call,  $bucket, $is_ok )  = ( $job->{call}, $result->{bucket}, $result->{outcome} eq 'ok' );
    my @wrongs;
    push @wrongs, 'Get returned other bytes' if $call eq 'get' && $is_ok && !$result->{is_ours};
    push @wrongs, "Store said yes, the object is $bucket"
        if $call eq 'store' && $is_ok && $bucket ne 'whole' && !$fault->{then};
    push @wrongs, "the object was whole and is $bucket" if $job->{exists} && $call ne 'delete' && $bucket ne 'whole';
    push @wrongs, "the object is $bucket" if $call eq 'delete' && $bucket eq 'damaged';
    my $said = grep { ( $_->{status} // 0 ) == 404 } _of_object($cell);
    push @wrongs, 'it says no, the server did not' if $result->{outcome} eq 'not-found' && !$said;
    my ( $get, $store, $then ) = @{ $result->{after} // [] };
    push @wrongs, "afterwards: Get $get, Store $store, the object is $then"
        if $get && "$get $store $then" ne "$fault->{then} ok whole";
    return @wrongs;
}

=head2 takes @cells

How long the calls of a row may take, in words. Where none of them is over soon, it is not C<at once>, whatever was expected; a few may
have been slow, for the machine may be busy.

=cut

sub takes {
    my (@cells) = @_;
    my $fault = $cells[0]{fault};
    return 'Deadline + size' if $fault->{slow};
    my $soonest = min map { $_->{result}{seconds} // 0 } @cells;
    return $fault->{waits} || $soonest > AT_ONCE ? 'Deadline' : 'at once';
}

sub _late {
    my ($cell) = @_;
    my ( $fault, $job, $result ) = @$cell{qw(fault job result)};
    my $bound = $job->{options}{Deadline} + LOAD;
    $bound += $job->{size} / SLOWEST if $fault->{slow};
    $bound += AUTHORITIES            if $job->{options}{Host} =~ /^https/;
    return sprintf 'it took %.1f s', $result->{seconds}
        if $result->{seconds} > $bound || $result->{seconds} < ( $fault->{least} // 0 );
    return;
}

sub _error {
    my ($cell) = @_;
    my ( $fault, $job, $result ) = @$cell{qw(fault job result)};
    my $error  = $result->{error} // return;
    my ($host) = $job->{options}{Host} =~ m{^https?://(.*)};
    my %parts  = (
        operation => qr/^(?:PUT|GET|HEAD|DELETE) /,
        key       => qr/\Q$result->{key}\E/,
        bucket    => qr/\bbucket files\b/,
        host      => qr/\Q$host\E/,
        hint      => $fault->{says} // qr//,
    );
    my @wrongs = map {"no $_ in: $error"} grep { $error !~ $parts{$_} } sort keys %parts;
    push @wrongs, "not one line: $error" if $error =~ /[\r\n]/ || length $error > 1000;
    my @signatures = map { ( $_->{headers}{authorization} // '' ) =~ /Signature=([0-9a-f]+)/ } @{ $cell->{requests} };

    for my $text ( $error, @{ $result->{messages} } ) {
        push @wrongs, "a secret in: $text"
            if grep { index( $text, $_ ) >= 0 } @{ $job->{options} }{qw(SecretAccessKey SessionToken)}, @signatures,
            'Signature=';
    }
    return @wrongs;
}

my %Logged = ( delay_ms => 'delay', latin1_headers => 'headers', clock_s => 'clock', header_bytes => 'headers' );

sub _not_fired {
    my ($cell) = @_;
    my $fault  = $cell->{fault};
    my ($name) = keys %{ $fault->{do} // {} } or return;
    return if ( $fault->{unlogged} // '' ) eq $cell->{call}{name};
    my $do     = $fault->{do}{$name};
    my $at     = ref $do eq 'HASH' && $do->{at} ? ":$do->{at}" : '';
    my $logged = ( $Logged{$name} // $name ) . $at;
    return if grep {
        grep { $_ eq $logged } split /[+]/, $_->{fault} // ''
    } @{ $cell->{requests} };
    return "the fault $logged did not happen";
}

sub _told {
    my ($cell)   = @_;
    my $fault    = $cell->{fault};
    my $result   = $cell->{result};
    my @messages = grep { !/http:/ } @{ $result->{messages} };
    my @wrongs;
    push @wrongs, "before: $result->{primed}"    if ( $result->{primed} // 'ok' ) ne 'ok';
    push @wrongs, 'the server is taken for down' if $fault->{stays} && _down($cell);
    if ( $fault->{warns} && $result->{outcome} eq 'ok' ) {
        push @wrongs, "warnings: @messages" if @messages != 1 || $messages[0] !~ $fault->{warns};
    }
    my ($after) =
        map { $_->{after} } grep { ref eq 'HASH' && ( $_->{at} // '' ) eq 'body' } values %{ $fault->{do} // {} };
    my @ranges = _ranges($cell);
    push @wrongs, "asked for the rest from @ranges on, not $after"
        if $fault->{once} && defined $after && !$fault->{do}{reset} && $ranges[0] && $ranges[0] != $after;
    return @wrongs;
}

1;
