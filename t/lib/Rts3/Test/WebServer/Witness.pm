package Rts3::Test::WebServer::Witness;

use strict;
use warnings;

use Time::HiRes ();

=head1 NAME

Rts3::Test::WebServer::Witness - writes down what RT's processes ask of the library

=head1 FUNCTIONS

=head2 look $file

Called within RT whenever its configuration was read. See L<Rts3::Test::WebServer/calls>. The answer to a browser gets
the worker's process id as the header C<X-Worker>.

=cut

my ( $File, $Looks );

sub look {
    ($File) = @_;
    my $storage = RT->System->ExternalStorage;
    my $native  = $storage && $storage->{_Native};
    _note(
        init => $native ? $native->id : '-',
        $INC{'RT/ExternalStorage/AmazonS3.pm'} // '-',
        $native ? $native->library_path : '-'
    );
    return if $Looks++ || !$native;

    no warnings qw(redefine once);
    my $try = \&RT::ExternalStorage::AmazonS3::_Try;
    *RT::ExternalStorage::AmazonS3::_Try = sub {
        my $request = $HTML::Mason::Commands::r;
        $request->headers_out->{'X-Worker'} = $$ if $request;
        _note('begin');
        my $start  = _now();
        my @answer = $try->(@_);
        _note( end => sprintf( '%.4f', _now() - $start ), defined $answer[0] ? 'ok' : $answer[1]->name );
        return @answer;
    };
    return;
}

sub _now { return Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) }

sub _note {
    my ( $what, @more ) = @_;
    open my $file, '>>', $File or die "$File: $!\n";
    syswrite $file, join( "\t", $what, $$, sprintf( '%.4f', _now() ), @more ) . "\n";
    close $file or die "$File: $!\n";
    return;
}

1;
