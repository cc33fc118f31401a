package Rts3::Test::FaultMatrix;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp  ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP    ();
use Time::HiRes qw(sleep time);

use Rts3::Test::FaultMatrix::Answers;
use Rts3::Test::FaultMatrix::Breaks;
use Rts3::Test::FaultMatrix::Cell    qw(content run_cells);
use Rts3::Test::FaultMatrix::Outcome qw(takes word wrongs);
use Rts3::Test::FaultMatrix::Reach;
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs needs_library needs_s3);

=head1 NAME

Rts3::Test::FaultMatrix - every trouble with the server, for every call

=head1 SYNOPSIS

    my $matrix = Rts3::Test::FaultMatrix->new;
    $matrix->run;
    for my $fault ( $matrix->faults ) {
        my @cells = $matrix->cells($fault);
    }

=head1 DESCRIPTION

A fault is a hash:

=over

=item name, expect

What it is called, and what comes of it: a word for each of the L</calls>. C<-> where the fault can't strike; else C<ok> or
the error's name, C</> and the requests made for the object, C<~> if a later one asked only for the rest, and C<!> if the server
is taken for down afterwards. C<+nothing>, C<+whole> or C<+damaged> is what is in the bucket then, where it isn't C<whole>
after Store and before Delete, C<nothing> after a Store that failed and after Delete.

=item do, once, nth, one

What the test server is to do (L<Rts3::Test::S3Server/faults>): to every request, only to the first one of the kind that the call
is about, to the C<nth>, or to those for this one object. Storing a large content asks first; then it is the upload that is struck.

=item reads

It is about an answer with an object: where Store finds an object, that is the answer to its reading it.

=item host

Another address of the server: a method of L<Rts3::Test::S3Server>, or one of the words in C<_host>.

=item options

Further options of the handle.

=item prime

Before the call that counts another one is made.

=item says, warns

What the error must say; the one warning there must be where the call succeeds.

=item unlogged

The call of which the server's log tells too late that the fault took place.

=item loose

The number of requests depends on the time they took.

=item waits, slow, least

It may take as long as the Deadline, else it is over at once; it may take longer, since it moves; the seconds that it must take.

=item then

The server lies: what Get says afterwards, before Store mends it.

=item stays

The server must not be taken for down.

=back

=head1 METHODS

=head2 new

Starts two servers: one that makes the faults, one that is frozen.

=head2 calls

What is called, in the order of the columns: a list of hashes with C<name>, C<title> and so on.

=head2 options

The options of every handle, where a fault has no other ones.

=cut

use constant AT_ONCE    => 8;
use constant BUCKET     => 'files';
use constant MOST_AGAIN => 80;
use constant LARGE      => 2_000_000;
use constant TOKEN      => 'rts3-test/session+token';

my %Options = ( ConnectTimeout => 1, ReadTimeout => 1, Deadline => 3, Retries => 2 );

my @Calls = (
    { name => 'store',       title => 'Store, 10 kB', call => 'store', size => 10_000, operation => 'PutObject' },
    { name => 'store-large', title => 'Store, 2 MB',  call => 'store', size => LARGE,  operation => 'PutObject' },
    {
        name      => 'duplicate',
        title     => 'Store, it is there',
        call      => 'store',
        size      => 10_000,
        operation => 'PutObject',
        exists    => 1
    },
    { name => 'get', title => 'Get, 10 kB', call => 'get', size => 10_000, operation => 'GetObject', exists => 1 },
    {
        name      => 'get-large',
        title     => 'Get, 2 MB',
        call      => 'get',
        size      => LARGE,
        operation => 'GetObject',
        exists    => 1
    },
    {
        name      => 'delete',
        title     => 'Delete',
        call      => 'delete',
        size      => 10_000,
        operation => 'DeleteObject',
        exists    => 1
    },
    { name => 'exists', title => 'exists', call => 'head', size => 10_000, operation => 'HeadObject', exists => 1 },
);

sub calls   { return @Calls }
sub options { return %Options }
sub faults  { my ($self) = @_; return @{ $self->{faults} } }
sub server  { my ($self) = @_; return $self->{s3} }

