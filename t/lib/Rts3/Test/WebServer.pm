package Rts3::Test::WebServer;

use strict;
use warnings;

use Carp           qw(croak);
use File::Path     qw(make_path);
use File::Temp     ();
use LWP::UserAgent ();
use Time::HiRes    qw(sleep time);

use Rts3::Test::File               qw(slurp spew);
use Rts3::Test::Process            ();
use Rts3::Test::RT                 ();
use Rts3::Test::RT::Web            ();
use Rts3::Test::WebServer::Apache  ();
use Rts3::Test::WebServer::Clients ();

=head1 NAME

Rts3::Test::WebServer - RT under the web servers that it is run with: Apache with mod_perl or mod_fcgid, starman

=head1 SYNOPSIS

    needs( Rts3::Test::WebServer->missing('mod_perl') );
    my $rt     = needs_rt( Rts3::Test::WebServer->rt_options, ... );
    my $server = Rts3::Test::WebServer->start( rt => $rt, kind => 'mod_perl', workers => 8 );
    $server->graceful( requests => 5 );
    my @calls = Rts3::Test::WebServer->calls($rt);

=head1 DESCRIPTION

Everything is private: configuration, port, process ids, logs. Where the test runs as root, Apache's workers run as
www-data, as Debian has it, and starman's as root. The server ends with its object and with the test.

=head1 CLASS METHODS

=head2 missing $kind

Why this kind of server (C<mod_perl>, C<mod_fcgid>, C<starman>) can't be run here, or undef.

=cut

sub missing {
    my ( $class, $kind ) = @_;
    return Rts3::Test::WebServer::Apache::missing($kind) if $kind ne 'starman';
    return eval { require Starman; 1 } ? undef : 'starman is not installed';
}

=head2 rt_options %more

Options for L<Rts3::Test::RT/new>: modules, rt-s3, RT's page, library and the storage's CAFile are copied to where www-data
can read them, and every process of RT writes down its calls of the library, see C<calls>. C<config> in %more is appended to.

=cut

my %Keep;    # the copies' directories, until the test ends

sub rt_options {
    my ( $class, %more ) = @_;
    my $place = File::Temp->newdir( 'rts3-web-XXXXXX', TMPDIR => 1 );
    chmod 0755, "$place" or croak "$place: $!";
    $Keep{"$place"} = $place;

    my ($modules) = @{ Rts3::Test::RT->default_module_dirs };
    my $library = $ENV{RTS3_LIBRARY} // "$Rts3::Test::RT::Root/target/release/librts3.so";
    $library = "$modules/RT/ExternalStorage/AmazonS3/librts3.so"
        if !defined $ENV{RTS3_LIBRARY} && $modules =~ m{/blib/lib\z};
    my $witness = "$Rts3::Test::RT::LibDir/Rts3/Test/WebServer/Witness.pm";
    make_path("$place/lib/RT");
    system( 'cp', '-rL', "$modules/RT/ExternalStorage", "$place/lib/RT/" ) == 0               or croak 'cp failed';
    system( 'cp', $library, "$place/librts3.so" ) == 0                                        or croak 'cp failed';
    system( 'cp', '-rL', map( {"$Rts3::Test::RT::Root/perl/$_"} qw(bin html) ), $place ) == 0 or croak 'cp failed';
    spew( "$place/Witness.pm", slurp($witness) );

    if ( my $authority = $more{storage}{CAFile} ) {
        spew( "$place/ca.pem", slurp($authority) );
        $more{storage}{CAFile} = "$place/ca.pem";
    }
    system( 'chmod', '-R', 'a+rX', "$place" ) == 0 or croak 'chmod failed';

    spew( "$place/calls", '' );
    chmod 0666, "$place/calls" or croak "$place/calls: $!";
    $more{config} = ( $more{config} // '' ) . <<"END";
Set(\$ExternalStorageCutoffSize, 100);
Set(\$MaxInlineBody, 0);
\$RT::MasonLocalComponentRoot = '$place/html';
\$RT::MasonDataDir .= '-apache' if \$INC{'Plack/Handler/Apache2.pm'};    # its workers are no root, as starman's are
{
    my \$meta  = RT->Config->Meta('ExternalStorage');
    my \$check = \$meta->{PostLoadCheck};
    \$meta->{PostLoadCheck} = sub {
        \$check->(\@_);
        require '$place/Witness.pm';
        Rts3::Test::WebServer::Witness::look('$place/calls');
    };
}
END
    return ( %more, module_dirs => ["$place/lib"], env => { RTS3_LIBRARY => "$place/librts3.so" } );
}

=head2 calls $rt

What RT's processes wrote down since C<forget>, in its order, as hashes with what, pid, and time (of the monotonic
clock):

