package RT::ExternalStorage::AmazonS3::Tool::Externalize;

use strict;
use warnings;

use Time::HiRes qw(time);

use RT::ExternalStorage::AmazonS3::Lock;
use RT::ExternalStorage::AmazonS3::Records;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Database;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Commit;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Mark;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Obstacle;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Rows;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Uploads;
use RT::ExternalStorage::AmazonS3::Tool::Memory;
use RT::ExternalStorage::AmazonS3::Tool::Progress;
use RT::ExternalStorage::AmazonS3::Tool::Selection;

use constant BELOW => 'RT::ExternalStorage::AmazonS3::Tool::Externalize';

sub Options { return qw(age=s batchsize=s class=s ids=s since=s concurrency=s memory=s dry-run verbose|v) }

sub new {
    my ( $class, %args ) = @_;
    return bless { %args, failed => [], moved => 0, bytes => 0, skipped => 0 }, $class;
}

sub Run {
    my ($self) = @_;
    my $tool = $self->{tool};
    $self->{database} = RT::ExternalStorage::AmazonS3::Tool::Database->new($tool);
    my $wanted = $self->_Wanted;
    my $number = $tool->Number( concurrency => undef, 1, 1024 );
    my $memory = $tool->Number( memory      => 256,   1, 1_000_000 ) * 1024 * 1024;

    RT::ExternalStorage::AmazonS3::Tool::Memory::GiveBack();
    my $backend = $tool->Backend;
    my $locks   = RT::ExternalStorage::AmazonS3::Lock->Exclusive( $tool->{program} );
    $tool->Stop("not now: $locks") if !ref $locks;
    $self->_Prepare($backend)      if !$wanted->{dry_run};

    $self->{wanted}  = $wanted;
    $self->{backend} = $backend;
    $self->{mark}    = ( BELOW . '::Mark' )->new;
    $self->{commit}  = ( BELOW . '::Commit' )->new( database => $self->{database}, native => $tool->Native );
    my %server = ( native => $tool->Native, deadline => $backend->{Deadline} );
    $self->{obstacle} = ( BELOW . '::Obstacle' )->new( %server, asks => 'Writes' );
    my $interrupted;
    local $SIG{INT}  = sub { $interrupted ||= 'SIGINT' };
    local $SIG{TERM} = sub { $interrupted ||= 'SIGTERM' };
    local $SIG{PIPE} = 'IGNORE';
    $self->{interrupted} = \$interrupted;
    $self->{uploads}     = ( BELOW . '::Uploads' )->new(
        tool        => $tool,
        concurrency => $number,
        memory      => $memory,
        stops       => sub { $self->_Stops },
        waits       => sub { $self->_Pause },
        done        => sub { $self->_Stored(@_) },
    );
    my $done = eval {
        for my $place ( @{ $wanted->{places} } ) {
            last if $self->_Stops;
            $self->_Move($place);
        }
        1;
    };
    my $why = $@;
    $self->{uploads}->Close;
    $self->{backend}->_Drain;
    return $self->_End( $done ? undef : $why );
}

# The bucket must take what is stored; it is made where Store would make it
sub _Prepare {
    my ( $self, $backend ) = @_;
    my $tool = $self->{tool};
    my ( $ok, $why ) = $backend->IsWriteable;
    $tool->Stop($why) if !$ok;
    my ( undef, $error ) = $tool->Native->probe;
    return if !$error || $error->name ne 'no-bucket';
    my ( $made, $refused ) = $tool->Native->create_bucket;
    $tool->Stop($refused) if !$made;
    return;
}

# What was asked for
sub _Wanted {
    my ($self) = @_;
    my $tool   = $self->{tool};
    my %wanted = (
        age       => $tool->Number( age       => undef, 0, 100_000 ),
        batchsize => $tool->Number( batchsize => undef, 1, 1_000_000_000 ),
        dry_run   => $tool->Option('dry-run'),
        verbose   => $tool->Option('verbose') || $tool->Option('dry-run'),
        since     => RT::ExternalStorage::AmazonS3::Tool::Selection->Since($tool),
    );
    @wanted{qw(places ids)} = RT::ExternalStorage::AmazonS3::Tool::Selection->Asked( $tool, $self->{database} );
    return \%wanted;
}

