package Rts3::Test::ToolCheck;

use strict;
use warnings;

use JSON::PP   ();
use Test::More ();

=head1 NAME

Rts3::Test::ToolCheck - runs rt-s3 check and looks at what it says

=head1 SYNOPSIS

    my $check = Rts3::Test::ToolCheck->new( rt => $rt, s3 => $s3, secrets => ['hunter2'] );
    my $found = $check->run( 'without keys', 2, '--as' => 'nobody' );
    $found->told( problem => 'keys', qr/no credentials/, qr/AccessKeyId/ );

=head1 METHODS

=head2 new

rt, s3, storage (its %ExternalStorage where all is well), and secrets: texts that may stand in no output; the server's secret key is always one of them.

=cut

sub new {
    my ( $class, %args ) = @_;
    return bless { secrets => [], %args }, $class;
}

=head2 run $what, $exit, @arguments

Runs it with C<--json> and tests that the exit status is that, that each line is JSON and the last one sums up, that no
secret is told, and that nothing is left in the buckets. Returns itself, for C<told>.

=cut

sub run {
    my ( $self,   $what, $exit, @arguments ) = @_;
    my ( $status, $out,  $err,  $seconds )   = $self->{rt}->run_tool( 'check', '--json', @arguments );
    $self->{what} = $what;
    Test::More::is( $status, $exit, "$what: exit status $exit" ) or Test::More::diag( $out, $err );
    $self->tell_no_secret( $out . $err );

    my @lines = map {
        eval { JSON::PP->new->utf8->decode($_) }
            // {}
    } split /\n/, $out;
    my $sum = pop @lines;
    Test::More::is( scalar( grep { !$_->{check} || !$_->{result} || !length( $_->{text} // '' ) } @lines ),
        0, '... each line is JSON' );
    Test::More::is( ( $sum->{summary} || {} )->{exit}, $exit, '... the last one sums up' );
    my @urgent = grep { $_->{result} =~ /\A(?:warning|problem)\z/ } @lines;
    Test::More::is( scalar( grep { !length( $_->{advice} // '' ) } @urgent ), 0, '... what is wrong has advice' );
    Test::More::is_deeply(
        [ $self->{s3}->objects('files') ],
        $self->{kept} || [],
        '... nothing is left in the bucket'
    );
    $self->{lines} = \@lines;
    return $self;
}

=head2 with $what, $exit, \%options, @arguments

The same, with these options of %ExternalStorage beside those given to C<new> as C<storage>.

=cut

sub with {
    my ( $self, $what, $exit, $options, @arguments ) = @_;
    $self->{rt}->set_storage( %{ $self->{storage} }, %{$options} );
    return $self->run( $what, $exit, @arguments );
}

=head2 told $result, $check, $text, $advice

Tests that there is such a line. The advice may be left out.

=cut

sub told {
    my ( $self, $result, $check, $text, $advice ) = @_;
    my @about  = grep { $_->{check} eq $check } @{ $self->{lines} };
    my ($line) = grep { $_->{result} eq $result && $_->{text} =~ $text } @about;
    my $ok     = Test::More::ok( $line, "... $result: $check" );
    if ( !$ok ) {
        Test::More::diag( JSON::PP->new->canonical->encode($_) ) for @about ? @about : @{ $self->{lines} };
    }
    Test::More::like( $line->{advice}, $advice, '... and what to do about it' ) if $line && $advice;
    return;
}

=head2 only $result, @checks

Tests that exactly these have this result.

=cut

sub only {
    my ( $self, $result, @checks ) = @_;
    my %seen;
    my @found = grep { !$seen{$_}++ } map { $_->{check} } grep { $_->{result} eq $result } @{ $self->{lines} };
    Test::More::is_deeply( [ sort @found ], [ sort @checks ], "... $result: no more and no less" );
    return;
}

=head2 tell_no_secret $text

Tests that no secret is in it.

=cut

sub tell_no_secret {
    my ( $self, $text ) = @_;
    my @found = grep { index( $text, $_ ) >= 0 } $self->{s3}->secret_key, @{ $self->{secrets} };
    Test::More::is( "@found", '', '... no secret is told' );
    return;
}

1;
