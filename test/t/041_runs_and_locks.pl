# Runs and what else goes on in the database: triggers at once, changes of the
# sync while it runs, locks that others hold, transactions that are prepared.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(time);

my $node = Signalsmith::Cluster->start_new('main',
	conf => "max_prepared_transactions = 5\ndeadlock_timeout = 100ms");
my $recorder = Signalsmith::Recorder->start;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 100) AS i;
	CREATE TABLE gate (open boolean);
	CREATE FUNCTION pass_gate() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'gate is open') LOOP
			PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
		END LOOP;
		RETURN true;
	END $$});

# A session that can let the gated models go on.
my $keeper = $node->background_psql('postgres');
sub close_gate { $keeper->query(q{SET application_name = 'keeper'}); return }
sub open_gate { $keeper->query(q{SET application_name = 'gate is open'}); return }

sub wait_for_plan
{
	my ($run) = @_;
	my $id = quote($run);
	$node->poll_query_until('postgres', "SELECT phase = 'plan' FROM signalsmith.run_progress WHERE run_id = $id") or die;
	$node->poll_query_until('postgres', q{SELECT query LIKE '%pass_gate%' FROM pg_stat_activity WHERE backend_type = 'signalsmith runner'}) or die;
	return;
}

# Waits until the runner waits for somebody's lock.
sub wait_for_lock_wait
{
	$node->poll_query_until('postgres',
		q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND wait_event_type = 'Lock')}) or die;
	return;
}

# --- the sync is changed while its first run looks at the model
$node->create_webhook_sync(
	name => 'gated', query => 'SELECT id, name FROM people WHERE id > 0 OR pass_gate()', primary_key => 'id', url => $recorder->url);
$node->sql(q{SELECT signalsmith.update_model('gated', '{"query":"SELECT id, name FROM people WHERE pass_gate()"}')});
close_gate();
my $run = $node->trigger('gated');
wait_for_plan($run);
$node->sql(q{SELECT signalsmith.pause_sync('gated')});
open_gate();
$node->run_is($node->wait_for_run($run), { status => 'completed', rows_created => 100, error => undef },
	'pausing a sync during its first query does not harm the run');
is($node->sync('gated')->{status}, 'paused', 'and the sync stays paused');

# --- a run is cancelled when its plan is about to be committed
$node->sql(q{UPDATE people SET name = name || '.'});
$recorder->reset;
close_gate();
$run = $node->trigger('gated');
wait_for_plan($run);
my $session = $node->background_psql('postgres');
$session->query("BEGIN; SELECT signalsmith.cancel_run('$run')");
open_gate();
wait_for_lock_wait();
$session->query('COMMIT');
is($node->wait_for_run($run)->{status}, 'cancelled', 'a run is cancelled although its plan was ready');
is($recorder->figures->{requests}, 0, 'and sends nothing');

# --- two transactions lock the sync and its run in the same order
$recorder->rules({ hold => 1 });
$node->sql(q{SELECT signalsmith.resume_sync('gated')});
$run = $node->trigger('gated');
$recorder->wait_for(held => 1);
$session->query(q{BEGIN; SELECT signalsmith.pause_sync('gated')});
$recorder->rules;
$recorder->release;
wait_for_lock_wait();
$session->query(q{SELECT signalsmith.archive_sync('gated'); COMMIT});
is($node->wait_for_run($run)->{status}, 'completed', 'archiving a sync while its run ends is no deadlock');
is($node->sync('gated')->{status}, 'archived', 'and the sync is archived');

