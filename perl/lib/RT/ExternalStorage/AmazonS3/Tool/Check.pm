package RT::ExternalStorage::AmazonS3::Tool::Check;

use strict;
use warnings;

use RT::ExternalStorage::AmazonS3::Native;
use RT::ExternalStorage::AmazonS3::Native::Inspection;
use RT::ExternalStorage::AmazonS3::Tool;
use RT::ExternalStorage::AmazonS3::Tool::Check::Document;
use RT::ExternalStorage::AmazonS3::Tool::Check::Keys;
use RT::ExternalStorage::AmazonS3::Tool::Check::Options;
use RT::ExternalStorage::AmazonS3::Tool::Check::Schedule;

use constant { NATIVE => 'RT::ExternalStorage::AmazonS3::Native', OPTIONS => __PACKAGE__ . '::Options' };

# Whoever checks doesn't want to wait for an outage as RT's tools do
use constant { DEADLINE => 15, RETRIES => 1 };

# What is shown of a result, and the exit status of the whole
my %SHOWN = ( ok => 'ok', unknown => '-', warning => 'warning', problem => 'problem' );
my %EXIT  = ( warning => 1, problem => 2 );

# What to do about an error of the library, where nothing better is said
my %ADVICE = (
    'config'      => 'mend the option in RT_SiteConfig.pm, and restart the web server',
    'credentials' => 'correct AccessKeyId and SecretAccessKey, or the place where the keys come from; see KEYS in '
        . '"perldoc RT::ExternalStorage::AmazonS3"',
    'denied'    => 'let the keys do this; see SETUP in "perldoc RT::ExternalStorage::AmazonS3"',
    'network'   => 'see that Host and Proxy are right, that the server runs, and that no firewall is between',
    'timeout'   => 'see whether the server is overloaded, or a firewall drops what is sent',
    'throttled' => 'the server asks to slow down: try again later',
    'no-bucket' => 'correct Bucket, Host or Region, or make the bucket',
    'library'   => 'install the library with "make install", or set RTS3_LIBRARY to its path',
);

# Each asks the server, and returns whether the next one may
my @GROUPS = qw(Network Bucket Rights Links Settings);

sub Options { return qw(as=s) }

sub new {
    my ( $class, %args ) = @_;
    return bless { tool => $args{tool}, count => {}, told => {} }, $class;
}

sub Run {
    my ($self) = @_;
    my $user = RT::ExternalStorage::AmazonS3::Tool::Check::Keys->User( $self->{tool} );
    local @SIG{qw(INT TERM HUP)} = ( sub { $self->{ended} = "ended by SIG$_[0]"; $self->_GoOn } ) x 3;

    my $ok    = eval { $self->_Look($user); $self->_GoOn; 1 };
    my $error = $@;
    delete $self->{ended};
    $self->RemoveProbes;
    die $error if !$ok;
    return $self->_Sum;
}

sub _Look {
    my ( $self, $user ) = @_;
    $self->{backend} = eval { $self->{tool}->Backend };
    if ( !$self->{backend} ) {
        my $error = $@;
        die $error if !RT::ExternalStorage::AmazonS3::Tool::IsStopped($error);
        $self->Report(
            problem => 'configuration',
            $error->{text}, 'mend RT_SiteConfig.pm; see ' . 'CONFIGURATION in "perldoc RT::ExternalStorage::AmazonS3"'
        );
        return;
    }
    if ( $self->_Group( 'Options', sub { $self->_Open } ) ) {
        $self->_Group( 'Keys', sub { RT::ExternalStorage::AmazonS3::Tool::Check::Keys->Look( $self, $user ) } );
        for my $group (@GROUPS) {
            my $module = __PACKAGE__ . "::$group";
            eval "require $module; 1" or die $@;    ## no critic (ProhibitStringyEval): one of those above
            last if !$self->_Group( $group, sub { $module->Look($self) } );
        }
        $self->RemoveProbes;
        $self->Heard;
    }
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
    return;
}

# An error of the library
sub Failed {
    my ( $self, $name, $error, $advice ) = @_;
    $advice //= $ADVICE{ $error->name } // 'if this comes again, ask the server\'s administrator';
    return $self->Report( problem => $name, $error->message, $advice );
}

# What the library has said meanwhile; returns what it was about
sub Heard {
    my ($self) = @_;
    my @names;
    for my $message ( $self->Native->drain ) {
        my ( $level, $text ) = @$message;
        next if $level eq 'info' || $text =~ /\Athe server is (?:down|up)\b/;
        my $name  = $text =~ /\bregion\b/ ? 'region' : $text =~ /\bclock\b/ ? 'clock' : 'options';
        my ($set) = $text =~ /(\bset \w+ => '[^']*')/;
        $self->Report( warning => $name, $text, $set // 'change it in RT_SiteConfig.pm' );
        push @names, $name;
    }
    return @names;
}

# Objects that are to be removed whatever happens
sub Remember { my ( $self, $key ) = @_; $self->{probes}{$key} = 1;    return }
sub Forget   { my ( $self, $key ) = @_; delete $self->{probes}{$key}; return }

sub RemoveProbes {
    my ($self) = @_;
    for my $key ( sort keys %{ $self->{probes} || {} } ) {
        $self->Native->fail_fast(0);    # worth waiting for
        my ( $gone, $error ) = $self->Native->delete($key);
        delete $self->{probes}{$key};
        if ($gone) {
            $self->Report( ok => 'delete', 'allowed' );
            next;
        }

        # It may be meant so: then what RT shreds stays in the bucket
        my $is_meant = $error->name eq 'denied';
        $self->Report( $is_meant ? 'warning' : 'problem', 'delete', $error->message,
            ( $is_meant ? 'if what is shredded in RT shall be deleted, ' : '' )
                . "allow s3:DeleteObject; and delete the object $key, which this check has made" );
    }
    return;
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
the bucket keeps versions, a version and a delete marker of each stay. It never makes a bucket, never changes the
bucket's settings, and touches no attachment.

A server that is down is noticed within seconds: the options C<Deadline> and C<Retries> do not hold here.

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

=item C<keys>, C<keys of USER>

Where the keys come from, the access key's id, and when they expire; never the secret.

=item C<proxy>, C<name>, C<connection>, C<tls>, C<certificate>, C<clock>

The way to the server: all its addresses, the version of TLS, whose certificate it is and how long it is good, and how far
this machine's clock is from the server's. TLS is looked at with the Perl module L<IO::Socket::SSL>, if it is there.

=item C<bucket>, C<owner>, C<region>

Whether it is there, whose it is, and where.

=item C<put>, C<get>, C<head>, C<list>, C<delete>

The rights that RT needs, each tried.

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
problem. Uploads that were begun and never finished cost money.

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
