#!/usr/bin/perl
# RT's own shredder, with what RT 5.0.8 and 6.0 do with external files (Rts3::Test::RT::NewerShredder): what is shared
# stays, what is rolled back stays, what somebody is about to point to stays.
use strict;
use warnings;

use Fcntl      qw(:flock);
use File::Copy ();
use FindBin;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs_rt needs_s3);
use Rts3::Test::Process;

my $s3      = needs_s3;
my %storage = ( Type => 'AmazonS3', Bucket => 'att', $s3->options );
my $rt      = needs_rt( storage => { %storage, Retries => 0, Deadline => 3, ReadTimeout => 60 } );
mkdir $rt->dir . "/var/$_" or die $! for 'data', 'data/RT-Shredder';
$rt->create_custom_field( 'Scan', 'Binary' );

# A script of RT's whose lock is ours alone, whatever else runs on this machine
my $sbin   = $rt->dir . '/sbin';
my $script = "$sbin/rt-externalize-attachments-5";
mkdir $sbin                                                                      or die $!;
File::Copy::copy( $rt->release->program('rt-externalize-attachments'), $script ) or die $!;
chmod 0755, $script or die $!;

my $setup = <<"END";
    use Rts3::Test::RT::NewerShredder;
    \$RT::SbinPath = \$RT::BasePath = '$sbin';
    sub shred { return Rts3::Test::RT::NewerShredder::shred(\@_) }
END
sub inside { my ( $code, @args ) = @_; return scalar $rt->call( "$setup $code", @args ) }

my $count = 0;

# Tickets with this content, in an attachment or a custom field value ('field'), not moved yet
sub tickets {
    my ( $content, @kinds ) = @_;
    return @{ $rt->call( <<'END', $content, @kinds ) };
        my ( $content, @kinds ) = @_;
        my $file = { name => 'a.bin', content => $content };
        return [ map { Rts3::Test::RT::Inside::create_ticket( $_ eq 'field' ? ( fields => { Scan => $file } ) : ( attachments => [$file] ) )->{id} } @kinds ];
END
}

# The same, moved into S3: the object's key and the ids of the rows
sub external {
    my (@kinds) = @_;
    my $content = 'content ' . ++$count;
    tickets( $content, @kinds );

    # SQLite gives the id of a shredded row again, which is below RT's mark then
    $rt->dbh->do(q{DELETE FROM Attributes WHERE Name = 'ExternalStorage'});
    my $run = $rt->_run($script);
    is( $run->{exit}, 0, "RT's externalizer" ) or diag $run->{err};
    my ($key) = grep { $s3->content( 'att', $_ ) eq $content } $s3->objects('att');
    my %ids = (
        attachment => [ map { $_->{id} } grep { $_->{Content} eq $key } $rt->attachment_rows ],
        field      => [ map { $_->{id} } grep { $_->{LargeContent} eq $key } $rt->field_value_rows ],
    );
    $rt->clear_log;
    return ( $key, $content, map { shift @{ $ids{$_} } } @kinds );
}

sub here { my ($key) = @_; return defined $s3->content( 'att', $key ) ? 1 : 0 }
my ( $attachment, $value ) = ( 'RT::Attachment', 'RT::ObjectCustomFieldValue' );

# ---- RT 5.0.3's own shredder knows nothing of external files

{
    my ( $key, $content, $shredded, $stays ) = external(qw(attachment attachment));
    my ($ticket) = $rt->dbh->selectrow_array(
        'SELECT t.ObjectId FROM Attachments a JOIN Transactions t ON t.id = a.TransactionId WHERE a.id = ?',
        undef, $shredded );
    my ( $exit, $out, $err ) = $rt->run_script( 'rt-shredder', '--force', '--sqldump', $rt->dir . '/dump.sql',
        '--plugin', "Objects=Ticket,$ticket" );
    is( $exit, 0, "RT's own rt-shredder, unchanged" ) or diag "$out$err";
    ok( !( grep { $_->{id} == $shredded } $rt->attachment_rows ), '... shreds the ticket' );
    is( here($key),                       1,        '... and the object stays' );
    is( $rt->attachment($stays)->{bytes}, $content, '... for the ticket that shares it' );
}

# ---- one content, an attachment and a custom field value

for my $order ( [qw(attachment field)], [qw(field attachment)] ) {
    my ( $key, $content, $first, $second ) = external(@$order);
    my @class = map { $_ eq 'field' ? $value : $attachment } @$order;
    my $name  = "shared, $order->[0] first";
    inside( 'shred(@_); return 1', $class[0], $first );
    is( here($key), 1, "$name: the object is kept" );
    my $left = $order->[1] eq 'field' ? $rt->field_value($second) : $rt->attachment($second);
    is( $left->{bytes},    $content,   '... RT reads the other one' );
    is( $left->{encoding}, 'external', '... from S3' );
    inside( 'shred(@_); return 1', $class[1], $second );
    is( here($key), 0, "$name, then the other: the object is gone" );
}
{
    my ( $key, undef, $first, $second ) = external(qw(attachment field));
    inside( 'shred( @$_ ) for @_; return 1', [ $attachment, $first ], [ $value, $second ] );
    is( here($key), 0, 'shared, both in one process: gone' );
    my @complaints = grep { /\[(?:error|warning|critical)\].*storage/i && !/begins with http:/ } split /\n/,
        $rt->log_text;
    is( "@complaints", '', '... with nothing to complain of' );
}

