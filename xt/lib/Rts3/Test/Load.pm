package Rts3::Test::Load;

use strict;
use warnings;

use parent 'Rts3::Test::Owner';

use Digest::SHA qw(sha256 sha512);
use IO::Handle  ();
use JSON::PP    ();
use Time::HiRes qw(sleep time);

use Rts3::Test::File    qw(slurp);
use Rts3::Test::Process ();
use Rts3::Test::S3Client;

=head1 NAME

Rts3::Test::Load - many calls of the library, from several processes at once

=head1 SYNOPSIS

    my $load = Rts3::Test::Load->start( do => 'store', count => 2000, seed => 'one', dir => $dir, handles => [ \%options ] );
    $load->wait_until( sub { $load->done >= 500 } );
    ...
    my @results = $load->results;

=head1 METHODS

=head2 start %options

Starts the processes, C<processes> of them (2 if not said), which share C<count> contents. C<do> is C<store> or C<read>; what
they write goes to C<dir>; C<seed> says which contents these are. C<handles> are hashes of the library's options: contents are
stored through the first one, and read through all of them, and through C<clients>, hashes of what
L<Rts3::Test::S3Client> wants.

=cut

my $JSON = JSON::PP->new->canonical->utf8;

sub start {
    my ( $class, %option ) = @_;
    my $self    = bless { owner => $$, processes => 2, %option }, $class;
    my @perl    = ( $^X, map {"-I$_"} grep { !ref } @INC );
    my $program = 'Rts3::Test::Load::work(shift)';
    for my $number ( 0 .. $self->{processes} - 1 ) {
        my $files = "$self->{dir}/$self->{do}-$self->{seed}-$number";
        my %order = ( number => $number, map { $_ => $self->{$_} } qw(do count seed processes handles clients) );
        my $pid   = Rts3::Test::Process::spawn(
            command => [ @perl, '-MRts3::Test::Load', '-e', $program, $JSON->encode( \%order ) ],
            out     => "$files.out",
            err     => "$files.err",
        );
        push @{ $self->{workers} }, { pid => $pid, out => "$files.out", err => "$files.err" };
    }
    return $self;
}

=head2 done

How many contents were dealt with so far.

=cut

sub done {
    my $self = shift;
    my $done = 0;
    $done += slurp( $_->{out} ) =~ tr/\n// for @{ $self->{workers} };
    return $done;
}

=head2 wait_until $condition, $seconds

Waits until C<< $condition->() >> is true, all processes have ended, or the time is over.

=cut

sub wait_until {
    my ( $self, $condition, $seconds ) = @_;
    my $end = time + $seconds;
    sleep 0.05 while time < $end && !$condition->() && $self->_running;
    return;
}

sub _running {
    my $self = shift;
    return scalar grep { defined $_->{pid} && !$self->_ended( $_, 0.001 ) } @{ $self->{workers} };
}

sub _ended {
    my ( $self, $worker, $seconds ) = @_;
    return 0 if !Rts3::Test::Process::wait_for( $worker->{pid}, $seconds );
    $worker->{status} = $?;
    delete $worker->{pid};
    return 1;
}

=head2 finish $seconds

Waits for the end of all processes, and returns what is wrong with one: its status, what it wrote to its standard error, or
that it had to be stopped. An empty list is a good one.

=cut

sub finish {
    my ( $self, $seconds ) = @_;
    $self->wait_until( sub {0}, $seconds );
    my @wrong;
    for my $worker ( @{ $self->{workers} } ) {
        push @wrong, 'a process did not end'                         if defined $worker->{pid};
        push @wrong, "a process ended with status $worker->{status}" if $worker->{status};
        push @wrong, 'a process said: ' . slurp( $worker->{err} )    if -s $worker->{err};
    }
    $self->stop;
    return @wrong;
}

