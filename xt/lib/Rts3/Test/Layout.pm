package Rts3::Test::Layout;

use strict;
use warnings;

use Digest::SHA ();
use JSON::PP    ();
use Test::More;

use Rts3::Test::File qw(slurp);

=head1 NAME

Rts3::Test::Layout - an RT in a bare root, and what must work there with a module for S3

=head1 SYNOPSIS

    my $rt = Rts3::Test::Layout->new( root => $root, s3 => $s3, debian => 5 );
    my $rt = Rts3::Test::Layout->new( root => $root, s3 => $s3, home => '/opt/rt6', version => '6.0.0' );
    $rt->configure;
    $rt->works( module => "/opt/rt6/local/lib", tool => '/opt/rt6/sbin/rt-s3' );
    $rt->still_reads;

=head1 METHODS

=head2 new

An RT of Debian (its major version), or one from source in C<home>, which is made of Debian's RT 5: its files, moved, with the
paths that a source install has, and the version that is asked for.

=head2 configure

Writes the configuration as README says it, for this S3 server and a bucket of its own.

=head2 works module => $lib, tool => $program

Puts an attachment into RT, moves it with RT's own script and reads it again, all with the module in this lib directory;
looks at the page, and runs C<rt-s3 check> and C<verify>.

=head2 still_reads

The same attachment with RT's own module.

=cut

my $JSON = JSON::PP->new->canonical;

