package Rts3::Bench::Peer;

use strict;
use warnings;

use Carp           ();
use Cwd            ();
use File::Basename qw(dirname);
use IPC::Open2     ();

use Rts3::Test::OwnBackend ();
use Rts3::Test::RealServer ();
use Rts3::Test::RT         ();

=head1 NAME

Rts3::Bench::Peer - a program that stores and reads, and says what that took

=head1 SYNOPSIS

    my $peer = Rts3::Bench::Peer->start( 'ours', s3 => $s3, scheme => 'http', host => "localhost:$port", bucket => 'bench' );
    my $took = $peer->store( $file, $key );    # { seconds, processor, memory (kB), bytes }
    $peer->ask("get $key");                    # or both halves of it, for several peers at once
    $took = $peer->answer;

=cut

my $BENCH = Cwd::abs_path( dirname(__FILE__) . '/../../..' );
my $CACHE = Cwd::abs_path("$BENCH/..") . '/.cache';

my @BOTO3 = qw(
    boto3==1.44.8 botocore==1.44.8 jmespath==1.1.0 python-dateutil==2.9.0.post0 s3transfer==0.19.3 six==1.17.0 urllib3==2.8.0
);

my %START = (
    ours            => \&_rt,
    own             => \&_rt,
    'aws-sdk-s3'    => \&_aws_sdk,
    boto3           => \&_boto3,
    'net-amazon-s3' => \&_net_amazon_s3,
    bare            => \&_bare,
);

sub names { return qw(ours own aws-sdk-s3 boto3 net-amazon-s3) }

sub start {
    my ( $class, $name, %how ) = @_;
    my $self = bless { name => $name }, $class;
    my ( $environment, @command ) = $START{$name}->( $self, $name, %how );
    local %ENV = (
        %ENV,
        AWS_ACCESS_KEY_ID         => $how{s3}->access_key,
        AWS_SECRET_ACCESS_KEY     => $how{s3}->secret_key,
        AWS_EC2_METADATA_DISABLED => 'true',
        SSL_CERT_FILE             => $how{s3}->ca,
        AWS_CA_BUNDLE             => $how{s3}->ca,
        PERL_LWP_SSL_CA_FILE      => $how{s3}->ca,
        %{$environment}
    );
    $self->{pid} = IPC::Open2::open2( my $out, my $in, @command );
    @{$self}{qw(in out)} = ( $in, $out );
    $in->autoflush(1);
    return $self;
}

sub _rt {
    my ( $self, $name, %how ) = @_;
    my $is_own = $name eq 'own';
    my $rt     = $self->{rt} = Rts3::Test::RT->new(
        backend => $name,
        storage => {
            Type            => 'AmazonS3',
            Bucket          => $how{bucket},
            Host            => $is_own || $how{scheme} eq 'https' ? $how{host} : "http://$how{host}",
            AccessKeyId     => $how{s3}->access_key,
            SecretAccessKey => $how{s3}->secret_key,
            ( $how{scheme} eq 'https' && !$is_own ? ( CAFile => $how{s3}->ca ) : () ),
            %{ $how{options} || {} },
        },
        config => $is_own ? Rts3::Test::OwnBackend::config( $how{scheme} ) : ''
    );
    return ( { $rt->environment }, $^X, '-I' . $rt->release->base . '/lib', "$BENCH/worker.pl", 'rt' );
}

sub _aws_sdk {
    my ( $self, $name, %how ) = @_;
    my $target = "$CACHE/bench/aws-sdk-s3";
    my @build  = ( qw(cargo build --quiet --release --locked --target-dir), $target );
    push @build, '--manifest-path', "$BENCH/aws-sdk-s3/Cargo.toml";
    system(@build) == 0 or Carp::croak("no aws-sdk-s3: @build");
    return ( {}, "$target/release/bench-aws-sdk-s3", "$how{scheme}://$how{host}", $how{bucket} );
}

sub _boto3 {
    my ( $self, $name, %how ) = @_;
    return ( {}, python(@BOTO3) . '/python', "$BENCH/worker.py", "$how{scheme}://$how{host}", $how{bucket} );
}

sub _bare {
    my ( $self, $name, %how ) = @_;
    return ( {}, $^X, "$BENCH/worker.pl", $name, "$how{scheme}://$how{host}", $how{bucket}, $how{s3}->ca );
}

sub _net_amazon_s3 {
    my ( $self, $name, %how ) = @_;
    return ( {}, $^X, "$BENCH/worker.pl", 'net-amazon-s3', $how{host}, $how{scheme} eq 'https' ? 1 : 0,
        $how{bucket} );
}

# The directory of programs of packages from PyPI, which are installed once
sub python {
    my ( $name, @more ) = @_;
    return Rts3::Test::RealServer->virtual_environment( $name =~ s/==/-/r, [ $name, @more ] ) . '/bin';
}

sub store { my ( $self, $file, $key ) = @_; return $self->_ask("store $file $key") }
sub get { my ( $self, $key ) = @_; return $self->_ask("get $key") }

sub _ask {
    my ( $self, $line ) = @_;
    $self->ask($line);
    return $self->answer;
}

sub ask {
    my ( $self, $line ) = @_;
    print { $self->{in} } "$line\n" or Carp::croak("$self->{name}: $!");
    return;
}

sub answer {
    my ($self) = @_;
    my $answer = readline $self->{out};
    my %took;
    @took{qw(seconds processor memory bytes)} = split ' ', $answer // Carp::croak("$self->{name} has ended");
    return \%took;
}

sub DESTROY {
    my ($self) = @_;
    local ( $@, $?, $! );
    close $self->{in} if $self->{in};
    waitpid $self->{pid}, 0 if $self->{pid};
    return;
}

1;
