package RT::ExternalStorage::AmazonS3::Page::Server;

use strict;
use warnings;

# Objects that are looked for
use constant SAMPLES => 3;

# What no object is called
use constant NOTHING => '0' x 64;

# What it means that a call has failed, for somebody who has never seen S3, and what to do. [_1]: the server, [_2]: the bucket
my %MEANING = (
    'network' => [
        'RT can\'t reach the server [_1], where the attachments are.',
        'See that the server runs, that the option Host is its address, and that no firewall or proxy is between. '
            . 'Nothing is lost: once it can be reached, attachments are shown again, without a restart of RT.'
    ],
    'timeout' => [
        'The server [_1], where the attachments are, does not answer in time.',
        'See whether the server is overloaded, or a firewall drops what is sent to it. Nothing is lost.'
    ],
    'server' => [
        'The server [_1], where the attachments are, answers with errors.',
        'Look at the server, or ask whoever runs it. Nothing is lost.'
    ],
    'throttled' => [
        'The server [_1], where the attachments are, asks RT to slow down.',
        'It goes away by itself; if it does not, ask whoever runs the server.'
    ],
    'credentials' => [
        'RT has no valid keys for the server [_1], and so it may not read attachments there.',
        'Correct the options AccessKeyId and SecretAccessKey in RT_SiteConfig.pm, or the place where the keys come from, and restart the web server.'
    ],
    'denied' => [
        'The server [_1] refuses RT\'s keys, or does not let them read the bucket [_2].',
        'Let these keys read the bucket; "Check now" says which right is missing.'
    ],
    'no-bucket' => [
        'There is no bucket [_2] on the server [_1]: the attachments are somewhere else, or the bucket was deleted.',
        'Correct the options Bucket, Host or Region. A deleted bucket has to come back from its backup.'
    ],
    'config' => [
        'The options of %ExternalStorage have a mistake, so that nothing can be asked of the server.',
        'Mend the option in RT_SiteConfig.pm, and restart the web server.'
    ],
    'library' => [
        'RT can\'t load the library that speaks with the server.',
        'Install it again with "make install", and restart the web server.'
    ],
);
$MEANING{unavailable} = $MEANING{network};

my $OTHER = [
    'RT could not read from the server [_1], where the attachments are.',
    'Look for the cause in what the library says; "Check now" looks at more.'
];

# Asks the server a few quick questions. Returns { level, text, advice, detail }: texts as arguments for loc, and the
# library's words.
sub Look {
    my ( $class, $page, $shown, @digests ) = @_;
    my $backend = $page->Backend;
    my @where   = ( $shown->{Host} || 's3.amazonaws.com', $shown->{Bucket} // '' );
    return _Trouble( $backend->{_Broken}, @where ) if $backend->{_Broken};

    my ( undef, $error ) = $page->AskServer( get => NOTHING );
    my $is_denied = $error && $error->name eq 'denied';
    return _Trouble( $error, @where ) if $error && $error->name ne 'not-found' && !( $is_denied && @digests );

    # Without the right to list a bucket, what is not there is denied, too
    my ( $found, $absent ) = ( 0, 0 );
    for my $digest (@digests) {
        my ( $about, $why ) = $page->AskServer( head => $digest );
        if    ($about)                      { $found++ }
        elsif ( $why->name eq 'not-found' ) { $absent++ }
        else                                { return _Trouble( $is_denied ? $error : $why, @where ) }
    }
    return _Absent( $absent, $found, @where ) if $absent;
    return { level => 'ok', text => [ 'The server [_1] answers, and RT can read its bucket [_2].', @where ] };
}

sub _Absent {
    my ( $absent, $found, @where ) = @_;
    return {
        level => 'problem',
        text  => [
            'The server [_1] answers, but of [_3] attachments looked for in its bucket [_2] [_4] are not there.',
            @where, $absent + $found, $absent
        ],
        advice => [
            $found
            ? 'Run "rt-s3 verify", which finds all that are missing, and bring them back from the backup of the bucket.'
            : 'Most likely the options Bucket, Prefix or Host name another place than the one to which the attachments were moved.'
        ],
    };
}

sub _Trouble {
    my ( $error, @where )  = @_;
    my ( $text,  $advice ) = @{ $MEANING{ $error->name } || $OTHER };
    return {
        level  => 'problem',
        kind   => $error->name,
        text   => [ $text, @where ],
        advice => [$advice],
        detail => $error->message =~ s/@{[NOTHING]}/(a key that no object has)/gr,
    };
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Server - does the server answer, in words for everybody

=head1 CLASS METHODS

=head2 Look PAGE, OPTIONS, DIGESTS

A finding as L<RT::ExternalStorage::AmazonS3::Page::Health> has them. It asks for an object that can't be there, to learn
what the server says, and then whether a few are there that have to be.

=cut
