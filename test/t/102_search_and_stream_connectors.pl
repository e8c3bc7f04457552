# Connectors for search engines and streams, against servers that answer as they do.
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
my %mapped = (email => 'email', plan => 'plan');
my %large = (plan => 'x' x 20000);

# A record that is too large fails all of its batch, which is halved.
sub algolia_record
{
	my ($id, $email, $plan) = @_;
	return { action => 'updateObject', body => { objectID => $id, email => $email, plan => $plan } };
}
my @records = (
	algolia_record('1', 'ann@example.com', 'free'), algolia_record('2', 'bob@example.com', 'pro'),
	algolia_record('3', 'cid@example.com', $large{plan}));
$vendors->prove(
	$node, 'algolia', object => 'people', config => { app_id => 'APP' }, secrets => { api_key => 'algolia-key' },
	mappings => \%mapped, holds => 'people', bad => \%large, rejected => qr/objectID=3 is too big/,
	create => [
		map { [ POST => '/1/indexes/people/batch', { requests => $_ } ] } \@records, [ $records[0] ], [ @records[ 1, 2 ] ],
		[ $records[1] ], [ $records[2] ] ],
	update => [ [ POST => '/1/indexes/people/batch', { requests => [ algolia_record('1', 'ann@example.com', 'pro') ] } ] ],
	delete => [ [ POST => '/1/indexes/people/batch', { requests => [ { action => 'deleteObject', body => { objectID => '2' } } ] } ] ]);

$vendors->prove(
	$node, 'kafka_rest_v2', vendor => 'kafka', url_in => 'url', object => 'people',
	secrets => { user => 'kafka', password => 'kafka-password' },
	mappings => \%mapped, holds => 'people', bad => \%large, rejected => qr/max\.request\.size/,
	create => [ [ POST => '/topics/people', { records => [
		{ key => 1, value => { email => 'ann@example.com', plan => 'free' } },
		{ key => 2, value => { email => 'bob@example.com', plan => 'pro' } },
		{ key => 3, value => { email => 'cid@example.com', %large } } ] } ] ],
	update => [ [ POST => '/topics/people', { records => [ { key => 1, value => { email => 'ann@example.com', plan => 'pro' } } ] } ] ],
	delete => [ [ POST => '/topics/people', { records => [ { key => 2, value => undef } ] } ] ]);

# Results come in another order than the records went.
sub entry
{
	my ($id, $email, $plan) = @_;
	return { id => 'UUID', key => { type => 'JSON', data => $id }, value => { type => 'JSON', data => { email => $email, plan => $plan } } };
}
my $path = '/v3/clusters/cluster-1/topics/people/records:batch';
$vendors->prove(
	$node, 'kafka_rest', vendor => 'kafka', url_in => 'url', object => 'people', config => { cluster_id => 'cluster-1' },
	secrets => { user => 'kafka', password => 'kafka-password' },
	mappings => \%mapped, holds => 'people', bad => \%large, rejected => qr/max\.request\.size/,
	create => [ [ POST => $path, { entries => [
		entry(1, 'ann@example.com', 'free'), entry(2, 'bob@example.com', 'pro'), entry(3, 'cid@example.com', $large{plan}) ] } ] ],
	update => [ [ POST => $path, { entries => [ entry(1, 'ann@example.com', 'pro') ] } ] ],
	delete => [ [ POST => $path, { entries => [ { id => 'UUID', key => { type => 'JSON', data => 2 } } ] } ] ]);

# A bad document next to good ones; the rows of one answer fare differently.
sub elastic_document
{
	my ($id, $email, $plan) = @_;
	return { index => { _id => $id } }, { email => $email, plan => $plan };
}
my %elastic = (
	url_in => 'url', secrets => { user => 'elastic', password => 'elastic-password' },
	mappings => [ { source => 'email', destination => 'email' },
		{ expression => q{CASE plan WHEN 'nonsense' THEN '{"a": 1}'::jsonb ELSE to_jsonb(plan) END}, destination => 'plan' } ]);
my $documents = [elastic_document('1', 'ann@example.com', 'free'), elastic_document('2', 'bob@example.com', 'pro'),
	elastic_document('3', 'cid@example.com', { a => 1 }) ];
my $elastic = $vendors->prove(
	$node, 'elasticsearch', object => 'people', %elastic, holds => 'people', bad => { plan => 'nonsense' },
	rejected => qr/failed to parse field \[plan\]/,
	create => [ [ POST => '/people/_bulk', $documents ] ],
	update => [ [ POST => '/people/_bulk', [ elastic_document('1', 'ann@example.com', 'pro') ] ] ],
	delete => [ [ POST => '/people/_bulk', [ { delete => { _id => '2' } } ] ] ]);

$vendors->set('elasticsearch', busy => 1);
$node->sql("UPDATE $elastic SET plan = 'late'");
$node->run_is($node->run_sync($elastic), { status => 'completed', rows_updated => 2, rows_failed => 0 },
	'Elasticsearch: an operation that is refused for the moment is repeated');
$vendors->set('elasticsearch', tables => { people => {} });
$node->sql("DELETE FROM $elastic WHERE id = 1");
$node->run_is($node->run_sync($elastic), { status => 'completed', rows_deleted => 1, rows_failed => 0 },
	'Elasticsearch: what is gone is deleted');

sub typesense_document
{
	my ($id, $email, $plan) = @_;
	return { id => $id, email => $email, plan => $plan };
}
my $import = '/collections/people/documents/import?action=upsert';
$vendors->prove(
	$node, 'typesense', object => 'people', url_in => 'url', secrets => { api_key => 'typesense-key' },
	mappings => [ { source => 'email', destination => 'email' },
		{ expression => q{CASE plan WHEN 'nonsense' THEN to_jsonb(7) ELSE to_jsonb(plan) END}, destination => 'plan' } ],
	holds => 'people', bad => { plan => 'nonsense' }, rejected => qr/Field `plan` must be a string/,
	create => [ [ POST => $import, [ typesense_document('1', 'ann@example.com', 'free'),
		typesense_document('2', 'bob@example.com', 'pro'), typesense_document('3', 'cid@example.com', 7) ] ] ],
	update => [ [ POST => $import, [ typesense_document('1', 'ann@example.com', 'pro') ] ] ],
	delete => [ [ DELETE => '/collections/people/documents/2', undef ] ]);

done_testing();
