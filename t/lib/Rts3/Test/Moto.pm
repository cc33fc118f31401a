package Rts3::Test::Moto;

use strict;
use warnings;

use parent 'Rts3::Test::RealServer';

=head1 NAME

Rts3::Test::Moto - moto's S3 server, from PyPI

=head1 SYNOPSIS

    my $moto = Rts3::Test::Moto->start;
    ... $moto->url, $moto->access_key ...

=head1 METHODS

=head2 version, missing

The version that is meant; why it can't be started, or undef.

=head2 install

Installs it into a virtual environment of its own, unless that was done. Takes half a minute, and the network.

=cut

our $Version = '5.2.5';

# With what a server for S3 alone needs, at the versions that were tried
my @packages = (
    "moto==$Version",
    qw(
        blinker==1.9.0 boto3==1.44.8 botocore==1.44.8 certifi==2026.10.19.post1 cffi==2.1.1 charset-normalizer==3.5.2
        click==8.5.1 cryptography==50.0.2 Flask==3.1.3 flask-cors==6.0.5 idna==3.20 itsdangerous==2.2.0 Jinja2==3.1.6
        jmespath==1.1.0 MarkupSafe==3.0.4 py-partiql-parser==0.6.3 pycparser==3.12 python-dateutil==2.9.0.post0
        PyYAML==6.0.4 requests==2.34.2 responses==0.26.3 s3transfer==0.19.3 six==1.17.0 urllib3==2.8.0 Werkzeug==3.1.9
        xmltodict==1.0.4
    )
);

sub version { return $Version }

sub _home {
    my $class = shift;
    return $class->cache . "/moto-$Version";
}

sub missing {
    my $class = shift;
    return undef if -e $class->_home . '/complete' || eval { $class->install; 1 };
    return "moto can't be installed: $@";
}

sub install {
    my $class = shift;
    $class->virtual_environment( "moto-$Version", \@packages );
    return;
}

=head2 prepare

See L<Rts3::Test::RealServer>.

=cut

sub prepare {
    my $self = shift;
    %{$self} = ( %{$self}, region => 'us-east-1', access_key => 'MOTOKEY', secret_key => 'moto-secret' );
    return (
        command => [ $self->_home . '/bin/python', qw(-m moto.server -H 127.0.0.1 -p), $self->{port} ],
        env     => { PATH => $ENV{PATH}, HOME => $self->dir },
    );
}

1;
