package Rts3::Test::FaultMatrix::Breaks;

use strict;
use warnings;

=head1 NAME

Rts3::Test::FaultMatrix::Breaks - the faults that are silence, breaks, slowness, damage and lies

=head1 FUNCTIONS

=head2 faults

The list of faults; L<Rts3::Test::FaultMatrix> says what stands in each.

=cut

my %How   = ( stall => 'silence', reset => 'reset (RST)', close => 'closed (FIN)' );
my %Where = (
    'upload'   => [ 'before the upload is read',            'upload', 0 ],
    'within'   => [ 'within the upload',                    'upload', 4000 ],
    'received' => [ 'after the request, nothing is done',   'received' ],
    'answered' => [ 'after all is done, before the answer', 'answered' ],
    'line'     => [ 'within the head of the answer',        'head', 20 ],
    'body'     => [ 'within the body of the answer',        'body', 4000 ],
);

# As well as can be, at the second attempt, and where the first one was carried out already
my $FIRST  = 'ok/1 ok/2 ok/2 ok/1 ok/1 ok/1 ok/1';
my $SECOND = 'ok/2 ok/3 ok/3 ok/2 ok/2 ok/2 ok/2';
my $DONE   = 'ok/3 ok/4 ok/3 ok/2 ok/2 ok/2 ok/2';

# Once, and always
my %Expect = (
    stall => {
        received => [ $SECOND, 'timeout! timeout timeout! timeout! timeout! timeout! timeout!' ],
        answered => [ $DONE,   'timeout!+whole timeout+whole timeout! timeout! timeout! timeout!+nothing timeout!' ],
        line     => [ $DONE,   'timeout!+whole timeout+whole timeout! timeout! timeout! timeout!+nothing timeout!' ],
        upload   => [ 'ok/2 ok/3 ok/3 - - - -',    'timeout! timeout timeout! - - - -' ],
        within   => [ 'ok/2 ok/3 - - - - -',       'timeout timeout - - - - -' ],
        body     => [ '- - ok/3~ ok/2~ ok/2~ - -', '- - ok/4~ ok/3~ timeout~ - -' ],
    },
    reset => {
        received => [ $SECOND, 'network/3! network/5 network/3! network/3! network/3! network/3! network/3!' ],
        answered => [
            $DONE, 'network/3!+whole network/5+whole network/3! network/3! network/3! network/3!+nothing network/3!'
        ],
        line => [
            $DONE, 'network/3!+whole network/5+whole network/3! network/3! network/3! network/3!+nothing network/3!'
        ],
        upload => [ 'ok/2 ok/3 ok/3 - - - -',    'network/3! network/5 network/3! - - - -' ],
        within => [ 'ok/2 ok/3 - - - - -',       'network/3 network/5 - - - - -' ],
        body   => [ '- - ok/3~ ok/2~ ok/2~ - -', '- - ok/4~ ok/3~ network/3~ - -' ],
    },
);
$Expect{close} = $Expect{reset};

sub faults { return ( _breaks(), _kept(), _slow(), _damage(), _lies() ) }

sub _breaks {
    my @faults;
    for my $how (qw(stall reset close)) {
        for my $where (qw(received answered line upload within body)) {
            my ( $words, $at, $after ) = @{ $Where{$where} };
            my ( $once, $always ) = @{ $Expect{$how}{$where} };
            my $do    = { $how => { at => $at, defined $after ? ( after => $after ) : () } };
            my %fault = ( do => $do, reads => $where eq 'body', waits => $how eq 'stall' );
            my $name  = "$How{$how} $words";
            push @faults, { %fault, name => "$name, once", once => 1, expect => $once },
                { %fault, name => "$name, always", loose => $how eq 'stall', expect => $always };
        }
    }
    return (
        @faults,
        {
            name   => 'silence, for this object only',
            do     => { stall => { at => 'received' } },
            one    => 1,
            loose  => 1,
            waits  => 1,
            stays  => 1,
            expect => 'timeout timeout timeout timeout timeout timeout timeout',
        }
    );
}

# Kept-alive connections: the first request of each cell is another one
sub _kept {
    my @kept = (
        [ 'closed (FIN) while it was idle',         { close_ms => 0 },                    1, $FIRST ],
        [ 'reset (RST) while it was idle',          { reset_ms => 0 },                    1, $FIRST ],
        [ 'closed (FIN) as the next request comes', { close    => { at => 'received' } }, 2, $SECOND ],
        [ 'reset (RST) as the next request comes',  { reset    => { at => 'received' } }, 2, $SECOND ],
    );
    return map {
        my ( $name, $do, $nth, $expect ) = @$_;
        {
            name    => "a kept connection is $name; Retries => 0",
            do      => $do,
            nth     => [$nth],
            prime   => 1,
            options => { Retries => 0 },
            expect  => $expect,
        }
    } @kept;
}

sub _slow {

    # What the other side has received, but not read, does not move here: so much longer it may be silent
    my %patient = ( slow => 1, options => { ReadTimeout => 2 } );
    return (
        {
            name   => 'the answer: one byte per second',
            do     => { rate => 1 },
            reads  => 1,
            loose  => 1,
            waits  => 1,
            expect => '- - timeout~ timeout~ timeout~ - -'
        },
        {
            name     => 'the upload: one byte per second',
            do       => { upload_rate => 1 },
            loose    => 1,
            waits    => 1,
            unlogged => 'store-large',
            expect   => 'timeout timeout - - - - -'
        },
        {
            name  => 'the answer: 500 kB/s; ReadTimeout => 2',
            do    => { rate => 500_000 },
            reads => 1,
            %patient,
            expect => '- - ok/2 ok/1 ok/1 - -'
        },
        {
            name => 'the upload: 500 kB/s; ReadTimeout => 2',
            do   => { upload_rate => 500_000 },
            %patient,
            expect => 'ok/1 ok/2 - - - - -'
        },
    );
}

sub _damage {
    my $answer = { flip => { at => 'body',   offset => 5000 } };
    my $upload = { flip => { at => 'upload', offset => 5000 } };
    return (
        {
            name   => 'one byte of the answer changed, once',
            do     => $answer,
            reads  => 1,
            once   => 1,
            expect => '- - ok/3 ok/2 ok/2 - -'
        },
        {
            name   => 'one byte of the answer changed, always',
            do     => $answer,
            reads  => 1,
            expect => '- - ok/4 corrupt/2 corrupt/2 - -'
        },
        { name => 'one byte of the upload changed, once', do => $upload, once => 1, expect => 'ok/2 ok/3 - - - - -' },
        {
            name   => 'one byte of the upload changed, always',
            do     => $upload,
            expect => 'network/3 network/4 - - - - -'
        },
    );
}

# After the call, Get is asked, and Store once more, when the server is honest again
sub _lies {
    my @lies = (
        [ 'success is said, nothing is kept',  'nothing', 'not-found', 'ok/1+nothing ok/2+nothing - - - - -' ],
        [ 'success is said, the half is kept', { bytes => 5000 }, 'corrupt', 'ok/1+damaged ok/2+damaged - - - - -' ],
        [ 'success is said, no byte is kept',  { bytes => 0 },    'corrupt', 'ok/1+damaged ok/2+damaged - - - - -' ],
        [
            'success is said, a byte is kept changed',
            { flip => 5000 },
            'corrupt',
            'ok/1+damaged ok/2+damaged - - - - -'
        ],
    );
    return map {
        my ( $name, $keep, $then, $expect ) = @$_;
        { name => $name, do => { keep => $keep }, once => 1, then => $then, expect => $expect }
    } @lies;
}

1;
