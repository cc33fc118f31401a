package Rts3::Test::MotoRights;

use strict;
use warnings;

use JSON::PP       ();
use LWP::UserAgent ();

use Rts3::Test::Process ();

=head1 NAME

Rts3::Test::MotoRights - a user of moto's IAM, who may do what a policy says

=head1 SYNOPSIS

    my $user = Rts3::Test::MotoRights->new($moto);
    $user->may($policy);
    my %keys = $user->keys;

=head1 METHODS

=head2 new $moto

A user in a L<Rts3::Test::Moto>, who may do nothing. From now on moto looks at rights.

=head2 may $policy, \@without

From now on the policy, a text in JSON, is all that the user may; without some of its actions, if these are named.

=head2 all_may

From now on moto looks at no user's rights.

=head2 keys

The user's, as options of %ExternalStorage.

=cut

sub new {
    my ( $class, $moto ) = @_;
    my $self = bless { moto => $moto }, $class;
    $self->{keys} = JSON::PP::decode_json( $self->_boto(<<'END') );
import json
iam.create_user(UserName="rt")
key = iam.create_access_key(UserName="rt")["AccessKey"]
print(json.dumps([key["AccessKeyId"], key["SecretAccessKey"]]))
END
    $self->_look_at_rights(1);
    return $self;
}

sub keys {    ## no critic (ProhibitBuiltinHomonyms)
    my ($self) = @_;
    return ( AccessKeyId => $self->{keys}[0], SecretAccessKey => $self->{keys}[1] );
}

sub may {
    my ( $self, $policy, $without ) = @_;
    my %no = map { $_ => 1 } @{ $without || [] };
    $policy = JSON::PP::decode_json($policy);
    for my $statement ( @{ $policy->{Statement} } ) {
        my $actions = $statement->{Action};
        $statement->{Action} = [ grep { !$no{$_} } ref $actions ? @{$actions} : $actions ];
    }
    @{ $policy->{Statement} } = grep { @{ $_->{Action} } } @{ $policy->{Statement} };
    $self->_look_at_rights(0);
    $self->_boto( 'iam.put_user_policy(UserName="rt", PolicyName="rt", PolicyDocument=sys.argv[1])',
        JSON::PP::encode_json($policy) );
    $self->_look_at_rights(1);
    return;
}

sub all_may { return $_[0]->_look_at_rights(0) }

sub _look_at_rights {
    my ( $self, $do ) = @_;
    my $answer = LWP::UserAgent->new( no_proxy => [] )->post(
        $self->{moto}->url . '/moto-api/reset-auth',
        'Content-Type' => 'text/plain',
        Content        => $do ? 0 : 'inf'
    );
    die 'moto does not take it: ' . $answer->as_string if !$answer->is_success;
    return;
}

sub _boto {
    my ( $self, $code, @arguments ) = @_;
    my $moto  = $self->{moto};
    my $start = sprintf "import boto3, sys\niam = boto3.client('iam', endpoint_url='%s', region_name='us-east-1', "
        . "aws_access_key_id='%s', aws_secret_access_key='%s')\n", $moto->url, $moto->access_key, $moto->secret_key;
    my $run = Rts3::Test::Process::run(
        command => [ $moto->cache . '/moto-' . $moto->version . '/bin/python', '-c', $start . $code, @arguments ],
        env     => { PATH => $ENV{PATH}, HOME => $moto->dir }
    );
    die "boto: $run->{err}" if $run->{exit};
    return $run->{out};
}

1;
