package RT::ExternalStorage::AmazonS3::Tool::Status::Figures;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Records;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Database;
use RT::ExternalStorage::AmazonS3::Tool::Externalize::Mark;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Sort;

use constant { VERIFY => 'RT::ExternalStorage::AmazonS3::Tool::Verify', BELOW => __PACKAGE__ =~ s/::\w+\z//r };

# What seems to be missing may have been deleted meanwhile: for so many files, so many rows of each are read again
use constant { LOOKED_AT => 100, SOME => 20 };

# Ids that are given, of each class, of what is below the mark
use constant IDS => 1000;

# The month of a date
my %MONTH = ( SQLite => 'SUBSTR(Created, 1, 7)', mysql => q{DATE_FORMAT(Created, '%Y-%m')} );

# %args: tool, tick (called often, may end the command; gets how far it is: what, done, of all)
sub new {
    my ( $class, %args ) = @_;
    return bless {
        %args,
        database => RT::ExternalStorage::AmazonS3::Tool::Database->new( $args{tool} ),
        sort     => ( VERIFY . '::Sort' )->new,
        started  => time,
        invalid  => 0,
        ( map { $_ => [ 0, 0 ] } qw(all waiting below small external objects orphans) ),
        months => {},
        ids    => {}
    }, $class;
}

# The figures, as they are kept
sub Count {
    my ($self) = @_;
    my $tool = $self->{tool};
    $tool->LoadRT;
    my $mark = RT::ExternalStorage::AmazonS3::Tool::Externalize::Mark->new;
    $self->_Read( $_, $mark->Of( $_->{class} ) ) for $self->{database}->Places;

    # After the database: what that refers to was there before
    my $listed = eval { $self->_List };
    my $why    = $@;
    if ( !$listed ) {
        die $why if !RT::ExternalStorage::AmazonS3::Tool::IsStopped($why) || $self->{is_ended}->();
        return { %{ $self->_Figures }, unknown => $why->{text} };
    }
    $self->_Compare;
    return $self->_Figures;
}

# Those that are kept for whoever wants no count. What is known of the bucket is not given up for what is not.
sub Keep {
    my ( $self, $figures ) = @_;
    my $last = RT::ExternalStorage::AmazonS3::Records->Last('figures');
    return if !defined $figures->{objects} && $last && defined $last->{objects};
    return RT::ExternalStorage::AmazonS3::Records->Keep( figures => %{$figures} );
}

sub _Figures {
    my ($self)  = @_;
    my %figures = ( started => $self->{started}, invalid => $self->{invalid} );
    my %named   = ( all     => 'database' );
    for my $name (qw(all waiting below small external)) {
        $figures{ $named{$name} // $name } = { count => $self->{$name}[0], bytes => $self->{$name}[1] };
    }
    $figures{below}{ids} = $self->{ids};
    $figures{months} = $self->{months};
    if ( $self->{is_known} ) {
        $figures{$_}      = { count => $self->{$_}[0], bytes => $self->{$_}[1] } for qw(objects orphans);
        $figures{missing} = $self->{missing};
        $figures{saved}   = $self->{external}[1] - $self->{objects}[1];
        return \%figures;
    }
    $figures{external}{bytes} = undef;
    $figures{$_} = undef for qw(objects orphans missing saved);
    for my $month ( grep { $_->{external} } values %{ $self->{months} } ) {
        $month->{external}[1] = undef;
    }
    return \%figures;
}

# ---- the database

sub _Read {
    my ( $self, $place, $mark )   = @_;
    my ( $table, $column, $sign ) = @{$place}{qw(table column sign)};
    my $type   = RT->Config->Get('DatabaseType');
    my $length = $self->{database}->BytesOf($column);
    my $month  = $MONTH{$type} // q{TO_CHAR(Created, 'YYYY-MM')};

    # What RT decides by, beside the length. For RT a custom field's value "0" has none.
    my @decides =
        $sign eq 'A' ? qw(ContentType Headers) : ( 'CustomField', "CASE WHEN $length = 1 THEN $column END" );
    my $other = join ', ', map {"CASE WHEN ContentEncoding = 'external' THEN NULL ELSE $_ END"} $length, @decides;
    my $query = "SELECT id, $month, ContentEncoding, CASE WHEN ContentEncoding = 'external' THEN $column END, $other "
        . "FROM $table WHERE id > ? AND id <= ? AND $column IS NOT NULL";
    my $class = $sign eq 'A' ? 'RT::ExternalStorage::AmazonS3::Tool::Attachment' : BELOW . '::Value';
    eval "require $class; 1" or die $@;    ## no critic (ProhibitStringyEval): one of the two
    my $rule = $class->new( RT->SystemUser );
    my ($most) = $self->{database}->Select("SELECT MAX(id) FROM $table")->[0][0];

    $self->{database}->Ranges(
        $table,
        sub {
            my ( $after, $to ) = @_;
            for my $row ( @{ $self->{database}->Select( $query, $after, $to ) } ) {
                my ( $id, $created, $encoding, $digest, $bytes, $kind, $headers ) = @$row;
                if ( ( $encoding // '' ) eq 'external' ) {
                    $self->_Reference( $sign, $id, $created // '', $digest );
                    next;
                }
                next if !$bytes;
                my ($said) = ( $headers // '' ) =~ /(?:\A|\n)Content-Length:\s+(\d*)/i;
                $bytes = _Decoded( $encoding, $bytes, $said );
                $self->_Add( database => $created // '', $bytes );
                _Sum( $self->{all}, $bytes );
                my $empty = $sign eq 'V' && ( $headers // '' ) eq '0';
                my $moves =
                    defined $encoding && !$empty && $rule->Moves( $kind, defined $said ? $said || 0 : $bytes );
                my $what = !$moves ? 'small' : $id > $mark ? 'waiting' : 'below';
                _Sum( $self->{$what}, $bytes );
                $self->_Below( $place->{class}, $id ) if $what eq 'below';
            }
            $self->{tick}->( "$table read", $to < $most ? $to : $most, $most );
        }
    );
    return;
}

# As many bytes as there were before RT encoded them. Of base64 as RT writes it, in lines of 76 characters, the last two
# bytes may be filling; what a header says decides if it is possible.
sub _Decoded {
    my ( $encoding, $bytes, $said ) = @_;
    $encoding = lc( $encoding // '' );
    my ( $least, $most ) = ($bytes) x 2;
    if ( $encoding eq 'base64' ) {
        my $lines = int( ( $bytes + 76 ) / 77 );
        $most  = int( ( $bytes - $lines ) / 4 ) * 3;
        $least = $most > 2 ? $most - 2 : 0;
        $bytes = $most > 1 ? $most - 1 : $most;
    }
    elsif ( $encoding eq 'quoted-printable' ) {
        $least = int( $bytes / 3 );
    }
    return length( $said // '' ) && $said >= $least && $said <= $most ? $said + 0 : $bytes;
}

sub _Below {
    my ( $self, $class, $id ) = @_;
    my $ids = $self->{ids}{$class} ||= [];
    push @{$ids}, $id + 0 if @{$ids} < IDS;
    return;
}

sub _Reference {
    my ( $self, $sign, $id, $month, $digest ) = @_;
    $self->_Add( external => $month, 0 );
    _Sum( $self->{external}, 0 );
    if ( ( $digest // '' ) !~ /\A[0-9a-f]{64}\z/ ) {
        $self->{invalid}++;
        return;
    }
    $self->{sort}->Add("$digest $month $sign $id");
    return;
}

sub _Add {
    my ( $self, $kind, $month, $bytes ) = @_;
    _Sum( $self->{months}{$month}{$kind} ||= [ 0, 0 ], $bytes ) if length $month;
    return;
}

sub _Sum {
    my ( $sum, $bytes ) = @_;
    $sum->[0]++;
    $sum->[1] += $bytes;
    return;
}

# ---- the bucket

sub _List {
    my ($self) = @_;
    my $bucket = $self->{bucket} = ( VERIFY . '::Bucket' )->new( $self->{tool} );
    $bucket->List( sub { $self->{tick}->( 'objects listed', $bucket->Objects ) },
        sub { _Sum( $self->{orphans}, $_[1] ) } );
    return $self->{is_known} = 1;
}

# Both come in the order of their digests
sub _Compare {
    my ($self) = @_;
    my $bucket = $self->{bucket};
    my $object = $bucket->Next;
    my $rows   = 0;
    $self->{missing} = 0;
    while ( my $group = $self->_Next ) {
        while ( $object && $object->[0] lt $group->{digest} ) {
            _Sum( $self->{orphans}, $object->[1] );
            $object = $bucket->Next;
        }
        $rows += $group->{count};
        $self->{tick}->( 'references looked at', $rows, $self->{external}[0] );
        if ( !$object || $object->[0] ne $group->{digest} ) {
            $self->{missing} += $self->_Missing($group);
            next;
        }
        my $size = $object->[1];
        _Sum( $self->{objects}, $size );
        $self->{external}[1] += $size * $group->{count};
        for my $month ( grep {length} keys %{ $group->{months} } ) {
            $self->{months}{$month}{external}[1] += $size * $group->{months}{$month};
        }
        $object = $bucket->Next;
    }
    while ($object) {
        _Sum( $self->{orphans}, $object->[1] );
        $object = $bucket->Next;
    }
    return;
}

# The next digest: { digest, count, months => { MONTH => count }, some => [ [ sign, id ], ... ] }
sub _Next {
    my ($self) = @_;
    my $line = $self->{line} // $self->{sort}->Next // return undef;
    my $group;
    while ( defined $line ) {
        my ( $digest, $month, $sign, $id ) = split / /, $line;
        $group //= { digest => $digest, count => 0, months => {}, some => [] };
        last if $digest ne $group->{digest};
        push @{ $group->{some} }, [ $sign, $id ] if $group->{count}++ < SOME;
        $group->{months}{$month}++;
        $line = $self->{sort}->Next;
    }
    $self->{line} = $line;
    return $group;
}

# How many references are without an object
sub _Missing {
    my ( $self, $group ) = @_;
    return $group->{count} if $self->{looked_at}++ >= LOOKED_AT;
    my $gone = 0;
    for my $row ( @{ $group->{some} } ) {
        my ( $sign,  $id )     = @$row;
        my ( $table, $column ) = @{ $self->{database}->Place($sign) }{qw(table column)};
        my $now = $self->{database}
            ->Select( "SELECT $column FROM $table WHERE id = ? AND ContentEncoding = 'external'", $id )->[0];
        $gone++ if !$now || ( $now->[0] // '' ) ne $group->{digest};
    }
    return $group->{count} - $gone;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Status::Figures - how many attachments are where, and how large

=head1 DESCRIPTION

Reads RT's tables once, in ranges of ids and without contents, and then the bucket's listing. Memory does not depend on
how many there are.

=head1 METHODS

=head2 new tool => TOOL, tick => CODE, is_ended => CODE

C<tick> is called often, with what is done, how many of it and of how many; it may end the command, and then C<is_ended>
says so.

=head2 Count

A hash:

=over

=item C<started>

When that was, in seconds since the epoch.

=item C<database>, C<waiting>, C<below>, C<small>

Each a hash of C<count> and C<bytes>: contents in the database; those of them that the next run moves, those that RT would
move but never looks at again, since they are below its high-water mark, and those that RT keeps. C<below> has C<ids>, too:
by class, the first 1,000.

=item C<external>, C<objects>, C<orphans>

References to objects, with bytes as if each had a copy of its own; the objects they refer to; those nothing refers to.

=item C<missing>, C<invalid>, C<saved>

References to objects that are not there, and those that are no digest; the bytes that sharing objects saves.

=item C<months>

By month, C<YYYY-MM>, hashes of C<database> and C<external>: each an array of count and bytes.

=item C<unknown>

Why the bucket could not be listed. What only it tells is C<undef> then.

=back

=head2 Keep FIGURES

Keeps them in RT, for C<rt-s3 status --cached> and RT's page, as C<figures> of
L<RT::ExternalStorage::AmazonS3::Records>. Those without the bucket do not take the place of those with it.

=cut
