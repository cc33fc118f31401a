package Rts3::Test::Messages;

use strict;
use warnings;
use utf8;

use Carp     qw(croak);
use Exporter qw(import);
use PPI      ();

use Rts3::Test::File qw(slurp);

our @EXPORT_OK = qw(perl_messages rust_messages);

=encoding utf-8

=head1 NAME

Rts3::Test::Messages - what the sources can say to a person

=head1 SYNOPSIS

    use Rts3::Test::Messages qw(perl_messages rust_messages);

    my @messages = rust_messages('src/s3/outage.rs');

=head1 DESCRIPTION

A message is a text in a string of the sources with at least two words in it. What is put in when it is printed is C<…>
here. A message that is made of several strings is several, unless they stand in one expression: C<no answer within {}> is
one, and the line it becomes a part of is another one.

=head1 FUNCTIONS

=head2 rust_messages $file

The messages in a file of Rust, without those of its tests.

=cut

# A comment, a string, a raw string, or a character, of which '"' must not begin a string
my $TOKEN =
    qr{//[^\n]*|/\*.*?\*/|"(?<string>(?:[^"\\]|\\.)*)"|r(?<hash>\#*)"(?<raw>.*?)"\k<hash>|'(?:[^'\\\n]|\\[^\n]+?)'}s;

sub rust_messages {
    my ($file) = @_;
    my $source = _source($file);
    $source =~ s/^#\[cfg\(test\)\]\s*\nmod \w+ \{.*//ms;
    my @texts;
    while ( $source =~ /$TOKEN/g ) {
        my $text = $+{string} // $+{raw} // next;
        $text =~ s/\\\n\s*//g;
        $text =~ s/\\[nr]/ /g;
        $text =~ s/\\(.)/$1/g;
        $text =~ s/\{[^{}]*\}/…/g;
        push @texts, $text;
    }
    return _messages(@texts);
}

=head2 perl_messages $file, $verbs

The messages in a module; with C<$verbs>, a pattern, only those in statements in which one of these words stands.

=cut

sub perl_messages {
    my ( $file, $verbs ) = @_;
    my $source   = _source($file);
    my $document = PPI::Document->new( \$source, readonly => 1 ) or croak "$file: no Perl";
    my @texts;
    for my $node ( $document, @{ $document->find('PPI::Node') || [] } ) {
        my $statement = $node->isa('PPI::Statement') ? $node : $node->statement;
        next if $verbs && $statement && _outermost($statement)->content !~ /\b(?:$verbs)\b/;
        push @texts, _joined( $node->schildren );
    }
    return _messages(@texts);
}

# In the parentheses of a call it is the call's statement that counts, in a block that of the block
sub _outermost {
    my ($statement) = @_;
    while ( ref $statement eq 'PPI::Statement::Expression' || ref $statement eq 'PPI::Statement' ) {
        my $parent = $statement->parent;
        last if !$parent || !$parent->isa('PPI::Structure') || $parent->isa('PPI::Structure::Block');
        $statement = $parent->statement or last;
    }
    return $statement;
}

# The strings among siblings, those that dots connect as one
sub _joined {
    my @elements = @_;
    my ( @texts, $text, $dot );
    for my $element (@elements) {
        if ( $element->isa('PPI::Token::Quote') || $element->isa('PPI::Token::HereDoc') ) {
            push @texts, $text if defined $text && !$dot;
            $text = ( $dot ? $text // '' : '' ) . _quoted($element);
            $dot  = 0;
        }
        elsif ( $element->isa('PPI::Token::Operator') && $element->content eq '.' ) {
            $dot = 1;
        }
        elsif ($element->isa('PPI::Token::Operator') && $element->content ne '->'
            || $element->isa('PPI::Token::Structure')
            || $element->isa('PPI::Token::Word') && $element->content =~ /\A(?:if|unless|or|and|return|for)\z/ )
        {
            push @texts, $text if defined $text;
            ( $text, $dot ) = ( undef, 0 );
        }
        else {
            $text = ( $text // '' ) . '…' if $dot || !defined $text;
            $dot  = 0;
        }
    }
    return grep {defined} @texts, $text;
}

sub _quoted {
    my ($token) = @_;
    my $text    = $token->isa('PPI::Token::HereDoc') ? join( '', $token->heredoc ) : $token->string;
    my $plain   = $token->isa('PPI::Token::Quote::Single') || $token->isa('PPI::Token::Quote::Literal');
    return $text =~ s/\\([\\'])/$1/gr if $plain;
    $text =~ s/\\[nr]/ /g;
    $text =~ s/[\$\@]\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|\$\w+(?:::\w+)*(?:(?:->)?(?:\[[^\]]*\]|\{[^}]*\}))*|\$[\@!]/…/g;
    $text =~ s/\\(.)/$1/g;
    return $text;
}

sub _source {
    my ($file) = @_;
    my $source = slurp($file);
    croak "$file cannot be read" if !utf8::decode($source) || !length $source;
    return $source;
}

sub _messages {
    my @texts = @_;
    my %seen;
    for my $text (@texts) {
        $text =~ s/%[-+.\d]*[dsfo]/…/g;
        $text =~ s/…(?:…)+/…/g;
        $text =~ s/\s+/ /g;
        $text =~ s/\A[ ;:,]+|[ ;:,]+\z//g;
    }
    return grep { / / && /\p{L}{2}.*[^\p{L}'].*\p{L}{2}/ && !$seen{$_}++ } @texts;
}

1;
