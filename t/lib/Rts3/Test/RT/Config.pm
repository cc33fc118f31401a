package Rts3::Test::RT::Config;

use strict;
use warnings;

use Data::Dumper ();

=head1 NAME

Rts3::Test::RT::Config - The RT_SiteConfig.pm of a throwaway RT

=head1 FUNCTIONS

=head2 text %args

The text of the file: dir (where everything of this RT is), port (of its web server), storage (%ExternalStorage, or
undef), module_dirs, module and trace (see below), more (text to put at its end).

RT localises @INC while it reads a site configuration, and its programs put its
directories in front of everything that PERL5LIB says. So the
configuration puts module_dirs in front when RT is about to load the storage module. What RT then loaded is
written down by the very process, one line in the file trace; and the process dies if it was another AmazonS3 module than
module.

=cut

our $Module = 'RT/ExternalStorage/AmazonS3.pm';

sub text {
    my %args = @_;
    my $text = _basics( @args{qw(dir port)} ) . _witness( @args{qw(module_dirs module trace)} );
    $text .= 'Set(%ExternalStorage, %{ ' . _dump( $args{storage} ) . " });\n" if $args{storage};
    return "$text\n$args{more}\n1;\n";
}

=head2 environment $dir, %more

The environment of its processes: the caller's without AWS_*, RT_*, HARNESS_* and proxies, and more. The metadata of the
machine that runs the tests is out of reach.

=cut

sub environment {
    my ( $dir, %more ) = @_;
    my $foreign = qr/^(?:RT_|AWS_|HARNESS_|PERL5OPT$|GATEWAY_INTERFACE$|(?i:https?|no|all)_proxy$)/;
    return (
        ( map { $_ => $ENV{$_} } grep { !/$foreign/ } keys %ENV ),
        HOME                      => "$dir/home",
        LC_ALL                    => 'C.UTF-8',
        TZ                        => 'UTC',
        RT_SITE_CONFIG            => "$dir/RT_SiteConfig.pm",
        RT_SITE_CONFIG_DIR        => "$dir/site.d",
        AWS_EC2_METADATA_DISABLED => 'true',
        %more,
    );
}

sub _basics {
    my ( $dir, $port ) = @_;
    return <<"END";
Set(\$rtname, 'example.test');
Set(\$Organization, 'example.test');
Set(\$CorrespondAddress, 'rt\@example.test');
Set(\$CommentAddress, 'rt-comment\@example.test');
Set(\$DatabaseType, 'SQLite');
Set(\$DatabaseName, '$dir/rt.db');
Set(\$Timezone, 'UTC');
Set(\$WebDomain, '127.0.0.1');
Set(\$WebPort, $port);
Set(\$WebPath, '');
Set(\$LogToSyslog, undef);
Set(\$LogToSTDERR, 'error');
Set(\$LogToFile, 'debug');
Set(\$LogDir, '$dir/log');
Set(\$LogToFileNamed, 'rt.log');
\$RT::VarPath = '$dir/var';
\$RT::MasonDataDir = '$dir/mason';
\$RT::MasonSessionDir = '$dir/sessions';
Set(\$MailCommand, sub {
    my \$entity = shift;
    open my \$fh, '>>', '$dir/mails' or return 0;
    my \$mail = \$entity->as_string;
    return print {\$fh} length(\$mail), "\\n", \$mail;
});
END
}

sub _witness {
    my ( $dirs, $module, $trace ) = @_;
    my $values = _dump( { dirs => $dirs, file => $Module, want => $module, trace => $trace } );
    return "{\n    my \$witness = $values;\n" . <<'END';
    my $meta  = RT->Config->Meta('ExternalStorage');
    my $check = $meta->{PostLoadCheck};
    $meta->{PostLoadCheck} = sub {
        my %ours = map { $_ => 1 } @{ $witness->{dirs} };
        @INC = ( @{ $witness->{dirs} }, grep { !$ours{$_} } @INC );
        $check->(@_);
        my $type   = ( RT->Config->Get('ExternalStorage') || {} )->{Type} || '';
        my $loaded = $INC{ $witness->{file} } || '-';
        open my $fh, '>>', $witness->{trace} or die "$witness->{trace}: $!";
        print {$fh} "$$\t$0\t$type\t$loaded\n";
        close $fh;
        die "RT loaded $loaded and not $witness->{want}\n"
            if $type eq 'AmazonS3' && defined $witness->{want} && $loaded ne $witness->{want};
    };
}
END
}

sub _dump {
    my $data = shift;
    chomp( my $text = Data::Dumper->new( [$data] )->Terse(1)->Useqq(1)->Sortkeys(1)->Indent(1)->Dump );
    return $text;
}

1;
