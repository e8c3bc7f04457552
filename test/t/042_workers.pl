# Our processes among the others of the server: who they are, what ends them,
# and what happens when there is no room for them.
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

# Room for the server's own logical replication launcher, our launcher, and
# three more.
my $node = Signalsmith::Cluster->start_new('main', conf => <<'CONF');
max_worker_processes = 5
max_parallel_workers = 5
max_parallel_workers_per_gather = 5
parallel_setup_cost = 0
parallel_tuple_cost = 0
min_parallel_table_scan_size = 0
signalsmith.max_workers = 1
CONF
my $recorder = Signalsmith::Recorder->start;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i;
	ALTER TABLE people SET (parallel_workers = 0)});
$node->create_webhook_sync(
	name => "people$_", query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url("/$_"),
	config => { batch_size => 100 }) for 1 .. 3;

sub processes
{
	my ($type) = @_;
	return split /\n/, $node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'signalsmith $type'");
}

sub count_in_log
{
	my ($pattern, $offset) = @_;
	my @found = slurp_file($node->logfile, $offset) =~ /$pattern/g;
	return scalar @found;
}

# --- who they are
is(scalar(processes('launcher')), 1, 'there is one launcher');
is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'signalsmith launcher' AND datid IS NULL}), 1,
	'it is connected to no database');
$recorder->rules({ hold => 1 });
my $run = $node->trigger('people1');
$recorder->wait_for(held => 1);
is($node->sql(q{SELECT datname, usename, application_name, state, query FROM pg_stat_activity WHERE backend_type = 'signalsmith runner'}),
	'postgres|' . $node->sql('SELECT current_user') . '|signalsmith runner|active|signalsmith: sending', 'a runner shows what it does');
$recorder->rules;
$recorder->release;
$node->wait_for_run($run);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type LIKE 'signalsmith%'}),
	'when nothing is to be done only the launcher is there');

# --- a launcher that is terminated comes back
my ($launcher) = processes('launcher');
my $began = time;
$node->sql("SELECT pg_terminate_backend($launcher, 5000)");
$node->sql(q{UPDATE people SET name = name || '.'});
$run = $node->trigger('people1');
is($node->wait_for_run($run)->{status}, 'completed', 'a run triggered without a launcher takes place once it is back');
cmp_ok(time - $began, '<', 10, 'within 10 s');
isnt((processes('launcher'))[0], $launcher, 'it is another one');

# --- all worker slots are taken by others: by parallel workers of a query
sub take_slots
{
	my ($count) = @_;
	my $session = $node->background_psql('postgres');
	$session->query("CREATE TABLE taken_$count AS SELECT generate_series(1, 20000) AS i; ALTER TABLE taken_$count SET (parallel_workers = $count)");
	$session->query_until(qr/started/, "\\echo started\nSELECT count(*) FROM taken_$count WHERE pg_sleep(600) IS NOT NULL;\n");
	$node->poll_query_until('postgres', "SELECT count(*) = $count FROM pg_stat_activity WHERE backend_type = 'parallel worker'") or die;
	return $session;
}

sub release_slots
{
	my ($session) = @_;
	$node->sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%FROM taken_%' AND backend_type = 'client backend' AND pid <> pg_backend_pid()});
	$session->{run}->finish;
	return;
}

# First there is room for a scheduler but not for a runner, then for neither.
my $offset = -s $node->logfile;
my $complaint = qr/signalsmith waits for a free background worker slot/;
for my $left (1, 0)
{
	my $session = take_slots(3 - $left);
	$recorder->reset;
	$node->sql(q{UPDATE people SET name = name || '.'});
	my @runs = map { $node->trigger("people$_") } 2, 1, 3;
	$node->wait_until('somebody complains', sub { count_in_log($complaint, $offset) });
	is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE status = 'queued'}), 3, "with $left slots left runs wait");
	$began = time;
	release_slots($session);
	is($node->wait_for_run($_)->{status}, 'completed', 'and take place when there is room') for @runs;
	cmp_ok(time - $began, '<', 10, 'within 10 s');
	is($node->sql(q{SELECT string_agg(sync, ' ' ORDER BY started_at) FROM (SELECT * FROM signalsmith.runs ORDER BY started_at DESC LIMIT 3) AS r}),
		'people2 people1 people3', 'oldest first');
}
is(count_in_log($complaint, $offset), 1, 'the log has one line a minute');

done_testing();
