#!/usr/bin/perl
# What RT's page about external storage makes of what the commands have kept, and what it asks the database for that.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use RT::ExternalStorage::AmazonS3::Page::Record;
use RT::ExternalStorage::AmazonS3::Page::Settings;
use Rts3::Test::Browser::Page;
use Rts3::Test::File qw(slurp);
use Rts3::Test::RT;

my $page = Rts3::Test::Browser::Page->new( browser => 0 );
my $rt   = $page->rt;

# Health with these records: its level, and the texts of what is no "ok"
sub health {
    my ( $records, $more ) = @_;
    my $seen = $rt->call( <<'END', $records, $more // '' );
        require RT::ExternalStorage::AmazonS3::Page;
        my ( $records, $more ) = @_;
        for my $name ( qw(externalize internalize verify figures), 'verify whole', 'verify deep' ) {
            RT->System->DeleteAttribute("ExternalStorageS3 $name");
            my $record = $records->{$name} or next;
            my $ended  = time - ( delete $record->{age} // 0 );
            RT::ExternalStorage::AmazonS3::Records->Keep( $name, %$record );
            my $attribute = RT->System->FirstAttribute("ExternalStorageS3 $name");
            $attribute->SetContent( { %{ $attribute->Content }, ended => $ended, started => $ended - 1 } );
        }
        eval "$more; 1" or die $@;
        RT::ExternalStorage::AmazonS3::Page->new( RT->SystemUser )->Health;
        my $health = RT::ExternalStorage::AmazonS3::Page->new( RT->SystemUser )->Health;    # not only the first time
        return {
            level => $health->Level,
            text  => join( "\n", map { RT->SystemUser->loc( @{ $_->{text} } ) } grep { $_->{level} ne 'ok' } $health->Findings ),
            all   => join( "\n", map { $_->{command} // () } $health->Findings ),
        };
END
    return $seen;
}

sub shows {
    my ( $what, $seen, $level, @texts ) = @_;
    is( $seen->{level}, $level, "$what: $level" ) or diag $seen->{text};
    like( $seen->{text}, $_, "... $_" ) for @texts;
    return;
}

my $day  = 86_400;
my %fine = (
    externalize => { moved      => 3, failed  => 0, skipped => 1, bytes   => 3000 },
    verify      => { references => 3, digests => 3, missing => 0, damaged => 0 },
    figures     => { saved      => 0 },
);
my %stopped = ( stopped => 'stopped by SIGTERM' );

subtest 'the levels' => sub {
    my $seen = health( \%fine );
    shows( 'all is well', $seen, 'ok' );
    is( $seen->{text}, '', '... and nothing to be told' );
    shows( 'nothing ever ran', health( {} ), 'note', qr/Nobody has ever looked/, qr/never collected/ );
    shows( 'old figures', health( { %fine, figures => { age => 9 * $day } } ),
        'note', qr/figures on this page are old/ );
    shows(
        'an old verify',
        health( { %fine, verify => { age => 40 * $day } } ),
        'note', qr/All attachments were in the/
    );
    shows(
        'attachments that could not be moved',
        health( { %fine, externalize => { failed => 2 } } ),
        'warning', qr/could not move 2 attachments/
    );
    shows(
        'a run that was ended',
        health( { %fine, externalize => {%stopped} } ),
        'warning', qr/not come to its end/
    );
    shows(
        'missing', health( { %fine, verify => { missing => 1 } } ),
        'problem', qr/found 1 object missing or damaged/
    );
    shows( 'unreadable', health( { %fine, verify => { unreadable => 2 } } ), 'warning',
        qr/could not read 2 objects/ );
};

subtest 'what an earlier verify has found' => sub {
    my %whole = ( 'verify whole' => { missing => 2, age => 2 * $day } );
    shows(
        'the last one was ended',
        health( { %fine, %whole, verify => {%stopped} } ),
        'problem', qr/2 objects missing/
    );
    my %deep = ( 'verify deep' => { damaged => 3, deep => 1, age => 5 * $day } );
    my $seen = health( { %fine, %deep } );
    shows( 'the last one has not read them', $seen, 'problem', qr/3 objects missing or damaged/ );
    like( $seen->{all}, qr/verify --deep/, '... with the command that reads them' );
};

subtest 'what waits' => sub {
    my $make = sub {
        my ($days) = @_;
        return <<"END";
            Rts3::Test::RT::Inside::create_ticket( attachments => [ { name => 'a.bin', content => "\\0" x 2000 } ] )
                if !RT->SystemUser->FirstAttribute('made');
            RT->SystemUser->SetAttribute( Name => 'made', Content => 1 );
            \$RT::Handle->dbh->do(q{UPDATE Attachments SET Created = datetime( 'now', '-$days days' )});
END
    };
    my %never = ( %fine, externalize => undef );
    shows( 'since today',                     health( \%never, $make->(0) ), 'ok' );
    shows( 'for long, and nobody moves them', health( \%never, $make->(5) ), 'warning', qr/wait to be moved since/ );
    shows( 'for long, but a run leaves them', health( \%fine,  $make->(5) ), 'ok' );
};

subtest 'no storage, or another one' => sub {
    $rt->set_storage( %{ $page->{storage} }, Prefx => 'typo', Checksum => 'sometimes' );
    shows(
        'an option that stops writing',
        health( \%fine ),
        'warning', qr/has a mistake: RT may read attachments, and not move any/
    );
    {
        local $rt->{env} = { RTS3_LIBRARY => $rt->dir . '/none.so' };
        shows( 'no library', health( \%fine ), 'problem', qr/can't load the library/ );
    }
    $rt->set_storage( Type => 'amazons3' );
    shows( 'a type that RT does not know', health( \%fine ), 'problem', qr/can't use.*?type amazons3.*?shown empty/ );
    $rt->set_storage( Type => 'Disk', Path => $rt->dir );
    shows( 'files in a directory', health( {} ), 'note', qr/of the type Disk; this page is about AmazonS3 alone/ );
    $rt->set_storage;
    shows( 'none',          health( {} ),     'note',    qr/not configured, and there is no record/ );
    shows( 'none any more', health( \%fine ), 'problem', qr/not configured any more: they are shown empty/ );
    my %back = ( %fine, externalize => { moved => 3, age => $day } );
    shows( 'moved back', health( { %back, internalize => { moved => 3 } } ), 'note', qr/there is no record/ );
    $rt->set_storage( %{ $page->{storage} } );
};

subtest 'why the server is not reached' => sub {
    my $s3   = $page->s3;
    my %host = (
        name        => 'http://s3.nowhere.invalid',
        certificate => $s3->https,
        tls         => $s3->https_plain,
        network     => 'http://127.0.0.1:9'
    );
    my %storage = map { $_ => { %{ $page->{storage} }, Host => $host{$_} } } keys %host;
    $storage{proxy} = { %{ $page->{storage} }, Proxy => 'http://127.0.0.1:9' };
    my $said = $rt->call( <<'END', \%storage );
        require RT::ExternalStorage::AmazonS3::Page;
        my ( $storage, %said ) = @_;
        for my $cause ( keys %$storage ) {
            RT->System->ExternalStorage( RT::ExternalStorage::Backend->new( %{ $storage->{$cause} } ) );
            my ($worst) = RT::ExternalStorage::AmazonS3::Page->new( RT->SystemUser )->Health->Findings;
            $said{$cause} = join ' ', map { RT->SystemUser->loc( @{ $worst->{$_} } ) } qw(text advice);
        }
        return \%said;
END
    like( $said->{name}, qr/not known to the name service.*?Correct the option Host/, 'no such name' );
    like( $said->{certificate}, qr/does not trust.*?certificate is not valid.*?renew it.*?CAFile/,
        'its certificate' );
    like( $said->{tls},     qr/encrypted connection.*?begins with http:/,                    'no TLS there' );
    like( $said->{network}, qr/can't reach the server .*?, where.*?no firewall/,             'nobody answers' );
    like( $said->{proxy},   qr/can't reach the server .*? through the proxy.*?option Proxy/, 'nor the proxy' );
};

subtest 'growth' => sub {
    my @pictures = $rt->call(<<'END');
        require RT::ExternalStorage::AmazonS3::Page;
        my $page = RT::ExternalStorage::AmazonS3::Page->new( RT->SystemUser );
        my $part = { external => [ 1, 1000 ] };
        my $of   = sub { [ map { $_->[1] } $page->Growth( { ended => 1_795_000_000, months => { map { $_ => $part } @_ } } ) ] };
        return ( $of->('2026-01'), $of->( '2011-05', '2024-11', '2024-12', '2026-11' ), $of->() );
END
    is( scalar @{ $pictures[0] }, 1, 'one month: a picture by month' );
    is( scalar @{ $pictures[1] }, 2, 'fifteen years: one by month, and one by year' );
    like( $pictures[1][0], qr/<title>2024-12:.*?<title>2026-11:/, '... of two years' );
    unlike( $pictures[1][0], qr/2024-11/, '... and not more' );
    like( $pictures[1][1], qr/<title>2011:.*?<title>2026:/, '... and of all' );
    is_deeply( $pictures[2], [], 'nothing: none' );
};

subtest 'records that are not as they should be' => sub {
    my $sound = sub { RT::ExternalStorage::AmazonS3::Page::Record->Sound(@_) };
    is( $sound->( verify => $_ ), undef, 'no record' )
        for undef, 'text', [1], {}, { ended => 'today' }, { ended => [] }, { ended => 1e30 };
    my %finding = ( kind => [], digest  => 'd', references => [ 1, { id => 3, ticket => 'x' } ] );
    my %wrong   = ( host => {}, missing => 'x', deep => \1, other => 1, findings => [ 1, undef, \%finding ] );
    is_deeply(
        $sound->( verify => { %wrong, ended => 5, damaged => 2 } ),
        {
            ended    => 5,
            host     => '?',
            damaged  => 2,
            deep     => 1,
            findings => [ { digest => 'd', references => [ { id => 3 } ] } ]
        },
        'what is sound is left'
    );
    my %figures = ( external => [1], months => { a => 1, b => { database => [ 'x', 2 ] } } );
    is_deeply(
        $sound->( figures => { %figures, ended => 5, host => 'a' } ),
        { ended => 5, host => 'a', months => { b => { database => [ undef, 2 ] } } },
        '... of figures, too'
    );
};

# By SQLite's own account of how it would answer
subtest 'no question reads a whole table' => sub {
    my $plans = $rt->call( <<'END');
        require RT::ExternalStorage::AmazonS3::Page;
        require RT::ExternalStorage::AmazonS3::Page::Attachment;
        my ( %plan, @asked );
        no warnings 'redefine';
        for my $name (qw(Select Row)) {
            my $original = RT::ExternalStorage::AmazonS3::Tool::Database->can($name);
            no strict 'refs';
            *{"RT::ExternalStorage::AmazonS3::Tool::Database::$name"} = sub { push @asked, [ @_[ 1 .. $#_ ] ]; goto &$original };
        }
        my $page = RT::ExternalStorage::AmazonS3::Page->new( RT->SystemUser );
        $page->Health;
        RT::ExternalStorage::AmazonS3::Page::Attachment->Find( $page, @$_ ) for [ ticket => 1 ], [ attachment => 1 ], [ value => 1 ];
        $page->Rows->Digest( A => 1 );
        for my $asked (@asked) {
            my ( $query, @values ) = @$asked;
            my $rows = $RT::Handle->dbh->selectall_arrayref( "EXPLAIN QUERY PLAN $query", {}, @values );
            $plan{$query} = join '; ', map { $_->[-1] } @$rows;
        }
        return \%plan;
END
    cmp_ok( scalar keys %$plans, '>=', 8, 'questions' );
    for my $query ( sort keys %$plans ) {
        unlike( $plans->{$query}, qr/\bSCAN (?!CustomFields\b)/, $query );
    }
};

subtest 'the defaults are those of the library' => sub {
    my $source  = slurp("$Rts3::Test::RT::Root/src/config/options.rs");
    my ($list)  = $source =~ /pub const OPTIONS[^=]*= \[(.*?)\];/s;
    my %library = $list =~ /(?:option|written)\("(\w+)", "([^"]*)"\)/g;
    $library{$_} = '' for $list =~ /secret\("(\w+)"\)/g;
    is_deeply( { RT::ExternalStorage::AmazonS3::Page::Settings->Defaults }, \%library, 'all of them' );
};

done_testing;
