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

#
# Attio: one record a request; what it calls a record is needed to delete it
#

sub attio_person
{
	my ($email, $plan) = @_;
	return [ PUT => '/v2/objects/people/records?matching_attribute=email_addresses',
		{ data => { values => { email_addresses => [$email], plan => $plan } } } ];
}
my @attio = (
	object => 'people', secrets => { api_key => 'attio-key' },
	mappings => [ { expression => 'ARRAY[email]', destination => 'email_addresses', identifier => JSON::PP::true },
		{ source => 'plan', destination => 'plan' } ]);
$vendors->prove(
	$node, 'attio', @attio,
	holds => 'people', bad => { email => 'nonsense' }, rejected => qr/invalid value was passed.*email_addresses/,
	create => [ attio_person('ann@example.com', 'free'), attio_person('bob@example.com', 'pro'), attio_person('nonsense', 'free') ],
	update => [ attio_person('ann@example.com', 'pro') ],
	delete => [ [ DELETE => "/v2/objects/people/records/UUID", undef ] ]);
$vendors->prove_lookup(
	$node, 'attio', @attio,
	requests => [ [ POST => '/v2/objects/people/records/query', { filter => { email_addresses => 'ann@example.com' }, limit => 1 } ],
		[ DELETE => "/v2/objects/people/records/UUID", undef ] ]);

#
# HubSpot: batches, with results out of order and without those that failed
#

sub hubspot_upsert
{
	my (@contacts) = @_;
	return [ POST => '/crm/v3/objects/contacts/batch/upsert', { inputs => [
		map { { id => $_->[0], idProperty => 'email', objectWriteTraceId => 'UUID',
				properties => { email => $_->[0], plan => $_->[1], visits => $_->[2] } } } @_ ] } ];
}
sub hubspot_archive
{
	return [ POST => '/crm/v3/objects/contacts/batch/archive', { inputs => [ map { { id => $_ } } @_ ] } ];
}
my @hubspot = (
	object => 'contacts', secrets => { access_token => 'hubspot-token' },
	mappings => [ { source => 'email', destination => 'email', identifier => JSON::PP::true },
		{ source => 'plan', destination => 'plan' }, { source => 'id', destination => 'visits' } ]);
my $hubspot = $vendors->prove(
	$node, 'hubspot', @hubspot,
	holds => 'contacts', bad => { email => 'nonsense' }, rejected => qr/Email address nonsense is invalid/,
	create => [ hubspot_upsert([ 'ann@example.com', 'free', '1' ], [ 'bob@example.com', 'pro', '2' ], [ 'nonsense', 'free', '3' ]) ],
	update => [ hubspot_upsert([ 'ann@example.com', 'pro', '1' ]) ],
	delete => [ hubspot_archive('502') ]);

$node->sql("UPDATE $hubspot SET plan = NULL WHERE id = 1");
$vendors->requests;
$node->run_is($node->run_sync($hubspot), { rows_updated => 1, rows_failed => 0 }, 'HubSpot: null');
is_deeply([ $vendors->requests ], [ hubspot_upsert([ 'ann@example.com', '', '1' ]) ], 'HubSpot: clears a property');

$vendors->set('hubspot', names_traces => JSON::PP::false);
$node->sql("INSERT INTO $hubspot VALUES (5, 'Eve\@Example.com', 'free'), (6, 'wrong', 'free')");
my $run = $node->run_sync($hubspot);
$node->run_is($run, { rows_created => 1, rows_failed => 1 }, 'HubSpot: results without a trace are known by their property, in lower case');
is(($node->row_errors($run->{id}))[0]{message}, 'Property values were not valid: Email address wrong is invalid', 'HubSpot: the other row is the bad one');
$node->sql("DELETE FROM $hubspot WHERE id = 6");

$node->sql("UPDATE $hubspot SET plan = 'team'");
$vendors->set('hubspot', tables => {});
$node->sql("SELECT signalsmith.update_sync('$hubspot', '" . '{"field_mappings": [{"source": "email", "destination": "email", "identifier": true},
	{"source": "plan", "destination": "unknown_plan"}]}' . "')");
$run = $node->run_sync($hubspot);
$node->run_is($run, { rows_updated => 0, rows_failed => $run->{rows_processed} }, 'HubSpot: a property that there is not');
like(($node->row_errors($run->{id}))[0]{message}, qr/Property "unknown_plan" does not exist/, 'HubSpot: is named');

