package RT::ExternalStorage::AmazonS3::Tool::Externalize::Mark;

use strict;
use warnings;

use Time::HiRes qw(time);

# RT's own script keeps it there
use constant ATTRIBUTE => 'ExternalStorage';

# Seconds between two savings
use constant PAUSE => 30;

sub new {
    my ($class)   = @_;
    my $attribute = RT->System->FirstAttribute(ATTRIBUTE);
    my $content   = $attribute ? $attribute->Content : undef;
    return bless { last => ref $content eq 'HASH' ? $content : {}, saved => time }, $class;
}

sub Of {
    my ( $self, $class ) = @_;
    @{$self}{qw(waiting done reached held)} = ( [], {}, undef, undef );
    return $self->{last}{$class} || 0;
}

# Rows begin in the order of their ids, and are done in any; the mark passes none that is not
sub Begin {
    my ( $self, $id ) = @_;
    push @{ $self->{waiting} }, $id if !defined $self->{held};
    return;
}

sub Done {
    my ( $self, $id ) = @_;
    return if defined $self->{held} && $id >= $self->{held};
    $self->{done}{$id} = 1;
    while ( @{ $self->{waiting} } && delete $self->{done}{ $self->{waiting}[0] } ) {
        $self->{reached} = shift @{ $self->{waiting} };
    }
    return;
}

# One that has to be looked at again. What is behind it counts no more, however much that is, and takes no memory.
sub Hold {
    my ( $self, $id ) = @_;
    return if defined $self->{held} && $id >= $self->{held};
    $self->{held}    = $id;
    $self->{waiting} = [ grep { $_ < $id } @{ $self->{waiting} } ];
    delete @{ $self->{done} }{ grep { $_ > $id } keys %{ $self->{done} } };
    return;
}

sub Save {
    my ( $self, $class ) = @_;
    $self->{saved} = time;
    return if !defined $self->{reached} || $self->{reached} <= ( $self->{last}{$class} || 0 );
    $self->{last}{$class} = $self->{reached};
    my ( $ok, $why ) = RT->System->SetAttribute( Name => ATTRIBUTE, Content => $self->{last} );
    RT->Logger->error("rt-s3: the high-water mark could not be saved: $why") if !$ok;
    return;
}

sub SaveSometimes {
    my ( $self, $class ) = @_;
    $self->Save($class) if time - $self->{saved} > PAUSE;
    return;
}

# A row, and all behind it, will have to be looked at again. Returns whether that is so now, in the database: what this
# process has read before does not count, and RT's SetAttribute does not say whether it failed.
sub Lower {
    my ( $class, $of, $id ) = @_;
    for my $attribute ( $class->_Attributes ) {
        my $content = $attribute->Content;
        next if ref $content ne 'HASH' || ( $content->{$of} || 0 ) < $id;
        $attribute->SetContent( { %{$content}, $of => $id - 1 } );
    }
    return !grep { ref eq 'HASH' && ( $_->{$of} || 0 ) >= $id } map { $_->Content } $class->_Attributes;
}

sub _Attributes {
    require RT::Attributes;
    my $attributes = RT::Attributes->new( RT->SystemUser );
    $attributes->LimitToObject( RT->System );
    return $attributes->Named(ATTRIBUTE);
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Externalize::Mark - up to where all has been moved

=head1 DESCRIPTION

The high-water mark that RT's own F<rt-externalize-attachments> keeps, in the same place and with the same meaning. It
passes no row that could not be moved.

=head1 METHODS

=over

=item Of CLASS

Where a class begins.

=item Begin ID, Done ID, Hold ID

A row is on its way; it needs no further look; it needs one.

=item Save CLASS, SaveSometimes CLASS

=item Lower CLASS, ID

As a class method: sees to it that the mark of a class is below this row. Returns whether it is.

=back

=cut
