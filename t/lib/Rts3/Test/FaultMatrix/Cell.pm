package Rts3::Test::FaultMatrix::Cell;

use strict;
use warnings;

use Digest::SHA    qw(sha256 sha256_hex);
use Exporter       qw(import);
use File::Basename qw(dirname);
use File::Path     qw(make_path);
use JSON::PP       ();
use POSIX          ();
use Time::HiRes    qw(sleep time);

use Rts3::Test::File qw(slurp spew);

our @EXPORT_OK = qw(content run_cells);

=head1 NAME

Rts3::Test::FaultMatrix::Cell - one call in one trouble, in a process of its own

=head1 FUNCTIONS

=head2 content $size, $name

That many bytes, different for each name, none of which repeat.

=cut

use constant LONGEST => 60;

my $Block = '';

sub content {
    my ( $size, $name ) = @_;
    my $digest = sha256('block');
    while ( length $Block < 2_000_000 ) {
        $digest = sha256($digest);
        $Block .= $digest;
    }
    return substr "$name " . $Block, 0, $size;
}

=head2 run_cells $at_once, $before, @jobs

Carries them out in children, so many at a time, and returns what came of each: a hash, or an empty one where the child
died or had to be killed. Before one begins, C<$before> is called with all jobs that are under way, the new one included.

=cut

sub run_cells {
    my ( $at_once, $before, @jobs ) = @_;
    my %running;
    content( 1, 'made once, here' );
    for my $job (@jobs) {
        _wait( \%running ) while keys %running >= $at_once;
        $before->( $job, values %running );
        my $child = fork // die "no fork: $!\n";
        _child($job) if !$child;
        $running{$child} = $job;
    }
    _wait( \%running ) while %running;
    return map { _result($_) } @jobs;
}

sub _wait {
    my ($running) = @_;
    delete $running->{ waitpid -1, 0 };
    return;
}

sub _result {
    my ($job) = @_;
    my $text = slurp( $job->{file} );
    return length $text ? JSON::PP::decode_json($text) : {};
}

# Whatever it does, it ends: an alarm without a handler works inside of the library, too
sub _child {
    my ($job) = @_;
    local $SIG{ALRM} = 'DEFAULT';
    alarm LONGEST;
    if ( $job->{environment} ) {
        spew( "$job->{file}.job", JSON::PP->new->utf8->encode( { %$job, environment => undef } ) );
        local %ENV = ( %ENV, %{ $job->{environment} } );
        my $code = __PACKAGE__ . '::main(@ARGV)';
        exec $^X, ( map {"-I$_"} @INC ), '-M' . __PACKAGE__, '-e', $code, "$job->{file}.job" or POSIX::_exit(1);
    }
    my $done = eval { main($job); 1 };
    warn $@ if !$done;
    POSIX::_exit( $done ? 0 : 1 );
}

=head2 main $job

Carries one out, here; a file's name in place of the job is where it stands.

=cut

sub main {
    my ($job) = @_;
    $job = JSON::PP::decode_json( slurp($job) ) if !ref $job;
    require RT::ExternalStorage::AmazonS3::Native;
    my ( $native, $error ) = RT::ExternalStorage::AmazonS3::Native->open( %{ $job->{options} } );
    die "$job->{prefix}: $error\n" if !$native;
    $native->fail_fast(1);
    $native->drain;

    my $content = content( $job->{size}, $job->{prefix} );
    my $key     = sha256_hex($content);
    my %cell    = ( native => $native, content => $content, key => $key, file => "$job->{root}/$job->{prefix}$key" );
    make_path( dirname( $cell{file} ) );
    spew( $cell{file}, $content ) if $job->{exists};
    my %result = ( key => $key );
    if ( $job->{prime} ) {
        $result{primed} = _prime( $job, \%cell );
        sleep 0.1;
    }
    $result{began}    = time;
    %result           = ( %result, _call( $job->{call}, \%cell ) );
    $result{bucket}   = _state( \%cell );
    $result{messages} = [ map { $_->[1] } $native->drain ];
    $result{after}    = [ _after( \%cell ) ] if $job->{after} && $result{outcome} eq 'ok';
    unlink $cell{file};
    spew( "$job->{file}.new", JSON::PP->new->utf8->encode( \%result ) );
    rename "$job->{file}.new", $job->{file} or die "$job->{file}: $!\n";
    return;
}

# A call before the one that counts: it leaves a connection behind
sub _prime {
    my ( $job, $cell ) = @_;
    my $content = "first $job->{prefix}";
    my $key     = sha256_hex($content);
    my $file    = dirname( $cell->{file} ) . "/$key";
    spew( $file, $content );
    my ( $got, $error ) = $cell->{native}->get($key);
    unlink $file;
    return $error ? "$error" : $got eq $content ? 'ok' : 'other bytes';
}

sub _call {
    my ( $call, $cell ) = @_;
    my $key    = $cell->{key};
    my $native = $cell->{native};
    my $start  = time;
    my ( $value, $error ) = $call eq 'store' ? $native->store( $key, $cell->{content} ) : $native->$call($key);
    my %result = ( seconds => time - $start, outcome => $error ? $error->name : 'ok' );
    $result{error}   = $error->message                                                   if $error;
    $result{is_ours} = $value eq $cell->{content} ? JSON::PP::true() : JSON::PP::false() if $call eq 'get' && !$error;
    return %result;
}

sub _state {
    my ($cell) = @_;
    return 'nothing' if !-e $cell->{file};
    return slurp( $cell->{file} ) eq $cell->{content} ? 'whole' : 'damaged';
}

# Where Store was told a lie: what Get says, and whether storing again mends it
sub _after {
    my ($cell) = @_;
    my %get    = _call( get   => $cell );
    my %store  = _call( store => $cell );
    return ( $get{outcome}, $store{outcome}, _state($cell), map { $_->[1] } $cell->{native}->drain );
}

1;
