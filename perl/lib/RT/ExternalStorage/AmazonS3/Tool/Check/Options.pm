package RT::ExternalStorage::AmazonS3::Tool::Check::Options;

use strict;
use warnings;

use constant MEND => 'correct it in RT_SiteConfig.pm, and restart the web server';

# Returns whether a request can be formed
sub Look {
    my ( $class, $check ) = @_;
    my $given   = $check->Given;
    my $backend = $check->Backend;
    if ( my $broken = $backend->{_Broken} ) {
        $check->Failed( options => $broken, map { $_ => MEND } qw(config argument) );
        return 0;
    }
    my @mistakes = $class->Mistakes($check);
    unshift @mistakes, [ error => $backend->{_Refusal} ] if $backend->{_Refusal};
    for my $mistake (@mistakes) {
        my ( $level, $text ) = @$mistake;
        my $is_plain_http = $text =~ /begins with http:/;
        $check->Report( $level eq 'error' ? 'problem' : 'warning',
            'options', $text, $is_plain_http ? q{set Host => 'https://...'} : MEND );
    }
    my @names = sort grep { defined $given->{$_} } keys %$given;
    $check->Report( ok => 'options', join( ', ', @names ) . ': understood' ) if !@mistakes;
    return 1;
}

# A handle tells the mistakes of its options once; and RT has that one. So there are two others, with another option
# replaced in each of them, and they tell all mistakes between them.
sub Mistakes {
    my ( $class, $check ) = @_;
    my ( @mistakes, %seen );
    for my $other ( { ConnectTimeout => 2.9 }, { ReadTimeout => 14 } ) {
        my ($handle) = $check->Handle( Deadline => undef, Retries => undef, _Given($check), %$other );
        push @mistakes, grep { $_->[0] ne 'info' && !$seen{ $_->[1] }++ } $handle->drain if $handle;
    }
    return @mistakes;
}

sub _Given {
    my ($check) = @_;
    my $given = $check->Given;
    return map { $_ => $given->{$_} } grep { defined $given->{$_} && !ref $given->{$_} } keys %$given;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Options - the options of %ExternalStorage

=head1 CLASS METHODS

=over

=item Look CHECK

Reports every mistake; returns whether a request can be formed all the same.

=item Mistakes CHECK

The library's messages about them, as C<[level, text]>.

=back

=cut
