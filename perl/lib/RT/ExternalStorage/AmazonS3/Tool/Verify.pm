package RT::ExternalStorage::AmazonS3::Tool::Verify;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Lock;
use RT::ExternalStorage::AmazonS3::Records;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Comparison;
use RT::ExternalStorage::AmazonS3::Tool::Verify::References;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Repair;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Report;
use RT::ExternalStorage::AmazonS3::Tool::Verify::State;

sub Options { return qw(deep concurrency=s state=s orphans repair) }

sub new {
    my ( $class, %args ) = @_;
    return bless { tool => $args{tool} }, $class;
}

sub Run {
    my ($self)      = @_;
    my $tool        = $self->{tool};
    my $concurrency = $tool->Number( concurrency => 8, 1, 100 );
    my $file        = $tool->Option('state');
    $tool->Refuse('--state needs --deep')             if defined $file && !$tool->Option('deep');
    $tool->Refuse('--state needs a file to be named') if defined $file && !length $file;

    local $SIG{INT}  = sub { $self->{signal} = 'INT' };
    local $SIG{TERM} = sub { $self->{signal} = 'TERM' };
    $tool->Native;
    local $SIG{__DIE__} = 'DEFAULT';
    my $status = eval { $self->_Verify( $concurrency, $file ) };
    return $status if defined $status;
    my $error = $@;
    delete $self->{comparison}{workers};
    my $is_kept = $self->{state} && eval { $self->{state}->Save };
    my $text    = ref $error ? $error->{text} : $error =~ s/\s+\z//r;
    $self->_Keep($text);
    $tool->Stop( $text . $self->_WhereItStands($is_kept) );
    return;
}

sub _Verify {
    my ( $self, $concurrency, $file ) = @_;
    my $tool   = $self->{tool};
    my $bucket = $self->{bucket} = RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket->new($tool);
    my $report = $self->{report} = RT::ExternalStorage::AmazonS3::Tool::Verify::Report->new($tool);
    my $rows   = $self->{rows}   = RT::ExternalStorage::AmazonS3::Tool::Verify::References->new($tool);
    my $tick   = sub { $self->_Tick };
    my $state  = $self->{state} = RT::ExternalStorage::AmazonS3::Tool::Verify::State->new(
        tool   => $tool,
        file   => $file,
        bucket => $bucket->Name
    );
    my $repair = RT::ExternalStorage::AmazonS3::Tool::Verify::Repair->new(
        tool   => $tool,
        native => $bucket->Native,
        report => $report
    );
    my $comparison = $self->{comparison} = RT::ExternalStorage::AmazonS3::Tool::Verify::Comparison->new(
        tool        => $tool,
        deep        => $tool->Option('deep'),
        orphans     => $tool->Option('orphans'),
        repairs     => $tool->Option('repair'),
        concurrency => $concurrency,
        bucket      => $bucket,
        rows        => $rows,
        report      => $report,
        state       => $state,
        repair      => $repair,
        tick        => $tick
    );

    $self->_Phase( 'objects listed', sub { $bucket->Objects } );
    $bucket->List( $tick, sub { $comparison->Orphan(@_) } );

    # One that has stored a file before the listing and refers to it after the reading is at work now
    my $lock = $tool->Option('orphans') ? RT::ExternalStorage::AmazonS3::Lock->Shared : undef;
    $self->{at_work} = $lock if defined $lock && !ref $lock;
    undef $lock;
    $self->_Phase( 'references read', sub { $rows->Rows } );
    $rows->Read( $tick, sub { $comparison->Invalid(@_) } );
    $self->_Phase( 'references looked at', sub { $comparison->References }, $rows->Rows );
    $comparison->Run;
    if   ( $report->Found('unreadable') ) { $state->Save }
    else                                  { $state->Forget }

    if ( $tool->Option('repair') ) {
        $self->_Phase( 'contents in the database read', sub { $rows->Contents } );
        $repair->Run( $rows, $tick );
    }
    return $self->_End;
}

sub _End {
    my ($self) = @_;
    my ( $report, $comparison, $tool ) = @{$self}{qw(report comparison tool)};
    $report->Note(
              'of all that the database refers to nothing is in the bucket: are Bucket and Prefix those with which '
            . 'it was stored?' )
        if $report->Found('missing') && !$comparison->Present;
    $report->Note("$self->{at_work}: among the orphans may be files that it has stored and not yet referred to")
        if defined $self->{at_work} && $report->Found('orphan');
    $report->Summary( $self->_Counts );
    $self->_Keep;
    return $tool->NOT_DONE if $report->Found('unreadable');
    return ( grep { $report->Found($_) } qw(missing damaged invalid orphan) ) ? $tool->SOMETHING : $tool->WELL;
}

sub _Counts {
    my ($self) = @_;
    my ( $rows, $bucket, $comparison ) = @{$self}{qw(rows bucket comparison)};
    return (
        references => $rows->Rows,
        digests    => $comparison->Digests,
        objects    => $bucket->Objects,
        bytes      => $bucket->Bytes,
        checked    => $comparison->Checked,
    );
}

