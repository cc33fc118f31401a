package Rts3::Test::Metadata::Answers;

use strict;
use warnings;

use Digest::SHA qw(sha256_base64);
use JSON::PP    ();
use POSIX       qw(strftime);

use Rts3::Test::Metadata::Signature qw(refusal);
use Rts3::Test::S3Server::Control   ();

=head1 NAME

Rts3::Test::Metadata::Answers - what Rts3::Test::Metadata answers

=head1 FUNCTIONS

=head2 answer $request, $state, $rights

The answer to a request: a hash of C<what> it is about, C<status>, C<type>, C<body>, C<how> it is to be sent, C<given> (keys)
and, for the log, C<v1> and C<refusal>. The S3 server whose file C<$rights> is takes the keys at once.

=cut

use constant {
    ROLES     => '/latest/meta-data/iam/security-credentials/',
    NAMESPACE => 'https://sts.amazonaws.com/doc/2011-06-15/',
};

my $Json = JSON::PP->new->utf8->canonical;
my ( $Count, %Token, %Given ) = (0);

sub answer {
    my ( $request, $state, $rights ) = @_;
    my $about  = _about($request);
    my $how    = $state->{ $about->{what} } // {};
    my $clock  = time + ( $state->{clock} // 0 );
    my $date   = strftime( '%a, %d %b %Y %H:%M:%S GMT', gmtime $clock );
    my $answer = { what => $about->{what}, how => $how, date => $date };
    return { %$answer, %{ _made_up( $about, $how ) } } if defined $how->{status} || defined $how->{body};
    my %made = $about->{answer}->( $request, $state, $answer );

    if ( my $give = delete $made{give} ) {
        my $keys = _give( $about->{what}, $state->{lifetime} // 3600, $rights );
        $made{given} = $keys;
        $made{body}  = $give->( _fields( $keys, $state->{clock} // 0, $how->{keys} ) );
    }
    return { status => 200, type => 'text/plain', %$answer, %made };
}

sub _about {
    my ($request) = @_;
    my ( $method, $path ) = @{$request}{qw(method path)};
    return { what => 'token', answer => \&_token } if $path eq '/latest/api/token';
    return { what => $path eq ROLES ? 'role' : 'keys', answer => \&_instance } if 0 == index $path, ROLES;
    return { what => 'container', answer => \&_container } if $path =~ m{^/v[24]/credentials|^/v1/credentials};
    if ( $method eq 'POST' && $path eq '/' ) {
        $request->{form} = { map { _decoded($_) } map { split /=/, $_, 2 } split /&/, $request->{body} };
        my $action = $request->{form}{Action} // '';
        return { what => $action, answer => $action eq 'AssumeRole' ? \&_assume_role : \&_web_identity, is_sts => 1 }
            if $action =~ /^AssumeRole(?:WithWebIdentity)?\z/;
    }
    return { what => 'unknown', answer => sub { return ( status => 404, body => 'Not Found' ) } };
}

sub _decoded { return $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

# What a test wants in the place of an answer
sub _made_up {
    my ( $about, $how ) = @_;
    my $status = $how->{status} // 200;
    return { status => $status, type => $how->{type} // 'text/plain', body => $how->{body} } if defined $how->{body};
    my $code = $how->{code} // ( $status >= 500 ? 'InternalFailure' : 'AccessDenied' );
    return { _sts_error( $status, $code, 'made up by a test' ) }                   if $about->{is_sts};
    return { _json( $status, { code => $code, message => 'made up by a test' } ) } if $about->{what} eq 'container';
    return {
        status => $status,
        type   => 'text/html',
        body   => "<html><title>$status - made up by a test</title></html>"
    };
}

sub _give {
    my ( $what, $lifetime, $rights ) = @_;
    my $number = sprintf '%04d%s', ++$Count, substr $$, -3;
    my $kind   = $what eq 'keys' ? 'INSTANCE' : uc $what;
    my $keys   = {
        access_key => "ASIA$kind$number",
        secret_key => _random("secret $number") . "+/",
        token      => "FwoGZXIv//" . _random("token $number") . "==",
        expires    => time + $lifetime,
    };
    $Given{ $keys->{access_key} } = $keys;
    Rts3::Test::S3Server::Control::add_right(
        $rights,
        {
            key     => $keys->{access_key},
            secret  => $keys->{secret_key},
            token   => $keys->{token},
            expires => $keys->{expires}
        }
    ) if $rights;
    return $keys;
}

sub _random { return substr sha256_base64( $_[0] ), 0, 38 }

# The keys by AWS's names, changed as a test wants them
sub _fields {
    my ( $keys, $ahead, $changes ) = @_;
    my %fields = (
        AccessKeyId     => $keys->{access_key},
        SecretAccessKey => $keys->{secret_key},
        Token           => $keys->{token},
        Expiration      => strftime( '%Y-%m-%dT%H:%M:%SZ', gmtime $keys->{expires} + $ahead ),
        %{ $changes // {} },
    );
    delete @fields{ grep { !defined $fields{$_} } keys %fields };
    return %fields;
}

sub _json {
    my ( $status, $content ) = @_;
    return ( status => $status, type => 'application/json', body => $Json->encode($content) );
}

# ---- instance metadata

sub _token {
    my ($request) = @_;
    my $seconds = $request->{headers}{'x-aws-ec2-metadata-token-ttl-seconds'} // '';
    return ( status => 405, body => '' ) if $request->{method} ne 'PUT';
    return ( status => 403, body => '', refusal => 'came through a proxy' )
        if $request->{headers}{'x-forwarded-for'};
    return ( status => 400, body => '', refusal => "can't live '$seconds' s" )
        if $seconds !~ /^[0-9]+\z/ || $seconds < 1 || $seconds > 21_600;
    my $token = _random( 'instance' . ++$Count ) . '==';
    $Token{$token} = time + $seconds;
    return ( body => $token );
}

sub _instance {
    my ( $request, $state ) = @_;
    my $token = $request->{headers}{'x-aws-ec2-metadata-token'};
    return ( status => 401, body => '', v1      => 1 )       if !defined $token;
    return ( status => 401, body => '', refusal => 'token' ) if ( $Token{$token} // 0 ) <= time;
    return ( status => 405, body => '' ) if $request->{method} ne 'GET';
    my $role = $state->{role_name} // 'rts3-role';
    return ( body   => $role )           if $request->{path} eq ROLES;
    return ( status => 404, body => '' ) if $request->{path} ne ROLES . $role;
    my $give = sub {
        my %fields = @_;
        return $Json->encode(
            { Code => 'Success', LastUpdated => '2026-01-02T03:04:05Z', Type => 'AWS-HMAC', %fields } );
    };
    return ( give => $give );
}

# ---- containers

sub _container {
    my ( $request, $state ) = @_;
    my $wanted = $state->{authorization};
    my $sent   = $request->{headers}{authorization} // '';
    return ( _json( 401, { code => 'Unauthorized', message => 'not the token' } ), refusal => 'authorization' )
        if defined $wanted && $sent ne $wanted;
    return ( type => 'application/json', give => sub { my %fields = @_; return $Json->encode( \%fields ) } );
}

# ---- STS

sub _assume_role {
    my ( $request, $state ) = @_;
    my %secret  = ( %{ $state->{users} // {} }, map { $_ => $Given{$_}{secret_key} } keys %Given );
    my %token   = map { $_ => $Given{$_}{token} } keys %Given;
    my $refusal = refusal( $request, \%secret, \%token );
    return ( _sts_error( 403, @$refusal ), refusal => $refusal->[0] ) if $refusal;
    my $form = $request->{form};
    my ($mistake) = grep { !length( $form->{$_} // '' ) } qw(RoleArn RoleSessionName Version);
    return ( _sts_error( 400, 'ValidationError', "no $mistake" ), refusal => $mistake ) if $mistake;
    return ( _sts_error( 403, 'AccessDenied', 'not authorized to perform: sts:AssumeRole' ), refusal => 'ExternalId' )
        if defined $state->{external_id} && $state->{external_id} ne ( $form->{ExternalId} // '' );
    return _sts_keys($form);
}

sub _web_identity {
    my ( $request, $state ) = @_;
    my $form = $request->{form};
    my ($mistake) = grep { !length( $form->{$_} // '' ) } qw(RoleArn RoleSessionName WebIdentityToken Version);
    return ( _sts_error( 400, 'ValidationError', "no $mistake" ), refusal => $mistake ) if $mistake;
    my $token = $form->{WebIdentityToken};
    return ( _sts_error( 400, 'ExpiredTokenException', "Token expired: $token" ), refusal => 'expired' )
        if $token =~ /^expired/;
    return ( _sts_error( 400, 'InvalidIdentityToken', "Couldn't verify $token" ), refusal => 'identity' )
        if !grep { $_ eq $token } @{ $state->{identities} // [] };
    return _sts_keys($form);
}

sub _sts_keys {
    my ($form) = @_;
    my $action = $form->{Action};
    my $arn    = _escaped("$form->{RoleArn}/$form->{RoleSessionName}");
    my $give   = sub {
        my %fields = @_;
        $fields{SessionToken} = delete $fields{Token} if exists $fields{Token};
        my $keys = join "\n", map { '      ' . "<$_>" . _escaped( $fields{$_} ) . "</$_>" } sort keys %fields;
        return <<"END";
<${action}Response xmlns="@{[ NAMESPACE ]}">
  <${action}Result>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLE:rts3</AssumedRoleId>
      <Arn>$arn</Arn>
    </AssumedRoleUser>
    <Credentials>
$keys
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </${action}Result>
  <ResponseMetadata>
    <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>
  </ResponseMetadata>
</${action}Response>
END
    };
    return ( type => 'text/xml', give => $give );
}

sub _sts_error {
    my ( $status, $code, $message ) = @_;
    my $type = $status < 500 ? 'Sender' : 'Receiver';
    $message = _escaped($message);
    my $body = <<"END";
<ErrorResponse xmlns="@{[ NAMESPACE ]}">
  <Error>
    <Type>$type</Type>
    <Code>$code</Code>
    <Message>$message</Message>
  </Error>
  <RequestId>4f2c1b4a-af31-11e0-8154-cbc7ccf896c7</RequestId>
</ErrorResponse>
END
    return ( status => $status, type => 'text/xml', body => $body );
}

sub _escaped { return $_[0] =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr }

1;
