# Rows that failed and that somebody accepts as they are: not sent again until
# they change, and the snapshot knows nothing of it.
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

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 20) AS i;
	CREATE ROLE ann LOGIN IN ROLE signalsmith_user; GRANT SELECT ON people TO ann;
	CREATE ROLE bob LOGIN IN ROLE signalsmith_user});
$node->create_webhook_sync(
	name => 'people', mode => 'mirror', query => 'SELECT id, name FROM people', primary_key => 'id',
	url => $recorder->url, role => 'ann');

sub accept_rows
{
	my ($run, $keys) = @_;
	return $node->sql("SELECT signalsmith.skip_rows('$run->{id}'" . ($keys ? ', ' . quote($keys) : '') . ')', role => 'ann');
}

sub skipped { return $node->sql(q{SELECT string_agg(operation || ' ' || (key->>'id'), ', ' ORDER BY key) FROM signalsmith.skipped_rows}) }

# --- creates that were refused
$recorder->rules({ reject => [ map { { id => $_ } } 1 .. 5 ] });
my $run = $node->run_sync('people');
$node->run_is($run, { rows_created => 15, rows_failed => 5 }, 'five rows are refused');

like($node->sql_error("SELECT signalsmith.skip_rows('$run->{id}')", role => 'bob'), qr/does not exist/, 'who may not see a run skips nothing of it');
my $error = $node->sql_error("SELECT signalsmith.skip_rows('$run->{id}', '[{\"id\": 1}, {\"id\": 7}]')", role => 'ann');
like($error, qr/run "\Q$run->{id}\E" has no failed row with the key \{"id": 7\}/, 'nor does who names a row that has not failed');
like($error, qr/HINT:  SELECT key FROM signalsmith.row_errors WHERE run_id = '\Q$run->{id}\E'/, 'and he is told where to look');
like($node->sql_error("SELECT signalsmith.skip_rows('$run->{id}', '[7]')", role => 'ann'), qr/keys must be.*HINT:  Write a key as/s, 'or how to write it');

is(accept_rows($run, { id => 1 }), 1, 'one row is skipped by its key');
is(accept_rows($run, [ { id => 2 }, { id => 3 } ]), 2, 'two by theirs');
is($node->sql(q{SELECT string_agg((key->>'id') || coalesce(' ' || skipped_by, ''), ', ' ORDER BY key) FROM signalsmith.row_errors}),
	'1 ann, 2 ann, 3 ann, 4, 5', 'row_errors says by whom');
is(skipped(), 'create 1, create 2, create 3', 'skipped_rows lists them');
is($node->sql(q{SELECT count(*) FROM signalsmith.snapshot('people') WHERE (key->>'id')::int <= 5}), 0, 'the snapshot has none of them');
is($node->sql(q{SELECT row_count FROM signalsmith.preview_counts('people') WHERE outcome = 'skipped'}), 3, 'a preview counts them');
$run = $node->run_sync('people');
$node->run_is($run, { rows_failed => 2, rows_unchanged => 15, rows_created => 0 }, 'the next run tries the others alone');
is(accept_rows($run), 2, 'all failed rows of a run are skipped without naming any');
$run = $node->run_sync('people');
$node->run_is($run, { status => 'completed', rows_failed => 0, requests => 0 }, 'then nothing is sent');
like($node->sql_error("SELECT signalsmith.skip_rows('$run->{id}')", role => 'ann'), qr/no failed rows.*HINT:  SELECT signalsmith.trigger_sync/s, 'and nothing is left to skip');

# --- until they change
$node->sql(q{UPDATE people SET name = 'changed' WHERE id = 1; DELETE FROM people WHERE id = 2});
$run = $node->run_sync('people');
$node->run_is($run, { rows_failed => 1, rows_deleted => 0 }, 'a row that has changed is tried again, one that never arrived is not deleted');
is($node->row_errors($run->{id}) ? ($node->row_errors($run->{id}))[0]{operation} : '', 'create', 'still as a create');
is(skipped(), 'create 3, create 4, create 5', 'neither is skipped any more');

# --- a full resync forgets what was skipped; so does retry_rows
$run = $node->wait_for_run($node->sql(q{SELECT signalsmith.trigger_sync('people', full_resync => true)}));
$node->run_is($run, { rows_failed => 4, rows_updated => 15 }, 'a full resync tries everything');
is(skipped(), '', 'and forgets what was skipped');
accept_rows($run);
$recorder->rules;
$run = $node->wait_for_run($node->sql("SELECT signalsmith.retry_rows('$run->{id}')", role => 'ann'));
$node->run_is($run, { rows_failed => 0, rows_created => 4 }, 'retry_rows takes a skip back');
is(skipped(), '', 'for good');

