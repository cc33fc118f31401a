package Rts3::Test::Browser::Files;

use strict;
use warnings;
use utf8;

use Encode     ();
use File::Temp ();

use Rts3::Test::Demo::Files ();
use Rts3::Test::File        qw(spew);

=encoding UTF-8

=head1 NAME

Rts3::Test::Browser::Files - the files of a ticket that is looked at with a browser, and the ticket

=head1 FUNCTIONS

=head2 awkward

The names, of an attachment and of a field's value, that are hard to write.

=cut

my @Awkward = map {qq{Übersicht "Q3 & Q4" 'neu' <b> שלום 😀$_.zip}} '', ' 2';

sub awkward { return @Awkward }

=head2 all $browser, $script

What C<make_ticket> takes: attachments (a list) and fields (by name). The browser paints the chart; the script is
in each file that a browser might run.

=cut

sub all {
    my ( $browser, $script ) = @_;
    my $chart = chart($browser);
    my $form  = "<!DOCTYPE html><title>Form</title><script>$script</script><h1>Prices</h1>" . ' ' x 1200;
    my $logo  = <<"END" . '<!-- -->' x 200 . '</svg>';
<svg xmlns="http://www.w3.org/2000/svg" width="180" height="40" onload="$script"><title>Logo</title>
<script>$script</script><rect width="180" height="40" rx="8" fill="#35518c"/>
<text x="90" y="27" fill="white" text-anchor="middle" font-family="sans-serif" font-size="20">Amber &amp; Sons</text>
END
    my %svg = ( type => 'image/svg+xml', content => $logo );
    my %zip = ( type => 'application/zip' );
    return {
        attachments => [
            { name => 'sales-october.png', type => 'image/png', content => $chart, disposition => 'inline' },
            {
                name    => 'report.pdf',
                type    => 'application/pdf',
                content => Rts3::Test::Demo::Files::pdf() . ' ' x 500
            },
            { name => 'price form.html', type => 'text/html', content => $form },
            { %svg, name => 'logo.svg',  disposition => 'inline' },
            { %zip, name => $Awkward[0], content => "PK\5\6" . "\0" x 18 . Rts3::Test::Demo::Files::noise(70_000) },
            {
                name    => 'import.log',
                type    => 'text/plain',
                charset => 'UTF-8',
                content => Rts3::Test::Demo::Files::text( 'UTF-8', 40 )
            },
        ],
        fields => {
            Chart    => { name => 'chart "final" <i>.png', type => 'image/png', content => "$chart\0" },
            Stamp    => { %svg, name => 'stamp.svg', content => "$logo\n" },
            Contract => { %zip, name => $Awkward[1], content => Rts3::Test::Demo::Files::noise(20_000) },
            Page     => { name => 'page.html', type => 'text/html', content => "$form\n" },
        },
    };
}

=head2 chart $browser

A picture as people send them to a help desk, PNG.

=cut

sub chart {
    my ($browser) = @_;
    my @months    = ( May => 61, Jun => 74, Jul => 58, Aug => 82, Sep => 91, Oct => 12 );
    my $bars      = '';
    while ( my ( $month, $height ) = splice @months, 0, 2 ) {
        my $kind = $height < 20 ? ' class="low"' : '';
        $bars .= qq{<div$kind><b>$height</b><i style="height: ${height}px"></i>$month</div>};
    }
    my $page = File::Temp->new( SUFFIX => '.html' );
    spew( $page->filename, <<"END" );
<!DOCTYPE html><meta charset="utf-8"><style>
body { margin: 0; font: 14px sans-serif; color: #333 }
section { width: 460px; padding: 16px 20px; background: #f7f8fb; border: 1px solid #ccd }
h1 { font-size: 17px; margin: 0 0 4px } p { margin: 0 0 10px; color: #667; font-size: 12px }
main { display: flex; height: 150px; align-items: end; gap: 18px; border-bottom: 1px solid #99a; padding: 0 12px 4px }
main div { flex: 1; text-align: center }
main i { display: block; background: #4a74b8; border-radius: 3px 3px 0 0; margin: 2px 0 4px } main b { font-weight: normal }
.low i { background: #c8423b } .low b { color: #c8423b; font-weight: bold }
</style><section><h1>Sales by month, 2026</h1><p>in thousands of euros, Amber &amp; Sons</p><main>$bars</main></section>
END
    $browser->open("file://$page");
    return $browser->screenshot('section');
}

=head2 make_ticket $rt, \%files

A ticket with these files, sent by a customer; its number.

=cut

sub make_ticket {
    my ( $rt, $files ) = @_;
    my $code = <<'END';
        my ($files) = @_;
        Rts3::Test::RT::Inside::create_custom_field( $_, $_ =~ /Chart|Stamp/ ? 'Image' : 'Binary' )
            for qw(Chart Stamp Contract Page);
        my $customer = RT::User->new( RT->SystemUser );
        $customer->Create(
            Name         => 'miriam.amber@example.com',
            EmailAddress => 'miriam.amber@example.com',
            RealName     => 'Miriam Amber',
        );
        my $content = <<'TEXT';
Hello,

the monthly report shows far too little for October: 12 thousand euros, when it was about 95.
The bars before that are right. Attached are the chart, the report itself, and what the import wrote
into its log. Could you have a look before the meeting on Thursday?

Thank you,
Miriam Amber
TEXT
        my $ticket = Rts3::Test::RT::Inside::create_ticket(
            subject   => 'Monthly report: October is wrong',
            requestor => 'miriam.amber@example.com',
            content   => $content,
            %{$files},
        );
        return [ $ticket->{id}, $customer->id ];
END
    my ( $id, $customer ) = @{ $rt->call( $code, $files ) };
    my $dbh = $rt->dbh;
    $dbh->do( "UPDATE $_ SET Creator = ?",            undef, $customer ) for qw(Tickets Transactions Attachments);
    $dbh->do( 'UPDATE Tickets SET LastUpdatedBy = ?', undef, $customer );
    return $id;
}

1;
