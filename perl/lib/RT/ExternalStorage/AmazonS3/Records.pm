package RT::ExternalStorage::AmazonS3::Records;

use strict;
use warnings;

use Sys::Hostname ();

# An attribute of RT's system object for each: two commands at once don't write over each other
use constant NAME => 'ExternalStorageS3 ';

# So many findings are kept of one run
use constant MOST => 200;

# Keeps what a run was about. Without success it only says so: a run that is done is not undone by that.
sub Keep {
    my ( $class, $of, %record ) = @_;
    %record = ( %record, ended => time, host => Sys::Hostname::hostname() );
    for my $list ( grep { ref eq 'ARRAY' } values %record ) {
        $#{$list} = MOST - 1 if @{$list} > MOST;
    }
    my ( $ok, $why ) = eval {
        local $SIG{__DIE__} = 'DEFAULT';
        RT->System->SetAttribute( Name => NAME . $of, Description => "rt-s3 $of", Content => \%record );
    };
    RT->Logger->warning( "rt-s3: the record of '$of' could not be kept: " . ( $why || $@ || 'unknown error' ) )
        if !$ok;
    return $ok;
}

# The record of the last run, or undef. As the database has it now, whatever this process has seen before.
sub Last {
    my ( $class, $of ) = @_;
    require RT::Attributes;
    my $attributes = RT::Attributes->new( RT->SystemUser );
    $attributes->LimitToObject( RT->System );
    my ($attribute) = $attributes->Named( NAME . $of );
    my $record      = $attribute ? $attribute->Content : undef;
    return ref $record eq 'HASH' ? $record : undef;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Records - what the commands of rt-s3 did last

=head1 SYNOPSIS

    RT::ExternalStorage::AmazonS3::Records->Keep( verify => started => $time, missing => 2, findings => [ ... ] );
    my $record = RT::ExternalStorage::AmazonS3::Records->Last('verify');

=head1 DESCRIPTION

One record for each command, an attribute of RT's system object: whoever shows it needs no look at all rows.

=head1 METHODS

=head2 Keep NAME, FIELD => VALUE, ...

Puts a record in the place of the last one, with C<ended> (seconds since the epoch) and C<host>. Of lists the first 200
entries are kept.

=head2 Last NAME

The record, or C<undef>.

=cut
