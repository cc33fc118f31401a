package RT::ExternalStorage::AmazonS3::Tool::Check;

use strict;
use warnings;

use Time::HiRes ();

use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Native::Inspection;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Check::Advice;
use RT::ExternalStorage::AmazonS3::Tool::Check::Document;
use RT::ExternalStorage::AmazonS3::Tool::Check::Keys;
use RT::ExternalStorage::AmazonS3::Tool::Check::Options;
use RT::ExternalStorage::AmazonS3::Tool::Check::Probes;
use RT::ExternalStorage::AmazonS3::Tool::Check::Schedule;

use constant NATIVE => 'RT::ExternalStorage::AmazonS3::Native';
use constant { map { uc $_ => __PACKAGE__ . "::$_" } qw(Advice Options) };

# Whoever checks doesn't want to wait for an outage as RT's tools do, nor for a server that takes seconds for everything
use constant { DEADLINE => 15, RETRIES => 1, LONGEST => 60 };

use constant LATE => "it takes too long\n";

# No answer, rather than one that says no: nothing else can be asked then
use constant OUTAGE => qr/\A(?:network|timeout|unavailable)\z/;

# What is shown of a result, and the exit status of the whole
my %SHOWN = ( ok => 'ok', unknown => '-', warning => 'warning', problem => 'problem' );
my %EXIT  = ( warning => 1, problem => 2 );

# Each asks the server, and returns whether the next one may
my @GROUPS = qw(Network Bucket Rights Links Settings);

sub Options { return qw(as=s) }

sub new {
    my ( $class, %args ) = @_;
    my $self = bless { tool => $args{tool}, count => {}, told => {} }, $class;
    $self->{probes} = RT::ExternalStorage::AmazonS3::Tool::Check::Probes->new($self);
    return $self;
}

sub Run {
    my ($self) = @_;
    my $user = RT::ExternalStorage::AmazonS3::Tool::Check::Keys->User( $self->{tool} );
    local @SIG{qw(INT TERM HUP PIPE)} = ( sub { $self->{ended} = "ended by SIG$_[0]"; $self->_GoOn } ) x 4;

    my $ok    = eval { $self->_Look($user); $self->_GoOn; 1 };
    my $error = $@;
    delete @{$self}{qw(ended until)};
    local $SIG{PIPE} = 'IGNORE';
    $self->Probes->Remove;
    die $error if !$ok;
    return $self->_Sum;
}

sub _Look {
    my ( $self, $user ) = @_;
    $self->{backend} = eval { $self->{tool}->Backend };
    if ( !$self->{backend} ) {
        my $error = $@;
        die $error if !RT::ExternalStorage::AmazonS3::Tool::IsStopped($error);
        my $what = $error->{text} =~ /\ART\b.*? can't / ? 'rt' : 'configuration';
        $self->Report( problem => 'configuration', $error->{text}, ADVICE->Of($what) );
        return;
    }
    $self->{until} = _Now() + LONGEST;
    if ( $self->_Group( 'Options', sub { $self->_Open } ) ) {
        $self->_Group( 'Keys', sub { RT::ExternalStorage::AmazonS3::Tool::Check::Keys->Look( $self, $user ) } );
        my ( $goes_on, @groups ) = ( 1, @GROUPS );
        while ( $goes_on && @groups ) {
            my $group  = shift @groups;
            my $module = __PACKAGE__ . "::$group";
            eval "require $module; 1" or die $@;    ## no critic (ProhibitStringyEval): one of those above
            $goes_on = $self->_Group( $group, sub { $module->Look($self) } );
        }
        delete $self->{until};
        $self->Report(
            unknown => lc $groups[0],
            join( ', ', map {lc} @groups ) . ' were not looked at'
        ) if @groups;
        $self->Probes->Remove;
        $self->Heard;
    }
    delete $self->{until};
    $self->_Group( 'Schedule', sub { RT::ExternalStorage::AmazonS3::Tool::Check::Schedule->Look($self) } );
    return;
}

# What a signal's handler throws may be caught by whatever is under way, HTTP::Tiny for one
sub _GoOn {
    my ($self) = @_;
    $self->{tool}->Stop( $self->{ended} ) if $self->{ended};
    return;
}

# A mistake of this program in one group must not hide what the others find
sub _Group {
    my ( $self, $name, $code ) = @_;
    my $goes_on;
    return $goes_on if eval { $goes_on = $code->(); 1 };
    my $error = $@;
    die $error if RT::ExternalStorage::AmazonS3::Tool::IsStopped($error);
    if ( $error eq LATE ) {
        $self->Report(
            problem => 'time',
            'not everything could be looked at within ' . LONGEST . ' s, because the server takes so long to answer',
            'see whether the server is overloaded, or the way to it: pages of RT wait as long'
        );
        return 0;
    }
    $self->Report( problem => lc $name, "rt-s3 itself has failed: $error", 'report this as a mistake of rt-s3' );
    return 1;
}

