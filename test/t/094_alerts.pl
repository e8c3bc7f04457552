# Alerts: each change of state is told once, through any destination, by workers,
# and goes on being told until it has arrived.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;
my $chat = Signalsmith::Recorder->start;

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 20) AS i;
	CREATE ROLE ann LOGIN IN ROLE signalsmith_user; GRANT SELECT ON people TO ann;
	CREATE ROLE bob LOGIN IN ROLE signalsmith_user; GRANT SELECT ON people TO bob});
for my $role (qw(ann bob))
{
	$node->create_webhook_sync(
		name => "people of $role", mode => 'mirror', query => 'SELECT id, name FROM people', primary_key => 'id',
		url => $recorder->url("/$role"), role => $role, options => { max_attempts => 1 });
}
$node->sql('SELECT signalsmith.create_destination(' . join(', ', quote('chat', 'http', {
	base_url => $chat->url, operations => { create => { request => { method => 'POST', path => '/messages', body => { text => '{{row.text}}' } } } } })) . ')',
	role => 'ann');

sub create_alert
{
	my ($sync, $condition, $options) = @_;
	return $node->sql('SELECT signalsmith.create_alert(' . join(', ', quote($sync, $condition, 'chat', $options // {})) . ')', role => 'ann');
}

# What the chat has got, once it is so many messages.
sub told
{
	my ($count) = @_;
	$chat->wait_for(requests => $count);
	$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM signalsmith.runs WHERE status IN ('queued', 'running'))})
	  or die 'the alerts are not delivered';
	return map { decode_json($_->{body})->{text} } $chat->history;
}

