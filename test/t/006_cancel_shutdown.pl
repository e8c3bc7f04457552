# Cancelling a run and shutting down take effect at once, however long the
# destination takes to answer.
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

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 100 }, options => { max_in_flight => 4, timeout_seconds => 600 });

# --- cancel_run while requests hang
$recorder->rules({ nth => [ 3, 1000 ], hold => 1 });
my $run = $node->trigger('people');
$recorder->wait_for(held => 4);
my $began = time;
$node->sql("SELECT signalsmith.cancel_run('$run')");
my $end = $node->wait_for_run($run);
cmp_ok(time - $began, '<', 2, 'cancel_run takes effect at once');
is($end->{status}, 'cancelled', 'the run is cancelled');
is($end->{rows_created}, 200, 'what had been confirmed counts');
is($node->sync('people')->{rows_in_snapshot}, 200, 'and is in the snapshot');
is($node->sync('people')->{status}, 'active', 'the sync stays active');
$recorder->rules;
$end = $node->run_sync('people');
$node->run_is($end, { status => 'completed', rows_unchanged => 200, rows_failed => 0 }, 'the next run does the rest');
$node->check_delivery($recorder, $whole, 'nothing is lost', crashes => 1);

# --- a run that waits in the queue can be cancelled too
$recorder->rules({ hold => 1 });
$node->sql(q{UPDATE people SET name = name || '.'});
$run = $node->trigger('people');
$recorder->wait_for(held => 1);
my $queued = $node->trigger('people');
isnt($queued, $run, 'a trigger during a run queues another');
is($node->trigger('people'), $queued, 'further triggers give that one');
$node->sql("SELECT signalsmith.cancel_run('$queued')");
is($node->run($queued)->{status}, 'cancelled', 'a queued run is cancelled');
is($node->run($run)->{status}, 'running', 'the other goes on');

# --- pg_cancel_backend on the runner
$node->sql('SELECT pg_cancel_backend(' . $node->runner_pid . ')');
is($node->wait_for_run($run)->{status}, 'cancelled', 'pg_cancel_backend cancels the run');
$recorder->rules;
is($node->run_sync('people')->{status}, 'completed', 'the next trigger runs');

# --- pg_terminate_backend: the run goes on
$recorder->reset;
$recorder->rules({ phase => 'after_apply', nth => 2, hold => 1 });
$node->sql(q{UPDATE people SET name = name || '.'});
$run = $node->trigger('people');
$recorder->wait_for(held => 1);
$node->sql('SELECT pg_terminate_backend(' . $node->runner_pid . ')');
is($node->wait_for_run($run)->{status}, 'completed', 'a run whose runner was terminated goes on');
$node->check_delivery($recorder, $whole, 'and loses nothing', crashes => 1);

# --- shutdown while requests hang
$recorder->reset;
$recorder->rules({ hold => 1 });
$node->sql(q{CHECKPOINT; UPDATE people SET name = name || '.'});
$run = $node->trigger('people');
$recorder->wait_for(held => 4);
$began = time;
$node->stop('fast');
cmp_ok(time - $began, '<', 2, 'fast shutdown takes less than 2 s');
$recorder->rules;
$node->start;
is($node->wait_for_run($run)->{status}, 'completed', 'the run goes on after the start');
$node->check_delivery($recorder, $whole, 'and loses nothing', crashes => 1);

# --- the model's query can be cancelled
$node->create_webhook_sync(
	name => 'slow', query => 'SELECT id, name FROM people WHERE id = 1 OR pg_sleep(600) IS NULL', primary_key => 'id', url => $recorder->url);
$run = $node->trigger('slow');
$node->poll_query_until('postgres', "SELECT phase = 'plan' FROM signalsmith.run_progress") or die;
$began = time;
$node->sql("SELECT signalsmith.cancel_run('$run')");
is($node->wait_for_run($run)->{status}, 'cancelled', 'a run is cancelled in its query');
cmp_ok(time - $began, '<', 2, 'at once');

# --- the timeout of the owner's role counts for the model
$node->sql(q{
	CREATE ROLE hasty LOGIN IN ROLE signalsmith_user; ALTER ROLE hasty SET statement_timeout = '300ms'; GRANT SELECT ON people TO hasty});
$node->create_webhook_sync(
	name => 'hasty', query => 'SELECT id, name FROM people WHERE id = 1 OR pg_sleep(600) IS NULL', primary_key => 'id', url => $recorder->url, role => 'hasty');
$end = $node->run_sync('hasty');
is($end->{status}, 'failed', 'a model that takes too long fails its run');
like($end->{error}, qr/statement timeout/, 'and the run says why');

done_testing();
