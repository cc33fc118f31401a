package RT::ExternalStorage::AmazonS3::Tool::Verify::Sort;

use strict;
use warnings;

use File::Temp ();

# Lines held in memory, 2 MB with their overhead; and files that are merged into one
use constant { HELD => 10_000, FILES => 32 };

sub new {
    my ( $class, %args ) = @_;
    return bless { held => HELD, files => FILES, lines => [], levels => [], %args }, $class;
}

sub Add {
    my ( $self, $line ) = @_;
    push @{ $self->{lines} }, $line;
    $self->_Write if @{ $self->{lines} } >= $self->{held};
    return;
}

# No locale is in force, so this is the order of the bytes, as it is that of a bucket's listing
sub _Write {
    my ($self) = @_;
    my @lines = sort @{ $self->{lines} };
    $self->{lines} = [];
    $self->_Keep( 0, _File( sub { return shift @lines } ) );
    return;
}

# Files of about the same length are merged, so that each line is written a few times and few files are open
sub _Keep {
    my ( $self, $level, $file ) = @_;
    my $files = $self->{levels}[$level] ||= [];
    push @$files, $file;
    return if @$files < $self->{files};
    $self->{levels}[$level] = [];
    my $heads = _Heads(@$files);
    $self->_Keep( $level + 1, _File( sub { return _First($heads) } ) );
    return;
}

# A file without a name, of which nothing is left however this ends
sub Nameless {
    my ($class) = @_;
    my $file = File::Temp->new( TEMPLATE => 'rt-s3-verify-XXXXXXXX', TMPDIR => 1 );
    unlink $file->filename or die "$file: $!\n";
    return $file;
}

sub _File {
    my ($next) = @_;
    my $file = __PACKAGE__->Nameless;
    while ( defined( my $line = $next->() ) ) {
        print {$file} "$line\n" or die "$file: $!\n";
    }
    $file->flush or die "$file: $!\n";
    seek $file, 0, 0 or die "$file: $!\n";
    return $file;
}

# The next line in order; undef after the last one
sub Next {
    my ($self) = @_;
    if ( !$self->{heads} ) {
        $self->_Write if @{ $self->{lines} };
        $self->{heads} = _Heads( map { @{ $_ || [] } } @{ $self->{levels} } );
    }
    return _First( $self->{heads} );
}

# The first lines of files, in order
sub _Heads {
    my (@files) = @_;
    my $heads = [];
    _Insert( $heads, $_ ) for @files;
    return $heads;
}

sub _First {
    my ($heads) = @_;
    my $head = shift @$heads or return undef;
    my ( $line, $file ) = @$head;
    _Insert( $heads, $file );
    return $line;
}

sub _Insert {
    my ( $heads, $file ) = @_;
    my $line = readline $file;
    if ( !defined $line ) {
        die "$file: $!\n" if $file->error;
        return;
    }
    chomp $line;
    my ( $from, $to ) = ( 0, scalar @$heads );
    while ( $from < $to ) {
        my $middle = int( ( $from + $to ) / 2 );
        if   ( $heads->[$middle][0] lt $line ) { $from = $middle + 1 }
        else                                   { $to   = $middle }
    }
    splice @$heads, $from, 0, [ $line, $file ];
    return;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Verify::Sort - any number of lines in the order of their bytes

=head1 DESCRIPTION

Databases sort by collations of their own. This sorts in temporary files, in bounded memory.

=head1 METHODS

=head2 Nameless

As a class method: a temporary file that has no name.

=head2 Add LINE, Next

Add all lines, then take them. Each dies where a temporary file can't be written or read.

=cut
