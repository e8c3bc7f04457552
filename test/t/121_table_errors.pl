# What goes wrong at a table: bad rows, triggers, locks, rights.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
$node->sql(q{
	CREATE ROLE ann LOGIN IN ROLE signalsmith_user;
	CREATE ROLE bob LOGIN;
	GRANT bob TO ann;
	CREATE SCHEMA crm AUTHORIZATION ann;
	GRANT CREATE ON SCHEMA public TO ann});
my %ann = (role => 'ann');

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) i;
	SELECT signalsmith.create_destination('crm', 'postgresql', '{"schema": "crm"}');
	SELECT signalsmith.create_model('people', 'SELECT * FROM people', '{id}')}, %ann);

sub create_sync
{
	my ($name, $mode, $options) = @_;
	my ($n, $m, $o) = quote($name, $mode, $options // {});
	$node->sql("SELECT signalsmith.create_sync($n, 'people', 'crm', $m, object => $n, options => $o)", %ann);
	return;
}

sub errors
{
	my ($run) = @_;
	return join "\n", map { join ' ', @$_{qw(operation outcome attempts code message)} } $node->row_errors($run->{id});
}

# One bad row of each kind among 1,000 is found and named; the others arrive.
$node->sql(q{
	CREATE TABLE crm.checked (id int PRIMARY KEY, name varchar(12) NOT NULL CHECK (name <> 'bad'), UNIQUE (name));
	INSERT INTO crm.checked VALUES (-1, 'taken');
	UPDATE people SET name = CASE id WHEN 100 THEN 'bad' WHEN 101 THEN 'longer than twelve' WHEN 102 THEN 'taken' WHEN 600 THEN NULL ELSE name END}, %ann);
create_sync('checked', 'mirror');
my $run = $node->run_sync('checked');
$node->run_is($run, { status => 'completed', rows_created => 996, rows_failed => 4 }, 'bad rows fail alone');
is(errors($run), <<'ERRORS' =~ s/\n\z//r, 'and are named, each with its reason');
create rejected 1 23514 new row for relation "checked" violates check constraint "checked_name_check"
create rejected 1 22001 value too long for type character varying(12)
create rejected 1 23505 duplicate key value violates unique constraint "checked_name_key": Key (name)=(taken) already exists.
create rejected 1 23502 null value in column "name" of relation "checked" violates not-null constraint
ERRORS
is($node->sql('SELECT count(*) FROM crm.checked'), 997, 'the others are there');
$node->sql(q{UPDATE people SET name = 'name ' || id}, %ann);
$node->run_is($node->run_sync('checked'), { rows_created => 4, rows_failed => 0, rows_unchanged => 996 }, 'the next run sends them again');

# A deferred constraint belongs to its batch as well.
$node->sql(q{
	CREATE TABLE crm.deferred (id int PRIMARY KEY, name text UNIQUE DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO crm.deferred VALUES (-1, 'name 500')}, %ann);
create_sync('deferred', 'upsert');
$run = $node->run_sync('deferred');
$node->run_is($run, { status => 'completed', rows_created => 999, rows_failed => 1 }, 'a deferred constraint refuses one row');
like(errors($run), qr/^create rejected 1 23505 .*Key \(name\)=\(name 500\)/, 'and says which');

# Triggers: what they raise is the row's error, with their own code.
$node->sql(q{
	CREATE TABLE crm.guarded (id int PRIMARY KEY, name text, written_by text);
	CREATE FUNCTION crm.guard() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.id = 7 THEN RAISE EXCEPTION 'no % here', NEW.id; END IF;
		IF NEW.id = 8 THEN RAISE EXCEPTION 'nor here' USING ERRCODE = 'AB123'; END IF;
		NEW.written_by := session_user || ' ' || current_user || ' ' || current_setting('search_path') || ' ' || current_setting('role');
		RETURN NEW;
	END $$;
	CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON crm.guarded FOR EACH ROW EXECUTE FUNCTION crm.guard()}, %ann);
create_sync('guarded', 'upsert');
$run = $node->run_sync('guarded');
is(errors($run), "create rejected 1 P0001 no 7 here\ncreate rejected 1 AB123 nor here", 'what a trigger raises is told with its code');
is($node->sql('SELECT DISTINCT written_by FROM crm.guarded'), 'ann ann "$user", public none', 'triggers run as the owner, with the search_path of the model');

# A trigger that turns things off hurts nobody: neither the bookkeeping nor the
# next batch.
$node->sql(q{
	CREATE SCHEMA mine;
	GRANT ALL ON SCHEMA mine TO ann;
	CREATE TABLE canary (n int)});
$node->sql(q{
	CREATE FUNCTION mine.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'lower of %', current_user; END $$;
	CREATE TABLE mine.run (id int);
	CREATE TABLE crm.hostile (id int PRIMARY KEY, name text, seen text);
	CREATE FUNCTION crm.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		NEW.seen := concat_ws(' ', current_user, current_setting('search_path'), current_setting('standard_conforming_strings'),
			current_setting('transaction_isolation'), current_setting('enable_seqscan'), nullif(current_setting('my.own', true), ''));
		IF NEW.id % 100 = 0 THEN
			RESET ROLE;
			SET ROLE bob;
			PERFORM set_config('search_path', 'mine, pg_temp, pg_catalog', false);
			PERFORM set_config('standard_conforming_strings', 'off', false);
			PERFORM set_config('default_transaction_isolation', 'serializable', false);
			PERFORM set_config('default_transaction_read_only', 'on', false);
			PERFORM set_config('enable_seqscan', 'off', false);
			PERFORM set_config('statement_timeout', '1', false);
			PERFORM set_config('lock_timeout', '1', false);
			PERFORM set_config('my.own', 'left behind', false);
		END IF;
		IF NEW.id = 1000 THEN
			SET TRANSACTION READ ONLY;
		END IF;
		RETURN NEW;
	END $$;
	CREATE FUNCTION crm.meddle_later() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		SET CONSTRAINTS ALL DEFERRED;
		CREATE TEMP TABLE IF NOT EXISTS run (id int);
		PERFORM set_config('search_path', 'mine', false), set_config('role', 'bob', false);
		PERFORM pg_advisory_lock(1);
		BEGIN INSERT INTO public.canary VALUES (1); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN PERFORM signalsmith._finish_run(1, 1, 'failed', 'x', false); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN UPDATE signalsmith.run SET status = 'failed'; EXCEPTION WHEN OTHERS THEN NULL; END;
		RETURN NULL;
	END $$;
	CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON crm.hostile FOR EACH ROW EXECUTE FUNCTION crm.meddle()}, %ann);
$node->sql(q{
	CREATE CONSTRAINT TRIGGER meddle_later AFTER INSERT OR UPDATE ON crm.hostile DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.id = 350) EXECUTE FUNCTION crm.meddle_later()}, %ann);
create_sync('hostile', 'upsert', { batch_size => 100 });
$run = $node->run_sync('hostile');
$node->run_is($run, { status => 'completed', rows_created => 1000, rows_failed => 0, requests => 10, error => undef }, 'what a trigger sets ends with its batch');
is($node->sql(q{SELECT DISTINCT seen FROM crm.hostile WHERE id % 100 <> 0}), 'ann "$user", public on read committed on', 'the next batch knows nothing of it');
is($node->sql('SELECT count(*) FROM canary'), 0, 'and nothing ran with other rights');
$node->run_is($node->run_sync('hostile'), { status => 'completed', requests => 0, rows_unchanged => 1000 }, 'everything was recorded');

# Row security, and rights that go while a run is planned.
$node->sql(q{
	CREATE TABLE crm.policed (id int PRIMARY KEY, name text);
	ALTER TABLE crm.policed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	CREATE POLICY small ON crm.policed USING (id < 999) WITH CHECK (id < 999)}, %ann);
create_sync('policed', 'upsert');
$run = $node->run_sync('policed');
$node->run_is($run, { status => 'completed', rows_created => 998, rows_failed => 2 }, 'a policy refuses rows, not the run');
like(errors($run), qr/^create rejected 1 42501 new row violates row-level security policy/, 'and they are named');
$node->sql(q{ALTER TABLE crm.policed DISABLE ROW LEVEL SECURITY; ALTER TABLE crm.policed RENAME COLUMN name TO label}, %ann);
$run = $node->run_sync('policed');
is($run->{status}, 'failed', 'a column that is gone fails the run');
is($run->{error}, 'table "crm.policed" has no column "name"', 'before the model runs, and says why');
is($node->sync('policed')->{status}, 'error', 'and the sync waits for somebody');

# Locks: others are waited for, and a batch that could not have them is tried
# again.
$node->sql(q{CREATE TABLE crm.locked (id int PRIMARY KEY, name text)}, %ann);
create_sync('locked', 'upsert', { max_attempts => 100 });
$node->set("signalsmith.lock_timeout = '200ms'");
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE crm.locked IN EXCLUSIVE MODE');
my $id = $node->trigger('locked', %ann);
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'crm.locked'::regclass}) or die;
my $waiting = $node->runner_pid;
$node->wait_until('the batch has been given up and tried again',
	sub { ($node->ask("SELECT count(*) FROM pg_stat_activity WHERE pid = $waiting AND wait_event_type IS DISTINCT FROM 'Lock'") // 0) > 0 });
$holder->query_safe('COMMIT');
$node->run_is($node->wait_for_run($id), { status => 'completed', rows_created => 1000, rows_failed => 0 }, 'a lock that is not to be had is waited for again');
$holder->query_safe('BEGIN; LOCK TABLE crm.locked IN EXCLUSIVE MODE');
$node->sql(q{SELECT signalsmith.update_sync('locked', '{"options": {"max_attempts": 2}}'); UPDATE people SET name = name || '.'}, %ann);
$run = $node->run_sync('locked');
$node->run_is($run, { rows_updated => 0, rows_failed => 1000 }, 'and after max_attempts its rows have failed');
like(errors($run), qr/^update rejected 2 55P03 canceling statement due to lock timeout\n/, 'rejected: it is known that nothing happened');
$holder->query_safe('COMMIT');
$node->run_is($node->run_sync('locked'), { rows_updated => 1000, rows_failed => 0 }, 'until the next run');
$holder->quit;

# A deadlock, of which the run is the victim, is over by the next attempt.
$node->sql(q{ALTER ROLE ann SET deadlock_timeout = '10ms'});
$node->set("signalsmith.lock_timeout = '1h'");
$node->sql(q{UPDATE people SET name = name || '.'}, %ann);
my $other = $node->background_psql('postgres');
$other->query_safe(q{SET deadlock_timeout = '1h'; BEGIN; UPDATE crm.locked SET name = name WHERE id = 700});
$id = $node->trigger('locked', %ann);
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND wait_event_type = 'Lock'}) or die;
$other->query_safe('UPDATE crm.locked SET name = name WHERE id = 1; COMMIT');
$node->run_is($node->wait_for_run($id), { status => 'completed', rows_updated => 1000, rows_failed => 0 }, 'a deadlock is tried again');
$other->quit;

# A trigger that runs too long, and one that is cancelled.
$node->sql(q{
	CREATE TABLE crm.slow (id int PRIMARY KEY, name text);
	CREATE FUNCTION crm.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.id = 3 THEN PERFORM pg_sleep(1000); END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER dawdle BEFORE INSERT ON crm.slow FOR EACH ROW EXECUTE FUNCTION crm.dawdle()}, %ann);
create_sync('slow', 'upsert', { timeout_seconds => 0.3, max_attempts => 1, batch_size => 10 });
$run = $node->run_sync('slow');
$node->run_is($run, { status => 'completed', rows_created => 990, rows_failed => 10 }, 'a statement that takes too long is stopped');
like(errors($run), qr/^create rejected 1 57014 canceling statement due to statement timeout\n/, 'and its rows say so');
$node->sql(q{SELECT signalsmith.update_sync('slow', '{"options": {"timeout_seconds": 600}}')}, %ann);
$id = $node->trigger('slow', %ann);
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND wait_event = 'PgSleep' AND query LIKE 'INSERT INTO crm.slow%'}) or die;
$node->sql("SELECT signalsmith.cancel_run('$id')", %ann);
$node->run_is($node->wait_for_run($id), { status => 'cancelled', rows_created => 0, rows_failed => 0 }, 'cancel_run stops a statement');

$node->stop;
done_testing();
