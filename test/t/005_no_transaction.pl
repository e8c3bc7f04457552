# While a request is under way no transaction is open: VACUUM can clean up, and
# nothing of ours holds a transaction id or a snapshot.
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

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 2000) AS i;
	CREATE TABLE other (id int) WITH (autovacuum_enabled = false);
	INSERT INTO other SELECT generate_series(1, 1000)});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 100 }, options => { max_in_flight => 1 });

# Made while a request hangs and so many others were answered.
sub quiet_while_hanging
{
	my ($what, $answered) = @_;

	# What was answered meanwhile is recorded soon; from then on all is quiet.
	ok($node->poll_query_until('postgres', "SELECT batches_sent = $answered FROM signalsmith.run_progress"),
		"$what hangs: the others are recorded meanwhile");
	my $quiet = q{SELECT bool_and(xact_start IS NULL AND backend_xid IS NULL AND backend_xmin IS NULL)
		FROM pg_stat_activity WHERE backend_type LIKE 'signalsmith%'};
	ok($node->poll_query_until('postgres', $quiet), "$what hangs: no transaction is open");
	my $samples = join "\n", map { "$quiet; SELECT pg_sleep(0.02) \\g /dev/null" } 1 .. 25;
	is_deeply([ grep { $_ ne 't' } split /\n/, $node->sql($samples) ], [], "$what hangs: at no time");

	$node->sql('DELETE FROM other WHERE id IN (SELECT id FROM other LIMIT 100)');
	my (undef, undef, $notices) = $node->psql('postgres', 'VACUUM (VERBOSE) other');
	like($notices, qr/0 are dead but not yet removable/, "$what hangs: VACUUM removes all dead rows");
	return;
}

# One request hangs, at the beginning, in the middle and at the end.
$recorder->rules(map { { nth => $_, hold => 1 } } 1, 9, 18);
my $run = $node->trigger('people');
for my $which (1, 9, 18)
{
	$recorder->wait_for(requests => $which, held => 1);
	quiet_while_hanging("request $which", $which - 1);
	$recorder->release;
}
my $end = $node->wait_for_run($run);
$node->run_is($end, { status => 'completed', rows_created => 2000, requests => 20 }, 'the run completes');

# One hangs while all the others are answered and recorded.
$recorder->reset;
$recorder->rules({ nth => 3, hold => 1 });
$node->sql(q{UPDATE people SET name = name || '.';
	SELECT signalsmith.update_sync('people', '{"options": {"max_in_flight": 8}}')});
$run = $node->trigger('people');
$recorder->wait_for(requests => 20, held => 1);
quiet_while_hanging('one of 20 requests', 19);
$recorder->release;
$node->run_is($node->wait_for_run($run), { status => 'completed', rows_updated => 2000, requests => 20 }, 'this run completes too');

ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'signalsmith runner')}),
	'the runner is gone after the run');
$node->sql('CREATE DATABASE copied TEMPLATE template1');
$node->sql('ALTER DATABASE copied RENAME TO renamed');
$node->sql('DROP DATABASE renamed');
is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'signalsmith%' AND datname IS NOT NULL}), 0,
	'nothing of ours stays connected to a database');

done_testing();
