package RT::ExternalStorage::AmazonS3::Tool::Verify::Report;

use strict;
use warnings;

use Time::HiRes ();

use RT::ExternalStorage::AmazonS3::Quantity qw(size);
use RT::ExternalStorage::AmazonS3::Records;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Progress;

# What stands there instead of a digest may be a whole file
use constant LONGEST => 80;

# Of one finding, so many references are kept for whoever looks later
use constant KEPT => 5;

# In the order of the summary, the worst first
my @FOUND = qw(missing damaged invalid unreadable orphan repaired);

sub new {
    my ( $class, $tool ) = @_;
    return bless {
        output   => $tool->Output,
        progress => RT::ExternalStorage::AmazonS3::Tool::Verify::Progress->new($tool),
        started  => Time::HiRes::time(),
        found    => { map { $_ => 0 } @FOUND },
        kept     => { map { $_ => [] } @FOUND }
    }, $class;
}

sub Found  { return $_[0]{found}{ $_[1] } }
sub Counts { return %{ $_[0]{found} } }

# ---- findings

# %finding: digest, detail, references (of References' About), count (how many there are in all)
sub Finding {
    my ( $self, $kind, %finding ) = @_;
    $self->{found}{$kind}++;
    $self->_Clear;
    my @references = @{ $finding{references} || [] };
    my $count      = $finding{count} // @references;
    my $what       = _Printable( $finding{digest} // $finding{object} );
    my @lines      = ( "$kind: $what" . ( defined $finding{detail} ? " ($finding{detail})" : '' ) );
    push @lines, map { '    ' . _Reference($_) } @references;
    push @lines, sprintf '    and %d more', $count - @references if $count > @references;
    if   ( $kind eq 'orphan' || $kind eq 'repaired' ) { $self->{output}->Line($_)    for @lines }
    else                                              { $self->{output}->Problem($_) for @lines }
    $self->_Keep( $kind, %finding, count => $count );
    delete $finding{count};
    $finding{reference_count} = $count if @references;
    $self->{output}->Record( finding => $kind, %finding );
    return;
}

# No more of each kind than are kept of all
sub _Keep {
    my ( $self, $kind, %finding ) = @_;
    if ( $kind eq 'repaired' ) {
        $_->{repaired} = 1
            for grep { ( $_->{digest} // '' ) eq $finding{digest} } map {@$_} values %{ $self->{kept} };
        return;
    }
    my $kept = $self->{kept}{$kind};
    return if @$kept >= RT::ExternalStorage::AmazonS3::Records::MOST;
    my @references = @{ $finding{references} || [] };
    splice @references, KEPT if @references > KEPT;
    push @$kept, { %finding, kind => $kind, references => \@references };
    return;
}

# The worst first
sub Kept {
    my ($self) = @_;
    return [ map { @{ $self->{kept}{$_} } } @FOUND ];
}

sub Note {
    my ( $self, $text ) = @_;
    $self->_Clear;
    $self->{output}->Problem($text);
    $self->{output}->Record( note => $text );
    return;
}

sub _Reference {
    my ($about) = @_;
    my @parts;
    push @parts, "ticket $about->{ticket}"                    if defined $about->{ticket};
    push @parts, $about->{object}                             if defined $about->{object};
    push @parts, "transaction $about->{transaction}"          if defined $about->{transaction};
    push @parts, 'custom field ' . _Quoted( $about->{field} ) if defined $about->{field};
    push @parts, ( $about->{table} eq 'Attachments' ? 'attachment ' : 'value ' ) . $about->{id};
    my $text = join ', ', @parts;
    $text .= ', disabled'                     if $about->{disabled};
    $text .= ': ' . _Quoted( $about->{file} ) if length( $about->{file} // '' );
    return $text;
}

sub _Quoted { return q{"} . _Printable( $_[0] ) . q{"} }

sub _Printable {
    my ($text) = @_;
    $text =~ s/([^[:print:]])/sprintf '\x{%x}', ord $1/ge;
    return length $text > LONGEST ? substr( $text, 0, LONGEST ) . '...' : $text;
}

# %counts: references, digests, objects, bytes, checked; in that order in the text
sub Summary {
    my ( $self, %counts ) = @_;
    $self->_Clear;
    my %found = %{ $self->{found} };
    my @found = map { "$found{$_} $_" . ( $_ eq 'orphan' && $found{$_} > 1 ? 's' : '' ) } grep { $found{$_} } @FOUND;
    my $text =
          "$counts{references} references to $counts{digests} files; $counts{objects} objects, "
        . size( $counts{bytes} )
        . ' in the bucket';
    $text .= "; $counts{checked} looked at" if $counts{checked};
    $self->{output}->Line( "$text: " . ( @found ? join ', ', @found : 'all well' ) );
    $self->{output}->Record( summary => { %counts, %found, seconds => 0 + sprintf '%.1f', $self->_Seconds } );
    return;
}

# How far it is
sub Progress {
    my ( $self, @how_far ) = @_;
    return $self->{progress}->Show(@how_far);
}

sub _Clear { return $_[0]{progress}->Clear }

sub _Seconds { return Time::HiRes::time() - $_[0]{started} }

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Report - what rt-s3 verify tells

=head1 METHODS

=head2 Finding KIND, NAME => VALUE, ...

One finding: C<missing>, C<damaged>, C<invalid>, C<unreadable>, C<orphan> or C<repaired>.

=head2 Found KIND, Counts

How many there were; of each kind, as a hash.

=head2 Kept

Findings to be kept, the worst first: hashes of C<kind>, what C<Finding> got, and C<repaired>. Not all where there are
many, and of each only some of its references.

=head2 Note TEXT

Something else that is wrong.

=head2 Progress WHAT, DONE, OF

How far it is, now and then.

=head2 Summary NAME => NUMBER, ...

The end.

=cut
