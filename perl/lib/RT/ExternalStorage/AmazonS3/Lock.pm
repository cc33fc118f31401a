package RT::ExternalStorage::AmazonS3::Lock;

use strict;
use warnings;

use Fcntl       ();
use File::Spec  ();
use Time::HiRes ();

# Seconds for which deletions are waited for
use constant PATIENCE => 60;

# RT's externalizer finds an object in the bucket, and only then points a row to it: between the two nothing may be
# deleted. It locks its own script.

# Returns the locks, which end with the reference, or a reason.
sub Shared {
    my ($class) = @_;
    my @scripts = _Scripts();
    return "RT's rt-externalize-attachments was not found, so it may be at work" if !@scripts;
    return _Lock( Fcntl::LOCK_SH(), @scripts );
}

# The same for one that externalizes, which waits for deletions: they take moments. $own: what is locked beside RT's
# script, which may not be there.
sub Exclusive {
    my ( $class, $own ) = @_;
    my $until = time + PATIENCE;
    while (1) {
        my $locks = _Lock( Fcntl::LOCK_EX(), _Scripts(), $own );
        return $locks if ref $locks || time > $until || !ref _Lock( Fcntl::LOCK_SH(), _Scripts(), $own );
        Time::HiRes::sleep(0.1);
    }
}

sub _Lock {
    my ( $kind, @scripts ) = @_;
    my @locks;
    for my $script (@scripts) {
        open my $handle, '<', $script    ## no critic (RequireBriefOpen) held by the caller
            or return "$script cannot be read: $!";
        if ( !flock $handle, $kind | Fcntl::LOCK_NB() ) {
            return "$script cannot be locked: $!" if !$!{EWOULDBLOCK};
            return
                flock( $handle, Fcntl::LOCK_SH() | Fcntl::LOCK_NB() )
                ? "files are being deleted ($script is locked for that)"
                : "RT's externalizer is at work ($script is locked)";
        }
        push @locks, $handle;
    }
    return \@locks;
}

sub _Scripts {
    no warnings 'once';
    my @directories = grep { defined && length } $RT::SbinPath, map { defined ? "$_/sbin" : () } $RT::BasePath;
    my ( @scripts, %seen );
    for my $directory (@directories) {
        for my $name ( map {"rt-externalize-attachments$_"} '', qw(-4 -5 -6) ) {
            my $path = File::Spec->catfile( $directory, $name );
            my @stat = stat $path or next;
            push @scripts, $path if !$seen{"$stat[0]:$stat[1]"}++;
        }
    }
    return @scripts;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Lock - who externalizes, and who deletes

=head1 SYNOPSIS

    my $locks = RT::ExternalStorage::AmazonS3::Lock->Shared;
    return "not now, because $locks" if !ref $locks;

=head1 DESCRIPTION

RT's F<rt-externalize-attachments> locks its own file, so that there is one at a time. While somebody holds a shared lock
of it, it does not start; while it runs, there is none to be had.

=head1 CLASS METHODS

=head2 Shared

The locks of who deletes, or a reason for which there are none. They end with the reference.

=head2 Exclusive FILE

The locks of who externalizes, RT's script and FILE, or a reason. Waits for deletions under way, up to 60 s.

=cut
