# The server stops, in every way it can, while a hundred requests hang: ours stop
# with it, and what was under way goes on afterwards.  How fast, test/bench/workers
# measures: the bounds here leave room for a machine that is busy otherwise.
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
	config => { batch_size => 10 }, options => { max_in_flight => 100, timeout_seconds => 600 });
$node->run_sync('people');

# Triggers a run and waits until a hundred of its requests hang.
sub hang
{
	$recorder->reset;
	$recorder->rules({ hold => 1 });
	$node->sql(q{CHECKPOINT; UPDATE people SET name = name || '.'});
	my $run = $node->trigger('people');
	$recorder->wait_for(held => 100);
	return $run;
}

# Three tests: the run goes on by itself and loses nothing.
sub goes_on
{
	my ($run, $what) = @_;
	my $began = time;
	$recorder->wait_for(requests => 101);
	cmp_ok(time - $began, '<', 10, "$what: sending resumes within 10 s");
	$recorder->rules;
	$recorder->release;
	$node->run_is($node->wait_for_run($run), { status => 'completed', rows_updated => 1000, rows_failed => 0 }, "$what: the run goes on");
	$node->check_delivery($recorder, $whole, "$what: and loses nothing", crashes => 1);
	return;
}

sub is_alive { return kill 0, $_[0] }

# --- fast shutdown
my $run = hang();
my $began = time;
$node->stop('fast');
cmp_ok(time - $began, '<', 5, 'fast shutdown waits for none of 100 requests that hang');
$node->start;
goes_on($run, 'fast shutdown');

# --- the postmaster is killed: its children, ours among them, leave
$run = hang();
my $postmaster = $node->{_pid};
my @ours = split /\n/, $node->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'signalsmith%'});
is(scalar(@ours), 2, 'a launcher and a runner are at work');
kill 'KILL', $postmaster;
$began = time;
$node->wait_until('our processes are gone', sub { !grep { is_alive($_) } @ours });
cmp_ok(time - $began, '<', 5, 'when the postmaster dies, our processes leave at once');
is($recorder->figures->{requests}, 100, 'and send nothing more');
$node->wait_until('the postmaster is gone', sub { !is_alive($postmaster) });
$node->kill9;
$node->start;
goes_on($run, 'the postmaster killed');

# --- a crash that the server does not restart from
$node->set('restart_after_crash = off');
$run = hang();
kill 'KILL', $node->runner_pid;
$node->wait_until('the server is gone', sub { !is_alive($node->{_pid}) });
$node->kill9;
$node->start;
goes_on($run, 'restart_after_crash off');

# --- what is queued survives an immediate stop
$node->set('signalsmith.enabled = off');
$node->sql(q{UPDATE people SET name = name || '.'});
$run = $node->trigger('people');
$node->stop('immediate');
$node->start;
is($node->run($run)->{status}, 'queued', 'a queued run is there after an immediate stop');
$node->set('signalsmith.enabled = on');
$node->run_is($node->wait_for_run($run), { status => 'completed', rows_updated => 1000 }, 'and takes place');

done_testing();
