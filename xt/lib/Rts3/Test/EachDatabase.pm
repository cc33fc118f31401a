package Rts3::Test::EachDatabase;

use strict;
use warnings;

use Exporter qw(import);
use POSIX    qw(strftime);
use Test::More;

use Rts3::Test::AttachmentRows ();
use Rts3::Test::DatabaseServer ();
use Rts3::Test::File           qw(slurp spew);
use Rts3::Test::Needs          qw(needs needs_rt needs_s3);

our @EXPORT_OK = qw(each_database write_table);

=head1 NAME

Rts3::Test::EachDatabase - the same on SQLite, PostgreSQL and MariaDB

=head1 SYNOPSIS

    each_database(
        bucket => 'killed',
        test   => sub {
            my ( $type, $rt, $rows, $s3, $server ) = @_;
            my @ids = $rows->add( 2000, mark => $type );
            ...
            return '20 s';
        }
    );
    write_table( 'reliability.md', kill => '| database | time |', '|---|---|' );

=head1 FUNCTIONS

=head2 each_database bucket => $name, test => $code

A subtest for each database, or for those that C<RTS3_DATABASES> names: a throwaway RT with a bucket of its own. The code gets the type
as RT has it, an L<Rts3::Test::RT>, its L<Rts3::Test::AttachmentRows>, the L<Rts3::Test::S3Server>, and, but for SQLite, the
L<Rts3::Test::DatabaseServer>. It returns cells of a table.

=head2 write_table $page, $mark, @head

With C<RTS3_WRITE_DOCS=1>, and if all is well: puts the table into that page of docs/, between C<< <!-- MARK --> >> and
C<< <!-- end --> >>.

=cut

my @TYPES = ( [ SQLite => 'SQLite' ], [ Pg => 'PostgreSQL' ], [ mysql => 'MariaDB' ] );
my %Lines;

sub each_database {
    my (%args) = @_;
    my %wanted = map { $_ => 1 } split /,/, $ENV{RTS3_DATABASES} || 'SQLite,Pg,mysql';
    my $s3;
    for (@TYPES) {
        my ( $type, $name ) = @{$_};
        next if !$wanted{$type};
        subtest $name => sub {
            needs( Rts3::Test::DatabaseServer->missing($type) ) if $type ne 'SQLite';
            $s3 //= needs_s3;
            my $bucket = lc "$args{bucket}-$type";
            my $server = $type eq 'SQLite' ? undef : Rts3::Test::DatabaseServer->start($type);
            my $rt     = needs_rt(
                storage => { Type => 'AmazonS3', Bucket => $bucket, $s3->options },
                config  => $server ? $server->config : ''
            );
            $s3->make_bucket($bucket);
            my $rows = Rts3::Test::AttachmentRows->new(
                rt     => $rt,
                s3     => $s3,
                bucket => $bucket,
                ( $server ? ( dbh => sub { $server->dbh } ) : () )
            );
            my @cells = $args{test}->( $type, $rt, $rows, $s3, $server );
            $Lines{$type} = sprintf "| %s |\n", join ' | ', $name, @cells;
            diag $Lines{$type} if @cells;
        };
    }
    return;
}

sub write_table {
    my ( $name, $mark, @head ) = @_;
    return if !$ENV{RTS3_WRITE_DOCS} || !Test::More->builder->is_passing;
    my $file  = "$Rts3::Test::RT::Root/docs/$name";
    my $page  = slurp($file);
    my $date  = strftime( '%Y-%m-%d', gmtime );
    my $table = join( "\n", @head, '' ) . join( '', map { $Lines{ $_->[0] } // () } @TYPES ) . "\nMeasured $date.\n";
    $page =~ s/(?<=<!-- $mark -->\n).*?(?=<!-- end -->)/$table/s or die "$file has no place for the table";
    spew( $file, $page );
    return;
}

1;
