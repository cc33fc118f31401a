package RT::ExternalStorage::AmazonS3::Argument;

use strict;
use warnings;

use B        ();
use Exporter qw(import);

use RT::ExternalStorage::AmazonS3::Error;

our @EXPORT_OK = qw(bytes text milliseconds);

use constant ERROR => 'RT::ExternalStorage::AmazonS3::Error';

# Each takes a reference that gets the error, if there is one, and then returns undef.

# A reference to content as bytes: to the caller's own scalar where that is safe, else to a copy
sub bytes {
    my ( undef, $error ) = @_;    # content stays where it is
    return _refuse( $error, 'the content is not defined' )                         if !defined $_[0];
    return _refuse( $error, 'the content is a reference; give the string itself' ) if ref $_[0];

    # What is read anew at every look (a tied scalar, a substr) could change its length between two of them
    my $magical = ref \$_[0] ne 'SCALAR' || B::svref_2object( \$_[0] )->FLAGS & B::SVs_GMG;
    return \$_[0] if !$magical && !utf8::is_utf8( $_[0] );

    my $copy = $_[0];
    return _refuse( $error, 'the content is a reference; give the string itself' ) if ref $copy;
    return _refuse( $error, 'the content has wide characters (above 255); bytes are wanted: encode it first' )
        if !utf8::downgrade( $copy, 1 );
    return \$copy;
}

# A name or value as UTF-8. Characters are encoded; bytes that are UTF-8 already are left alone, for configuration
# files without "use utf8".
sub text {
    my ( $what, $value, $error ) = @_;
    return _refuse( $error, "$what is not defined" )                         if !defined $value;
    return _refuse( $error, "$what is a reference; give the string itself" ) if ref $value;
    return _refuse( $error, "$what has a NUL character" )                    if $value =~ /\0/;
    my $copy = "$value";
    utf8::encode($copy) if utf8::is_utf8($copy) || !utf8::decode( my $decoded = $copy );
    return $copy;
}

# 0 where none is given
sub milliseconds {
    my ( $value, $error ) = @_;
    return 0 if !defined $value;
    return _refuse( $error, 'the deadline must be a number of milliseconds above 0' )
        if ref $value || $value !~ /\A\d{1,12}(?:\.\d+)?\z/ || $value <= 0;
    return int( $value + 0.999_999 );
}

sub _refuse {
    my ( $error, $message ) = @_;
    $$error = ERROR->new( argument => $message );
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Argument - what may go into the library

=head1 SYNOPSIS

    use RT::ExternalStorage::AmazonS3::Argument qw(bytes text milliseconds);

    my $content = bytes( $string, \my $error ) or return $error;

=head1 FUNCTIONS

Each returns what is to be passed on, or C<undef> with an L<RT::ExternalStorage::AmazonS3::Error> in the scalar that
its last argument refers to. None changes what the caller holds.

=head2 bytes STRING, \ERROR

A reference to the string as bytes: the caller's own, or a copy where it has the UTF-8 flag or magic. Wide characters
(above 255), references and C<undef> are errors.

=head2 text WHAT, STRING, \ERROR

A copy as UTF-8. References, C<undef> and NUL characters are errors that begin with WHAT.

=head2 milliseconds NUMBER, \ERROR

A whole number above 0, rounded up; 0 for C<undef>.

=cut
