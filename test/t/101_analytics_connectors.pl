# Connectors for events and profiles, against servers that answer as the vendors do.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Signalsmith::Cluster;
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');
my %mapped = (email => 'email', plan => 'plan');

# Segment says "success" whatever it gets, so nothing is ever refused or expired.
sub segment_user
{
	my ($id, $email, $plan) = @_;
	return { type => 'identify', userId => $id, messageId => 'UUID', traits => { email => $email, plan => $plan } };
}
$vendors->prove(
	$node, 'segment', object => 'identify', secrets => { write_key => 'segment-key' },
	mappings => \%mapped, never_throttled => 1, expired => 'unnoticed',
	create => [ [ POST => '/v1/batch', { batch => [
		segment_user('1', 'ann@example.com', 'free'), segment_user('2', 'bob@example.com', 'pro'),
		segment_user('3', 'cid@example.com', 'free') ] } ] ],
	update => [ [ POST => '/v1/batch', { batch => [ segment_user('1', 'ann@example.com', 'pro') ] } ] ]);
is($vendors->held('segment', 'users')->{1}{plan}, 'pro', 'Segment: the user has the new plan');

$vendors->prove(
	$node, 'segment', object => 'group', secrets => { write_key => 'segment-key' },
	mappings => { email => 'user_id', plan => 'plan' }, never_throttled => 1, expired => 'unnoticed',
	create => [ [ POST => '/v1/batch', { batch => [
		map { { type => 'group', groupId => $_->[0], userId => $_->[1], messageId => 'UUID', traits => { plan => $_->[2] } } }
		[ '1', 'ann@example.com', 'free' ], [ '2', 'bob@example.com', 'pro' ], [ '3', 'cid@example.com', 'free' ] ] } ] ]);

$vendors->prove(
	$node, 'segment', object => 'track', secrets => { write_key => 'segment-key' }, mode => 'append',
	mappings => [ { constant => 'Signed up', destination => 'event' }, { source => 'email', destination => 'user_id' },
		{ source => 'plan', destination => 'plan' } ],
	never_throttled => 1, expired => 'unnoticed',
	create => [ [ POST => '/v1/batch', { batch => [
		map { { type => 'track', event => 'Signed up', userId => $_->[0], messageId => 'UUID', properties => { plan => $_->[1] } } }
		[ 'ann@example.com', 'free' ], [ 'bob@example.com', 'pro' ], [ 'cid@example.com', 'free' ] ] } ] ]);
is(scalar(keys %{ $vendors->held('segment', 'events') }), 3, 'Segment: three events');

# A profile that Mixpanel refuses fails all of its batch, which is halved.
sub mixpanel_user
{
	my ($id, $email, $plan) = @_;
	return { '$token' => 'mixpanel-token', '$distinct_id' => $id, '$set' => { '$email' => $email, plan => $plan } };
}
my @mixpanel_users = (
	mixpanel_user('1', 'ann@example.com', 'free'), mixpanel_user('2', 'bob@example.com', 'pro'), mixpanel_user('3', 'nonsense', 'free'));
$vendors->prove(
	$node, 'mixpanel', object => 'profiles', secrets => { token => 'mixpanel-token' },
	mappings => { email => '$email', plan => 'plan' }, holds => 'profiles',
	bad => { email => 'nonsense' }, rejected => qr/invalid value of \$email/,
	create => [
		map { [ POST => '/engage?verbose=1', $_ ] } \@mixpanel_users, [ $mixpanel_users[0] ], [ @mixpanel_users[ 1, 2 ] ],
		[ $mixpanel_users[1] ], [ $mixpanel_users[2] ] ],
	update => [ [ POST => '/engage?verbose=1', [ mixpanel_user('1', 'ann@example.com', 'pro') ] ] ],
	delete => [ [ POST => '/engage?verbose=1', [ { '$token' => 'mixpanel-token', '$distinct_id' => '2', '$delete' => '' } ] ] ]);

# The import answers 400 to what it has imported in part.
$vendors->prove(
	$node, 'mixpanel', object => 'events', mode => 'append', config => { project_id => '7' },
	secrets => { user => 'mixpanel-user', password => 'mixpanel-secret' },
	mappings => [ { expression => "nullif(email, 'nonsense')", destination => 'event' }, { source => 'plan', destination => 'plan' },
		{ expression => '1750000000 + id', destination => 'time' } ],
	bad => { email => 'nonsense' }, rejected => qr/'event' is missing/,
	create => [ [ POST => '/import?strict=1&project_id=7', [
		{ event => 'ann@example.com', properties => { '$insert_id' => 'UUID', plan => 'free', time => 1750000001 } },
		{ event => 'bob@example.com', properties => { '$insert_id' => 'UUID', plan => 'pro', time => 1750000002 } },
		{ event => undef, properties => { '$insert_id' => 'UUID', plan => 'free', time => 1750000003 } } ] ] ]);
is(scalar(keys %{ $vendors->held('mixpanel', 'events') }), 3, 'Mixpanel: the good events are there, and the later one');

# A form, with JSON in a field of it.
sub amplitude_users
{
	my (@users) = @_;
	return [ POST => '/identify', { api_key => 'amplitude-key', identification => [
		map { { user_id => $_->[0], user_properties => { plan => $_->[1] } } } @users ] } ];
}
my @amplitude = ([ 1, 'free' ], [ 2, 'pro' ], [ 3, 'nonsense' ]);
$vendors->prove(
	$node, 'amplitude', object => 'users', secrets => { api_key => 'amplitude-key' },
	mappings => { plan => 'plan' },
	bad => { plan => 'nonsense' }, rejected => qr/invalid_user_properties/,
	create => [ map { amplitude_users(@$_) } \@amplitude, [ $amplitude[0] ], [ @amplitude[ 1, 2 ] ], [ $amplitude[1] ], [ $amplitude[2] ] ],
	update => [ amplitude_users([ 1, 'pro' ]) ]);

# One bad event fails its batch, which is halved.
sub amplitude_events
{
	my (@events) = @_;
	return [ POST => '/batch', { api_key => 'amplitude-key', options => { min_id_length => 1 }, events => [
		map { { event_type => $_->[0], user_id => $_->[1], insert_id => 'UUID', event_properties => {} } } @events ] } ];
}
my @events = ([ 'free', 'ann@example.com' ], [ 'pro', 'bob@example.com' ], [ '', 'cid@example.com' ]);
$vendors->prove(
	$node, 'amplitude', object => 'events', mode => 'append', secrets => { api_key => 'amplitude-key' },
	mappings => { plan => 'event_type', email => 'user_id' }, bad => { plan => '' }, rejected => qr/Invalid field values/,
	create => [ map { amplitude_events(@$_) } \@events, [ $events[0] ], [ @events[ 1, 2 ] ], [ $events[1] ], [ $events[2] ] ]);

done_testing();
