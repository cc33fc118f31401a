#!/usr/bin/perl
# Temporary keys: replaced before they end and when the server refuses them; what an outage of those who give them costs;
# forks and links.
use strict;
use warnings;

use File::Temp;
use FindBin;
use JSON::PP ();
use POSIX    ();
use Test::More;
use Time::HiRes qw(sleep time);
use Time::Local qw(timegm);

use lib "$FindBin::Bin/lib", "$FindBin::Bin/../perl/lib";
use Rts3::Test::File            qw(slurp spew);
use Rts3::Test::Metadata        ();
use Rts3::Test::Metadata::Child qw(in_child);
use Rts3::Test::Needs           qw(needs_library needs_s3);

my $native   = needs_library;
my $s3       = needs_s3;
my $aws      = Rts3::Test::Metadata->start( s3 => $s3 );
my $dir      = File::Temp->newdir;
my %instance = ( $aws->instance, AWS_EC2_METADATA_DISABLED => undef );
my %options  = ( Bucket => 'files', Host => $s3->http, Region => 'us-east-1', Deadline => 10, Retries => 0 );
$s3->make_bucket('files');
my ( $key, $content ) = Rts3::Test::Metadata::Child::object();
spew( $s3->object_path( files => $key ), $content );

sub begin {
    my (%state) = @_;
    $aws->set(%state);
    $aws->forget;
    $s3->faults;
    $s3->clear_log;
    return;
}

sub handle { my (%more) = @_; return scalar $native->open( %options, %more ) }

# One Get: ok or its message, and its time
sub get {
    my ($handle) = @_;
    my $began = time;
    my ( $value, $error ) = $handle->get($key);
    return { said => $error ? $error->message : $value eq $content ? 'ok' : 'other bytes', seconds => time - $began };
}

sub in_words {
    my ($handle) = @_;
    return map {"$_->[0] $_->[1]"} $handle->drain;
}

sub count { my ($what) = @_; return scalar( () = $aws->requests( what => $what ) ) }

subtest 'replaced before they end' => sub {
    begin( lifetime => 6 );    # a third of it before: after 4 s
    my $said = in_child(
        \%instance,
        sub {
            my $handle = handle();
            my $start  = time;
            my @found;
            for my $when ( 0, 1, 2, 4.3, 5 ) {
                my $wait = $start + $when - time;
                sleep $wait if $wait > 0;
                push @found, get($handle)->{said} . ' ' . count('keys');
            }
            return { found => \@found, log => [ in_words($handle) ] };
        }
    );
    is_deeply( $said->{found}, [ 'ok 1', 'ok 1', 'ok 1', 'ok 2', 'ok 2' ], 'each once' );
    is( scalar $s3->requests( status => 200 ), 5, 'S3 refused none' );
    my @signers = map { $_->{headers}{authorization} =~ /Credential=([^\/]+)/ } $s3->requests;
    is( $signers[-1], ( $aws->given )[1]{access_key}, 'the new ones are used' );
    my @told = grep {/credentials come from/} @{ $said->{log} };
    is( @told,    1,                                                                 'one line in the log' );
    is( $told[0], "info the credentials come from instance: access key $signers[0]", '... where they come from' );
};

