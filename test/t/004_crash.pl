# A crash while requests are under way: sending resumes by itself, and what may
# have arrived is repeated with the same key and bytes.
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
	config => { batch_size => 100 });

# Where the request stands when the runner dies, and what the destination thinks.
for my $case (
	[ 'before the request was read', { phase => 'before_read', hold => 1, nth => 3 } ],
	[ 'before it was applied', { phase => 'after_read', hold => 1, nth => 3 } ],
	[ 'after it was applied', { phase => 'after_apply', hold => 1, nth => 3 } ],
	[ 'in the middle of the answer', { phase => 'mid_answer', hold => 1, nth => 3 } ])
{
	my ($what, $rule) = @$case;
	$recorder->reset;
	$recorder->rules($rule);
	$node->sql(q{UPDATE people SET name = name || '.'});
	my $run = $node->trigger('people');
	$recorder->wait_for(held => 1);
	my $before = $recorder->figures->{requests};

	$node->kill_and_wait_for_restart($node->runner_pid);
	my $restarted = time;
	$recorder->wait_for(requests => $before + 1);
	cmp_ok(time - $restarted, '<', 10, "killed $what: sending resumes within 10 s");

	my $end = $node->wait_for_run($run);
	is($end->{status}, 'completed', "killed $what: the run goes on under its own id");
	is($end->{rows_processed}, 1000, "killed $what: without running the model again");
	is($end->{rows_created} + $end->{rows_updated}, 1000, "killed $what: everything is confirmed");
	$node->check_delivery($recorder, $whole, "killed $what: same keys, same bytes, nothing lost", crashes => 1);

	my ($held) = grep { $_->{rule} } $recorder->history;
	my @repeated = grep { $_->{headers}{'idempotency-key'} eq $held->{headers}{'idempotency-key'} } $recorder->history;
	cmp_ok(scalar(@repeated), '==', 2, "killed $what: the request that hung is sent once more");
}

# --- a crash of the whole server, and of another backend
for my $case ([ 'immediate stop', sub { $node->stop('immediate'); $node->start } ],
	[ 'fast stop', sub { $node->stop('fast'); $node->start } ],
	[ 'crash of another backend', sub {
		my $other = $node->background_psql('postgres', on_error_stop => 0);
		$node->kill_and_wait_for_restart($other->query('SELECT pg_backend_pid()'));
		eval { $other->quit } } ])
{
	my ($what, $act) = @$case;
	$recorder->reset;
	$recorder->rules({ phase => 'after_apply', hold => 1, nth => 2 });
	$node->sql(q{UPDATE people SET name = name || '!'});
	my $run = $node->trigger('people');
	$recorder->wait_for(held => 1);
	$act->();
	my $end = $node->wait_for_run($run);
	is($end->{status}, 'completed', "$what: the run is finished");
	$node->check_delivery($recorder, $whole, "$what: same keys, same bytes, nothing lost", crashes => 1);
}

# --- killed while it plans: no half plan, nothing sent
$recorder->reset;
$node->sql(q{
	CREATE TABLE gate (open boolean); INSERT INTO gate VALUES (false);
	CREATE FUNCTION wait_at_gate() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'gate is open') LOOP
			PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
		END LOOP;
		RETURN true;
	END $$});
$node->create_webhook_sync(
	name => 'planning', query => 'SELECT id, name FROM people WHERE id < 500 OR wait_at_gate()', primary_key => 'id', url => $recorder->url);
my $run = $node->trigger('planning');
$node->kill_and_wait_for_restart($node->runner_pid);
is($recorder->figures->{requests}, 0, 'killed while planning: nothing was sent');
my $gate = $node->background_psql('postgres');
$gate->query(q{SET application_name = 'gate is open'});
my $end = $node->wait_for_run($run);
$node->run_is($end, { status => 'completed', rows_created => 1000 }, 'and the run plans again by itself');
$gate->quit;

done_testing();
