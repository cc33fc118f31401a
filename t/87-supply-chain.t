#!/usr/bin/perl
# The bill of materials says what cargo links, deny.toml holds for it, and docs/supply-chain.md says what is true of both.
use strict;
use warnings;

use Cwd        qw(abs_path);
use File::Find ();
use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::File  qw(slurp);
use Rts3::Test::Needs qw(needs);
use Rts3::Test::Process;

my $root = abs_path("$FindBin::Bin/..");
local $ENV{PATH} = join ':', $ENV{PATH}, ( $ENV{CARGO_HOME} // "$ENV{HOME}/.cargo" ) . '/bin';
needs('no cargo') if !program('cargo');
chdir $root or die "$root: $!";
my $page = slurp('docs/supply-chain.md');

# ---- the bill of materials

my $bom = JSON::PP->new->utf8->decode( output('script/sbom') );
is( "$bom->{bomFormat} $bom->{specVersion}", 'CycloneDX 1.5', 'a bill of materials' );
like( $bom->{serialNumber}, qr/^urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, '... with a number' );
is(
    output('script/sbom'),
    JSON::PP->new->canonical->pretty->indent_length(2)->utf8->encode($bom),
    '... always the same'
);

my ($version) = slurp('Cargo.toml') =~ /^version = "(.+)"/m;
is( $bom->{metadata}{component}{'bom-ref'}, "rts3\@$version", '... of the library' );
my %component = map       { ( $_->{'bom-ref'} => $_ ) } @{ $bom->{components} };
my @crates    = sort grep {m{^pkg:cargo/}} keys %component;
is( scalar keys %component, @{ $bom->{components} }, 'each component once' );
is_deeply(
    [ grep { !m{^pkg:cargo/} } sort keys %component ],
    [qw(pkg:generic/openssl pkg:generic/rust-std)],
    "@{[ scalar @crates ]} crates, OpenSSL and Rust's standard library"
);

my ($target) = map { $_->{value} } grep { $_->{name} eq 'rts3:target' } @{ $bom->{metadata}{properties} };

# As `cargo metadata` has it, which the bill is not made from
my @metadata = ( qw(cargo metadata --locked --format-version 1 --filter-platform), $target );
my $metadata = JSON::PP->new->utf8->decode( output(@metadata) );
my %package  = map { ( $_->{id} => $_ ) } @{ $metadata->{packages} };
my %node     = map { ( $_->{id} => $_ ) } @{ $metadata->{resolve}{nodes} };
my @next     = linked_to( $metadata->{resolve}{root} );
my %linked;
while ( defined( my $id = shift @next ) ) {
    push @next, linked_to($id) if !$linked{ purl($id) }++;
}
is_deeply( \@crates, [ sort keys %linked ], 'the crates are those that are linked' );

my $lock    = slurp('Cargo.lock');
my @without = grep {
    my $crate = $component{$_};
    my ($sum) = $lock =~ /^name = "\Q$crate->{name}\E"\nversion = "\Q$crate->{version}\E"\n.*\nchecksum = "(.*)"/m;
    $crate->{hashes}[0]{content} ne $sum || !$crate->{licenses}[0]{expression} || $crate->{purl} ne $_;
} @crates;
is_deeply( \@without, [], '... each with its licence, and its checksum from Cargo.lock' );

my %needs = map { ( $_->{ref} => $_->{dependsOn} ) } @{ $bom->{dependencies} };
my @other = grep {
    "@{$needs{ purl($_) }}" ne join ' ',
        sort map { purl($_) }
        linked_to($_)
    }
    grep { $linked{ purl($_) } && $package{$_}{name} ne 'openssl-sys' } keys %node;
is_deeply( \@other, [], '... and needs those that it is linked to' );
my @reached = ("rts3\@$version");
my %reached;

while ( defined( my $next = shift @reached ) ) {
    push @reached, @{ $needs{$next} // [] } if !$reached{$next}++;
}
is_deeply( [ sort keys %reached ], [ sort "rts3\@$version", keys %component ], 'each is needed by another one' );

# ---- what deny.toml, or this page, promise

for my $file (qw(Cargo.lock t/s3server/Cargo.lock xt/fuzz/Cargo.lock)) {
    my %source = map { $_ => 1 } slurp($file) =~ /^source = "(.*)"/mg;
    is_deeply(
        [ keys %source ],
        ['registry+https://github.com/rust-lang/crates.io-index'],
        "$file: all from crates.io"
    );
}

my %features = map { ( $package{$_}{name} => $node{$_}{features} ) } keys %node;
is_deeply( $features{'native-tls'}, ['default'], 'native-tls has neither ALPN nor an OpenSSL of its own' );

my @elsewhere;
File::Find::find(
    {
        no_chdir => 1,
        wanted   => sub { push @elsewhere, $_ if /\.rs$/ && !m{^src/s3/} && slurp($_) =~ /\brusoto_\w+/ }
    },
    'src'
);
is_deeply( \@elsewhere, [], 'rusoto is used in src/s3 only' );

my $deny    = slurp('deny.toml');
my @ignored = sort $deny            =~ /id = "(RUSTSEC-\d+-\d+)"/g;
my %named   = map { $_ => 1 } $page =~ /(RUSTSEC-\d+-\d+)/g;
is_deeply( \@ignored, [ sort keys %named ], 'the page tells of the advisories that are put up with' );

my ($wanted) = slurp('Cargo.toml') =~ /^\[dependencies\]\n(.*?)^\[/ms;
my ($table)  = $page               =~ /^\| crate \| .*\n\|.*\n((?:\|.*\n)+)/m;
my @told     = map { ( split /[|]/ )[1] =~ /`([^`]+)`/g } split /\n/, $table;
is_deeply( [ sort @told ], [ sort $wanted =~ /^([\w-]+) = /mg ], '... and of each crate that Cargo.toml asks for' );
my ($count) = $page =~ /It names (\d+) crates/;
is( $count, @crates, '... and how many are linked' ) if $target eq 'x86_64-unknown-linux-gnu';

SKIP: {
    skip 'cargo-deny is not installed', 1 if !program('cargo-deny');
    my $run = Rts3::Test::Process::run( command => [qw(cargo deny --offline check bans licenses sources)] );
    is( $run->{exit}, 0, 'cargo deny check bans licenses sources' ) or diag $run->{err};
}

done_testing;

# The crates that a crate needs when it runs, macros aside
sub linked_to {
    my ($id) = @_;
    my @normal = grep {
        grep { !$_->{kind} }
            @{ $_->{dep_kinds} }
    } @{ $node{$id}{deps} };
    return grep {
        !grep { "@{$_->{kind}}" eq 'proc-macro' }
            @{ $package{$_}{targets} }
    } map { $_->{pkg} } @normal;
}

sub purl {
    my ($id) = @_;
    return "pkg:cargo/$package{$id}{name}\@$package{$id}{version}";
}

sub output {
    my (@command) = @_;
    my $run = Rts3::Test::Process::run( command => \@command );
    die "@command: $run->{err}" if $run->{exit};
    return $run->{out};
}

sub program {
    my ($name) = @_;
    return scalar grep { -x "$_/$name" } split /:/, $ENV{PATH};
}
