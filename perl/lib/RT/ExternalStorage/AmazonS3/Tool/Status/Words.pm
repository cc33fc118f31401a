package RT::ExternalStorage::AmazonS3::Tool::Status::Words;

use strict;
use warnings;

use POSIX ();

use RT::ExternalStorage::AmazonS3::Quantity qw(counted duration number size);
use RT::ExternalStorage::AmazonS3::Records;

# Failures told of one run, the others stand in its output; and ids that are named
use constant { TOLD => 3, NAMED => 10 };

use constant UNKNOWN => 'not known';

my @BAD = qw(missing damaged invalid unreadable);

# What is kept of the last runs, by their names: of verify also the last whole one, and the last deep one
sub Runs {
    my ($class) = @_;
    my %runs = map { $_ => RT::ExternalStorage::AmazonS3::Records->Last($_) } 'externalize', 'verify', 'verify whole',
        'verify deep', 'internalize', 'migrate';
    return \%runs;
}

# ---- where contents are

# { text, count, bytes (undef: not known), note, kind, part (whether it is a part of the one before) }
sub Where {
    my ( $class, $figures ) = @_;
    my %figures = %{$figures};
    my @rows;
    my $row = sub {
        my ( $name, %row ) = @_;
        push @rows, { %row, %{ $figures{$name} || {} } };
        return;
    };
    $row->( external => text => 'in S3',           kind => 'external', note => 'as if each had a copy of its own' );
    $row->( objects  => text => 'as objects',      kind => 'external', part => 1, note => _Saved( $figures{saved} ) );
    $row->( database => text => 'in the database', kind => 'database' );
    $row->( waiting  => text => 'waiting',         kind => 'database', part => 1, note => 'for rt-s3 externalize' );
    $row->(
        below => text => 'left behind',
        kind  => 'database',
        part  => 1,
        note  => _Below( $figures{below}{ids} )
    ) if $figures{below} && $figures{below}{count};
    $row->( small => text => 'staying', kind => 'database', part => 1, note => 'too small, or of a kind RT keeps' );
    $row->( orphans => text => 'not referred to', kind => 'external', note => 'rt-s3 verify --orphans names them' )
        if !$figures{orphans} || $figures{orphans}{count};
    return @rows;
}

sub Count { return defined $_[1]{count} ? number( $_[1]{count} ) : UNKNOWN }
sub Bytes { return defined $_[1]{bytes} ? size( $_[1]{bytes} )   : UNKNOWN }

