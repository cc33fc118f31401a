package RT::ExternalStorage::AmazonS3::Tool::Internalize;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Lock;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Database;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Mark;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Obstacle;
use RT::ExternalStorage::AmazonS3::Tool::Internalize::Commit;
use RT::ExternalStorage::AmazonS3::Tool::Internalize::Fetch;
use RT::ExternalStorage::AmazonS3::Tool::Internalize::Report;
use RT::ExternalStorage::AmazonS3::Tool::Internalize::Rows;
use RT::ExternalStorage::AmazonS3::Tool::Progress;
use RT::ExternalStorage::AmazonS3::Tool::Selection;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Progress;

use constant {
    BELOW => 'RT::ExternalStorage::AmazonS3::Tool::Internalize',
    MARK  => 'RT::ExternalStorage::AmazonS3::Tool::Externalize::Mark',

    OBSTACLE => 'RT::ExternalStorage::AmazonS3::Tool::Externalize::Obstacle',

    # So many refused by the server, or by the database, before the first one that was not: it is not that one
    REFUSED => 20,
};

sub Options { return qw(batchsize=s class=s ids=s concurrency=s memory=s dry-run verbose|v) }

sub new {
    my ( $class, %args ) = @_;
    return bless { %args, refused => {}, taken => {} }, $class;
}

sub Run {
    my ($self)   = @_;
    my $tool     = $self->{tool};
    my $database = $self->{database} = RT::ExternalStorage::AmazonS3::Tool::Database->new($tool);
    my $number   = $tool->Number( concurrency => 8,   1, 100 );
    my $memory   = $tool->Number( memory      => 256, 1, 1_000_000 ) * 1024 * 1024;
    my $dry_run  = $self->{dry_run} = $tool->Option('dry-run');
    my %wanted   = ( batchsize => $tool->Number( batchsize => undef, 1, 1_000_000_000 ) );
    ( my $places, $wanted{ids} ) = RT::ExternalStorage::AmazonS3::Tool::Selection->Asked( $tool, $database );
    $self->{wanted} = \%wanted;
    $self->{report} = ( BELOW . '::Report' )->new(
        tool     => $tool,
        database => $database,
        dry_run  => $dry_run,
        verbose  => $tool->Option('verbose') || $dry_run
    );

    my $native = $tool->Native;
    my $locks  = RT::ExternalStorage::AmazonS3::Lock->Exclusive( $tool->{program} );
    $tool->Stop("not now: $locks") if !ref $locks;

    my $interrupted;
    local $SIG{INT}  = sub { $interrupted ||= 'SIGINT' };
    local $SIG{TERM} = sub { $interrupted ||= 'SIGTERM' };
    local $SIG{PIPE} = 'IGNORE';
    $self->{interrupted} = \$interrupted;
    $self->{commit}      = ( BELOW . '::Commit' )->new( database => $database );
    $self->{obstacle} =
        OBSTACLE->new( native => $native, deadline => $tool->Backend->{Deadline}, asks => 'Answers' );
    my $done = eval {
        my $most = $self->_Measure($places);
        $self->_Fetch( $native, $locks, $memory, $most && $most < $number ? $most : $number );
        for my $place ( @{$places} ) {
            last if $self->_Stops;
            $self->_Move($place);
        }
        $self->{report}->CountRemaining if !$self->_Stops && !$dry_run && !$wanted{ids};
        1;
    };
    my $why = $@;
    delete $self->{fetch};
    $tool->Backend->_Drain;
    return $self->_End( $done ? undef : $why );
}

sub _Measure {
    my ( $self, $places ) = @_;
    my %sum      = map { $_ => 0 } qw(rows bytes unknown);
    my $progress = RT::ExternalStorage::AmazonS3::Tool::Verify::Progress->new( $self->{tool} );
    my $stops    = sub {
        $progress->Show( 'rows counted', $sum{rows} + $_[0] );
        return $self->_Stops;
    };
    for my $place ( @{$places} ) {
        my $measured = $self->_Rows($place)->Measure($stops);
        $self->{total}{ $place->{class} } = $measured->{rows};
        $sum{$_} += $measured->{$_} for keys %sum;
    }
    $progress->Clear;
    $self->{report}->Expected(%sum) if !$self->_Stops;
    return $sum{rows};
}

sub _Rows {
    my ( $self, $place ) = @_;
    return ( BELOW . '::Rows' )->new( %{ $self->{wanted} }, database => $self->{database}, place => $place );
}

# The processes must not have the connection to the database as well: as long as one of them had, the database would not
# notice the end of this process
sub _Fetch {
    my ( $self, $native, $locks, $memory, $number ) = @_;
    $RT::Handle->dbh->disconnect;
    $self->{fetch} = ( BELOW . '::Fetch' )->new(
        native    => $native,
        locks     => $locks,
        memory    => $memory,
        processes => $number,
        sizes     => $self->{dry_run},
        done      => sub { $self->_Fetched(@_) },
        full      => sub { $self->_Commit },
        tick      => sub { $self->_Tick },
        stops     => sub { $self->_Stops },
    );
    $RT::Handle->Connect;
    return;
}

