package RT::ExternalStorage::AmazonS3::Page::Attachment;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Error;
use RT::ExternalStorage::AmazonS3::Page::Server;
use RT::ExternalStorage::AmazonS3::Page::Settings;
use RT::ExternalStorage::AmazonS3::Tool::Check::Child;
use RT::ExternalStorage::AmazonS3::Tool::Check::Web;

use constant {
    WEB   => 'RT::ExternalStorage::AmazonS3::Tool::Check::Web',
    CHILD => 'RT::ExternalStorage::AmazonS3::Tool::Check::Child'
};

# Larger objects are not read by a page; seconds that it may take to read one, and since when the server has it
use constant { LARGEST => 32 * 1000 * 1000, READING => 8, SINCE => 3 };

# The last id that RT's tables can have
use constant LAST => 2_147_483_647;

# What is said of one attachment in other words than of the server
my %SAID = (
    'not-found' => 'The object is not in the bucket.',
    'no-bucket' => 'The bucket itself is not there.',
    'corrupt'   => 'The object is there, but damaged: its content is not that of its key.',
    'archived'  => 'The object is there, but in an archive, out of which RT can\'t read it.',
    'denied'    =>
        'The server does not let RT see it; where RT may not list the bucket, that also means that it is not there.',
);

# Where RT shows what is not a ticket's
my %PLACE = (
    'RT::Article' => '/Articles/Article/Display.html?id=',
    'RT::Asset'   => '/Asset/Display.html?id=',
    'RT::Group'   => '/Admin/Groups/Modify.html?id=',
    'RT::Queue'   => '/Admin/Queues/Modify.html?id=',
    'RT::Ticket'  => '/Ticket/Display.html?id=',
    'RT::User'    => '/Admin/Users/Modify.html?id=',
);

my %CLASS = ( A => 'RT::Attachment', V => 'RT::ObjectCustomFieldValue' );

# What somebody means: ( of, id ). Addresses of the page have only an id, such as attachment:42: what has more in it
# RT takes for a forged request where it comes from elsewhere.
sub Asked {
    my ( $class, $of, $text ) = @_;
    my ( $kind, $id ) = $text =~ /\A\s*(ticket|attachment|value):(.*)\z/s;
    ( $of, $text ) = ( $kind, $id ) if defined $kind;
    return ( $of =~ /\A(?:attachment|value)\z/ ? $of : 'ticket', $text );
}

