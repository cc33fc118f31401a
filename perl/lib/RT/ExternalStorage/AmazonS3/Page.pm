package RT::ExternalStorage::AmazonS3::Page;

use strict;
use warnings;

use List::Util  ();
use POSIX       ();
use Time::HiRes ();

use RT::ExternalStorage::AmazonS3::Deadline;
use RT::ExternalStorage::AmazonS3::Error;
use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Native::Inspection;
use RT::ExternalStorage::AmazonS3::Page::Health;
use RT::ExternalStorage::AmazonS3::Page::Record;
use RT::ExternalStorage::AmazonS3::Page::Rows;
use RT::ExternalStorage::AmazonS3::Quantity qw(number size);
use RT::ExternalStorage::AmazonS3::Records;
use RT::ExternalStorage::AmazonS3::Tool;

use constant PATH => '/Admin/Tools/ExternalStorage.html';

# Somebody waits: for one question so many milliseconds, for all of them so many seconds
use constant { WAIT => 4_000, DEADLINE => 8, RETRIES => 1 };

# Findings that are shown at once; the others are folded
use constant LISTED => 20;

# In a picture by month; of a longer time the columns are years
use constant MONTHS => 24;

# What verify may find of an object, the worst first
my @KINDS = (
    missing    => 'missing',
    damaged    => 'damaged',
    invalid    => 'no valid key',
    unreadable => 'could not be read',
    orphan     => 'nothing refers to it',
    repaired   => 'repaired',
);
my %KIND = @KINDS;

# Of handles by their options: the library tells them once in a process
my %Mistakes;

# Who may see all attachments of RT
sub Allows {
    my ( $class, $user ) = @_;
    return $user && $user->id && $user->HasRight( Object => RT->System, Right => 'SuperUser' ) ? 1 : 0;
}