sub holders { return @{ $_[0]{workers} // [] } }

=head2 results

A hash for each content: C<index>, C<key>, C<size>, C<started> and C<ended>, C<failed> (a list of messages), C<said> (a list of
the library's messages for the log), and of reading C<library> and C<other>: how often it was read back byte for byte.

=cut

sub results {
    my $self  = shift;
    my @lines = map  { slurp( $_->{out} ) =~ /^(.*)\n/gm } @{ $self->{workers} };
    my @all   = sort { $a->{index} <=> $b->{index} } map { $JSON->decode($_) } @lines;
    return @all;
}

=head1 FUNCTIONS

=head2 content $seed, $index

A content, the same one for the same arguments: 100 bytes to 2 MB, 7 of 10 below 10 kB, and one of 20 above 200 kB.

=cut

sub content {
    my ( $seed, $index ) = @_;
    my $size = _size( $seed, $index );
    return substr join( '', map { sha512("$seed $index $_") } 0 .. $size / 64 ), 0, $size;
}

sub _size {
    my ( $seed, $index ) = @_;
    my ( $which, $where ) = map { $_ / 2**32 } unpack 'N2', sha256("$seed $index");
    return 100       if $index == 0;
    return 2_000_000 if $index == 1;
    my ( $least, $most ) = $which < 0.7 ? ( 100, 10_000 ) : $which < 0.95 ? ( 1e4, 2e5 ) : ( 2e5, 2e6 );
    return int $least * ( $most / $least )**$where;
}

=head2 work $order

What one of the processes does.

=cut

sub work {
    my $order = $JSON->decode(shift);
    require RT::ExternalStorage::AmazonS3::Native;
    my $native  = 'RT::ExternalStorage::AmazonS3::Native';
    my @handles = map {
        my ( $handle, $error ) = $native->open( %{$_} );
        $handle // die "$error\n";
    } @{ $order->{handles} };
    my @clients = map { Rts3::Test::S3Client->new( %{$_} ) } @{ $order->{clients} // [] };
    my $deal    = { store => \&_store, read => \&_read }->{ $order->{do} };

    STDOUT->autoflush;
    for my $index ( grep { $_ % $order->{processes} == $order->{number} } 0 .. $order->{count} - 1 ) {
        my $content = content( $order->{seed}, $index );
        my %result  = (
            index  => $index,
            key    => $native->sha256($content),
            size   => length $content,
            failed => [],
            bucket => $order->{handles}[0]{Bucket}
        );
        $deal->( \%result, $content, \@handles, \@clients );
        $result{said} = [
            map {
                map {"$_->[0]: $_->[1]"}
                    $_->drain
            } @handles
        ];
        print $JSON->encode( \%result ), "\n" or die "standard output: $!\n";
    }
    return;
}

sub _store {
    my ( $result, undef, $handles ) = @_;
    $result->{started} = time;
    my ( $stored, $error ) = $handles->[0]->store( $result->{key}, $_[1] );
    $result->{ended} = time;
    push @{ $result->{failed} }, $error->name . ": $error" if !defined $stored;
    return;
}

sub _read {
    my ( $result, undef, $handles, $clients ) = @_;
    @{$result}{qw(library other)} = ( 0, 0 );
    for my $handle ( @{$handles} ) {
        my ( $read, $error ) = $handle->get( $result->{key} );
        if    ( !defined $read ) { push @{ $result->{failed} }, $error->name . ": $error" }
        elsif ( $read ne $_[1] ) { push @{ $result->{failed} }, 'the library read something else' }
        else                     { $result->{library}++ }
    }
    for my $client ( @{$clients} ) {
        my $response = $client->request( GET => "/$result->{bucket}/$result->{key}" );
        if    ( $response->code != 200 )      { push @{ $result->{failed} }, $response->status_line }
        elsif ( $response->content ne $_[1] ) { push @{ $result->{failed} }, 'the client read something else' }
        else                                  { $result->{other}++ }
    }
    return;
}

1;