sub new {
    my ($class) = @_;
    needs_library;
    my $self = bless { dir => File::Temp->newdir, s3 => needs_s3( session_token => TOKEN ) }, $class;
    $self->{s3}->make_bucket(BUCKET);
    $self->{frozen} = needs_s3( session_token => TOKEN );
    $self->{frozen}->make_bucket(BUCKET);
    $self->{frozen}->freeze;
    $self->{elsewhere} = _listen();
    my $elsewhere = 'http://127.0.0.1:' . $self->{elsewhere}->sockport;
    my $plain     = { name => 'no fault', do => {}, expect => 'ok/1 ok/2 ok/2 ok/1 ok/1 ok/1 ok/1' };
    $self->{faults} = [
        $plain,                                    Rts3::Test::FaultMatrix::Answers::faults($elsewhere),
        Rts3::Test::FaultMatrix::Breaks::faults(), Rts3::Test::FaultMatrix::Reach::faults(),
    ];
    $self->_addresses;
    return $self;
}

sub _listen {
    return IO::Socket::INET->new( Listen => 20, LocalAddr => '127.0.0.1', @_ ) || die "no socket: $!\n";
}

# Names with a dead address before the server's, and where they lead to: needs a library that answers in place of DNS
sub _addresses {
    my ($self)    = @_;
    my ($wrapper) = glob '/usr/lib/*/libnss_wrapper.so';
    needs('libnss_wrapper.so is missing: install the Debian package libnss-wrapper') if !$wrapper;
    my ($port) = $self->{s3}->http =~ /([0-9]+)\z/;

    # A full queue of connections: Linux drops what else comes
    $self->{silent} = [ _listen( LocalAddr => '127.0.0.6', LocalPort => $port, Listen => 0 ) ];
    for ( 1 .. 3 ) {
        my $socket =
            IO::Socket::INET->new( PeerAddr => '127.0.0.6', PeerPort => $port, Blocking => 0, Timeout => 0.1 );
        push @{ $self->{silent} }, $socket if $socket;
    }
    my %dead = ( 'first-refuses.test' => '127.0.0.5', 'first-silent.test' => '127.0.0.6' );
    spew( "$self->{dir}/hosts", join '', map {"$dead{$_} $_\n127.0.0.1 $_\n"} sort keys %dead );
    $self->{environment} = { LD_PRELOAD => $wrapper, NSS_WRAPPER_HOSTS => "$self->{dir}/hosts" };
    my $closed = _listen();
    %{ $self->{hosts} } = (
        nowhere       => 'http://no.such.host.invalid',
        closed        => 'http://127.0.0.1:' . $closed->sockport,
        silent        => "http://127.0.0.6:$port",
        frozen        => $self->{frozen}->http,
        first_refuses => "http://first-refuses.test:$port",
        first_silent  => "http://first-silent.test:$port",
    );
    return;
}

=head2 run

Carries out every cell. One that is not as it should be is carried out again, with few beside it, up to three times: on a machine that has much
else to do, a call may run out of time.

=head2 cells $fault

The cells of a fault, in the order of the L</calls>: hashes with C<job>, C<result>, C<requests> and C<expect>; undef where there is none.

=cut

sub run {
    my ($self) = @_;
    my ( @cells, %of );
    for my $fault ( $self->faults ) {
        my $row    = lc $fault->{name} =~ s/[^A-Za-z0-9]+/-/gr;
        my @expect = split ' ', $fault->{expect};
        die "two faults are called $row\n"                       if $of{$row}++;
        die "$fault->{name}: what comes of it is not all told\n" if @expect != @Calls;
        $fault->{cells} = [
            map {
                $expect[$_] eq '-'
                    ? undef
                    : { row => $row, fault => $fault, call => $Calls[$_], expect => $expect[$_] }
            } 0 .. $#Calls
        ];
        push @cells, grep {defined} @{ $fault->{cells} };
    }

    $_->{takes} = takes($_) for @cells;

    # Those that wait go beside those that work
    my $half = int( @cells / 2 );
    $self->_carry_out(
        AT_ONCE, 1,
        map {
            @cells[ grep { $_ < @cells } $_, $_ + $half + 1 ]
        } 0 .. $half
    );
    for my $time ( 2 .. 4 ) {
        my @odd = grep { word($_) ne $_->{expect} || wrongs($_) || takes($_) ne $_->{takes} } @cells;
        $self->_carry_out( 5 - $time, $time, @odd ) if @odd <= MOST_AGAIN;
    }
    return;
}

