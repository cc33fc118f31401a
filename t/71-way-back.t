#!/usr/bin/perl
# The ways back and forth: `make install`, files moved by our module; `make uninstall`, and RT's own module reads them
# and goes on where ours stopped; installed again, ours goes on where RT's own stopped. Nothing else changes, neither
# RT's configuration nor anything in RT or Amazon::S3.
use strict;
use warnings;
use utf8;

use Cwd        qw(getcwd);
use File::Temp ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Rts3::Test::Contents;
use Rts3::Test::File  qw(spew);
use Rts3::Test::Needs qw(needs needs_rt needs_s3);
use Rts3::Test::OwnBackend;
use Rts3::Test::Process;

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

my $project = "$FindBin::Bin/..";
my $library = $ENV{RTS3_LIBRARY} // "$project/target/release/librts3.so";
needs( Rts3::Test::OwnBackend::missing() );
needs("there is no $library; build it with: cargo build --release") if !-e $library;

# https, and a bucket's name that Amazon::S3 does not make a part of a host's name: so it needs no help here.
my $bucket = 'rt.attachments';
my $s3     = needs_s3;
$s3->make_bucket($bucket);
my $tmp = File::Temp->newdir( 'rts3-way-back-XXXXXX', TMPDIR => 1 );
my $lib = "$tmp/local/lib";
mkdir "$tmp/$_" or die "$tmp/$_: $!" for qw(local local/lib bin project);
my $rt = needs_rt(
    backend     => undef,                                                                   # the test looks itself
    module_dirs => [$lib],                                                                  # RT's local lib directory
    config      => 'Set($ExternalStorageCutoffSize, ' . Rts3::Test::Contents->cutoff . ');',
    env         => { Rts3::Test::OwnBackend::environment($s3), RTS3_LIBRARY => '', PERL5LIB => '' },
    storage     => {
        Type            => 'AmazonS3',
        Bucket          => $bucket,
        Host            => $s3->https_host,
        CAFile          => $s3->ca,
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $s3->secret_key,
    },
);
my %module = ( ours => "$lib/RT/ExternalStorage/AmazonS3.pm", own => own_module() );
my $script = 'rt-externalize-attachments';
my @all;

prepare();
put_in_charge('ours');
subtest 'installed: ours moves files' => sub {
    my $contents = new_ticket('first');
    moves( ours => $contents );
    is(
        $rt->call('return RT::ExternalStorage::AmazonS3::Native->library_path'),
        "$lib/RT/ExternalStorage/AmazonS3/librts3.so",
        'with the installed library'
    );
};

put_in_charge('own');
subtest "uninstalled: RT's own reads all of it" => sub {
    is_deeply( [ not_intact() ], [], 'by RT\'s objects' );
    my $web      = $rt->start_web( workers => 1 )->login;
    my ($file)   = grep { $_->{name} eq '5MB.bin' } $all[0]->moved;
    my $response = $web->get("/Ticket/Attachment/$all[0]{ticket}{transaction}/$file->{id}/5MB.bin");
    ok( $response->code == 200 && $response->content eq $file->{content}, 'on a page' );
    $rt->stop_web;
    in_charge('own');
};
subtest "RT's own goes on where ours stopped" => sub {
    $s3->clear_log;
    moves( own => my $contents = new_ticket('second') );
    my %new = map { $_ => 1 } $contents->digests;
    delete @new{ $all[0]->digests };
    is_deeply(
        [ sort map { $_->{key} } $s3->requests( operation => 'PutObject', status => 200 ) ],
        [ sort keys %new ],
        'the new files were sent, and no other'
    );
    nothing_left();
};

put_in_charge('ours');
subtest "installed again: ours goes on where RT's own stopped" => sub {
    $s3->clear_log;
    my $contents = new_ticket('third');
    moves( ours => $contents );
    my %new     = map  { $_ => 1 } $contents->digests;
    my @foreign = grep { !$new{ $_->{key} } } grep { defined $_->{key} } $s3->requests( operation => 'PutObject' );
    is_deeply( [ map { $_->{key} } @foreign ], [], 'no old file was sent' );
    nothing_left();
    is_deeply( [ not_intact() ], [], 'ours reads what both stored' );
};

