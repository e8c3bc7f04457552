# Nothing is deleted by mistake, and nothing is sent by a copy: the guard on mass
# deletes, and the fence around databases that were restored or copied.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $recorder = Signalsmith::Recorder->start;
my $node = Signalsmith::Cluster->start_new('main');
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};

sub fill
{
	my ($node, $count) = @_;
	$node->sql("TRUNCATE people; INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, $count) AS i");
	return;
}

sub records { return $recorder->figures->{records} }

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text); CREATE ROLE ann LOGIN IN ROLE signalsmith_user; GRANT SELECT ON people TO ann});
fill($node, 1000);
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 100 }, role => 'ann');
$node->create_webhook_sync(name => 'other', query => 'SELECT 1 AS id', primary_key => 'id', mode => 'mirror', url => $recorder->url('/other'));
$node->run_sync('people');

# --- a model that returns nothing, for whatever reason
for my $case (
	[ 'TRUNCATE people', undef ],
	[ 'ALTER TABLE people ENABLE ROW LEVEL SECURITY', 'ALTER TABLE people DISABLE ROW LEVEL SECURITY' ])
{
	my ($empty, $undo) = @$case;
	$node->sql($empty);
	my $run = $node->run_sync('people');
	$node->run_is($run, { status => 'held', rows_processed => 0, rows_deleted => 0 }, "$empty: the run is held");
	like($run->{error}, qr/the model returned no rows, so .*1000 deletes are held/, "$empty: and says why");
	is(records(), 1000, "$empty: nothing is deleted");
	is($node->run_sync('other')->{status}, 'completed', "$empty: other syncs go on");
	$undo ? $node->sql($undo) : fill($node, 1000);
	$node->run_is($node->run_sync('people'), { status => 'completed', rows_unchanged => 1000, requests => 0 }, "$empty: once the rows are back nothing is to be sent");
	like($node->sql_error("SELECT signalsmith.approve_deletes('$run->{id}')"), qr/out of date/, "$empty: and the deletes cannot be approved any more");
}

# --- 40 % of the rows vanish: the rest goes out, these wait
$node->sql(q{
	DELETE FROM people WHERE id <= 400;
	UPDATE people SET name = 'changed' WHERE id = 500;
	INSERT INTO people VALUES (2000, 'new')});
my $held = $node->run_sync('people');
$node->run_is($held, { status => 'held', rows_created => 1, rows_updated => 1, rows_deleted => 0, rows_failed => 0 },
	'creates and updates are sent, 400 deletes are held');
is(records(), 1001, 'nothing is deleted');
is($node->sync('people')->{status}, 'active', 'the sync stays active');
my $run = $node->wait_for_run($node->sql("SELECT signalsmith.approve_deletes('$held->{id}')"));
$node->run_is($run, { status => 'completed', rows_deleted => 400, rows_failed => 0 }, 'approved, they are sent');
$node->check_delivery($recorder, $whole, 'and the destination is as the model');
like($node->sql_error("SELECT signalsmith.approve_deletes('$held->{id}')"), qr/holds no deletes/, 'once');
$node->sql('DELETE FROM people WHERE id <= 700');
is($node->run_sync('people')->{status}, 'held', 'other deletes need their own approval');
is(records(), 601, 'until then nothing is deleted');

# --- how many is too many: the sync's word counts before the setting's
fill($node, 100);
$node->sql(q{SELECT signalsmith.reset_sync('people')});
$node->run_sync('people');
$node->set('signalsmith.max_delete_percent = 5');
$node->sql('DELETE FROM people WHERE id <= 11');
is($node->run_sync('people')->{status}, 'held', 'the setting may be narrower');
$node->sql(q{SELECT signalsmith.update_sync('people', '{"options": {"max_delete_percent": 11}}')});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_deleted => 11 }, 'the option of the sync counts before it');
$node->sql('DELETE FROM people WHERE id <= 22');
is($node->run_sync('people')->{status}, 'held', 'to the row');
$node->set('signalsmith.max_delete_percent = 100');
is($node->run_sync('people')->{status}, 'held', 'wider or narrower');
$node->sql(q{SELECT signalsmith.update_sync('people', '{"options": {}}')});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_deleted => 11 }, 'without the option the setting counts');
$node->sql('DELETE FROM people');
is($node->run_sync('people')->{status}, 'held', 'no rows at all are never believed');
$node->set('signalsmith.max_delete_percent = 30');