=over

=item begin

A call of the library begins.

=item end

It has ended, after C<seconds>, with C<answer>: C<ok> or the error's name.

=item init

The configuration was read, or changed: C<handle> is the number of the library's handle, C<module> and C<library>
are the files in use.

=back

=head2 forget $rt

=cut

sub calls {
    my ( $class, $rt ) = @_;
    return map {
        my %call;
        @call{qw(what pid time)}         = splice @$_, 0, 3;
        @call{qw(seconds answer)}        = @$_ if $call{what} eq 'end';
        @call{qw(handle module library)} = @$_ if $call{what} eq 'init';
        \%call;
    } map { [ split /\t/ ] } split /\n/, slurp( _calls_file($rt) );
}

sub forget {
    my ( $class, $rt ) = @_;
    truncate( _calls_file($rt), 0 ) or croak "calls: $!";
    return;
}

sub _calls_file {
    my $rt = shift;
    return $rt->{env}{RTS3_LIBRARY} =~ s{[^/]+\z}{calls}r;
}

=head2 sessions $rt, $count

Logs root in so many times; returns the ids of the sessions.

=cut

sub sessions {
    my ( $class, $rt, $count ) = @_;
    return $rt->call( <<'END', $count );
    require RT::Interface::Web;
    require RT::Interface::Web::Session;
    return map {
        tie my %session, 'RT::Interface::Web::Session', undef;
        my $user = RT::CurrentUser->new;
        $user->LoadByName('root');
        $session{CurrentUser} = $user;
        "$session{_session_id}";
    } 1 .. $_[0];
END
}

=head2 external_files $rt, @contents

A ticket with these attachments, moved to S3. Returns hashes with path (to be fetched from the web server) and content.

=cut

