package RT::ExternalStorage::AmazonS3::Native;

use strict;
use warnings;

use File::Basename ();
use File::Spec     ();

use RT::ExternalStorage::AmazonS3::Argument qw(bytes text milliseconds);
use RT::ExternalStorage::AmazonS3::Error;
use RT::ExternalStorage::AmazonS3::Signals;

# grow and set_used_length came with 1.12; older ones were never tried
use constant PLATYPUS => '1.28';

# From this size on we ask whether there is memory first: Perl would end the process where there is none
use constant LARGE => 16 * 1024 * 1024;

use constant { ERROR => 'RT::ExternalStorage::AmazonS3::Error', SIGNALS => 'RT::ExternalStorage::AmazonS3::Signals' };

my $BESIDE = File::Spec->catfile( File::Spec->rel2abs( File::Basename::dirname(__FILE__) ), 'librts3.so' );

my %LEVEL = ( 1 => 'error', 2 => 'warning', 3 => 'info' );

# Content goes as 'string': a pointer to the scalar's own bytes. Its length goes beside it.
my %FUNCTION = (
    rts3_open  => [ [ 'opaque', 'size_t', 'opaque*', 'opaque*' ]                              => 'uint32' ],
    rts3_close => [ [ 'opaque', 'opaque*' ]                                                   => 'uint32' ],
    rts3_store => [ [ 'opaque', 'string', 'string', 'size_t', 'string', 'uint64', 'opaque*' ] => 'uint32' ],
    rts3_get   => [
        [ 'opaque', 'string', 'uint64', '(opaque,size_t)->opaque', 'opaque', 'opaque*', 'size_t*', 'opaque*' ] =>
            'uint32'
    ],
    rts3_delete        => [ [ 'opaque', 'string', 'uint64', 'opaque*' ]                                => 'uint32' ],
    rts3_head          => [ [ 'opaque', 'string', 'uint64', 'uint64*', 'opaque*', 'opaque*' ]          => 'uint32' ],
    rts3_create_bucket => [ [ 'opaque', 'uint64', 'opaque*' ]                                          => 'uint32' ],
    rts3_probe         => [ [ 'opaque', 'uint64', 'opaque*', 'opaque*' ]                               => 'uint32' ],
    rts3_fail_fast     => [ [ 'opaque', 'sint32', 'opaque*' ]                                          => 'uint32' ],
    rts3_proven        => [ [ 'opaque', 'sint32*', 'opaque*' ]                                         => 'uint32' ],
    rts3_direct_url    => [ [ 'opaque', 'string', 'string', 'string', 'string', 'opaque*', 'opaque*' ] => 'uint32' ],
    rts3_sha256        => [ [ 'string', 'size_t', 'opaque', 'opaque*' ]                                => 'uint32' ],
    rts3_next_message  => [ [ 'opaque', 'uint32*', 'opaque*', 'opaque*' ]                              => 'uint32' ],
    rts3_error_status  => [ ['opaque']                                                                 => 'uint32' ],
    rts3_error_message => [ ['opaque']                                                                 => 'string' ],
    rts3_error_free    => [ ['opaque']                                                                 => 'void' ],
    rts3_status_name   => [ ['uint32']                                                                 => 'string' ],
    rts3_free          => [ ['opaque']                                                                 => 'void' ],
    rts3_version       => [ []                                                                         => 'string' ],
);

# ---- the library

my ( $Path, %Refused );

sub library_path {
    return $Path // ( length( $ENV{RTS3_LIBRARY} // '' ) ? $ENV{RTS3_LIBRARY} : $BESIDE );
}

