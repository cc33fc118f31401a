package RT::ExternalStorage::AmazonS3::Tool::Check::Links;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Link;
use RT::ExternalStorage::AmazonS3::Tool::Check::Web;

use constant WEB => __PACKAGE__ =~ s/Links/Web/r;

use constant { FILE => 'check.txt', TYPE => 'text/plain; charset=utf-8' };

sub Look {
    my ( $class, $check ) = @_;
    my $are_on = RT->Config->Get('ExternalStorageDirectLink') ? 1 : 0;
    my $kind   = $check->Given->{DirectLink} // 'public';
    _Public( $check, $are_on && $kind eq 'public' );
    if ( !$are_on ) {
        $check->Report( ok => 'links', 'off: RT serves the files itself' );
        return 1;
    }
    if ( my $site = RT::ExternalStorage::AmazonS3::Link->OwnSite( %{ $check->Given } ) ) {
        $check->Report(
            warning => 'links',
            "they lead to $site, which is RT's own host name: a file could act in RT as the user who opens it",
            'let another host name serve them: set DirectLinkHost, or another Host'
        );
    }
    if ( $check->{probe} ) { _Link( $check, $kind ) }
    else                   { $check->Report( unknown => 'links', 'not tried: there is no object to try one with' ) }
    return 1;
}

# Without keys: one object, and the list of all
sub _Public {
    my ( $check, $is_wanted ) = @_;
    my ($handle) = $check->Handle( DirectLink => 'public', DirectLinkHost => undef );
    my $key      = $check->{probe} ? $check->{probe}{key} : $check->{attachment};
    my ($url)    = $handle ? $handle->direct_url( $key // '0' x 64 ) : ();
    if ( !$url ) {
        $check->Report( unknown => 'public', 'not looked at: the address is none for a link' );
        return;
    }
    my $object   = defined $key ? WEB->Fetch( $check, $url ) : { status => 0 };
    my $names    = 1 + ( $check->Given->{Prefix} // '' ) =~ tr{/}{};
    my $list     = WEB->Fetch( $check, $url =~ s{(?:/[^/]*){$names}\z}{/}r );
    my ($policy) = $check->Document('policyStatus');
    my $is_said  = $policy && $policy->IsOk && ( $policy->First('IsPublic') // '' ) =~ /true/i;
    return $check->Report(
        problem => 'public',
        'anybody can list the bucket, without keys, and so read all attachments',
        'take s3:ListBucket for everybody out of the policy of the bucket, or out of its ACL'
    ) if $list->{success} && $list->{content} =~ /<ListBucketResult/;
    return $check->Report(
        problem => 'public',
        'anybody can read the objects, without keys, and no direct link needs that',
        'take s3:GetObject for everybody out of the policy of the bucket, and turn Block Public Access on'
    ) if $object->{success} && !$is_wanted;
    return $check->Report(
        warning => 'public',
        'the server says that the policy of the bucket makes it public',
        'see what the policy allows to whom'
    ) if $is_said && !$is_wanted;
    return $check->Report( unknown => 'public', "no answer without keys: $object->{content}" )
        if $object->{status} == 599;
    return $check->Report( unknown => 'public', 'the list is not; there is no object to try it with' )
        if !defined $key;
    return $check->Report(
        ok => 'public',
        $object->{success} ? 'objects can be read by whoever knows their name, as direct links need it' : 'no'
    );
}

sub _Link {
    my ( $check, $kind )  = @_;
    my ( $key, $content ) = @{ $check->{probe} }{qw(key content)};
    my @about = $kind eq 'presigned' ? ( file_name => FILE, content_type => TYPE, disposition => 'inline' ) : ();
    my ( $url, $error ) = $check->Native->direct_url( $key, @about );
    return $check->Failed( links => $error ) if !$url;

    my $answer = WEB->Fetch( $check, $url );
    my ( $scheme, $host ) = WEB->Parts($url);
    if ( !$answer->{success} ) {
        my $why = $answer->{status} == 599 ? $answer->{content} : "HTTP $answer->{status} $answer->{reason}";
        my ($code) = $answer->{content} =~ m{<Code>(\w+)</Code>};
        $why .= " ($code)" if $code;
        my $advice =
              $answer->{status} == 599 ? "see that browsers reach $host, and trust its certificate"
            : $kind eq 'presigned' ? 'see that nothing between changes Host or the query, and that the clock is right'
            : $answer->{status} =~ /\A40[13]\z/
            ? q{allow s3:GetObject for everybody in the bucket's policy, or set DirectLink => 'presigned'}
            : q{see that the host serves the bucket's objects under their names};
        $check->Report( problem => 'links', "a $kind link at $host can't be fetched: $why", $advice );
        return;
    }
    my @wrong = _Wrong( $answer, $kind, $content );
    $check->Report(
        problem => 'links',
        "a $kind link at $host gives $_", 'see what stands between browsers and the bucket'
    ) for @wrong;
    my $is_mixed = $scheme eq 'http' && ( RT->Config->Get('WebURL') // '' ) =~ /\Ahttps:/i;
    $check->Report(
        warning => 'links',
        'they begin with http:, and RT with https: browsers refuse such images',
        q{set Host (or DirectLinkHost) => 'https://...'}
    ) if $is_mixed;
    $check->Report( ok => 'links', "a $kind link at $host gives the file, with its type" ) if !@wrong && !$is_mixed;
    return;
}

# Between the bucket and a browser somebody may change something
sub _Wrong {
    my ( $answer, $kind, $content ) = @_;
    my $header = $answer->{headers};
    my $type   = $header->{'content-type'}        // 'none';
    my $inline = $header->{'content-disposition'} // 'none';
    my @wrong;
    push @wrong, 'other content'                              if $answer->{content} ne $content;
    push @wrong, "the type $type in place of text/plain"      if $type                           !~ m{\Atext/plain\b};
    push @wrong, "the disposition $inline in place of inline" if $kind eq 'presigned' && $inline !~ /\Ainline\b/;
    return @wrong;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Check::Links - what can be read without keys

=head1 CLASS METHODS

=over

=item Look CHECK

Reports whether anybody can read or list the bucket, and whether a direct link works.

=back

=cut
