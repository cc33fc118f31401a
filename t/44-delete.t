#!/usr/bin/perl
# Delete, as RT 5.0.8's shredder calls it: within its transaction, for rows that it has just deleted there. RT 5.0.3 has
# no such caller, so a stand-in does what that one does; the rest is a real RT.
use strict;
use warnings;

use Fcntl      qw(:flock);
use File::Copy ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Needs qw(needs_rt needs_s3);

my $s3 = needs_s3;
my $rt = needs_rt(
    storage => {
        Type   => 'AmazonS3',
        Bucket => 'att',
        $s3->options,
        Retries => 0,
    },
);
$rt->create_custom_field( 'Scan', 'Binary' );

# A script of RT's whose lock is ours alone, whatever else runs on this machine
my $sbin = $rt->dir . '/sbin';
mkdir $sbin                                                                                        or die $!;
File::Copy::copy( '/usr/sbin/rt-externalize-attachments-5', "$sbin/rt-externalize-attachments-5" ) or die $!;
chmod 0755, "$sbin/rt-externalize-attachments-5" or die $!;

# What runs in RT's process before each piece of code
my $setup = <<"END" . <<'END';
    \$RT::SbinPath = \$RT::BasePath = '$sbin';
END
    my ( $key, $id, $field ) = @_;
    my $storage = RT->System->ExternalStorage;
    my $shred   = sub {
        my $row = $field ? RT::ObjectCustomFieldValue->new( RT->SystemUser ) : RT::Attachment->new( RT->SystemUser );
        $row->Load( $field || $id );
        my $digest = $row->ExternalStoreDigest;
        $RT::Handle->dbh->do( 'DELETE FROM ' . $row->Table . ' WHERE id = ?', undef, $row->id );
        return $storage->Delete($digest);
    };
END

# Tickets with external attachments, made at once: what is named in %kinds, so many times
my %kinds = ( plain => 7, second => 1, field => 2 );
my %ready = %{ $rt->call( <<'END', \%kinds ) };
    my ($kinds) = @_;
    my ( %ready, $count );
    for my $kind ( sort keys %$kinds ) {
        for ( 1 .. $kinds->{$kind} ) {
            my $content = 'content ' . ++$count;
            my $file    = { name => 'a.bin', content => $content };
            my @fields  = $kind eq 'field' ? ( fields => { Scan => $file } ) : ();
            Rts3::Test::RT::Inside::create_ticket( attachments => [$file], @fields );
            Rts3::Test::RT::Inside::create_ticket( attachments => [$file] ) if $kind eq 'second';
            push @{ $ready{$kind} }, $content;
        }
    }
    return \%ready;
END
my $run = $rt->_run("$sbin/rt-externalize-attachments-5");
is( $run->{exit}, 0, "RT's externalizer" ) or die $run->{err};

