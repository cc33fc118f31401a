package RT::ExternalStorage::AmazonS3::Tool::Migrate::Outcome;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Migrate::Place;
use RT::ExternalStorage::AmazonS3::Tool::Progress;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Report;

# Objects in a row that could not be read or written before it is given up; and that were not there, where none was
use constant { IN_A_ROW => 10, NONE_OF => 1000 };

# Failures in the record; and digests of which the verification need not say once more that they are missing
use constant { KEPT => 100, TOLD => 10_000 };

# Trouble with a server, or with how it is asked, not with one object
use constant OUTAGE => qr/\A(?:library|config|credentials|network|timeout|throttled|unavailable|no-bucket)\z/;

# What an error is called, as rt-s3 verify does
use constant KIND => { 'not-found' => 'missing', corrupt => 'damaged' };

# %args: tool, from, to
sub new {
    my ( $class, %args ) = @_;
    return bless {
        %args,
        report => RT::ExternalStorage::AmazonS3::Tool::Verify::Report->new( $args{tool} ),
        groups => {},
        told   => {},
        kept   => [],
        found  => {},
        ( map { $_ => 0 } qw(copied present bytes unknown failed looked in_a_row) )
    }, $class;
}

sub Phase {
    my ( $self, $phase ) = @_;
    $self->{phase} = $phase;
    return;
}

# The bucket was made, or, in a dry run, would be
sub Made {
    my ($self) = @_;
    $self->{made} = 1;
    $self->{tool}->Output->Line( 'The '
            . $self->{to}->Describe
            . ( $self->{tool}->Option('dry-run') ? ' is not there; it would be made' : ' was made' ) );
    return;
}

sub Begin {
    my ( $self, $rows, $state, $dry ) = @_;
    $self->Phase('copying');
    @{$self}{qw(rows state dry)} = ( $rows, $state, $dry );
    $self->{progress} = RT::ExternalStorage::AmazonS3::Tool::Progress->new(
        output => $self->{tool}->Output,
        total  => $rows->Rows,
        verb   => 'looked at'
    );
    return;
}

# Whether there is something to do for a digest
sub Next {
    my ( $self, $group, $is_there ) = @_;
    my $is_done = $is_there && ( $self->{dry} || $self->{state}->IsDone( $group->{digest} ) );
    if ( $is_done || $self->{dry} ) {
        $self->{ $is_done ? 'present' : 'copied' }++;
        $self->{looked} += $group->{count};
        $self->_Expect( keys %{ $group->{lengths} } ) if !$is_done;
        return 0;
    }
    $self->{state}->Begun( $group->{digest} );
    $self->{groups}{ $group->{digest} } = $group;
    return 1;
}

# How long it is, as far as RT knows
sub _Expect {
    my ( $self, @lengths ) = @_;
    my ($length) = sort { $b <=> $a } grep {length} @lengths;
    $self->{ defined $length ? 'bytes' : 'unknown' } += $length // 1;
    return;
}

