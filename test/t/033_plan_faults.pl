# A server that dies at any step of a run's plan, between acknowledgements, in a
# merge of the snapshot: there is no half plan, and no change is lost or invented.
# Needs a build with "make FAULTS=1".
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.error_after = 1000\n");
$node->skip_all_unless_faults;
my $recorder = Signalsmith::Recorder->start;
my $directory = PostgreSQL::Test::Utils::tempdir;
my $json = JSON::PP->new->canonical;
my $cases = 0;
my $sent_before = 0;    # requests

# What the destination has been sent, by hand: the oracle joins it with the model.
$node->sql(q{
	CREATE TABLE people (id int, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 4000) AS i;
	CREATE TABLE sent (id int PRIMARY KEY, name text);
	INSERT INTO sent TABLE people;
	CREATE VIEW plan AS
		SELECT CASE WHEN s.id IS NULL THEN 'create' WHEN p.rows IS NULL THEN 'delete' ELSE 'update' END AS operation,
			coalesce(p.id, s.id) AS id, p.name
		FROM (SELECT id, min(name) AS name, count(*) AS rows FROM people WHERE id IS NOT NULL GROUP BY id) AS p
			FULL JOIN sent s USING (id)
		WHERE p.rows IS NULL OR p.rows = 1 AND p.name IS DISTINCT FROM s.name;
	CREATE TABLE planned AS TABLE plan});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people ORDER BY id', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 100 }, options => { max_in_flight => 2 });
$node->run_sync('people');

# Half of the rows change, some go, some come back; one has no key, eight share
# theirs with another one, half of which have been planned when that is seen.
# Returns the changes that follow: "operation id name".
sub edit
{
	$cases++;
	$sent_before = $recorder->figures->{requests};
	$node->sql(qq{
		DELETE FROM people WHERE id IS NULL OR name LIKE 'again%';
		UPDATE people SET name = 'name ' || id || ' of $cases' WHERE id % 2 = $cases % 2;
		DELETE FROM people WHERE id % 40 = $cases % 30;
		INSERT INTO people SELECT i, 'back in $cases' FROM generate_series(1, 4000) AS i WHERE i % 40 = ($cases - 1) % 30
			AND NOT EXISTS (SELECT FROM people WHERE id = i);
		INSERT INTO people SELECT id, 'again in $cases' FROM people WHERE id BETWEEN 111 AND 118;
		INSERT INTO people VALUES (NULL, 'nobody');
		TRUNCATE planned;
		INSERT INTO planned TABLE plan});
	return [ sort split /\n/, $node->sql(q{SELECT concat_ws(' ', operation, id, name) FROM planned}) ];
}

# The changes that have come since, in the same form.

sub received
{
	my %changes;
	for my $request ($recorder->history($sent_before + 1))
	{
		next if $request->{body} eq '';
		$changes{ join ' ', $_->{operation}, $_->{key}{id}, $_->{data} ? $_->{data}{name} : () } = 1
		  for @{ $json->decode($request->{body})->{records} };
	}
	return [ sort keys %changes ];
}

# Starts a run and waits until it has come to a point of the code.
sub run_to
{
	my ($point, $nth) = @_;
	my $gate = "$directory/gate-$cases";
	$node->set("signalsmith.fault = '$point:wait=$gate:$nth\@$directory/once-$cases'");
	my $run = $node->trigger('people');
	$node->wait_until("run $run comes to $point", sub { -e "$gate.reached" });
	return $run;
}

my %die = (
	'kill -9'        => sub { $node->kill_and_wait_for_restart($node->runner_pid) },
	'immediate stop' => sub { $node->stop('immediate'); $node->start });

# The run goes on by itself, with the figures of one that nobody disturbed.
sub finish
{
	my ($run, $planned, $what) = @_;
	my %count = map { my $operation = $_; $operation => scalar(grep { /^$operation / } @$planned) } qw(create update delete);
	my $end = $node->wait_for_run($run);
	$node->run_is($end, { status => 'completed', rows_created => $count{create}, rows_updated => $count{update},
			rows_deleted => $count{delete}, rows_failed => 17 }, "$what: the run completes as if nothing had been");
	is_deeply(received(), $planned, "$what: no change is lost, none is invented");
	$node->sql(q{
		MERGE INTO sent s USING planned p ON s.id = p.id
		WHEN MATCHED AND operation = 'delete' THEN DELETE
		WHEN MATCHED THEN UPDATE SET name = p.name
		WHEN NOT MATCHED THEN INSERT VALUES (p.id, p.name)});
	$node->check_delivery($recorder, q{SELECT json_build_object('id', id) AS key, to_json(s) AS data FROM sent s},
		"$what: the destination is in step", crashes => 1);
	is($node->sql(q{SELECT count(*), count(DISTINCT key), min(state) FROM signalsmith.snapshot('people')}),
		$node->sql(q{SELECT count(*), count(*), 'present' FROM sent}), "$what: and so is the snapshot");
	return;
}

