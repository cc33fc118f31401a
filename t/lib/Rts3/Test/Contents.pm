package Rts3::Test::Contents;

use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode      ();

use Rts3::Test::Demo::Files ();

=encoding UTF-8

=head1 NAME

Rts3::Test::Contents - a ticket with every kind of content that RT moves, and those that it leaves

=head1 SYNOPSIS

    my ($contents) = Rts3::Test::Contents->create( $rt, {} );
    $rt->run_script('rt-externalize-attachments');
    is_deeply( [ $contents->not_moved ],  [], 'all moved' );
    is_deeply( [ $contents->not_intact ], [], 'and read back' );

=head1 METHODS

=head2 create $rt, \%ticket, ...

Creates tickets in this L<Rts3::Test::RT>, whose configuration must say C<cutoff>, and returns an object for each. Of a
ticket can be said: C<mark>, a few letters that make its contents differ from those of another; or C<like>, another of
these objects, for the very same contents once more.

=head2 cutoff

What $ExternalStorageCutoffSize must be: RT moves text and images above it, everything else always.

=cut

my $Cutoff = 10_000;

sub cutoff { return $Cutoff }

# In a process of RT
my $Create = <<'CODE';
    my @made;
    for my $type (qw(Binary Image)) {
        my $field = RT::CustomField->new( RT->SystemUser );
        $field->LoadByCols( Name => $type );
        Rts3::Test::RT::Inside::create_custom_field( $type, $type ) unless $field->id;
    }
    for my $items (@_) {
        my ( %of, @binary, @image );
        push @{ $of{ $_->{kind} } }, $_ for @{$items};
        push @{ ( $_->{type} // '' ) =~ /^image/ ? \@image : \@binary }, $_ for @{ $of{'field value'} };
        my $ticket = Rts3::Test::RT::Inside::create_ticket(
            attachments => $of{attachment},
            fields      => { Binary => \@binary, Image => \@image },
        );
        my $values = RT::ObjectCustomFieldValues->new( RT->SystemUser );
        $values->Limit( FIELD => 'ObjectType', VALUE => 'RT::Ticket' );
        $values->Limit( FIELD => 'ObjectId',   VALUE => $ticket->{id} );
        my %id = map { ( 'attachment ' . ( $_->{name} // '' ) => $_->{id} ) } @{ $ticket->{attachments} };
        $id{ 'field value ' . $_->Content } = $_->id for @{ $values->ItemsArrayRef };
        push @made, [ $ticket, \%id ];
    }
    return \@made;
CODE

my $Read = <<'CODE';
    my @read;
    for my $item (@_) {
        my ( $kind, $id ) = @{$item};
        my $read = eval {
            $kind eq 'attachment' ? Rts3::Test::RT::Inside::attachment($id) : Rts3::Test::RT::Inside::field_value($id);
        };
        push @read, $read ? $read->{bytes} : \"$@";
    }
    return \@read;
CODE

sub create {
    my ( $class, $rt, @tickets ) = @_;
    my @made;
    for my $ticket (@tickets) {
        my @items = $ticket->{like} ? @{ $ticket->{like}{items} } : _items( $ticket->{mark} // '' );
        push @made, bless { rt => $rt, items => [ map { +{%$_} } @items ] }, $class;
    }
    my @answers = @{ $rt->call( $Create, map { $_->{items} } @made ) };
    for my $made (@made) {
        ( $made->{ticket}, my $id ) = @{ shift @answers };
        $_->{id} = $id->{"$_->{kind} $_->{name}"} // die "RT did not take $_->{name}\n" for @{ $made->{items} };
    }
    return @made;
}

sub _items {
    my ($mark) = @_;
    my $pdf    = Rts3::Test::Demo::Files::pdf() . $mark;
    my @items  = (
        { name => 'one.bin', content => length $mark ? substr $mark, 0, 1 : "\0" },
        { name => '64k.bin', content => join( '', $mark, map { chr( $_ % 256 ) } 1 .. 65536 ) },
        { name => 'odd.bin', content => "\xe9\xc3\x28 =3D=\r\n \rlone\r \xf0\x9f\x98\x80 \n.\nFrom $mark \n" x 20 },
        { name => '5MB.bin', content => Rts3::Test::Demo::Files::noise(5_000_000) },
        _texts($mark),
        { name => 'scan.png',     type => 'image/png',       content => Rts3::Test::Demo::Files::png( 100, 80 ) },
        { name => 'document.pdf', type => 'application/pdf', content => $pdf },
        { name => 'Übersicht "2026" <final>.pdf', type  => 'application/pdf', content => "$pdf\n" },
        { name => 'small.png',                    stays => 1,                 _image( 10, 10 ) },
    );
    my @values = (
        { name => 'contract.pdf',   type    => 'application/pdf', content => "$pdf\n\n" },
        { name => 'one more "<ü>"', content => "\0\xff$mark" x 500 },
        { name => 'photo.png',      _image( 120, 90 ) },
        { name => 'icon.png',       stays => 1, _image( 8, 8 ) },
    );
    return ( map { +{ kind => 'attachment', %{$_} } } @items ), ( map { +{ kind => 'field value', %{$_} } } @values );
}

sub _image { return ( type => 'image/png', content => Rts3::Test::Demo::Files::png(@_) ) }

sub _texts {
    my ($mark) = @_;
    my $text   = "Größe: 漢字, € und \x{1f512} $mark\n" x 1000;
    my @texts  = (
        { name => 'utf8.txt',   text    => $text },
        { name => 'latin1.txt', charset => 'ISO-8859-1', text => "Größe, façade, ½ $mark\r\n" x 1000 },
        { name => 'crlf.html',  type    => 'text/html',  text => "<p>x$mark</p>\r\n" x 2000 },
        { name => 'small.txt',  stays   => 1,            text => "Größe$mark\n" x 10 },
        { name => 'exact.txt',  stays   => 1,            text => 'x' x $Cutoff },
    );
    for my $file (@texts) {
        my $characters = delete $file->{text};
        $file->{type}    //= 'text/plain';
        $file->{charset} //= 'UTF-8';
        $file->{content} = Encode::encode( $file->{charset}, $characters );
        $file->{kept}    = Encode::encode( 'UTF-8',          $characters );    # as RT keeps all text
    }
    return ( @texts, { name => 'utf8-as-bytes', content => Encode::encode( 'UTF-8', $text ) . "\n" } );
}

=head2 ticket

What L<Rts3::Test::RT::Inside/create_ticket> said of the ticket.

=head2 moved

What RT moves: references to hashes with kind (C<attachment> or C<field value>), id, name (characters), content (as it
came), and of text kept (as RT keeps it).

=head2 digests

The names of the objects that must be in the bucket once all is moved, sorted, each once.

=cut

sub ticket { return $_[0]{ticket} }

sub moved {
    my $self = shift;
    return grep { !$_->{stays} } @{ $self->{items} };
}

sub digests {
    my $self = shift;
    my %seen = map { ( digest($_) => 1 ) } $self->moved;
    my @all  = sort keys %seen;
    return @all;
}

=head2 digest $item

An item's digest, as it is in its row and is the name of its object.

=cut

sub digest {
    my $item = shift;
    return sha256_hex( $item->{kept} // $item->{content} );
}

=head2 not_moved

A line for each row that is not what it must be after all was moved: external with its digest, or (what is
too small) not external.

=head2 external

The items that are external now.

=cut

sub not_moved {
    my $self = shift;
    my $rows = $self->_rows;
    my @wrong;
    for my $item ( @{ $self->{items} } ) {
        my $row      = $rows->{"$item->{kind} $item->{id}"} or die "no row for $item->{name}\n";
        my $external = ( $row->{ContentEncoding} // '' ) eq 'external';
        my $content  = $row->{ $item->{kind} eq 'attachment' ? 'Content' : 'LargeContent' };
        push @wrong, "$item->{name}: was moved"             if $external  && $item->{stays};
        push @wrong, "$item->{name}: was not moved"         if !$external && !$item->{stays};
        push @wrong, "$item->{name}: the row says $content" if $external  && $content ne digest($item);
    }
    return @wrong;
}

sub external {
    my $self = shift;
    my $rows = $self->_rows;
    return grep { ( $rows->{"$_->{kind} $_->{id}"}{ContentEncoding} // '' ) eq 'external' } $self->moved;
}

sub _rows {
    my $self = shift;
    my %rows = map { ( "attachment $_->{id}" => $_ ) } $self->{rt}->attachment_rows;
    return { %rows, map { ( "field value $_->{id}" => $_ ) } $self->{rt}->field_value_rows };
}

=head2 not_intact, not_intact @contents

A line for each file that RT's objects, in a process of RT, do not give back byte for byte. As a function it reads
several tickets in one process.

=cut

sub not_intact {
    my @contents = @_;
    my @items    = map { @{ $_->{items} } } @contents;
    my $read     = $contents[0]{rt}->call( $Read, map { [ $_->{kind}, $_->{id} ] } @items );
    my @wrong;
    for my $item (@items) {
        my $got = shift @{$read};
        my $why =
              ref $got                                           ? "error: ${$got}"
            : !defined $got                                      ? 'nothing'
            : utf8::is_utf8($got) && !utf8::downgrade( $got, 1 ) ? 'characters, not bytes'
            : $got ne $item->{content}                           ? length($got) . ' other bytes'
            :                                                      next;
        push @wrong, "$item->{name}: $why";
    }
    return @wrong;
}

1;