subtest 'the server refuses them' => sub {
    my %refuse = (
        ExpiredToken       => sub { my $k = shift; $s3->set_key( as_set($k), expires => time - 1 ) },
        InvalidToken       => sub { my $k = shift; $s3->set_key( as_set($k), token   => 'another' ) },
        InvalidAccessKeyId => sub { my $k = shift; $s3->drop_key( $k->{access_key} ) },
    );
    for my $code ( sort keys %refuse ) {
        begin();
        my $said = in_child(
            \%instance,
            sub {
                my $handle = handle();
                my @found  = get($handle)->{said};
                $refuse{$code}->( ( $aws->given )[0] );
                push @found, get($handle)->{said}, get($handle)->{said};
                return \@found;
            }
        );
        is_deeply( $said, [ 'ok', 'ok', 'ok' ], "$code: read all the same" );
        is(
            join( ' ', map { $_->{code} // $_->{status} } $s3->requests ),
            "200 $code 200 200",
            '... at the second attempt'
        );
        is( scalar $aws->given, 2, '... with new keys' );
    }
    begin();
    my $store = in_child(
        \%instance,
        sub {
            my $handle = handle();
            get($handle);
            $refuse{ExpiredToken}->( ( $aws->given )[0] );
            my $bytes = 'stored after a refusal';
            my ( $stored, $error ) = $handle->store( $native->sha256($bytes), $bytes );
            return $error ? $error->message : $stored;
        }
    );
    like( $store, qr/^[0-9a-f]{64}\z/, 'Store, too' );
    is( $s3->content( files => $store ), 'stored after a refusal', '... whole' );

    begin();
    $s3->faults( { do => { answer => { status => 400, code => 'ExpiredToken' } } } );
    my $said = in_child(
        \%instance,
        sub {
            my $handle = handle( Retries => 4 );
            [ map { get($handle) } 1, 2 ];
        }
    );
    like( $said->[0]{said}, qr/ExpiredToken/, 'refused again: an error' );
    is( scalar $s3->requests, 3 + ( $s3->requests > 3 ), '... after one more attempt for the second call' );
    cmp_ok( scalar( () = $aws->given ), '<=', 3, '... and no more keys' );

    my $s3_asked = sub {
        begin();
        $s3->faults( { do => { answer => { status => 400, code => 'ExpiredToken' } } } );
        my ( $environment, %more ) = @_;
        my $message = in_child( $environment, sub { get( handle( Retries => 4, %more ) )->{said} } );
        like( $message, qr/ExpiredToken/, '... an error' );
        return scalar( () = $s3->requests );
    };
    is( $s3_asked->( {}, AccessKeyId => 'A', SecretAccessKey => 's' ), 1, 'keys of the options: one attempt' );
};

# Keys as Metadata knows them, for set_key
sub as_set {
    my ($keys) = @_;
    return (
        $keys->{access_key},
        secret  => $keys->{secret_key},
        token   => $keys->{token},
        expires => $keys->{expires}
    );
}

subtest 'files that others replace' => sub {
    my $file = "$dir/credentials";
    my $put  = sub {
        my ( $id, $expires ) = @_;
        $s3->set_key( $id, secret => "secret of $id" =~ tr/ /+/r, token => "token/$id", expires => $expires );
        spew( "$file.new",
            "[default]\naws_access_key_id = $id\naws_secret_access_key = secret+of+$id\naws_session_token = token/$id\n"
        );
        rename "$file.new", $file or die "$file: $!";
    };
    begin();
    $put->( FIRST => time + 2 );
    my $said = in_child(
        { AWS_SHARED_CREDENTIALS_FILE => $file },
        sub {
            my $handle = handle();
            my @found  = get($handle);
            sleep 2.5;
            push @found, get($handle);
            $put->( SECOND => time + 600 );
            push @found, get($handle);
            return [ map { $_->{said} } @found ];
        }
    );
    is( $said->[0], 'ok', 'keys in a file' );
    like( $said->[1], qr/ExpiredToken/, '... that are over' );
    is( $said->[2], 'ok', '... and replaced by somebody' );

    begin( lifetime => 3, identities => ['first'] );
    spew( "$dir/identity", 'first' );
    $said = in_child(
        { AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/identity", AWS_ROLE_ARN => 'arn:aws:iam::1:role/r', $aws->sts },
        sub {
            my $handle = handle();
            my @found  = get($handle);
            $aws->set( identities => ['second'] );
            spew( "$dir/identity", 'second' );
            sleep 3.2;
            return [ map { $_->{said} } @found, get($handle) ];
        }
    );
    is_deeply( $said, [ 'ok', 'ok' ], 'the token of a web identity, which its service replaces' );
};

subtest 'an outage while keys are good' => sub {
    begin( lifetime => 9 );    # from 6 s on new ones are looked for
    my $said = in_child(
        \%instance,
        sub {
            my $handle = handle();
            $handle->fail_fast(1);
            my $start = time;
            my %found;
            my $at = sub {
                my ( $when, $name ) = @_;
                my $wait = $start + $when - time;
                sleep $wait if $wait > 0;
                $aws->forget;
                my $found = get($handle);
                $found{$name} = { %$found, asked => scalar( () = $aws->requests ), log => [ in_words($handle) ] };
            };
            $at->( 0, 'before' );
            $aws->set( lifetime => 9, token => { hang => 1 } );
            $at->( 6.2, 'during' );
            $at->( 6.2, "after$_" ) for 1 .. 20;
            $at->( 9.4, 'over' );
            $aws->set;
            $at->( 9.5, 'back' );
            $at->( 13,  'again' );
            return \%found;
        }
    );
    is( $said->{during}{said}, 'ok', 'keys that are still good are used' );
    cmp_ok( $said->{during}{seconds}, '<', 1.5, '... after a second' );
    my @warning = grep {/keys could not be replaced, and are used for [\d.]+ s more/} @{ $said->{during}{log} };
    is( @warning, 1, '... with a warning' );
    like( $warning[0] // '', qr/^warning .*within 1 s/, '... that says why' );
    is( ( grep { $said->{"after$_"}{said} eq 'ok' } 1 .. 20 ),  20, 'twenty more' );
    is( ( grep { $said->{"after$_"}{asked} } 1 .. 20 ),         0,  '... nobody is asked' );
    is( ( grep { $said->{"after$_"}{seconds} > 0.2 } 1 .. 20 ), 0,  '... and none waits' );
    is( ( grep { @{ $said->{"after$_"}{log} } } 1 .. 20 ),      0,  '... nor is it said again' );
    like(
        $said->{over}{said},
        qr/no credentials (?:from instance|within 1 s).*they are looked for again in [\d.]+ s/,
        'keys that are over'
    );
    cmp_ok( $said->{over}{seconds}, '<', 0.2, '... fail at once' );
    is( $said->{$_}{asked},   0,    "... nobody is asked ($_)" ) for qw(over back);
    is( $said->{again}{said}, 'ok', 'all is well again' );
};

# Workers of one parent, as a web server's: what each says to so many Gets
sub workers {
    my ( $handle, $workers, $gets ) = @_;
    my @children;
    for my $number ( 1 .. $workers ) {
        my $pid = fork // die "fork: $!";
        if ( !$pid ) {
            my $ok = eval {
                spew( "$dir/worker$number", JSON::PP::encode_json( [ map { get($handle) } 1 .. $gets ] ) );
                1;
            };
            print STDERR $@ if !$ok;
            POSIX::_exit( $ok ? 0 : 1 );
        }
        push @children, $pid;
    }
    waitpid $_, 0 for @children;
    return map { @{ JSON::PP::decode_json( slurp("$dir/worker$_") ) } } 1 .. $workers;
}

subtest 'an outage, and forked workers' => sub {
    for my $case ( [ 'does not answer', { token => { hang => 1 } } ], [ 'fails', { token => { status => 500 } } ] ) {
        my ( $how, $state ) = @$case;
        begin(%$state);
        my $said = in_child(
            \%instance,
            sub {
                my $handle = handle();
                $handle->fail_fast(1);
                my %found = ( first => [ workers( $handle, 1, 1 ) ] );
                $aws->forget;
                $found{others} = [ workers( $handle, 5, 20 ) ];
                $found{asked}  = scalar( () = $aws->requests );
                sleep 5;
                $found{second} = [ workers( $handle, 1, 2 ) ];
                return \%found;
            }
        );
        like( $said->{first}[0]{said}, qr/no credentials from instance/, "a service that $how: an error" );
        cmp_ok( $said->{first}[0]{seconds}, '<', 1.6, '... after a second' );
        is( $said->{asked}, 0, '... a hundred calls of five other workers ask nobody' );
        my ($longest) = sort { $b <=> $a } map { $_->{seconds} } @{ $said->{others} };
        cmp_ok( $longest, '<', 0.3, '... and none waits' );
        my ($left) = $said->{second}[1]{said} =~ /looked for again in ([\d.]+) s/;
        cmp_ok( $left // 0, '>', 8, '... and the next time not for twice as long' );
    }
    begin( token => { hang => 1 } );
    my $said = in_child(
        \%instance,
        sub {
            my $handle = handle();
            $handle->fail_fast(1);
            return [ workers( $handle, 6, 10 ) ];
        }
    );
    cmp_ok( scalar $aws->requests, '<=', 6, 'six workers at the same time: each asks once at most' );
    is( ( grep { $_->{seconds} > 0.5 } @$said ), scalar $aws->requests, '... and only those who ask wait' );
};

subtest 'tools wait for an outage to end' => sub {
    begin();
    $aws->stop;
    my $waits = in_child(
        \%instance,
        sub {
            my $handle = handle( Retries => 4 );
            return get($handle);
        }
    );
    like( $waits->{said}, qr/no credentials from instance: can't connect/, 'it does not end: an error' );
    cmp_ok( $waits->{seconds}, '<', 12, '... within the Deadline' );
    $aws->restart;
    begin( token => { status => 503 } );
    my $pid = fork // die "fork: $!";
    if ( !$pid ) { sleep 2; $aws->set; POSIX::_exit(0) }
    $waits = in_child( \%instance, sub { get( handle( Retries => 4 ) ) } );
    waitpid $pid, 0;
    is( $waits->{said}, 'ok', 'it ends: read' );
};

subtest 'a child has keys of its own' => sub {
    begin();
    my $said = in_child(
        \%instance,
        sub {
            my $handle = handle();
            my @found  = get($handle);
            push @found, workers( $handle, 2, 3 ), get($handle);
            return [ map { $_->{said} } @found ];
        }
    );
    is_deeply( $said, [ ('ok') x 8 ], 'parent and two children read' );
    is( scalar $aws->given, 3, '... each with keys of its own, that it asks for once' );
};

# As if this machine's clock were wrong by as much the other way
subtest 'a clock that is wrong' => sub {
    for my $clock ( -7200, 7200 ) {
        begin( clock => $clock );
        $s3->faults( { do => { clock_s => $clock } } );
        my $said = in_child(
            \%instance,
            sub {
                my $handle = handle( Retries => 4 );
                return [ ( map { get($handle)->{said} } 1 .. 4 ), in_words($handle) ];
            }
        );
        is_deeply( [ @$said[ 0 .. 3 ] ], [ ('ok') x 4 ], "by $clock s: read with new keys" );
        cmp_ok( scalar $aws->given, '<=', 2, '... which are not asked for each time' );
    }
};

subtest 'presigned links' => sub {
    my $link = sub {
        my ($lifetime) = @_;
        begin( lifetime => $lifetime );
        return in_child(
            \%instance,
            sub {
                my $handle = handle( DirectLink => 'presigned', DirectLinkExpires => 3600 );
                my ( $url, $error ) = $handle->direct_url($key);
                my @more = map { scalar $handle->direct_url($key) } 1 .. 10;
                return {
                    url   => $url,
                    error => $error && $error->message,
                    same  => scalar grep { $_ && $_ eq $url } @more
                };
            }
        );
    };
    my $said = $link->(1800);
    my ( $date, $life ) = ( $said->{url} // '' ) =~ /X-Amz-Date=(\d{8}T\d{6})Z&X-Amz-Expires=(\d+)/;
    my @date = ( $date // '' ) =~ /(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/;
    my $end  = timegm( @date[ 5, 4, 3, 2 ], $date[1] - 1, $date[0] ) + $life;
    cmp_ok( $end, '<=', ( $aws->given )[0]{expires}, 'a link lives no longer than the keys' );
    cmp_ok( $end, '>', time + 1700, '... and not much shorter' );
    like( $said->{url}, qr/X-Amz-Security-Token=/, '... and has their token' );
    is( $said->{same},              10,       '... ten times the same' );
    is( scalar $aws->given,         1,        '... and the keys are asked for once' );
    is( scalar $s3->requests,       0,        '... and S3 not at all' );
    is( qx{curl -s '$said->{url}'}, $content, '... and it works' );
    $said = $link->(55);
    is( $said->{url}, undef, 'less than a minute left: none' );
};

done_testing;