# All rows of one class
sub _Move {
    my ( $self, $place ) = @_;
    my $report = $self->{report};
    my $class  = $place->{class};
    my $rows   = $self->_Rows($place);
    $self->{place}    = $place;
    $self->{progress} = RT::ExternalStorage::AmazonS3::Tool::Progress->new(
        output => $self->{tool}->Output,
        total  => $self->{total}{$class},
        verb   => 'moved back'
    );
    $self->{commit}->Begin($rows);

    my $first;
    while ( my $id = $self->_Stops ? undef : $rows->NextId ) {
        $first //= $self->_LowerMark( $class, $id );
        my $row = $rows->Read($id);
        next if $self->_NotMoved($row);
        $report->Verbose("Fetching $class $id");
        $self->{fetch}->Submit($row);
    }
    $self->_NotMoved($_) for $self->_Stops ? () : $rows->Others;
    $self->{fetch}->Finish;
    $self->_Commit;

    # A script on another machine has other locks, and may have written down what it knew of the mark
    $self->_LowerMark( $class, $first ) if defined $first;
    $self->{progress}->End;
    return;
}

# Whether there is nothing to be fetched for a row
sub _NotMoved {
    my ( $self,  $row )    = @_;
    my ( $place, $report ) = @{$self}{qw(place report)};
    if    ( defined $row->{why} )     { $report->Skipped( $place, $row, $row->{why} ) }
    elsif ( defined $row->{problem} ) { $report->Failed( $place, $row, $row->{problem} ) }
    else                              { return 0 }
    return 1;
}

# Before the first row is changed, so that whatever happens the next externalizer does not pass over what was moved back
sub _LowerMark {
    my ( $self, $class, $id ) = @_;
    return $id if $self->{dry_run} || MARK->Lower( $class, $id );
    return $self->{tool}->Stop("RT's high-water mark, its attribute ExternalStorage, could not be lowered to $id");
}

sub _Tick {
    my ($self) = @_;
    $self->_Commit if $self->{commit}->IsDue;
    $self->{progress}->Show( $self->{report}->Moved, $self->{report}->Bytes );
    return;
}

# What came of one object
sub _Fetched {
    my ( $self, $row, $content, $error ) = @_;
    if ($error) {
        my ( $name, $why ) = @{$error}{qw(name text)};
        $self->_Refused( server => $why ) if $name eq 'denied';
        my $is_lost = $name =~ /\A(?:not-found|corrupt)\z/;
        if ( !$is_lost && ( $self->{hopeless} || $self->{obstacle}->IsForAll($name) ) ) { $self->{hopeless} ||= $why }
        else { $self->{report}->Failed( $self->{place}, $row, $why, $name ) }
        return;
    }
    $self->{taken}{server} = 1;
    $self->{obstacle}->Passed;
    if ( $self->{dry_run} ) { $self->{report}->Done( $self->{place}, $row ) }
    else                    { $self->{commit}->Add( $row, $content ) }
    return;
}

sub _Commit {
    my ($self) = @_;
    my ( $place, $report ) = @{$self}{qw(place report)};
    for my $row ( $self->{commit}->Commit ) {
        $self->{fetch}->Release( $row->{size} );
        if ( defined $row->{problem} ) {
            $self->_Refused( database => $row->{problem} );
            $report->Failed( $place, $row, $row->{problem} );
            next;
        }
        $self->{taken}{database} = 1;
        if    ( $row->{gone} )    { $report->Skipped( $place, $row, 'it is gone' ) }
        elsif ( $row->{changed} ) { $report->Skipped( $place, $row, 'it was changed meanwhile' ) }
        else                      { $report->Done( $place, $row ) }
    }
    return;
}

sub _Refused {
    my ( $self, $by, $why ) = @_;
    return                     if $self->{taken}{$by};
    $self->{hopeless} ||= $why if ++$self->{refused}{$by} >= REFUSED;
    return;
}

sub _Stops { return ${ $_[0]{interrupted} } || $_[0]{hopeless} }

sub _End {
    my ( $self, $died ) = @_;
    my $stopped = ${ $self->{interrupted} } || $self->{hopeless} || ( ref $died ? $died->{text} : $died );
    my $status  = $self->{report}->End($stopped);
    return $status if !$stopped;
    die $died      if ref $died;
    my $reason =
          ${ $self->{interrupted} } ? "stopped by ${ $self->{interrupted} }"
        : $self->{hopeless}         ? "stopped, for it would go on like this: $self->{hopeless}"
        :                             "stopped: $died";
    $reason =~ s/\s+/ /g;
    $reason =~ s/ \z//;
    $self->{tool}->Output->Problem("rt-s3 internalize: $reason; the next run goes on from here");
    return RT::ExternalStorage::AmazonS3::Tool::NOT_DONE;
}