# --- a sync is deleted while it runs: while its model is read, and while it sends
for my $phase ('plan', 'deliver')
{
	$node->sql(q{SELECT signalsmith.create_sync('doomed', 'gated', 'gated', options => '{"max_in_flight": 2, "batch_size": 10}')});
	$recorder->reset;
	$recorder->rules({ hold => 1 });
	close_gate();
	$run = $node->trigger('doomed');
	wait_for_plan($run);
	if ($phase eq 'deliver')
	{
		open_gate();
		$recorder->wait_for(held => 2);
	}
	my $pid = $node->runner_pid;
	my $began = time;
	$node->sql(q{SELECT signalsmith.delete_sync('doomed')});
	$node->wait_until('the runner is gone', sub { !kill 0, $pid });
	cmp_ok(time - $began, '<', 4, "$phase: when its sync is deleted, a runner leaves");
	$recorder->rules;
	$recorder->release;
	is($recorder->figures->{requests}, $phase eq 'plan' ? 0 : 2, "$phase: and sends no more than was under way");
	is($node->sql(q{SELECT (SELECT count(*) FROM signalsmith.run r LEFT JOIN signalsmith.sync s ON s.id = r.sync_id WHERE s.id IS NULL),
			(SELECT count(*) FROM signalsmith.outbox), (SELECT count(*) FROM signalsmith.segment g LEFT JOIN signalsmith.sync s ON s.id = g.sync_id WHERE s.id IS NULL)}),
		'0|0|0', "$phase: nothing of it is left");
}

# --- triggers of two sessions at once
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url, config => { batch_size => 50 });
my $first = $session->query_safe(q{BEGIN; SELECT signalsmith.trigger_sync('people')});
my $second = $node->background_psql('postgres');
$second->query_until(qr/asked/, "\\echo asked\nSELECT signalsmith.trigger_sync('people');\n");
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%trigger_sync%')}) or die;
$session->query('COMMIT');
$second->quit;
$node->wait_for_run($first);
is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE sync = 'people'}), 1, 'triggers at once give one run');
$node->check_delivery($recorder, $whole, 'which sends everything once');

# --- a trigger that rolls back starts nothing, a prepared one once it is committed
$node->sql(q{UPDATE people SET name = name || '.'});
$node->sql(q{BEGIN; SELECT signalsmith.trigger_sync('people'); ROLLBACK});
is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE sync = 'people'}), 1, 'a trigger that is rolled back leaves no run');
$run = $node->sql(q{BEGIN; SELECT signalsmith.trigger_sync('people'); PREPARE TRANSACTION 'trigger'});
is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE sync = 'people'}), 1, 'a prepared trigger starts nothing yet');
$node->sql(q{COMMIT PREPARED 'trigger'; SELECT signalsmith.trigger_sync('people')});
$node->run_is($node->wait_for_run($run), { status => 'completed', rows_updated => 100 }, 'committed, its run takes place');

# --- locks: all advisory locks there are, and the model's table
$session->query(q{SELECT pg_advisory_lock(i) FROM generate_series(-100, 1000) AS i; SELECT pg_advisory_lock(0, i) FROM generate_series(0, 100) AS i});
is($node->run_sync('people')->{status}, 'completed', 'advisory locks of others do not matter');
$node->sql('CREATE TABLE points AS SELECT 1 AS id');
$node->create_webhook_sync(name => 'points', query => 'SELECT id FROM points', primary_key => 'id', url => $recorder->url);
$node->set('signalsmith.lock_timeout = 200ms');
$session->query('BEGIN; LOCK TABLE points');
$run = $node->run_sync('points');
is($run->{status}, 'failed', 'a run does not wait for ever for a lock on its table');
like($run->{error}, qr/lock timeout/, 'and says so');
is($node->sync('points')->{status}, 'active', 'the sync stays active');
is($node->run_sync('people')->{status}, 'completed', 'other syncs go on meanwhile');
$session->query('COMMIT');
is($node->run_sync('points')->{status}, 'completed', 'without the lock the next run works');

# --- publications take all tables: none of ours stands in the way
$node->sql('CREATE PUBLICATION everything FOR ALL TABLES');
$node->sql(q{UPDATE people SET name = name || '.'});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_updated => 100 }, 'all tables may be published');

$_->quit for $session, $keeper;
done_testing();
