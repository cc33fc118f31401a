package Rts3::Test::Html;

use strict;
use warnings;

use parent 'Rts3::Test::RealServer';

use Encode     ();
use File::Temp ();

use Rts3::Test::File    qw(spew);
use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::Html - is it HTML?

=head1 SYNOPSIS

    needs( Rts3::Test::Html->missing );
    is_deeply( [ Rts3::Test::Html->mistakes($html) ], [], 'no mistakes' );

=head1 DESCRIPTION

Two validators: html5lib, from PyPI, reads it by the rules of the HTML standard, as browsers do; HTML Tidy, of Debian,
knows which element may stand where, and which attributes there are.

=head1 METHODS

=head2 missing

Why that can't be done here, or undef. Installs html5lib in a virtual environment of its own, the first time.

=head2 mistakes $html

What they say about this part of a page, which stands in C<body>: a line for each.

=cut

our $Version = '1.1';

my @Packages = ( "html5lib==$Version", qw(six==1.17.0 webencodings==0.6.1) );
my $Tidy     = '/usr/bin/tidy';

# What HTML Tidy 5.6 says of RT's own boxes, of pictures with a style, and of what is newer than itself
my $Right = qr/trimming empty <span>|moved <style> tag|<input> proprietary attribute "inputmode"/;

my $Read = <<'END';
import html5lib, sys
parser = html5lib.HTMLParser()
parser.parse(sys.stdin.buffer.read(), transport_encoding="utf-8")
for (line, column), code, about in parser.errors:
    print(f"line {line} column {column} - {code} {about}")
END

sub _home {
    my $class = shift;
    return $class->cache . "/html5lib-$Version";
}

sub missing {
    my $class = shift;
    return 'HTML Tidy is not installed' if !-x $Tidy;
    return undef                        if -e $class->_home . '/complete' || eval { $class->install; 1 };
    return "html5lib can't be installed: $@";
}

sub install {
    my $class = shift;
    my $home  = $class->_home;
    $class->once(
        "html5lib-$Version",
        sub { -e "$home/complete" },
        sub {
            my %run = ( timeout => 300, env => { %ENV, PIP_DISABLE_PIP_VERSION_CHECK => 1 } );
            $class->must_run( 'A virtual environment',
                %run, command => [ '/usr/bin/python3', qw(-m venv --clear), $home ] );
            $class->must_run( 'pip', %run, command => [ "$home/bin/pip", qw(install -q --no-deps), @Packages ] );
            spew( "$home/complete", "@Packages\n" );
        }
    );
    return;
}

sub mistakes {
    my ( $class, $html ) = @_;
    my $file = File::Temp->new;
    my $page = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>x</title></head><body>\n$html\n</body></html>\n";
    spew( "$file", Encode::encode( 'UTF-8', $page ) );
    my $tidy = Rts3::Test::Process::run( command => [ $Tidy, qw(-q -e -utf8), "$file" ], env => {%ENV} );
    my $read = Rts3::Test::Process::run(
        command => [ '/bin/sh', '-c', '"$0" -c "$1" <"$2"', $class->_home . '/bin/python', $Read, "$file" ],
        env     => {%ENV}
    );
    die "html5lib: $read->{err}\n" if $read->{exit};
    return grep { length && $_ !~ $Right } split /\n/, "$tidy->{err}$read->{out}";
}

1;
