package RT::ExternalStorage::AmazonS3::Page::Check;

use strict;
use warnings;

use Config         ();
use Cwd            ();
use Errno          ();
use Fcntl          ();
use File::Basename ();
use IO::Select     ();
use JSON           ();
use POSIX          ();
use RT::Util       ();
use Time::HiRes    ();

# Seconds that a check may take, and then to take back what it has stored; how much of what it says is read
use constant { SECONDS => 40, GRACE => 5, LARGEST => 1024 * 1024 };

# A web server's variables are about its request, and HTTP_PROXY is what a browser wants it to be
my $REQUEST =
    qr/\A(?:(?:HTTP|REQUEST|REMOTE|SERVER|SCRIPT|CONTENT|GATEWAY|QUERY|DOCUMENT|AUTH)_|PATH_(?=[IT])|MOD_PERL|FCGI)/;

# The child reads its environment: mod_perl's %ENV is not the one that programs inherit, and their arguments can be seen
# by everybody
my $BEGIN = 'local $/; my %e = split /\0/, <STDIN>; %ENV = %e; open STDIN, "<", "/dev/null"; exec { $ARGV[0] } @ARGV';

# What "rt-s3 check" says: { lines => [ { check, result, text, advice } ], summary, seconds, error => arguments for loc },
# or { busy => 1 }. $command replaces it in tests.
sub Run {
    my ( $class, $seconds, @command ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    $seconds //= SECONDS;
    @command = $class->Command if !@command;
    return { lines => [], error => ['The command rt-s3 was not found.'] } if !@command;
    my $turn  = _Turn() or return { lines => [], busy => 1 };
    my $began = _Now();
    my ( $text, $is_over, $status ) = eval {
        RT::Util::safe_run_child { _Run( $seconds, @command ) }
    };
    return { lines => [], error => [ 'It could not be run: [_1]', "$@" =~ s/\s+\z//r ] } if $@;

    my %result = ( lines => [], seconds => int( _Now() - $began + 0.5 ) );
    for my $line ( split /\n/, $text ) {
        my $said = eval { JSON->new->utf8->decode($line) };
        next if ref $said ne 'HASH';
        if    ( $said->{summary} )       { $result{summary} = $said->{summary} }
        elsif ( defined $said->{check} ) { push @{ $result{lines} }, $said }
        elsif ( defined $said->{error} ) { $result{error} = [ '[_1]', $said->{error} ] }
    }
    $result{error} = [ 'It was not done after [_1] seconds, and was ended.', $seconds ] if !$is_over;
    $result{error} //= [ 'It has ended early ([_1]): run "rt-s3 check" in a shell to see why.', $status ]
        if !$result{summary};
    return \%result;
}

# rt-s3 beside these modules in a checkout, or where it is installed
sub Command {
    my ($class) = @_;
    my $here = File::Basename::dirname( Cwd::realpath(__FILE__) );
    no warnings 'once';
    my @places  = grep { defined && length } "$here/../../../../../bin", $RT::SbinPath, '/usr/local/sbin';
    my ($found) = grep { -f && -r _ } map {"$_/rt-s3"} @places;
    return if !defined $found;
    return ( -x $found ? () : _Perl(), $found, qw(check --json) );
}

# One at a time: each keeps a process of the web server waiting, and with all of them nobody would get a page. A file
# system without locks is no reason to have no check.
sub _Turn {
    open my $file, '<', __FILE__ or return 1;    ## no critic (RequireBriefOpen) held by the caller
    return $file if flock $file, Fcntl::LOCK_EX() | Fcntl::LOCK_NB();
    return $!{EWOULDBLOCK} ? undef : 1;
}

sub _Perl { return $Config::Config{perlpath} }

sub _Run {
    my ( $seconds, @command ) = @_;
    my %environment = map { $_ => $ENV{$_} } grep { !/$REQUEST/ && defined $ENV{$_} } keys %ENV;
    $environment{RTHOME} //= File::Basename::dirname( $INC{'RT.pm'} );
    $environment{PATH}   //= '/usr/sbin:/usr/bin:/sbin:/bin';

    pipe my $theirs, my $ours  or die "pipe: $!\n";
    pipe my $read,   my $write or die "pipe: $!\n";
    local $SIG{PIPE} = 'IGNORE';
    local $SIG{CHLD} = 'DEFAULT';
    my $pid = fork // die "fork: $!\n";
    if ( !$pid ) {
        POSIX::setpgid( 0, 0 );

        # By number: a web server has tied the handles
        POSIX::dup2( fileno $theirs, 0 );
        POSIX::dup2( fileno $write,  1 );
        my $null = POSIX::open( '/dev/null', POSIX::O_WRONLY() );
        POSIX::dup2( $null, 2 ) if defined $null;
        exec { _Perl() } _Perl(), '-e', $BEGIN, @command or POSIX::_exit(127);
    }
    POSIX::setpgid( $pid, $pid );
    close $theirs or die "pipe: $!\n";
    close $write  or die "pipe: $!\n";
    my ( $text, $is_over, $more ) = eval {
        my $all = join "\0", %environment;
        utf8::encode($all) if utf8::is_utf8($all);
        syswrite $ours, $all;
        close $ours or die "pipe: $!\n";
        my @said = _Read( $read, $seconds );
        if ( !$said[1] ) {
            kill TERM => -$pid;
            push @said, ( _Read( $read, GRACE ) )[0];
        }
        @said;
    };
    my $error = $@;
    kill KILL => -$pid if !$is_over;
    waitpid $pid, 0;
    my $status = $?;
    die $error if $error;
    return ( $text . ( $more // '' ),
        $is_over, $status & 127 ? 'signal ' . ( $status & 127 ) : 'exit status ' . ( $status >> 8 ) );
}

# Until its end, or the end of the time
sub _Read {
    my ( $handle, $seconds ) = @_;
    my $end  = _Now() + $seconds;
    my $text = '';
    while ( length $text < LARGEST ) {
        my $left = $end - _Now();
        return ( $text, 0 ) if $left <= 0;
        next                if !IO::Select->new($handle)->can_read($left);
        my $got = sysread $handle, $text, 65_536, length $text;
        return ( $text, 1 ) if !$got;
    }
    return ( $text, 0 );
}

sub _Now { return Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) }

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Check - rt-s3 check for RT's page

=head1 CLASS METHODS

=over

=item Run [SECONDS, COMMAND]

Runs it as a child, with everything that it starts, for 40 seconds, and 5 more to tidy up. A hash: C<lines> (C<check>, C<result>,
C<text>, C<advice>), C<summary>, C<seconds>, and C<error> where it was not carried out to its end. With C<busy> it was not
begun, because one is being run for somebody else.

=item Command

What is run.

=back

=cut
