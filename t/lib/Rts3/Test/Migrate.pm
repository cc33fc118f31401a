package Rts3::Test::Migrate;

use strict;
use warnings;

use Data::Dumper ();
use Exporter     qw(import);

use Rts3::Test::File qw(spew);

our @EXPORT_OK = qw(dump_rows migrate storage_file);

=head1 NAME

Rts3::Test::Migrate - what the tests of rt-s3 migrate have in common

=head1 FUNCTIONS

=head2 storage_file $rt, $name, %options

A file beside RT's own configuration, for root alone, that sets %ExternalStorage. Returns its path.

=cut

sub storage_file {
    my ( $rt, $name, %options ) = @_;
    my $file = $rt->dir . "/$name";
    my $text = Data::Dumper->new( [ \%options ] )->Terse(1)->Useqq(1)->Sortkeys(1)->Indent(1)->Dump;
    spew( $file, "Set(%ExternalStorage, %{ $text });\n1;\n" );
    chmod 0600, $file or die "$file: $!";
    return $file;
}

=head2 migrate $rt, @arguments

Runs C<rt-s3 migrate>, in turn with the other tests that hold RT's lock. Returns what C<run_tool> does.

=cut

sub migrate {
    my ( $rt, @arguments ) = @_;
    return $rt->run_tool( 'migrate', @arguments );
}

=head2 dump_rows $rt

What there is in the tables that refer to files.

=cut

sub dump_rows {
    my ($rt) = @_;
    return map {
        { %{$_} }
    } $rt->attachment_rows, $rt->field_value_rows;
}

1;