sub _Open {
    my ($self) = @_;
    my %options = %{ $self->{backend} };
    delete @options{ 'Type', grep {/\A_/} keys %options };
    $self->{options} = \%options;
    return OPTIONS->Look($self);
}

# ---- for the groups

sub Tool    { return $_[0]{tool} }
sub Backend { return $_[0]{backend} }
sub Probes  { return $_[0]{probes} }

# Those of %ExternalStorage, all of them
sub Given { return $_[0]{options} }

# A handle for them that does not wait long, with some of them replaced
sub Handle {
    my ( $self, %other ) = @_;
    my %plain = map { $_ => $self->{options}{$_} } grep { !ref $self->{options}{$_} } keys %{ $self->{options} };
    my ( $handle, $error ) = NATIVE->open( %plain, Deadline => DEADLINE, Retries => RETRIES, %other );
    $handle->fail_fast(1) if $handle;
    return $handle ? $handle : ( undef, $error );
}

sub Native { return $_[0]{native} //= ( $_[0]->Handle )[0] }

# What the server says of the bucket: a Document, or (undef, $error)
sub Document {
    my ( $self, $what ) = @_;
    return RT::ExternalStorage::AmazonS3::Tool::Check::Document->Of( $self->Native, $what );
}

# What the library has learned of the server so far, as a hash
sub Learned {
    my ($self)       = @_;
    my ($inspection) = RT::ExternalStorage::AmazonS3::Native::Inspection->new( $self->Native );
    my ($learned)    = $inspection ? $inspection->facts('learned') : ();
    return $learned || {};
}

sub Report {
    my ( $self, $result, $name, $text, $advice ) = @_;
    $self->_GoOn;
    ( $text, $advice ) = map { defined ? $self->_OneLine($_) : undef } $text, $advice;
    return if $self->{told}{ join "\n", $name, $text }++;
    $self->{count}{$result}++;

    my $output = $self->{tool}->Output;
    $output->Record(
        check  => $name,
        result => $result,
        text   => $text,
        ( defined $advice ? ( advice => $advice ) : () )
    );
    my $lines = sprintf '%-8s %s: %s', $SHOWN{$result}, $name, $text;
    $lines .= "\n         -> $advice" if defined $advice;
    $EXIT{$result} && !$output->IsText ? $output->Problem($lines) : $output->Line($lines);
    return if !$self->{until} || _Now() <= $self->{until};
    delete $self->{until};
    die LATE;
}

# An error of the library. %advice: by its name, where something better is to be said than what is said elsewhere. Returns
# whether the server can be asked for more.
sub Failed {
    my ( $self, $name, $error, %advice ) = @_;
    $self->Report( problem => $name, $error->message, $advice{ $error->name } // ADVICE->For($error) );
    return $error->name !~ OUTAGE;
}

# What the library has said meanwhile; returns what it was about
sub Heard {
    my ($self) = @_;
    my @names;
    for my $message ( $self->Native->drain ) {
        my ( $level, $text ) = @$message;
        next if $level eq 'info' || $text =~ /\Athe server (?:is (?:still )?(?:down|up)|answers again)\b/;
        my $name  = $text =~ /\b(region|clock)\b/ ? $1 : $text =~ /\Athe keys\b/ ? 'keys' : 'options';
        my ($set) = $text =~ /(\bset \w+ => '[^']*')/;
        $set //= ADVICE->Of( { keys => 'credentials', clock => 'clock' }->{$name} // 'config' );
        $self->Report( warning => $name, $text, $set );
        push @names, $name;
    }
    return @names;
}

# No secret gets out, whoever has put it into a text
sub _OneLine {
    my ( $self, $text ) = @_;
    $text =~ s/\s*[\r\n]+\s*/ /g;
    $text =~ s/\s+\z//;
    my $options = $self->{options} || {};
    my @secrets = grep { defined && !ref && length >= 6 } @{$options}{qw(SecretAccessKey SessionToken)};
    $text =~ s/\Q$_\E/***/g for @secrets;
    return $text;
}

sub _Now { return Time::HiRes::clock_gettime( Time::HiRes::CLOCK_MONOTONIC() ) }

sub _Sum {
    my ($self) = @_;
    my %count  = map { $_ => $self->{count}{$_} // 0 } keys %SHOWN;
    my $exit   = $count{problem} ? $EXIT{problem} : $count{warning} ? $EXIT{warning} : 0;
    my $text   = join ', ', map { $count{$_} . ' ' . $_ . ( $count{$_} == 1 ? '' : 's' ) } qw(problem warning);
    $text .= ", $count{ok} ok";
    $text .= ", $count{unknown} could not be looked at" if $count{unknown};
    $self->{tool}->Output->Line($text);
    $self->{tool}->Output->Record(
        summary => {
            exit     => $exit,
            ok       => $count{ok},
            warnings => $count{warning},
            problems => $count{problem},
            unknown  => $count{unknown},
        }
    );
    return $exit;
}

1;

__END__

=head1 NAME

rt-s3 check - is everything as it should be?

=head1 SYNOPSIS

    rt-s3 check
    rt-s3 check --as www-data
    rt-s3 check --quiet

=head1 DESCRIPTION

Looks at everything that has to be right before RT can keep its attachments in S3, from the options in
F<RT_SiteConfig.pm> to the rules of the bucket, and says of each thing in one line whether it is: C<ok>, C<warning> or
C<problem>. Below a warning or a problem stands what to do about it. A hyphen instead means that it could not be looked
at, or does not apply, which is no fault.

    ok       options: AccessKeyId, Bucket, Host, SecretAccessKey: understood
    ok       keys: AKIAIOSFODNN7EXAMPLE, from options; they do not expire
    ok       name: s3.example.com is 192.0.2.7, 2001:db8::7
    warning  certificate: of s3.example.com, by Example CA, ends in 9 days, on 2027-01-12
             -> renew it on the server
    problem  put: PUT 9f86d0... in bucket files at s3.example.com: AccessDenied ...
             -> allow s3:PutObject for the bucket's objects

It stores two small objects with a random content, and removes them before it ends, also when it is interrupted. Where
the bucket keeps versions, a version and a delete marker of each stay; where nothing may be deleted, or this command is
killed (SIGKILL), the objects themselves: 200 bytes each, which C<rt-s3 verify --orphans> names. It never makes a bucket,
never changes the bucket's settings, and touches no attachment.

A server that is down is noticed within seconds: the options C<Deadline> and C<Retries> do not hold here. What is not
done after a minute, because the server takes seconds for each answer, is left out, and C<time> says so.

=head1 OPTIONS

=over

=item C<--as> USER

Looks for the keys a second time as this user, with the user's groups and home directory: the web server's, say
(C<www-data>). What root finds in its own environment or home directory the web server may not have. Variables
C<AWS_*> of this shell are left out, except what they say of the instance's metadata. Needs root.

=item C<--json>

One JSON object a line: C<check> (its name), C<result> (C<ok>, C<warning>, C<problem> or C<unknown>), C<text>, and
C<advice> where there is something to do. The last one is C<summary>: the numbers C<ok>, C<warnings>, C<problems> and
C<unknown>, and C<exit>, the exit status.

=item C<--quiet>, C<-q>

Writes only warnings and problems, to standard error.

=item C<--help>, C<-h>

This manual.

=back

=head1 WHAT IS LOOKED AT

=over

=item C<configuration>, C<options>

Whether RT uses this module, and every mistake in the options of C<%ExternalStorage>.

=item C<keys>, C<keys of USER>, C<options of USER>

Where the keys come from, the access key's id, and when they expire; never the secret. Whether that user may read what
there is to be read, and use the directory C<CacheDir>.

=item C<proxy>, C<name>, C<connection>, C<tls>, C<certificate>, C<clock>

The way to the server: all its addresses, the version of TLS, whose certificate it is and how long it is good, and how far
this machine's clock is from the server's. TLS is looked at with the Perl module L<IO::Socket::SSL>, if it is there.

=item C<bucket>, C<owner>, C<region>

Whether it is there, whose it is, and where.

=item C<put>, C<get>, C<head>, C<list>, C<delete>

The rights that RT needs, each tried; where nothing can be stored, reading with one of RT's attachments.

=item C<begin>

What RT's C<rt-externalize-attachments> asks before it begins: whether an upload may be begun.

=item C<condition>, C<checksum>, C<encrypted>, C<way back>

Whether the server heeds C<If-None-Match> and keeps SHA-256 checksums, how it encrypts, and whether RT's own module could
read what is stored here: it refuses objects whose ETag is not their MD5, such as those encrypted with C<aws:kms>.

=item C<attachments>

Whether a few of the objects that RT's database refers to are there. All of them: C<rt-s3 verify>.

=item C<public>, C<links>

Whether anybody can read or list the bucket, and whether the direct links of this configuration can be fetched by
somebody without keys, with the right type.

=item C<lifecycle>, C<versioning>, C<object-lock>, C<encryption>, C<uploads>

What the bucket is told to do: rules that would delete objects, or archive them so that they can't be read at once, are a
problem. Uploads that were begun and never finished cost money, unless a rule removes them.

=item C<time>

Not everything could be looked at: the server takes too long.

=item C<schedule>

Whether cron or systemd of this machine runs RT's C<rt-externalize-attachments>, C<rt-s3 externalize>, or both.

=back

=head1 EXIT STATUS

=over

=item C<0>

No warning and no problem.

=item C<1>

Warnings.

=item C<2>

Problems, or it could not be carried out.

=item C<64>

It was called wrongly.

=back

=head1 SEE ALSO

L<rt-s3>, L<RT::ExternalStorage::AmazonS3>

=cut