# One stops in the middle, the other one ends it
for my $first (qw(ours own)) {
    my $second = $first eq 'ours' ? 'own' : 'ours';
    subtest "$first stops when S3 fails, $second goes on" => sub {
        my $contents = new_ticket("stop$first");
        my ( undef, undef, $third ) =
            grep { $_->{name} ne 'one.bin' } sort { $a->{id} <=> $b->{id} } $contents->moved;
        put_in_charge($first);
        my $denied = { status => 403, code => 'AccessDenied', message => 'Not now' };
        my $key    = Rts3::Test::Contents::digest($third);
        $s3->faults( { operation => 'PutObject', key => $key, do => { answer => $denied } } );
        my ($exit) = $rt->run_script($script);
        isnt( $exit, 0, 'the script fails' );
        in_charge($first);
        $s3->faults;
        my @external = $contents->external;
        cmp_ok( scalar @external, '>', 0,                          'some are moved' );
        cmp_ok( scalar @external, '<', scalar( $contents->moved ), '... and some are not' );
        ok( !( grep { $_->{id} == $third->{id} && $_->{kind} eq $third->{kind} } @external ),
            '... as the one that failed' );
        put_in_charge($second);
        moves( $second => $contents );
        is_deeply( [ not_intact() ], [], "$second reads everything" );
    };
}

subtest 'the end of it: uninstalled' => sub {
    put_in_charge('own');
    is_deeply( [ glob "$lib/*" ],         [],            'nothing is left of ours' );
    is_deeply( [ not_intact() ],          [],            "RT's own reads all that both stored" );
    is_deeply( [ $s3->objects($bucket) ], [ digests() ], 'and each content is one object' );
    in_charge('own');
};
done_testing;

# ----

sub new_ticket {
    my ($mark)     = @_;
    my ($contents) = Rts3::Test::Contents->create( $rt, { mark => $mark } );
    push @all, $contents;
    return $contents;
}

sub moves {
    my ( $who, $contents ) = @_;
    my ( $exit, $out, $err ) = $rt->run_script($script);
    is( "$exit $out$err", '0 ', "$script ends well" );
    in_charge($who);
    is_deeply( [ $contents->not_moved ], [], 'all is moved' );
    return;
}

sub nothing_left {
    $s3->clear_log;
    my ($exit) = $rt->run_script($script);
    is( $exit,                                            0, 'once more' );
    is( scalar $s3->requests( operation => 'PutObject' ), 0, '... there is nothing left to send' );
    return;
}

sub not_intact { return Rts3::Test::Contents::not_intact(@all) }

sub digests {
    my %seen   = map { ( $_ => 1 ) } map { $_->digests } @all;
    my @sorted = sort keys %seen;
    return @sorted;
}

sub own_module {
    $rt->{backend} = 'own';
    my $module = $rt->expected_module;
    $rt->{backend} = undef;
    return $module;
}

# The module that the last process of RT loaded
sub in_charge {
    my ($who) = @_;
    return is( ( $rt->loaded_modules )[-1]{path}, $module{$who},
        $who eq 'own' ? "RT's own was in charge" : 'ours was' );
}

# What Makefile.PL needs, in a directory of its own; and a cargo that has built already
sub prepare {
    my @parts = qw(Makefile.PL Cargo.toml Cargo.lock Changes LICENSE README.md build.rs include perl script src);
    @parts = grep {-e} map {"$project/$_"} @parts;
    system( 'cp', '-a', @parts, "$tmp/project" ) == 0 or die "cp: $?";
    spew( "$tmp/bin/cargo", <<"END" );
#!/bin/sh
if [ "\$1" = --version ]; then echo 'cargo 1.99.0 (made up)'; exit 0; fi
mkdir -p target/release && cp '$library' target/release/librts3.so
END
    spew( "$tmp/bin/rustc", "#!/bin/sh\necho 'rustc 1.99.0 (made up)'\n" );
    chmod 0755, "$tmp/bin/cargo", "$tmp/bin/rustc" or die "chmod: $!";
    run_here( $^X, 'Makefile.PL', "RT_LIB=$lib", map {"INSTALLSITE$_=$tmp/$_"} qw(SCRIPT MAN1DIR MAN3DIR) );
    run_here('make');
    return;
}

sub put_in_charge {
    my ($who) = @_;
    return if ( $who eq 'ours' ? 1 : 0 ) == ( -e $module{ours} ? 1 : 0 );
    my $target = $who eq 'ours' ? 'install' : 'uninstall';
    run_here( make => $target );
    return is( -e $module{ours} ? 'install' : 'uninstall', $target, "make $target" );
}

sub run_here {
    my (@command) = @_;
    my $here = getcwd();
    chdir "$tmp/project" or die "$tmp/project: $!";
    my $run = Rts3::Test::Process::run(
        command => \@command,
        env     => {
            PATH => "$tmp/bin:$ENV{PATH}",
            HOME => "$tmp",
        }
    );
    chdir $here or die "$here: $!";
    die "@command: $run->{out}$run->{err}" if $run->{exit};
    return;
}
