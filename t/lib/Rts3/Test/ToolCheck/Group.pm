package Rts3::Test::ToolCheck::Group;

use strict;
use warnings;

use parent 'Rts3::Test::ToolCheck';

use constant CLASS => 'RT::ExternalStorage::AmazonS3::Tool::Check';

=head1 NAME

Rts3::Test::ToolCheck::Group - one group of checks of rt-s3, without RT

=head1 SYNOPSIS

    my $group = Rts3::Test::ToolCheck::Group->new( given => { Host => 'https://nowhere.invalid' } );
    $group->look('Network')->told( problem => 'name', qr/can't be looked up/ );

It is what the group asks for options, documents and the library's handle, and what it reports to.

=head1 METHODS

=head2 new

given: options of %ExternalStorage. documents: what the server says, by name: a text, or a list of an HTTP status and a
code. native: a handle of the library.

=head2 look $group, @more

Lets the group look, forgets what was told before, and returns itself.

=cut

sub new {
    my ( $class, %args ) = @_;
    return bless { given => {}, documents => {}, %args }, $class;
}

sub look {
    my ( $self, $group, @more ) = @_;
    my $module = CLASS . "::$group";
    eval "require $module; 1" or die $@;    ## no critic (ProhibitStringyEval)
    $self->{lines} = [];
    $module->Look( $self, @more );
    return $self;
}

=head2 Given, Native, Handle, Document, Report

For the group.

=cut

sub Given  { return $_[0]{given} }
sub Native { return $_[0]{native} }
sub Handle {return}

sub Document {
    my ( $self, $name ) = @_;
    my $document = $self->{documents}{$name} // [ 501, 'NotImplemented' ];
    require RT::ExternalStorage::AmazonS3::Tool::Check::Document;
    my $class = CLASS . '::Document';
    return $class->new($document) if !ref $document;
    return $class->new( '', status => $document->[0], code => $document->[1] );
}

sub Report {
    my ( $self, $result, $check, $text, $advice ) = @_;
    push @{ $self->{lines} }, { check => $check, result => $result, text => $text, advice => $advice };
    return;
}

1;
