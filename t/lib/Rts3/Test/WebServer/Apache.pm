package Rts3::Test::WebServer::Apache;

use strict;
use warnings;

use Carp qw(croak);

=head1 NAME

Rts3::Test::WebServer::Apache - a private Apache with RT, configured as RT's documentation says

=head1 FUNCTIONS

=head2 missing $kind, program

Why there is no Apache with this module (mod_perl or mod_fcgid), or undef; Apache's path.

=cut

my $PROGRAM = '/usr/sbin/apache2';
my $MODULES = '/usr/lib/apache2/modules';
my $USER    = 'www-data';
my %MODULE  = (
    mod_perl  => [ 'mod_perl.so',  'libapache2-mod-perl2' ],
    mod_fcgid => [ 'mod_fcgid.so', 'libapache2-mod-fcgid' ],
);

sub program { return $PROGRAM }

sub missing {
    my ($kind) = @_;
    my ( $file, $package ) = @{ $MODULE{$kind} or croak "unknown kind $kind" };
    return 'apache2 is not installed'  if !-x $PROGRAM;
    return "$package is not installed" if !-e "$MODULES/$file";
    return undef;
}

=head2 hand_over $dir

Gives a directory to the user that the workers run as, if this process may do that.

=cut

sub hand_over {
    my ($dir) = @_;
    return if $>;
    system( 'chown', '-R', "$USER:", $dir ) == 0 or croak "chown failed for $dir";
    return;
}

=head2 config %args

The configuration's text: dir (everything private to this server), rt (a L<Rts3::Test::RT::Release>), env (for RT's
processes), kind, port, workers, requests (per worker; 0: unlimited).

=cut

sub config {
    my %args = @_;
    my %env =
        map { $_ => $args{env}{$_} } grep {/^(?:AWS_|RT_SITE_|RTS3_LIBRARY$|HOME$|LC_ALL$|TZ$)/} keys %{ $args{env} };
    my $more = $args{kind} eq 'mod_perl' ? _mod_perl( \%args, \%env ) : _mod_fcgid( \%args, \%env );
    my $who  = $>                        ? ''                         : "User $USER\nGroup $USER\n";
    return <<"END" . $more;
ServerRoot "$args{dir}"
ServerName localhost
Listen 127.0.0.1:$args{port}
PidFile "$args{dir}/pid"
DefaultRuntimeDir "$args{dir}"
ErrorLog "$args{dir}/error.log"
LogLevel warn
${who}LoadModule mpm_prefork_module $MODULES/mod_mpm_prefork.so
LoadModule authz_core_module $MODULES/mod_authz_core.so
LoadModule alias_module $MODULES/mod_alias.so
LoadModule mime_module $MODULES/mod_mime.so
TypesConfig /etc/mime.types
ServerLimit $args{workers}
MaxRequestWorkers $args{workers}
StartServers $args{workers}
MinSpareServers $args{workers}
MaxSpareServers $args{workers}
AddDefaultCharset UTF-8
END
}

sub _mod_perl {
    my ( $args, $env ) = @_;
    my $app       = $args->{rt}->program('rt-server');
    my $variables = join '', map {"PerlSetEnv $_ \"$env->{$_}\"\n"} sort keys %$env;
    return <<"END";
LoadModule perl_module $MODULES/mod_perl.so
MaxConnectionsPerChild $args->{requests}
$variables
DocumentRoot "@{[ $args->{rt}->base ]}/html"
<Location />
    Require all granted
    SetHandler modperl
    PerlResponseHandler Plack::Handler::Apache2
    PerlSetVar psgi_app $app
</Location>
<Perl>
    use Plack::Handler::Apache2;
    Plack::Handler::Apache2->preload("$app");
</Perl>
END
}

sub _mod_fcgid {
    my ( $args, $env ) = @_;
    my $app       = $args->{rt}->program('rt-server.fcgi');
    my $variables = join '', map {"FcgidInitialEnv $_ \"$env->{$_}\"\n"} sort keys %$env;
    my $requests  = $args->{requests} || -1;
    return <<"END";
LoadModule fcgid_module $MODULES/mod_fcgid.so
FcgidIPCDir "$args->{dir}"
FcgidProcessTableFile "$args->{dir}/processes"
FcgidMaxRequestLen 1073741824
FcgidMaxProcesses $args->{workers}
FcgidMaxProcessesPerClass $args->{workers}
FcgidMinProcessesPerClass $args->{workers}
FcgidMaxRequestsPerProcess $requests
FcgidConnectTimeout 180
FcgidIOTimeout 180
$variables
ScriptAlias / $app/
DocumentRoot "@{[ $args->{rt}->base ]}/html"
<Location />
    Require all granted
    Options +ExecCGI
    AddHandler fcgid-script fcgi
</Location>
END
}

1;
