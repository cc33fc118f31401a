#!/usr/bin/perl
# What RT's page about external storage asks, on PostgreSQL and MariaDB.
use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::DatabaseServer ();
use Rts3::Test::Needs          qw(needs needs_library needs_rt needs_s3);

needs_library;
needs( Rts3::Test::DatabaseServer->missing($_) ) for qw(Pg mysql);
my $s3 = needs_s3;

for my $type (qw(Pg mysql)) {
    subtest $type => sub {
        my $server  = Rts3::Test::DatabaseServer->start($type);
        my $bucket  = lc "page-$type";
        my %storage = ( Type => 'AmazonS3', Bucket => $bucket, $s3->options );
        my $rt      = needs_rt( storage => \%storage, config => $server->config );
        $s3->make_bucket($bucket);
        my $name   = "Gr\x{fc}\x{df}e \x{1f512}.bin";
        my $ticket = $rt->call( <<'END', $name );
            my $name = shift;
            Rts3::Test::RT::Inside::create_custom_field( 'Contract', 'Binary' );
            my $merged = Rts3::Test::RT::Inside::create_ticket( attachments => [ { name => 'm.bin', content => 'm' x 30_000 } ] );
            my $ticket = Rts3::Test::RT::Inside::create_ticket(
                attachments => [ map { { name => $_, content => "\0" x 30_000 . length } } 'a.bin', $name ],
                fields      => { Contract => { name => 'value', content => "\0\xff" x 30_000 } },
            );
            my $other = RT::Ticket->new( RT->SystemUser );
            $other->Load( $merged->{id} );
            my ( $ok, $why ) = $other->MergeInto( $ticket->{id} );
            die $why if !$ok;
            return { %$ticket, merged => $merged->{id} };
END
        my $look = <<'END';
            require RT::ExternalStorage::AmazonS3::Page;
            require RT::ExternalStorage::AmazonS3::Page::Attachment;
            my $find = 'RT::ExternalStorage::AmazonS3::Page::Attachment';
            my $page = RT::ExternalStorage::AmazonS3::Page->new( RT->SystemUser );
            my $list = $find->Find( $page, ticket => $_[0] );
            my ($value) = grep { $_->{sign} eq 'V' } @{ $list->{list} };
            my ($file)  = grep { $_->{sign} eq 'A' && $_->{external} } @{ $list->{list} };
            return {
                list    => $list->{list},
                waiting => $page->Rows->Waiting,
                samples => [ $page->Rows->Samples(3) ],
                level   => $page->Health->Level,
                one     => $find->Find( $page, value => $value->{id} )->{one},
                seen    => $file ? $find->Look( $page, $file ) : undef,
                absent  => $find->Find( $page, attachment => 4711 ),
            };
END
        my $seen = $rt->call( $look, $ticket->{id} );
        cmp_ok( $seen->{waiting}{count},               '>=', 3,   'what waits' );
        cmp_ok( abs( time - $seen->{waiting}{since} ), '<',  300, '... since when' );
        is_deeply( $seen->{samples}, [], 'nothing is external yet' );
        my ($exit) = $rt->run_tool('externalize');
        is( $exit, 0, 'rt-s3 externalize' );

        $seen = $rt->call( $look, $ticket->{id} );
        is( $seen->{waiting}{count},                              0, '... leaves nothing to be looked at' );
        is( scalar @{ $seen->{samples} },                         3, 'digests' );
        is( scalar( grep { $_->{external} } @{ $seen->{list} } ), 4, 'what the ticket has, with one merged into it' );
        is( scalar( grep { ( $_->{file_name} // '' ) eq $name } @{ $seen->{list} } ), 1, '... with its name' );
        is_deeply( [ @{ $seen->{one} }{qw(field ticket)} ], [ 'Contract', $ticket->{id} ], 'a value' );
        is( $seen->{seen}{state}, 'ok', 'the object is looked at' );
        cmp_ok( abs( time - $seen->{seen}{since} ), '<', 300, '... which is there since then' );
        is( $seen->{absent}{error}[0], 'There is no attachment [_1].', 'what is not there' );
        unlike( $rt->log_text, qr/The page about external storage/, 'no question has failed' );
    };
}
done_testing;
