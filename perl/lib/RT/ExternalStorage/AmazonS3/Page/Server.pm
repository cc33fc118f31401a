package RT::ExternalStorage::AmazonS3::Page::Server;

use strict;
use warnings;

# Objects that are looked for, and how many bytes one may have that is read
use constant { SAMPLES => 3, SMALL => 250_000 };

# What no object is called
use constant NOTHING => '0' x 64;

# What it means that a call has failed, for somebody who has never seen S3, and what to do. [_1]: the server, [_2]: the bucket
my %MEANING = (
    'network' => [
        'RT can\'t reach the server [_1], where the attachments are.',
        'See that the server runs, that the option Host is its address, and that no firewall or proxy is between. '
            . 'Nothing is lost: once it can be reached, attachments are shown again, without a restart of RT.'
    ],
    'name' => [
        'The name of the server [_1], where the attachments are, is not known to the name service (DNS).',
        'Correct the option Host, if the name is wrong; else see that this machine can look names up. Nothing is lost.'
    ],
    'certificate' => [
        'RT does not trust the server [_1], where the attachments are: its certificate is not valid here.',
        'If the certificate has expired, or is for another name, whoever runs the server has to renew it. '
            . 'If an authority of your own has signed it, name that in the option CAFile. Nothing is lost.'
    ],
    'tls' => [
        'RT can\'t talk with the server [_1], where the attachments are, over an encrypted connection.',
        'See whether the option Host has the right port, and begins with http:// if the server has no TLS. Nothing is lost.'
    ],
    'proxy' => [
        'RT can\'t reach the server [_1], where the attachments are, through the proxy.',
        'See that the proxy runs, and lets RT through. It is that of the option Proxy or of a variable such as https_proxy; '
            . '"Configuration in force" has it. Nothing is lost.'
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
    'archived' => [
        'Attachments in the bucket [_2] on the server [_1] have been moved to an archive, out of which RT can\'t read them.',
        'Restore them in S3, and delete the lifecycle rule of the bucket that archives them. Nothing is lost.'
    ],
    'not-found' => [
        'An attachment is not in the bucket [_2] on the server [_1].',
        'Run "rt-s3 verify", which finds all that are missing, and bring them back from the backup of the bucket.'
    ],
    'corrupt' => [
        'An attachment in the bucket [_2] on the server [_1] is damaged: its content is not what RT has stored.',
        'Run "rt-s3 verify --deep", which finds all that are damaged, and bring them back from the backup of the bucket.'
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

# The library has one name for several causes, and says in words which it is
my @CAUSES = (
    [ qr/\A(?:network|unavailable)\z/, qr/the proxy\b/,               'proxy' ],
    [ qr/\A(?:network|unavailable)\z/, qr/can't look up/,             'name' ],
    [ qr/\A(?:network|unavailable)\z/, qr/no TLS with.*?certificate/, 'certificate' ],
    [ qr/\A(?:network|unavailable)\z/, qr/no TLS with/,               'tls' ],
    [ qr/\Adenied\z/,                  qr/InvalidObjectState/,        'archived' ],
);

my $OTHER = [
    'RT could not read from the server [_1], where the attachments are.',
    'Look for the cause in what the library says; "Check now" looks at more.'
];

# Server and bucket, of options without secrets
sub Where {
    my ($shown) = @_;
    return ( $shown->{Host} || 's3.amazonaws.com', $shown->{Bucket} // '' );
}

# Asks the server a few quick questions. Returns { level, text, advice, detail }: texts as arguments for loc, and the
# library's words.
sub Look {
    my ( $class, $page, $shown, @digests ) = @_;
    my $backend = $page->Backend;
    my @where   = Where($shown);
    return _Trouble( $backend->{_Broken}, @where ) if $backend->{_Broken};

    my ( undef, $error ) = $page->AskServer( get => NOTHING );
    my $is_denied = $error && $error->name eq 'denied';
    return _Trouble( $error, @where ) if $error && $error->name ne 'not-found' && !( $is_denied && @digests );

    # Without the right to list a bucket, what is not there is denied, too
    my ( $absent, %size ) = (0);
    for my $digest (@digests) {
        my ( $about, $why ) = $page->AskServer( head => $digest );
        if    ($about)                      { $size{$digest} = $about->{size} // SMALL + 1 }
        elsif ( $why->name eq 'not-found' ) { $absent++ }
        else                                { return _Trouble( $is_denied ? $error : $why, @where ) }
    }
    return _Absent( $absent, scalar keys %size, @where ) if $absent;

    # What is there may be archived, encrypted with a key out of reach, or damaged
    my ($least) = sort { $size{$a} <=> $size{$b} } keys %size;
    if ( defined $least && $size{$least} <= SMALL ) {
        my ( $content, $why ) = $page->AskServer( get => $least );
        return _Trouble( $why, @where ) if !defined $content;
    }
    return { level => 'ok', text => [ 'The server [_1] answers, and RT can read its bucket [_2].', @where ] };
}

sub _Absent {
    my ( $absent, $found, @where ) = @_;
    return {
        level => 'problem',
        text  => [
            'The server [_1] answers, but of [quant,_3,attachment,attachments] looked for in its bucket [_2] '
                . '[quant,_4,is,are] not there.',
            @where, $absent + $found, $absent
        ],
        advice => [
              $found
            ? $MEANING{'not-found'}[1]
            : 'Most likely the options Bucket, Prefix or Host name another place than the one to which the attachments were moved.'
        ],
    };
}

sub _Trouble {
    my ( $error, @where ) = @_;
    return { level => 'problem', Meaning( $error, @where ) };
}

# In words for everybody: text, advice and detail of a finding
sub Meaning {
    my ( $error, @where ) = @_;
    my ( $name,  $said )  = ( $error->name, $error->message );
    my ($cause) = map { $_->[2] } grep { $name =~ $_->[0] && $said =~ $_->[1] } @CAUSES;
    $cause //= $name;
    my ( $text, $advice ) = @{ $MEANING{$cause} || $OTHER };
    return (
        cause  => $cause,
        text   => [ $text, @where ],
        advice => [$advice],
        detail => $said =~ s/@{[NOTHING]}/(a key that no object has)/gr,
    );
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Server - does the server answer, in words for everybody

=head1 CLASS METHODS

=head2 Look PAGE, OPTIONS, DIGESTS

A finding as L<RT::ExternalStorage::AmazonS3::Page::Health> has them. It asks for an object that can't be there, to learn
what the server says, then whether a few are there that have to be, and reads the least of them if it is below 250 kB: more could take long on a slow way.

=head1 FUNCTIONS

=head2 Where OPTIONS; Meaning ERROR, WHERE

How server and bucket are called; what an error of the library means, and what to do: C<text>, C<advice> and C<detail> of a
finding, and a name for the C<cause>.

=cut