$vendors->prove_lookup(
	$node, 'hubspot', @hubspot,
	requests => [ [ POST => '/crm/v3/objects/contacts/batch/read',
			{ idProperty => 'email', properties => ['email'], inputs => [ { id => 'ann@example.com' } ] } ], hubspot_archive('501') ]);

# Mode update asks which contacts there are, and makes none.
$vendors->reset;
$vendors->{seen} = 0;
$vendors->set('hubspot', tables => { contacts => { 77 => { email => 'ann@example.com' } } });
$vendors->set_up($node, 'hubspot', 'hubspot', 'enrichment', @hubspot, mode => 'update');
$node->run_is($node->run_sync('enrichment'), { status => 'completed', rows_created => 0, rows_updated => 1 }, 'HubSpot: mode update');
is_deeply([ $vendors->requests ], [
		[ POST => '/crm/v3/objects/contacts/batch/read', { idProperty => 'email', properties => ['email'],
				inputs => [ { id => 'ann@example.com' }, { id => 'bob@example.com' }, { id => 'cid@example.com' } ] } ],
		hubspot_upsert([ 'ann@example.com', 'free', '1' ]) ], 'HubSpot: changes only who is there');

#
# Intercom: one contact a request, under an id of its own
#

sub intercom_id { return sprintf '5ba682d2%016x', $_[0] }
sub intercom_contact
{
	my ($id, $email, $plan, %more) = @_;
	return { external_id => $id, email => $email, custom_attributes => { plan => $plan }, %more };
}
my $intercom = $vendors->prove(
	$node, 'intercom', object => 'contacts', secrets => { access_token => 'intercom-token' },
	mappings => [ { source => 'email', destination => 'email' }, { source => 'plan', destination => 'custom_attributes.plan' } ],
	holds => 'contacts', bad => { email => 'nonsense' }, rejected => qr/email is invalid/,
	create => [ map { [ POST => '/contacts', intercom_contact(@$_, role => 'user') ] }
		[ '1', 'ann@example.com', 'free' ], [ '2', 'bob@example.com', 'pro' ], [ '3', 'nonsense', 'free' ] ],
	update => [ [ PUT => '/contacts/' . intercom_id(1), intercom_contact('1', 'ann@example.com', 'pro') ] ],
	delete => [ [ DELETE => '/contacts/' . intercom_id(2), undef ] ]);

$vendors->set('intercom', tables => { contacts => { abc => { external_id => '7', email => 'gil@example.com' } } });
$node->sql("INSERT INTO $intercom VALUES (7, 'gil\@example.com', 'pro')");
$node->sql("UPDATE $intercom SET plan = 'team' WHERE id = 1");
$vendors->requests;
$node->run_is($node->run_sync($intercom), { rows_created => 1, rows_updated => 1, rows_failed => 0 },
	'Intercom: a contact that exists is updated, one that is gone is made again');
is_deeply([ $vendors->requests ], [
		[ PUT => '/contacts/' . intercom_id(1), intercom_contact('1', 'ann@example.com', 'team') ],
		[ GET => '/contacts/find_by_external_id/1', undef ],
		[ POST => '/contacts', intercom_contact('1', 'ann@example.com', 'team', role => 'user') ],
		[ POST => '/contacts', intercom_contact('7', 'gil@example.com', 'pro', role => 'user') ],
		[ GET => '/contacts/find_by_external_id/7', undef ],
		[ PUT => '/contacts/abc', intercom_contact('7', 'gil@example.com', 'pro') ] ], 'Intercom: after a question for its id')
  or diag(JSON::PP->new->pretty->encode([ $vendors->history ]));

$vendors->prove(
	$node, 'intercom', object => 'companies', secrets => { access_token => 'intercom-token' },
	mappings => [ { source => 'email', destination => 'website' }, { source => 'plan', destination => 'plan' } ],
	holds => 'companies', bad => { email => 'nonsense' }, rejected => qr/website is invalid/,
	create => [ map { [ POST => '/companies', { company_id => $_->[0], website => $_->[1], plan => $_->[2] } ] }
		[ '1', 'ann@example.com', 'free' ], [ '2', 'bob@example.com', 'pro' ], [ '3', 'nonsense', 'free' ] ],
	update => [ [ POST => '/companies', { company_id => '1', website => 'ann@example.com', plan => 'pro' } ] ],
	delete => [ [ DELETE => '/companies/' . intercom_id(2), undef ] ]);

done_testing();
