package RT::ExternalStorage::AmazonS3::Tool::Check::Schedule;

use strict;
use warnings;

use constant TELL => 3;

my @CRON    = qw(/etc/crontab /etc/anacrontab /etc/cron.*/* /var/spool/cron/*/* /var/spool/cron/*);
my @SYSTEMD = map { ( "$_/*.service", "$_/*.timer", "$_/*.service.d/*.conf" ) }
    qw(/etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system);

# What an editor or a package has put aside
my $ASIDE = qr/(?:~|\.(?:bak|disabled|old|orig|save|swp|dpkg-\w+|rpm\w+))\z/;

my %RUNS = (
    theirs => qr/\brt-externalize-attachments\b/,
    ours   => qr/\brt-s3\b.*\bexternalize\b/,
);

# $root: where the machine's files are
sub Look {
    my ( $class, $check, $root ) = @_;
    my ( %found, %seen );
    my @places = map  { ( $root // '' ) . $_ } @CRON, @SYSTEMD;
    my @closed = grep { !$seen{$_}++ && -d && !( -r _ && -x _ ) } map { glob s{/[^/]*\z}{}r } @places;
    for my $file ( grep { -f && !/$ASIDE/ } map {glob} @places ) {
        my @stat = stat $file;
        next if $seen{"$stat[0]:$stat[1]"}++;
        open my $handle, '<', $file or push( @closed, $file ), next;
        while ( my $line = <$handle> ) {
            next if $line =~ /\A\s*[#;]/;
            for my $which ( grep { $line =~ $RUNS{$_} } sort keys %RUNS ) {
                push @{ $found{$which} }, $file if !grep { $_ eq $file } @{ $found{$which} || [] };
            }
        }
        close $handle or next;
    }
    my ( $ours, $theirs ) = map { _Files( $found{$_} ) } qw(ours theirs);
    my $closed = @closed ? ' (not looked into: ' . _Files( \@closed ) . ')' : '';
    $check->Report(
        $ours && $theirs
        ? (
            warning => 'schedule',
            "both rt-s3 externalize ($ours) and rt-externalize-attachments ($theirs)$closed",
            'one of them is enough: whichever comes second finds the other at work, and ends'
            )
        : $ours   ? ( ok => 'schedule', "rt-s3 externalize: $ours$closed" )
        : $theirs ? ( ok => 'schedule', "rt-externalize-attachments: $theirs$closed" )
        :           ( unknown => 'schedule', "neither cron nor systemd of this machine moves attachments$closed" )
    );
    return 1;
}

sub _Files {
    my ($files) = @_;
    return '' if !$files;
    my @few = @$files > TELL ? ( @$files[ 0 .. TELL - 1 ], '...' ) : @$files;
    return join ', ', @few;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Schedule - who moves attachments regularly

=head1 CLASS METHODS

=over

=item Look CHECK, [ROOT]

Reports what cron and systemd run. ROOT: a directory with their files, in place of the machine's own.

=back

=cut
