package RT::ExternalStorage::AmazonS3::Tool::Verify::Sort;

use strict;
use warnings;

use File::Temp ();

# Lines held in memory: with their overhead at most 40 MB
use constant HELD => 150_000;

sub new {
    my ( $class, %args ) = @_;
    return bless { held => HELD, lines => [], runs => [], count => 0, %args }, $class;
}

sub Count { return $_[0]{count} }

sub Add {
    my ( $self, $line ) = @_;
    push @{ $self->{lines} }, $line;
    $self->{count}++;
    $self->_Write if @{ $self->{lines} } >= $self->{held};
    return;
}

# No locale is in force, so this is the order of the bytes, as it is that of a bucket's listing
sub _Write {
    my ($self) = @_;
    my $run = File::Temp->new( TEMPLATE => 'rt-s3-verify-XXXXXXXX', TMPDIR => 1 );
    for my $line ( sort @{ $self->{lines} } ) {
        print {$run} "$line\n" or die "$run: $!\n";
    }
    $run->flush or die "$run: $!\n";
    seek $run, 0, 0 or die "$run: $!\n";
    $self->{lines} = [];
    push @{ $self->{runs} }, $run;
    return;
}

# The next line in order; undef after the last one
sub Next {
    my ($self) = @_;
    $self->_Begin if !$self->{heads};
    my $head = shift @{ $self->{heads} } or return undef;
    my ( $line, $run ) = @$head;
    $self->_Insert($run);
    return $line;
}

sub _Begin {
    my ($self) = @_;
    $self->_Write if @{ $self->{lines} };
    $self->{heads} = [];
    $self->_Insert($_) for @{ $self->{runs} };
    return;
}

# The heads of the runs stay sorted
sub _Insert {
    my ( $self, $run ) = @_;
    my $line = readline $run;
    if ( !defined $line ) {
        die "$run: $!\n" if $run->error;
        return;
    }
    chomp $line;
    my $heads = $self->{heads};
    my ( $from, $to ) = ( 0, scalar @$heads );
    while ( $from < $to ) {
        my $middle = int( ( $from + $to ) / 2 );
        if   ( $heads->[$middle][0] lt $line ) { $from = $middle + 1 }
        else                                   { $to   = $middle }
    }
    splice @$heads, $from, 0, [ $line, $run ];
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Sort - any number of lines in the order of their bytes

=head1 DESCRIPTION

Databases sort by collations of their own. This sorts in temporary files, in bounded memory.

=head1 METHODS

=head2 Add LINE, Next, Count

Add all lines, then take them. Each dies where a temporary file can't be written or read.

=cut