# --- before the plan is committed, with the snapshot in memory and beside the rows
for my $case (
	[ '256MB', 'segment-read', 1, 'while the snapshot is loaded' ],
	[ '256MB', 'model-row', 1500, 'in the query' ],
	[ '256MB', 'outbox-write', 1, 'while staging' ],
	[ '256MB', 'outbox-withdraw', 1, 'while changes are withdrawn' ],
	[ '256MB', 'plan-delete', 50, 'while deletes are planned' ],
	[ '256MB', 'row-failure', 1, 'while rejected rows are listed' ],
	[ '256MB', 'before-plan-commit', 1, 'before the plan is committed' ],
	[ '64kB', 'segment-read', 2, 'while the snapshot is read beside the rows' ],
	[ '64kB', 'undecided-row', 1000, 'while rows set aside are settled' ],
	[ '64kB', 'before-plan-commit', 1, 'before a plan of a bounded comparison is committed' ])
{
	my ($memory, $point, $nth, $where) = @$case;
	$node->set("signalsmith.diff_mem = '$memory'");
	for my $way (sort keys %die)
	{
		my $planned = edit();
		my $snapshot = $node->sql(q{SELECT count(*), sum(hashtext(key::text || hash)) FROM signalsmith.snapshot('people')});
		my $run = run_to($point, $nth);
		$node->run_is($node->run($run), { status => 'running', rows_processed => 0, rows_failed => 0 }, "$way $where: nothing of the plan is to be seen");
		is($recorder->figures->{requests}, $sent_before, "$way $where: and nothing was sent");
		$die{$way}->();
		is($node->sql(q{SELECT count(*), sum(hashtext(key::text || hash)) FROM signalsmith.snapshot('people')}), $snapshot,
			"$way $where: the snapshot is as it was");
		finish($run, $planned, "$way $where");
	}
}
$node->set("signalsmith.diff_mem = '256MB'");

# --- once it is committed, it is not made again; with a destination so slow that
# not everything is acknowledged at once
$recorder->rules({ delay => 0.1 });
for my $case (
	[ 'after-plan-commit', 1, 'once the plan is committed' ],
	[ 'before-acknowledgement', 2, 'before the second acknowledgement' ],
	[ 'after-acknowledgement', 1, 'between two acknowledgements' ])
{
	my ($point, $nth, $where) = @$case;
	for my $way (sort keys %die)
	{
		my $planned = edit();
		my $run = run_to($point, $nth);
		is($node->sql("SELECT changes_planned FROM signalsmith.run WHERE id = substr('$run', 5)::bigint"), scalar(@$planned),
			"$way $where: the whole plan is there");
		$node->sql(q{UPDATE people SET name = 'too late for this run' WHERE id = 1});
		$die{$way}->();
		finish($run, $planned, "$way $where");
		$node->sql(q{UPDATE people SET name = sent.name FROM sent WHERE people.id = 1 AND sent.id = 1});
	}
}

$recorder->rules;

# --- a merge of the snapshot that is not committed leaves the old segments
for my $case ([ 'snapshot-fold', 'while the snapshot is folded' ], [ 'snapshot-merged', 'before a merge is committed' ])
{
	my ($point, $where) = @$case;
	for my $way (sort keys %die)
	{
		my $planned = edit();
		my $run = run_to($point, 1);
		my $segments = $node->sql('SELECT array_agg(id ORDER BY id) FROM signalsmith.segment');
		$die{$way}->();
		is($node->sql('SELECT array_agg(id ORDER BY id) FROM signalsmith.segment'), $segments, "$way $where: the segments are as they were");
		finish($run, $planned, "$way $where");
		$node->run_is($node->run_sync('people'), { status => 'completed', requests => 0, rows_failed => 17 },
			"$way $where: the next run has nothing to send");
	}
}

# --- while a merge is under way, readers see the snapshot whole; the next run waits
my $planned = edit();
my $run = run_to('snapshot-merged', 1);
my $gate = "$directory/gate-$cases";
my $count = q{SELECT count(*) || ' ' || count(DISTINCT key) FROM signalsmith.snapshot('people')};
my $reader = $node->background_psql('postgres');
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $before = $reader->query($count);
my $segments = $node->sql('SELECT count(*) FROM signalsmith.segment');
is($node->sql(q{SELECT count(*) FROM signalsmith.preview_sync('people')}), 0, 'a preview sees the snapshot while it is merged');
finish($run, $planned, 'a merge that waits');
$planned = edit();
$run = $node->trigger('people');
append_to_file($gate, '');
finish($run, $planned, 'the run after a merge');
ok($node->poll_query_until('postgres', "SELECT count(*) < $segments FROM signalsmith.segment"), 'the segments are fewer now');
is($reader->query($count), $before, 'and a transaction from before still reads what was');
$reader->quit;
$node->run_is($node->run_sync('people'), { status => 'completed', requests => 0, rows_failed => 17 }, 'the next run has nothing to send');

done_testing();
