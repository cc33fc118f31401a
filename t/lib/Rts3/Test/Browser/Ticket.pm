package Rts3::Test::Browser::Ticket;

use strict;
use warnings;

use Carp             qw(croak);
use Digest::SHA      qw(sha256_hex);
use IO::Select       ();
use IO::Socket::INET ();

use Rts3::Test::Browser::Files ();
use Rts3::Test::Needs          qw(needs_browser needs_rt needs_s3);
use Rts3::Test::S3Client       ();

=head1 NAME

Rts3::Test::Browser::Ticket - a ticket with files of all kinds, RT's pages about it, and a browser that looks at them

=head1 SYNOPSIS

    my $ticket = Rts3::Test::Browser::Ticket->new( bucket => 'private', DirectLink => 'presigned' );
    $ticket->serve( direct => 1 );
    my %links = map { $_->{name} => $_->{url} } $ticket->look;
    my $seen  = $ticket->follow( history => 'chart.png' );

=head1 DESCRIPTION

The files of L<Rts3::Test::Browser::Files>, in S3, over https, with a certificate that the browser trusts. HTML and SVG
among them carry a script that springs a trap wherever it runs: it changes the page's title and asks an address of ours.

=head1 METHODS

=head2 new bucket => $name, %storage

A test that can't have all this is skipped. Anybody may read the buckets C<public> and C<trap>. Further options
are those of %ExternalStorage.

=cut

my $Title = 'A script has run';

sub new {
    my ( $class, %storage ) = @_;
    my $bucket = delete $storage{bucket};
    my $self   = bless {}, $class;
    my $s3     = $self->{s3} = needs_s3( public => [qw(public trap)] );
    $self->{browser} = needs_browser( authority => $s3->ca );
    $self->{storage} = {
        Type   => 'AmazonS3',
        Bucket => $bucket,
        $s3->options,
        Host   => $s3->https,
        CAFile => $s3->ca,
        Region => 'us-east-1',
        %storage,
    };
    $self->{rt}   = needs_rt( storage => $self->{storage}, config => _config(0) );
    $self->{trap} = IO::Socket::INET->new( LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 50 )
        or croak "No port: $@";

    $s3->make_bucket($_) for qw(public trap);
    my $files = Rts3::Test::Browser::Files::all( $self->{browser}, $self->script );
    my @files = ( @{ $files->{attachments} }, values %{ $files->{fields} } );
    $self->{files} = { map { $_->{name} => $_ } @files };
    $self->{id}    = Rts3::Test::Browser::Files::make_ticket( $self->{rt}, $files );
    my ( $exit, undef, $errors ) = $self->{rt}->run_script('rt-externalize-attachments');
    croak "RT's externalizer failed: $errors" if $exit;
    return $self;
}

sub _config {
    my ($direct) = @_;
    return <<"END";
Set(\$ExternalStorageCutoffSize, 1000);
Set(\$ExternalStorageDirectLink, $direct);
END
}

=head2 s3, rt, browser; file $name; digest $name

What it runs on; what was put in, with name, type and content; the SHA-256 of that.

=cut

sub s3      { return $_[0]{s3} }
sub rt      { return $_[0]{rt} }
sub browser { return $_[0]{browser} }
sub file    { return $_[0]{files}{ $_[1] } }
sub digest  { return sha256_hex( $_[0]->file( $_[1] )->{content} ) }

=head2 serve direct => $boolean, config => $text, %storage

Starts RT's web server, the first time or again at the same address, with a user who is logged in there in the browser.
Further options change %ExternalStorage.

=cut

