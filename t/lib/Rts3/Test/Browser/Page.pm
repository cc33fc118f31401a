package Rts3::Test::Browser::Page;

use strict;
use warnings;

use Carp       qw(croak);
use File::Path qw(make_path);
use Test::More ();

use Rts3::Test::Demo::Files ();
use Rts3::Test::File        qw(spew);
use Rts3::Test::Needs       qw(needs_browser needs_rt needs_s3);
use Rts3::Test::RT          ();

=head1 NAME

Rts3::Test::Browser::Page - RT's page about external storage, with attachments behind it

=head1 SYNOPSIS

    my $page = Rts3::Test::Browser::Page->new;
    $page->serve;
    $page->browser->open( $page->url );
    $page->serve( Region => 'us-west-2' );

=head1 DESCRIPTION

An RT with a ticket, whose files are in the bucket C<files>, a private one; with direct links, which are presigned; and
with a user C<staff> (password C<password>), who may do much, but is no SuperUser.

=head1 METHODS

=head2 new

Options: version (RT's), storage (more options of %ExternalStorage), browser (0: none is started).

=cut

our $Path = '/Admin/Tools/ExternalStorage.html';

# What RT's web server has is the same for every test, so that only what a test is about is different
our $Region = 'eu-central-1';

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { options => {} }, $class;
    my $s3   = $self->{s3} = needs_s3( region => $Region );
    $self->{storage} = {
        Type   => 'AmazonS3',
        Bucket => 'files',
        $s3->options,
        Region     => $Region,
        DirectLink => 'presigned',
        %{ $args{storage} || {} },
    };
    $self->{rt} = needs_rt(
        storage => $self->{storage},
        config  => config(),
        defined $args{version} ? ( version => $args{version} ) : ()
    );
    if ( $args{browser} // 1 ) {
        $self->{browser} = needs_browser( width => 1100 );
    }
    $s3->make_bucket('files');
    return $self;
}

=head2 config

What RT_SiteConfig.pm has more: RT finds the page in this checkout, as it would in its local html directory.

=cut

sub config {
    return <<"END";
\$RT::MasonLocalComponentRoot = '$Rts3::Test::RT::Root/perl/html';
Set(\$ExternalStorageCutoffSize, 1000);
Set(\$ExternalStorageDirectLink, 1);
Set(\$LogToSTDERR, 'critical');
END
}

=head2 s3, rt, browser, url; ticket; attachment $name

What it runs on, and the page's address; the ticket, as L<Rts3::Test::RT/create_ticket> has it; the id of one of its
attachments.

=cut

sub s3      { return $_[0]{s3} }
sub rt      { return $_[0]{rt} }
sub browser { return $_[0]{browser} }
sub ticket  { return $_[0]{ticket} }
sub url     { return $_[0]{rt}->web->url . $Path }