# --- some of them, by key; the rest goes on waiting
fill($node, 3000);
$node->sql(q{SELECT signalsmith.reset_sync('people')});
$recorder->reset;
$node->run_sync('people');
$node->sql('DELETE FROM people WHERE id > 500');
$held = $node->run_sync('people');
sub waiting { return $node->sql(qq{SELECT count(*) || ' from ' || min((key->>'id')::int) FROM signalsmith.held_deletes('$held->{id}')}, role => 'ann') }
is(waiting(), '2500 from 501', 'held_deletes shows what waits');
my $error = $node->sql_error(qq{SELECT signalsmith.approve_deletes('$held->{id}', '[{"id": 501}, {"id": 1}]')});
like($error, qr/holds no delete with the key \{"id": 1\}.*HINT:  .*held_deletes/s, 'a key that is not among them is refused');
my $part = $node->sql(qq{SELECT signalsmith.approve_deletes('$held->{id}', (SELECT jsonb_agg(key) FROM signalsmith.held_deletes('$held->{id}') WHERE (key->>'id')::int % 2 = 1))});
$node->run_is($node->wait_for_run($part), { status => 'completed', rows_deleted => 1250, rows_failed => 0 }, 'part of them is approved, and sent');
is(waiting(), '1250 from 502', 'the others wait');
is($node->sync('people')->{rows_in_snapshot}, 1750, 'the snapshot knows');
like($node->run($held->{id})->{error}, qr/; \Q$part\E sends 1250 of them, 1250 wait; see .*approve_deletes\('\Q$held->{id}\E'\)$/, 'the held run tells');
my $one = $node->sql(qq{SELECT signalsmith.approve_deletes('$held->{id}', '{"id": 502}')});
$node->run_is($node->wait_for_run($one), { status => 'completed', rows_deleted => 1, requests => 1 }, 'so can a single one be');
$part = $node->sql("SELECT signalsmith.approve_deletes('$held->{id}')");
$node->run_is($node->wait_for_run($part), { status => 'completed', rows_deleted => 1249 }, 'and the rest');
$node->check_delivery($recorder, $whole, 'in the end the destination is as the model');
is($node->sql("SELECT count(*) FROM signalsmith.held_deletes('$held->{id}')"), 0, 'and nothing waits');

# --- ten rows or less are never held
fill($node, 9);
$node->sql(q{SELECT signalsmith.reset_sync('people')});
$recorder->reset;
$node->run_sync('people');
$node->sql('DELETE FROM people WHERE id > 1');
$node->run_is($node->run_sync('people'), { status => 'completed', rows_deleted => 8 }, 'eight of nine rows are deleted without a word');

# --- a query that does not get to its end deletes nothing
fill($node, 1000);
$node->run_sync('people');
for my $case (
	[ 'an error', q{SELECT id, name FROM people WHERE 1 / (600 - id) IS NOT NULL}, qr/division by zero/ ],
	[ 'a timeout', q{SELECT id, name FROM people WHERE id < 600 OR pg_sleep(60) IS NOT NULL}, qr/statement timeout/ ])
{
	my ($what, $query, $error) = @$case;
	$node->sql(q{ALTER ROLE ann SET statement_timeout = '500ms'});
	$node->sql('SELECT signalsmith.update_model(' . join(', ', quote('people', { query => $query })) . ')');
	my $run = $node->run_sync('people');
	$node->run_is($run, { status => 'failed', requests => 0, rows_deleted => 0 }, "$what in the middle of the query: nothing is sent");
	like($run->{error}, $error, "$what: the run says so");
	is(records(), 1000, "$what: nothing is deleted");
	$node->sql(q{ALTER ROLE ann RESET statement_timeout});
}
$node->sql('SELECT signalsmith.update_model(' . join(', ', quote('people', { query => 'SELECT id, name FROM people' })) . ')');

