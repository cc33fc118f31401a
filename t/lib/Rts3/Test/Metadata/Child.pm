package Rts3::Test::Metadata::Child;

use strict;
use warnings;

use Carp        qw(croak);
use Digest::SHA qw(sha256_hex);
use Exporter    qw(import);
use File::Temp  ();
use JSON::PP    ();
use POSIX       ();
use Time::HiRes qw(time);

use Rts3::Test::File qw(slurp spew);

our @EXPORT_OK = qw(calls in_child);

=head1 NAME

Rts3::Test::Metadata::Child - a process that looks for keys, in an environment of its own

=head1 SYNOPSIS

    my $said = in_child( { AWS_PROFILE => 'rt' }, sub { calls( $native, \%options, qw(probe get) ) } );
    is( $said->{probe}, 'profile' );

=head1 FUNCTIONS

=head2 in_child \%environment, $code

Runs the code in a child that has nothing in its environment but what is said, PATH, and an empty home directory (HOME,
if that is not said); instance metadata is off unless AWS_EC2_METADATA_SERVICE_ENDPOINT or AWS_EC2_METADATA_DISABLED is said.
Returns what the code returns, which must be for JSON.

=cut

my $Json = JSON::PP->new->utf8->allow_nonref->canonical;

sub in_child {
    my ( $environment, $code ) = @_;
    my $dir = File::Temp->newdir;
    my $pid = fork // croak "fork: $!";
    if ( !$pid ) {
        my $ok = eval {
            local $SIG{ALRM} = 'DEFAULT';
            alarm 120;
            local %ENV = ( _environment("$dir"), %$environment );
            delete @ENV{ grep { !defined $ENV{$_} } keys %ENV };
            spew( "$dir/result", $Json->encode( $code->() ) );
            1;
        };
        print STDERR $@ if !$ok;
        POSIX::_exit( $ok ? 0 : 1 );
    }
    waitpid $pid, 0;
    croak "the child failed: $?" if $?;
    return $Json->decode( slurp("$dir/result") );
}

sub _environment {
    my ($home) = @_;
    return ( PATH => $ENV{PATH}, HOME => $home, LC_ALL => 'C.UTF-8', AWS_EC2_METADATA_DISABLED => 'true' );
}

=head2 calls $native, \%options, @calls

Opens a handle and calls its methods, C<probe>, C<get> (of an object that was not stored here: its content is its key's, see
L</object>), C<store>. Returns a hash: of each call its value or, with C<_error> behind its name, the message; of C<get>
C<ok>; C<seconds> of each; C<error> (the name of the last error), and C<log>, the messages for RT's log.

=head2 object

(key, content) of the object that is read.

=cut

sub object { my $content = "read with whatever keys\n"; return ( sha256_hex($content), $content ) }

sub calls {
    my ( $native, $options, @calls ) = @_;
    my ( $handle, $failure ) = $native->open(%$options);
    return { open_error => $failure->message, error => $failure->name } if !$handle;
    my ( $key, $content ) = object();
    my %said;
    for my $call (@calls) {
        my $began = time;
        my $new   = "stored by $$ at $began";
        my ( $value, $error ) =
              $call eq 'get'   ? $handle->get($key)
            : $call eq 'store' ? $handle->store( sha256_hex($new), $new )
            :                    $handle->$call;
        $said{"${call}_error"} = $error->message                           if $error;
        $said{error}           = $error->name                              if $error;
        $value                 = $value eq $content ? 'ok' : 'other bytes' if $call eq 'get' && defined $value;
        $said{$call}           = $value                                    if !$error;
        push @{ $said{seconds} }, time - $began;
    }
    $said{log} = [ map {"$_->[0] $_->[1]"} $handle->drain ];
    return \%said;
}

1;