sub Done {
    my ( $self, $job, $verdict ) = @_;
    my ( $name, $text ) = @{$verdict}{qw(name text)};
    my $group = delete $self->{groups}{ $job->{digest} };
    my $place = 'the ' . ( $verdict->{side} // '' );
    $self->{tool}->Stop("$place: $text") if $name =~ OUTAGE;
    my $is_whole = $name =~ /\A(?:copied|present)\z/ ? 1 : 0;
    $self->{looked} += $group->{count};
    if ($is_whole) {
        $self->{$name}++;
        $self->{bytes} += $verdict->{bytes} // 0;
    }
    else {
        $self->_Fail( KIND->{$name} // 'unreadable', $group, "$place: $text" );
    }
    $self->{state}->Ended( $job->{digest}, $is_whole );

    # One may be nobody's to read; that of all of them would be another trouble
    $self->{in_a_row} = $is_whole || $name =~ /\A(?:corrupt|not-found)\z/ ? 0 : $self->{in_a_row} + 1;
    $self->{tool}->Stop( "$place: " . IN_A_ROW . " objects in a row failed: $text" )
        if $self->{in_a_row} >= IN_A_ROW;
    $self->{tool}->Stop( 'of the first '
            . NONE_OF
            . ' files none is there: is the source the right one, with everything where it was? '
            . $self->{from}->Describe )
        if $self->{failed} >= NONE_OF && !$self->{copied} && !$self->{present};
    return;
}

sub _Fail {
    my ( $self, $kind, $group, $why ) = @_;
    my @references = $self->_References($group);
    my $count      = $group->{count} - @{ $group->{references} } + @references or return;
    $self->{failed}++;
    $self->{told}{ $group->{digest} } = 1 if $self->{failed} <= TOLD;
    my $first = $references[0] || {};
    push @{ $self->{kept} },
        {
        class => 'RT::' . ( $first->{table} // 'Attachments' ),
        id    => $first->{id},
        why   => "$group->{digest}: $why"
        }
        if @{ $self->{kept} } < KEPT;
    $self->{report}->Finding(
        $kind,
        digest     => $group->{digest},
        detail     => $why,
        references => \@references,
        count      => $count
    );
    return;
}

sub _References {
    my ( $self, $group ) = @_;
    return grep {defined} map { $self->{rows}->About( @$_, $group->{digest} ) } @{ $group->{references} };
}

sub Show {
    my ($self) = @_;
    $self->{progress}->Show( @{$self}{qw(looked bytes)} ) if $self->{progress};
    $self->_Keep('it is still at work, or was killed')    if $self->{state} && $self->{state}->IsDue;
    return;
}

sub Copied {
    my ($self) = @_;
    delete $self->{rows};
    ( delete $self->{progress} )->End;
    $self->_Keep('it was ended while it verified the target');
    return;
}

# ---- what the verification of the target finds, which asks for a report and for a repair

sub Finding {
    my ( $self, $kind, %finding ) = @_;
    $self->{found}{$kind}++;
    $self->{report}->Finding( $kind, %finding ) if !defined $finding{digest} || !$self->{told}{ $finding{digest} };
    return;
}

sub Want {return}

# ---- the end

sub End {
    my ( $self, $verified ) = @_;
    my $output = $self->{tool}->Output;
    $self->_Sum;
    if ($verified) {
        my @found = map {"$self->{found}{$_} $_"} sort keys %{ $self->{found} };
        $output->Line( "The target, verified: $verified->{references} references to $verified->{digests} files; "
                . "$verified->{objects} objects in the bucket: "
                . ( @found ? join ', ', @found : 'all well' ) );
    }
    my $is_whole = !$self->{failed} && !%{ $self->{found} };
    my $in_force = RT::ExternalStorage::AmazonS3::Tool::Migrate::Place->InForce( $self->{tool} );
    my $is_done  = $in_force && $in_force->Identity eq $self->{to}->Identity;
    $self->_SayWhatNext( $is_whole, $is_done );
    $output->Record(
        summary => 1,
        $self->_Numbers,
        ( $self->{dry}                            ? ( dry_run       => 1, unknown => $self->{unknown} )      : () ),
        ( $verified                               ? ( verify        => { %$verified, %{ $self->{found} } } ) : () ),
        ( $is_whole && !$is_done && !$self->{dry} ? ( configuration => { $self->{to}->Configuration } )      : () )
    );
    $self->_Keep(undef);
    return RT::ExternalStorage::AmazonS3::Tool::NOT_DONE if $self->{found}{unreadable};
    return $is_whole ? RT::ExternalStorage::AmazonS3::Tool::WELL : RT::ExternalStorage::AmazonS3::Tool::SOMETHING;
}

sub Stopped {
    my ( $self, $why ) = @_;
    my $output = $self->{tool}->Output;
    $why .= ', while ' . $self->{phase} if $self->{phase} && $self->{phase} ne 'copying';
    $self->_Sum                         if $self->{state};
    $output->Problem( "rt-s3 migrate: stopped: $why" . ( $self->{state} ? '; the next run goes on from here' : '' ) );
    $output->Record( summary => 1, $self->_Numbers, stopped => $why );
    $self->_Keep($why);
    return RT::ExternalStorage::AmazonS3::Tool::NOT_DONE;
}

sub _Numbers {
    my ($self) = @_;
    return map { $_ => $self->{$_} } qw(copied bytes present failed);
}

sub _Sum {
    my ($self) = @_;
    $self->{tool}->Output->Line(
        $self->{dry}
        ? sprintf '%d would be copied (%.1f MB%s), %d are there',
        $self->{copied},
        $self->{bytes} / 1e6,
        $self->{unknown} ? ", and $self->{unknown} of which only the source knows how long they are" : '',
            $self->{present}
        : sprintf '%d copied (%.1f MB), %d there already, %d failed',
            $self->{copied},
            $self->{bytes} / 1e6,
            $self->{present},
            $self->{failed}
    );
    return;
}

sub _SayWhatNext {
    my ( $self, $is_whole, $is_done ) = @_;
    my ( $tool, $from,     $to )      = @{$self}{qw(tool from to)};
    return if $self->{dry};
    my $output = $tool->Output;
    if ( !$is_whole ) {
        $output->Line(
            $is_done
            ? 'Some files are not in the target, with which RT works: RT can not show them. Keep the source.'
            : 'Some files are not in the target. Do not let RT work with it before they are, or are known to be lost.'
        );
        return;
    }
    if ($is_done) {
        $output->Line( 'RT works with the target already: nothing is to be changed. Keep the source, '
                . $from->Describe
                . ', until you have a backup of the bucket.' );
        return;
    }
    $output->Line($_)
        for 'Now let RT work with it:',
        "  1. put the %ExternalStorage of $to->{given} into RT_SiteConfig.pm, in the place of the one there:",
        '', ( map {"    $_"} $to->ConfigurationLines ), '',
        q{  2. restart RT's web server},
        '  3. rt-s3 check',
        'before RT externalizes again. If it has, or if you are not sure: once more, with the old configuration as --from.';
    return;
}

sub _Keep {
    my ( $self, $stopped ) = @_;
    return if $self->{dry} || !$self->{state};
    $self->{state}->Save(
        started  => $^T,
        stopped  => $stopped,
        copied   => $self->{copied},
        bytes    => $self->{bytes},
        skipped  => $self->{present},
        failed   => $self->{failed},
        failures => [ @{ $self->{kept} } ],
        from     => $self->{from}->Describe,
        to       => $self->{to}->Describe,
    );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Migrate::Outcome - what comes of rt-s3 migrate

=head1 METHODS

=over

=item Phase NAME, Made, Begin REFERENCES, STATE, DRY_RUN, Copied

What it is at.

=item Next GROUP, IS_THERE, Done JOB, VERDICT

Whether there is something to do for a digest; and what was done.

=item Show

How far it is, now and then.

=item Finding KIND, ...; Want

What the verification of the target finds.

=item End VERIFIED, Stopped WHY

Tell all, keep it as the record of the last run, and return the exit status.

=back

=cut
