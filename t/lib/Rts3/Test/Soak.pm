package Rts3::Test::Soak;

use strict;
use warnings;

use parent 'Rts3::Test::Owner';

use Digest::SHA ();
use File::Temp  ();
use JSON::PP    ();
use List::Util  qw(shuffle);
use Test::More  ();
use Time::HiRes qw(sleep time);

use Rts3::Test::File    qw(slurp);
use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::Soak - many processes use the library for a long time, with a server that fails in every way

=head1 SYNOPSIS

    my $soak = Rts3::Test::Soak->run( $s3, seconds => 600, processes => 8, kill_every => 10, warm_up => 60 );
    $soak->check;

=head1 METHODS

=head2 run $s3, %options

Runs it on a L<Rts3::Test::S3Server>: C<processes> of them for so many C<seconds>. Every C<kill_every> seconds one is killed
with SIGKILL, and a new one takes its place; the first two are spared. A request meets with trouble with the probability
C<chance> (0.05 if not said), whose kind changes five times a second. After C<warm_up> seconds memory has to be flat.
What a process does: L<Rts3::Test::Soak::Worker>.

=cut

my $Bucket  = 'soak';
my $Spared  = 2;
my $Patient = 60;       # seconds for the last calls

# glibc's malloc gives back at once what is free, so that what is measured is what is still used
my %MALLOC = ( MALLOC_MMAP_THRESHOLD_ => 131_072, MALLOC_TRIM_THRESHOLD_ => 131_072 );

sub run {
    my ( $class, $s3, %option ) = @_;
    my $self = bless { s3 => $s3, owner => $$, chance => 0.05, kills => 0, made => 0, %option }, $class;
    $self->{dir} = File::Temp->newdir( 'rts3-soak-XXXXXX', TMPDIR => 1 );
    $s3->make_bucket($Bucket);
    $self->{started} = time;
    $self->{until}   = $self->{started} + $self->{seconds};
    $self->_start($_) for 0 .. $self->{processes} - 1;
    my $next = $self->{started} + $self->{kill_every};

    while ( time < $self->{until} ) {
        $self->_trouble;
        sleep 0.2;
        next if time < $next || time > $self->{until} - 2;
        $next += $self->{kill_every};
        $self->_kill( $Spared + int rand( $self->{processes} - $Spared ) );
    }
    $self->_finish;
    $s3->faults;
    $self->_evaluate;
    $self->_inspect;
    return $self;
}

# One kind after the other, each as often as any
sub _trouble {
    my $self = shift;
    my $deck = $self->{deck} //= [];
    push @{$deck}, shuffle( rules() ) if !@{$deck};
    $self->{s3}->faults( { %{ shift @{$deck} }, chance => $self->{chance} } );
    return;
}

sub _start {
    my ( $self, $slot ) = @_;
    my ( $s3,   $name ) = ( $self->{s3}, 'process-' . $self->{made}++ );
    my %options = (
        Bucket          => $Bucket,
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $s3->secret_key,
        ConnectTimeout  => 2,
        ReadTimeout     => 2,
        Deadline        => 20,
    );
    my @handles = ( { %options, Host => $s3->http } );
    push @handles, { %options, Host => $s3->https, CAFile => $s3->ca };
    my %order = (
        name        => $name,
        journal     => "$self->{dir}/$name.journal",
        handles     => \@handles,
        large_first => $slot < $Spared ? 1 : 0,
        started     => $self->{started},
        until       => $self->{until},
    );
    my $work = 'Rts3::Test::Soak::Worker::work(shift)';
    my @perl = ( $^X, ( map {"-I$_"} grep { !ref } @INC ), '-MRts3::Test::Soak::Worker', '-e', $work );
    my $pid  = Rts3::Test::Process::spawn(
        command => [ @perl, JSON::PP->new->utf8->encode( \%order ) ],
        env     => { %ENV, %MALLOC },
        out     => "$self->{dir}/$name.out",
        err     => "$self->{dir}/$name.err",
    );
    my $worker = { pid => $pid, name => $name, is_spared => $slot < $Spared };
    push @{ $self->{workers} }, $worker;
    $self->{slots}[$slot] = $worker;
    return;
}

sub _kill {
    my ( $self, $slot ) = @_;
    my $worker = $self->{slots}[$slot];
    kill KILL => $worker->{pid};
    waitpid delete $worker->{pid}, 0;
    $worker->{status} = $?;
    $self->{kills}++;
    $self->_start($slot);
    return;
}