sub external_files {
    my ( $class, $rt, @contents ) = @_;
    my $ticket = $rt->create_ticket(
        attachments => [ map { { name => "file$_.bin", content => $contents[$_] } } 0 .. $#contents ] );
    my ( $exit, undef, $err ) = $rt->run_script('rt-externalize-attachments-5');
    croak "RT's externalizer failed: $err" if $exit;
    my @rows = grep { ( $_->{ContentEncoding} // '' ) eq 'external' && ( $_->{Filename} // '' ) =~ /\Afile/ }
        $rt->attachment_rows;
    croak 'not all attachments are external' if @rows != @contents;
    return map {
        my ($number) = $_->{Filename} =~ /(\d+)/;
        { path => "/Ticket/Attachment/$_->{TransactionId}/$_->{id}/$_->{Filename}", content => $contents[$number] };
    } @rows;
}

=head2 start %options

rt, kind, workers (8), requests (after which a worker is replaced; 0, the default: never).

=cut

sub start {
    my ( $class, %args ) = @_;
    my $self = bless { workers => 8, requests => 0, owner => $$, %args }, $class;
    my $rt   = $self->{rt};
    $self->{port} //= $rt->{web_port} //= Rts3::Test::RT::Web->free_port;
    if ( $self->{kind} eq 'starman' ) {
        $self->{web} = $rt->start_web(
            port      => $self->{port},
            workers   => $self->{workers},
            arguments => [ $self->{requests} ? ( '--max-requests' => $self->{requests} ) : () ],
        );
        $self->{pid} = $self->{web}->pid;
        return $self;
    }
    $rt->write_config;
    make_path( $self->_dir );
    $self->_write_config;
    Rts3::Test::WebServer::Apache::hand_over( $rt->dir );
    $self->{pid} = Rts3::Test::Process::spawn(
        command => [ Rts3::Test::WebServer::Apache::program(), '-f', $self->_dir . '/apache.conf', '-DFOREGROUND' ],
        env     => { $rt->environment },
        out     => '/dev/null',
        err     => $self->_dir . '/err',
    );
    $self->_wait_until_ready;
    Rts3::Test::WebServer::Apache::hand_over( $rt->dir );    # what the parent wrote as root
    return $self;
}

sub _dir { return $_[0]{rt}->dir . "/$_[0]{kind}" }

sub _write_config {
    my $self = shift;
    spew(
        $self->_dir . '/apache.conf',
        Rts3::Test::WebServer::Apache::config(
            dir => $self->_dir,
            env => { $self->{rt}->environment },
            rt  => $self->{rt}->release,
            map { $_ => $self->{$_} } qw(kind port workers requests)
        )
    );
    return;
}

# Apache reads its configuration twice, and RT with it; the port is open after the first time.
sub _wait_until_ready {
    my $self = shift;
    my $turn = 1 + ( $self->{turns} // 0 );
    my $end  = time + 90;
    while ( time < $end ) {
        if ( Rts3::Test::Process::wait_for( $self->{pid}, 0.05 ) ) {
            delete $self->{pid};
            croak 'Apache did not start: ' . $self->errors;
        }
        my $turns = () = slurp( $self->_dir . '/error.log' ) =~ /resuming normal operations/g;
        return $self->{turns} = $turns if $turns >= $turn;
    }
    croak 'Apache does not get ready: ' . $self->errors;
}

=head1 METHODS

=head2 port, pid, url, errors

Its port; the parent's process id; its address; what the server wrote to its error log.

=head2 change_option $session, $name, $from, $to

Changes an option of RT's in its web interface, as the page System Configuration does; true if RT says so.

=head2 graceful %change

New workers take over from the old ones, which end what they have begun. %change is what C<start> takes; starman
can't change anything.

=head2 stop

=cut

sub port { return $_[0]{port} }
sub pid  { return $_[0]{pid} }
sub url  { return "http://127.0.0.1:$_[0]{port}" }

sub errors {
    my $self = shift;
    return $self->{web}->errors if $self->{web};
    return join '', map { slurp( $self->_dir . "/$_" ) } qw(err error.log);
}

sub change_option {
    my ( $self, $session, $name, $from, $to ) = @_;
    my $agent = LWP::UserAgent->new( timeout => 90 );
    my $page  = $agent->post(
        $self->url . '/Admin/Tools/EditConfig.html',
        { Update => 'Update', $name => $to, "$name-Current" => $from },
        Referer => $self->url . '/',
        Cookie  => Rts3::Test::WebServer::Clients::cookie( $self, $session ),
    );
    return $page->decoded_content =~ /\Q$name\E changed from/;
}

sub graceful {
    my ( $self, %change ) = @_;
    if ( $self->{web} ) {
        kill HUP => $self->{pid};
        return;
    }
    @$self{ keys %change } = values %change;
    $self->_write_config;
    kill USR1 => $self->{pid};
    return;
}

sub stop {
    my $self = shift;
    return if $self->{owner} != $$;
    my $pid = delete $self->{pid} or return;
    return $self->{rt}->stop_web if delete $self->{web};
    Rts3::Test::Process::stop($pid);
    return;
}

sub DESTROY {
    my $self = shift;
    local ( $@, $?, $! );
    $self->stop;
    return;
}

1;
