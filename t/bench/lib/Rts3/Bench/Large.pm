package Rts3::Bench::Large;

use strict;
use warnings;

use Carp        qw(croak);
use File::Path  ();
use JSON::PP    ();
use POSIX       ();
use Time::HiRes ();

use Rts3::Bench ();
use Rts3::Bench::Large::Files;
use Rts3::Test::DatabaseServer ();
use Rts3::Test::File           qw(slurp spew);
use Rts3::Test::Migrate        ();
use Rts3::Test::Needs          qw(needs_rt);
use Rts3::Test::OwnBackend     ();

=head1 NAME

Rts3::Bench::Large - what each command costs in an RT with so many attachments

=head1 SYNOPSIS

    my $large = Rts3::Bench::Large->new( count => 100_000, database => 'SQLite' );
    for my $name ( $large->names ) {
        my $run = $large->measured($name);    # { seconds, processor, peak (MB), requests => { LIST, ... }, exit, out, err, date }
    }

=head1 DESCRIPTION

So many references in C<Attachments>, as many texts that RT keeps in its database, and a bucket with what is referred to
and a few objects more. What was measured is kept in F<t/.cache/large> and not measured again, but where C<again> is set: the
million takes long.

=head1 METHODS

=head2 names

What is measured, in the order of doing it, as far as this number of attachments and this database go.

=head2 measured NAME

What came of it.

=cut

use constant { BUCKET => 'made-up', ORPHANS => 100, DAY => 1000, BYTES => 10_000, IDS => 10, LIMIT => 3600 };

# What takes less than so many seconds is done so many times, and the shortest counts
use constant { SHORT => 20, TIMES => 3 };

my $PAGE = '/Admin/Tools/ExternalStorage.html';

# tool: arguments of rt-s3. own: RT's script, with its own module. turn: it holds the externalizer's lock. mark: where the
# externalizers have come to, nowhere or the last row. waiting: so many have come since. once: it can't be done again.
my @WHAT = (
    { name => 'verify',         tool => [qw(verify)] },
    { name => 'verify-orphans', tool => [qw(verify --orphans)], exit => 1 },
    { name => 'status',         tool => [qw(status)] },
    { name => 'check',          tool => [qw(check)], exit => undef, only => 'SQLite' },
    { name => 'page' },
    { name => 'externalize-nothing', tool => [qw(externalize)],         turn => 1, mark => 'last' },
    { name => 'rt-nothing',          own  => 1,                         turn => 1, mark => 'last' },
    { name => 'externalize-day',     tool => [qw(externalize)],         turn => 1, mark => 'last', waiting => DAY },
    { name => 'externalize-since',   tool => [qw(externalize --since)], turn => 1, mark => 'last', waiting => DAY },
    { name => 'externalize-first-since', tool => [qw(externalize --since)],           turn => 1, mark => 'none' },
    { name => 'internalize', tool => [qw(internalize --class RT::Attachments --ids)], turn => 1, mark => 'last' },
    { name => 'externalize-first', tool => [qw(externalize)],                         turn => 1, mark => 'none' },
    { name => 'rt-first',          own  => 1,                                         turn => 1, mark => 'none' },
    { name => 'verify-deep',       tool => [qw(verify --deep)],                       only => 'SQLite' },
    { name => 'migrate',           tool => [qw(migrate --to)], once => 1, turn => 1, only => 'SQLite' },
    { name => 'migrate-again',     tool => [qw(migrate --to)], turn => 1, only => 'SQLite' },
);

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { database => 'SQLite', most => {}, %args }, $class;
    my $dir  = Rts3::Bench::root() . '/t/.cache/large';
    File::Path::make_path($dir);
    $self->{file} = "$dir/$self->{database}-$self->{count}.json";
    $self->{kept} = -e $self->{file} ? JSON::PP::decode_json( slurp( $self->{file} ) ) : {};
    return $self;
}