# Run by perl inside of the root
my $INSIDE = <<'END';
use strict;
use warnings;
my ( $libs, $what, @arguments ) = @ARGV;
unshift @INC, split /:/, $libs;
require RT;
RT::LoadConfig();
RT::Init();
require Digest::SHA;
require JSON::PP;
my %do = (
    create => sub {
        require MIME::Entity;
        my $mime = MIME::Entity->build( From => 'root@localhost', Subject => 'a file', Data => ["text\n"] );
        my $data = join '', map { Digest::SHA::sha512("$_[0] $_") } 1 .. 500;
        $mime->attach( Type => 'application/octet-stream', Filename => 'a.bin', Data => $data, Encoding => 'base64' );
        my ( $id, undef, $said ) = RT::Ticket->new( RT->SystemUser )
            ->Create( Queue => 'General', Subject => 'a file', Requestor => 'root@localhost', MIMEObj => $mime );
        my $files = RT::Attachments->new( RT->SystemUser );
        $files->Limit( FIELD => 'Filename', VALUE => 'a.bin' );
        $files->OrderBy( FIELD => 'id', ORDER => 'DESC' );
        return { id => $files->First->id, digest => Digest::SHA::sha256_hex($data), said => $said };
    },
    read => sub {
        my $file = RT::Attachment->new( RT->SystemUser );
        $file->Load( $_[0] );
        return {
            encoding => $file->ContentEncoding,
            digest   => Digest::SHA::sha256_hex( $file->OriginalContent // '' ),
            module   => $INC{'RT/ExternalStorage/AmazonS3.pm'},
            backend  => ref RT->System->ExternalStorage,
        };
    },
    page => sub {
        require HTTP::Request;
        require HTTP::Response;
        require HTTP::Message::PSGI;
        require RT::Interface::Web::Handler;
        my $env = HTTP::Request->new( GET => 'http://localhost/Admin/Tools/ExternalStorage.html' )->to_psgi;
        $env->{REMOTE_USER} = 'root';
        my $answer = HTTP::Response->from_psgi( RT::Interface::Web::Handler->PSGIApp->($env) );
        return { code => $answer->code, title => $answer->content =~ m{<title>\s*(.*?)\s*</title>}s };
    },
);
print "RESULT ", JSON::PP->new->canonical->encode( $do{$what}->(@arguments) ), "\n";
END

my %PATH = (
    BasePath                => '',
    EtcPath                 => '/etc',
    BinPath                 => '/bin',
    SbinPath                => '/sbin',
    VarPath                 => '/var',
    FontPath                => '/fonts',
    LexiconPath             => '/po',
    StaticPath              => '/static',
    PluginPath              => '/plugins',
    LocalPath               => '/local',
    LocalEtcPath            => '/local/etc',
    LocalLibPath            => '/local/lib',
    LocalLexiconPath        => '/local/po',
    LocalStaticPath         => '/local/static',
    LocalPluginPath         => '/local/plugins',
    MasonComponentRoot      => '/html',
    MasonLocalComponentRoot => '/local/html',
    MasonDataDir            => '/var/mason_data',
    MasonSessionDir         => '/var/session_data',
);

sub new {
    my ( $class, %args ) = @_;
    my $self = bless {%args}, $class;
    if ( $self->{home} ) {
        $self->_move;
        $self->{etc}    = "$self->{home}/etc";
        $self->{lib}    = "$self->{home}/lib";
        $self->{local}  = "$self->{home}/local/lib";
        $self->{script} = "$self->{home}/sbin/rt-externalize-attachments";
        $self->{setup}  = "$self->{home}/sbin/rt-setup-database";
    }
    else {
        my $rt = "request-tracker$self->{debian}";
        $self->{etc}    = "/etc/$rt";
        $self->{lib}    = "/usr/share/$rt/lib";
        $self->{local}  = "/usr/local/share/$rt/lib";
        $self->{script} = "/usr/sbin/rt-externalize-attachments-$self->{debian}";
    }
    $self->{bucket} = 'rt.' . ( $self->{home} // $self->{debian} ) =~ s/\W//gr . '.' . ++$class->_count->{all};
    $self->{root}->write_file( '/root/inside.pl', $INSIDE );
    $self->{root}->write_file( '/root/s3-ca.pem', slurp( $self->{s3}->ca ) );
    return $self;
}

my %Count;
sub _count { return \%Count }

# A source install of Debian's files
sub _move {
    my ($self)    = @_;
    my $home      = $self->{home};
    my $from      = '/usr/share/request-tracker5';
    my $generated = "package RT;\nuse warnings;\nuse strict;\nour \$VERSION = '$self->{version}';\n"
        . "our ( \$MAJOR_VERSION, \$MINOR_VERSION, \$REVISION ) = \$VERSION =~ /^(\\d)\\.(\\d)\\.(\\d+)/;\n"
        . join( '', map {"\$$_ = '$home$PATH{$_}';\n"} sort keys %PATH ) . "1;\n";
    $self->{root}->write_file( '/root/Generated.pm', $generated );
    $self->_run( <<"END", "an RT in $home" );
set -e
mkdir -p $home/etc/RT_SiteConfig.d $home/sbin $home/bin $home/var/mason_data $home/var/session_data $home/local/lib $home/local/html
cp -RL $from/lib $from/html $from/static $from/po $from/fonts $from/etc $home/
cp /root/Generated.pm $home/lib/RT/Generated.pm
for script in /usr/sbin/rt-*-5; do
    name=\$(basename \${script%-5})
    sed 's|"/usr/share/request-tracker5/lib", "/usr/local/share/request-tracker5/lib"|"$home/lib", "$home/local/lib"|' \\
        \$script >$home/sbin/\$name
    chmod 755 $home/sbin/\$name
done
cat >$home/etc/RT_SiteConfig.pm <<'CONFIG'
Set(\$rtname, 'example.test');
Set(\$DatabaseType, 'SQLite');
Set(\$DatabaseName, '$home/var/rt.db');
1;
CONFIG
$home/sbin/rt-setup-database --action init --datadir $home/etc
END
    return;
}

sub configure {
    my ($self) = @_;
    my $s3 = $self->{s3};
    $s3->make_bucket( $self->{bucket} );
    $self->{root}->write_file( "$self->{etc}/RT_SiteConfig.d/80-s3.pm", <<"END" );
Set(%ExternalStorage,
    Type            => 'AmazonS3',
    Bucket          => '$self->{bucket}',
    AccessKeyId     => '@{[ $s3->access_key ]}',
    SecretAccessKey => '@{[ $s3->secret_key ]}',
    Host            => '@{[ $s3->https_host ]}',
    CAFile          => '/root/s3-ca.pem',
);
Set(\$ExternalStorageCutoffSize, 1000);
Set(\$MailCommand, 'testfile');
Set(\$WebRemoteUserAuth, 1);
Set(\$WebPath, '');
1;
END
    return;
}

sub works {
    my ( $self, %expect ) = @_;
    my $file = $self->_inside( 'create', $self->{bucket} );
    $self->_run( $self->{script}, "RT's own script" );
    ok( $self->_is_read( $file, "$expect{module}/RT/ExternalStorage/AmazonS3.pm" ), 'reads what it moved' );
    is( scalar $self->{s3}->objects( $self->{bucket} ), 1, '... which is in the bucket' );
    is_deeply( $self->_inside('page'), { code => 200, title => 'External storage' }, 'the page' );
    for my $command ( '--version', 'check --quiet', 'verify --quiet' ) {
        my $run = $self->{root}->run("$expect{tool} $command");
        cmp_ok( $run->{exit}, '<=', 1, "$expect{tool} $command" ) or diag $run->{out}, $run->{err};
    }
    $self->{file} = $file;
    return;
}

sub still_reads {
    my ($self) = @_;
    return ok( $self->_is_read( $self->{file}, "$self->{lib}/RT/ExternalStorage/AmazonS3.pm" ),
        "RT's own module reads it" );
}

sub _is_read {
    my ( $self, $file, $module ) = @_;
    my $got  = $self->_inside( 'read', $file->{id} );
    my %want = (
        encoding => 'external',
        digest   => $file->{digest},
        module   => $module,
        backend  => 'RT::ExternalStorage::AmazonS3'
    );
    return 1 if $JSON->encode($got) eq $JSON->encode( \%want );
    diag $JSON->encode($got), "\nexpected ", $JSON->encode( \%want );
    return 0;
}

sub _inside {
    my ( $self, @arguments ) = @_;
    my $run = $self->{root}
        ->run("PERL_LWP_SSL_CA_FILE=/root/s3-ca.pem perl /root/inside.pl $self->{local}:$self->{lib} @arguments");
    my ($result) = $run->{out} =~ /^RESULT (.*)$/m;
    if ( !$result ) {
        diag "@arguments: $run->{exit}\n$run->{out}$run->{err}";
        return {};
    }
    return $JSON->decode($result);
}

sub _run {
    my ( $self, $shell, $name ) = @_;
    my $run = $self->{root}->run($shell);
    return is( $run->{exit}, 0, $name ) || diag $run->{out}, $run->{err};
}

1;
