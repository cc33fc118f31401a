package RT::ExternalStorage::AmazonS3::Tool::Selection;

use strict;
use warnings;

use Time::Local ();

# What --class and --ids ask for: the places, and the ids or undef
sub Asked {
    my ( $class, $tool, $database ) = @_;
    my @places = $database->Places;
    my $name   = $tool->Option('class');
    if ( defined $name ) {
        @places = $database->Place($name)
            // $tool->Refuse( "--class: '$name' is none of " . join ', ', map { $_->{class} } @places );
    }
    my $text = $tool->Option('ids') // return ( \@places, undef );
    $tool->Refuse('--ids needs --class, to say of what they are') if !defined $name;
    my %seen;
    my @ids     = split /[\s,]+/, $text;
    my ($wrong) = grep { !/\A[1-9]\d{0,17}\z/ } @ids;
    $tool->Refuse("--ids: '$wrong' is no id") if defined $wrong;
    $tool->Refuse('--ids names none')         if !@ids;
    return ( \@places, [ sort { $a <=> $b } grep { !$seen{$_}++ } @ids ] );
}

# What --since asks for, as databases have it, or undef
sub Since {
    my ( $class, $tool ) = @_;
    my $text = $tool->Option('since') // return undef;
    my ( $year, $month, $day, $time ) = $text =~ /\A(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d:\d\d:\d\d))?\z/;
    my @time = reverse split /:/, $time // '00:00:00';
    return $text =~ tr/T/ /r if $year && eval { Time::Local::timegm( @time, $day, $month - 1, $year ); 1 };
    return $tool->Refuse("--since: '$text' is no date: YYYY-MM-DD, or with a time, YYYY-MM-DD HH:MM:SS, in UTC");
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Selection - which rows a command was asked for

=head1 METHODS

=head2 Asked TOOL, DATABASE

What C<--class> and C<--ids> say: places of L<RT::ExternalStorage::AmazonS3::Tool::Database>, and ids in order and without
repetition, or C<undef>. Ends the command where they say something that is not.

=head2 Since TOOL

What C<--since> says, a date or a date and a time, or C<undef>. Ends the command where it is none.

=cut
