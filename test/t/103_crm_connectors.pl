# Connectors for customer records, against servers that answer as the vendors do.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use Signalsmith::Cluster;
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');

sub attio_person
{
	my ($email, $plan) = @_;
	return [ PUT => '/v2/objects/people/records?matching_attribute=email_addresses',
		{ data => { values => { email_addresses => [$email], plan => $plan } } } ];
}
$vendors->prove(
	$node, 'attio', object => 'people', secrets => { api_key => 'attio-key' },
	mappings => [ { expression => 'ARRAY[email]', destination => 'email_addresses', identifier => JSON::PP::true },
		{ source => 'plan', destination => 'plan' } ],
	holds => 'people', bad => { email => 'nonsense' }, rejected => qr/invalid value was passed.*email_addresses/,
	create => [ attio_person('ann@example.com', 'free'), attio_person('bob@example.com', 'pro'), attio_person('nonsense', 'free') ],
	update => [ attio_person('ann@example.com', 'pro') ]);

done_testing();