# Nobody may hang, die or say something to standard error
sub _finish {
    my $self = shift;
    my $end  = time + $Patient;
    my @trouble;
    for my $worker ( grep { $_->{pid} } @{ $self->{workers} } ) {
        my $left = $end - time;
        if ( Rts3::Test::Process::wait_for( $worker->{pid}, $left > 1 ? $left : 1 ) ) {
            push @trouble, "$worker->{name} ended with status $?" if $?;
            delete $worker->{pid};
        }
        else {
            push @trouble, "$worker->{name} did not end";
        }
    }
    $self->stop;
    push @trouble, map { "$_->{name} said: " . slurp("$self->{dir}/$_->{name}.err") }
        grep { -s "$self->{dir}/$_->{name}.err" } @{ $self->{workers} };
    $self->{trouble} = \@trouble;
    return;
}

sub holders { return @{ $_[0]{workers} // [] } }

# ---- what came of it

sub _evaluate {
    my $self = shift;
    $self->{$_} = {} for qw(calls codes said wrong stored begun deleted tried);
    $self->{cut} = 0;
    for my $worker ( @{ $self->{workers} } ) {
        my ( $call, $key );
        for my $line ( slurp("$self->{dir}/$worker->{name}.journal") =~ /^(.*)\n/gm ) {
            my ( $what, @words ) = split / /, $line;
            if ( $what eq 'begin' ) {
                ( $call, $key ) = @words;
                $self->{begun}{$key}++ if $call =~ /^store/;
                $self->{tried}{$key}++ if $call eq 'delete';
            }
            elsif ( $what eq 'end' ) {
                $self->_count( $call, $key, @words );
                undef $call;
            }
            elsif ( $what eq 'memory' ) { push @{ $worker->{memory} }, \@words }
            else                        { $self->{said}{ $words[0] =~ s/:\z//r }++ }
        }
        $self->{cut}++ if defined $call;
    }
    $self->{requests} = 0;
    $self->{faults}   = {};
    open my $log, '<:raw', $self->{s3}->log_file or die $self->{s3}->log_file . ": $!\n";
    while ( my $line = <$log> ) {
        next if $line !~ /"event":"request"/;
        $self->{requests}++;
        $self->{faults}{$1}++ if $line =~ /"fault":"([^"]+)"/;
    }
    close $log;
    return;
}

sub _count {
    my ( $self, $call, $key, $outcome, $seconds, @message ) = @_;
    my $count = $self->{calls}{$call} //= { ok => 0, failed => 0, longest => 0 };
    $count->{ $outcome eq 'ok' ? 'ok' : 'failed' }++;
    $count->{longest} = $seconds if $seconds > $count->{longest};
    if ( $outcome ne 'ok' ) {
        $self->{codes}{$outcome}{$call}++;
        push @{ $self->{messages}{$outcome} }, "$call: @message";
    }
    $self->{wrong}{$call}++  if $outcome eq 'wrong';
    $self->{stored}{$key}++  if $outcome eq 'ok' && $call =~ /^store/;
    $self->{deleted}{$key}++ if $outcome eq 'ok' && $call eq 'delete';
    return;
}

# The server's files
sub _inspect {
    my $self = shift;
    my ( $s3, %there ) = ( $self->{s3} );
    for my $key ( $s3->objects($Bucket) ) {
        $there{$key} = Digest::SHA->new(256)->addfile( $s3->object_path( $Bucket, $key ), 'b' )->hexdigest eq $key;
    }
    my @kept = grep { !$self->{tried}{$_} } keys %{ $self->{stored} };
    $self->{kept}    = scalar @kept;
    $self->{lost}    = [ grep { !exists $there{$_} } @kept ];
    $self->{damaged} = [ grep { !$there{$_} } keys %there ];
    $self->{strange} = [ grep { !$self->{begun}{$_} } keys %there ];
    $self->{undead}  = [ grep { exists $there{$_} } keys %{ $self->{deleted} } ];
    return;
}

=head2 memory

Of each process that was spared, a hash of C<rss>, C<pss> (kB), C<descriptors> and C<threads>, each a reference to two
numbers: when the warming up was over, and in the end. They are medians of a quarter of a minute (of memory) and maxima
of all that was before and after (of the others).

=cut

sub memory {
    my $self = shift;
    return map { $self->_memory_of( $_->{memory} ) } grep { $_->{is_spared} } @{ $self->{workers} };
}

sub _memory_of {
    my ( $self, $samples ) = @_;
    my $window = $self->{warm_up} / 4;
    my $warm   = $self->{warm_up};
    my $last   = $samples->[-1][0];

    # A process that was busy with one call all the time around the end of the warming up is warm with its next word
    my ($from) = grep { $_ >= $warm - $window } map { $_->[0] } @{$samples};
    $from //= $last;
    my @spans = ( [ $from, $from + 2 * $window ], [ $last - 2 * $window, $last ] );
    $warm = $from if $from > $warm;
    my %memory;
    for my $span (@spans) {
        my @within = grep { $_->[0] >= $span->[0] && $_->[0] <= $span->[1] } @{$samples};
        push @{ $memory{rss} }, _median( map { $_->[1] } @within );
        push @{ $memory{pss} }, _median( map { $_->[2] } @within );
    }
    for my $part ( [ grep { $_->[0] <= $warm } @{$samples} ], [ grep { $_->[0] > $warm } @{$samples} ] ) {
        push @{ $memory{descriptors} }, _highest( map { $_->[3] } @{$part} );
        push @{ $memory{threads} },     _highest( map { $_->[4] } @{$part} );
    }
    return \%memory;
}

sub _median {
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[ @sorted / 2 ] // 0;
}

sub _highest {
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[-1] // 0;
}

=head2 check

The tests that every soak has to pass.

=cut

# What the server said was never that: such an error is a mistake of the library
my @NEVER = qw(internal argument mismatch config not-found no-bucket wrong unknown);

sub check {
    my $self = shift;
    my $test = Test::More->builder;
    Test::More::is_deeply( $self->{trouble}, [], 'all processes ran to their end, and said nothing' );
    Test::More::cmp_ok( $self->{kills}, '>', 0, "$self->{kills} were killed" );
    $test->ok( $self->{calls}{$_}{ok}, "$_: " . ( $self->{calls}{$_}{ok} // 0 ) . ' succeeded' )
        for qw(store store-again get head delete);
    my $faults = 0;
    $faults += $_ for values %{ $self->{faults} };
    $test->ok( $faults, "$faults of $self->{requests} requests met with trouble" );

    Test::More::is_deeply( $self->{wrong},   {}, 'no call gave other bytes or another size' );
    Test::More::is_deeply( $self->{lost},    [], "all $self->{kept} contents that were said to be stored are there" );
    Test::More::is_deeply( $self->{damaged}, [], '... and nothing in the bucket is damaged' );
    Test::More::is_deeply( $self->{strange}, [], '... or is what nobody stored' );
    Test::More::is_deeply( $self->{undead},  [], '... or was said to be deleted' );
    for my $code (@NEVER) {
        my $messages = $self->{messages}{$code} // [];
        $test->ok( !@{$messages}, "no error of the kind $code" )
            or $test->diag( map {"$_\n"} splice @{$messages}, 0, 3 );
    }
    my $number = 0;
    for my $memory ( $self->memory ) {
        $number++;
        my ( $warm, $end ) = @{ $memory->{pss} };
        Test::More::cmp_ok( $end - $warm, '<', 5_000, "memory of process $number is flat: $warm kB, then $end kB" );
        for my $what (qw(descriptors threads)) {
            ( $warm, $end ) = @{ $memory->{$what} };
            Test::More::cmp_ok( $end, '<=', $warm + 2, "its $what likewise: $warm, then $end" );
        }
    }
    return;
}

=head1 FUNCTIONS

=head2 rules

Trouble of every kind that L<Rts3::Test::S3Server> knows, but for a server that says that it has stored what it has not
(C<keep>), and one that does not know its own objects (404): no client could make good for these.

=cut

sub rules {
    my @answers = (
        [ 500, 'InternalError' ],
        [ 503, 'SlowDown' ],
        [ 503, 'ServiceUnavailable' ],
        [ 429, 'TooManyRequests' ],
        [ 400, 'RequestTimeout' ],
        [ 403, 'AccessDenied' ],
    );
    my @do = map { { answer => { status => $_->[0], code => $_->[1] } } } @answers;
    push @do, { answer => { status => 502, body => '<html>Bad gateway</html>' } };
    push @do, map { { raw => $_ } } '', "HTTP/1.1 200 OK\r\nContent-Le", "\x16\x03\x01 not HTTP at all\r\n\r\n";
    for my $how (qw(stall reset close)) {
        push @do, map {
            { $how => { at => $_, after => /upload|body/ ? 50 : 0 } }
        } qw(upload received answered head body);
    }
    push @do, { delay_ms => 500 }, { delay_ms => 3_000 }, { rate => 300_000 }, { upload_rate => 300_000 };
    push @do, { flip => { at => 'body', offset => 70 } }, { flip => { at => 'upload', offset => 70 } };
    push @do, map {
        { $_ => 1 }
    } qw(ignore_condition refuse_condition drop_etag);
    push @do, { headers => { 'x-amz-meta-a' => "\x{fc}" } }, { latin1_headers => { 'x-amz-meta-a' => "\x{fc}" } };
    push @do, { header_bytes => 1_000_000 }, { close_ms => 0 }, { reset_ms => 0 };
    push @do, { region       => { name => 'eu-central-1' } }, { clock_s => 1_200 };

    # A HEAD has nothing but the length it tells
    my @length = map { { length => $_ } } { add => -5 }, { add => 5 }, { say => 'abc' }, 'missing', 'chunked';
    return ( map { { do => $_ } } @do ), ( map { { operation => 'GetObject', do => $_ } } @length );
}

1;