# --- what cannot be
for my $case (
	[ [ 'people of ann', 'failure' ], qr/unknown condition "failure".*HINT:  Did you mean "failed"\?/s ],
	[ [ 'people of bob', 'failed' ], qr/sync "people of bob" does not exist/ ],
	[ [ '*', 'slow' ], qr/needs the option "seconds".*HINT:/s ],
	[ [ '*', 'failed', { rows => 3 } ], qr/unknown key "rows"/ ],
	[ [ '*', 'row_failures', { rows => 'many' } ], qr/option "rows" of an alert must be a number/ ])
{
	my ($arguments, $error) = @$case;
	my ($sync, $condition, $options) = @$arguments;
	like($node->sql_error('SELECT signalsmith.create_alert(' . join(', ', quote($sync, $condition, 'chat', $options // {})) . ')', role => 'ann'),
		$error, "$condition of $sync is refused");
}

# --- each state is told once when it begins and once when it is over
is(create_alert('*', 'failed'), 'alert_1', 'an alert on all syncs');
create_alert('people of ann', 'held');
create_alert('people of ann', 'row_failures', { rows => 1 });
create_alert('people of ann', 'slow', { seconds => 0.5 });
create_alert('*', 'error');
like($node->sql_error(q{SELECT signalsmith.create_alert('*', 'failed', 'chat')}, role => 'ann'), qr/already exists.*HINT:/s, 'the same alert twice is refused');
is($node->sql(q{SELECT count(DISTINCT delivered_by) || ' ' || min(delivered_by) FROM signalsmith.alerts}, role => 'ann'), '1 alerts of ann to chat', 'one sync delivers them all');

$node->run_sync("people of $_") for qw(ann bob);
is($node->sql('SELECT count(*) FROM signalsmith.alert_events'), 0, 'as long as all is well nothing is told');

$recorder->rules({ status => 500 });
my @failed = map { $node->sql("UPDATE people SET name = name || '.'"); $node->run_sync("people of $_") } qw(ann ann bob);
is_deeply([ map { $_->{status} } @failed ], [ ('failed') x 3 ], 'runs fail');
my @told = told(1);
is(scalar(@told), 1, 'that is told once, and of no sync that the owner of the alert may not see');
like($told[0], qr/^people of ann: \Q$failed[0]{id}\E failed: /, 'with the run and the reason');
is($node->sql(q{SELECT firing FROM signalsmith.alerts WHERE condition = 'failed'}, role => 'ann'), 'people of ann', 'the view says that it is so');

$recorder->rules({ reject => [ { id => 1 } ] });
my $run = $node->run_sync('people of ann');
@told = told(2);
is($told[1], "people of ann: $run->{id} is completed; no longer failed", 'its end is told, and one refused row is not worth a word');

$recorder->rules({ reject => [ { id => 1 }, { id => 2 } ] });
$node->sql("UPDATE people SET name = name || '.'");
$run = $node->run_sync('people of ann');
is((told(3))[2], "people of ann: 2 rows of $run->{id} failed; signalsmith.error_summary says why", 'two are');

$recorder->rules;
$node->sql('DELETE FROM people');
$run = $node->run_sync('people of ann');
@told = reverse sort +(told(5))[ 3, 4 ];
is($told[0], "people of ann: $run->{id} is held; no longer failing rows", 'each state is for itself');
like($told[1], qr/^people of ann: \Q$run->{id}\E is held: the model returned no rows, so 20 deletes are held/, 'held deletes are told');
$node->wait_for_run($node->sql("SELECT signalsmith.approve_deletes('$run->{id}', (SELECT jsonb_agg(key) FROM (SELECT * FROM signalsmith.held_deletes('$run->{id}') LIMIT 3) AS part))"));
is($node->sql(q{SELECT firing FROM signalsmith.alerts WHERE condition = 'held'}), 'people of ann', 'as long as some are held');
$run = $node->wait_for_run($node->sql("SELECT signalsmith.approve_deletes('$run->{id}')"));
is((told(6))[5], "people of ann: $run->{id} is completed; no longer held", 'and when none is any more');

$recorder->reset;
$recorder->rules({ delay => 0.7, nth => 1 });
$node->sql(q{INSERT INTO people VALUES (1, 'one')});
$run = $node->run_sync('people of ann');
like((told(7))[6], qr/^people of ann: \Q$run->{id}\E took .*, more than 0.5 seconds/, 'a slow run is told');
$node->sql(q{UPDATE people SET name = 'uno'});
is((told(8))[7], "people of ann: $run->{id} is completed; no longer slow", 'and one that is not, after it') if $run = $node->run_sync('people of ann');
$recorder->reset;
$recorder->rules({ nth => 1, hold => 1 });
$node->sql(q{UPDATE people SET name = 'eins'});
my $running = $node->trigger('people of ann');
$recorder->wait_for(held => 1);
$node->wait_until('the run is slow', sub { $node->sql(q{SELECT signalsmith._wake()});
	$node->sql(q{SELECT firing FROM signalsmith.alerts WHERE condition = 'slow'}) eq 'people of ann' });
$chat->wait_for(requests => 9);
is((map { decode_json($_->{body})->{text} } $chat->history)[8], "people of ann: $running takes more than 0.5 seconds", 'and while it is under way');
$recorder->rules;
$recorder->release;
$node->wait_for_run($running);

# --- what could not be delivered is tried again, and is no reason for an alert
$chat->rules({ status => 503 });
$node->sql(q{SELECT signalsmith.update_sync('alerts of ann to chat', '{"options": {"max_attempts": 1}}')});
$recorder->rules({ status => 401 });
$node->sql(q{INSERT INTO people VALUES (2, 'two')});
$run = $node->run_sync('people of ann');
$node->poll_query_until('postgres', q{SELECT next_run_at > now() FROM signalsmith.syncs WHERE name = 'alerts of ann to chat'})
  or die 'the delivery did not fail';
$node->sql(q{SELECT signalsmith.reset_sync('people of ann')});
is($node->sql(q{SELECT count(*) FROM signalsmith.alert_events WHERE sync LIKE 'alerts%'}), 0, 'a delivery that fails is not reported');
is($node->sql(q{SELECT string_agg(condition, ', ' ORDER BY condition) FROM signalsmith.alerts WHERE firing IS NOT NULL}, role => 'ann'), 'error, failed, slow',
	'what happens meanwhile is noted');
$chat->rules;
$chat->reset;
$node->sql(q{UPDATE signalsmith.sync SET next_run_at = now() WHERE name = 'alerts of ann to chat'; SELECT signalsmith._wake()});
@told = told(2);
like("@told", qr/in error, nothing is sent until SELECT signalsmith.resume_sync\('sync_1'\): /, 'and told in the end');
like($node->sql_error(q{SELECT signalsmith.create_alert('alerts of ann to chat', 'failed', 'chat')}, role => 'ann'), qr/delivers alerts itself.*HINT:/s, 'no alert watches a delivery');

# --- they go with what they are about
like($node->sql_error(q{SELECT signalsmith.delete_sync('alerts of ann to chat')}), qr/because it delivers alerts.*HINT:/s, 'a sync that delivers cannot be deleted');
$node->sql(q{SELECT signalsmith.delete_sync('people of ann')}, role => 'ann');
is($node->sql(q{SELECT string_agg(name, ', ') FROM signalsmith.alerts}), 'failed: syncs of ann to chat, error: syncs of ann to chat', 'alerts about a sync go with it');
like($node->sql_error(q{SELECT signalsmith.delete_alert('alert_1')}, role => 'bob'), qr/alert "alert_1" does not exist/, 'they are nobody else\'s to see');
$node->sql(q{SELECT signalsmith.delete_alert(id) FROM signalsmith.alerts}, role => 'ann');
is($node->sql(q{SELECT count(*) FROM signalsmith.syncs WHERE name LIKE 'alerts%'}), 0, 'the last one takes the sync that delivered them along');
is($node->sql(q{SELECT count(*) FROM signalsmith.model WHERE name LIKE 'alerts%'}), 0, 'and its model');

done_testing();
