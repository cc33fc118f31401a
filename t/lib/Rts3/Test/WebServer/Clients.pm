package Rts3::Test::WebServer::Clients;

use strict;
use warnings;

use Carp           qw(croak);
use File::Temp     ();
use LWP::UserAgent ();
use POSIX          ();
use Storable       ();
use Time::HiRes    qw(clock_gettime CLOCK_MONOTONIC);

=head1 NAME

Rts3::Test::WebServer::Clients - browsers that fetch files at the same time

=head1 SYNOPSIS

    my @answers = Rts3::Test::WebServer::Clients::fetch(
        server   => $server,
        sessions => \@ids,
        files    => [ { path => '/Ticket/Attachment/1/2', content => $bytes }, ... ],
        count    => 500,
        meanwhile => [ 100 => sub { $server->graceful } ],
    );

=head1 FUNCTIONS

=head2 fetch %options

Fetches count files, file after file in their order and from the first one again, with one child for each session at the same
time. C<server> may also be an array of servers; clients go to them in turn. C<meanwhile> is done once so many answers
have come. Returns the answers, hashes with server (its index), file (its index), code, whole (whether it has the very
bytes), worker (a process id, see L<Rts3::Test::WebServer::Witness>), begin and end (of the monotonic clock), status (a
line, for people).

=cut

sub fetch {
    my %args     = @_;
    my $dir      = File::Temp->newdir;
    my @sessions = @{ $args{sessions} };
    pipe my $read, my $write or croak "pipe: $!";
    my @children;
    for my $number ( 0 .. $#sessions ) {
        my $pid = fork // croak "fork: $!";
        if ( !$pid ) {
            my $ok = eval { _client( \%args, $number, $write, "$dir/$number" ); 1 };
            print STDERR $@ if !$ok;
            POSIX::_exit( $ok ? 0 : 1 );
        }
        push @children, $pid;
    }
    close $write or croak "pipe: $!";
    my ( $after, $do ) = @{ $args{meanwhile} || [] };
    my $answered = 0;
    while ( sysread $read, my $byte, 1 ) {
        $do->() if defined $after && ++$answered == $after;
    }
    my @answers;
    for my $number ( 0 .. $#children ) {
        waitpid $children[$number], 0;
        croak "client $number failed" if $?;
        push @answers, @{ Storable::retrieve("$dir/$number") };
    }
    return @answers;
}

sub _client {
    my ( $args, $number, $progress, $file ) = @_;
    my @servers = ref $args->{server} eq 'ARRAY' ? @{ $args->{server} } : $args->{server};
    my $turn_of = $number % @servers;
    my $server  = $servers[$turn_of];
    my $agent   = LWP::UserAgent->new( timeout => 90 );
    $agent->default_header( Cookie  => cookie( $server, $args->{sessions}[$number] ) );
    $agent->default_header( Referer => $server->url . '/' );
    my ( @answers, $count );
    my $files = $args->{files};

    for ( my $turn = $number; $turn < $args->{count}; $turn += @{ $args->{sessions} } ) {
        my $index    = $turn % @$files;
        my $begin    = clock_gettime(CLOCK_MONOTONIC);
        my $response = $agent->get( $server->url . $files->[$index]{path} );
        push @answers,
            {
            server => $turn_of,
            file   => $index,
            code   => $response->code,
            whole  => $response->content eq $files->[$index]{content} ? 1 : 0,
            worker => scalar $response->header('X-Worker'),
            begin  => $begin,
            end    => clock_gettime(CLOCK_MONOTONIC),
            status => $response->status_line,
            };
        syswrite $progress, '.';
    }
    Storable::nstore( \@answers, $file );
    return;
}

=head2 cookie $server, $session

The value of the header Cookie.

=cut

sub cookie {
    my ( $server, $session ) = @_;
    return 'RT_SID_example.test.' . $server->port . "=$session";
}

1;
