package RT::ExternalStorage::AmazonS3::Tool::Migrate;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Lock;
use RT::ExternalStorage::AmazonS3::Native::Listing;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Database;
use RT::ExternalStorage::AmazonS3::Tool::Migrate::Copy;
use RT::ExternalStorage::AmazonS3::Tool::Migrate::Outcome;
use RT::ExternalStorage::AmazonS3::Tool::Migrate::Place;
use RT::ExternalStorage::AmazonS3::Tool::Migrate::State;
use RT::ExternalStorage::AmazonS3::Tool::Progress;
use RT::ExternalStorage::AmazonS3::Tool::Verify::Bucket;
use RT::ExternalStorage::AmazonS3::Tool::Verify::References;
use RT::ExternalStorage::AmazonS3::Tool::Workers;

use constant {
    BELOW  => 'RT::ExternalStorage::AmazonS3::Tool::Migrate',
    VERIFY => 'RT::ExternalStorage::AmazonS3::Tool::Verify',
};

# References looked at for one object
use constant NAMED => 20;

# A job may take so many seconds, and one more for each so many bytes
use constant { SECONDS => 900, RATE => 64_000 };

sub Options { return qw(from=s to=s concurrency=s memory=s dry-run) }

sub new {
    my ( $class, %args ) = @_;
    return bless {%args}, $class;
}

