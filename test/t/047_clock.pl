# Interval schedules while the clock jumps.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Clock;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $clock = Signalsmith::Clock->new;
my $node = $clock->run(sub { Signalsmith::Cluster->start_new('main') });
my $recorder = Signalsmith::Recorder->start;

# Sets the clock.  The launcher notices when it looks at it, every minute, or
# when it is woken, here for another database.
sub set_clock
{
	my ($offset) = @_;
	$clock->set($offset);
	nudge();
	return;
}

sub nudge
{
	$node->run_sync('elsewhere', database => 'elsewhere');
	return;
}

# Waits until no run waits or works; returns the number of all runs.
sub count_runs
{
	my ($sync) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM signalsmith.runs WHERE sync = '$sync' AND status IN ('queued', 'running')") or die;
	return $node->sql("SELECT count(*) FROM signalsmith.runs WHERE sync = '$sync'");
}

# Waits until so many runs have taken place; and then one more look of the
# scheduler must not add another.
sub runs_are
{
	my ($sync, $count, $name) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = $count FROM signalsmith.runs WHERE sync = '$sync' AND status = 'completed'");
	nudge();
	is(count_runs($sync), $count, $name);
	return;
}

# One test: the next run is due within one interval from now.
sub next_is_near
{
	my ($what) = @_;
	ok($node->poll_query_until('postgres', q{SELECT next_run_at BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 hour'
		FROM signalsmith.syncs WHERE name = 'hourly'}), "$what: the next run is within one interval");
	return;
}

$node->sql('CREATE DATABASE elsewhere');
$node->sql('CREATE EXTENSION signalsmith', database => 'elsewhere');
$node->sql('CREATE TABLE people AS SELECT 1 AS id', database => $_) for 'postgres', 'elsewhere';
$node->create_webhook_sync(name => 'hourly', query => 'SELECT id FROM people', primary_key => 'id', url => $recorder->url('/hourly'));
$node->create_webhook_sync(
	name => 'elsewhere', query => 'SELECT id FROM people', primary_key => 'id', url => $recorder->url('/elsewhere'), database => 'elsewhere');
$node->sql(q{SELECT signalsmith.update_sync('hourly', '{"schedule":{"type":"interval","interval_minutes":60}}')});
runs_are('hourly', 0, 'a sync that was just defined is not due');
next_is_near('at first');

set_clock('+61m');
runs_are('hourly', 1, 'after an hour it runs');
is($node->sql(q{SELECT trigger FROM signalsmith.runs WHERE sync = 'hourly'}), 'schedule', 'triggered by the schedule');
next_is_near('after an hour');

set_clock('+2d');
runs_are('hourly', 2, 'after two days it runs once');
next_is_near('after two days');

set_clock('+45h');
next_is_near('three hours back');
set_clock('-1825d');
next_is_near('five years back');
runs_are('hourly', 2, 'a clock that goes back triggers nothing');

set_clock('0s');
runs_are('hourly', 3, 'five years forward: one run');
next_is_near('five years forward');

# --- a run that takes longer than its interval
$recorder->rules({ path => '/hourly', hold => 1 });
$node->sql('INSERT INTO people VALUES (2)');
set_clock('+61m');
$recorder->wait_for(held => 1);
for my $hours (2 .. 6)
{
	set_clock('+' . ($hours * 60 + 5) . 'm');
	$node->poll_query_until('postgres', q{SELECT next_run_at > clock_timestamp() FROM signalsmith.syncs WHERE name = 'hourly'}) or die;
}
is($node->sql(q{SELECT string_agg(status, ' ' ORDER BY queued_at) FROM signalsmith.runs WHERE sync = 'hourly' AND status IN ('queued', 'running')}),
	'running queued', 'five times missed during a run are one run more');
$recorder->rules;
$recorder->release;
runs_are('hourly', 5, 'which follows');
$recorder->check_history('no request for a record overlaps another one', '{"crashes":1}');

# --- a runner that died just before the clock went back is replaced
$recorder->rules({ path => '/hourly', hold => 1 });
$node->sql('INSERT INTO people VALUES (3)');
my $run = $node->trigger('hourly');
$recorder->wait_for(held => 1);
kill 'TERM', $node->runner_pid;
set_clock('-3h');
$recorder->rules;
$recorder->release;
is($node->wait_for_run($run)->{status}, 'completed', 'a run whose runner has died goes on, whatever the clock says');

done_testing();