# One of them: the object's key, the attachment's id and the custom field value's
sub prepare {
    my ($kind)  = @_;
    my $content = shift @{ $ready{ $kind // 'plain' } } // die 'no more of these';
    my ($key)   = grep { $s3->content( 'att', $_ ) eq $content } $s3->objects('att');
    my ($row)   = grep { $_->{Content} eq $key } $rt->attachment_rows;
    my ($field) = grep { $_->{LargeContent} eq $key } $rt->field_value_rows;
    $rt->clear_log;
    return ( $key, $row->{id}, $field ? $field->{id} : () );
}

sub here { my ($key) = @_; return defined $s3->content( 'att', $key ) ? 1 : 0 }

sub during {
    my ( $code, $key, @more ) = @_;
    my @answer = $rt->call( "$setup $code", $key, @more );
    return @answer;
}

# ---- committed

my ( $key, $id ) = prepare();
my $answer = $rt->call( $setup . <<'END', $key, $id );
    $RT::Handle->BeginTransaction;
    my @deleted = $shred->();
    my $inside  = $storage->Get($key);
    $RT::Handle->Commit;
    my $after = $storage->Get($key);
    return [ \@deleted, $inside, $after ];
END
is_deeply( $answer->[0], [$key], 'within a transaction: a success' );
ok( defined $answer->[1], '... the object is still there' );
is( $answer->[2], undef, '... and after the commit our next call deletes it' );
is( here($key),   0,     '... really' );

( $key, $id ) = prepare();
during( '$RT::Handle->BeginTransaction; $shred->(); $RT::Handle->Commit; return 1', $key, $id );
is( here($key), 0, 'committed, and no further call: deleted at the end of the process' );

( $key, $id ) = prepare();
during( '$RT::Handle->dbh->begin_work; $shred->(); $RT::Handle->dbh->commit; return 1', $key, $id );
is( here($key), 0, "a transaction begun on the connection itself, as RT's scripts do" );

( $key, $id ) = prepare();
is_deeply( [ during( 'my @d = $shred->(); return @d', $key, $id ) ], [$key],
    'outside of any transaction: a success' );
is( here($key), 0, '... at once' );

( $key, $id ) = prepare();
during( <<'END', $key, $id );
    require RT::Interface::Web::Handler;
    $RT::Handle->BeginTransaction;
    $shred->();
    $RT::Handle->Commit;
    RT::Interface::Web::Handler->CleanupRequest;
    POSIX::_exit(0) if RT::ExternalStorage::AmazonS3::Deletion->Pending;
    return 1;
END
is( here($key), 0, 'a web request: deleted when it ends' );

# ---- not committed

( $key, $id ) = prepare();
during( '$RT::Handle->BeginTransaction; $shred->(); $RT::Handle->Rollback; $storage->Get("x"); return 1', $key, $id );
is( here($key),                    1,                           'rolled back: the object is there' );
is( $rt->attachment($id)->{bytes}, $s3->content( 'att', $key ), '... and RT reads it' );

during( '$RT::Handle->BeginTransaction; $shred->(); return 1', $key, $id );
is( here($key),                    1, 'the process ends within the transaction: the object is there' );
is( $rt->attachment($id)->{bytes}, $s3->content( 'att', $key ), '... and RT reads it' );

during( <<'END', $key, $id );
    require RT::Interface::Web::Handler;
    $RT::Handle->BeginTransaction;
    $shred->();
    RT::Interface::Web::Handler->CleanupRequest;
    return 1;
END
is( here($key), 1, 'a web request that ends within the transaction: RT rolls back, the object is there' );

during( <<'END', $key, $id );
    $RT::Handle->BeginTransaction;
    $shred->();
    my $pid = fork // die $!;
    if ( !$pid ) {
        $RT::Handle->dbh->{InactiveDestroy} = 1;
        $RT::Handle->{dbh} = undef;
        exit 0;
    }
    waitpid $pid, 0;
    $RT::Handle->Rollback;
    return 1;
END
is( here($key), 1, 'a child that ends deletes nothing of its parent' );

# ---- still referred to

( $key, $id ) = prepare('second');
is( ( during( '$RT::Handle->BeginTransaction; my @d = $shred->(); $RT::Handle->Commit; return @d', $key, $id ) )[0],
    $key, 'another attachment has the same content: a success' );
is( here($key), 1, '... and the object is kept' );
like( $rt->log_text, qr/\[info\].*kept $key: another attachment or custom field value/, '... which is logged' );

my $field;
( $key, $id, $field ) = prepare('field');
during( '$RT::Handle->BeginTransaction; $field = 0; $shred->(); $RT::Handle->Commit; return 1', $key, $id );
is( here($key),                        1, 'a custom field value has the same content: kept' );
is( $rt->field_value($field)->{bytes}, $s3->content( 'att', $key ), '... and RT reads it' );
during( '$RT::Handle->BeginTransaction; $shred->(); $RT::Handle->Commit; return 1', $key, $id, $field );
is( here($key), 0, '... until that goes, too' );

( $key, $id, $field ) = prepare('field');
during( '$RT::Handle->BeginTransaction; $shred->(); $RT::Handle->Commit; return 1', $key, $id, $field );
is( here($key), 1, 'a custom field value is shredded, an attachment remains: kept' );
$rt->dbh->do( 'UPDATE Attachments SET ContentEncoding = ? WHERE id = ?', undef, 'none', $id );
during( 'return $storage->Delete($key)', $key, $id );
is( here($key), 0, 'a row that is not external, with the digest as its text, does not count' );

# ---- what is doubtful stays

( $key, $id ) = prepare();
for my $begin ( '', '$RT::Handle->BeginTransaction; $commit = 1;' ) {
    my @deleted = during( "my \$commit; $begin" . <<'END', $key, $id );
        my @deleted = $storage->Delete($key);
        $RT::Handle->Commit if $commit;
        no warnings 'redefine';
        my $dbh  = $RT::Handle->dbh;
        my $name = 'RT::Handle';
        *DBI::db::selectall_arrayref = sub { die "DBD::SQLite: disk I/O error\n" };
        @deleted = $storage->Delete($key) if !$commit;
        $storage->Get('x');
        return @deleted;
END
    is( $deleted[0], $key, 'the database gives no answer: a success' );
    is( here($key),  1,    '... and the object is kept' );
}
{
    $rt->clear_log;
    ## no critic (RequireBriefOpen) the lock is held for a while
    open my $script, '<', "$sbin/rt-externalize-attachments-5" or die $!;
    flock $script, LOCK_EX or die $!;
    $rt->dbh->do( 'UPDATE Attachments SET ContentEncoding = ? WHERE id = ?', undef, 'none', $id );
    is( ( during( 'return $storage->Delete($key)', $key ) )[0], $key, "RT's externalizer is at work: a success" );
    is( here($key),                                             1,    '... and the object is kept' );
    like(
        $rt->log_text,
        qr/\[warning\].*not deleted, because RT's externalizer is at work.*$key/,
        '... which is logged'
    );
    close $script or die $!;
}
is( ( during( '$RT::SbinPath = "/nowhere"; $RT::BasePath = "/nowhere"; return $storage->Delete($key)', $key ) )[0],
    $key, "no externalizer is found: a success" );
is( here($key), 1, '... and the object is kept' );
my @found =
    $rt->call('require RT::ExternalStorage::AmazonS3::Lock; return RT::ExternalStorage::AmazonS3::Lock::_Scripts()');
my $own = ( stat $rt->release->program('rt-externalize-attachments') )[1];
is( scalar( grep { ( stat $_ )[1] == $own } @found ), 1, "RT's own is found where Debian has it, once" );

# ---- the server refuses

$s3->stop;
my @refused = during( 'return $storage->Delete($key)', $key );
is( $refused[0], undef, 'server down: undef' );
like( $refused[1], qr/^[^\n]*$key[^\n]*\z/, "... and a message of one line" );
$rt->clear_log;
is(
    (
        during(
            '$RT::Handle->BeginTransaction; my @d = $storage->Delete($key); $RT::Handle->Commit; return @d', $key
        )
    )[0],
    $key,
    '... within a transaction: a success'
);
like( $rt->log_text, qr/\[error\].*Cannot delete from external storage: .*$key/, '... and the log says what stays' );
$s3->restart;
is( here($key),                                             1,    'an orphan, not a loss' );
is( ( during( 'return $storage->Delete($key)', $key ) )[0], $key, 'once more' );
is( here($key),                                             0,    '... gone' );
is( ( during( 'return $storage->Delete($key)', $key ) )[0], $key, 'deleting what is not there is a success' );
done_testing;