1;

__END__

=head1 NAME

rt-s3 internalize - moves content from the bucket back into RT's database

=head1 SYNOPSIS

    rt-s3 internalize --dry-run
    rt-s3 internalize
    rt-s3 internalize --class=RT::Attachments --ids=4711,4712

=head1 DESCRIPTION

The way back: what C<rt-s3 externalize>, or RT's own F<rt-externalize-attachments>, has moved into the bucket stands in
the database again afterwards, encoded as RT itself does it there, and RT reads the same bytes as before. Both
attachments and the values of custom fields are moved, however large they are: C<$MaxAttachmentSize> is for what is new.

Every object is compared with its SHA-256 when it is fetched, and so is what the database gives back before a
transaction ends. A row is changed only if it still refers to that object. An object that is missing or damaged, and one
that the database does not take, is reported at the end with the ticket it belongs to; its row stays as it is, and the
others are moved.

RT may be at work meanwhile, and reads each file from where it is. SIGINT and SIGTERM end it in good order: what was
fetched is written. Whatever ends it, nothing is lost, and the next run goes on.

In the bucket nothing is deleted. C<rt-s3 verify --orphans> lists what nothing refers to any more.

It holds the lock of RT's externalizer, so that there is one at a time on this machine, and lowers RT's high-water mark:
the next C<rt-s3 externalize> or F<rt-externalize-attachments> moves what it finds in the database into the bucket again.
Whoever wants it to stay there takes them out of cron first, on every machine. Moving a single old one back lowers the
mark, too: the next run looks again at every row that came after it.

=head2 How much it will be

Before it begins it says how many bytes the database will have to hold in addition, by the lengths that RT keeps in the
headers of attachments; of the values of custom fields it keeps none. With C<--dry-run> the bucket is asked for each.
PostgreSQL and SQLite keep binary files as base64, which takes a third more, and text that is not ASCII as quoted-printable,
which takes up to three times as much; MySQL and MariaDB keep both as they are. For a while the database's own log, and its
backup, grow by as much. On MySQL and MariaDB C<max_allowed_packet> must be larger than the largest file: up to twice as
large, since bytes are quoted. What is too large for it is reported.

=head1 LEAVING S3

=over

=item 1.

Take F<rt-externalize-attachments> and C<rt-s3 externalize> out of cron, on every machine. Leave C<%ExternalStorage> in
the configuration: without it RT shows every file that is still in the bucket as empty.

=item 2.

C<rt-s3 verify --deep> tells what is missing or damaged, while there may still be a backup of it, and C<rt-s3 internalize
--dry-run> how much space is needed.

=item 3.

C<rt-s3 internalize>. Run it again until it ends with I<Nothing in RT's database refers to the bucket any more>, exit
status 0. RT can be used all the time.

=item 4.

Only now take C<%ExternalStorage> out of the configuration, on every machine, and restart RT's web server. Have a backup
of the database made.

=item 5.

Keep the bucket for as long as you keep backups of the database from before: what they refer to is in there. The keys
need the right to read only.

=back

A row whose object is lost stays external, and RT would show it as an empty file. Put the object back from a copy of the
bucket, or have C<rt-s3 verify --repair> look for the content in the database, and run C<rt-s3 internalize> again.

=head1 OPTIONS

=over

=item C<--batchsize=NUMBER>

At most so many rows of each class.

=item C<--class=CLASS>

Only C<RT::Attachments> or C<RT::ObjectCustomFieldValues>.

=item C<--ids=ID,...>

Only these, of the class that C<--class> names. One that is not external stays as it is.

=item C<--concurrency=NUMBER>

Processes that fetch objects; 8 if not said, 100 at most.

=item C<--memory=MEGABYTES>

Contents that are fetched or wait for their transaction, together; 256 if not said. One that is larger than that is
fetched alone. While a large one is written it takes several times its size, about six times on PostgreSQL and SQLite.

=item C<--dry-run>

Shows what would be moved back, what is missing, and how many bytes there are; changes nothing.

=item C<--verbose>, C<-v>

A line for each attachment.

=item C<--json>, C<--quiet>, C<--help>

As for every command: see L<rt-s3>. With C<--json> there is an object with C<expected>, C<rows>, C<bytes> and C<unknown>
(rows of which only the bucket knows the length), one for each attachment that could not be moved, with C<class>, C<id>,
C<error> and C<reference> (its ticket, transaction, file name), and a last one with C<summary>, C<moved>, C<bytes>,
C<skipped>, C<failed>, C<remaining> (rows that are still external, where that was counted) and, where it was ended,
C<stopped>.

=back

=head1 EXIT STATUS

=over

=item C<0>

All was moved back.

=item C<1>

Some could not be moved.

=item C<2>

It could not begin, or was ended: by a signal, or because nothing more could be fetched or written.

=item C<64>

It was called wrongly.

=back

=head1 SEE ALSO

L<rt-s3>, L<RT::ExternalStorage::AmazonS3>

=cut
