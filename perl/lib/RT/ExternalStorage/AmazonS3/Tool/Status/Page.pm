package RT::ExternalStorage::AmazonS3::Tool::Status::Page;

use strict;
use warnings;

use Cwd        ();
use Fcntl      ();
use IO::Handle ();

use RT::ExternalStorage::AmazonS3::Chart;
use RT::ExternalStorage::AmazonS3::Tool::Status::Words;

use constant {
    CHART => 'RT::ExternalStorage::AmazonS3::Chart',
    WORDS => 'RT::ExternalStorage::AmazonS3::Tool::Status::Words'
};

my $STYLE = <<'END' =~ s/\s*\n\s*//gr;
:root{color-scheme:light dark}
body{margin:0 auto;padding:1rem;max-width:44rem;font:1rem/1.5 sans-serif;background:#fff;color:#1c1c1c}
h1{font-size:1.4rem}
h2{font-size:1.1rem;margin-top:2rem}
h3{font-size:1rem;margin:1rem 0 .3rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;font-weight:normal}
td{overflow-wrap:anywhere}
td.number{text-align:right;white-space:nowrap}
th.part{padding-left:1rem}
tr.note td{font-size:.85rem;padding:0 0 .4rem 1rem;opacity:.75}
.look{border-left:.3rem solid #c0392b;padding-left:.7rem;overflow-wrap:anywhere}
.well{border-left:.3rem solid #2e8b57;padding-left:.7rem}
@media(prefers-color-scheme:dark){body{background:#1c1c1c;color:#e6e6e6}
body .rts3-chart .external{fill:#5aa9e6}
body .rts3-chart .database{fill:#f0a63c}}
END

# A file of that name from now on, so that a long count is not in vain; it has its content with Write
sub new {
    my ( $class, $tool, $file ) = @_;
    my $self = bless { tool => $tool, file => $file, parent => $$ }, $class;
    $self->_Refuse('it is a directory') if -d $file;
    $self->_Refuse('it is no file')     if -e _ && !-f _;

    # What a link points to is written, and the link stays
    $self->{page} = -l $file && Cwd::abs_path($file) || $file;
    $self->{new}  = "$self->{page}.$$";
    unlink $self->{new};
    sysopen $self->{handle}, $self->{new}, Fcntl::O_WRONLY() | Fcntl::O_CREAT() | Fcntl::O_EXCL()
        or $self->_Refuse($!);
    return $self;
}

# The whole page, or what was there before
sub Write {
    my ( $self, @what ) = @_;
    my $handle = $self->{handle};
    my $html   = _Html(@what);
    utf8::encode($html);
    $self->_Refuse($!)
        if !print( {$handle} $html ) || !$handle->sync || !close($handle) || !rename $self->{new}, $self->{page};
    delete $self->{new};
    return;
}

sub _Refuse {
    my ( $self, $why ) = @_;
    return $self->{tool}->Stop("--html: $self->{file} cannot be written: $why");
}

sub DESTROY {
    my ($self) = @_;
    unlink $self->{new} if defined $self->{new} && $self->{parent} == $$;
    return;
}

# %page: figures, runs, look, unknown (why the bucket's are not known)
sub _Html {
    my (%page) = @_;
    my ( $figures, $runs ) = @page{qw(figures runs)};
    my $host  = RT::ExternalStorage::AmazonS3::Chart::Escaped( RT->Config->Get('rtname') // 'RT' );
    my @look  = ( defined $page{unknown} ? $page{unknown} : (), @{ $page{look} } );
    my @state = map { '<p class="look">' . RT::ExternalStorage::AmazonS3::Chart::Escaped($_) . '</p>' } @look;
    @state = '<p class="well">Nothing is known that needs a look.</p>' if !@look;
    my @rows = WORDS->Where($figures);
    my @body = (
        "<h1>Attachments of $host</h1>",
        '<p>Counted '
            . RT::ExternalStorage::AmazonS3::Chart::Escaped( WORDS->Stamp( $figures->{ended} // time ) ) . '.</p>',
        @state,
        '<h2>Where they are</h2>',
        _Bars(@rows),
        _Table(@rows),
        '<h2>When they came</h2>',
        _Months( $figures->{months}, !defined $page{unknown} ),
        '<h2>Last runs</h2>',
        '<table>',
        (
            map {
                      '<tr><th scope="row">'
                    . RT::ExternalStorage::AmazonS3::Chart::Escaped( $_->[0] )
                    . '</th><td>'
                    . RT::ExternalStorage::AmazonS3::Chart::Escaped( $_->[1] )
                    . '</td></tr>'
            } WORDS->Told( $runs, 'Stamp' )
        ),
        '</table>',
    );
    return join "\n",
        '<!DOCTYPE html>',
        '<html lang="en">',
        '<head>',
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>Attachments of $host</title>",
        "<style>$STYLE</style>",
        '</head>',
        '<body>', @body, '</body>', '</html>', '';
}

sub _Bars {
    my (@rows) = @_;
    my @bars = map { [ $_->{text}, $_->{bytes}, WORDS->Bytes($_), $_->{kind} ] } @rows;
    return CHART->Bars( title => 'Where attachments are, by size', rows => \@bars );
}

sub _Table {
    my (@rows) = @_;
    return ( '<table>', ( map { _Row($_) } @rows ), '</table>' );
}

sub _Row {
    my ($row) = @_;
    my $part = $row->{part} ? ' class="part"' : '';
    my @cells =
        ( "<th scope=\"row\"$part>" . RT::ExternalStorage::AmazonS3::Chart::Escaped( $row->{text} ) . '</th>' );
    push @cells, "<td class=\"number\">$_</td>" for WORDS->Count($row), WORDS->Bytes($row);
    my $note = $row->{note} // '';
    $note = '<tr class="note"><td colspan="3">' . RT::ExternalStorage::AmazonS3::Chart::Escaped($note) . '</td></tr>'
        if length $note;
    return join '', '<tr>', @cells, '</tr>', $note;
}

sub _Months {
    my ( $months, $is_known ) = @_;
    return '<p>There are none yet.</p>' if !%{$months};
    return (
        $is_known
        ? ( '<h3>By size</h3>', CHART->Months( title => 'By size and month of creation', months => $months ) )
        : '<p>Sizes of what is in S3 are not known.</p>',
        '<h3>By number</h3>',
        CHART->Months( title => 'By number and month of creation', months => $months, of => 'count' )
    );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Status::Page - rt-s3 status as a page of HTML

=head1 DESCRIPTION

One file without scripts and without anything from elsewhere, for light and dark, wide and narrow screens.

=head1 METHODS

=head2 new TOOL, FILE

Ends the command where the file can't be written.

=head2 Write figures => FIGURES, runs => RUNS, look => SENTENCES, unknown => WHY

Puts the page in the place of what was there. Without it that stays.

=cut