sub new {
    my ( $class, $user ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';

    # RT is there, and its backend goes on with its local copies
    my $tool = RT::ExternalStorage::AmazonS3::Tool->new( rt => 1, asks_server => 1 );
    my $self = bless { user => $user, tool => $tool, last => {} }, $class;
    $self->{rows}    = RT::ExternalStorage::AmazonS3::Page::Rows->new($tool);
    $self->{backend} = eval { $tool->Backend };
    $self->{trouble} = $self->{backend} ? undef : _Words($@);
    return $self;
}

sub Tool    { return $_[0]{tool} }
sub User    { return $_[0]{user} }
sub Rows    { return $_[0]{rows} }
sub Backend { return $_[0]{backend} }

# Why there is none
sub Trouble { return $_[0]{trouble} }

# Whether somebody has set up any external storage
sub IsConfigured {
    my $options = RT->Config->Get('ExternalStorage');
    return ref $options eq 'HASH' && %{$options} ? 1 : 0;
}

sub Type {
    my $options = RT->Config->Get('ExternalStorage');
    return ref $options eq 'HASH' && !ref $options->{Type} ? $options->{Type} // '' : '';
}

# The record of a command's last run, or undef
sub Last {
    my ( $self, $of ) = @_;
    my $last = $self->{last};
    if ( !exists $last->{$of} ) {
        my $record = eval { RT::ExternalStorage::AmazonS3::Records->Last($of) };
        $last->{$of} = RT::ExternalStorage::AmazonS3::Page::Record->Sound( $of, $record );
    }
    return $last->{$of};
}

# The last run of verify, and those before it that have seen what it has not: all, or the content of all
sub Verified {
    my ($self) = @_;
    my %seen;
    return grep { $_ && !$seen{ join ' ', $_->{started} // 0, $_->{ended} // 0 }++ }
        map { $self->Last($_) } 'verify', 'verify whole', 'verify deep';
}

# A RT::ExternalStorage::AmazonS3::Page::Health
sub Health {
    my ($self) = @_;
    return $self->{health} //= RT::ExternalStorage::AmazonS3::Page::Health->new($self);
}

# What a command that asks the database gives, or undef where there is no answer
sub Ask {
    my ( $self, $code ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    my $answer = eval { $code->() };
    RT->Logger->warning( 'The page about external storage: ' . _Words($@) ) if $@;
    return $answer;
}

# A handle of the library for what this page asks, perhaps with other options: what comes of it is no failure of RT, and
# local copies say nothing of the bucket
sub Handle {
    my ( $self, %other ) = @_;
    my $given = $self->Given or return undef;
    return $self->{handle}{ join ' ', %other } //= eval {
        my %options = ( %{$given}, Deadline => DEADLINE, Retries => RETRIES, %other );
        delete @options{qw(CacheDir CacheSize)};
        my ( $handle, $error ) = RT::ExternalStorage::AmazonS3::Native->open(%options);
        die $error if !$handle;
        $handle->fail_fast(1);
        my $key = join "\0", map {"$_=$options{$_}"} grep { defined $options{$_} } sort keys %options;
        $self->{mistakes} = $Mistakes{$key} //= [ map { $_->[1] } grep { $_->[0] eq 'error' } $handle->drain ];
        $handle;
    };
}

# What is wrong with the options, though a request can be formed
sub Mistakes {
    my ($self) = @_;
    my $handle = $self->Handle;
    return grep {defined} ( $self->{backend} || {} )->{_Refusal}, @{ $self->{mistakes} || [] };
}

# The options of %ExternalStorage for the library
sub Given {
    my ($self) = @_;
    my $backend = $self->{backend} or return undef;
    return { map { $_ => $backend->{$_} } grep { !/\A(?:_.*|Type)\z/ && !ref $backend->{$_} } keys %{$backend} };
}

# A method of that handle for a digest: what it returns, or (undef, $error)
sub AskServer {
    my ( $self, $method, $digest, $wait ) = @_;
    my $handle = $self->Handle or return ( undef, $self->{backend}{_Broken} );
    my $began  = _Now();
    my $left   = DEADLINE - ( $self->{spent} // 0 );
    return ( undef,
        RT::ExternalStorage::AmazonS3::Error->new( timeout => 'not asked: it has taken too long already' ) )
        if $left < 0.1;
    my ( $value, $error ) =
        $handle->$method( $digest, deadline => List::Util::min( 1000 * $left, $wait // WAIT ) );
    $self->{spent} += _Now() - $began;
    $handle->drain;
    return defined $value ? ($value) : ( undef, $error );
}

# What the library knows as a hash, or undef. "cache" and "failures" are those of RT's own handle.
sub Facts {
    my ( $self, $name ) = @_;
    my $native       = $name =~ /\A(?:cache|failures)\z/ ? ( $self->{backend} || {} )->{_Native}     : $self->Handle;
    my ($inspection) = $native     ? RT::ExternalStorage::AmazonS3::Native::Inspection->new($native) : ();
    my ($facts)      = $inspection ? $inspection->facts( $name, deadline => 1_000 )                  : ();
    return ref $facts eq 'HASH' && %{$facts} ? $facts : undef;
}

# How many calls of RT's have failed in the last day, by the name of their error; undef where none can be made
sub Failures {
    my ($self) = @_;
    return undef if !( $self->{backend} || {} )->{_Native};
    return $self->Facts('failures') || {};
}

sub _Now { return Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) }

# ---- for the components

# A moment as the user reads it, and how long ago it was
sub When {
    my ( $self, $seconds ) = @_;
    return '' if !$seconds;
    my $date = RT::Date->new( $self->{user} );
    $date->Set( Format => 'unix', Value => $seconds );
    return $date->AsString . ' (' . $date->AgeAsString . ')';
}

sub Kinds {
    return @KINDS[ grep { $_ % 2 == 0 } 0 .. $#KINDS ];
}
sub Kind { return $KIND{ $_[1] } ? $_[0]{user}->loc( $KIND{ $_[1] } ) : $_[1] }

sub Size   { return size( $_[1]   // 0 ) }
sub Number { return number( $_[1] // 0 ) }

# Pictures for the figures of "rt-s3 status": SVG as text, or undef
sub Places {
    my ( $self, $figures ) = @_;
    my $user = $self->{user};
    my @rows;
    for my $row (
        [ external => 'in S3',                       'external' ],
        [ waiting  => 'in the database, waiting',    'database' ],
        [ small    => 'in the database, small ones', 'database' ],
        )
    {
        my ( $name, $label, $color ) = @$row;
        my $part = $figures->{$name} || {};
        my $text = $user->loc( '[quant,_1,file,files]', $part->{count} // 0 );
        $text = $self->Size( $part->{bytes} ) . ", $text" if defined $part->{bytes};
        push @rows, [ $user->loc($label), $part->{bytes} // 0, $text, $color ];
    }
    return $self->_Chart( Bars => title => $user->loc('Where the attachments are'), rows => \@rows );
}

# Pictures with their captions: by month, of two years at most, and by year where there is more
sub Growth {
    my ( $self, $figures ) = @_;
    my $months = $figures->{months} || {};
    my $now    = POSIX::strftime( '%Y-%m', gmtime $figures->{ended} );
    my ($last) = reverse sort grep { $_ le $now } keys %{$months};
    my ( $year, $month ) = ( $last // $now ) =~ /\A(\d{4})-(\d\d)\z/ or return;
    my $first  = 12 * $year + $month - MONTHS;
    my $from   = sprintf '%04d-%02d', int( $first / 12 ), $first % 12 + 1;
    my @recent = grep { $_ ge $from } keys %{$months};
    my @charts = [ 'Attachments by the month they came in', { map { $_ => $months->{$_} } @recent } ];
    push @charts, [ 'Attachments by the year they came in', $months ] if @recent < keys %{$months};
    my @drawn;

    for my $chart ( grep { %{ $_->[1] } } @charts ) {
        my $caption = $self->{user}->loc( $chart->[0] );
        my $picture = $self->_Chart( Months => title => $caption, months => $chart->[1] );
        push @drawn, [ $caption, $picture ] if $picture;
    }
    return @drawn;
}

sub _Chart {
    my ( $self, $kind, @args ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    return eval {
        require RT::ExternalStorage::AmazonS3::Chart;
        RT::ExternalStorage::AmazonS3::Chart->$kind(@args);
    };
}

sub _Words {
    my ($error) = @_;
    return RT::ExternalStorage::AmazonS3::Tool::IsStopped($error) ? $error->{text} : "$error" =~ s/\s+\z//r;
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Page - what RT's page "Admin, Tools, External storage" shows

=head1 DESCRIPTION

The components in F<perl/html> hold words and markup, these modules all the rest. Texts that they hand out are arguments
for C<loc>.

Opening the page costs no look at whole tables: what it counts is what the commands of C<rt-s3> have kept
(L<RT::ExternalStorage::AmazonS3::Records>), and of what came in since it looks at so many rows at most. It changes
nothing in RT. What it asks the server ends within 8 seconds.

=head1 METHODS

=over

=item Allows USER

As a class method: whether this user may see the page, which is who has the right SuperUser.

=item new USER

=item User

=item Tool

What answers for C<rt-s3> here, a L<RT::ExternalStorage::AmazonS3::Tool>.

=item Backend, Trouble, IsConfigured, Type

RT's external storage where it is this one, else why not; whether there is any configuration, and of which type.

=item Health, Last NAME, Verified, Rows

A L<RT::ExternalStorage::AmazonS3::Page::Health>; the record of a command; those of verify; a
L<RT::ExternalStorage::AmazonS3::Page::Rows>.

=item Ask CODE

What CODE returns; undef, with a line in RT's log, where it dies.

=item AskServer METHOD, DIGEST, [MILLISECONDS]

Calls that method of L<RT::ExternalStorage::AmazonS3::Native>, and answers as it does.

=item Facts NAME, Failures, Handle, Given, Mistakes

What the library knows; how many calls of RT's have failed, by kind; the page's own handle of the library; the options as RT
has them, and the mistakes in them.

=item When SECONDS, Size BYTES, Number NUMBER, Kinds, Kind NAME

As people read them; the kinds of what verify may find, and one in words.

=item Places FIGURES, Growth FIGURES

Pictures: where the attachments are, and a list of those of their growth, each with its caption.

=back

=cut
