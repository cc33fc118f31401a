package Rts3::Test::S3Server;

use 5.026;
use strict;
use warnings;

use Carp           ();
use Cwd            ();
use Fcntl          ();
use File::Basename ();
use File::Find     ();
use File::Path     ();
use File::Spec     ();
use File::Temp     ();
use IO::Handle     ();
use IPC::Open3     ();
use JSON::PP       ();
use POSIX          ();
use Time::HiRes    ();

use parent 'Rts3::Test::S3Server::Control';

use Rts3::Test::File qw(spew);

=head1 NAME

Rts3::Test::S3Server - an S3 server for one test

=head1 SYNOPSIS

    use Rts3::Test::S3Server;

    my $s3 = Rts3::Test::S3Server->start;
    $s3->make_bucket('attachments');
    ...                                     # let something talk to $s3->http or $s3->https
    is( scalar $s3->requests( operation => 'PutObject' ), 1, 'one PUT' );
    is_deeply( [ $s3->objects('attachments') ], [$sha], 'one object' );

=head1 DESCRIPTION

Starts the program F<t/s3server> and stops it when the object goes, in the process that made it. The
program must have been built: C<cargo build --release --locked> in F<t/s3server>.

=head1 CONSTRUCTOR

=head2 start

Options, all of them with a default:

=over

=item access_key, secret_key

The key pair that may do everything.

=item session_token

Requests with that key pair need this token too. Default none.

=item keys

A hash of further access keys and their secrets.

=item public

A bucket, or a list of buckets, whose objects anyone may read.

=item dir

Where everything is kept: F<root> with the buckets, F<log>, F<tls>, F<faults>, F<rights>. Default: a temporary
directory that goes with the object. A directory that was used before keeps its objects and its
certificate authority.

=item http_port, https_port

Default: any free port.

=item region

The region that requests must be signed for; others are 400 C<AuthorizationHeaderMalformed>. Default: any. A rule
can say more, see L<Rts3::Test::S3Server::Control>.

=item owner

The account that C<x-amz-expected-bucket-owner> must name, else 403. Default: any.

=item encryption

True: PUT with C<x-amz-server-side-encryption> is answered with the same header.

=item nagle

True: answers are sent with Nagle's algorithm. A client that does not acknowledge the head of an answer at once then waits
40 ms for its body.

=item timeout

Seconds to wait for the server to be ready, 20.

=back

=cut