# --- updates and deletes
$recorder->rules({ reject => [ { id => 10 }, { id => 11 } ] });
$node->sql(q{UPDATE people SET name = 'new' WHERE id = 10; DELETE FROM people WHERE id = 11});
$run = $node->run_sync('people');
$node->run_is($run, { rows_failed => 2, rows_deleted => 0 }, 'an update and a delete are refused');
accept_rows($run);
is(skipped(), 'update 10, delete 11', 'both can be skipped');
$recorder->rules;
$node->run_is($node->run_sync('people'), { rows_failed => 0, rows_deleted => 0, rows_updated => 0, requests => 0 }, 'nothing is sent for them');
is($node->sql(q{SELECT count(*) FROM signalsmith.snapshot('people') WHERE key->>'id' IN ('10', '11')}), 2, 'the snapshot is as the destination is');
$node->sql(q{INSERT INTO people VALUES (11, 'name 11')});
$node->run_is($node->run_sync('people'), { rows_failed => 0, requests => 0 }, 'a row that is back as it was is there already');
is(skipped(), 'update 10', 'and its delete is no longer skipped');
$node->sql(q{DELETE FROM people WHERE id IN (10, 11)});
$node->run_is($node->run_sync('people'), { rows_deleted => 2 }, 'so that the next one is sent');

# --- rows that are refused before they are sent
$node->sql(q{CREATE TABLE odd (id int, name text, score float8);
	INSERT INTO odd VALUES (1, 'a', 'NaN'), (2, 'b', 1), (2, 'c', 1), (NULL, 'd', 1), (3, 'e', 1)});
$node->create_webhook_sync(name => 'odd', query => 'SELECT * FROM odd', primary_key => 'id', url => $recorder->url('/odd'));
$run = $node->run_sync('odd');
$node->run_is($run, { rows_created => 1, rows_failed => 4 }, 'rows are refused that cannot be sent');
$error = $node->sql_error("SELECT signalsmith.skip_rows('$run->{id}', '{\"id\": 2}')");
like($error, qr/cannot be skipped.*HINT:  Mend the data/s, 'those that cannot be told from others cannot be skipped');
is($node->sql("SELECT signalsmith.skip_rows('$run->{id}')"), 1, 'the others can');
$node->run_is($node->run_sync('odd'), { rows_failed => 3, requests => 0 }, 'and are not tried again');
$node->sql(q{INSERT INTO odd VALUES (1, 'a', 'NaN')});
$node->run_is($node->run_sync('odd'), { rows_failed => 5, rows_processed => 6, rows_unchanged => 1 }, 'unless their key comes twice');
is($node->sql(q{SELECT row_count FROM signalsmith.preview_counts('odd') WHERE outcome = 'skipped'}), 0, 'nothing is counted twice');

# --- with a snapshot that does not fit into memory, and keys that are hashed
$node->sql(q{CREATE TABLE many (id text PRIMARY KEY, name text);
	INSERT INTO many SELECT 'k' || i, 'name ' || i FROM generate_series(1, 6000) AS i});
$node->create_webhook_sync(name => 'many', mode => 'mirror', query => 'SELECT * FROM many', primary_key => 'id',
	url => $recorder->url('/many'), config => { batch_size => 500 });
$node->set("signalsmith.diff_mem = '64kB'");
$recorder->rules({ reject => [ map { { id => "k$_" } } 10, 2000, 4000 ] });
$node->run_is($node->run_sync('many'), { rows_created => 5997, rows_failed => 3 }, 'three of many rows are refused');
$node->sql(q{UPDATE many SET name = 'new' WHERE id IN ('k10', 'k500')});
$recorder->rules({ reject => [ map { { id => "k$_" } } 10, 500, 2000, 3000, 4000 ] });
$node->sql(q{DELETE FROM many WHERE id = 'k3000'});
$run = $node->run_sync('many');
$node->run_is($run, { rows_failed => 5, rows_unchanged => 5995 }, 'then an update and a delete, too');
is($node->sql("SELECT signalsmith.skip_rows('$run->{id}')"), 5, 'all can be skipped');
$node->run_is($node->run_sync('many'), { rows_failed => 0, rows_unchanged => 5995, requests => 0 }, 'and are');
$node->sql(q{UPDATE many SET name = 'newer' WHERE id IN ('k10', 'k2000')});
$node->run_is($node->run_sync('many'), { rows_failed => 2, rows_unchanged => 5995 }, 'until they change');
$recorder->rules;

# --- they go with their sync
$node->sql(q{SELECT signalsmith.reset_sync(name) FROM signalsmith.syncs});
is(skipped(), '', 'reset_sync forgets what was skipped');

done_testing();