sub load {
    return 1 if defined $Path;
    my $path = library_path();

    # What could not be loaded is not tried again: Perl remembers a module that failed, and words it badly then
    my $reason = $Refused{$path} //= _attach($path);
    $reason =~ s/ \(you may need .*| at \S+ line \d+\.?[\s\0]*\z//s;
    return _failed( ERROR->new( library => $reason ) ) if $reason;
    $Path = $path;
    return 1;
}

# Returns the reason for which it could not, or an empty string. Functions are attached, and the Platypus object is
# let go: nothing is left that a new Perl thread would clone and free a second time.
sub _attach {
    my ($path) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';

    return
        "cannot load the rts3 library: there is no file '$path'; install it there, or set RTS3_LIBRARY to its path"
        if !-e $path;
    eval {
        require FFI::Platypus;
        FFI::Platypus->VERSION(PLATYPUS);
        require FFI::Platypus::Buffer;
        1;
    }
        or return 'cannot load the rts3 library: the Perl module FFI::Platypus '
        . PLATYPUS
        . " or later is needed: $@";

    # dlopen says what is wrong with a file; Platypus does not
    require DynaLoader;
    DynaLoader::dl_load_file( $path, 0 )
        or return "cannot load the rts3 library '$path': " . DynaLoader::dl_error();

    eval {
        my $ffi = FFI::Platypus->new( api => 1, lib => [$path] );
        for my $name ( sort keys %FUNCTION ) {
            defined $ffi->find_symbol($name) or die "it has no function $name: it is not of this version\n";
        }
        $ffi->attach( [ $_ => __PACKAGE__ . "::_$_" ], @{ $FUNCTION{$_} } ) for sort keys %FUNCTION;
        1;
    } or return "cannot use the rts3 library '$path': $@";
    return '';
}

# More functions, for modules that few processes need: each is attached to the package as _NAME
sub attach_to {
    my ( $class, $package, %function ) = @_;
    my ( $ok, $error ) = load();
    return _failed($error) if !$ok;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    return 1 if eval {
        my $ffi = FFI::Platypus->new( api => 1, lib => [$Path] );
        $ffi->attach( [ $_ => "${package}::_$_" ], @{ $function{$_} } ) for sort keys %function;
        1;
    };
    return _failed( ERROR->new( library => "cannot use the rts3 library '$Path': $@" ) );
}

sub version {
    my ( $ok, $error ) = load();
    return $ok ? _rts3_version() : _failed($error);
}

sub status_name {
    my ( $class, $status ) = @_;
    my ( $ok,    $error )  = load();
    return $ok ? _rts3_status_name($status) : _failed($error);
}

sub sha256 {
    my ($class) = @_;    # content stays where it is
    my ( $ok, $error ) = load();
    my $content = $ok && bytes( $_[1], \$error ) or return _failed($error);

    FFI::Platypus::Buffer::grow( my $hex, 65 );
    my $status =
        _rts3_sha256( $$content, length $$content, FFI::Platypus::Buffer::scalar_to_pointer($hex), \my $failure );
    return _refused( $status, $failure ) if $status;
    FFI::Platypus::Buffer::set_used_length( $hex, 64 );
    return $hex;
}

# ---- a handle

sub open {
    my ( $class, %options ) = @_;
    my ( $ok,    $error )   = load();
    return _failed($error) if !$ok;

    my @strings;
    for my $name ( grep { defined $options{$_} } sort keys %options ) {
        push @strings, text( 'the name of an option', $name, \$error ),
            text( "option $name", $options{$name}, \$error );
        return _failed( ERROR->new( config => $error->message ) ) if $error;
    }

    # 'p' packs the address of a string, which lives as long as @strings
    my $table = pack 'p*', @strings;
    my $first = @strings ? FFI::Platypus::Buffer::scalar_to_pointer($table) : undef;
    my ( $handle, $failure );
    my $status = _rts3_open( $first, @strings / 2, \$handle, \$failure );
    return _refused( $status, $failure ) if $status;
    return bless { handle => $handle, thread => _thread() }, $class;
}

sub close {
    my ($self) = @_;
    my $handle = delete $self->{handle} or return 1;
    my $status = _rts3_close( $handle, \my $failure );
    return $status ? _refused( $status, $failure ) : 1;
}

# A clone in another Perl thread uses the handle, but it is not its to close
sub DESTROY {
    my ($self) = @_;
    return if !$self->{handle} || $self->{thread} != _thread() || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ( $@, $!, $? );
    $self->close;
    return;
}

sub _thread { return $INC{'threads.pm'} ? threads->tid : 0 }

# The same number for the same options
sub id { return $_[0]->{handle} }

sub store {
    my ( $self, $key, undef, %args ) = @_;    # content stays where it is
    my ( $call, $error ) = $self->_keyed( $key, \%args );
    return _failed($error) if !$call;
    my $content = bytes( $_[2], \$error ) or return _failed($error);
    my $type    = _optional( content_type => \%args, \$error );
    return _failed($error) if $error;

    my $status = _quietly( \&_rts3_store, $call->{handle}, $call->{key}, $$content, length $$content,
        $type, $call->{deadline}, \my $failure );
    return $status ? _refused( $status, $failure ) : $call->{key};
}

# The library writes straight into the scalar that is returned
sub get {
    my ( $self, $key, %args ) = @_;
    my ( $call, $error ) = $self->_keyed( $key, \%args );
    return _failed($error) if !$call;

    FFI::Platypus::Buffer::grow( my $content, 1 );
    my $room    = 0;
    my $reserve = FFI::Platypus->closure( sub { return _reserve( \$content, \$room, $_[1] ) } );
    my ( $data, $size, $failure ) = ( undef, 0, undef );
    my $status =
        _quietly( \&_rts3_get, $call->{handle}, $call->{key}, $call->{deadline}, $reserve, undef, \$data, \$size,
        \$failure );
    return _refused( $status, $failure ) if $status;
    FFI::Platypus::Buffer::set_used_length( $content, $size );
    return $content;
}

# Runs within a call of the library: it must not die. Like realloc: the bytes in the room that was given before stay, so
# Perl has to believe that they are in use. Two bytes more let Perl share the buffer instead of copying it.
sub _reserve {
    my ( $buffer, $room, $size ) = @_;
    local $@;
    local $SIG{__DIE__}  = 'DEFAULT';
    local $SIG{__WARN__} = sub { };
    return eval {
        if ( $size >= LARGE ) {
            require FFI::Platypus::Memory;    # slow to load, and seldom needed
            my $probe = FFI::Platypus::Memory::malloc( $size + 2 ) or return;
            FFI::Platypus::Memory::free($probe);
        }
        FFI::Platypus::Buffer::set_used_length( $$buffer, $$room ) if $$room;
        FFI::Platypus::Buffer::grow( $$buffer, $size + 2, { clear => $$room ? 0 : 1, set_length => 0 } );
        $$room = $size if $size > $$room;
        FFI::Platypus::Buffer::scalar_to_pointer($$buffer);
    };
}

sub delete {
    my ( $self, $key, %args ) = @_;
    my ( $call, $error ) = $self->_keyed( $key, \%args );
    return _failed($error) if !$call;
    my $status = _quietly( \&_rts3_delete, $call->{handle}, $call->{key}, $call->{deadline}, \my $failure );
    return $status ? _refused( $status, $failure ) : $call->{key};
}

sub head {
    my ( $self, $key, %args ) = @_;
    my ( $call, $error ) = $self->_keyed( $key, \%args );
    return _failed($error) if !$call;
    my ( $size, $checksum, $failure ) = ( 0, undef, undef );
    my $status =
        _quietly( \&_rts3_head, $call->{handle}, $call->{key}, $call->{deadline}, \$size, \$checksum, \$failure );
    return _refused( $status, $failure ) if $status;
    return { size => $size == ~0 ? undef : $size, checksum => _take($checksum) };
}

sub create_bucket {
    my ( $self, %args )  = @_;
    my ( $call, $error ) = $self->_ready( \%args );
    return _failed($error) if !$call;
    my $status = _quietly( \&_rts3_create_bucket, $call->{handle}, $call->{deadline}, \my $failure );
    return $status ? _refused( $status, $failure ) : 1;
}

sub probe {
    my ( $self, %args )  = @_;
    my ( $call, $error ) = $self->_ready( \%args );
    return _failed($error) if !$call;
    my ( $source, $failure );
    my $status = _quietly( \&_rts3_probe, $call->{handle}, $call->{deadline}, \$source, \$failure );
    return $status ? _refused( $status, $failure ) : _take($source) // '';
}

sub proven {
    my ($self) = @_;
    my ( $call, $error ) = $self->_ready( {} );
    return _failed($error) if !$call;
    my ( $proven, $failure ) = ( 0, undef );
    my $status = _rts3_proven( $call->{handle}, \$proven, \$failure );
    return $status ? _refused( $status, $failure ) : $proven ? 1 : 0;
}

sub fail_fast {
    my ( $self, $fail_fast ) = @_;
    my ( $call, $error )     = $self->_ready( {} );
    return _failed($error) if !$call;
    my $status = _rts3_fail_fast( $call->{handle}, $fail_fast ? 1 : 0, \my $failure );
    return $status ? _refused( $status, $failure ) : 1;
}

sub direct_url {
    my ( $self, $key, %args ) = @_;
    my ( $call, $error ) = $self->_keyed( $key, {} );
    return _failed($error) if !$call;
    my @about = map { _optional( $_, \%args, \$error ) } qw(file_name content_type disposition);
    return _failed($error) if $error;
    my ( $url, $failure );
    my $status = _rts3_direct_url( $call->{handle}, $call->{key}, @about, \$url, \$failure );
    return $status ? _refused( $status, $failure ) : _take($url);
}

# (level, text) of the oldest message for the log, or an empty list
sub next_message {
    my ($self) = @_;
    return if !$self->{handle};
    my ( $level, $text, $failure ) = ( 0, undef, undef );
    my $status = _rts3_next_message( $self->{handle}, \$level, \$text, \$failure );
    _rts3_error_free($failure) if $status && $failure;
    return                     if $status || !$text;
    return ( $LEVEL{$level} // 'info', _take($text) );
}

sub drain {
    my ($self) = @_;
    my @messages;
    while ( my ( $level, $text ) = $self->next_message ) {
        push @messages, [ $level, $text ];
    }
    return @messages;
}

# ---- what goes in and what comes out

# What every call on a handle needs, checked; or (undef, $error)
sub _ready {
    my ( $self, $args ) = @_;
    return ( undef, ERROR->new( argument => 'this handle is closed' ) ) if !$self->{handle};
    my $deadline = milliseconds( $args->{deadline}, \my $error );
    return defined $deadline ? { handle => $self->{handle}, deadline => $deadline } : ( undef, $error );
}

# Calls a function of the library that uses the network, with no signal handler in the middle; the arguments stay where
# they are
sub _quietly {
    my $function = shift;
    my $held     = SIGNALS->Hold;
    my $status   = $function->(@_);
    SIGNALS->Release($held);
    return $status;
}

sub _keyed {
    my ( $self, $key, $args ) = @_;
    my ( $call, $error ) = $self->_ready($args);
    $call->{key} = text( 'the key', $key, \$error ) if $call;
    return $error ? ( undef, $error ) : $call;
}

sub _optional {
    my ( $name, $args, $error ) = @_;
    return scalar( defined $args->{$name} ? text( $name, $args->{$name}, $error ) : undef );
}

# Text that the library handed out, taken over
sub _take {
    my ($pointer) = @_;
    return undef if !$pointer;
    my $text = unpack 'p', pack 'J', $pointer;
    _rts3_free($pointer);
    utf8::decode($text);
    return $text;
}

# Ends a method: (undef, $error), in scalar context undef
sub _failed {
    my ($error) = @_;
    return wantarray ? ( undef, $error ) : undef;
}

sub _refused {
    my ( $status, $failure ) = @_;
    my $message = $failure ? _rts3_error_message($failure) : 'the library gave no message';
    _rts3_error_free($failure) if $failure;
    utf8::decode($message);
    return _failed( ERROR->from_status( $status, $message ) );
}

# ---- for the modules below this one

sub quietly { my $class = shift; return _quietly(@_) }
sub refused { my ( $class, @failure ) = @_; return _refused(@failure) }
sub failed  { my ( $class, $error )   = @_; return _failed($error) }
sub taken   { my ( $class, $pointer ) = @_; return _take($pointer) // '' }

sub error_status { my ( $class, $failure ) = @_; return _rts3_error_status($failure) }

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Native - the rts3 library for Perl, with or without RT

=head1 SYNOPSIS

    use RT::ExternalStorage::AmazonS3::Native;

    my ( $s3, $error ) = RT::ExternalStorage::AmazonS3::Native->open(
        Bucket          => 'attachments',
        AccessKeyId     => '...',
        SecretAccessKey => '...',
    );
    die "$error\n" if !$s3;

    my $key = RT::ExternalStorage::AmazonS3::Native->sha256($content);
    ( my $stored, $error ) = $s3->store( $key, $content, content_type => 'image/png' );
    ( my $read,   $error ) = $s3->get( $key, deadline => 5_000 );

=head1 DESCRIPTION

Everything that calls the library stands in this module. It loads without the library and without L<FFI::Platypus>
(1.28 or later); what is missing is an error of the first call. The library is sought at the path in the environment
variable C<RTS3_LIBRARY>, else as F<librts3.so> beside this file.

Every method returns a value, or C<(undef, $error)> with an L<RT::ExternalStorage::AmazonS3::Error>; in scalar context
just C<undef>. No method dies. Content is not copied: C<store> and C<sha256> read the caller's scalar where it is (a
copy of it, if it has the UTF-8 flag), and C<get> lets the library write into the scalar that it returns.

C<deadline>, in milliseconds, bounds the call; without it the handle's C<Deadline> option does.

=head1 CLASS METHODS

=over

=item open NAME => VALUE, ...

A handle for these options, which are listed in L<RT::ExternalStorage::AmazonS3/CONFIGURATION>; C<undef> means not
given. No network, no thread. The same options give the same handle. Options with which no request can be formed are
an error; every other mistake is a message (see C<drain>).

=item sha256 CONTENT

The key of this content: 64 lower-case hexadecimal digits.

=item version

The library's version.

=item load, library_path, status_name NUMBER

Whether the library can be used; where it is, or is sought; its name for a status.

=item attach_to, quietly, refused, failed, taken, error_status

For the modules below this one, such as L<RT::ExternalStorage::AmazonS3::Native::Bulk>.

=back

=head1 METHODS

=over

=item store KEY, CONTENT, [content_type => TYPE], [deadline => MILLISECONDS]

Returns the key.

=item get KEY, [deadline => MILLISECONDS]

Returns the content.

=item delete KEY, [deadline => MILLISECONDS]

Returns the key, whether or not there was such an object.

=item head KEY, [deadline => MILLISECONDS]

Returns a hash with C<size> (undef where the server does not tell it), and with C<checksum> where the server keeps a
SHA-256. An object that is not there is an
error with the name C<not-found>.

=item create_bucket [deadline => MILLISECONDS]

Returns 1.

=item probe [deadline => MILLISECONDS]

Whether these options may write: returns where the credentials come from, or an error.

=item fail_fast FLAG

What calls do while the server is known to be down: fail at once with C<unavailable> (true: somebody waits at a
screen), or wait for its recovery within their deadline (false, as at first).

=item proven

1 when this process has read or stored something with this handle, else 0.

=item direct_url KEY, [file_name => NAME], [content_type => TYPE], [disposition => VALUE]

Returns a URL. No network.

=item drain, next_message

What the library has to say to the log: a list of C<[level, text]>, or the oldest one as C<(level, text)>. Levels are
C<error>, C<warning> and C<info>.

=item id, close

The handle's number, equal for equal options; and its end, which also comes when the object goes.

=back

=head1 THREADS AND FORKS

A handle may be used after a fork, and in Perl threads made after it was opened; the thread that opened it closes it.

=cut