sub start {
    my ( $class, %opt ) = @_;
    my $self = bless {
        access_key    => delete $opt{access_key} // 'RTS3TESTKEY',
        secret_key    => delete $opt{secret_key} // 'rts3-test/secret+key',
        session_token => delete $opt{session_token},
        no_list       => [ 'RTS3NOLISTKEY', 'rts3-test/nolist+key' ],
        keys          => delete $opt{keys}       // {},
        public        => delete $opt{public}     // [],
        http_port     => delete $opt{http_port}  // 0,
        https_port    => delete $opt{https_port} // 0,
        region        => delete $opt{region},
        owner         => delete $opt{owner},
        encryption    => delete $opt{encryption},
        nagle         => delete $opt{nagle},
        timeout       => delete $opt{timeout} // 20,
        offset        => 0,
    }, $class;
    my $dir = delete $opt{dir};
    Carp::croak( "unknown option to start: " . join ', ', sort keys %opt ) if %opt;

    $self->{public}  = [ $self->{public} ] unless ref $self->{public};
    $self->{program} = _program();
    $self->{tmp}     = File::Temp->newdir( 'rts3-s3server-XXXXXXXX', TMPDIR => 1 ) unless defined $dir;
    $self->{dir}     = Cwd::abs_path( $dir // "$self->{tmp}" ) or Carp::croak("no directory $dir");
    File::Path::make_path( $self->root );
    spew( $self->file($_), '' ) for qw(log faults rights);
    $self->_launch;
    return $self;
}

sub _program {
    my $dir     = Cwd::abs_path( File::Basename::dirname(__FILE__) . '/../../../s3server' );
    my $program = $ENV{RTS3_TEST_S3SERVER} // ( defined $dir ? "$dir/target/release/s3server" : 's3server' );
    return $program if -x $program;
    Carp::croak("$program is not there; build it with: (cd t/s3server && cargo build --release --locked)");
}

sub _launch {
    my ($self) = @_;
    my @command = (
        $self->{program},
        '--root'        => $self->root,
        '--log'         => $self->file('log'),
        '--faults'      => $self->file('faults'),
        '--rights'      => $self->file('rights'),
        '--tls'         => $self->file('tls'),
        '--http-port'   => $self->{http_port},
        '--https-port'  => $self->{https_port},
        '--key'         => "$self->{access_key}:$self->{secret_key}",
        '--no-list-key' => join( ':', @{ $self->{no_list} } ),
    );
    push @command, '--session-token' => "$self->{access_key}:$self->{session_token}"
        if defined $self->{session_token};
    push @command, '--key'           => "$_:$self->{keys}{$_}" for sort keys %{ $self->{keys} };
    push @command, '--public-bucket' => $_                     for @{ $self->{public} };
    push @command, '--region'        => $self->{region} if defined $self->{region};
    push @command, '--owner'         => $self->{owner}  if defined $self->{owner};
    push @command, '--encryption'    => 'yes'           if $self->{encryption};
    push @command, '--nagle'         => 'yes'           if $self->{nagle};

    # The write end of its standard input is ours alone (close-on-exec), so the server ends with us.
    my $pid = IPC::Open3::open3( my $in, my $out, '>&STDERR', @command );
    @$self{qw(pid parent in)} = ( $pid, $$, $in );
    my $line = _read_line( $out, $self->{timeout} );
    if ( !defined $line ) {
        $self->stop;
        Carp::croak("$self->{program} did not get ready");
    }
    $self->{ready} = JSON::PP::decode_json($line);
    ( $self->{http_port} )  = $self->http  =~ /:([0-9]+)\z/;
    ( $self->{https_port} ) = $self->https =~ /:([0-9]+)\z/;
    return;
}

sub _read_line {
    my ( $handle, $timeout ) = @_;
    my $line = eval {
        local $SIG{ALRM} = sub { die "timeout\n" };
        alarm $timeout;
        my $text = readline $handle;
        alarm 0;
        $text;
    };
    alarm 0;
    return $line;
}

=head1 METHODS

Those of L<Rts3::Test::S3Server::Control>, and more.

=head2 http, https, host, https_host

Both addresses as URLs (C<http://127.0.0.1:PORT>, C<https://localhost:PORT>), and without the scheme. A
bucket may also be in the host name: C<BUCKET.localhost> and C<BUCKET.s3.test>, if they lead here.

=head2 https_unknown_ca, https_expired, https_other_name, https_tls11, https_stall, https_plain

The same server where something is wrong with its TLS, as URLs: a certificate by an authority that nobody knows,
an expired one, one for C<other.example>, TLS 1.1 only, no answer to the handshake, and no TLS at all.

=head2 options

Host (http) and keys, as options of RT's configuration or of the library.

=head2 ca

The certificate authority's file, PEM.

=head2 access_key, secret_key, session_token

What was given to L</start>.

=head2 no_list_key

The key pair (a list of two) without the right to list: a missing key is 403 for it.

=head2 dir, root, log_file, file $name, pid

Where things are, and the number of the process.

=cut

sub http          { my ($self) = @_; return $self->{ready}{http} }
sub https         { my ($self) = @_; return $self->{ready}{https} }
sub https_plain   { my ($self) = @_; return $self->http =~ s/^http:/https:/r }
sub ca            { my ($self) = @_; return $self->{ready}{ca} }
sub access_key    { my ($self) = @_; return $self->{access_key} }
sub secret_key    { my ($self) = @_; return $self->{secret_key} }
sub session_token { my ($self) = @_; return $self->{session_token} }
sub dir           { my ($self) = @_; return $self->{dir} }
sub pid           { my ($self) = @_; return $self->{pid} }

sub options {
    my ($self) = @_;
    return ( Host => $self->http, AccessKeyId => $self->access_key, SecretAccessKey => $self->secret_key );
}

sub host        { my ($self) = @_; return $self->http  =~ s{^http://}{}r }
sub https_host  { my ($self) = @_; return $self->https =~ s{^https://}{}r }
sub no_list_key { my ($self) = @_; return @{ $self->{no_list} } }
sub root        { my ($self) = @_; return $self->file('root') }
sub log_file    { my ($self) = @_; return $self->file('log') }

for my $name (qw(unknown_ca expired other_name tls11 stall)) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    *{"https_$name"} = sub { my ($self) = @_; return $self->{ready}{"https_$name"} };
}

sub file {
    my ( $self, $name ) = @_;
    return "$self->{dir}/$name";
}

=head2 log_lines

All entries of the log since L</clear_log>, as hashes. A request's entry is written before the last bytes
of its answer go out, so whoever has the answer finds the entry.

=head2 requests

The entries of requests. With arguments, those whose fields have these values; a value may be a regular
expression: C<< requests( operation => 'PutObject', key => qr/^prefix/ ) >>. In scalar context their number.

=head2 connections

The entries of connections, likewise.

=head2 clear_log

Forgets all entries so far.

=cut

sub log_lines {
    my ($self) = @_;
    open my $log, '<:raw', $self->log_file or Carp::croak( $self->log_file . ": $!" );
    seek $log, $self->{offset}, Fcntl::SEEK_SET();
    my @lines = grep {/\n\z/} readline $log;
    close $log;
    return map { JSON::PP::decode_json($_) } @lines;
}

sub requests    { my ( $self, @filter ) = @_; return $self->_entries( 'request',    @filter ) }
sub connections { my ( $self, @filter ) = @_; return $self->_entries( 'connection', @filter ) }

sub _entries {
    my ( $self, $event, %filter ) = @_;
    my @found = grep { $_->{event} eq $event } $self->log_lines;
    for my $field ( keys %filter ) {
        my $wanted = $filter{$field};
        @found = grep {
            my $value = $_->{$field};
                 !defined $wanted || !defined $value ? !defined $wanted && !defined $value
                : ref $wanted                        ? $value =~ $wanted
                :                                      $value eq $wanted;
        } @found;
    }
    return @found;
}

sub clear_log {
    my ($self) = @_;
    $self->{offset} = -s $self->log_file;
    return;
}

=head2 make_bucket

Makes the bucket's directory, without a request.

=head2 object_path

The file of an object, by bucket and key. Change it, and the server serves what it finds.

=head2 objects

The keys in a bucket, sorted.

=head2 content

The bytes of an object; undef if it isn't there.

=cut

sub make_bucket {
    my ( $self, $bucket ) = @_;
    File::Path::make_path( $self->root . "/$bucket" );
    return;
}

sub object_path {
    my ( $self, $bucket, $key ) = @_;
    return join '/', $self->root, $bucket, $key;
}

sub objects {
    my ( $self, $bucket ) = @_;
    my $root = $self->root . "/$bucket";
    return unless -d $root;
    my @keys;
    my $see = sub { push @keys, File::Spec->abs2rel( $_, $root ) if -f };
    File::Find::find( { no_chdir => 1, wanted => $see }, $root );
    @keys = sort @keys;
    return @keys;
}

sub content {
    my ( $self, $bucket, $key ) = @_;
    open my $file, '<:raw', $self->object_path( $bucket, $key ) or return;
    local $/ = undef;
    my $bytes = readline $file;
    close $file;
    return $bytes;
}

=head2 freeze, thaw

A server that hangs: connections are still accepted (by the kernel), nothing is answered.

=head2 stop

Ends the server. Its files stay as long as the object.

=head2 restart

Starts it again, on the same ports, with the same objects and the same certificate authority.

=cut

sub freeze { my ($self) = @_; kill STOP => $self->{pid} if $self->{pid}; return }
sub thaw   { my ($self) = @_; kill CONT => $self->{pid} if $self->{pid}; return }

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    close delete $self->{in};
    return if $self->{parent} != $$;
    local ( $?, $! ) = ( 0, 0 );
    kill $_ => $pid for qw(TERM CONT);
    for ( 1 .. 100 ) {
        return if waitpid( $pid, POSIX::WNOHANG() ) != 0;
        Time::HiRes::sleep(0.02);
    }
    kill KILL => $pid;
    waitpid $pid, 0;
    return;
}

sub restart {
    my ($self) = @_;
    $self->stop;
    $self->_launch;
    return;
}

sub DESTROY {
    my ($self) = @_;
    $self->stop if defined $self->{parent} && $self->{parent} == $$;
    return;
}

1;
