package Rts3::Test::Demo;

use strict;
use warnings;

use Digest::SHA    qw(sha256_hex);
use Getopt::Long   ();
use HTML::Entities ();
use LWP::UserAgent ();
use Time::HiRes    qw(time sleep);

use RT::ExternalStorage::AmazonS3::Native;
use Rts3::Test::Demo::Files;
use Rts3::Test::Demo::Terminal;
use Rts3::Test::RT;
use Rts3::Test::S3Server;

=head1 NAME

Rts3::Test::Demo - what script/demo shows

=head1 DESCRIPTION

A throwaway RT gets tickets with attachments, RT's own script moves them into a throwaway S3 server, and everything is
read back. Each number shown was looked up in the database, in the server's directory or in what RT answered; the demo
fails where one of them is not what it should be.

=head1 METHODS

=head2 main @arguments

The exit code.

=cut

use constant BUCKET => 'attachments';

# Text and images above this size are moved too; RT's default is 10 MB
use constant CUTOFF => 4096;

sub main {
    my ( $class, @arguments ) = @_;
    my $serve;
    return 2 if !Getopt::Long::GetOptionsFromArray( \@arguments, serve => \$serve ) || @arguments;

    # So that a Ctrl-C, too, ends what was started
    local $SIG{INT}  = sub { die "interrupted\n" };
    local $SIG{TERM} = $SIG{INT};
    my $self = bless { terminal => Rts3::Test::Demo::Terminal->new, failures => 0 }, $class;
    my $done = eval {
        $self->start;
        $self->create_tickets;
        $self->show_rows('before');
        $self->externalize;
        $self->show_rows('after');
        $self->show_bucket;
        $self->read_back;
        $self->fetch_by_web;
        $self->fetch_directly;
        $self->sum_up;
        $self->serve if $serve;
        1;
    };
    my $error = $@;
    delete @{$self}{qw(rt s3)};
    return 0 if $done && !$self->{failures};
    print "\nThe demo FAILED: ", $done ? 'see above' : $error =~ s/\s+$//r, "\n";
    return 1;
}

sub start {
    my ($self) = @_;
    my $terminal = $self->{terminal};
    $terminal->heading('A throwaway RT and a throwaway S3 server');
    my $s3 = $self->{s3} = Rts3::Test::S3Server->start;
    my $rt = $self->{rt} = Rts3::Test::RT->new(
        storage => {
            Type   => 'AmazonS3',
            Bucket => BUCKET,
            $s3->options,
            Host       => $s3->http =~ s/127\.0\.0\.1/localhost/r,    # not where RT's cookies go
            Region     => 'us-east-1',
            DirectLink => 'presigned',
        },
        config => 'Set($ExternalStorageDirectLink, 1); Set($ExternalStorageCutoffSize, ' . CUTOFF . ');',
    );
    my ( $version, $error ) = RT::ExternalStorage::AmazonS3::Native->version;
    die "$error\n" if !defined $version;
    $terminal->say("Library    librts3 $version");
    $terminal->say( 'RT         with a database of its own: ' . $rt->database );
    $terminal->say( 'S3 server  ' . $s3->http . ', without any bucket' );
    return;
}

