package RT::ExternalStorage::AmazonS3::Tool::Status;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Records;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Status::Figures;
use RT::ExternalStorage::AmazonS3::Tool::Status::Page;
use RT::ExternalStorage::AmazonS3::Tool::Status::Text;
use RT::ExternalStorage::AmazonS3::Tool::Status::Words;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Progress;

use constant { BELOW => __PACKAGE__, WORDS => __PACKAGE__ . '::Words' };

sub Options { return qw(cached html=s) }

sub new {
    my ( $class, %args ) = @_;
    return bless { tool => $args{tool} }, $class;
}

sub Run {
    my ($self) = @_;
    my $tool   = $self->{tool};
    my $output = $tool->Output;
    my $file   = $tool->Option('html');
    $tool->Refuse('--html: a file is wanted') if defined $file && !length $file;
    $tool->LoadRT;

    local $SIG{INT}     = sub { $self->{signal} = 'INT' };
    local $SIG{TERM}    = sub { $self->{signal} = 'TERM' };
    local $SIG{__DIE__} = 'DEFAULT';
    my $page    = defined $file           ? ( BELOW . '::Page' )->new( $tool, $file ) : undef;
    my $figures = $tool->Option('cached') ? $self->_Cached                            : $self->_Counted;
    my $unknown =
        defined $figures->{objects}
        ? undef
        : 'What only the bucket tells is not known: ' . ( $figures->{unknown} // 'it could not be listed' );
    my $runs = WORDS->Runs;
    my @look = WORDS->Look( $figures, $runs );

    $output->Line($_) for ( BELOW . '::Text' )->Lines( $figures, $runs );
    $output->Line('') if defined $unknown || @look;
    $output->Problem($_) for grep {defined} $unknown, @look;
    $self->_Records( $figures, $runs, @look );
    $page->Write( figures => $figures, runs => $runs, look => \@look, unknown => $unknown ) if $page;
    return $tool->NOT_DONE                                                                  if defined $unknown;
    return @look ? $tool->SOMETHING : $tool->WELL;
}

sub _Counted {
    my ($self)   = @_;
    my $tool     = $self->{tool};
    my $progress = RT::ExternalStorage::AmazonS3::Tool::Verify::Progress->new($tool);
    my $counting = ( BELOW . '::Figures' )->new(
        tool     => $tool,
        is_ended => sub { $self->{signal} },
        tick     => sub {
            $tool->Stop("ended by SIG$self->{signal}") if $self->{signal};
            $progress->Show(@_);
        }
    );
    my $figures = $counting->Count;
    $progress->Clear;
    $counting->Keep($figures);
    return $figures;
}

sub _Cached {
    my ($self) = @_;
    return RT::ExternalStorage::AmazonS3::Records->Last('figures')
        || $self->{tool}->Stop('there are no figures yet: without --cached they are counted');
}

sub _Records {
    my ( $self, $figures, $runs, @look ) = @_;
    my $output = $self->{tool}->Output;
    for my $name ( grep { $runs->{$_} } sort keys %{$runs} ) {
        my %run = %{ $runs->{$name} };
        delete @run{qw(findings failures)};
        $output->Record( %run, run => $name );
    }
    $output->Record( look    => $_ ) for @look;
    $output->Record( summary => $figures );
    return;
}

1;

__END__

=head1 NAME

rt-s3 status - how many attachments are where, and what the last runs have found

=head1 SYNOPSIS

    rt-s3 status
    rt-s3 status --cached
    rt-s3 status --html /var/www/html/attachments.html

=head1 DESCRIPTION

Counts the contents of attachments, and of the values of custom fields, that are

=over

=item in S3

the references in RT's database to objects in the bucket, as if each had a copy of its own; and the objects that they refer
to. What is the same is kept once: that saves the difference.

=item in the database

of which some are I<waiting> for the next C<rt-s3 externalize>, and others are I<staying>, because RT keeps them
there: texts and images that are not above C<$ExternalStorageCutoffSize>, for instance. RT itself is asked, as its own
F<rt-externalize-attachments> does. What is I<left behind> would be moved, but both commands look only at what is
above RT's high-water mark, and it is not: when C<$ExternalStorageCutoffSize> was made smaller since, say. C<rt-s3
externalize --class --ids> moves it all the same; the first 1,000 ids are in what C<--json> writes.

=item not referred to

objects in the bucket that nothing refers to. While attachments are being moved, some of those are among them. C<rt-s3 verify
--orphans> names them.

=back

It tells what the last runs of the other commands have done, and what somebody should look at, to standard error:
references without an object, attachments that could not be moved. RT's own F<rt-externalize-attachments> leaves no
word of its runs.

Tables are read once, in ranges of ids, and no content leaves the database (MariaDB and SQLite may have to read it to know
how long it is). Sizes of what RT keeps as base64 or quoted-printable are those of the header C<Content-Length> where that
can be, else they may be a byte off, or, of quoted-printable, too large. Then the bucket is listed, 1,000 objects a request. Memory does not depend on how many there are; for each reference
and each object about 100 bytes in temporary files (C<TMPDIR>) are needed.

Where the bucket can't be listed, what only it tells is said to be not known.

The figures are kept in RT for C<--cached> and for RT's page on external storage. Nothing else is changed.

=head1 OPTIONS

=over

=item --cached

Counts nothing: tells the figures of the last time, at once, and when that was.

=item --html FILE

Writes the same with pictures, as a page that needs nothing but this file. It takes the place of what was there when it is
complete; a link stays a link.

=item --json

One JSON object a line: for each run one with C<run>, its name, and what is known of it; for each thing that somebody
should look at one with C<look>; in the end C<summary>. In that each of C<database>, C<waiting>, C<below> (left
behind), C<small> (staying), C<external>, C<objects> and C<orphans> has C<count> and C<bytes>, and C<below> has C<ids>
by class; C<missing> and C<invalid> are references without an object and such as are no digest, C<saved> is in bytes,
and C<months> has, by month, C<database> and C<external>, each with a number and bytes. C<null>: not known.

=item --quiet, -q

Only what somebody should look at.

=item --help, -h

This manual.

=back

=head1 EXIT STATUS

=over

=item B<0>

There is nothing that somebody should look at.

=item B<1>

There is.

=item B<2>

It could not be done, or the bucket could not be listed, or a signal came.

=item B<64>

It was called wrongly.

=back

=head1 SEE ALSO

L<rt-s3>, L<RT::ExternalStorage::AmazonS3>

=cut
