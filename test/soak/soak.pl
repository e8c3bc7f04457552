# What test/soak/run runs, with prove.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Nemesis;
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{SIGNALSMITH_SOAK_SECONDS} // 300;
my $seed = $ENV{SIGNALSMITH_TEST_SEED} // 1;
my $canary = "canary-of-seed-$seed";

my $directory = PostgreSQL::Test::Utils::tempdir;
append_to_file("$directory/key", 'ab' x 32);
chmod 0600, "$directory/key";
my $node = Signalsmith::Cluster->start_new('main', conf => <<"CONF");
log_statement = none
signalsmith.max_attempts = 20
signalsmith.error_after = 1000000
signalsmith.key_file = '$directory/key'
CONF
my $recorder = Signalsmith::Recorder->start;
my $nemesis = Signalsmith::Nemesis->new($node, seed => $seed);

# --- the source: 20,000 rows that change, in two syncs, one of them with a secret
$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, x int);
	INSERT INTO people SELECT i, 0 FROM generate_series(1, 20000) AS i});
my %syncs = (
	mirrored => 'SELECT id, x FROM people',
	upserted => 'SELECT id + 1000000 AS id, x % 10 AS x FROM people WHERE id % 10 = 0');
for my $sync (sort keys %syncs)
{
	$node->create_webhook_sync(
		name => $sync, query => $syncs{$sync}, primary_key => 'id', mode => $sync eq 'mirrored' ? 'mirror' : 'upsert',
		url => $recorder->url("/$sync"), config => { batch_size => 50 }, options => { max_in_flight => 4, max_delete_percent => 100 });
	$node->sql(qq[SELECT signalsmith.set_secret('$sync', 'signing_secret', 'whsec_' || encode('$canary', 'base64'));
		SELECT signalsmith.update_sync('$sync', '{"schedule":{"type":"interval","interval_seconds":1}}')]);
}

append_to_file("$directory/changes.sql", <<'SQL');
\set id random(1, 20000)
\set fate random(1, 10)
\if :fate = 1
DELETE FROM people WHERE id = :id;
INSERT INTO people SELECT i, 0 FROM generate_series(1, 20000, 97) AS i ON CONFLICT DO NOTHING;
\else
UPDATE people SET x = x + 1 WHERE id BETWEEN :id AND :id + 20;
\endif
SQL
# pgbench ends when the server crashes; it is started again then.
my $changing;