# --- a copy of a database in the same cluster, made in the middle of a run
$recorder->reset;
$recorder->rules({ nth => [ 3, 4 ], hold => 1 });
$node->sql(q{UPDATE people SET name = name || '.'});
my $running = $node->trigger('people');
$recorder->wait_for(held => 2);
$node->set('signalsmith.enabled = off');
$node->stop('immediate');
$recorder->rules;
$recorder->reset;
$node->start;
$node->sql('CREATE DATABASE copy TEMPLATE postgres');
$node->set('signalsmith.enabled = on');
is($node->wait_for_run($running)->{status}, 'completed', 'the original goes on');
my %keys = map { $_->{headers}{'idempotency-key'} => 1 } $recorder->history;
my $requests = $recorder->figures->{requests};
like($node->sql_error(q{SELECT signalsmith.trigger_sync('people')}, database => 'copy'), qr/sends nothing, because it is a copy of another database/, 'the copy refuses');
is($node->run($running, database => 'copy')->{status}, 'running', 'the run that it has copied waits');
like($node->sql_error(q{SELECT signalsmith.adopt_instance('continue')}, database => 'copy', role => 'ann'), qr/permission denied/, 'not everybody may adopt it');
is($recorder->figures->{requests}, $requests, 'it has sent nothing');
$node->sql(q{SELECT signalsmith.adopt_instance('continue')}, database => 'copy');
is($node->wait_for_run($running, database => 'copy')->{status}, 'completed', 'adopted with "continue" it goes on where the original was');
my @its = grep { $_->{number} > $requests } $recorder->history;
cmp_ok(scalar(@its), '>', 0, 'and sends');
is(scalar(grep { $keys{ $_->{headers}{'idempotency-key'} } } @its), 0, 'with none of the original\'s keys');
$node->sql('DROP DATABASE copy WITH (FORCE)');

# --- a dump restored into another cluster
my $other = Signalsmith::Cluster->start_new('other', extension => 0);
my $directory = PostgreSQL::Test::Utils::tempdir;
$recorder->rules({ reject => [ { id => 2 } ] });
$node->sql(q{UPDATE people SET name = 'refused' WHERE id = 2; SELECT signalsmith.create_alert('people', 'row_failures', 'people')});
is($node->sql("SELECT signalsmith.skip_rows('" . $node->run_sync('people')->{id} . "')"), 1, 'a row is skipped, an alert fires');
$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM signalsmith.runs WHERE status IN ('queued', 'running'))}) or die;
$recorder->rules;
$node->sql(q{SELECT signalsmith.update_sync('people', '{"schedule":{"type":"interval","interval_seconds":1}}'), signalsmith.pause_sync('people')});
system_or_bail('pg_dump', '-d', $node->connstr('postgres'), '-f', "$directory/dump.sql");
$other->sql("CREATE ROLE ann LOGIN");
my $count = 0;
sub restore
{
	my $database = 'restored' . ++$count;
	$other->sql("CREATE DATABASE $database");
	system_or_bail('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr($database), '-f', "$directory/dump.sql", '-o', '/dev/null');
	$other->sql('GRANT signalsmith_user TO ann; SELECT signalsmith.resume_sync(\'people\')', database => $database);
	return $database;
}
$recorder->reset;
my $database = restore();
like($other->sql_error(q{SELECT signalsmith.trigger_sync('people')}, database => $database), qr/sends nothing, because it was restored into another cluster/,
	'a restored database refuses');
$other->wait_until('the log says so', sub { slurp_file($other->logfile) =~ /signalsmith sends nothing from database "$database"/ });
is($recorder->figures->{requests}, 0, 'nor does its schedule send anything');
$other->sql(q{DELETE FROM people WHERE id > 500}, database => $database);
$other->sql(q{SELECT signalsmith.adopt_instance('resync')}, database => $database);
$other->run_is($other->run_sync('people', database => $database), { status => 'completed', rows_created => 500, rows_deleted => 0 },
	'adopted with "resync" it sends everything, and deletes nothing');
is($other->sql(q{SELECT count(*) || ' of ' || (SELECT count(*) FROM signalsmith.alerts) FROM signalsmith.alert_events}, database => $database), '0 of 1', 'no old alert is told again');

$database = restore();
$other->sql(q{UPDATE people SET name = 'restored' WHERE id = 1; SELECT signalsmith.adopt_instance('continue')}, database => $database);
$other->run_is($other->run_sync('people', database => $database), { status => 'completed', rows_updated => 1, rows_unchanged => 998, rows_failed => 0 },
	'adopted with "continue" it sends what has changed, and skips what was skipped');
is($other->sql('SELECT count(*) FROM signalsmith.alert_events', database => $database), 2, 'alerts are there, with what they have told, and go on');

$database = restore();
$other->sql(q{SELECT signalsmith.adopt_instance('discard')}, database => $database);
is($other->sync('people', database => $database)->{status}, 'paused', 'adopted with "discard" its syncs are paused');
is($other->sync('people', database => $database)->{rows_in_snapshot}, 0, 'and know nothing');

done_testing();
