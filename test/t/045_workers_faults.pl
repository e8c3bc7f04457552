# Runners that crash every time, that are stopped for a while, that die while they
# merge a snapshot.  Needs a build with "make FAULTS=1".
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
$node->skip_all_unless_faults;
my $recorder = Signalsmith::Recorder->start;
my $once = PostgreSQL::Test::Utils::tempdir;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 100 }, options => { max_in_flight => 1 });
$node->run_sync('people');

# --- a runner that was taken over can record nothing
$recorder->reset;
$recorder->rules({ phase => 'after_apply', nth => 3, hold => 1 });
$node->sql(q{UPDATE people SET name = name || '.'});
my $run = $node->trigger('people');
$recorder->wait_for(held => 1);
ok($node->poll_query_until('postgres', "SELECT rows_updated = 200 FROM signalsmith.runs WHERE id = '$run'"), 'two batches are recorded');
$node->sql('UPDATE signalsmith.run SET lease = lease + 1 WHERE id = ' . $run =~ s/run_//r);
$recorder->rules;
$recorder->release;
is($node->wait_for_run($run)->{rows_updated}, 1000, 'each row is counted once');
like(slurp_file($node->logfile), qr/run "\Q$run\E" was taken over by another runner/, 'a runner notices that it was taken over');
$node->check_delivery($recorder, $whole, 'nothing is lost', crashes => 1);

# --- a runner is stopped, its lease runs out, another one takes over, and then
# the first one wakes up
$recorder->reset;
$recorder->rules({ phase => 'after_apply', nth => 3, hold => 1 });
$node->sql(q{UPDATE people SET name = name || '.'});
$run = $node->trigger('people');
$recorder->wait_for(held => 1);
my $stopped = $node->runner_pid;
my $lease_query = 'SELECT lease FROM signalsmith.run WHERE id = ' . $run =~ s/run_//r;
my $lease = $node->sql($lease_query);
kill 'STOP', $stopped;
$recorder->rules({ nth => 3, hold => 1 });
$recorder->release;
$recorder->wait_for(held => 1);
ok($node->poll_query_until('postgres', "SELECT ($lease_query) > $lease"), 'a run is taken over when its runner gives no sign of life');
kill 'CONT', $stopped;
$node->wait_until('the first runner has left', sub { !kill 0, $stopped });
is($node->run($run)->{status}, 'running', 'the first runner leaves: its end is not the end of the run');
$recorder->rules;
$recorder->release;
my $end = $node->wait_for_run($run);
$node->run_is($end, { status => 'completed', rows_updated => 1000, rows_failed => 0 }, 'each row is confirmed once');
$node->check_delivery($recorder, $whole, 'nothing is lost, nothing overtakes', crashes => 1);

# --- a run that crashes the server each time
$node->create_webhook_sync(
	name => 'other', query => 'SELECT id, name FROM people WHERE id < 10', primary_key => 'id', url => $recorder->url('/other'));
$node->set("signalsmith.fault = 'staging:abort'");
$run = $node->trigger('people');
$node->wait_until('the sync is in error', sub {
	my ($status, $output) = $node->psql('postgres', q{SELECT status FROM signalsmith.syncs WHERE name = 'people'});
	return $status == 0 && $output eq 'error' });
$node->set(q{signalsmith.fault = ''});
is($node->run($run)->{status}, 'failed', 'a run that crashes the server three times fails');
like($node->sync('people')->{status_error}, qr/crashed 3 times/, 'and its sync says so');
is(scalar(() = slurp_file($node->logfile) =~ /terminated by signal 6/g), 3, 'it was three times');
is($node->run_sync('other')->{status}, 'completed', 'other syncs go on');
$node->sql(q{SELECT signalsmith.resume_sync('people')});
is($node->run_sync('people')->{status}, 'completed', 'and so does this one, once it is resumed');

# --- what keeps a start from being noted (a full disk, say) is over some time
for my $action ('error', 'fatal')
{
	$node->set("signalsmith.fault = 'note-start:$action\@$once/note-start-$action'");
	is($node->run_sync('people')->{status}, 'completed', "a scheduler that ends with $action leaves no run behind");
	ok(-e "$once/note-start-$action", 'it did');
}

# --- killed while it merges the snapshot: nothing of it is lost, and the next
# run merges
my $offset = 0;
for my $fault ('snapshot-merge', 'snapshot-merged')
{
	$node->sql(q{
		DROP TABLE IF EXISTS many;
		CREATE TABLE many AS SELECT i AS id, 0 AS x FROM generate_series(1, 20000) AS i});
	$node->create_webhook_sync(
		name => $fault, query => 'SELECT id, x FROM many', primary_key => 'id', mode => 'mirror', url => $recorder->url("/$fault"),
		config => { batch_size => 10000 });
	$node->run_sync($fault);
	$node->set("signalsmith.fault = '$fault:kill\@$once/$fault'");
	$node->sql(q{UPDATE many SET x = 1 WHERE id % 2 = 0; DELETE FROM many WHERE id % 10 = 0});
	$run = $node->trigger($fault);
	$node->wait_until("fault $fault strikes", sub { -e "$once/$fault" });
	$node->wait_until('the server is there', sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 });
	is($node->wait_for_run($run)->{status}, 'completed', "$fault: the run had completed");
	my $segments = $node->sql("SELECT count(*) FROM signalsmith.segment WHERE sync_id = (SELECT substr(id, 6)::bigint FROM signalsmith.syncs WHERE name = '$fault')");
	is($node->sql("SELECT count(*), count(DISTINCT key), min(state) FROM signalsmith.snapshot('$fault')"), '18000|18000|present', "$fault: the snapshot is whole");
	$node->run_is($node->run_sync($fault), { status => 'completed', rows_unchanged => 18000, requests => 0 }, "$fault: the next run sends nothing");
	$node->sql('UPDATE many SET x = 2 WHERE id = 1');
	$node->run_is($node->run_sync($fault), { status => 'completed', rows_updated => 1, rows_deleted => 0 }, "$fault: and the one after what has changed");
	ok($node->poll_query_until('postgres', "SELECT count(*) < $segments FROM signalsmith.segment WHERE sync_id = (SELECT substr(id, 6)::bigint FROM signalsmith.syncs WHERE name = '$fault')"),
		"$fault: the snapshot is merged then");
	is($node->sql("SELECT count(*), count(DISTINCT key), min(state) FROM signalsmith.snapshot('$fault')"), '18000|18000|present', "$fault: and whole");
}

done_testing();
