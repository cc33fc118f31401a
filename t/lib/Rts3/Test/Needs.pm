package Rts3::Test::Needs;

use strict;
use warnings;

use Exporter   qw(import);
use Test::More ();

our @EXPORT_OK = qw(needs needs_browser needs_library needs_rt needs_s3);

=head1 NAME

Rts3::Test::Needs - what a test can't do without

=head1 SYNOPSIS

    use Rts3::Test::Needs qw(needs_rt needs_s3);

    my $s3 = needs_s3;
    my $rt = needs_rt( storage => {...} );

=head1 DESCRIPTION

A test whose needs are missing is skipped, with the reason, so that C<make test> works without servers. Where everything
must run (C<RTS3_TEST_ALL> is set, as F<script/test> does), a missing need is a failure.

No test finds keys of whoever runs it: this module takes all that is AWS's out of the environment, and instance metadata
out of reach.

No test finds keys of whoever runs it: this module takes all that is AWS's out of the environment, and instance metadata
out of reach.

=head1 FUNCTIONS

=head2 needs $reason

Skips the whole test, unless there is no reason to.

=cut

sub needs {
    my ($reason) = @_;
    return if !$reason;
    $reason =~ s/\s+\z//;
    die "$reason\n" if $ENV{RTS3_TEST_ALL};
    Test::More::plan( skip_all => $reason );
    return;
}

=head2 needs_library

The library: the one in C<RTS3_LIBRARY>, else the one built in this checkout.

=cut

sub needs_library {
    require RT::ExternalStorage::AmazonS3::Native;
    my $native = 'RT::ExternalStorage::AmazonS3::Native';
    my $built  = __FILE__ =~ s{t/lib/Rts3/Test/Needs\.pm\z}{target/release/librts3.so}r;
    $ENV{RTS3_LIBRARY} //= $built if !-e $native->library_path;    ## no critic (RequireLocalizedPunctuationVars)
    my ( $version, $error ) = $native->version;
    needs("$error") if !$version;
    return $native;
}

=head2 needs_s3 %options

A L<Rts3::Test::S3Server> that was started with these options.

=cut

sub needs_s3 {
    my (@options) = @_;
    require Rts3::Test::S3Server;
    my $s3 = eval { Rts3::Test::S3Server->start(@options) };
    return $s3 if $s3;
    die $@     if $@ !~ /build it with/;
    needs($@);
    return;
}

=head2 needs_rt %options

A L<Rts3::Test::RT> with these options.

=cut

sub needs_rt {
    my (@options) = @_;
    require Rts3::Test::RT;
    needs( Rts3::Test::RT->missing );
    return Rts3::Test::RT->new(@options);
}

=head2 needs_browser %options

A L<Rts3::Test::Browser> that was started with these options.

=cut

sub needs_browser {
    my (@options) = @_;
    require Rts3::Test::Browser;
    needs( Rts3::Test::Browser->missing );
    return Rts3::Test::Browser->start(@options);
}

1;
