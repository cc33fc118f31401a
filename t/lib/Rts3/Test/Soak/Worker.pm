package Rts3::Test::Soak::Worker;

use strict;
use warnings;

use Digest::SHA qw(sha256 sha512);
use JSON::PP    ();
use Time::HiRes qw(time);

use Rts3::Test::File qw(slurp);

=head1 NAME

Rts3::Test::Soak::Worker - one process of a soak: calls without end, and a journal of them

=head1 DESCRIPTION

Stores new contents and such as are there already, reads, asks for and deletes them, through http and https in turn, and
compares everything that it reads. Contents of its own it stores once, and after it began to delete one it never touches
it again; a few more are common to all processes, which nobody deletes.

The journal is written line by line, so that a process that is killed leaves all but its last words:

    begin CALL KEY
    end OUTCOME SECONDS MESSAGE     # ok, wrong (other bytes, another size), or an error's name
    said LEVEL: TEXT                # a message for RT's log
    memory ELAPSED RSS PSS DESCRIPTORS THREADS    # between two calls, seconds since the soak began and kB

=head1 FUNCTIONS

=head2 work $order

The whole of it. The order, in JSON: C<name> (no two processes have the same), C<handles> (hashes of options), C<journal>,
C<started> and C<until> (times).

=cut

my $Held   = 60;
my $Common = 40;
my $Native = 'RT::ExternalStorage::AmazonS3::Native';

sub work {
    my $self = bless JSON::PP->new->utf8->decode(shift), __PACKAGE__;
    require RT::ExternalStorage::AmazonS3::Native;
    open $self->{out}, '>>:raw', $self->{journal} or die "$self->{journal}: $!\n";
    $self->{open} = [ map { _open($_) } @{ $self->{handles} } ];
    $self->{held} = [];
    $self->{made} = 0;
    $self->{next} = 0;

    # The largest ones first, so that memory has been at its highest early
    if ( $self->{large_first} ) {
        for my $name ( 'common 0', "$self->{name} large" ) {
            $self->_store($name) for 1 .. 2;
            $self->_call( get => $name ) for 1 .. 2;
        }
    }
    while ( time < $self->{until} ) {
        $self->_one;
        $self->_memory if time >= $self->{next};
    }
    $self->_memory;
    return;
}

sub _open {
    my ($options) = @_;
    my ( $handle, $error ) = $Native->open( %{$options} );
    return $handle // die "$error\n";
}

# One call, drawn by lot
sub _one {
    my $self = shift;
    my $held = $self->{held};
    my $lot  = rand;
    my $any  = @{$held} ? $held->[ rand @{$held} ] : undef;
    return $self->_delete                                      if @{$held} >= $Held || @{$held} > 5 && $lot > 0.9;
    return $self->_store( "$self->{name} " . ++$self->{made} ) if !defined $any     || $lot < 0.3;
    return $self->_store( 'common ' . int rand $Common )       if $lot < 0.4;
    return $self->_store($any)                                 if $lot < 0.5;
    return $self->_call( get => $any )                         if $lot < 0.8;
    return $self->_call( head => $any );
}

sub _store {
    my ( $self, $name ) = @_;
    my $is_new = !grep { $_ eq $name } @{ $self->{held} };
    my $call   = $is_new && $name !~ /^common/ ? 'store' : 'store again';
    my $stored = $self->_call( $call => $name );
    push @{ $self->{held} }, $name if $stored && $is_new;
    return;
}

# Of its own only, and never again a word of it
sub _delete {
    my $self = shift;
    my $held = $self->{held};
    my @own  = grep { $held->[$_] !~ /^common/ } 0 .. $#{$held};
    my $name = splice @{$held}, $own[ rand @own ], 1;
    $self->_call( delete => $name );
    return;
}

sub _call {
    my ( $self, $call, $name ) = @_;
    my $content = content($name);
    my $key     = $Native->sha256($content);
    my $handle  = $self->{open}[ rand @{ $self->{open} } ];
    $self->_write( begin => $call =~ tr/ /-/r, $key );
    my $start = time;
    my ( $value, $error ) =
          $call =~ /^store/ ? $handle->store( $key, $content, content_type => 'image/png' )
        : $call eq 'get'    ? $handle->get($key)
        : $call eq 'head'   ? $handle->head($key)
        :                     $handle->delete($key);
    my $seconds = sprintf '%.3f', time - $start;
    my $wrong =
          $call eq 'get'  ? defined $value && $value ne $content
        : $call eq 'head' ? defined $value && $value->{size} != length $content
        :                   defined $value && $value ne $key;
    my $outcome = $wrong                   ? 'wrong'                         : defined $value ? 'ok' : $error->name;
    my $message = $wrong && $call eq 'get' ? _difference( $value, $content ) : defined $error ? $error->message : '';
    $self->_write( end => $outcome, $seconds, $message );

    for my $open ( @{ $self->{open} } ) {
        $self->_write("said $_->[0]: $_->[1]") for $open->drain;
    }
    my $is_done = defined $value;
    undef $_ for $value, $content;    # Perl would keep their room for the next call
    return $is_done;
}

sub _difference {
    my ( $value, $content ) = @_;
    return length($value) . ' bytes, not ' . length $content if length $value != length $content;
    my $differ = $value ^ $content;
    my $first  = $differ =~ /[^\0]/ ? $-[0] : undef;
    return ( $differ =~ tr/\0//c ) . " bytes differ, the first at $first";
}

sub _write {
    my ( $self, @words ) = @_;
    my $line = "@words\n";
    utf8::encode($line);
    defined syswrite $self->{out}, $line or die "$self->{journal}: $!\n";
    return;
}

sub _memory {
    my $self = shift;
    $self->{next} = time + 1;
    my ($rss)     = slurp('/proc/self/status')       =~ /^VmRSS:\s+(\d+)/m;
    my ($pss)     = slurp('/proc/self/smaps_rollup') =~ /^Pss:\s+(\d+)/m;
    my ($threads) = slurp('/proc/self/status')       =~ /^Threads:\s+(\d+)/m;
    opendir my $directory, '/proc/self/fd' or die "/proc/self/fd: $!\n";
    my $open = grep {/\d/} readdir $directory;
    closedir $directory;
    my $elapsed = sprintf '%.1f', time - $self->{started};
    $self->_write( memory => $elapsed, $rss, $pss // $rss, $open - 1, $threads );
    return;
}

=head2 content $name

A content, the same one for the same name: 100 bytes to 5 MB, 6 of 10 below 20 kB, and one of 20 above 500 kB.

=cut

my $Noise;

sub content {
    my ($name) = @_;
    my $size = $name =~ /^common 0$|large$/ ? 5_000_000 : _size($name);
    $Noise //= join '', map { sha512("noise $_") } 0 .. 5_000_000 / 64;
    my $from = unpack( 'N', sha256("from $name") ) % ( 5_000_000 - $size + 1 );
    return substr sprintf( '%-64s', $name ) . substr( $Noise, $from, $size - 64 ), 0, $size;
}

sub _size {
    my ($name) = @_;
    my ( $which, $where ) = map { $_ / 2**32 } unpack 'N2', sha256($name);
    my ( $least, $most ) = $which < 0.6 ? ( 100, 2e4 ) : $which < 0.95 ? ( 2e4, 5e5 ) : ( 5e5, 5e6 );
    return int $least * ( $most / $least )**$where;
}

1;
