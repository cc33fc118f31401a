package RT::ExternalStorage::AmazonS3::Tool::Verify::Comparison;

use strict;
use warnings;

use List::Util ();

use RT::ExternalStorage::AmazonS3::Tool::Verify::Look;
use RT::ExternalStorage::AmazonS3::Tool::Workers;

# References named for one digest, and objects in a row that could not be read before it is given up
use constant { NAMED => 20, IN_A_ROW => 10 };

# An object is held in memory whole: of large ones fewer are read at once
use constant BYTES => 256 * 1024 * 1024;

# Trouble with the server, or with how it is asked, not with one object
use constant OUTAGE => qr/\A(?:library|config|credentials|network|timeout|throttled|unavailable|no-bucket)\z/;

# %args: tool, bucket, rows, report, state, repair, repairs (whether it is wanted), tick, concurrency, deep, orphans
sub new {
    my ( $class, %args ) = @_;
    my $self = bless { %args, references => 0, digests => 0, checked => 0, known => 0, present => 0, in_a_row => 0 },
        $class;
    my $look = RT::ExternalStorage::AmazonS3::Tool::Verify::Look->new(
        native    => $args{bucket}->Native,
        checksums => $args{bucket}->KeepsChecksums
    );
    $self->{workers} = RT::ExternalStorage::AmazonS3::Tool::Workers->new(
        verb        => 'read',
        concurrency => $args{concurrency},
        memory      => BYTES,
        work        => sub { return $look->Work(@_) },
        done        => sub { $self->_Done(@_) },
        tick        => $args{tick},
    );
    return $self;
}

sub References { return $_[0]{references} }
sub Digests    { return $_[0]{digests} }
sub Checked    { return $_[0]{checked} }
sub Known      { return $_[0]{known} }
sub Present    { return $_[0]{present} }

# Both come in the order of their digests
sub Run {
    my ($self) = @_;
    my ( $bucket, $rows ) = @{$self}{qw(bucket rows)};
    my $object = $bucket->Next;
    while ( my $group = $rows->Next(NAMED) ) {
        $self->{tick}->() if ++$self->{digests} % 100 == 0;
        while ( $object && $object->[0] lt $group->{digest} ) {
            $self->Orphan(@$object);
            $object = $bucket->Next;
        }
        my $size;
        if ( $object && $object->[0] eq $group->{digest} ) {
            $size   = $object->[1];
            $object = $bucket->Next;
        }
        $self->_Look( $group, $size );
        $self->{references} += $group->{count};
    }
    while ($object) {
        $self->Orphan(@$object);
        $object = $bucket->Next;
        $self->{tick}->();
    }
    $self->{workers}->Finish;
    delete $self->{workers};
    return;
}

# What seems to be missing may have come after the listing; what has a suspicious size may be as it should be. So nothing
# is reported before somebody has looked.
sub _Look {
    my ( $self, $group, $size ) = @_;
    $self->{present}++ if defined $size;
    my $deep = $self->{deep} && !$self->{state}->IsDone( $group->{digest} );
    my $look = defined $size && $self->{rows}->Suspect( $group, $size );
    return if defined $size && !$deep && !$look;
    $self->{state}->Begun( $group->{digest} ) if $deep;

    # Of one that is not in the listing only RT may know how much there is to be read
    $size //= List::Util::max( 0, keys %{ $group->{lengths} } );
    $self->{workers}->Submit(
        { digest => $group->{digest}, size => $size, group => $group, deep => $deep || $look, counts => $deep } );
    return;
}

sub _Done {
    my ( $self, $job, $verdict ) = @_;
    my ( $name, $text ) = ( $verdict->{name}, $verdict->{text} // '' );
    $self->{tool}->Stop($text)                                if $name =~ OUTAGE;
    $self->{checked}++                                        if $job->{deep};
    $self->{known}++                                          if $job->{deep} && $self->{deep} && !$job->{counts};
    $self->_Finding( $job, $name, $text )                     if $name ne 'whole';
    $self->{state}->Ended( $job->{digest}, $name eq 'whole' ) if $job->{counts};

    # One may be archived, or nobody's to read; that of all of them would be another trouble
    my $is_read = $name =~ /\A(?:whole|corrupt|not-found)\z/;
    $self->{in_a_row} = $is_read ? 0 : $self->{in_a_row} + 1;
    $self->{tool}->Stop( IN_A_ROW . " objects in a row could not be read: $text" ) if $self->{in_a_row} >= IN_A_ROW;
    return;
}

sub _Finding {
    my ( $self, $job, $name, $text ) = @_;
    my $group      = $job->{group};
    my @references = grep {defined} map { $self->{rows}->About( @$_, $group->{digest} ) } @{ $group->{references} };
    my $gone       = @{ $group->{references} } - @references;
    my $count      = $group->{count} - $gone;
    return if !$count;
    $text =~ s/\A[A-Z]\w* .*?$group->{digest} in bucket .*? at \S+: //;
    $text =~ s/ \[[\w-]+: [^\]]*\]\z//;
    my $kind = { 'not-found' => 'missing', corrupt => 'damaged' }->{$name} // 'unreadable';
    $self->{report}->Finding(
        $kind,
        digest     => $group->{digest},
        references => \@references,
        count      => $count,
        $kind eq 'missing' ? () : ( detail => $text )
    );
    $self->{repair}->Want( $group->{digest} ) if $self->{repairs} && $kind ne 'unreadable';
    return;
}

sub Invalid {
    my ( $self, $place, $id, $value ) = @_;
    my $about = $self->{rows}->About( $place, $id, $value ) or return;
    $self->{report}->Finding(
        'invalid',
        object     => substr( $value, 0, 200 ),
        references => [$about],
        detail     => 'is no SHA-256 digest',
    );
    return;
}

# One that nothing refers to
sub Orphan {
    my ( $self, $name, $size ) = @_;
    return if !$self->{orphans};
    my $digest = $name =~ /\A[0-9a-f]{64}\z/;
    $self->{report}->Finding(
        'orphan',
        object => $name,
        size   => $size + 0,
        detail => "$size bytes" . ( $digest ? '' : ', not from RT' )
    );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Comparison - what the database refers to beside what is in the bucket

=head1 METHODS

=head2 Run

Compares the two, in the order of their digests, and reports what does not agree.

=head2 Orphan NAME, SIZE, Invalid PLACE, ID, VALUE

Report such a one.

=head2 References, Digests, Present, Checked, Known

How many were compared; how many of them are there; how many objects were looked at; how many of those an earlier run had
looked at.

=cut
