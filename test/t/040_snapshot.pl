# What a sync remembers of its destination: snapshot(sync) shows it as rows, and
# merging and forgetting it get along with whatever else goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main', conf => 'signalsmith.max_attempts = 1');
my $recorder = Signalsmith::Recorder->start;

# The snapshot as text: a line for each record.
sub snapshot
{
	my ($sync, %options) = @_;
	return $node->sql("SELECT key, state, hash IS NOT NULL FROM signalsmith.snapshot('$sync') ORDER BY key::text", %options);
}

# --- states
$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, code text, name text);
	INSERT INTO people SELECT i, 'c' || i, 'name ' || i FROM generate_series(1, 3) AS i});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 1 });
is(snapshot('people'), '', 'at first the snapshot is empty');
$node->run_sync('people');
is(snapshot('people'), qq({"id": 1}|present|t\n{"id": 2}|present|t\n{"id": 3}|present|t), 'what was sent is present');
is($node->sql(q{SELECT key_packed FROM signalsmith.snapshot('people') WHERE key = '{"id": 2}'}), '\x0000000000000002',
	'the packed key of an integer is that integer');

$recorder->rules({ key => [ { id => 1 }, { id => 4 } ], phase => 'after_apply', drop => 1 });
$node->sql(q{UPDATE people SET name = 'Ann' WHERE id = 1; INSERT INTO people VALUES (4, 'c4', 'Dan'); DELETE FROM people WHERE id = 3});
$node->run_sync('people');
is(snapshot('people'), qq({"id": 1}|unknown|f\n{"id": 2}|present|t\n{"id": 4}|maybe|f),
	'an update without an answer is unknown, a create maybe there; what was deleted is gone');
$recorder->rules;
$node->run_sync('people');
is(snapshot('people'), qq({"id": 1}|present|t\n{"id": 2}|present|t\n{"id": 4}|present|t), 'the next run settles both');

# --- keys that are no integers; keys that change
$node->create_webhook_sync(
	name => 'codes', query => 'SELECT code, name FROM people', primary_key => 'code', url => $recorder->url);
$node->run_sync('codes');
is(snapshot('codes'), qq({"code": "c1"}|present|t\n{"code": "c2"}|present|t\n{"code": "c4"}|present|t), 'a text key is shown as it was sent');
like($node->sql_error(q{SELECT signalsmith.update_model('people', '{"query":"SELECT id::text, name FROM people"}')}),
	qr/no longer run.*belongs to another primary key.*reset_sync/s, 'a snapshot keeps the key that it was taken with');

# --- who may read it
$node->sql(q{CREATE ROLE other IN ROLE signalsmith_user; CREATE ROLE reader IN ROLE signalsmith_viewer});
like($node->sql_error(q{SELECT * FROM signalsmith.snapshot('people')}, role => 'other'), qr/sync "people" does not exist/, 'a stranger does not see it');
like($node->sql_error(q{SELECT * FROM signalsmith.snapshot('people')}, role => 'reader'), qr/permission denied/, 'a viewer does not either');
like($node->sql_error(q{SELECT * FROM signalsmith.snapshot(NULL)}), qr/sync must not be null/, 'no sync is an error');

# --- resetting while runs end and merge
$node->sql(q{
	CREATE TABLE points (id int PRIMARY KEY, x int);
	INSERT INTO points SELECT i, 0 FROM generate_series(1, 200) AS i});
$node->create_webhook_sync(
	name => 'points', query => 'SELECT id, x FROM points', primary_key => 'id', url => $recorder->url);
$recorder->reset;
$node->run_sync('points');
my $errors = '';
for my $round (1 .. 12)
{
	$node->sql(q{UPDATE points SET x = x + 1 WHERE id % 4 = 0});
	my $run = $node->trigger('points');
	my ($status, $output, $error) = $node->psql('postgres', q{SELECT signalsmith.reset_sync('points')});
	$errors .= $error unless $status == 0 || $error =~ /while it is running/;
	$node->wait_for_run($run);
}
is($errors, '', 'reset_sync works or says that a run is under way');
$node->run_sync('points');
is($node->sql(q{SELECT count(*), count(DISTINCT key), min(state) FROM signalsmith.snapshot('points')}), '200|200|present',
	'the snapshot is whole');
$node->check_delivery($recorder, q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM points p}, 'and the destination as well', crashes => 1);
$node->run_sync('points');
$node->sql(q{SELECT signalsmith.reset_sync('points')});
is(snapshot('points'), '', 'a snapshot that was reset is empty');
$node->run_is($node->run_sync('points'), { rows_created => 200 }, 'and everything is sent again');

done_testing();
