package RT::ExternalStorage::AmazonS3::Page::Record;

use strict;
use warnings;

# What may stand where: a list of one is a list of such, "*" any name
use constant { NUMBER => 1, TEXT => 2, BOOLEAN => 3 };

# The last moment of the year 9999
use constant LATEST => 253_402_300_799;

my $IS_NUMBER = qr/\A-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\z/i;

my %RUN   = ( started => NUMBER, ended  => NUMBER, host => TEXT, stopped => TEXT );
my %PART  = ( count   => NUMBER, bytes  => NUMBER );
my %ABOUT = ( id      => NUMBER, ticket => NUMBER, map { $_ => TEXT } qw(table object file field) );

my %FINDING = (
    repaired   => BOOLEAN,
    count      => NUMBER,
    references => [ \%ABOUT ],
    map { $_ => TEXT } qw(kind detail digest object)
);
my %VERIFY = (
    %RUN,
    deep     => BOOLEAN,
    findings => [ \%FINDING ],
    map { $_ => NUMBER } qw(references digests checked missing damaged invalid unreadable orphan repaired)
);

my %SHAPE = (
    'verify'       => \%VERIFY,
    'verify whole' => \%VERIFY,
    'verify deep'  => \%VERIFY,
    'externalize'  => {
        %RUN,
        failures => [ { id => NUMBER, class => TEXT, why => TEXT } ],
        map { $_ => NUMBER } qw(moved bytes skipped failed)
    },
    'internalize' => { %RUN, failed => NUMBER },
    'figures'     => {
        %RUN,
        saved  => NUMBER,
        months => { '*' => { map { $_ => [NUMBER] } qw(external database) } },
        map { $_ => \%PART } qw(external waiting small below objects)
    },
);

# Anything may stand in an attribute of RT, that of an older version or of somebody's hand. What is not as it should be is
# left out; without a time it is no record.
sub Sound {
    my ( $class, $of, $record ) = @_;
    my $sound = _Sound( $record, $SHAPE{$of} // return undef );
    return undef if !$sound || !defined $sound->{ended} || $sound->{ended} < 0 || $sound->{ended} > LATEST;
    $sound->{host} //= '?';
    return $sound;
}

sub _Sound {
    my ( $value, $shape ) = @_;
    return ref $value eq ref $shape ? _Parts( $value, $shape ) : undef if ref $shape;
    return $value                   ? 1                        : 0     if $shape == BOOLEAN;
    return undef if !defined $value || ref $value;
    return $shape == TEXT || $value =~ $IS_NUMBER ? $value : undef;
}

sub _Parts {
    my ( $value, $shape ) = @_;
    if ( ref $shape eq 'ARRAY' ) {
        my @sound = map { _Sound( $_, $shape->[0] ) } @{$value};
        return ref $shape->[0] ? [ grep {defined} @sound ] : \@sound;
    }
    my %sound;
    for my $name ( keys %{$value} ) {
        my $of   = $shape->{$name} // $shape->{'*'} // next;
        my $part = _Sound( $value->{$name}, $of ) // next;
        $sound{$name} = $part;
    }
    return \%sound;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Record - a record of a command, as the page can show it

=head1 CLASS METHODS

=head2 Sound NAME, RECORD

What is in a record of L<RT::ExternalStorage::AmazonS3::Records> and as it should be; C<undef> where that is nothing.

=cut