sub Run {
    my ($self) = @_;
    my $tool = $self->{tool};
    $tool->Refuse(
        'say with --from or with --to, or with both, from where to where; what is not said is what RT is configured for'
    ) if !defined $tool->Option('from') && !defined $tool->Option('to');
    $self->{concurrency} = $tool->Number( concurrency => 8,   1, 100 );
    $self->{memory}      = $tool->Number( memory      => 256, 1, 1_000_000 ) * 1024 * 1024;

    $tool->LoadRT;
    my ( $from, $to ) = @{$self}{qw(from to)} = map { ( BELOW . '::Place' )->Of( $tool, $_ ) } qw(from to);
    $tool->Refuse( 'it can only be copied into a bucket, and '
            . ( $to->IsInForce ? 'RT is configured for ' : "$to->{given} is " )
            . $to->Describe
            . '; name a file with Type => \'AmazonS3\' with --to' )
        if !$to->IsS3;
    $tool->Refuse( 'both sides are the same place, ' . $to->Describe ) if $from->Identity eq $to->Identity;

    my $locks;
    if ( !$tool->Option('dry-run') ) {
        $locks = RT::ExternalStorage::AmazonS3::Lock->Exclusive( $tool->{program} );
        $tool->Stop("not now: $locks") if !ref $locks;
    }
    local $SIG{INT}     = sub { $self->{signal} = 'INT' };
    local $SIG{TERM}    = sub { $self->{signal} = 'TERM' };
    local $SIG{PIPE}    = 'IGNORE';
    local $SIG{__DIE__} = 'DEFAULT';
    $self->{outcome} = ( BELOW . '::Outcome' )->new( tool => $tool, from => $from, to => $to );
    my $status = eval { $self->_Migrate($locks) };
    return $status if defined $status;
    my $error = $@;
    delete $self->{workers};
    return $self->{outcome}->Stopped( ref $error ? $error->{text} : $error =~ s/\s+\z//r );
}

sub _Migrate {
    my ( $self, $locks ) = @_;
    my $dry  = $self->{tool}->Option('dry-run');
    my $tick = sub { $self->_Tick };
    $self->_Copy( $tick, $dry, $locks );

    # With their temporary files, before the verification makes its own
    delete @{$self}{qw(workers rows listed)};
    $self->{outcome}->Copied;
    return $self->{outcome}->End( $dry ? undef : $self->_Verify($tick) );
}

# All that is referred to
sub _Copy {
    my ( $self, $tick, $dry, $locks ) = @_;
    my ( $tool, $to, $outcome ) = @{$self}{qw(tool to outcome)};
    my $source = $self->_Source;
    my $target = ( VERIFY . '::Bucket' )->new($to);
    my $made   = $self->_Prepare( $target->Native, $dry );

    $outcome->Phase('listing the target');
    $target->List( $tick, sub { } ) if !$made;
    my $there = $made ? undef : $target->Next;
    my $sizes = $self->_Sizes($tick);
    $outcome->Phase('reading the references');
    my $rows = $self->{rows} = ( VERIFY . '::References' )->new($tool);
    $rows->Read( $tick, sub { } );

    $outcome->Begin( $rows, ( BELOW . '::State' )->new( target => $target->Name ), $dry );
    my $copy = ( BELOW . '::Copy' )->new(
        source    => $source,
        target    => $target->Native,
        checksums => $target->KeepsChecksums,
        new       => $made,
    );
    $self->{workers} = RT::ExternalStorage::AmazonS3::Tool::Workers->new(
        verb        => 'copied',
        concurrency => $self->{concurrency},
        memory      => $self->{memory},
        begin       => sub { close $_ for @{ $locks || [] } },
        work        => sub { return $copy->Work(@_) },
        done        => sub { $outcome->Done(@_) },
        tick        => $tick,
        limit       => sub { return SECONDS + $_[0]{size} / RATE },
        hangs       => { side => 'source', name => 'hangs', text => 'there is no answer' },
    );

    while ( my $group = $rows->Next(NAMED) ) {
        my $digest = $group->{digest};
        $there = $target->Next while $there && $there->[0] lt $digest;
        my $is_there = $there && $there->[0] eq $digest;
        $outcome->Next( $group, $is_there ) and $self->{workers}->Submit( $self->_Job( $group, $is_there, $sizes ) );
        $tick->();
    }
    $self->{workers}->Finish;
    return;
}

# What is read: the library's handle for a bucket, or RT's own backend
sub _Source {
    my ($self) = @_;
    my $from = $self->{from};
    return $from->Foreign if !$from->IsS3;
    my $source = ( VERIFY . '::Bucket' )->new($from);
    my ( undef, $error ) = _CanList( $source->Native );
    $from->Stop($error) if $error && $error->name ne 'denied';
    $self->{listed} = $error ? undef : $source;
    return $source->Native;
}

# The bucket is made, also where Store would not do it: RT has external rows, and that is why
sub _Prepare {
    my ( $self, $native, $dry ) = @_;
    my ( $outcome, $to )    = @{$self}{qw(outcome to)};
    my ( undef,    $error ) = $dry ? _CanList($native) : $native->probe;
    return 0          if !$error;
    $to->Stop($error) if $error->name ne 'no-bucket';
    if ($dry) {
        $to->Stop( $to->Describe . ' is not there, and would not be made: the option CreateBucket is 0' )
            if ( $to->Backend->{CreateBucket} // '' ) eq '0';
    }
    else {
        my ( $made, $refused ) = $native->create_bucket;
        $to->Stop( $error->message . "; $refused" ) if !$made;
    }
    $outcome->Made;
    return 1;
}

sub _CanList {
    my ($native) = @_;
    my ( $listing, $error ) = RT::ExternalStorage::AmazonS3::Native::Listing->new( $native, deadline => 30_000 );
    ( undef, $error ) = $listing->next if $listing;
    return ( $error ? 0 : 1, $error );
}

# How large the objects of the source are, so that memory is bounded: a function of the digests in their order
sub _Sizes {
    my ( $self, $tick ) = @_;
    my $from = $self->{from};
    if ( my $source = $self->{listed} ) {
        $self->{outcome}->Phase('listing the source');
        $source->List( $tick, sub { } );
        my $object = $source->Next;
        return sub {
            my ($digest) = @_;
            $object = $source->Next while $object && $object->[0] lt $digest;
            return $object && $object->[0] eq $digest ? $object->[1] : undef;
        };
    }
    my $path = $from->Type =~ /\A(?:RT::ExternalStorage::)?Disk\z/ ? $from->Backend->{Path} : undef;
    return sub {
        my ($digest) = @_;
        return undef if !defined $path;
        return -s join '/', $path, unpack 'A3 A3 A*', $digest;
    };
}

sub _Job {
    my ( $self, $group, $is_there, $sizes ) = @_;
    my $digest = $group->{digest};
    my ($hint) = sort { $b <=> $a } keys %{ $group->{lengths} };
    return {
        digest => $digest,
        size   => ( $sizes->($digest) // $hint // 0 ) + 0,
        there  => $is_there ? 1 : 0,
        type   => $self->_Type($group),
    };
}

# The type with which it would be stored by the first row that refers to it
sub _Type {
    my ( $self, $group ) = @_;
    my ($first) = sort { $a->[0] cmp $b->[0] || $a->[1] <=> $b->[1] } @{ $group->{references} };
    my ( $place, $id ) = @$first;
    my $database = $self->{database} //= RT::ExternalStorage::AmazonS3::Tool::Database->new( $self->{tool} );
    my $row = $database->Row( 'SELECT ContentType FROM ' . $database->Place($place)->{table} . ' WHERE id = ?', $id );
    my $type = $row ? $row->{contenttype} // '' : '';
    utf8::decode($type) if !utf8::is_utf8($type);
    $type =~ s/\0/\x{fffd}/g;    # as Store has it
    return $type;
}

# What a look at the whole target says
sub _Verify {
    my ( $self, $tick ) = @_;
    my ( $tool, $to, $outcome ) = @{$self}{qw(tool to outcome)};
    $outcome->Phase('verifying the target');
    require RT::ExternalStorage::AmazonS3::Tool::Verify::Comparison;
    require RT::ExternalStorage::AmazonS3::Tool::Verify::State;
    my $bucket = ( VERIFY . '::Bucket' )->new($to);
    my $rows   = ( VERIFY . '::References' )->new($tool);
    $bucket->List( $tick, sub { } );
    my $comparison = ( VERIFY . '::Comparison' )->new(
        tool        => $to,
        bucket      => $bucket,
        rows        => $rows,
        report      => $outcome,
        state       => ( VERIFY . '::State' )->new( tool => $tool, bucket => $bucket->Name ),
        repair      => $outcome,
        tick        => $tick,
        concurrency => $self->{concurrency},
    );
    $rows->Read( $tick, sub { $comparison->Invalid(@_) } );
    $comparison->Run;
    return {
        references => $rows->Rows,
        digests    => $comparison->Digests,
        objects    => $bucket->Objects,
        bytes      => $bucket->Bytes
    };
}

# Called often; a signal ends the work here
sub _Tick {
    my ($self) = @_;
    $self->{tool}->Stop("ended by SIG$self->{signal}") if $self->{signal};
    $self->{outcome}->Show;
    return;
}

1;

__END__

=head1 NAME

rt-s3 migrate - copies what RT has stored elsewhere into a bucket

=head1 SYNOPSIS

    rt-s3 migrate --to new.pm
    rt-s3 migrate --from old.pm
    rt-s3 migrate --from Disk:/opt/rt5/var/attachments
    rt-s3 migrate --from Own:old.pm --to new.pm

=head1 DESCRIPTION

Copies the files that RT's database refers to, out of a directory (RT's C<Disk>), out of C<Dropbox>, or out of another
bucket, into a bucket. The database is not changed: a file has the same key everywhere, the SHA-256 digest of its content. RT
goes on serving meanwhile.

One of the two places is what RT is configured for; the other one stands in a file. It has the form of
F<RT_SiteConfig.pm>, and only C<%ExternalStorage> of it is looked at:

    Set(%ExternalStorage,
        Type            => 'AmazonS3',
        Bucket          => 'my-rt-attachments',
        AccessKeyId     => '...',
        SecretAccessKey => '...',
        Region          => 'eu-central-1',
    );
    1;

The usual order is C<--to>: RT works with the old place until all is copied. Then the same C<Set> goes into
F<RT_SiteConfig.pm>. If RT was switched already, and can't show the old files, it is C<--from>, with the old configuration.

Each file is compared with its digest before it is stored, and the bucket's object is known to be whole afterwards. What is
in the bucket already is read, or the server is asked for its SHA-256 where it is AWS; what is damaged there is written over.
In the end the bucket is listed and compared with the database, as C<rt-s3 verify> does it; and if all is well it shows the
C<%ExternalStorage> that RT is to have then, with dots for what is secret.

The bucket is made if there is none. An object gets the type of the row that refers to it, or of the first one.

RT's own module C<AmazonS3> stores the same objects under the same keys, so where both use one bucket there is nothing to
copy. A bucket is read by this one's library, whichever of them has filled it; after C<Own:> by RT's own module, for a server
that only that one can talk to. Other backends are read as RT reads them.

It holds the lock of RT's F<rt-externalize-attachments>, so that nothing goes to the old place meanwhile. SIGINT, SIGTERM,
an outage: whatever ends it, nothing is lost, and the same command goes on. A file to which a place gives no answer for 15
minutes (longer for large ones) is told, and the others are copied. What it knows to be whole in the target it does not
look at again.

=head1 OPTIONS

=over

=item C<--from=FILE>, C<--to=FILE>

The place to copy from, and the bucket to copy into; at least one of them. What is not given is what RT is configured for.
A directory can be named without a file: C<--from=Disk:PATH>. C<--from=Own:FILE>: with RT's own module C<AmazonS3>, which needs
C<Amazon::S3> (Debian's C<libamazon-s3-perl>).

Files with keys should be readable to root alone (C<chmod 600>); there is a warning where everybody can read one. One that
everybody can write is refused, for it is carried out as Perl.

=item C<--concurrency=NUMBER>

So many files are copied at a time: 8 if not said, 100 at most.

=item C<--memory=MEGABYTES>

Files on their way, together: 256 if not said. One that is larger is copied alone. Of a source other than a directory or a
bucket the size is what the header C<Content-Length> says that RT keeps of an attachment.

=item C<--dry-run>

Says how many would be copied, and how large they are by the lengths that RT keeps in the headers of attachments; of the
values of custom fields it keeps none. Looks at the target and at the database, not at the source, and changes nothing.

=item C<--json>, C<--quiet>, C<--help>

As for every command: see L<rt-s3>. With C<--json> there is an object for each file that could not be copied, with C<finding>
(C<missing>, C<damaged> or C<unreadable>), C<digest>, C<detail> and C<references>; one for each finding of the verification
that is not among them; and a last one with C<summary>, C<copied>, C<bytes>, C<present>, C<failed>, C<verify>,
C<configuration> (the options for RT, where those in force are to be changed, and C<null> for what is secret), with
C<--dry-run> C<unknown> (files of which only the source knows the length), and, where it was ended, C<stopped>.

=back

=head1 EXIT STATUS

=over

=item C<0>

All is in the target.

=item C<1>

Some files could not be copied, because the source does not have them, or has something else. Each is told with its
tickets.

=item C<2>

It could not begin, or was ended: by a signal, because a place is not to be reached, or because ten files in a row could not
be read or written.

=item C<64>

It was called wrongly.

=back

=head1 SEE ALSO

L<rt-s3>, L<RT::ExternalStorage::AmazonS3>, F<docs/moving.md>

=cut
