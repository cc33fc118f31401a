package Rts3::Test::OwnBackend;

use strict;
use warnings;

use Cwd qw(abs_path);

=head1 NAME

Rts3::Test::OwnBackend - the storage module that comes with RT, against the S3 server of the tests

=head1 SYNOPSIS

    my $rt  = Rts3::Test::RT->new( env => { Rts3::Test::OwnBackend::environment($s3) } );
    my %how = ( s3 => $s3, scheme => 'http', bucket => 'attachments' );
    Rts3::Test::OwnBackend::take_over( $rt, 'own',  %how );
    Rts3::Test::OwnBackend::take_over( $rt, 'ours', %how );

=head1 DESCRIPTION

RT's own RT::ExternalStorage::AmazonS3 is used as it is, and so is Amazon::S3. But RT's module passes on the keys and the host and
nothing else, so with it Amazon::S3 always speaks https (or, with a port in the host and a bucket name that could be part
of a host name, http to a host called BUCKET.HOST). C<use_path> sets the defaults of two options that Amazon::S3 has: C<secure>, and
C<dns_bucket_names>, off: a bucket at C<localhost> has no host name of its own.

=head1 FUNCTIONS

=head2 missing

Why RT's own module can't be used here, or undef.

=cut

sub missing {
    for my $module (qw(Amazon::S3 LWP::Protocol::https)) {
        my $file = "$module.pm" =~ s{::}{/}gr;
        return "$module is not installed" unless eval { require $file; 1 };
    }
    return undef;
}

=head2 environment $s3

More environment for RT's processes, as a list: LWP trusts the certificate authority of an L<Rts3::Test::S3Server>.

=cut

sub environment {
    my $s3 = shift;
    return ( PERL_LWP_SSL_CA_FILE => $s3->ca );
}

=head2 config $scheme

Text for RT_SiteConfig.pm.

=cut

sub config {
    my ($scheme) = @_;
    my $file     = abs_path(__FILE__);
    my $secure   = $scheme eq 'https' ? 1 : 0;
    return "require '$file';\nRts3::Test::OwnBackend::use_path( secure => $secure );\n";
}

=head2 use_path secure => $bool

Inside a process of RT: all that is asked of Amazon::S3 from now on goes to HOST/BUCKET/KEY.

=cut

sub use_path {
    my %default = ( dns_bucket_names => 0, @_ );
    require Amazon::S3;
    my $new = \&Amazon::S3::new;
    no warnings 'redefine';
    *Amazon::S3::new = sub {
        my ( $class, $options ) = @_;
        return $new->( $class, { %default, %{$options} } );
    };
    return;
}

=head2 take_over $rt, $backend, s3 => $s3, scheme => $scheme, bucket => $bucket, config => $text

From now on C<own> or C<ours> is the storage module of this L<Rts3::Test::RT>, whose processes die if they load the other
one. %ExternalStorage is the same for both, but for http: ours is told by the Host, RT's own can't be.

=cut

sub take_over {
    my ( $rt, $backend, %option ) = @_;
    my ( $s3, $scheme ) = @option{qw(s3 scheme)};
    $rt->{backend} = $backend;
    $rt->set_storage(
        Type            => 'AmazonS3',
        Bucket          => $option{bucket},
        Host            => $scheme eq 'https' ? $s3->https_host : $backend eq 'own' ? $s3->host : $s3->http,
        AccessKeyId     => $s3->access_key,
        SecretAccessKey => $s3->secret_key,
        ( $scheme eq 'https' ? ( CAFile => $s3->ca ) : () ),
    );
    $rt->set_config( join "\n", $option{config} // '', $backend eq 'own' ? config($scheme) : () );
    return;
}

1;