# All rows of one class
sub _Move {
    my ( $self, $place ) = @_;
    my $class  = $place->{class};
    my $wanted = $self->{wanted};
    my $mark   = $self->{mark};
    my $rows   = ( BELOW . '::Rows' )
        ->new( %{$wanted}, database => $self->{database}, place => $place, after => $mark->Of($class) );
    $self->{class}    = $class;
    $self->{rows}     = $rows;
    $self->{progress} = RT::ExternalStorage::AmazonS3::Tool::Progress->new(
        output => $self->{tool}->Output,
        total  => $rows->Count,
        verb   => 'moved'
    );
    $self->{commit}->Begin($rows);

    while ( my $id = $self->_Stops ? undef : $rows->NextId ) {
        $mark->Begin($id);
        my $row = $rows->Read( $id, sub { $self->{uploads}->Room(@_) } );
        last if $row->{unread};
        if ( !$row->{content} ) {
            $self->_NotMoved( $row, 1 );
            next;
        }
        $self->{tool}->Output->Line("Storing $class $id") if $wanted->{verbose};
        if ( $wanted->{dry_run} ) {
            $mark->Done($id);
            $self->{moved}++;
            $self->{bytes} += length ${ $row->{content} };
            next;
        }
        $self->{uploads}->Store($row);
        $self->_Commit if $self->{commit}->IsDue;
    }
    $self->_NotMoved($_) for $self->_Stops ? () : $rows->Others;

    # What is under way is finished, unless it would fail as well
    $self->{uploads}->Wait while $self->{uploads}->Outstanding && !$self->{hopeless};
    $self->_Commit;
    $mark->Save($class) if $self->_CountsForMark;
    $self->{progress}->End;
    return;
}

# Some runs look at a part of the rows only
sub _CountsForMark {
    my ($self) = @_;
    my $wanted = $self->{wanted};
    return !$wanted->{dry_run} && !$wanted->{ids} && !defined $wanted->{since};
}

sub _Stored {
    my ( $self, $row, $result ) = @_;
    $self->{backend}->_Drain;
    if ( my $error = $result->{error} ) {
        $self->{hopeless} = $error->message if !$self->{hopeless} && $self->{obstacle}->IsForAll( $error->name );
        return $self->_Fail( $row->{id}, $error->message );
    }
    $self->{obstacle}->Passed;
    $self->{commit}->Add( { %{$row}, key => $result->{key}, existed => $result->{existed} } );
    return;
}

sub _Commit {
    my ($self) = @_;
    for my $row ( $self->{commit}->Commit ) {
        if ( defined $row->{problem} ) {
            $self->_Fail( $row->{id}, $row->{problem} );
            next;
        }

        # The next run reads it anew
        if ( $row->{changed} ) {
            $self->{mark}->Hold( $row->{id} );
            $self->_Skip( $row->{id}, 'it was changed meanwhile' );
            next;
        }
        $self->{mark}->Done( $row->{id} );
        if ( $row->{gone} ) {
            $self->_Skip( $row->{id}, 'it is gone' );
            next;
        }
        $self->{moved}++;
        $self->{bytes} += $row->{bytes};
        $self->{tool}->Output->Line("Stored $self->{class} $row->{id} as $row->{key}") if $self->{wanted}{verbose};
    }
    $self->{hopeless} ||= $self->{commit}->Refused;
    $self->_Show;
    $self->{mark}->SaveSometimes( $self->{class} ) if $self->_CountsForMark;
    return;
}

# $begun: it is one of the rows
sub _NotMoved {
    my ( $self, $row, $begun ) = @_;
    return $self->_Fail( $row->{id}, $row->{problem} ) if defined $row->{problem};
    $self->{mark}->Done( $row->{id} )                  if $begun;
    return $self->_Skip( $row->{id}, $row->{why} );
}

sub _Skip {
    my ( $self, $id, $why ) = @_;
    $self->{skipped}++;
    $self->{tool}->Output->Line("Skipping $self->{class} $id because: $why") if $self->{wanted}{verbose};
    return;
}

sub _Fail {
    my ( $self, $id, $why ) = @_;
    $self->{mark}->Hold($id);
    push @{ $self->{failed} }, { class => $self->{class}, id => $id, why => $why };
    $self->{tool}->Output->Record( class => $self->{class}, id => $id + 0, error => $why );
    return;
}

# While uploads are under way
sub _Pause {
    my ($self) = @_;
    return $self->{commit}->IsDue ? $self->_Commit : $self->_Show;
}

sub _Show {
    my ($self) = @_;
    $self->{progress}->Show( $self->{moved} + $self->{skipped} + @{ $self->{failed} }, $self->{bytes} );
    return;
}

sub _Stops { return ${ $_[0]{interrupted} } || $_[0]{hopeless} }

