#!/usr/bin/perl
# docs/getting-started.md and docs/operating.md are carried out from the first line to the last, word for word but for keys, host
# and paths, on an RT whose attachments are in its database: what they say is then so.
use strict;
use warnings;

use File::Path qw(make_path);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::Documents qw(blocks);
use Rts3::Test::File      qw(slurp spew);
use Rts3::Test::Needs     qw(needs needs_rt needs_s3);
use Rts3::Test::Process;

needs('a test for root') if $> != 0;
my $root = "$FindBin::Bin/..";
my $s3   = needs_s3;
my $rt   = needs_rt();
my $dir  = $rt->dir;
my %own  = ( $s3->options, Host => $s3->https, CAFile => $s3->ca );

# Where a user has it, and where it is here
my %place = (
    '/etc/request-tracker5/RT_SiteConfig.d' => "$dir/site.d",
    '/root/'                                => "$dir/home/",
    '/usr/local/sbin/'                      => "$dir/bin/",
    '/var/tmp/'                             => "$dir/var/",
);

sub here {
    my ($text) = @_;
    my $places = join '|', map {quotemeta} sort keys %place;
    return $text =~ s/($places)/$place{$1}/gr;
}

# With what is the reader's own put before it, which counts where RT finds an option twice
sub with_own {
    my ( $text, %more ) = @_;
    my %all = ( %own, %more );
    return 'Set(%ExternalStorage, ' . join( ', ', map {"$_ => '$all{$_}'"} sort keys %all ) . ");\n$text";
}

# rt-s3 as if it were installed
make_path("$dir/bin");
spew( "$dir/bin/rt-s3", "#!/bin/sh\nexec " . join( ' ', map {"'$_'"} $rt->tool ) . qq( "\$@"\n) );
chmod oct 755, "$dir/bin/rt-s3" or die $!;

sub shell {
    my (@command) = @_;
    my $turn      = "@command" =~ m{\b(?:externalize|internalize|migrate)\b} ? $rt->externalizers_turn : undef;
    my $run       = Rts3::Test::Process::run(
        command => \@command,
        env     => { $rt->environment, PATH => "$dir/bin:/usr/sbin:/usr/bin:/sbin:/bin" }
    );
    return @{$run}{qw(exit out err)};
}

# Installing and serving RT are tried elsewhere, on machines of their own; here, that README says the same
my $readme    = slurp("$root/README.md");
my $as_readme = sub { $readme =~ /^    \Q$_[0]\E$/m };
my %elsewhere = (
    'apt-get'        => $as_readme,
    'perl'           => $as_readme,
    'script/package' => $as_readme,
    'systemctl'      =>
        sub { $_[0] =~ /\Asystemctl (?:restart apache2|daemon-reload|enable --now(?: rt-s3-\w+[.]timer)+)\z/ },
);

my ( $out, %done ) = ('');

sub carry_out {
    my ($line)    = @_;
    my ($program) = split ' ', $line;
    if ( $elsewhere{$program} ) {
        ok( $elsewhere{$program}->($line), $line );
        return;
    }
    return if $done{$line}++ && $line eq 'rt-s3 check';
    my ( $exit, $said, $err ) = shell( '/bin/sh', '-c', here($line) );
    is( $exit, 0, $line ) or diag $said, $err;
    $out = "$said$err";
    return;
}

# What it says there is said, whatever the numbers are
sub same {
    my ($line) = @_;
    return $line =~ s/\b[0-9a-f]{64}\b/KEY/gr =~ s/\d+(?:[.]\d+)?/N/gr;
}

# ---- docs/getting-started.md

