package Rts3::Test::S3Server::Control;

use strict;
use warnings;

use Carp     ();
use Fcntl    qw(O_APPEND O_CREAT O_WRONLY);
use JSON::PP ();

use Rts3::Test::File qw(spew);

=head1 NAME

Rts3::Test::S3Server::Control - what changes while an S3 server of the tests runs

=head1 METHODS

=head2 faults

Replaces the rules for faults, given as hashes; without arguments there are none. Counting begins anew.

    $s3->faults( { operation => 'PutObject', nth => [1], do => { answer => { status => 503, code => 'SlowDown' } } } );

C<operation>, C<bucket> and C<key> (exact, or a prefix and C<*>) choose requests; without any of them a rule
fits all. Of those it fits, counted from 1, a rule fires for the ones in C<nth> (a list; C<[ 2, '...' ]> means
from the second on) or from the C<from>-th on, else for all; with C<chance> (0 to 1) only so often. The first
rule that fires decides; but one with nothing but C<region> and C<clock_s> in its C<do> applies beside others.

C<do> is a hash with one or more of

    answer         => { status => 409, code => 'X', message => '', headers => {}, body => '', pad => $bytes }
    raw            => "HTTP/1.1 200 OK\r\n..."   # these bytes, then the end of the connection
    ignore_condition, refuse_condition, drop_etag => 1
    delay_ms       => 500                        # before the answer
    stall          => { at => $point, after => $bytes }   # nothing more, the connection stays open
    reset          => { at => $point, after => $bytes }   # RST
    close          => { at => $point, after => $bytes }   # FIN
    rate           => 1                          # bytes per second of the answer's body
    upload_rate    => 1                          # bytes per second read of the request's body
    flip           => { at => 'body', offset => $byte }   # or at => 'upload': before the server hashes it
    keep           => 'nothing'                  # success is answered to PUT, but nothing is kept,
    keep           => { bytes => 100 }           # ... or only its begin,
    keep           => { flip => $byte }          # ... or all, with one byte damaged
    length         => { add => -5 }              # a wrong Content-Length, the connection stays open
    length         => { say => 'abc' }           # this text as Content-Length
    length         => 'missing'                  # or 'chunked'
    headers        => { 'x-amz-meta-a' => "\x{fc}" }      # in UTF-8; latin1_headers: in ISO 8859-1
    header_bytes   => 1_000_000                  # a header x-amz-meta-long of this length
    close_ms       => 0                          # so long after the answer the connection ends unannounced
    reset_ms       => 0                          # the same with RST
    region         => { name => 'eu-central-1', refuse => $how, header => 1, xml => 1, location => $url }
    clock_s        => 1200                       # the server's clock is so far ahead, or behind if negative

C<$point> is C<upload> (after so many bytes of the request's body, default 0: nothing is read, nothing is
done), C<received> (the request is complete, nothing is done), C<answered> (the request is carried out,
nothing of the answer is sent), C<head> (after so many bytes of the answer) or C<body> (after so many bytes of
the answer's body; Content-Length tells the whole).

C<$how> requests that are signed for another region are refused: C<moved> (301 PermanentRedirect),
C<malformed> (400 AuthorizationHeaderMalformed, the default), C<garage> (the same as Garage 2.5 says it) or
C<redirect> (307 with C<location>). Without C<header> there is no C<x-amz-bucket-region> (Garage never has it),
without C<xml> no C<< <Region> >> and C<< <Endpoint> >> either. HEAD gets the status without a body.

A clock that is behind does not make a presigned link live longer: the real one is looked at, too.

The log tells what was applied to a request in its field C<fault>: C<answer>, C<raw>, C<ignore_condition>,
C<refuse_condition>, C<drop_etag>, C<delay>, C<stall:$point>, C<reset:$point>, C<close:$point>, C<rate>,
C<upload_rate>, C<flip:body>, C<flip:upload>, C<keep>, C<length>, C<headers>, C<close_ms>, C<reset_ms>,
C<region> (refused for it), C<clock> (refused for it); several are joined by C<+>; undef if there was none.

A rule that can't be understood makes every request fail with C<BadFaultRule>. A reference or JSON::PP::true
is true.

=cut

my $Faults = 0;

sub faults {
    my ( $self, @rules ) = @_;
    my $mark = ++$Faults;
    my $json = JSON::PP->new->utf8->canonical;
    my $text = join '', map { $json->encode( { %$_, set => $mark } ) . "\n" } map { _booleans($_) } @rules;
    my $file = $self->file('faults');
    spew( "$file.new", $text );
    rename "$file.new", $file or Carp::croak("$file: $!");
    return;
}

sub _boolean { my ($value) = @_; return $value ? JSON::PP::true() : JSON::PP::false() }

# Perl has no booleans of its own, JSON has.
sub _booleans {
    my ($rule) = @_;
    my %do = %{ $rule->{do} // {} };
    for my $flag (qw(ignore_condition refuse_condition drop_etag)) {
        $do{$flag} = _boolean( $do{$flag} ) if exists $do{$flag};
    }
    if ( ref $do{region} ) {
        my %region = %{ $do{region} };
        $region{$_} = _boolean( $region{$_} ) for grep { exists $region{$_} } qw(header xml);
        $do{region} = \%region;
    }
    return { %$rule, do => \%do };
}

=head2 set_key $id, secret => $secret, token => $token, expires => $time

A further access key, in the place of the one with that id if there is one. With a token it is a temporary key, which
nobody knows without the token (403 C<InvalidAccessKeyId>; with another one 400 C<InvalidToken>) and nobody accepts from
C<expires> on (seconds since 1970; 400 C<ExpiredToken>).

=head2 drop_key $id

No such access key: 403 C<InvalidAccessKeyId>.

=head2 set_public $bucket, $is_public

Whether anyone may read the bucket's objects, as if its policy said so.

=cut

sub set_key {
    my ( $self, $id, %key ) = @_;
    my %line = ( key => $id, secret => delete $key{secret} );
    $line{token}   = delete $key{token}          if defined $key{token};
    $line{expires} = int( delete $key{expires} ) if defined $key{expires};
    return add_right( $self->file('rights'), \%line );
}

sub drop_key {
    my ( $self, $id ) = @_;
    return add_right( $self->file('rights'), { drop_key => $id } );
}

sub set_public {
    my ( $self, $bucket, $is_public ) = @_;
    return add_right( $self->file('rights'), { bucket => $bucket, public => _boolean($is_public) } );
}

=head1 FUNCTIONS

=head2 add_right $file, \%line

Adds a line to a server's file of rights, from whatever process.

=cut

sub add_right {
    my ( $file, $line ) = @_;
    sysopen my $handle, $file, O_WRONLY | O_APPEND | O_CREAT or Carp::croak("$file: $!");
    syswrite $handle, JSON::PP->new->utf8->canonical->encode($line) . "\n" or Carp::croak("$file: $!");
    close $handle or Carp::croak("$file: $!");
    return;
}

1;