# What there is of it: { list, more, ticket } or { one } or { error }
sub Find {
    my ( $class, $page, $of, $text ) = @_;
    my ($id) = ( $text // '' ) =~ /\A\s*#?\s*([1-9][0-9]*)\s*\z/;
    return { error => [ '"[_1]" is no id: a number is needed, such as 42.', $text ] } if !defined $id;
    return _NotThere( $of, $id )                                                      if $id > LAST;
    my $rows = $page->Rows;
    if ( $of eq 'ticket' ) {
        my $ticket = RT::Ticket->new( $page->User );
        $ticket->Load($id);
        return _NotThere( $of, $id ) if !$ticket->id;
        my $found = $page->Ask( sub { [ $rows->OfTicket( $ticket->id ) ] } )
            or return { error => ['The database gave no answer.'] };
        return { ticket => $ticket->id, list => $found->[0], more => $found->[1] };
    }
    my $sign  = $of eq 'value' ? 'V' : 'A';
    my $found = $page->Ask( sub { [ $rows->Facts( $sign, $id ) ] } )
        or return { error => ['The database gave no answer.'] };
    return $found->[0] ? { one => $found->[0] } : _NotThere( $of, $id );
}

sub _NotThere {
    my ( $of, $id ) = @_;
    my $text =
          $of eq 'ticket' ? 'There is no ticket [_1].'
        : $of eq 'value'  ? 'There is no custom field value [_1].'
        :                   'There is no attachment [_1].';
    return { error => [ $text, $id ] };
}

# What is in the bucket of it. Texts are arguments for loc.
sub Look {
    my ( $class, $page, $facts ) = @_;
    my $digest = $page->Ask( sub { $page->Rows->Digest( @{$facts}{qw(sign id)} ) } );
    my %seen   = ( digest => $digest );
    if ( ( $digest // '' ) !~ /\A[0-9a-f]{64}\z/ ) {
        return {
            %seen,
            state => 'problem',
            text  => ['RT has no valid key for it in the database: run "rt-s3 verify".']
        };
    }
    my $backend = $page->Backend
        or return {
        %seen,
        state => 'problem',
        text  => ['RT can\'t ask for it, since external storage is not configured.']
        };
    my $prefix = $backend->{Prefix} // '';
    $seen{name} = ref $prefix ? $digest : "$prefix$digest";
    my ( $about, $error ) = $page->AskServer( head => $digest );

    # HEAD has no answer to read: only GET tells a missing object from a missing bucket, and what is denied
    ( undef, $error ) = $page->AskServer( get => $digest ) if !$about && $error->name =~ /\A(?:not-found|denied)\z/;
    return { %seen, _Failed( $page, $error ) } if !$about && $error;
    return { %seen, state => 'note', text => ['The server has just got it: look again.'] } if !$about;
    my $read = $class->_Read( $page, $digest, $about->{size} );
    %seen = ( %seen, size => $about->{size}, since => $read->{since} );
    return { %seen, _Failed( $page, RT::ExternalStorage::AmazonS3::Error->new( @{ $read->{error} } ) ) }
        if $read->{error};
    return {
        %seen,
        state => 'ok',
        text  => ['The object is there, and whole: it was read, and its SHA-256 is its key.']
        }
        if $read->{is_whole};
    return {
        %seen,
        state => 'note',
        text  => [
            $read->{is_large}
            ? 'The object is there. It is too large to be read by this page ([_1]): "rt-s3 verify --deep" does.'
            : 'The object is there. It was not read within [_2] seconds: "rt-s3 verify --deep" takes its time.',
            $page->Size( $about->{size} ),
            $class->READING
        ]
    };
}

# Reads it in a child, which can be ended: what is on its way has longer with the library, so that large files get through
sub _Read {
    my ( $class, $page, $digest, $size ) = @_;
    local $@;
    local @SIG{qw(CHLD __DIE__ PIPE)} = qw(DEFAULT DEFAULT IGNORE);
    my ($read) = CHILD->Answer(
        $class->READING + 1,
        sub {
            my %read = ( since => _Since( $page, $digest ) );
            return { %read, is_large => 1 } if ( $size // LARGEST + 1 ) > LARGEST;
            my ( $content, $error ) = $page->AskServer( get => $digest, 1000 * $class->READING );
            return { %read, is_whole => 1 } if defined $content;
            return { %read, error    => [ $error->name, $error->message ] };
        }
    );
    return $read // {};
}

# Since when the object is there, as a link to it says; 0 where that can't be found out. It is the first byte that is asked
# for, since a link is good for GET alone.
sub _Since {
    my ( $page, $digest ) = @_;
    my $handle = $page->Handle( DirectLink => 'presigned' );
    my ($link) = $handle->direct_url($digest);

    # Without the option Region it is the first answer that tells for which one to sign
    ($link) = $handle->direct_url($digest) if !defined $link && $handle->head( $digest, deadline => 1000 * SINCE );
    my ($since) = eval {
        my %request = ( headers => { Range => 'bytes=0-0' }, data_callback => sub { } );
        my $answer  = WEB->Fetch( $page, $link, timeout => SINCE, request => \%request );
        require HTTP::Date;
        $answer->{success} ? HTTP::Date::str2time( $answer->{headers}{'last-modified'} ) : 0;
    };
    return $since // 0;
}

sub _Failed {
    my ( $page, $error ) = @_;
    my $shown = RT::ExternalStorage::AmazonS3::Page::Settings->Shown( $page->User );
    my @where = RT::ExternalStorage::AmazonS3::Page::Server::Where($shown);
    my %meant = RT::ExternalStorage::AmazonS3::Page::Server::Meaning( $error, @where );
    $meant{text} = [ $SAID{ $meant{cause} } ] if $SAID{ $meant{cause} };
    return ( state => 'problem', %meant );
}

# The object for RT, whose DownloadURLFor asks for it
sub Object {
    my ( $class, $page, $sign, $id ) = @_;
    my $object = ( $CLASS{$sign} // return undef )->new( $page->User );
    $object->Load($id);
    return $object->id ? $object : undef;
}

# Where it is to be had from the bucket itself: a URL, which may hold a signature
sub DirectURL {
    my ( $class, $page, $sign, $id ) = @_;
    my $backend = $page->Backend                      or return undef;
    my $object  = $class->Object( $page, $sign, $id ) or return undef;
    return $backend->DownloadURLFor($object);
}

# What it belongs to: what that is called, and where RT shows it, below its WebPath, if it does. Of facts, or of a name such
# as "RT::Article 1"
sub Owner {
    my ( $class, $type, $id ) = @_;
    my $name = join ' ', grep {defined} $type, $id;
    my ( $kind, $number ) = $name =~ /\A(\S+) ([1-9][0-9]*)\z/;
    return ( $name =~ s/\ART:://r, $kind && $PLACE{$kind} ? "$PLACE{$kind}$number" : undef );
}

# Where RT serves it, below its WebPath
sub Path {
    my ( $class, $facts ) = @_;
    my $name = $facts->{file_name} // '';
    utf8::encode($name);
    $name =~ s/([^A-Za-z0-9\-_.~])/sprintf '%%%02X', ord $1/ge;
    return "/Download/CustomFieldValue/$facts->{id}/$name" if $facts->{sign} eq 'V';
    return "/Ticket/Attachment/$facts->{transaction_id}/$facts->{id}/$name";
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page::Attachment - one attachment, and what is in the bucket of it

=head1 CLASS METHODS

=over

=item Asked OF, TEXT; Find PAGE, OF, ID

What is meant, C<ticket>, C<attachment> or C<value>, and its id; what there is of it: a hash with C<list>, C<one> or
C<error>.

=item Look PAGE, FACTS

What is in the bucket of it. Objects above 32 MB are not read, and none for longer than 9 seconds.

=item Object PAGE, SIGN, ID

RT's object, or C<undef>.

=item DirectURL PAGE, SIGN, ID; Path FACTS

Where the bucket and where RT serve it.

=item Owner TYPE, ID

What it belongs to: the name of that, and the path of RT's page about it, if there is one. Both can be given as one text,
as the records have them.

=back

=cut
