package RT::ExternalStorage::AmazonS3::Tool::Database;

use strict;
use warnings;

# Rows are read by their ids, so many of these at a time: whatever is asked, no database has to hold, lock or sort more
use constant RANGE => 1_000;

# Seconds after which a connection may have been ended by the other side
use constant IDLE => 60;

# Where RT has contents that may be external. "sign": one letter for it, where there are many to keep
my @PLACES = (
    { class => 'RT::Attachments', table => 'Attachments', column => 'Content', sign => 'A' },
    {
        class  => 'RT::ObjectCustomFieldValues',
        table  => 'ObjectCustomFieldValues',
        column => 'LargeContent',
        sign   => 'V'
    },
);

my %BYTES = (
    SQLite => q{CASE typeof(%1$s) WHEN 'text' THEN LENGTH(CAST(%1$s AS BLOB)) ELSE LENGTH(%1$s) END},
    Pg     => 'OCTET_LENGTH(%s)',
);

sub new {
    my ( $class, $tool ) = @_;
    return bless { tool => $tool }, $class;
}

sub Places { return @PLACES }

# The place of a class, with or without its RT::, or of a sign
sub Place {
    my ( $self, $name ) = @_;
    my ($place) = grep { $name eq $_->{class} || "RT::$name" eq $_->{class} || $name eq $_->{sign} } @PLACES;
    return $place;
}

# The rows, or the end of the command: a query that failed never looks like one that found nothing
sub Select {
    my ( $self, $query, @values ) = @_;
    return $self->_Do(
        sub {
            my ($dbh) = @_;
            return $dbh->selectall_arrayref( $query, {}, @values ) // die 'no answer: ' . $dbh->errstr . "\n";
        }
    );
}

# The one row, as a hash with names in lower case, or undef
sub Row {
    my ( $self, $query, @values ) = @_;
    return $self->_Do(
        sub {
            my $statement = $_[0]->prepare_cached($query);
            $statement->execute(@values);
            my $row = $statement->fetchrow_hashref('NAME_lc');
            $statement->finish;
            return $row;
        }
    );
}

# Calls $code with (after, up to), which cover the ids of a table
sub Ranges {
    my ( $self, $table, $code ) = @_;
    my ( $least, $most ) = @{ $self->Select("SELECT MIN(id), MAX(id) FROM $table")->[0] };
    return if !defined $most;
    for ( my $after = $least - 1; $after < $most; $after += RANGE ) {    ## no critic (ProhibitCStyleForLoops)
        $code->( $after, $after + RANGE );
    }
    return;
}

# All or nothing of what $code does with the connection that it is given
sub Transaction {
    my ( $self, $code ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    my $dbh = eval { $self->_Connection } or $self->{tool}->Stop("RT's database: $@");
    local $dbh->{RaiseError}  = 1;
    local $dbh->{PrintError}  = 0;
    local $dbh->{HandleError} = undef;
    return if eval {
        $dbh->begin_work;
        $code->($dbh);
        $dbh->commit;
        1;
    };
    my $why = RT::ExternalStorage::AmazonS3::Tool::IsStopped($@) ? $@->{text} : $@;
    eval { $dbh->rollback; 1 } or $why .= '; ' . $@;
    return $self->{tool}->Stop("the database can't be changed: $why");
}

# What $code returns, which reads with the connection that it is given: all of it as of one moment
sub Snapshot {
    my ( $self, $code ) = @_;
    my $type = RT->Config->Get('DatabaseType');
    return $self->_Do(
        sub {
            my ($dbh) = @_;
            local $dbh->{sqlite_use_immediate_transaction} = 0 if $type eq 'SQLite';
            my $level = 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ';
            $dbh->do($level) if $type eq 'mysql';
            $dbh->begin_work;
            my $result = eval {
                $dbh->do($level) if $type eq 'Pg';
                $code->($dbh);
            };
            my $why = $@;
            eval { $dbh->rollback; 1 } || ( $why ||= $@ );
            die $why if $why;
            return $result;
        }
    );
}

# An expression for the bytes of a column, whose content is not read for it where that can be. PostgreSQL's LENGTH would
# have to unpack a text to count its characters, and SQLite's ends at a NUL.
sub BytesOf {
    my ( $self, $column ) = @_;
    return sprintf $BYTES{ RT->Config->Get('DatabaseType') } // 'LENGTH(%s)', $column;
}

# "FOR UPDATE", where the database knows it
sub ForUpdate { return RT->Config->Get('DatabaseType') eq 'SQLite' ? '' : ' FOR UPDATE' }

sub _Do {
    my ( $self, $code ) = @_;
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    my $result;
    return $result if eval {
        my $dbh = $self->_Connection;
        local $dbh->{RaiseError}  = 1;
        local $dbh->{PrintError}  = 0;
        local $dbh->{HandleError} = undef;
        $result = $code->($dbh);
        1;
    };

    # A call within this one may have ended the command already
    die $@ if RT::ExternalStorage::AmazonS3::Tool::IsStopped($@);
    return $self->{tool}->Stop( "RT's database: " . ( $@ || 'unknown error' ) );
}

sub _Connection {
    my ($self) = @_;
    my $dbh    = $RT::Handle->dbh;
    my $idle   = time - ( $self->{used} // time );
    if ( $idle > IDLE && $dbh->{AutoCommit} && !$dbh->ping ) {
        $RT::Handle->Connect;
        $dbh = $RT::Handle->dbh;
    }
    $self->{used} = time;
    return $dbh // die "RT is not connected to it\n";
}

1;

__END__

=head1 NAME

RT::ExternalStorage::AmazonS3::Tool::Database - RT's database, as the commands of rt-s3 ask and change it

=head1 METHODS

=over

=item new TOOL

=item Places, Place CLASS

Where RT has contents that may be external: hashes with C<class>, C<table>, C<column> and C<sign>.

=item Select QUERY, VALUES; Row QUERY, VALUES

Rows as arrays; one row as a hash. They stop the command where there is no answer.

=item Ranges TABLE, CODE

Calls CODE with pairs of ids, above the first and up to the second, that cover the table.

=item Transaction CODE

All that CODE does with the connection it is given, or nothing of it: then the command is stopped.

=item Snapshot CODE

What CODE returns, which reads with the connection that it is given, all as of one moment.

=item BytesOf COLUMN

An expression of SQL for how many there are in a column.

=item ForUpdate

What to write behind a query in a transaction, to lock its rows.

=back

=cut
