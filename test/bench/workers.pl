# What test/bench/workers measures.  Run by it, with prove.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use List::Util qw(max sum);
use PostgreSQL::Test::Utils;
use POSIX ();
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep time);

my $node = Signalsmith::Cluster->start_new('main', conf => <<'CONF');
max_worker_processes = 20
log_statement = none
log_min_messages = warning
max_connections = 50
CONF
my $recorder = Signalsmith::Recorder->start;
my @table;

# One line of the table: what, how much, in which unit, and what it may be.
sub put
{
	my ($what, $value, $unit, $limit) = @_;
	push @table, [ $what, sprintf('%.4g %s', $value, $unit), defined $limit ? "$limit $unit" : '' ];
	note sprintf '%s: %.4g %s', $what, $value, $unit;
	return;
}

sub percentile
{
	my ($part, @values) = @_;
	@values = sort { $a <=> $b } @values;
	return $values[ max(0, POSIX::ceil($part * @values) - 1) ];
}

# How far the recorder's clock, which is monotonic, is from the server's.
sub clock_offset
{
	return time - clock_gettime(CLOCK_MONOTONIC);
}

sub seconds
{
	my ($action) = @_;
	my $began = time;
	$action->();
	return time - $began;
}

#
# From trigger_sync to the first request
#
sub measure_start
{
	my ($rounds) = @_;
	$node->sql(q{CREATE TABLE one AS SELECT 1 AS id, 0 AS x});
	$node->create_webhook_sync(name => 'one', query => 'SELECT id, x FROM one', primary_key => 'id', url => $recorder->url);
	$node->run_sync('one');
	$recorder->reset;
	my @delays;
	for my $round (1 .. $rounds)
	{
		my ($queued, $run) = split /\|/, $node->sql(q{UPDATE one SET x = x + 1; SELECT extract(epoch FROM clock_timestamp()), signalsmith.trigger_sync('one')});
		$recorder->wait_for(requests => $round);
		my ($request) = $recorder->history($round);
		push @delays, 1000 * ($request->{started} + clock_offset() - $queued);
		$node->wait_for_run($run);
	}
	put('trigger_sync to first request, p50', percentile(0.5, @delays), 'ms', 50);
	put('trigger_sync to first request, p99', percentile(0.99, @delays), 'ms');
	return;
}

#
# A thousand syncs with an interval
#
sub create_thousand
{
	my ($count) = @_;
	$node->create_webhook_sync(name => 'idle', query => 'SELECT 1 AS id', primary_key => 'id', url => $recorder->url('/idle'));
	$node->sql(qq[SELECT signalsmith.create_sync('idle' || i, 'idle', 'idle', schedule => '{"type":"interval","interval_minutes":1440}')
		FROM generate_series(1, $count) AS i]);
	return;
}

# Of a process, in seconds, and of all its children that have ended.
sub cpu_of
{
	my ($pid) = @_;
	my @fields = split ' ', slurp_file("/proc/$pid/stat") =~ s/^.*\)//r;
	return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub measure_idle
{
	my ($count, $seconds) = @_;
	my $launcher = $node->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'signalsmith launcher'});
	my $connected = 0;
	my $before = cpu_of($launcher);
	my $until = time + $seconds;
	while (time < $until)
	{
		$connected += $node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'signalsmith%' AND datid IS NOT NULL});
		sleep 1;
	}
	put("CPU of the launcher, $count idle syncs, of one core", 100 * (cpu_of($launcher) - $before) / $seconds, '%', 0.1);
	put('workers connected meanwhile, seen each second', $connected, 'workers', 0);
	return;
}

