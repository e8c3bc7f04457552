# Connectors for advertising audiences, against servers that answer as the vendors do.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use Signalsmith::Cluster;
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');

# Meta only counts invalid members, so a batch with one is halved.
my @schema = qw(EXTERN_ID EMAIL PHONE FN LN CT ST ZIP COUNTRY GEN DOBY DOBM DOBD MADID);
sub meta_change
{
	my ($method, $schema, @data) = @_;
	return [ $method => '/audience/users', {
			access_token => 'meta-token', payload => { schema => $schema, data => \@data } } ];
}
sub meta_member
{
	my ($id, $email) = @_;
	return [ $id, sha256_hex($email), ('') x 12 ];
}
my @members = (meta_member(1, 'ann@example.com'), meta_member(2, 'bob@example.com'), meta_member('nonsense', 'cid@example.com'));
$vendors->prove(
	$node, 'meta_audiences', vendor => 'meta', object => 'audience', secrets => { access_token => 'meta-token' },
	mappings => [ { expression => q{CASE WHEN plan = 'bad' THEN 'nonsense' ELSE id::text END}, destination => 'extern_id', identifier => JSON::PP::true },
		{ expression => "' ' || upper(email)", destination => 'email' } ],
	holds => 'audience', bad => { plan => 'bad' }, rejected => qr/counts failed rows/, change => "email = 'Ann.Smith\@example.com'",
	create => [ map { meta_change(POST => \@schema, @$_) } \@members, [ $members[0] ], [ @members[ 1, 2 ] ], [ $members[1] ], [ $members[2] ] ],
	update => [ meta_change(POST => \@schema, meta_member(1, 'ann.smith@example.com')) ],
	delete => [ meta_change(DELETE => ['EXTERN_ID'], ['2']) ]);

done_testing();
