package Rts3::Test::Browser::Links;

use strict;
use warnings;

use Encode   ();
use Exporter qw(import);
use Test::More;

our @EXPORT_OK = qw(trap_works links_lead);

=head1 NAME

Rts3::Test::Browser::Links - where the links on a ticket's page lead, and what comes of a click

=head1 FUNCTIONS

=head2 trap_works $ticket

Tests that a script would be noticed, where an L<Rts3::Test::Browser::Ticket>'s files are opened as what they are.

=cut

sub trap_works {
    my ($ticket) = @_;
    ok( !$ticket->sprung, 'no script has run yet' );
    for my $name ( 'price form.html', 'logo.svg' ) {
        my $file = $ticket->file($name);
        $ticket->bait( 'bait', $file->{type}, $file->{content} );
        ok( $ticket->sprung, "$name: its script runs where it can" );
    }
    return;
}

=head2 links_lead $ticket, %expected

Tests it, for all files of the page. Expected are, by the file's name, references to arrays: C<RT> or C<S3>, C<shown> as or
C<saved> as, and the type or name; and of text the encoding by which it is shown, if it is not UTF-8.

=cut

sub links_lead {
    my ( $ticket, %expected ) = @_;
    my $base   = $ticket->s3->https . '/';
    my @links  = $ticket->look;
    my @images = $ticket->images;

    my @names = map { $_->{name} } grep { $_->{place} ne 'list' } @links;
    is_deeply( [ sort @names ], [ sort keys %expected ], 'a link to each file' );
    my %url = map { $_->{name} => $_->{url} } grep { $_->{place} ne 'list' } @links;
    for my $link (@links) {
        my ($where) = @{ $expected{ $link->{name} } };
        my $direct = index( $link->{url}, $base ) == 0 ? 'S3' : 'RT';
        is( $direct, $where, "$link->{place}, $link->{name}: a link to $where" );
        next                                                                     if $where eq 'RT';
        is( $link->{url}, $url{ $link->{name} }, '... the same one everywhere' ) if $link->{place} eq 'list';
        unlike( $link->{url}, qr{[^A-Za-z0-9\-_.~%/?&=:]}, '... safe in HTML' );
    }
    my %linked = map { $_->{url} => 1 } @links;
    is( @images, 4, 'four images' );
    for my $image (@images) {
        cmp_ok( $image->{width}, '>', 100, "... shown: $image->{url}" );
        ok( $linked{ $image->{url} }, '... by the same link' );
    }
    ok( !$ticket->sprung, 'no script has run' );

    _click( $ticket, $_, $expected{ $_->{name} } ) for grep { $_->{place} ne 'list' } @links;
    return;
}

sub _click {
    my ( $ticket, $link, $expected ) = @_;
    my ( $where, $outcome, $as, $encoding ) = @{$expected};
    my $file = $ticket->file( $link->{name} );
    my $got  = $ticket->follow( $link->{place}, $link->{name} );
    if ( $outcome eq 'saved' ) {
        is( $got->{name}, $as, "click on $link->{name}: downloaded with its name" );
        ok( defined $got->{content} && $got->{content} eq $file->{content}, '... and its bytes' );
    }
    else {
        is( $got->{type}, $as, "click on $link->{name}: shown as $as" );
        if ( $as =~ /\Aimage/ ) {
            cmp_ok( $got->{width}, '>', 100, '... an image' );
        }
        else {
            my $text = Encode::decode( $encoding // 'UTF-8', $file->{content} );
            is( _words( $got->{text} ), _words($text), '... the text' );
        }
    }
    ok( !$ticket->sprung, '... and no script has run' );
    return;
}

sub _words {
    my ($text) = @_;
    return join ' ', split ' ', $text // 'nothing';
}

1;