# A request that was broken off stands in the log when the server has noticed it, which is no later than the end of its
# connection; and who has asked is over.
sub _settle {
    my $self = shift;
    my $end  = time + 10;
    while ( time < $end ) {
        my %open = map { ( $_->{id} => 1 ) } $self->{s3}->connections;
        delete @open{ map { $_->{id} } grep { $_->{event} eq 'closed' } $self->{s3}->log_lines };
        return if !%open;
        sleep 0.05;
    }
    return;
}

sub _carry_out {
    my ( $self, $at_once, $time, @cells ) = @_;
    for my $cell (@cells) {
        my $prefix = "$cell->{row}/$cell->{call}{name}/" . ( $time > 1 ? "$time/" : '' );
        $cell->{job} = $self->_job( $prefix, @$cell{qw(fault call)} );
        $cell->{job}{file} = "$self->{dir}/" . $prefix =~ tr{/}{_}r;
    }
    $self->{s3}->clear_log;
    my @results = run_cells( $at_once, sub { $self->_rules(@_) }, map { $_->{job} } @cells );
    my %requests;
    $self->_settle;
    for my $request ( $self->{s3}->requests( bucket => BUCKET ) ) {
        my ($prefix) = ( $request->{key} // '' ) =~ m{^(.*/)} or next;
        push @{ $requests{$prefix} }, $request;
    }
    for my $cell (@cells) {
        $cell->{result}   = shift @results;
        $cell->{requests} = $requests{ $cell->{job}{prefix} } // [];
    }
    return;
}

# The server reads all rules at each request, so it gets only those that are needed now; it counts on where the text is the same
sub _rules {
    my ( $self, @jobs ) = @_;
    my $json = JSON::PP->new->utf8->canonical;
    my $file = $self->{s3}->dir . '/faults';
    spew( "$file.new", join '', map { $json->encode( $_->{rule} ) . "\n" } grep { $_->{rule}{do} } @jobs );
    rename "$file.new", $file or die "$file: $!\n";
    return;
}

sub _job {
    my ( $self, $prefix, $fault, $call ) = @_;
    my $s3       = $self->{s3};
    my $method   = $fault->{host}          // 'http';
    my $host     = $self->{hosts}{$method} // $s3->$method;
    my $name     = sha256_hex( content( $call->{size}, $prefix ) );
    my %rule     = ( key => $prefix . ( $fault->{one} ? $name : '*' ), do => $fault->{do} );
    my $standing = !!grep { $fault->{do}{$_} } qw(region clock_s);
    if ( !$standing && !$fault->{prime} && ( $fault->{once} || $call->{name} eq 'store-large' ) ) {
        $rule{operation} = $call->{operation};
    }
    $rule{operation} = 'GetObject' if $fault->{reads};
    my $nth = $fault->{nth} // ( $fault->{once} ? [1] : undef );
    $rule{nth} = $nth if $nth;
    return {
        %$call,
        rule        => \%rule,
        prefix      => $prefix,
        root        => ( $method eq 'frozen' ? $self->{frozen} : $s3 )->root . '/' . BUCKET,
        prime       => $fault->{prime},
        after       => $fault->{then},
        environment => $method =~ /^first_/ ? $self->{environment} : undef,
        options     => {
            %Options,
            Bucket          => BUCKET,
            Prefix          => $prefix,
            Host            => $host,
            CAFile          => $host =~ /^https/ && $method ne 'https_unknown_ca' ? $s3->ca : undef,
            AccessKeyId     => $s3->access_key,
            SecretAccessKey => $s3->secret_key,
            SessionToken    => TOKEN,
            %{ $fault->{options} // {} },
        },
    };
}

sub cells { my ( $self, $fault ) = @_; return @{ $fault->{cells} } }

=head2 was_followed

Whether anybody has connected to the other host that redirects lead to.

=cut

sub was_followed {
    my ($self) = @_;
    return !!IO::Select->new( $self->{elsewhere} )->can_read(0);
}

1;