# For whoever looks at RT. What a whole run has found, and a deep one, is not forgotten with the next.
sub _Keep {
    my ( $self, $stopped ) = @_;
    return if !$self->{phase};
    my ( $report, $comparison, $state, $tool ) = @{$self}{qw(report comparison state tool)};
    my %counts = $self->_Counts;
    $counts{checked} += $state->Earlier - $comparison->Known if $tool->Option('deep');
    my %record = (
        %counts,
        $report->Counts,
        started => $state->Started,
        stopped => $stopped,
        deep    => $tool->Option('deep') ? 1 : 0
    );
    my @names = ( 'verify', $stopped ? () : ( 'verify whole', $record{deep} ? 'verify deep' : () ) );
    RT::ExternalStorage::AmazonS3::Records->Keep( $_, %record, findings => $report->Kept ) for @names;
    return;
}

# ---- how far it is

sub _Phase {
    my ( $self, $name, $count, $most ) = @_;
    $self->{phase} = [ $name, $count, $most ];
    $self->_Tick;
    return;
}

# Called often; a signal ends the work here
sub _Tick {
    my ($self) = @_;
    $self->{tool}->Stop("ended by SIG$self->{signal}") if $self->{signal};
    my ( $name, $count, $most ) = @{ $self->{phase} };
    $self->{report}->Progress( $name, $count->(), $most );
    return;
}

sub _WhereItStands {
    my ( $self, $is_kept ) = @_;
    return '' if !$self->{phase};
    my ( $name, $count, $most ) = @{ $self->{phase} };
    my $text    = '; ' . $count->() . ( $most ? " of $most" : '' ) . " $name";
    my $checked = $self->{comparison}->Checked;
    $text .= ", $checked objects looked at"          if $checked;
    $text .= '; the same command goes on from there' if $is_kept;
    return $text;
}

1;

__END__

=head1 NAME

rt-s3 verify - compare what RT's database refers to with what is in the bucket

=head1 SYNOPSIS

    rt-s3 verify
    rt-s3 verify --deep --state /var/tmp/rt-s3-verify
    rt-s3 verify --orphans
    rt-s3 verify --deep --repair

=head1 DESCRIPTION

Lists the bucket, reads all references out of the database (C<Attachments>, and the values of custom fields), and tells

=over

=item missing

files that RT refers to and the bucket does not have,

=item damaged

objects that are not what was stored, by their SHA-256,

=item invalid

rows whose reference is no SHA-256 digest, so that RT can't read them either,

=item unreadable

objects that are there but can't be read, archived ones for instance.

=back

Each file is told once, with the tickets, transactions, file names and custom fields that refer to it (at most 20).

Without C<--deep> only objects are read whose size makes them suspicious: empty ones, and those whose size is not that in
the header C<Content-Length> that RT keeps. It may be wrong, so what is read decides. Sizes of the values of custom
fields stand nowhere.

Nothing is told that is not certain. A listing that breaks off, a database that goes away or a server that is down ends
the command. An object that is not in the listing is asked for once more; a row that has changed meanwhile does not
count. So it may run beside RT at work.

Nothing is changed, but with C<--repair>. What was found is kept in RT, the worst 200 findings of it, for C<rt-s3
status> and RT's page on external storage: of a run that was stopped, too, and several runs with one C<--state> count
as one. For every reference, and for every object, about 100 bytes in temporary files (C<TMPDIR>) are needed; memory
does not depend on how many there are.

=head1 OPTIONS

=over

=item --deep

Looks at every object that RT refers to, not only whether it is there. AWS is asked for the SHA-256 that it keeps of an
object; where there is none, and elsewhere, the object is read.

=item --concurrency NUMBER

So many objects are looked at at a time: 8 if not said, 100 at most. Of large ones fewer, so that 256 MiB of them are in
memory, or one.

=item --state FILE

Writes down how far C<--deep> has come, so that the same command goes on from there when it was ended, however that came.
What was found damaged is looked at again. A run that comes to its end removes the file. What is referred to only since
and has a smaller digest than the last one looked at has its turn in the next whole run.

=item --orphans

Tells objects that nothing refers to. They are not deleted. An externalizer stores a file first and refers to it then, so
where one is at work meanwhile that is told, too: look again before you delete anything. What is not from RT at all, by
its name, is told as well.

=item --repair

Writes missing and damaged objects again where a row of the database still has the content: an attachment that was not
moved, since it was sent to another ticket as well, for instance. To find it all content in the database is read. An
object counts as repaired when it was read again.

=item --json

One JSON object a line: C<finding> (one of the words above, C<orphan> or C<repaired>) with C<digest> or C<object>,
C<detail>, C<references> and C<reference_count>; C<note>, a text; in the end C<summary>, with the numbers of all that, or
C<error>.

=item --quiet, -q

Only what is wrong. Else the progress is told to standard error: always on a terminal, once a minute elsewhere.

=item --help, -h

This manual.

=back

=head1 EXIT STATUS

=over

=item B<0>

All is there, as far as was asked.

=item B<1>

Something is missing, damaged or invalid (also if it has been repaired), or there are orphans and they were asked for.

=item B<2>

It could not be done, or not to its end: the server or the database is not to be reached, a signal came (SIGINT or
SIGTERM), objects can't be read.

=item B<64>

It was called wrongly.

=back

=head1 SEE ALSO

L<rt-s3>, L<RT::ExternalStorage::AmazonS3>

=cut