# All are due within so many seconds from now: how late they start.
sub measure_due
{
	my ($count, $spread, $slots) = @_;
	$node->set("signalsmith.max_workers = $slots");
	$node->sql(q{CREATE TABLE IF NOT EXISTS due (sync_id bigint, at timestamptz); TRUNCATE due});
	$node->sql(qq[
		INSERT INTO due SELECT id, clock_timestamp() + interval '2 seconds' + make_interval(secs => random() * $spread)
		FROM signalsmith.sync WHERE name ~ '^idle.' ORDER BY id LIMIT $count;
		UPDATE signalsmith.sync SET next_run_at = due.at FROM due WHERE id = due.sync_id]);
	$node->sql(q{SELECT signalsmith.trigger_sync('one')});
	$node->poll_query_until('postgres', qq[SELECT count(*) >= $count FROM signalsmith.run r JOIN due USING (sync_id)
		WHERE r.status = 'completed' AND r.queued_at >= due.at]) or die;
	my @late = split /\n/, $node->sql(q{SELECT extract(epoch FROM min(r.started_at) - due.at) FROM signalsmith.run r JOIN due USING (sync_id)
		WHERE r.queued_at >= due.at GROUP BY due.sync_id, due.at});
	my $took = $node->sql(q{SELECT extract(epoch FROM max(r.finished_at) - min(due.at)) FROM signalsmith.run r JOIN due USING (sync_id) WHERE r.queued_at >= due.at});
	my $what = $spread > 1 ? "$count syncs due within $spread s, $slots slots" : "$count syncs due at once, $slots slots";
	put("$what: start after due time, p50", percentile(0.5, @late), 's', $spread > 1 ? 1 : undef);
	put("$what: start after due time, p99", percentile(0.99, @late), 's', $spread > 1 ? 1 : undef);
	put("$what: runs", $count / $took, 'a second') if $spread <= 1;
	return;
}

#
# Stopping and coming back
#
sub create_busy
{
	my ($database) = @_;
	$node->sql("CREATE DATABASE $database");
	$node->sql(q{CREATE EXTENSION signalsmith; CREATE TABLE people AS SELECT i AS id, 0 AS x FROM generate_series(1, 1000) AS i}, database => $database);
	$node->create_webhook_sync(
		name => 'people', query => 'SELECT id, x FROM people', primary_key => 'id', url => $recorder->url("/$database"),
		config => { batch_size => 10 }, options => { max_in_flight => 100, timeout_seconds => 600 }, database => $database);
	return;
}

# A run with so many requests that hang.
sub hang
{
	my ($database, $count) = @_;
	$recorder->reset;
	$recorder->rules({ hold => 1 });
	$node->sql(q{UPDATE people SET x = x + 1}, database => $database);
	my $run = $node->trigger('people', database => $database);
	$recorder->wait_for(held => $count);
	return $run;
}

sub measure_stopping
{
	create_busy('busy');
	my $run = hang('busy', 100);
	$node->sql('CHECKPOINT');
	put('fast shutdown, 100 requests hanging', seconds(sub { $node->stop('fast') }), 's', 2);
	put('start to sending again', seconds(sub { $node->start; $recorder->wait_for(requests => 101) }), 's', 10);
	for my $type ('runner', 'launcher')
	{
		my $before = $recorder->figures->{requests};
		my $pid = $node->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'signalsmith $type'");
		put("kill -9 of the $type to sending again", seconds(sub {
			kill 'KILL', $pid;
			$recorder->wait_for(requests => $before + 1) }), 's', 10);
		$recorder->wait_for(requests => $before + 100);
	}
	put('cancel_run to the end of the run', seconds(sub {
		$node->sql("SELECT signalsmith.cancel_run('$run')", database => 'busy');
		$node->wait_for_run($run, database => 'busy') }), 's', 2);
	$recorder->rules;
	$recorder->release;
	return;
}

sub measure_drop
{
	create_busy($_) for 'dropped_idle', 'dropped_busy';
	put('DROP DATABASE, idle', seconds(sub { $node->sql('DROP DATABASE dropped_idle') }), 's', 6);
	hang('dropped_busy', 100);
	put('DROP DATABASE WITH (FORCE), 100 requests hanging', seconds(sub { $node->sql('DROP DATABASE dropped_busy WITH (FORCE)') }), 's', 6);
	my $run = hang('busy', 100);
	put('cancel_run and DROP DATABASE, 100 requests hanging', seconds(sub {
		$node->sql("SELECT signalsmith.cancel_run('$run')", database => 'busy');
		$node->sql('DROP DATABASE busy') }), 's', 6);
	$recorder->rules;
	$recorder->release;
	return;
}

measure_start(200);
create_thousand(1000);
measure_idle(1000, 60);
measure_due(1000, 60, 4);
measure_due(1000, 0, 4);
measure_due(1000, 0, 16);
measure_stopping();
measure_drop();

note '';
note "| what | measured | at most |";
note "|---|---|---|";
note sprintf '| %s | %s | %s |', @$_ for @table;
pass('measured');
done_testing();
