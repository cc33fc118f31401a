package RT::ExternalStorage::AmazonS3::Tool::Internalize::Report;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Records;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Verify::References;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Report;

# %args: tool, database, dry_run, verbose
sub new {
    my ( $class, %args ) = @_;
    return bless { %args, failed => [], missing => 0, map { $_ => 0 } qw(moved bytes skipped) }, $class;
}

sub Moved { return $_[0]{moved} }
sub Bytes { return $_[0]{bytes} }

# Says beforehand what the database will have to hold
sub Expected {
    my ( $self, %sum ) = @_;
    my $output = $self->{tool}->Output;
    $output->Record( expected => 1, %sum );
    return if !$sum{rows};
    my $text = sprintf '%d to be moved back into the database: %.1f MB', $sum{rows}, $sum{bytes} / 1e6;
    $text .= " and $sum{unknown} of which only the bucket knows how long they are" if $sum{unknown};
    $text
        .= '; there binary files take a third more (base64), and text that is not ASCII up to three times as much '
        . '(quoted-printable)'
        if !$RT::Handle->BinarySafeBLOBs;
    $output->Line($text);
    return;
}

sub Verbose {
    my ( $self, $text ) = @_;
    $self->{tool}->Output->Line($text) if $self->{verbose};
    return;
}

sub Done {
    my ( $self, $place, $row ) = @_;
    $self->{moved}++;
    $self->{bytes} += $row->{size};
    $self->Verbose("Moved $place->{class} $row->{id} back") if !$self->{dry_run};
    return;
}

sub Skipped {
    my ( $self, $place, $row, $why ) = @_;
    $self->{skipped}++;
    $self->Verbose("Skipping $place->{class} $row->{id} because: $why");
    return;
}

sub Failed {
    my ( $self, $place, $row, $why, $name ) = @_;
    $self->{missing}++ if ( $name // '' ) eq 'not-found';
    my $about;
    if ( $row->{digest} ) {
        $self->{references} //= RT::ExternalStorage::AmazonS3::Tool::Verify::References->new( $self->{tool} );
        $about = $self->{references}->About( $place->{sign}, @{$row}{qw(id digest)} );
    }
    my %failure = ( class => $place->{class}, id => $row->{id} + 0 );
    push @{ $self->{failed} }, { %failure, why => $why, about => $about };
    $self->{tool}->Output->Record( %failure, error => $why, ( $about ? ( reference => $about ) : () ) );
    return;
}

# Whoever wants to leave S3 has to know that nothing is there any more
sub CountRemaining {
    my ($self) = @_;
    $self->{remaining} = 0;
    for my $place ( $self->{database}->Places ) {
        my $rows =
            $self->{database}->Select("SELECT COUNT(*) FROM $place->{table} WHERE ContentEncoding = 'external'");
        $self->{remaining} += $rows->[0][0];
    }
    return;
}

# $stopped: why it was ended, or undef
sub End {
    my ( $self, $stopped ) = @_;
    my $output = $self->{tool}->Output;
    my $failed = @{ $self->{failed} };
    $output->Problem( _Line($_) ) for @{ $self->{failed} };
    $output->Problem( 'of all that the database refers to nothing is in the bucket: are Bucket and Prefix those with '
            . 'which it was stored?' )
        if $self->{missing} && !$self->{moved};
    $output->Line(
        sprintf '%d %s (%.1f MB), %d left where they are, %d failed',
        $self->{moved},
        $self->{dry_run} ? 'would be moved back' : 'moved back',
        $self->{bytes} / 1e6,
        $self->{skipped}, $failed
    );
    $self->_WhatIsLeft;
    $output->Record(
        summary => 1,
        ( map { $_ => $self->{$_} } qw(moved bytes skipped) ),
        failed => $failed,
        ( defined $self->{remaining} ? ( remaining => $self->{remaining} ) : () ),
        ( $stopped                   ? ( stopped   => $stopped )           : () )
    );
    $self->_Keep($stopped) if !$self->{dry_run};
    return $failed ? RT::ExternalStorage::AmazonS3::Tool::SOMETHING : RT::ExternalStorage::AmazonS3::Tool::WELL;
}

sub _Line {
    my ($failure) = @_;
    my $text = "$failure->{class} $failure->{id}: not moved back: $failure->{why}";
    return $text if !$failure->{about};
    return "$text (" . RT::ExternalStorage::AmazonS3::Tool::Verify::Report::_Reference( $failure->{about} ) . ')';
}

sub _WhatIsLeft {
    my ($self) = @_;
    my $output = $self->{tool}->Output;
    $output->Line('In the bucket nothing was deleted: "rt-s3 verify --orphans" lists what nothing refers to any more')
        if $self->{moved} && !$self->{dry_run};
    my $left = $self->{remaining} // return;
    $output->Line(
        $left
        ? "$left in RT's database still refer to the bucket"
        : q{Nothing in RT's database refers to the bucket any more}
    );
    return;
}

# For whoever looks at RT
sub _Keep {
    my ( $self, $stopped ) = @_;
    my @failures = @{ $self->{failed} };
    RT::ExternalStorage::AmazonS3::Records->Keep(
        internalize => (
            started  => $^T,
            stopped  => $stopped || undef,
            failed   => @failures + 0,
            failures => [ map { { class => $_->{class}, id => $_->{id}, why => $_->{why} } } @failures ],
            map { $_ => $self->{$_} } qw(moved bytes skipped)
        )
    );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Internalize::Report - what rt-s3 internalize tells

=head1 METHODS

=over

=item new tool => TOOL, database => DATABASE, [dry_run =>, verbose =>]

=item Expected rows => NUMBER, bytes => NUMBER, unknown => NUMBER

What there is to be done.

=item Done PLACE, ROW; Skipped PLACE, ROW, WHY; Failed PLACE, ROW, WHY, [NAME OF THE ERROR]

What came of one row.

=item Verbose TEXT

A line, if lines are wanted.

=item CountRemaining

Counts what still refers to the bucket, to be told in the end.

=item End STOPPED

All that there is to tell in the end. Returns the exit status of a run that was not ended before its time.

=item Moved, Bytes

=back

=cut
