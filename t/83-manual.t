#!/usr/bin/perl
# The manual, README and the guide to direct links are word for word true: each configuration in them is given to an RT,
# each policy is read, each command exists.
use strict;
use warnings;

use FindBin;
use JSON::PP       ();
use LWP::UserAgent ();
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Documents qw(blocks);
use Rts3::Test::File      qw(slurp);
use Rts3::Test::Needs     qw(needs_rt needs_s3);

my $root  = "$FindBin::Bin/..";
my $s3    = needs_s3( public => ['public'] );
my $rt    = needs_rt();
my %texts = (
    'the manual'      => slurp( $rt->expected_module ) =~ s/\A.*?^__END__$//msr,
    'README'          => slurp("$root/README.md"),
    'direct-links.md' => slurp("$root/docs/direct-links.md"),
);

sub complaints {
    return grep {/\[(?:warning|error|critical)\].*(?:storage|config)/i} split /\n/, $rt->log_text;
}

my ( @configurations, @switches, @policies, @commands, @unknown );
for my $where ( sort keys %texts ) {
    for my $block ( blocks( $texts{$where} ) ) {
        my $kind =
              $block =~ /^Set\(%ExternalStorage,/ ? \@configurations
            : $block =~ /^Set\(\$/                ? \@switches
            : $block =~ /^\{/                     ? \@policies
            : $block =~ /\A(?:[\w.-]+\/|\/opt\/|perl|apt-get|rt-)[^\n]*(?:\n|\z)/ && $block !~ /^\s{2,}/m ? \@commands
            :                                                                                               \@unknown;
        push @{$kind}, { where => $where, text => $block };
    }
}
is( scalar @configurations, 8, 'configurations: five in the manual, one in README, two for direct links' );
is( scalar @policies,       2, 'a bucket policy, twice' );
is( scalar @switches,       2, 'a switch for direct links, twice' );
is(
    join( '|', map { ( split /\n/, $_->{text} )[0] } @unknown ),
    join( '|',
        'perl/lib/RT/ExternalStorage/',
        'RT serves files itself: '
            . "no direct link yet: the bucket's region is not known before the first answer from the server; set Region",
        "direct links lead to rt.example.org, which is RT's own host name: ...",
    ),
    'nothing else but the tree of the sources and two lines of the log'
);

# With what is the reader's own put before it, which counts where RT finds an option twice
sub with_own {
    my ( $text, $bucket ) = @_;
    my %own = ( AccessKeyId => $s3->access_key, SecretAccessKey => $s3->secret_key, Host => $s3->http );
    $own{Bucket} = $bucket if defined $bucket;
    my $more = join ', ', map {"$_ => '$own{$_}'"} sort keys %own;
    return "Set(%ExternalStorage, $more);\n$text";
}

# ---- configurations

my %storage;
my $count = 0;
for my $block (@configurations) {
    my $name = "$block->{where}, configuration " . ++$count;

    # word for word
    $rt->clear_log;
    $rt->set_config( $block->{text} );
    my $written = $rt->call('return { %{ RT->System->ExternalStorage } }');
    is( ref $written, 'HASH', "$name: RT takes it" );
    my ($mistake) = grep { !/Bucket: '[.]{3}'/ } complaints();
    is( $mistake,         undef, '... and complains of nothing but dots in the place of a name' );
    is( $written->{Type}, undef, '... Type is what loads the module' );

    $rt->clear_log;
    $rt->set_config( with_own( $block->{text}, $written->{Bucket} eq '...' ? "bucket-$count" : undef ) );
    my $got = $rt->call( <<'END', "content $count" );
        my ($content) = @_;
        my $storage = RT->System->ExternalStorage;
        my $digest  = Digest::SHA::sha256_hex($content);
        return [ [ $storage->Store( $digest, $content ) ], [ $storage->Get($digest) ], $digest, $storage->Bucket,
            [ $storage->IsWriteable ], $storage->{Region} ];
END
    my ( $stored, $read, $digest, $bucket, $writeable, $region ) = @{$got};
    is_deeply( $stored,    [$digest],          '... Store' );
    is_deeply( $read,      ["content $count"], '... Get' );
    is_deeply( $writeable, [1],                '... IsWriteable' );
    is( $s3->content( $bucket, $digest ), "content $count",   '... and the object is in the bucket' );
    is( $region,                          $written->{Region}, '... signed for the region that is written there' );
    is( join( "\n", grep { !/option Host begins with http:/ } complaints() ), '', '... with nothing in the log' );
}

# ---- direct links

is( $policies[1]{text}, $policies[0]{text}, 'everywhere the same bucket policy' );
is( $switches[1]{text}, $switches[0]{text}, '... and the same switch' );
my $policy = JSON::PP->new->decode( $policies[0]{text} );
is( $policy->{Version}, '2012-10-17', 'the bucket policy is JSON, of the version that S3 has' );
is_deeply(
    $policy->{Statement},
    [
        {
            Sid       => 'AllowPublicRead',
            Effect    => 'Allow',
            Principal => '*',
            Action    => 's3:GetObject',
            Resource  => 'arn:aws:s3:::BUCKET/*',
        }
    ],
    '... and allows everybody to read, and nothing else'
);

$rt->set_storage(
    Type   => 'AmazonS3',
    Bucket => 'public',
    $s3->options,
);
my $png     = "\x89PNG\r\n\x1a\n" . 'p' x 300;
my $script  = 'rt-externalize-attachments';
my $link_of = <<'END';
    my $attachment = RT::Attachment->new( RT->SystemUser );
    $attachment->Load(@_);
    return RT->System->ExternalStorageURLFor($attachment);
END

for my $switch ( '', $switches[0]{text} ) {
    $rt->set_config("Set(\$ExternalStorageCutoffSize, 100);\n$switch");
    my $ticket = $rt->create_ticket( attachments => [ { name => 'a.png', type => 'image/png', content => $png } ] );
    my ($exit) = $rt->run_script($script);
    is( $exit, 0, "RT's externalizer" );
    my ($id) = map { $_->{id} } grep { ( $_->{name} // '' ) eq 'a.png' } @{ $ticket->{attachments} };
    my $link = $rt->call( $link_of, $id );
    if ( !$switch ) {
        is( $link, undef, 'no direct link before it is switched on' );
        next;
    }
    my $answer = LWP::UserAgent->new->get($link);
    is( $answer->code, 200, 'the switch, word for word: a link that anybody can follow' );
    ok( $answer->content eq $png, '... to the file' );
}

my ($presigned) = grep { $_->{text} =~ /presigned/ } @configurations;
$s3->make_bucket('private');
$rt->set_storage;
$rt->set_config(
    with_own( $presigned->{text}, 'private' ) . $switches[0]{text} . 'Set($ExternalStorageCutoffSize, 100);' );
my $ticket = $rt->create_ticket( attachments => [ { name => 'b.png', type => 'image/png', content => "$png-b" } ] );
my ($exit) = $rt->run_script($script);
is( $exit, 0, "RT's externalizer" );
my ($id) = map { $_->{id} } grep { ( $_->{name} // '' ) eq 'b.png' } @{ $ticket->{attachments} };
my $link = $rt->call( $link_of, $id );
is( LWP::UserAgent->new->get($link)->content, "$png-b", 'the presigned ones, word for word: a link to the file' );
is( LWP::UserAgent->new->get( $link =~ s/\?.*//r )->code, 403, '... in a private bucket' );

# ---- commands

for my $line ( map { split /\n/, $_->{text} } @commands ) {
    my ( $program, @words ) = split ' ', $line =~ s/\s+#.*//r;
    if ( $program eq 'rt-s3' ) {
        my ( $exit, $out, $err ) = $rt->run_tool(@words);
        cmp_ok( $exit, '<', 64, "$line: is carried out, whatever it finds in this bucket" ) or diag $out, $err;
    }
    elsif ( $program =~ m{(?:^|/)(rt-[\w-]+)\z} ) {
        my ( $exit, $out, $err ) = $rt->run_script( $1 =~ s/-5\z//r, @words );
        is( $exit, 0, "$line: RT's own, which takes these options" ) or diag $err;
    }
    elsif ( $program eq 'apt-get' ) {
        my %listed = map { $_ => 1 } split ' ', `$root/script/bootstrap --list`;
        is( join( ' ', grep { !$listed{$_} } grep { !m{/} } @words[ 1 .. $#words ] ),
            '', "$line: packages that the tests have" );
    }
    elsif ( $program =~ m{^script/} ) {
        ok( -x "$root/$program", "$line: is there" );
        my $text = slurp("$root/$program");
        $text .= slurp("$root/t/lib/Rts3/Test/Demo.pm") if $program eq 'script/demo';
        for my $word (@words) {
            my ($option) = $word =~ /^--(\w+)\z/;
            my $known = defined $option ? qr/GetOptions.*\b$option =>/ : qr/^step_\Q$word\E\(\)/m;
            like( $text, $known, "... and knows $word" );
        }
    }
    elsif ( $program eq 'perldoc' ) {
        ok( -e "$root/$words[0]", "$line: is there" );
    }
    else {
        is( $line, 'perl Makefile.PL && make && sudo make install', "$line: tried in t/60-install.t" );
    }
}

is_deeply(
    [ sort keys %{ { map { ( $_->{path} => 1 ) } grep { $_->{type} } $rt->loaded_modules } } ],
    [ $rt->expected_module ],
    'all of this with our module'
);
done_testing;
