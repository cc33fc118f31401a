package RT::ExternalStorage::AmazonS3::Page::Health;

use strict;
use warnings;

use List::Util ();

use RT::ExternalStorage::AmazonS3::Page::Server;
use RT::ExternalStorage::AmazonS3::Page::Settings;

use constant DAY => 86_400;

# Seconds after which something is overdue, or a figure old
use constant { WAITED => 3 * DAY, VERIFIED => 35 * DAY, COUNTED => 8 * DAY };

my @LEVELS = qw(ok note warning problem);
my %RANK   = map { $LEVELS[$_] => $_ } 0 .. $#LEVELS;

sub new {
    my ( $class, $page ) = @_;
    my $self = bless { page => $page, findings => [] }, $class;
    $self->{is_used} = $page->Backend ? 1 : 0;
    $self->_Storage;
    if ( $self->{is_used} ) {
        $self->_Verified;
        $self->_Lost;
        $self->_Externalized;
        $self->_Waiting;
        $self->_Figures;
    }
    return $self;
}

# What was found, the worst first: { level, text, advice, detail, command }
sub Findings {
    my ($self) = @_;
    my @findings = sort { $RANK{ $b->{level} } <=> $RANK{ $a->{level} } } @{ $self->{findings} };
    return @findings;
}

sub Level {
    my ($self)  = @_;
    my ($worst) = $self->Findings;
    return $worst ? $worst->{level} : 'ok';
}

# In words
sub Summary {
    my ($self) = @_;
    my $level = $self->Level;
    return
          $level eq 'problem' ? ['There is a problem.']
        : $level eq 'warning' ? ['It works, but somebody should look at it.']
        : $self->{is_used}    ? ['Healthy.']
        :                       ['Not in use.'];
}

sub _Add {
    my ( $self, $level, $text, %more ) = @_;
    push @{ $self->{findings} }, { level => $level, text => $text, %more };
    return;
}

sub _Storage {
    my ($self) = @_;
    my $page = $self->{page};
    my $digests =
        $page->Ask( sub { [ $page->Rows->Samples( RT::ExternalStorage::AmazonS3::Page::Server->SAMPLES ) ] } );
    if ( my $backend = $page->Backend ) {
        my $shown = RT::ExternalStorage::AmazonS3::Page::Settings->Shown( $page->User );
        my $state = RT::ExternalStorage::AmazonS3::Page::Server->Look( $page, $shown, @{ $digests || [] } );
        push @{ $self->{findings} }, $state;
        $self->_Region($shown) if $state->{level} eq 'ok';
        my @mistakes = $page->Mistakes;
        $self->_Add(
            warning => ['An option of %ExternalStorage has a mistake: RT may read attachments, and not move any.'],
            detail  => join( ' ', map {"$_."} @mistakes ),
            advice  => ['Mend the option in RT_SiteConfig.pm, and restart the web server.'],
        ) if @mistakes;
        return;
    }
    my $type = $page->Type;
    return $self->_OtherType($type) if length $type && $type ne 'AmazonS3';
    if ( $page->IsConfigured ) {
        $self->_Add(
            problem => ['RT is configured for external storage, but this page is not about the one that it uses.'],
            detail  => $page->Trouble,
            advice  => ['Mend %ExternalStorage in RT_SiteConfig.pm, and restart the web server.'],
        );
    }
    elsif ( @{ $digests || [] } || $self->_HasMoved ) {
        $self->_Add(
            problem => [
                'RT has moved attachments to external storage, which is not configured any more: they are shown empty.'
            ],
            advice => ['Put %ExternalStorage back into RT_SiteConfig.pm, as it was, and restart the web server.'],
        );
    }
    else {
        $self->_Add(
            note   => ['External storage is not configured, and there is no record of anything that is still there.'],
            advice => [
                'To move attachments into S3, which makes the database small: set %ExternalStorage in RT_SiteConfig.pm, '
                    . 'restart the web server, and come back here for "Check now".'
            ],
        );
    }
    return;
}

# RT has no storage at all where it can't load the one that is named
sub _OtherType {
    my ( $self, $type ) = @_;
    return $self->_Add(
        note   => [ 'RT uses external storage of the type [_1]; this page is about AmazonS3 alone.', $type ],
        advice => ['To copy all of it into S3: "rt-s3 migrate --help".']
    ) if RT->System->ExternalStorage;
    return $self->_Add(
        problem => [
            'RT can\'t use external storage of the type [_1]: attachments that were moved there are shown empty.',
            $type
        ],
        advice => [
            'Correct the option Type in RT_SiteConfig.pm, which is AmazonS3 for S3, and restart the web server; RT\'s log says more.'
        ],
    );
}