sub attachment {
    my ( $self, $name ) = @_;
    my ($found) = grep { ( $_->{name} // '' ) eq $name } @{ $self->{ticket}{attachments} };
    return $found ? $found->{id} : croak "no attachment $name";
}

=head2 fill

Makes the ticket and the user, and has C<rt-s3> move its files.

=cut

sub fill {
    my ($self) = @_;
    my $noise  = Rts3::Test::Demo::Files::noise(60_000);
    my %photo  = ( type => 'image/png', content => Rts3::Test::Demo::Files::png( 200, 160 ) );
    my @files  = (
        { name => 'plan.pdf', type => 'application/pdf', content => Rts3::Test::Demo::Files::pdf() . ' ' x 2000 },
        { %photo, name => 'photo.png' },
        { %photo, name => 'copy of photo.png' },
        { name => q{<b>"A&B"'s.zip}, type => 'application/zip', content => $noise },
        { name => 'small.txt',       type => 'text/plain',      content => "small\n" },
    );
    $self->{ticket} = $self->{rt}->create_ticket( content => "See the files.\n", attachments => \@files );
    $self->_make_old;
    $self->{rt}->call(<<'END');
        my $user = RT::User->new( RT->SystemUser );
        my ( $id, $why ) = $user->Create( Name => 'staff', Password => 'password', Privileged => 1, EmailAddress => 'staff@example.test' );
        die $why if !$id;
        for my $right (qw(ShowConfigTab ShowTicket SeeQueue ModifySelf)) {
            $user->PrincipalObj->GrantRight( Right => $right, Object => RT->System );
        }
        return 1;
END
    $self->tool('externalize');
    return $self;
}

# The files came in one after the other, in the last half-year
sub _make_old {
    my ($self) = @_;
    my $dbh    = $self->{rt}->dbh;
    my @ids    = map { $_->{id} } @{ $self->{ticket}{attachments} };
    for my $i ( 0 .. $#ids ) {
        my $months = $#ids - $i;
        $dbh->do(
            qq{UPDATE Attachments SET Created = datetime( 'now', 'start of month', '-$months months' ) WHERE id = ?},
            undef, $ids[$i]
        );
    }
    return;
}

=head2 tool @arguments

Runs C<rt-s3>, which may find something.

=cut

sub tool {
    my ( $self, @arguments ) = @_;
    my ( $exit, $out, $errors ) = $self->{rt}->run_tool(@arguments);
    croak "rt-s3 @arguments: $exit $errors" if $exit > 1;
    return;
}

=head2 look $id

Opens the page, as if from a bookmark, with what there is about C<attachment:42> and the like, if that is given. Returns
its text: what somebody reads there.

=cut

sub look {
    my ( $self, $id ) = @_;
    my $query = defined $id ? '?id=' . $id =~ s/([^\w:])/sprintf '%%%02X', ord $1/ger : '';
    $self->{browser}->open( $self->url . $query );
    return $self->{browser}->wait_until('return document.querySelector("#rts3-page").innerText');
}

sub source {
    my ($self) = @_;
    return $self->{browser}->run('return document.querySelector("#rts3-page").outerHTML');
}

sub said {
    my ( $self, $place ) = @_;
    return $self->{browser}->run( 'return document.querySelector(arguments[0]).innerText', ".rts3-$place" );
}

=head2 keeps_secrets $what

Tests that nothing that opens the bucket stands in the page, as text or as an address.

=cut

sub keeps_secrets {
    my ( $self, $what ) = @_;
    my $source = $self->source;
    my $secret = $self->{s3}->secret_key;
    Test::More::unlike( $source, qr/\Q$secret\E/,                                "$what: no secret in it" );
    Test::More::unlike( $source, qr/X-Amz-Signature|Signature=|Authorization:/i, '... and no signature' );
    return;
}

=head2 picture $name, $selector

Writes F<docs/img/NAME.png> where C<RTS3_WRITE_SCREENSHOTS> is set, of all of our part if no selector is given.

=cut

sub picture {
    my ( $self, $name, $selector ) = @_;
    return if !$ENV{RTS3_WRITE_SCREENSHOTS};
    my $images = "$Rts3::Test::RT::Root/docs/img";
    make_path($images);
    spew( "$images/$name.png", $self->{browser}->screenshot( $selector // '#rts3-page' ) );
    return;
}

=head2 serve %storage

Starts RT's web server, the first time or again at the same address; options replace those of %ExternalStorage. With
C<none> true there is none.

=head2 login $user

Logs somebody in with the browser: C<root> if not said.

=cut

sub serve {
    my ( $self, %storage ) = @_;
    my $config = config() . ( delete $storage{config} // '' );
    $self->{rt}->set_config($config);
    $self->{rt}->set_storage( delete $storage{none} ? () : ( %{ $self->{storage} }, %storage ) );

    # An idle connection of the browser would keep a worker from answering another one
    my $web = $self->{rt}->start_web(
        workers   => 2,
        arguments => ['--disable-keepalive'],
        defined $self->{port} ? ( port => $self->{port} ) : ()
    );
    $self->{port} = $web->port;
    return $web;
}

sub login {
    my ( $self, $user ) = @_;
    my $browser = $self->{browser};
    my $url     = $self->{rt}->web->url;
    $browser->open("$url/NoAuth/Logout.html");
    $browser->open("$url/");
    $browser->wait_until('return document.querySelector("input[name=user]")');
    $browser->type( 'input[name=user]' => $user // 'root' );
    $browser->type( 'input[name=pass]' => 'password' );
    $browser->click('input[type=submit]');
    $browser->wait_until('return !document.querySelector("input[name=pass]")');
    return;
}

1;