# The command that moves them
sub _Below {
    my ($ids) = @_;
    my ( $class, @more ) = sort keys %{ $ids || {} };
    my @ids = $class ? @{ $ids->{$class} } : ();
    return q{below RT's high-water mark} . ( @ids ? '; --json writes their ids' : '' )
        if !@ids || @more || @ids > NAMED;
    return
          q{below RT's high-water mark; rt-s3 externalize --class }
        . "$class --ids "
        . join( ',', @ids )
        . ' moves them';
}

sub _Saved {
    my ($bytes) = @_;
    return 'with what is the same kept once' if !defined $bytes;
    return size($bytes) . ' saved: what is the same is kept once';
}

# ---- what the last runs have found

# [ name, text ] of each. $when: Moment, or Stamp for what is read later.
sub Told {
    my ( $class, $runs, $when ) = @_;
    my $moved    = sub { return _Moved( _When( $_[0], $when ), 'left as they are', @_ ) };
    my $copied   = sub { return _Moved( _When( $_[0], $when ), 'there already', @_ ) };
    my $verified = sub { return _Verified( _When( $_[0], $when ), @_ ) };
    my @told     = (
        [ externalize => $moved->( $runs->{externalize}, 'moved' ) ],
        [ verify      => $verified->( $runs->{verify} ) ]
    );
    my ( $last, $whole, $deep ) = map { $_ ? $_->{ended} : 0 } @{$runs}{ 'verify', 'verify whole', 'verify deep' };
    push @told, [ 'verify, to its end' => $verified->( $runs->{'verify whole'} ) ]    if $whole && $whole < $last;
    push @told, [ 'verify --deep'      => $verified->( $runs->{'verify deep'} ) ]     if $deep  && $deep < $whole;
    push @told, [ internalize          => $moved->( $runs->{internalize}, 'moved' ) ] if $runs->{internalize};
    push @told, [ migrate              => $copied->( $runs->{migrate}, 'copied' ) ]   if $runs->{migrate};
    return map { [ $_->[0], _Printable( $_->[1] ) ] } @told;
}

sub _When {
    my ( $run, $when ) = @_;
    return 'no run is known' if !$run;
    return __PACKAGE__->$when( $run->{ended} ) . ' on ' . ( $run->{host} // 'an unknown host' );
}

sub Stamp {
    my ( $class, $time ) = @_;
    return POSIX::strftime( '%Y-%m-%d %H:%M UTC', gmtime $time );
}

sub Moment {
    my ( $class, $time ) = @_;
    my $ago = time - $time;
    return $class->Stamp($time) . ', ' . ( $ago < 2 ? 'just now' : duration($ago) . ' ago' );
}

sub _Moved {
    my ( $text, $others, $run, $verb ) = @_;
    return $text if !$run;
    $text .= ': ' . number( $run->{moved} // $run->{copied} // 0 ) . " $verb (" . size( $run->{bytes} // 0 ) . ')';
    $text .= ', ' . number( $run->{skipped} ) . " $others" if $run->{skipped};
    $text .= ', ' . number( $run->{failed} ) . ' failed'   if $run->{failed};
    $text .= "; stopped: $run->{stopped}"                  if defined $run->{stopped};
    return $text;
}

sub _Verified {
    my ( $text, $run ) = @_;
    return $text if !$run;
    $text .= ( $run->{deep} ? ', --deep: ' : ': ' ) . counted( $run->{references}, 'reference' );
    $text .= ', ' . counted( $run->{objects}, 'object' ) . ': ';
    my @found = _Found( $run, @BAD, qw(orphan repaired) );
    $text .= @found ? join ', ', @found : 'nothing found';
    $text .= "; stopped: $run->{stopped}" if defined $run->{stopped};
    return $text;
}

sub _Found {
    my ( $run, @kinds ) = @_;
    return map { number( $run->{$_} ) . " $_" } grep { $run->{$_} } @kinds;
}

# ---- what somebody should look at

sub Look {
    my ( $class, $figures, $runs ) = @_;
    my @look;
    push @look,
        counted( $figures->{missing}, 'reference' ) . ' without an object in the bucket: rt-s3 verify names them'
        if $figures->{missing};
    push @look, counted( $figures->{invalid}, 'reference' ) . ' to what is no digest: rt-s3 verify names them'
        if $figures->{invalid};
    push @look, _Bad( 'the last rt-s3 verify', $runs->{'verify whole'}, @BAD );
    my ( $whole, $deep ) = @{$runs}{ 'verify whole', 'verify deep' };
    push @look, _Bad( 'the last rt-s3 verify --deep', $deep, qw(damaged unreadable) )
        if $deep && $whole && $deep->{ended} < $whole->{ended};
    push @look, "the last rt-s3 $_ was stopped: $runs->{$_}{stopped}"
        for grep { $runs->{$_} && defined $runs->{$_}{stopped} } qw(externalize verify internalize migrate);
    push @look, map { _Failed( $_, $runs->{$_} ) } grep { $runs->{$_} } qw(externalize internalize migrate);
    return map { _Printable($_) } @look;
}

sub _Bad {
    my ( $who, $run, @kinds ) = @_;
    return if !$run;
    my $number = 0;
    $number += $run->{$_} // 0 for @kinds;
    return if $number <= ( $run->{repaired} // 0 );
    my $text = "$who has found " . join ', ', _Found( $run, @kinds );
    $text .= " ($run->{repaired} of them repaired)" if $run->{repaired};
    return $text;
}

sub _Failed {
    my ( $name, $run ) = @_;
    my $number = $run->{failed} or return;
    my @some   = @{ $run->{failures} || [] };
    splice @some, TOLD if @some > TOLD;
    my $text = number($number) . " failed in the last rt-s3 $name";
    return $text if !@some;
    $text .= ': ' . join '; ', map {
        join( ' ', grep {defined} @{$_}{qw(class id digest)} ) . ": $_->{why}"
    } @some;
    $text .= '; and ' . number( $number - @some ) . ' more' if $number > @some;
    return $text;
}

# A server's words, too, go to a terminal
sub _Printable {
    my ($text) = @_;
    $text =~ s/\s+/ /g;
    $text =~ s/[^[:print:]]/?/g;
    return $text;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Status::Words - figures and runs in words

=head1 CLASS METHODS

=head2 Where FIGURES

Hashes of C<text>, C<count>, C<bytes>, C<note>, C<kind> (C<external> or C<database>) and C<part>, whether it is a part of
what stands above.

=head2 Count FIGURE, Bytes FIGURE

Of one of them: as people read it.

=head2 Runs, Told RUNS, WHEN

What is kept of the last runs; and pairs of a name and what there is to tell. WHEN: C<Moment> or C<Stamp>.

=head2 Look FIGURES, RUNS

What somebody should look at: a sentence for each.

=head2 Stamp TIME, Moment TIME

When that was; and how long ago.

=cut