# ---- transactions

{
    my ( $key, $content, $id ) = external('attachment');
    my $error = inside( <<'END', $attachment, $id );
        my $wipeout = \&RT::Record::__Wipeout;
        no warnings 'redefine';
        *RT::Record::__Wipeout = sub { die "the database has died\n" };
        eval { shred(@_); 1 } and return 'no error';
        my $error = $@;
        *RT::Record::__Wipeout = $wipeout;
        RT->System->ExternalStorage->Get( 'a' x 64 );    # our next call
        return $error;
END
    like( $error, qr/the database has died/, 'the shredder fails and rolls back' );
    is( here($key), 1, '... the object is kept' );
    my $got = $rt->attachment($id);
    is( $got->{bytes},    $content,   '... RT reads it' );
    is( $got->{encoding}, 'external', '... from S3' );
    inside( 'shred(@_); return 1', $attachment, $id );
    is( here($key), 0, '... and once more, committed: the object is gone' );
}

# ---- S3 stops

{
    my @three = map { [ external('attachment') ] } 1 .. 3;
    my $left  = inside( <<'END', $s3->pid, $attachment, map { $_->[2] } @three );
        my ( $server, $class, $first, @others ) = @_;
        shred( $class, $first );
        kill KILL => $server;
        shred( $class, $_ ) for @others;
        return 1;
END
    ok( $left, 'three are shredded, S3 stops after the first: the shredder goes on, as RT wants it' );
    my $log = $rt->log_text;
    like( $log, qr/\[error\].*Cannot delete from external storage: .*$three[0][0]/, '... the log says what stays' );
    like( $log, qr/\[error\].*Could not get content of $_->[0]/,                    '... and what could not be read' )
        for @three[ 1, 2 ];
    $s3->restart;
    is( here( $_->[0] ), 1, '... nothing of it was lost: the object is there' ) for @three;
}

# With the server down nothing but content counts as content: the message of the failure is none
{
    my ( $key, undef, $id ) = external('attachment');
    $s3->stop;
    my $answer = inside( 'my ($key) = @_; my $got = RT->System->ExternalStorage->Get($key); return [$got]', $key );
    is_deeply( $answer, [undef], "S3 is down: Get in the shredder's scalar context is undef" );
    $s3->restart;
}

# ---- RT's externalizer is about to point to the same object

{
    my ( $key, $content, $id ) = external('attachment');
    tickets( $content, 'attachment' );
    $rt->dbh->do(q{DELETE FROM Attributes WHERE Name = 'ExternalStorage'});

    # As long as S3 asks it to slow down it is within Store: it has the lock, and no transaction
    $rt->set_storage( %storage, Retries => 20, Deadline => 300 );
    $s3->faults(
        { operation => 'PutObject', key => $key, do => { answer => { status => 503, code => 'SlowDown' } } } );
    $s3->clear_log;
    my $errors = $rt->dir . '/log/externalizer.err';
    my $turn   = $rt->externalizers_turn;
    my $pid    = Rts3::Test::Process::spawn(
        command => [$script],
        env     => { $rt->environment },
        out     => '/dev/null',
        err     => $errors,
    );
    my $end = time + 60;
    sleep 0.05 while time < $end && !$s3->requests( operation => 'PutObject' );
    ok( _is_locked(), "RT's externalizer is at work on the same content" );
    inside( 'shred(@_); return 1', $attachment, $id );
    ok( _is_locked(), '... and still is when the other attachment has been shredded' );
    is( here($key), 1, '... the object is kept' );
    $s3->faults;
    ok( Rts3::Test::Process::wait_for( $pid, 60 ), '... the externalizer ends' );
    undef $turn;
    is( $?, 0, '... well' ) or diag slurp($errors), $rt->log_text;
    is( here($key), 1, '... the object is still there' );
    like(
        $rt->log_text,
        qr/\[warning\].*not deleted, because RT's externalizer is at work.*$key/,
        '... as the log says'
    );
    my ($row) = grep { ( $_->{Content} // '' ) eq $key } $rt->attachment_rows;
    is( $row->{ContentEncoding},                'external', "... and RT's row points to it" );
    is( $rt->attachment( $row->{id} )->{bytes}, $content,   '... and RT reads it' );
}

sub _is_locked {
    open my $file, '<', $script or die "$script: $!";
    my $free = flock $file, LOCK_SH | LOCK_NB;
    close $file or die "$script: $!";
    return !$free;
}

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);
done_testing;
