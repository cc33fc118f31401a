package Rts3::Test::Metadata;

use strict;
use warnings;

use Carp        qw(croak);
use File::Path  qw(make_path);
use File::Temp  ();
use JSON::PP    ();
use Time::HiRes qw(sleep time);

use parent 'Rts3::Test::Owner';

use Rts3::Test::File    qw(slurp spew);
use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::Metadata - where temporary keys come from: instance metadata, container endpoint and STS in one process

=head1 SYNOPSIS

    my $aws = Rts3::Test::Metadata->start( s3 => $s3 );
    local %ENV = ( %ENV, $aws->instance );
    ...                                    # something gets keys there, which $s3 takes
    is( scalar $aws->requests( what => 'keys' ), 1, 'one request for keys' );
    is( scalar $aws->requests( v1   => 1 ),      0, 'none without a token' );

=head1 DESCRIPTION

Speaks as the real ones do: EC2 instance metadata (version 2; a question without token is 401, and C<v1> in the log), the
endpoint of ECS and EKS containers, and STS with AssumeRole, whose signature is verified, and AssumeRoleWithWebIdentity.
Each answer has new keys, of which the test's S3 server is told at once.

=head1 METHODS

=head2 start s3 => $s3, listen => \@addresses, %state

Starts it on a free port of 127.0.0.1 for http, and one of localhost for https, with a certificate of the S3 server's
authority. C<listen>: further addresses (C<host:port>) for http. The rest is for L</set>.

=head2 set %state

Replaces what was set before:

=over

=item lifetime

Seconds that keys live, 3600.

=item clock

Its clock is so many seconds ahead, 0.

=item token, role, keys, container, AssumeRole, AssumeRoleWithWebIdentity

What becomes of these requests (the first three are those for instance metadata): a hash of C<delay> (seconds), C<hang>
(nothing is answered, the connection stays open), C<reset> (it ends instead), C<status> and C<body> (in the place of the
real ones; with a status alone an error in the service's own words), C<code> (that of STS's error), C<keys> (fields in the
place of those given out; undef: without that field).

=item users

A hash of access keys and secrets that may assume roles; beside them, those given out may.

=item authorization

The header that the container endpoint wants. Default: any or none.

=item identities

The web identity tokens that are good. One that begins with C<expired> is ExpiredTokenException, another one
InvalidIdentityToken.

=item external_id

The ExternalId that AssumeRole wants, else AccessDenied.

=item role_name

That of the instance, C<rts3-role>.

=back

=cut

my $Json = JSON::PP->new->utf8->canonical;

sub start {
    my ( $class, %args ) = @_;
    my $self = bless { owner => $$, dir => File::Temp->newdir( 'rts3-metadata-XXXXXXXX', TMPDIR => 1 ), seen => 0 },
        $class;
    my $s3 = delete $args{s3};
    $self->{config} = {
        rights => $s3 && $s3->file('rights'),
        listen => delete $args{listen} // [],
        http   => 0,
        https  => 0,
        tls    => $s3 && $self->_certificate( $s3->file('tls') ),
    };
    $self->set(%args);
    $self->restart;
    return $self;
}

# A certificate for localhost and 127.0.0.1 by the S3 server's authority: a file with both, key and certificate
sub _certificate {
    my ( $self, $authority ) = @_;
    my $file    = $self->file('tls.pem');
    my @command = (
        qw(openssl req -x509 -days 1 -subj /CN=metadata -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1),
        '-addext' => 'subjectAltName=DNS:localhost,IP:127.0.0.1',
        '-addext' => 'basicConstraints=critical,CA:FALSE',
        '-CA'     => "$authority/ca.pem",
        '-CAkey'  => "$authority/ca.key",
        '-keyout' => "$file.key",
        '-out'    => $file,
    );
    my $run = Rts3::Test::Process::run( command => \@command );
    croak "openssl: $run->{err}" if $run->{exit};
    return $file;
}

sub set {
    my ( $self, %state ) = @_;
    spew( $self->file('state.new'), $Json->encode( \%state ) );
    rename $self->file('state.new'), $self->file('state') or croak "rename: $!";
    return;
}

=head2 stop, restart, freeze, thaw

Ends it: connections are refused. Starts it again on the same ports. While it is frozen, connections are accepted and
nothing is answered.

=cut

sub restart {
    my ($self) = @_;
    $self->stop;
    spew( $self->file('config'), $Json->encode( $self->{config} ) );
    unlink $self->file('ready');
    my $lib = __FILE__ =~ s{/Rts3/Test/Metadata\.pm\z}{}r;
    $self->{pid} = Rts3::Test::Process::spawn(
        command => [
            $^X,                                        "-I$lib",
            '-MRts3::Test::Metadata::Server',           '-e',
            'Rts3::Test::Metadata::Server::run(@ARGV)', $self->file('')
        ],
        out => $self->file('out'),
        err => $self->file('err'),
    );
    for ( 1 .. 500 ) {
        last if -e $self->file('ready');
        sleep 0.02;
    }
    my $ready = slurp( $self->file('ready') ) or croak 'no metadata service: ' . slurp( $self->file('err') );
    $self->{config} = { %{ $self->{config} }, %{ $Json->decode($ready) } };
    return;
}

sub freeze { my ($self) = @_; kill STOP => $self->{pid}; return }
sub thaw   { my ($self) = @_; kill CONT => $self->{pid}; return }

=head2 http, https

Its addresses as URLs, without a slash in the end.

=head2 instance, container, full_uri, sts

What a process must find in its environment to be on an instance, in a container (with a path, or a whole URL, C<$host>),
or to ask this STS, C<$url>: lists of names and values.

=cut

sub http  { my ($self) = @_; return "http://127.0.0.1:$self->{config}{http}" }
sub https { my ($self) = @_; return "https://localhost:$self->{config}{https}" }

sub instance { my ($self) = @_; return ( AWS_EC2_METADATA_SERVICE_ENDPOINT => $self->http ) }

sub container {
    my ( $self, $base ) = @_;
    return ( AWS_CONTAINER_CREDENTIALS_FULL_URI => ( $base // $self->http ) . '/v2/credentials/rts3' );
}

sub sts {
    my ( $self, $base ) = @_;
    return ( AWS_ENDPOINT_URL_STS => $base // $self->http );
}

=head2 requests %filter

All requests since L</forget>, as hashes: C<time>, C<what> (C<token>, C<role>, C<keys>, C<container>, C<AssumeRole>,
C<AssumeRoleWithWebIdentity>, C<unknown>), C<method>, C<path>, C<host>, C<headers> (names in lower case), C<form> (what was
posted), C<status>, C<v1>, C<is_tls>, C<refusal> (why it was), C<given> (the keys: access_key, secret_key, token, expires). With
arguments those whose fields have these values.

=head2 given

The keys of all answers since then.

=head2 forget

Begins anew.

=cut

sub requests {
    my ( $self, %filter ) = @_;
    my @lines = split /\n/, substr slurp( $self->file('log') ), $self->{seen};
    my @found = map { $Json->decode($_) } @lines;
    for my $field ( keys %filter ) {
        @found = grep { ( $_->{$field} // '' ) eq $filter{$field} } @found;
    }
    return @found;
}

sub given {
    my ($self) = @_;
    return map { $_->{given} // () } $self->requests;
}

sub forget {
    my ($self) = @_;
    $self->{seen} = -s $self->file('log') // 0;
    return;
}

=head2 file $name

A file in its directory.

=cut

sub file { my ( $self, $name ) = @_; return "$self->{dir}/$name" }

1;