sub names {
    my ($self) = @_;
    return map { $_->{name} }
        grep {
               ( $_->{only} // $self->{database} ) eq $self->{database}
            && ( $self->{most}{ $_->{name} } // $self->{count} )
            >= $self->{count}
        } @WHAT;
}

sub measured {
    my ( $self, $name ) = @_;
    return $self->{kept}{$name} if $self->{kept}{$name} && !$self->{again};
    my ($what) = grep { $_->{name} eq $name } @WHAT;
    my $run = $name eq 'page' ? $self->_page : $self->_command($what);
    $run->{date}         = POSIX::strftime( '%Y-%m-%d', gmtime );
    $run->{wanted}       = exists $what->{exit} ? $what->{exit} : 0;
    $self->{kept}{$name} = $run;
    spew( $self->{file}, JSON::PP->new->canonical->ascii->pretty->encode( $self->{kept} ) );
    return $run;
}

# RT, its database and the bucket, which a run from what was kept has no need of
sub _rt {
    my ($self) = @_;
    return $self->{rt} if $self->{rt};
    my $files  = $self->{files} = Rts3::Bench::Large::Files->new( count => $self->{count}, orphans => ORPHANS );
    my $server = $self->{server} =
        $self->{database} eq 'SQLite' ? undef : Rts3::Test::DatabaseServer->start( $self->{database} );
    my $rt = needs_rt( storage => { $self->_storage }, config => $self->_config );
    $self->{dbh} = $server ? $server->dbh : $rt->dbh;
    $files->fill( $self->{dbh} );
    $self->{dbh}->do('ANALYZE Attachments') if $self->{database} ne 'mysql';
    $self->{last} = $self->{dbh}->selectrow_array('SELECT MAX(id) FROM Attachments');
    $self->{few}  = $self->{dbh}->selectall_arrayref(
        "SELECT id, Content FROM Attachments WHERE ContentEncoding = 'external' ORDER BY id LIMIT @{[ IDS ]}");
    return $self->{rt} = $rt;
}

sub _storage {
    my ($self) = @_;
    return (
        Type            => 'AmazonS3',
        Bucket          => BUCKET,
        Host            => $self->{files}->host,
        Region          => 'us-east-1',
        AccessKeyId     => 'KEY',
        SecretAccessKey => 'secret',
    );
}

sub _config {
    my ($self) = @_;
    my $root = Rts3::Bench::root();
    return ( $self->{server} ? $self->{server}->config : '' )
        . "\$RT::MasonLocalComponentRoot = '$root/perl/html';\nSet(\$LogToFile, 'warning');\n";
}

sub _command {
    my ( $self, $what ) = @_;
    my $rt   = $self->_rt;
    my $turn = $what->{turn} ? $rt->externalizers_turn : undef;
    my $best;
    for ( 1 .. TIMES ) {
        my $run = $self->_once($what);
        $best = $run if !$best || $run->{seconds} < $best->{seconds};
        last if $run->{seconds} > SHORT || $what->{once};
    }
    return $best;
}

sub _once {
    my ( $self, $what ) = @_;
    my $rt = $self->{rt};
    $self->_mark( $what->{mark} ) if $what->{mark};
    $self->_come                  if $what->{waiting};
    my @command = $what->{own} ? $self->_own : $rt->tool( @{ $what->{tool} }, $self->_argument( $what->{tool}[-1] ) );
    $self->{files}->forget;
    my $run = $self->{files}->measured( \@command, { $rt->environment }, LIMIT );
    $run->{requests} = { $self->{files}->requests };
    $self->_ours if $what->{own};
    $self->_as_before;
    return $run;
}

# What has come is gone, and what was moved back is external again
sub _as_before {
    my ($self) = @_;
    my $dbh = $self->{dbh};
    $dbh->do( 'DELETE FROM Attachments WHERE id > ?',                                           {}, $self->{last} );
    $dbh->do( q{UPDATE Attachments SET ContentEncoding = 'external', Content = ? WHERE id = ?}, {}, reverse @{$_} )
        for @{ $self->{few} };
    return;
}

sub _argument {
    my ( $self, $option ) = @_;
    return POSIX::strftime( '%Y-%m-%d', gmtime time - 86_400 ) if $option eq '--since';
    return Rts3::Test::Migrate::storage_file( $self->{rt}, 'copy.pm', $self->_storage, Bucket => 'copy' )
        if $option eq '--to';
    return () if $option ne '--ids';
    return join ',', map { $_->[0] } @{ $self->{few} };
}

# RT's script with RT's module
sub _own {
    my ($self) = @_;
    my $rt     = $self->{rt};
    my $host   = $self->{files}->host =~ s{^http://}{}r;
    $rt->{backend} = 'own';
    $rt->set_storage( $self->_storage, Host => $host );
    $rt->set_config( $self->_config . Rts3::Test::OwnBackend::config('http') );
    return ( '/usr/bin/env', $rt->release->program('rt-externalize-attachments') );
}

sub _ours {
    my ($self) = @_;
    my $rt = $self->{rt};
    $rt->{backend} = 'ours';
    $rt->set_storage( $self->_storage );
    $rt->set_config( $self->_config );
    return;
}

sub _mark {
    my ( $self, $where ) = @_;
    $self->{rt}->call( <<'END', $where eq 'last' ? $self->{last} : 0 );
        my ($last) = @_;
        my ( $ok, $why ) = RT->System->SetAttribute(
            Name    => 'ExternalStorage',
            Content => { 'RT::Attachments' => $last, 'RT::ObjectCustomFieldValues' => 0 }
        );
        die $why if !$ok;
END
    return;
}

# What a day brings
sub _come {
    my ($self) = @_;
    my $now    = POSIX::strftime( '%Y-%m-%d %H:%M:%S', gmtime );
    my $dbh    = $self->{dbh};
    my $insert =
        $dbh->prepare( 'INSERT INTO Attachments (TransactionId, Parent, Creator, Created, Filename, '
            . "ContentType, ContentEncoding, Content, Headers) VALUES (1, 0, 1, '$now', 'new.pdf', 'application/pdf', "
            . q{'none', ?, ?)} );
    $dbh->begin_work;
    for ( 1 .. DAY ) {
        my $line = 'new ' . ++$self->{came} . "\n";
        $insert->execute( substr( $line x BYTES, 0, BYTES ), "Content-Length: @{[ BYTES ]}\n" );
    }
    $dbh->commit;
    return;
}

# The page in RT, after the first time that a process has shown it
sub _page {
    my ($self) = @_;
    my $rt = $self->_rt;
    $self->_mark('last');
    my $web = $rt->start_web( workers => 1 );
    $web->login;
    $web->get($PAGE);
    my %run;
    for ( 1 .. TIMES ) {
        $self->{files}->forget;
        my $start    = Time::HiRes::time();
        my $response = $web->get($PAGE);
        my $seconds  = Time::HiRes::time() - $start;
        next if defined $run{seconds} && $run{seconds} < $seconds;
        %run = (
            seconds  => $seconds,
            requests => { $self->{files}->requests },
            out      => $response->decoded_content,
            exit     => $response->is_success ? 0 : 1,
            err      => $response->status_line,
            peak     => 0
        );
    }
    for my $pid ( split ' ', slurp( '/proc/' . $web->pid . '/task/' . $web->pid . '/children' ) ) {
        my ($kilobytes) = slurp("/proc/$pid/status") =~ /VmHWM:\s+(\d+) kB/ or next;
        $run{peak} = $kilobytes / 1000 if $kilobytes / 1000 > $run{peak};
    }
    $rt->stop_web;
    return \%run;
}

1;
