# Connectors for tables, payments and messages, against servers that answer as the vendors do.
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
# Airtable: ten records a request, all or none
#

sub airtable_upsert
{
	return [ PATCH => '/v0/appBASE/People', { performUpsert => { fieldsToMergeOn => ['Key'] }, typecast => JSON::PP::true,
		records => [ map { { fields => { Key => $_->[0], Email => $_->[1], plan => $_->[2] } } } @_ ] } ];
}
my @airtable = ([ 1, 'ann@example.com', 'free' ], [ 2, 'bob@example.com', 'pro' ], [ 3, 'cid@example.com', 'nonsense' ]);
my @airtable_given = (
	object => 'People', config => { base => 'appBASE', rate => { limits => [ { requests => 10000, per => '1s', burst => 100 } ] } },
	secrets => { access_token => 'airtable-token' },
	mappings => [ { source => 'id', destination => 'Key', identifier => JSON::PP::true }, { source => 'email', destination => 'Email' },
		{ source => 'plan', destination => 'plan' } ]);
$vendors->prove(
	$node, 'airtable', @airtable_given,
	holds => 'People', bad => { plan => 'nonsense' }, rejected => qr/create new select option/,
	create => [ map { airtable_upsert(@$_) } \@airtable, [ $airtable[0] ], [ @airtable[ 1, 2 ] ], [ $airtable[1] ], [ $airtable[2] ] ],
	update => [ airtable_upsert([ 1, 'ann@example.com', 'pro' ]) ],
	delete => [ [ DELETE => '/v0/appBASE/People/rec00000000000002', undef ] ]);
$vendors->prove_lookup(
	$node, 'airtable', @airtable_given,
	requests => [ [ GET => '/v0/appBASE/People?maxRecords=1&filterByFormula=%7BKey%7D%3D1', undef ],
		[ DELETE => '/v0/appBASE/People/rec00000000000001', undef ] ]);

#
# Stripe: forms; an idempotency key is answered once and for all
#

sub stripe_customer
{
	my ($path, $id, $email, $plan) = @_;
	return [ POST => "/v1/customers$path", { 'metadata[signalsmith_key]' => $id, 'metadata[plan]' => $plan, email => $email } ];
}
my %stripe = (
	secrets => { api_key => 'stripe-key' }, holds => 'customers', bad => { email => 'nonsense' }, rejected => qr/Invalid email address: nonsense/,
	config => { rate => { limits => [ { requests => 10000, per => '1s', burst => 100 } ] } },
	delete => [ [ DELETE => '/v1/customers/cus_00000002', undef ] ]);
my $stripe = $vendors->prove(
	$node, 'stripe', object => 'customers', %stripe,
	mappings => [ { source => 'email', destination => 'email' }, { source => 'plan', destination => 'metadata.plan' } ],
	create => [ map { stripe_customer('', @$_) } [ '1', 'ann@example.com', 'free' ], [ '2', 'bob@example.com', 'pro' ], [ '3', 'nonsense', 'free' ] ],
	update => [ stripe_customer('/cus_00000001', '1', 'ann@example.com', 'pro') ]);

# The first answer to this key is a failure, though the customer was made.
$vendors->set('stripe', breaks => 1);
$node->sql("INSERT INTO $stripe VALUES (8, 'hal\@example.com', 'free')");
$vendors->requests;
$node->run_is($node->run_sync($stripe), { rows_updated => 1, rows_failed => 0 }, 'Stripe: a failure that it repeats for ever');
my @requests = $vendors->requests;
is($requests[1][0] . $requests[2][0], 'POSTGET', 'Stripe: is found out at the second attempt, and the customer asked for');
is(scalar(grep { $_->{email} eq 'hal@example.com' } values %{ $vendors->held('stripe', 'customers') }), 1, 'Stripe: there is one of him');
my @posts = grep { $_->{method} eq 'POST' && $_->{body} =~ /hal/ } $vendors->history;
is($posts[1]{headers}{'idempotency-key'}, $posts[0]{headers}{'idempotency-key'}, 'Stripe: the repetition has the same key');
isnt($posts[2]{headers}{'idempotency-key'}, $posts[0]{headers}{'idempotency-key'}, 'Stripe: the update that follows another one');

$vendors->prove_lookup(
	$node, 'stripe', object => 'customers', %stripe, mappings => { email => 'email' },
	requests => [ [ GET => '/v1/customers/search?limit=1&query=metadata%5B%22signalsmith_key%22%5D%3A%221%22', undef ],
		[ DELETE => '/v1/customers/cus_00000001', undef ] ]);

sub stripe_search { return [ GET => '/v1/customers?email=' . $_[0] =~ s/@/%40/r . '&limit=1', undef ] }
sub stripe_by_email { return [ POST => "/v1/customers$_[0]", { email => $_[1], 'metadata[plan]' => $_[2] } ] }
$vendors->prove(
	$node, 'stripe', object => 'customers_by_email', %stripe, never_throttled => 1,
	mappings => [ { source => 'email', destination => 'email', identifier => JSON::PP::true }, { source => 'plan', destination => 'metadata.plan' } ],
	create => [ map { (stripe_search($_->[0]), stripe_by_email('', @$_)) } [ 'ann@example.com', 'free' ], [ 'bob@example.com', 'pro' ], [ 'nonsense', 'free' ] ],
	update => [ stripe_search('ann@example.com'), stripe_by_email('/cus_00000001', 'ann@example.com', 'pro') ],
	delete => [ stripe_search('bob@example.com'), [ DELETE => '/v1/customers/cus_00000002', undef ] ]);

#
# Slack: 200 whatever happened
#

sub slack_post { return [ POST => '/chat.postMessage', { channel => $_[0], text => $_[1] } ] }
my $slack = $vendors->prove(
	$node, 'slack', object => 'messages', config => { rate => { limits => [ { requests => 10000, per => '1s', burst => 100, op => 'create', by => '{{row.channel}}' } ] } },
	secrets => { bot_token => 'xoxb-token' },
	mappings => [ { expression => "CASE email WHEN 'nowhere' THEN email ELSE 'C' || id END", destination => 'channel' },
		{ source => 'plan', destination => 'text' } ],
	holds => 'messages', bad => { email => 'nowhere' }, rejected => qr/channel_not_found/,
	create => [ slack_post('C1', 'free'), slack_post('C2', 'pro'), slack_post('nowhere', 'free') ],
	update => [ [ POST => '/chat.update', { channel => 'C1', ts => '1503435956.000001', text => 'pro' } ] ],
	delete => [ [ POST => '/chat.delete', { channel => 'C2', ts => '1503435956.000002' } ] ]);
$vendors->set('slack', tables => {});
$node->sql("DELETE FROM $slack WHERE id = 1");
$node->run_is($node->run_sync($slack), { rows_deleted => 1, rows_failed => 0 }, 'Slack: a message that somebody else has deleted is done with');

done_testing();