sub start_changing
{
	return if $changing && $changing->pumpable;
	eval { $changing->finish if $changing };
	$changing = IPC::Run::start(
		[ 'pgbench', '-n', '-R', '40', '-T', '86400', '-f', "$directory/changes.sql", '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', '/dev/null', '2>', '/dev/null');
	return;
}

sub stop_changing
{
	eval { $changing->kill_kill };
	return;
}

my @faults = (
	{ probability => 0.01, phase => 'after_apply', drop => 1 }, { probability => 0.01, status => 503 },
	{ probability => 0.01, phase => 'mid_answer', drop => 1 }, { probability => 0.01, phase => 'before_read', reset => 1 },
	{ probability => 0.005, status => 429, headers => { 'Retry-After' => '1' } }, { probability => 0.02, delay => 0.3 });
sub misbehave { $recorder->rules(map { { %{ $faults[$_] }, seed => $seed + $_ } } 0 .. $#faults); return }

# I8: whoever waits for the network has no transaction open.
my ($samples, $unquiet) = (0, 0);
sub sample
{
	my $answer = $node->ask(q{SELECT count(*), count(*) FILTER (WHERE xact_start IS NOT NULL OR backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
		FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND query = 'signalsmith: sending' AND wait_event_type = 'Extension'});
	my ($waiting, $open) = split /\|/, $answer or return;
	$samples += $waiting;
	$unquiet += $open;
	return;
}

#
# First: everything goes wrong.
#
misbehave();
my $began = time;
my $next = $began;
while (time < $began + $seconds)
{
	start_changing();
	sample();
	next if time < $next;
	my $choice = rand;
	my $type = 'signalsmith ' . ($choice < 0.7 ? 'runner' : $choice < 0.9 ? 'scheduler' : 'launcher');
	my $deed = rand() < 0.6 ? 'terminate' : rand() < 0.9 ? 'kill' : 'restart';
	$nemesis->strike($deed, $type);
	$next = time + rand 4;
}
continue
{
	sleep 0.05;
}
stop_changing();
note sprintf '%s in %.0f s', $nemesis->deeds, time - $began;
note "$samples samples of runners that wait for the network";

# Then the destination recovers, and so does everything else.
$recorder->rules;
my $crashes = $nemesis->count('kill') + $nemesis->count('restart');
for my $sync (sort keys %syncs)
{
	$node->sql("SELECT signalsmith.pause_sync('$sync')");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM signalsmith.runs WHERE sync = '$sync' AND status IN ('queued', 'running')") or die;
	my $run;
	$run = $node->run_sync($sync) for 1 .. 2;
	$node->run_is($run, { status => 'completed', requests => 0, rows_failed => 0 }, "$sync: at last nothing is left to be sent");
}
is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE status NOT IN ('completed', 'failed', 'cancelled')}), 0, 'all runs are over');
is($node->sql('SELECT count(*) FROM signalsmith.outbox'), 0, 'the outbox is empty');
my $whole = join ' UNION ALL ', map { "SELECT json_build_object('id', id) AS key, to_json(m) AS data FROM ($syncs{$_}) AS m" } sort keys %syncs;
my $runs = $node->sql(q{SELECT json_object_agg(id, json_build_object('confirmed', rows_created + rows_updated + rows_deleted,
	'complete', status = 'completed' AND rows_failed = 0)) FROM signalsmith.runs});
# What the upserting sync has sent and the source has no more stays there.
my $gone = $node->sql(qq{SELECT json_agg('{"id":' || i + 1000000 || '}') FROM generate_series(10, 20000, 10) AS i WHERE NOT EXISTS (SELECT FROM people WHERE id = i)});
$gone = '[]' if $gone eq '';
$recorder->check_history('I1 to I6', sprintf '{"table":%s,"failed":%s,"crashes":%d,"runs":%s}', $node->expected_table($whole), $gone, $crashes, $runs);
is($unquiet, 0, 'I8: no transaction was open while a runner waited for the network');
is(scalar(() = slurp_file($node->logfile) =~ /all server processes terminated; reinitializing/g), $nemesis->count('kill'), 'I10: nothing crashed by itself');
my $dump = "$directory/dump.sql";
system_or_bail('pg_dump', '-d', $node->connstr('postgres'), '-f', $dump);
unlike(slurp_file($_), qr/\Q$canary\E/, "I9: no secret in $_") for $node->logfile, $dump;
note $node->sql(q{SELECT count(*) || ' runs, ' || sum(rows_created + rows_updated + rows_deleted) || ' rows confirmed, ' || sum(rows_failed) || ' failed, '
	|| sum(requests) || ' requests' FROM signalsmith.runs});

#
# I11: as long again in peace.  The launcher, with many schedulers and runners to
# see to; and one runner, with many requests.
#
sub memory_kb
{
	my ($pid) = @_;
	my $text = eval { slurp_file("/proc/$pid/status") } // '';
	return $text =~ /^RssAnon:\s+(\d+) kB/m ? $1 : undef;
}

# A runner, with secrets in its memory, shows no more than the size of its table of
# descriptors.
sub descriptors
{
	my ($pid) = @_;
	my @entries = glob "/proc/$pid/fd/*";
	my $text = eval { slurp_file("/proc/$pid/status") } // '';
	return @entries ? scalar @entries : $text =~ /^FDSize:\s+(\d+)/m ? $1 : 0;
}

# Tests: what the second half of the time needs at most is what the first half needed.
sub is_flat
{
	my ($what, $values, $unit, $slack) = @_;
	my $half = int(@$values / 2);
	my ($before, $after) = (max(@$values[ $half / 2 .. $half - 1 ]), max(@$values[ $half .. $#$values ]));
	note sprintf '%s: %d samples, %d then %d %s', $what, scalar @$values, $before, $after, $unit;
	cmp_ok($after, '<=', $before * 1.05 + $slack, "I11: $what: $unit are flat");
	return;
}

$recorder->reset;
my $launcher = $node->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'signalsmith launcher'});
$node->sql(q{
	CREATE TABLE many AS SELECT i AS id, 0 AS x FROM generate_series(1, 200000) AS i;
	SELECT signalsmith.resume_sync('upserted')});
$node->create_webhook_sync(
	name => 'many', query => 'SELECT id, x FROM many', primary_key => 'id', url => $recorder->url('/many'),
	config => { batch_size => 20 }, options => { max_in_flight => 4 });
# About as many requests as there is time for.
$recorder->rules({ delay => $seconds * 4 / 10000, path => '/many' });
start_changing();
my $run = $node->trigger('many');
my $runner;
$node->wait_until('it sends', sub { $runner = $node->ask(qq{SELECT runner_pid FROM signalsmith.run WHERE 'run_' || id = '$run' AND phase = 'deliver'}) });
my %usage;
while (kill 0, $runner)
{
	for my $process ([ launcher => $launcher ], [ runner => $runner ])
	{
		my ($name, $pid) = @$process;
		my $memory = memory_kb($pid) // next;
		push @{ $usage{$name}{memory} }, $memory;
		push @{ $usage{$name}{descriptors} }, descriptors($pid);
	}
	sleep max(0.1, $seconds / 1000);
}
stop_changing();
is($node->wait_for_run($run)->{status}, 'completed', 'a long run completes');
for my $name (sort keys %usage)
{
	is_flat("$name memory", $usage{$name}{memory}, 'kB', 64);
	is_flat("$name descriptors", $usage{$name}{descriptors}, 'descriptors', 2);
}

done_testing();