sub serve {
    my ( $self, %storage ) = @_;
    my ( $rt,   $browser ) = @{$self}{qw(rt browser)};
    $rt->set_config( _config( delete $storage{direct} ? 1 : 0 ) . ( delete $storage{config} // '' ) );
    $rt->set_storage( %{ $self->{storage} }, %storage );

    # An idle connection of the browser would keep a worker from answering another one
    my $web = $rt->start_web(
        workers   => 2,
        arguments => ['--disable-keepalive'],
        defined $self->{port} ? ( port => $self->{port} ) : ()
    );
    return if $self->{port};    # the session lives on
    $self->{port} = $web->port;
    $browser->open( $web->url );
    $browser->type( 'input[name=user]' => 'root' );
    $browser->type( 'input[name=pass]' => 'password' );
    $browser->click('input[type=submit]');
    $browser->wait_until('return document.title === "RT at a glance"');
    return;
}

=head2 look

Opens the ticket's page and waits until all of it is there. Returns the links to files as hashes with
place (C<history>, C<list> of attachments or custom C<field>), name and url, as it is written in the page.

=head2 images

The files that this page shows as images: hashes with place, url and width (0: not shown).

=cut

my $FindLinks = <<'END';
    const found = [];
    const add = ( place, name, link ) => {
        link.dataset.found = found.length;
        found.push( { place: place, name: name.textContent.trim(), url: link.getAttribute('href') } );
    };
    for ( const name of document.querySelectorAll('.downloadattachment a .downloadfilename') )
        add( 'history', name, name.closest('a') );
    for ( const name of document.querySelectorAll('span.filename') )
        for ( const link of name.nextElementSibling.querySelectorAll('.revision > a:first-of-type') )
            add( 'list', name, link );
    for ( const link of document.querySelectorAll('.custom-field a[href]') ) add( 'field', link, link );
    return found;
END

my $FindImages = <<'END';
    return [ ...document.querySelectorAll('.messagebody img, .custom-field img') ].map( image => ( {
        place: image.closest('.messagebody') ? 'history' : 'field',
        url: image.getAttribute('src'), width: image.naturalWidth,
    } ) );
END

sub look {
    my ($self) = @_;
    my $browser = $self->{browser};
    $browser->open( $self->{rt}->web->url . "/Ticket/Display.html?id=$self->{id}" );
    $browser->wait_until(<<'END');
        return document.querySelector('.downloadfilename') && document.querySelector('.custom-field a')
            && [ ...document.images ].every( image => image.complete );
END
    return @{ $self->{links} = $browser->run($FindLinks) };
}

sub images { return @{ $_[0]{browser}->run($FindImages) } }

=head2 look_elsewhere $path

Opens another of RT's pages about this ticket, whose path, as C</Ticket/Modify.html>, this is. A hash with urls, those
of its links and images that lead to S3, and broken, those of images that are not shown.

=cut

my $FindAll = <<'END';
    const urls = [ ...document.querySelectorAll('a[href], img[src]') ].map( element =>
        element.getAttribute( element.tagName === 'A' ? 'href' : 'src' ) );
    return {
        urls: urls.filter( url => url.startsWith( arguments[0] ) ),
        broken: [ ...document.images ].filter( image => !image.naturalWidth ).map( image => image.src ),
    };
END

sub look_elsewhere {
    my ( $self, $path ) = @_;
    my $browser = $self->{browser};
    $browser->open( $self->{rt}->web->url . "$path?id=$self->{id}" );
    $browser->wait_until('return [ ...document.images ].every( image => image.complete )');
    return $browser->run( $FindAll, $self->{s3}->https . '/' );
}

=head2 follow $place, $name

Clicks on this link, on the page that C<look> has opened. A hash: of a download its name and content;
of what is shown url, type, title, text, and of an image its width.

=cut

sub follow {
    my ( $self, $place, $name ) = @_;
    my $browser = $self->{browser};
    my @links   = @{ $self->{links} };
    my ($index) = grep { $links[$_]{place} eq $place && $links[$_]{name} eq $name } 0 .. $#links;
    croak "There is no link to $name" if !defined $index;
    $browser->forget;
    my $page = $browser->url;
    $browser->run( 'document.querySelector(arguments[0]).scrollIntoView( { block: "center" } )',
        my $link = "a[data-found='$index']" );
    $browser->click($link);
    my ($download) = $browser->came_of_it($page);

    if ($download) {
        $browser->only_window;
        return $download;
    }
    my $shown = $browser->run(<<'END');
        const image = document.images[0];
        return { url: location.href, type: document.contentType, title: document.title,
            text: document.body ? document.body.innerText : '', width: image ? image.naturalWidth : 0 };
END
    $browser->only_window;
    $self->look if $browser->url ne $page;
    return $shown;
}

=head2 script

The text of the script that springs the trap.

=head2 sprung

Whether it was sprung since the last time this was asked.

=cut

sub script {
    my ($self) = @_;
    my $port = $self->{trap}->sockport;
    return "document.title = '$Title'; fetch( 'http://127.0.0.1:$port/', { mode: 'no-cors' } );";
}

sub sprung {
    my ($self) = @_;
    my $select = IO::Select->new( $self->{trap} );
    my $sprung = $self->{browser}->title eq $Title;
    while ( $select->can_read(0.2) ) {
        $self->{trap}->accept;
        $sprung = 1;
    }
    return $sprung ? 1 : 0;
}

=head2 bait $name, $type, $content

Puts such an object into the bucket C<trap>, and opens it.

=cut

sub bait {
    my ( $self, $name, $type, $content ) = @_;
    my $s3     = $self->{s3};
    my $client = Rts3::Test::S3Client->new(
        url        => $s3->http,
        access_key => $s3->access_key,
        secret_key => $s3->secret_key,
        region     => 'us-east-1'
    );
    my $answer = $client->answer( PUT => "/trap/$name", content => $content, headers => { 'Content-Type' => $type } );
    croak "$name is not stored: $answer" if $answer ne '200';
    return $self->{browser}->open( $s3->https . "/trap/$name" );
}

1;