sub _End {
    my ( $self, $died ) = @_;
    my $output  = $self->{tool}->Output;
    my $failed  = @{ $self->{failed} };
    my $stopped = ${ $self->{interrupted} } || $self->{hopeless} || ( ref $died ? $died->{text} : $died );
    $output->Problem("$_->{class} $_->{id}: not moved: $_->{why}") for @{ $self->{failed} };
    my $verb = $self->{wanted}{dry_run} ? 'would be moved' : 'moved';
    my $line = sprintf '%d %s (%.1f MB), %d left where they are, %d failed', $self->{moved}, $verb,
        $self->{bytes} / 1e6, $self->{skipped}, $failed;
    $output->Line($line);
    $output->Record(
        summary => 1,
        moved   => $self->{moved},
        bytes   => $self->{bytes},
        skipped => $self->{skipped},
        failed  => $failed,
        ( $stopped ? ( stopped => $stopped ) : () )
    );
    $self->_Keep( $stopped, $failed ) if !$self->{wanted}{dry_run};
    return $failed ? RT::ExternalStorage::AmazonS3::Tool::SOMETHING : RT::ExternalStorage::AmazonS3::Tool::WELL
        if !$stopped;
    die $died if ref $died;
    my $reason =
          ${ $self->{interrupted} } ? "stopped by ${ $self->{interrupted} }"
        : $self->{hopeless}         ? "stopped, for it would go on like this: $self->{hopeless}"
        :                             "stopped: $died";
    $reason =~ s/\s*\R\s*/ /g;
    $output->Problem("rt-s3 externalize: $reason; the next run goes on from here");
    return RT::ExternalStorage::AmazonS3::Tool::NOT_DONE;
}

# For whoever looks at RT
sub _Keep {
    my ( $self, $stopped, $failed ) = @_;
    RT::ExternalStorage::AmazonS3::Records->Keep(
        externalize => (
            started  => $^T,
            stopped  => $stopped || undef,
            failed   => $failed,
            failures => [ @{ $self->{failed} } ],
            map { $_ => $self->{$_} } qw(moved bytes skipped)
        )
    );
    return;
}

1;

__END__

=head1 NAME

rt-s3 externalize - moves attachments from RT's database into the bucket

=head1 SYNOPSIS

    rt-s3 externalize [options]

=head1 DESCRIPTION

Does what RT's own F<rt-externalize-attachments> does, with the same effect, many attachments at a time. The two share a
lock, so that there is one at a time, and a high-water mark, so that each goes on where the other one ended.

A row of the database is changed only after the server has confirmed its object, and only if it is what it was when it
was read. An attachment that cannot be moved is reported at the end and stays where it is; the others are moved, and the
next run comes back to it. What cannot be decoded is never stored. Where nothing can be stored any more, because the
server is down, the bucket is gone or the keys lost their rights, it stops and says so.

SIGINT and SIGTERM end it in good order: what is under way is finished. Whatever ends it, nothing is lost, and the next
run goes on.

=head1 OPTIONS

=over

=item C<--age=DAYS>

Only what was created at least so many days ago.

=item C<--batchsize=NUMBER>

Looks at so many rows of each class, at most; the next run goes on behind them.

=item C<--class=CLASS>

Only C<RT::Attachments> or C<RT::ObjectCustomFieldValues>.

=item C<--ids=ID,...>

Only these, of the class that C<--class> names. The high-water mark is neither asked nor changed. An id without a row is
a failure; one that is external already, or has no content, is not.

=item C<--since=DATE>

Only what was created since then: C<YYYY-MM-DD>, or with a time, in UTC. The high-water mark is not changed.

=item C<--concurrency=NUMBER>

Uploads under way at once; what the option C<Concurrency> says if not said here, which is 32 by default.

=item C<--memory=MEGABYTES>

Of contents that are in memory at the same time, copies included; 256 if not said. One that is larger than that is moved
alone, and takes as much memory as it has bytes. RT itself takes another 140 MB. A content of more than 4 MB is read in
pieces, by way of a temporary file (in C<TMPDIR>, else F</tmp>) that is as large.

=item C<--dry-run>

Shows what would be moved and what would stay, each with its reason, and changes nothing. Contents are read and decoded
as if they were moved, so what cannot be decoded is found, too.

=item C<--verbose>, C<-v>

A line for each row: C<Storing> when it is read, C<Stored ... as ...> when the database points to its object, or
C<Skipping ... because: ...> where RT keeps it in the database, say because it is a text below
C<$ExternalStorageCutoffSize>.

=item C<--json>, C<--quiet>, C<--help>

As for every command: see L<rt-s3>. With C<--json> there is an object for each attachment that could not be moved, with
C<class>, C<id> and C<error>, and a last one with C<summary>, C<moved>, C<bytes>, C<skipped>, C<failed> and, where it was
ended, C<stopped>.

=back

=head1 EXAMPLES

See what would happen, try it with a few, and then move all:

    rt-s3 externalize --dry-run
    rt-s3 externalize --batchsize=100 --verbose
    rt-s3 externalize

From cron, every night, in place of RT's own script; what went wrong is mailed, as cron does:

    15 3 * * *  root  rt-s3 externalize --quiet

=head1 PROGRESS

On a terminal a bar (Debian's C<libterm-progressbar-perl>, else a line) says how many are done, how fast, and how long
it will take; elsewhere there is a line a minute, and none with C<--quiet> or C<--json>.

=head1 EXIT STATUS

=over

=item C<0>

All was moved.

=item C<1>

Some attachments could not be moved.

=item C<2>

It could not begin, or was ended: by a signal, or because nothing more could be stored.

=item C<64>

It was called wrongly.

=back

=cut
