# Connectors for messaging, against servers that answer as the vendors do.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Signalsmith::Cluster;
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');

$vendors->prove(
	$node, 'braze',
	config => { instance => 'iad-01' }, secrets => { api_key => 'braze-key' },
	mappings => { email => 'email', plan => 'plan' }, holds => 'users',
	bad => { email => 'nonsense' }, rejected => qr/not a valid email/,
	create => [
		[ POST => '/users/track', { attributes => [
			{ external_id => '1', email => 'ann@example.com', plan => 'free' },
			{ external_id => '2', email => 'bob@example.com', plan => 'pro' },
			{ external_id => '3', email => 'nonsense', plan => 'free' } ] } ] ],
	update => [ [ POST => '/users/track', { attributes => [ { external_id => '1', email => 'ann@example.com', plan => 'pro' } ] } ] ],
	delete => [ [ POST => '/users/delete', { external_ids => ['2'] } ] ]);

$vendors->prove(
	$node, 'customerio',
	secrets => { site_id => 'site', api_key => 'customerio-key' },
	mappings => { email => 'email', plan => 'plan' }, holds => 'people',
	bad => { email => 'nonsense' }, rejected => qr/email is invalid/,
	create => [
		[ POST => '/api/v2/batch', { batch => [
			map { { type => 'person', action => 'identify', identifiers => { id => $_->[0] }, attributes => { email => $_->[1], plan => $_->[2] } } }
			[ '1', 'ann@example.com', 'free' ], [ '2', 'bob@example.com', 'pro' ], [ '3', 'nonsense', 'free' ] ] } ] ],
	update => [
		[ POST => '/api/v2/batch', { batch => [
			{ type => 'person', action => 'identify', identifiers => { id => '1' }, attributes => { email => 'ann@example.com', plan => 'pro' } } ] } ] ],
	delete => [ [ POST => '/api/v2/batch', { batch => [ { type => 'person', action => 'delete', identifiers => { id => '2' } } ] } ] ]);

$vendors->prove(
	$node, 'klaviyo',
	secrets => { api_key => 'klaviyo-key' }, holds => 'profiles',
	mappings => [ { source => 'id', destination => 'external_id' }, { source => 'email', destination => 'email' },
		{ source => 'plan', destination => 'properties.plan' } ],
	bad => { email => 'nonsense' }, rejected => qr/Invalid email address/,
	create => [
		map { [ POST => '/api/profile-import', { data => { type => 'profile', attributes => {
			external_id => $_->[0], email => $_->[1], properties => { plan => $_->[2] } } } } ] }
		[ 1, 'ann@example.com', 'free' ], [ 2, 'bob@example.com', 'pro' ], [ 3, 'nonsense', 'free' ] ],
	update => [ [ POST => '/api/profile-import', { data => { type => 'profile', attributes => {
		external_id => 1, email => 'ann@example.com', properties => { plan => 'pro' } } } } ] ]);

done_testing();