$s3->make_bucket('my-rt-attachments');
my $pdf    = '%PDF-1.7 ' . 'a' x 200_000;
my $ticket = $rt->create_ticket( attachments => [ { name => 'a.pdf', type => 'application/pdf', content => $pdf } ] );
my ($id)   = map { $_->{id} } grep { ( $_->{name} // '' ) eq 'a.pdf' } @{ $ticket->{attachments} };
my $read =
    'my $a = RT::Attachment->new( RT->SystemUser ); $a->Load(@_); return [ $a->ContentEncoding, length $a->Content ]';
is_deeply( $rt->call( $read, $id ), [ 'none', length $pdf ], 'an attachment in the database' );

my $page = slurp("$root/docs/getting-started.md");
my ($file) = $page =~ /^Write this into `([^`]+)`/m;
for my $block ( blocks($page) ) {
    if    ( $block =~ /^Set\(/ )                                          { spew( here($file), with_own($block) ) }
    elsif ( $block =~ /\A(?:apt-get|chmod|chown|perl|rt-s3|systemctl) / ) { carry_out($_) for split /\n/, $block }
    else {
        my %said = map { same($_) => 1 } split /\n/, $out;
        ok( $said{ same($_) }, "... says: $_" ) or diag $out for split /\n/, $block;
    }
}
is_deeply( $rt->call( $read, $id ), [ 'external', length $pdf ], 'the attachment is in the bucket, and RT shows it' );
is( $s3->content( 'my-rt-attachments', Digest::SHA::sha256_hex($pdf) ), $pdf, '... byte for byte' );
my $mode = sprintf '%o', ( stat here($file) )[2] & oct 7777;
is( $mode, '640', 'the configuration is not for everybody' );

# ---- docs/operating.md

$page = slurp("$root/docs/operating.md");
my ( %is, %unit );
$s3->make_bucket('backup');
spew( "$dir/home/backup.pm", with_own( "1;\n", Type => 'AmazonS3', Bucket => 'backup' ) );

my @files = $page =~ m{`(/etc/systemd/system/[^`]+)`}g;
for my $block ( blocks($page) ) {
    if    ( $block =~ /\A\[Unit\]/ ) { $unit{ shift(@files) =~ s{.*/}{}r } = $block }
    elsif ( $block =~ /\A#!(\S+)/ )  { $is{$1}                             = $block }
    elsif ( $block =~ /\APATH=/ )    { $is{cron}                           = $block }
    else {
        next if $block =~ /internalize/;    # at the end
        carry_out($_) for split /\n/, $block;
    }
}
is( $s3->content( 'backup', Digest::SHA::sha256_hex($pdf) ), $pdf, 'the second bucket has a copy' );

for my $line ( grep { !/\A[A-Z]+=/ } split /\n/, $is{cron} ) {
    my ( $when, $command ) = $line =~ /\A((?:[\d*]+ ){5}) root +(\S.*)\z/;
    ok( $when, "cron: $line" ) or next;
    next if $command ne 'rt-s3 status --quiet' && $done{ $command =~ s/ --quiet//r };
    my ( $exit, $said, $err ) = shell( '/bin/sh', '-c', here($command) );
    is( "$exit|$said|$err", '0||', '... has nothing to mail' );
}

SKIP: {
    skip 'systemd-analyze is not here', 1 if !-x '/usr/bin/systemd-analyze';
    make_path("$dir/units");
    spew( "$dir/units/$_", here( $unit{$_} ) ) for keys %unit;
    my @services = map { $unit{$_} =~ /^Unit=(\S+)$/m } sort keys %unit;
    spew( "$dir/units/$_", here( $unit{'rt-s3@.service'} ) ) for @services;
    my ( $exit, $said, $err ) = shell(
        '/usr/bin/systemd-analyze', 'verify',
        map  {"$dir/units/$_"} @services,
        grep {/timer\z/} sort keys %unit
    );
    is(
        $exit . join( '', grep {m{\Q$dir\E/units}} split /^/, $err ),
        '0',
        'systemd takes the units: ' . join ' ',
        sort keys %unit
    );
}
is( scalar keys %unit, 3, 'a service and two timers' );

# ---- monitoring

my $plugin = "$dir/bin/check_rt_s3";
spew( $plugin, $is{'/bin/sh'} );
my ( $exit, $said ) = shell( '/bin/sh', $plugin );
is( "$exit $said", "0 OK: RT's attachments in S3\n", 'the plugin for Nagios, where all is well' );

my $metrics = "$dir/bin/metrics";
spew( $metrics, $is{'/usr/bin/perl'} );
( $exit, $said, my $err ) = shell( $^X, $metrics );
is( "$exit$err", '0', 'the script for Prometheus' );
my %metric;
for my $line ( split /\n/, $said ) {
    my ( $name, $value ) = $line =~ /\A([a-z_][a-z0-9_]*(?:\{[a-z]+="[^"\\]*"\})?) (\d+)\z/;
    ok( defined $name && !exists $metric{$name}, "... $line" ) if !defined $name || exists $metric{$name};
    $metric{$name} = $value                                    if defined $name;
}
is( $metric{rt_s3_check_exit},                  0, '... says that all is well' );
is( $metric{'rt_s3_check{check="put"}'},        0, '... of each check' );
is( $metric{'rt_s3_run_missing{run="verify"}'}, 0, '... and what the last run has found' );
for my $name ( map {/(rt_s3_\w+(?:\{[^}]*\})?)/g} $page =~ /^\| `([^`]+)` \|/mg ) {
    ok( ( grep {/\A\Q$name\E(?:\{|\z)/} keys %metric ), "... the rule about $name has something to go by" );
}

$own{Host} = 'https://127.0.0.1:9';
spew( here($file), with_own( "1;\n", Type => 'AmazonS3', Bucket => 'my-rt-attachments' ) );
( $exit, $said ) = shell( '/bin/sh', $plugin );
like( "$exit $said", qr/\A2 CRITICAL: problem  connection: /, 'the plugin, where nobody answers' );
$own{Host} = $s3->https;
spew( here($file), with_own( "1;\n", Type => 'AmazonS3', Bucket => 'my-rt-attachments' ) );

# ---- the log: its words are those of messages

my $messages = slurp("$root/docs/troubleshooting.md");
my ($log) = $page =~ /^## The log\n(.*?)^## /ms;
for my $words ( map { split /`; `|` ends/ } $log =~ /^\| `([^`]+)`/mg ) {
    ok( $messages =~ /^- `.*\Q$words\E/m, "troubleshooting.md has '$words'" );
}

# ---- leaving

carry_out($_) for map { split /\n/ } grep {/\Art-s3 internalize/} blocks($page);
like( $out, qr/^Nothing in RT's database refers to the bucket any more$/m, 'it says that the bucket is not needed' );
is_deeply( $rt->call( $read, $id ), [ 'none', length $pdf ], 'the attachment is in the database again' );

done_testing;