# Whether anything that the commands or RT's own script have kept says so
sub _HasMoved {
    my ($self) = @_;
    my $page = $self->{page};
    my ( $externalize, $figures, $verify ) = map { $page->Last($_) || {} } qw(externalize figures), 'verify whole';
    my $back = $page->Last('internalize');
    return 0
        if $back && !defined $back->{stopped} && !$back->{failed} && $back->{ended} > ( $externalize->{ended} // 0 );
    return 1 if $externalize->{moved} || ( $figures->{external} || {} )->{count} || $verify->{references};
    my ($mark) = @{ $page->Ask( sub { [ $page->Rows->Mark ] } ) || [ {} ] };
    return %{$mark} ? 1 : 0;
}

# A wrong region costs every new process a request, and direct links their meaning
sub _Region {
    my ( $self, $shown ) = @_;
    my $learned = ( $self->{page}->Facts('learned') || {} )->{region} // return;
    my $given   = $shown->{Region}                                    // '';
    return if !length $learned || !length $given || $given eq $learned;
    return $self->_Add(
        warning => [
            'The bucket is in the region [_1], and not in [_2], as the option Region says: RT has found out by itself.',
            $learned,
            $given
        ],
        advice => [ 'Set Region to [_1] in RT_SiteConfig.pm, and restart the web server.', $learned ],
    );
}

# A run that was ended, or that did not read the objects, must not hide what an earlier one has found
sub _Verified {
    my ($self)  = @_;
    my $page    = $self->{page};
    my $command = 'rt-s3 verify';
    my ($last)  = my @runs = $page->Verified;
    if ( !$last ) {
        return $self->_Add(
            note    => ['Nobody has ever looked whether all attachments are in the bucket.'],
            command => $command
        );
    }
    my $wrong = 0;
    for my $run (@runs) {
        my $lost = List::Util::sum( map { $run->{$_} // 0 } qw(missing damaged invalid) );
        $wrong ||= $lost || $run->{unreadable};
        $self->_Add(
            problem => [
                'rt-s3 verify has found [quant,_1,object,objects] missing or damaged: [_2].',
                $lost, $page->When( $run->{ended} )
            ],
            advice =>
                ['The tickets are below. Bring the objects back from the backup of the bucket, then verify again.'],
            command => $run->{deep} ? "$command --deep" : $command,
        ) if $lost;
        $self->_Add(
            warning => [
                'rt-s3 verify could not read [quant,_1,object,objects]: [_2].',
                $run->{unreadable}, $page->When( $run->{ended} )
            ],
            command => $run->{deep} ? "$command --deep" : $command,
        ) if $run->{unreadable};
        last if $lost && !defined $run->{stopped};
    }
    if ( defined $last->{stopped} ) {
        $self->_Add(
            warning => ['The last rt-s3 verify has not come to its end.'],
            detail  => $last->{stopped},
            command => $command,
        );
    }
    elsif ( !$wrong ) {
        my $is_old = time - ( $last->{ended} // 0 ) > VERIFIED;
        $self->_Add(
            $is_old ? 'note' : 'ok',
            [ 'All attachments were in the bucket, as rt-s3 verify has seen: [_1].', $page->When( $last->{ended} ) ],
            $is_old ? ( command => $command ) : ()
        );
    }
    return;
}

# What somebody wanted since, and did not get
sub _Lost {
    my ($self)   = @_;
    my $failures = $self->{page}->Failures || {};
    my $lost     = List::Util::sum( map { $failures->{$_} // 0 } qw(not-found corrupt) );
    return if !$lost;
    return $self->_Add(
        warning => [ 'In the last day RT has met missing or damaged attachments: [quant,_1,time,times].', $lost ],
        advice  => ['Look which they are. If all have been brought back since, this goes away within a day.'],
        command => 'rt-s3 verify --deep',
    );
}

sub _Externalized {
    my ($self) = @_;
    my $last = $self->{page}->Last('externalize') or return;
    if ( defined $last->{stopped} ) {
        $self->_Add(
            warning => ['The last rt-s3 externalize has not come to its end.'],
            detail  => $last->{stopped},
            command => 'rt-s3 externalize',
        );
    }
    if ( $last->{failed} ) {
        $self->_Add(
            warning => [
                'The last rt-s3 externalize could not move [quant,_1,attachment,attachments]; RT still has them.',
                $last->{failed}
            ],
            command => 'rt-s3 externalize',
        );
    }
    return;
}

sub _Waiting {
    my ($self)  = @_;
    my $page    = $self->{page};
    my $waiting = $page->Ask( sub { $page->Rows->Waiting } ) or return;
    $self->{waiting} = $waiting;
    return if !$waiting->{count} || !$waiting->{since} || time - $waiting->{since} < WAITED;
    my ( undef, $marked ) = $page->Rows->Mark;
    my $last = $page->Last('externalize');
    my ($latest) = sort { $b <=> $a } $marked || 0, ( $last ? $last->{ended} || 0 : 0 );
    return if time - $latest < WAITED;
    return $self->_Add(
        warning =>
            [ 'Attachments wait to be moved since [_1], and nobody moves them.', $page->When( $waiting->{since} ) ],
        advice  => ['Let cron run it every night.'],
        command => 'rt-s3 externalize',
    );
}

sub Waiting { return $_[0]{waiting} }

sub _Figures {
    my ($self) = @_;
    my $last = $self->{page}->Last('figures');
    return if $last && time - ( $last->{ended} // 0 ) < COUNTED;
    return $self->_Add(
        note => [ $last ? 'The figures on this page are old.' : 'The figures for this page were never collected.' ],
        command => 'rt-s3 status',
    );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Health - healthy or not

=head1 METHODS

=over

=item Level, Summary

The worst of C<ok>, C<note>, C<warning> and C<problem>; in words.

=item Findings

Hashes with C<level> and C<text>, perhaps C<advice>, C<detail> (what the library says) and C<command>.

=item Waiting

As L<RT::ExternalStorage::AmazonS3::Page::Rows> has it.

=back

=cut