sub create_tickets {
    my ($self) = @_;
    my $terminal = $self->{terminal};
    $terminal->heading('Two tickets with attachments');
    my @files   = Rts3::Test::Demo::Files->all;
    my ($again) = grep { $_->{type} eq 'application/pdf' } @files;
    my $answer  = $self->{rt}->call( <<'END', \@files, $again );
        my ( $files, $again ) = @_;
        return [
            Rts3::Test::RT::Inside::create_ticket( subject => 'Our documents', attachments => $files ),
            Rts3::Test::RT::Inside::create_ticket( subject => 'Once more', attachments => [$again] ),
        ];
END
    my @contents = map { $_->{content} } @files, $again;
    for my $ticket ( @{$answer} ) {
        for my $attachment ( grep { length( $_->{name} // '' ) } @{ $ticket->{attachments} } ) {
            my %file = ( %{$attachment}, ticket => $ticket->{id}, content => shift @contents );
            push @{ $self->{files} }, \%file;
        }
    }
    for my $ticket ( @{$answer} ) {
        my $count = grep { $_->{ticket} == $ticket->{id} } @{ $self->{files} };
        $terminal->say( "Ticket $ticket->{id} with $count file" . ( $count == 1 ? '' : 's' ) );
    }
    $self->check( !@contents, 'RT has taken all of them' );
    return;
}

# What the database holds, from the database itself
sub show_rows {
    my ( $self, $when ) = @_;
    my $terminal = $self->{terminal};
    $terminal->heading("The rows in RT's table Attachments $when");
    my @rows  = $self->{rt}->attachment_rows;
    my @files = grep { length file_name($_) } @rows;
    $terminal->table(
        [qw(id file length ContentEncoding Content)],
        map {
            [ $_->{id}, file_name($_), $terminal->number( length $_->{Content} ), $_->{ContentEncoding}, excerpt($_) ]
        } @files
    );
    $terminal->detail( 'and ' . ( @rows - @files ) . ' short messages, which are not for S3' );
    $self->{rows}{$when} = \@rows;
    $self->{size}{$when} = $self->database_size;
    $terminal->say( 'Database: ' . $terminal->number( $self->{size}{$when} ) . ' bytes' );
    return;
}

sub externalize {
    my ($self) = @_;
    my $terminal = $self->{terminal};
    $terminal->heading("RT's own script moves them");
    my $script = 'rt-externalize-attachments-5';
    $terminal->say("\$ $script --verbose");
    my ( $exit, $out, $errors, $seconds ) = $self->{rt}->run_script( $script, '--verbose' );
    $terminal->detail("$out$errors");
    $self->check( $exit == 0, sprintf 'ended with exit code %d after %.1f s', $exit, $seconds );
    my ($module) = map { $_->{path} } reverse $self->{rt}->loaded_modules;
    $terminal->say("It used $module");
    return;
}

sub show_bucket {
    my ($self)   = @_;
    my $terminal = $self->{terminal};
    my %object   = $self->objects;
    $terminal->heading('The objects in the bucket, which RT made');
    $terminal->table( [qw(key size)], map { [ $_, $terminal->number( length $object{$_} ) ] } sort keys %object );
    my @external = $self->external_rows;
    $self->check( @external == @{ $self->{files} },
        @external . ' of ' . @{ $self->{files} } . ' files have left the database' );
    my %named = map { $_->{Content} => 1 } @external;
    $self->check( join( ' ', sort keys %named ) eq join( ' ', sort keys %object ),
        @external . ' rows name ' . keys(%object) . ' objects: the PDF in both tickets is one' );
    return;
}

sub read_back {
    my ($self) = @_;
    my $terminal = $self->{terminal};
    $terminal->heading('Read back through RT, compared with what was put in');
    my $read = $self->{rt}->call( <<'END', [ map { $_->{id} } @{ $self->{files} } ] );
        return { map { $_ => Rts3::Test::RT::Inside::attachment($_)->{bytes} } @{ $_[0] } };
END
    my %object = $self->objects;
    my %key    = map { $_->{id} => $_->{Content} } $self->external_rows;
    my @lines;
    for my $file ( @{ $self->{files} } ) {
        my $key    = $key{ $file->{id} } // '';
        my $stored = exists $object{$key} && sha256_hex( $object{$key} ) eq $key;
        my $put    = sha256_hex( $file->{content} );
        my $got    = sha256_hex( $read->{ $file->{id} } // '' );
        push @lines,
            [
            $file->{id}, $file->{name},
            substr( $put, 0, 12 ),
            substr( $got, 0, 12 ),
            $self->verdict( $put eq $got, 'equal', 'DIFFERENT' ),
            $self->verdict( $stored,      'whole', 'DAMAGED' ),
            ];
    }
    $terminal->table( [ 'id', 'file', 'put in', 'read back', '', 'object' ], @lines );
    return;
}

sub fetch_by_web {
    my ($self) = @_;
    my $terminal = $self->{terminal};
    $terminal->heading("Downloaded from RT's web interface");
    my $web = $self->{rt}->start_web;
    $web->login;
    my @lines;
    for my $file ( grep { $_->{ticket} == $self->{files}[0]{ticket} } @{ $self->{files} } ) {
        my $path     = "/Ticket/Attachment/$file->{transaction}/$file->{id}/";
        my $response = $web->get($path);
        my $content  = $response->content;
        push @lines,
            [
            $path, $file->{name}, $response->code,
            $terminal->number( length $content ),
            $self->verdict( $response->code == 200 && $content eq $file->{content}, 'equal', 'DIFFERENT' )
            ];
    }
    $terminal->table( [ qw(address file status length), '' ], @lines );
    return;
}

# As a browser does that has the page, and nothing else
sub fetch_directly {
    my ($self)   = @_;
    my $terminal = $self->{terminal};
    my $ticket   = $self->{files}[0]{ticket};
    $terminal->heading("And straight from the private bucket, by the links in RT's page");
    my %link    = $self->links_in( $self->{rt}->web->get("/Helpers/TicketHistory?id=$ticket")->decoded_content );
    my $browser = LWP::UserAgent->new( timeout => 60 );
    my ( @lines, $last );
    for my $file ( grep { $_->{ticket} == $ticket } @{ $self->{files} } ) {
        my $link     = $last = $link{ $file->{name} } // '';
        my $response = $browser->get($link);
        my ($how)    = ( $response->header('Content-Disposition') // '' ) =~ /\A(\w+)/;
        push @lines,
            [
            substr( $link, 0, 48 ) . '...',
            $file->{name}, $response->code, $how // '',
            $self->verdict( $response->content eq $file->{content}, 'equal', 'DIFFERENT' )
            ];
    }
    $terminal->table( [ qw(link file status disposition), '' ], @lines );
    my $bare    = $browser->get( $last =~ s/\?.*//r )->code;
    my $changed = $browser->get( $last =~ s/(X-Amz-Expires=)/${1}9/r )->code;
    $self->check( $bare == 403,    "without its signature a link is refused: $bare" );
    $self->check( $changed == 403, "and so it is with another time to live: $changed" );
    return;
}

sub links_in {
    my ( $self, $page ) = @_;
    return map { HTML::Entities::decode_entities($_) }
        map    { m{<a href="(http[^"]+)".*<span class="downloadfilename">([^<]*)<}s ? ( $2, $1 ) : () }
        split /<div class="downloadattachment">/, $page;
}

sub sum_up {
    my ($self)   = @_;
    my $terminal = $self->{terminal};
    my $size     = $self->{size};
    $terminal->heading( $self->{failures} ? 'Something is wrong' : 'All of it is as it should be' );
    $terminal->say( sprintf 'Database: %s bytes before, %s after',
        map { $terminal->number($_) } @{$size}{qw(before after)} );
    $terminal->say( 'Time: ' . $terminal->seconds . ' s' );
    return;
}

sub serve {
    my ($self)   = @_;
    my $terminal = $self->{terminal};
    my $web      = $self->{rt}->web;
    $terminal->heading("RT's web interface stays, until Ctrl-C");
    $terminal->say( 'Address   ' . $web->url . "/Ticket/Display.html?id=$self->{files}[0]{ticket}" );
    $terminal->say('Login     root');
    $terminal->say('Password  password');
    $terminal->say('The picture and the links to files come from the S3 server, not from RT.');
    my $stop;
    local $SIG{INT} = local $SIG{TERM} = sub { $stop = 1 };

    while ( !$stop ) {
        sleep 1;
        die "RT's web server ended: " . $web->errors . "\n" if !kill 0, $web->pid;
    }
    $terminal->say("\nEnded: everything that was started is stopped, and its files are gone.");
    return;
}

sub external_rows {
    my ($self) = @_;
    return grep { ( $_->{ContentEncoding} // '' ) eq 'external' } @{ $self->{rows}{after} };
}

# key => bytes, from the server's directory
sub objects {
    my ($self) = @_;
    return map { $_ => $self->{s3}->content( BUCKET, $_ ) } $self->{s3}->objects(BUCKET);
}

# SQLite gives no room back by itself
sub database_size {
    my ($self) = @_;
    $self->{rt}->dbh->do('VACUUM');
    return -s $self->{rt}->database;
}

sub check {
    my ( $self, $ok, $text ) = @_;
    $self->{terminal}->say( $self->verdict( $ok, $text, "NOT SO: $text" ) );
    return;
}

sub verdict {
    my ( $self, $ok, $yes, $no ) = @_;
    return $self->{terminal}->good($yes) if $ok;
    $self->{failures}++;
    return $self->{terminal}->bad($no);
}

sub file_name {
    my ($row) = @_;
    my $name = $row->{Filename} // '';
    utf8::decode($name);
    return $name;
}

sub excerpt {
    my ($row) = @_;
    return substr( $row->{Content}, 0, 13 ) =~ s/[^ -~]/./gr . '...';
}

1;
