# Connectors for messaging, against servers that answer as the vendors do.
use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
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

# What failed is in lists of user ids and of addresses, and in lower case.
sub iterable_user
{
	my ($id, $email, $plan) = @_;
	return { userId => $id, preferUserId => JSON::PP::true, email => $email, dataFields => { plan => $plan } };
}
sub iterable_update
{
	my (@users) = @_;
	return [ POST => '/api/users/bulkUpdate', { createNewFields => JSON::PP::true, users => \@users } ];
}
my $iterable = $vendors->prove(
	$node, 'iterable', object => 'users', path => '/api', secrets => { api_key => 'iterable-key' },
	mappings => { email => 'email', plan => 'plan' }, holds => 'users',
	bad => { email => 'Nonsense' }, rejected => qr/nonsense/,
	create => [
		iterable_update(iterable_user('1', 'ann@example.com', 'free'), iterable_user('2', 'bob@example.com', 'pro'),
			iterable_user('3', 'Nonsense', 'free')) ],
	update => [ iterable_update(iterable_user('1', 'ann@example.com', 'pro')) ],
	delete => [ [ DELETE => '/api/users/byUserId/2', undef ] ]);
$node->sql("UPDATE $iterable SET plan = CASE id WHEN 1 THEN 'conflict' ELSE 'team' END");
my $run = $node->run_sync($iterable);
$node->run_is($run, { rows_updated => 1, rows_failed => 1 }, 'Iterable: a conflict, named in another list');
is_deeply([ map { $_->{key} } $node->row_errors($run->{id}) ], [ { id => 1 } ], 'Iterable: is that of the right row');

sub iterable_address
{
	my ($email, $plan) = @_;
	return { email => $email, dataFields => { plan => $plan } };
}
$vendors->prove(
	$node, 'iterable', object => 'users_by_email', path => '/api', secrets => { api_key => 'iterable-key' },
	mappings => [ { source => 'email', destination => 'email', identifier => JSON::PP::true }, { source => 'plan', destination => 'plan' } ],
	holds => 'users', bad => { email => 'Nonsense' }, rejected => qr/nonsense/,
	create => [
		iterable_update(iterable_address('ann@example.com', 'free'), iterable_address('bob@example.com', 'pro'),
			iterable_address('Nonsense', 'free')) ],
	update => [ iterable_update(iterable_address('ann@example.com', 'pro')) ],
	delete => [ [ DELETE => '/api/users/bob%40example.com', undef ] ]);

# Members are found by the hash of their address.
my %mailchimp = (
	config => { server => 'us1', list => 'L1' }, secrets => { api_key => 'mailchimp-key' }, holds => 'L1',
	bad => { email => 'nonsense' }, rejected => qr/valid email address/,
	delete => [ [ DELETE => '/lists/L1/members/' . md5_hex('bob@example.com'), undef ] ]);
sub mailchimp_put
{
	my ($email, $plan) = @_;
	return [ PUT => '/lists/L1/members/' . md5_hex(lc $email),
		{ email_address => $email, status_if_new => 'subscribed', merge_fields => { PLAN => $plan } } ];
}
my $mailchimp = $vendors->prove(
	$node, 'mailchimp', object => 'members', %mailchimp,
	mappings => [ { source => 'email', destination => 'email_address', identifier => JSON::PP::true },
		{ source => 'plan', destination => 'merge_fields.PLAN' } ],
	create => [ mailchimp_put('ann@example.com', 'free'), mailchimp_put('bob@example.com', 'pro'), mailchimp_put('nonsense', 'free') ],
	update => [ mailchimp_put('ann@example.com', 'pro') ]);
$vendors->set('mailchimp', tables => { L1 => { md5_hex('ann@example.com') => { status => 'unsubscribed' } } });
$node->sql("UPDATE $mailchimp SET plan = 'team' WHERE id = 1");
$node->run_sync($mailchimp);
is($vendors->held('mailchimp', 'L1')->{ md5_hex('ann@example.com') }{status}, 'unsubscribed',
	'Mailchimp: who has unsubscribed stays so');

sub mailchimp_members
{
	return [ POST => '/lists/L1', { update_existing => JSON::PP::true, members => [
		map { { email_address => $_->[0], status => 'subscribed', merge_fields => { PLAN => $_->[1] } } } @_ ] } ];
}
$vendors->prove(
	$node, 'mailchimp', object => 'members_in_bulk', %mailchimp,
	mappings => [ { source => 'email', destination => 'email_address', identifier => JSON::PP::true },
		{ constant => 'subscribed', destination => 'status' }, { source => 'plan', destination => 'merge_fields.PLAN' } ],
	create => [ mailchimp_members([ 'ann@example.com', 'free' ], [ 'bob@example.com', 'pro' ], [ 'nonsense', 'free' ]) ],
	update => [ mailchimp_members([ 'ann@example.com', 'pro' ]) ]);

done_testing();
