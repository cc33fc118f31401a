package Rts3::Bench::Large::Report;

use strict;
use warnings;

use List::Util qw(max);

use Rts3::Bench ();
use Rts3::Bench::Chart;
use Rts3::Bench::Fit;

=head1 NAME

Rts3::Bench::Large::Report - tables and chart of docs/large.md

=head1 SYNOPSIS

    my $report = Rts3::Bench::Large::Report->new( SQLite => { verify => { 1000 => $run, ... }, ... }, Pg => ... );
    my %table  = $report->tables;    # by the names of their places on the page
    my $svg    = $report->chart;

=head1 METHODS

=head2 new DATABASE => RUNS, ...

What L<Rts3::Bench::Large> has measured, by name and number of attachments.

=head2 tables, chart, fit DATABASE, NAME, FIGURE

The tables; the chart; the L<Rts3::Bench::Fit> of seconds, or of another figure.

=cut

# Of two points nobody can say how far off a line is
use constant { EXPECTED => 10_000_000, FEW => 2 };

my @NAMES = (
    [ verify                    => '`rt-s3 verify`' ],
    [ 'verify-orphans'          => '`rt-s3 verify --orphans`' ],
    [ 'verify-deep'             => '`rt-s3 verify --deep`' ],
    [ status                    => '`rt-s3 status`' ],
    [ check                     => '`rt-s3 check`' ],
    [ page                      => 'the page in RT' ],
    [ 'externalize-nothing'     => '`rt-s3 externalize`, nothing new' ],
    [ 'rt-nothing'              => q{RT's script and module, nothing new} ],
    [ 'externalize-day'         => '`rt-s3 externalize`, 1,000 new ones' ],
    [ 'externalize-since'       => '`rt-s3 externalize --since` yesterday, 1,000 new ones' ],
    [ 'externalize-first-since' => '`rt-s3 externalize --since` yesterday, no mark' ],
    [ 'externalize-first'       => '`rt-s3 externalize`, no mark' ],
    [ 'rt-first'                => q{RT's script and module, no mark} ],
    [ migrate                   => '`rt-s3 migrate`, all to be copied' ],
    [ 'migrate-again'           => '`rt-s3 migrate`, all copied before' ],
    [ internalize               => '`rt-s3 internalize --ids`, 10 of them' ],
);
my %IN_CHART =
    map { $_ => 1 }
    qw(verify verify-deep status page externalize-nothing rt-nothing externalize-first rt-first migrate);

my @KINDS = ( [ LIST => 'LIST' ], [ 'PUT, POST' => qw(PUT POST) ], [ 'GET, HEAD' => qw(GET HEAD) ] );

my $SECONDS   = sub { $_[0]{seconds} };
my $PROCESSOR = sub { $_[0]{processor} };

sub new {
    my ( $class, %runs ) = @_;
    return bless { runs => \%runs }, $class;
}

sub _points {
    my ( $self, $database, $name, $figure ) = @_;
    my $runs = $self->{runs}{$database}{$name} || {};
    return grep { defined $_->[1] } map { [ $_, $figure->( $runs->{$_} ) ] } sort { $a <=> $b } keys %{$runs};
}

# What needs no more of a processor with more attachments takes no more time: if it did, the machine was busy
sub fit {
    my ( $self, $database, $name, $figure ) = @_;
    my @points    = $self->_points( $database, $name, $figure // $SECONDS );
    my @processor = $self->_points( $database, $name, $PROCESSOR );
    return Rts3::Bench::Fit->constant(@points)
        if ( $figure // $SECONDS ) == $SECONDS && @processor && !Rts3::Bench::Fit->new(@processor)->b;
    return Rts3::Bench::Fit->new(@points);
}

sub tables {
    my ($self) = @_;
    my %table = map {
        (
            lc "$_ time"   => $self->_table( $_, $SECONDS,            \&_time,   \&_slope ),
            lc "$_ memory" => $self->_table( $_, sub { $_[0]{peak} }, \&_memory, \&_growth ),
        )
    } keys %{ $self->{runs} };
    return %table if !$self->{runs}{SQLite};

    # With another database most of it is that one's
    my $processor = $self->_table( 'SQLite', $PROCESSOR, \&_time, \&_slope );
    return ( %table, processor => $processor, requests => $self->_requests );
}

sub _table {
    my ( $self, $database, $figure, $cell, $line ) = @_;
    my @counts = $self->_counts($database);
    my @rows   = (
        '| | ' . join( ' | ', map { _thousands($_) } @counts ) . ' | fit | off by | *extrapolated:* 10,000,000 |',
        '|---' x ( 4 + @counts ) . '|'
    );
    for my $known (@NAMES) {
        my ( $name, $text ) = @{$known};
        my %at  = map { @{$_} } $self->_points( $database, $name, $figure ) or next;
        my $fit = $self->fit( $database, $name, $figure );
        push @rows, join ' | ', "| $text", ( map { defined $at{$_} ? $cell->( $at{$_} ) : '' } @counts ),
            keys %at < FEW
            ? ( '', '', ' |' )
            : (
            $line->($fit),
            keys %at > FEW ? sprintf( '%.0f%%', 100 * $fit->residual ) : '',
            '*' . $cell->( $fit->at(EXPECTED) ) . '* |'
            );
    }
    return join "\n", @rows, '', $self->_when($database), '';
}

# What has no run that counts is no kind of cost
sub _requests {
    my ($self) = @_;
    my @rows =
        ( '| | ' . join( ' | ', map { $_->[0] } @KINDS ) . ' |', '|---' x ( 1 + @KINDS ) . '|' );
    for my $known (@NAMES) {
        my ( $name, $text ) = @{$known};
        my $runs = $self->{runs}{SQLite}{$name} or next;
        my @cells;
        for my $kind (@KINDS) {
            my ( undef, @of ) = @{$kind};
            my $most  = max keys %{$runs};
            my $least = List::Util::min keys %{$runs};
            my ( $many, $few ) = map {
                my $run = $runs->{$_};
                List::Util::sum map { $run->{requests}{$_} // 0 } @of
            } $most, $least;
            my $slope = $most > $least ? ( $many - $few ) / ( $most - $least ) : 0;
            push @cells, _thousands( int( $many + $slope * ( EXPECTED - $most ) + 0.5 ) );
        }
        push @rows, "| $text | " . join( ' | ', @cells ) . ' |';
    }
    return join "\n", @rows, '';
}

sub chart {
    my ($self) = @_;
    my %line;
    for my $known ( grep { $IN_CHART{ $_->[0] } } @NAMES ) {
        my ( $name, $text ) = @{$known};
        my @points = $self->_points( 'SQLite', $name, $SECONDS );
        push @points, [ EXPECTED, $self->fit( 'SQLite', $name )->at(EXPECTED), 'expected' ] if @points >= FEW;
        $line{ $text =~ tr/`//dr =~ s/rt-s3 //r =~ s/ and module//r } = \@points if @points > 1;
    }
    return Rts3::Bench::Chart::lines( 'Time by number of attachments in the bucket; dashed: extrapolated',
        'attachments', 'seconds', \%line );
}

sub _counts {
    my ( $self, $database ) = @_;
    my %count  = map  { $_ => 1 } map { keys %{$_} } values %{ $self->{runs}{$database} };
    my @counts = sort { $a <=> $b } keys %count;
    return @counts;
}

sub _when {
    my ( $self, $database ) = @_;
    my @dates = sort map { $_->{date} } map { values %{$_} } values %{ $self->{runs}{$database} };
    my $when  = $dates[0] eq $dates[-1] ? $dates[0] : "$dates[0] to $dates[-1]";
    return "Measured $when: " . Rts3::Bench::machine() . '.';
}

sub _time {
    my ($seconds) = @_;
    return
          $seconds < 10    ? sprintf '%.2g s',   $seconds
        : $seconds < 100   ? sprintf '%.0f s',   $seconds
        : $seconds < 6000  ? sprintf '%.0f min', $seconds / 60
        : $seconds < 36000 ? sprintf '%.1f h',   $seconds / 3600
        :                    sprintf '%.0f h',   $seconds / 3600;
}

sub _slope {
    my ($fit) = @_;
    my @parts = grep {defined} $fit->a ? _time( $fit->a ) : undef,
        $fit->b ? _time( 1e6 * $fit->b ) . ' a million' : undef;
    return join ' + ', @parts;
}

sub _memory { return sprintf '%.0f MB', $_[0] }

sub _growth {
    my ($fit) = @_;
    return _memory( $fit->a ) . ( $fit->b ? sprintf( ' + %.0f bytes each', 1e6 * $fit->b ) : '' );
}

sub _thousands { return scalar reverse join ',', reverse( $_[0] ) =~ /(\d{1,3})/g }

1;
