# Processes that die, or are taken over, between writing to a table and recording
# it.  Needs a build with "make FAULTS=1".
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
$node->skip_all_unless_faults;
my $once = PostgreSQL::Test::Utils::tempdir;
my $number = 0;

# The log has a line for each write that was committed: it would have two where a
# row was written twice, and nothing in the table tells.
$node->sql(q{
	CREATE ROLE ann LOGIN IN ROLE signalsmith_user;
	GRANT CREATE ON SCHEMA public TO ann});
my %ann = (role => 'ann');
$node->sql(q{
	CREATE TABLE events (id int PRIMARY KEY, what text);
	CREATE TABLE copy (id int, what text);
	CREATE INDEX ON copy (id);
	CREATE TABLE writes (operation text, id int);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO writes VALUES (lower(TG_OP), coalesce(NEW.id, OLD.id));
		RETURN NULL;
	END $$;
	CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON copy FOR EACH ROW EXECUTE FUNCTION note();
	SELECT signalsmith.create_model('events', 'SELECT * FROM events', '{id}');
	SELECT signalsmith.create_destination('tables', 'postgresql');
	SELECT signalsmith.create_sync('append', 'events', 'tables', 'append', object => 'copy', options => '{"batch_size": 100}')}, %ann);

sub strike
{
	my ($fault, $sync) = @_;
	$number++;
	$node->set("signalsmith.fault = '$fault\@$once/$number'");
	my $run = $node->trigger($sync, %ann);
	$node->wait_until("fault $fault strikes", sub { -e "$once/$number" });
	$node->wait_until('the server is there', sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 });
	return $run;
}

sub copy_is_exact
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->sql('SELECT count(*) FROM (TABLE copy EXCEPT ALL TABLE events) a'), 0, "$what: nothing is there that should not be");
	is($node->sql('SELECT count(*) FROM (TABLE events EXCEPT ALL TABLE copy) a'), 0, "$what: nothing is lost");
	return;
}

# Appending: each row is written once, whatever dies where.
for my $fault (
	'before-send:kill:3', 'after-answer:kill:3', 'before-acknowledgement:kill:3', 'after-acknowledgement:kill:3',
	'before-acknowledgement:fatal:5', 'before-acknowledgement:error:5', 'segment-insert:error:4')
{
	$node->sql(q{INSERT INTO events SELECT (SELECT coalesce(max(id), 0) FROM events) + i, 'event' FROM generate_series(1, 1000) i; TRUNCATE writes}, %ann);
	my $run = $node->wait_for_run(strike($fault, 'append'));
	$node->run_is($run, { status => 'completed', rows_created => 1000, rows_failed => 0 }, "append, $fault: the run goes on and counts each row once");
	copy_is_exact("append, $fault");
	is($node->sql('SELECT count(*), count(DISTINCT id) FROM writes'), '1000|1000', "append, $fault: each row was written once");
	$node->run_is($node->run_sync('append'), { requests => 0 }, "append, $fault: the next run writes nothing");
}

# A mirror as well, with updates and deletes.
$node->sql(q{SELECT signalsmith.create_sync('mirror', 'events', 'tables', 'mirror', object => 'copy', options => '{"batch_size": 100, "max_delete_percent": 100}')}, %ann);
$node->set("signalsmith.fault = ''");
$node->run_sync('mirror');
for my $fault ('before-acknowledgement:kill:2', 'before-acknowledgement:fatal:4')
{
	$node->sql(q{DELETE FROM events WHERE id % 20 = (SELECT count(*) % 20 FROM signalsmith.runs); UPDATE events SET what = what || '.' WHERE id % 10 = 3; TRUNCATE writes});
	my $changes = $node->sql(q{SELECT count(*) FROM (TABLE copy EXCEPT ALL TABLE events) a});
	my $run = $node->wait_for_run(strike($fault, 'mirror'));
	is($run->{status}, 'completed', "mirror, $fault: the run goes on");
	is($run->{rows_updated} + $run->{rows_deleted}, $changes, "mirror, $fault: and counts each change once");
	copy_is_exact("mirror, $fault");
	is($node->sql('SELECT count(*) - count(DISTINCT id) FROM writes'), 0, "mirror, $fault: each row was written once");
}

# A runner that was stopped for longer than its lease writes nothing any more.
$node->sql(q{SELECT signalsmith.update_sync('append', '{"options": {"batch_size": 100, "timeout_seconds": 1}}')}, %ann);
$node->sql(q{INSERT INTO events SELECT 100000 + i, 'late' FROM generate_series(1, 1000) i; TRUNCATE writes;}, %ann);
my $go = "$once/go";
my $run = strike("before-acknowledgement:wait=$go:3", 'append');
my $stopped = $node->runner_pid;
$node->poll_query_until('postgres', "SELECT status = 'completed' FROM signalsmith.runs WHERE id = '$run'") or die 'nobody took over';
open my $file, '>', $go or die;
close $file;
$node->run_is($node->wait_for_run($run), { status => 'completed', rows_created => 1000, rows_failed => 0 }, 'a run that was taken over completes');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $stopped") or die;
is($node->sql('SELECT count(*), count(DISTINCT id) FROM writes'), '1000|1000', 'and each row was written once, by one of the two');

# A table that makes the process crash each time stops its own sync, and no other.
$node->sql(q{SELECT signalsmith.create_sync('deadly', 'events', 'tables', 'append', object => 'copy')}, %ann);
$node->set("signalsmith.fault = 'before-send:abort'");
$node->sql('TRUNCATE copy', %ann);
my $id = $node->trigger('deadly', %ann);
$node->wait_until('the sync is in error', sub { $node->ask(q{SELECT status FROM signalsmith.syncs WHERE name = 'deadly'}) eq 'error' });
$node->set("signalsmith.fault = ''");
is($node->sql('SELECT count(*) FROM copy'), 0, 'and nothing of it was written');

$node->stop;
done_testing();
