# Plans at their limits: a query that fails near its end, a parallel one, the
# widest tables and the largest values there are, and memory or temporary files that
# are not enough.  A run then fails as a whole, or only the rows that cannot be sent do.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main', conf => "log_statement = none\nsignalsmith.error_after = 1000\n");
my $recorder = Signalsmith::Recorder->start;
my $json = JSON::PP->new;

sub postmaster_pid { return (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0] }

# Sets a limit of the postmaster, and so of every process that it starts from now on.
sub limit
{
	my ($resource, $value) = @_;
	system('prlimit', '--pid', postmaster_pid(), "--$resource=$value:unlimited") == 0 or die 'prlimit failed';
	return;
}

# One test: a run has failed, and left nothing but its row.
sub failed_clean
{
	my ($run, $error, $what) = @_;
	my $number = $run->{id} =~ s/run_//r;
	is($run->{status}, 'failed', "$what: the run fails");
	like($run->{error}, $error, "$what: and says why");
	is($node->sql("SELECT (SELECT count(*) FROM signalsmith.outbox WHERE run_id = $number) + (SELECT count(*) FROM signalsmith.row_failure WHERE run_id = $number)"),
		0, "$what: nothing is staged");
	is($run->{requests}, 0, "$what: nothing was sent");
	return;
}

# --- a function that fails at row 900,000 of a million
$node->sql(q{
	CREATE FUNCTION checked(i int) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		IF i = 900000 AND EXISTS (SELECT FROM flaw) THEN RAISE EXCEPTION 'row % is not to be had', i; END IF;
		RETURN i;
	END $$;
	CREATE TABLE flaw ();
	INSERT INTO flaw DEFAULT VALUES;
	CREATE TABLE few AS SELECT i AS id FROM generate_series(1, 20) AS i});
$node->create_webhook_sync(
	name => 'million', query => 'SELECT checked(i) AS id, i / 3 AS x FROM generate_series(1, (SELECT CASE WHEN EXISTS (SELECT FROM flaw) THEN 1000000 ELSE 20 END)) AS i',
	primary_key => 'id', mode => 'mirror', url => $recorder->url, options => { max_delete_percent => 100 });
failed_clean($node->run_sync('million'), qr/row 900000 is not to be had/, 'a first run whose model fails at row 900,000');
$node->sql('DELETE FROM flaw');
$node->run_is($node->run_sync('million'), { status => 'completed', rows_created => 20 }, 'without the flaw: the rows are sent');
my $snapshot = $node->sql(q{SELECT * FROM signalsmith.snapshot('million') ORDER BY key::text});
$node->sql('INSERT INTO flaw DEFAULT VALUES');
failed_clean($node->run_sync('million'), qr/row 900000 is not to be had/, 'a later run whose model fails at row 900,000');
is($node->sql(q{SELECT * FROM signalsmith.snapshot('million') ORDER BY key::text}), $snapshot, 'the snapshot is as it was');

# --- where the time went
my $timing = $node->json(q{SELECT to_json(t) FROM signalsmith.run_timings t});
is_deeply([ grep { !defined $timing->{$_} } sort keys %$timing ], [], 'the run that was planned has all its timings');
cmp_ok($timing->{query_ms} + $timing->{diff_ms} + $timing->{stage_ms}, '<=',
	$node->sql(q{SELECT 1 + 1000 * extract(epoch FROM planned_at - started_at) FROM signalsmith.run WHERE planned_at IS NOT NULL}),
	'together they are no more than the time it took');
like("$timing->{staged} $timing->{memory}", qr/^\d+ (bytes|kB) \d+ (bytes|kB)$/, 'sizes are for people to read');

# --- a parallel plan: rows that only workers can have read
$node->sql(q{
	CREATE TABLE big AS SELECT i AS id, repeat('x', 100) AS x FROM generate_series(1, 5000) AS i;
	ALTER TABLE big SET (parallel_workers = 2);
	ANALYZE big;
	CREATE FUNCTION reader() RETURNS int LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$ BEGIN RETURN pg_backend_pid(); END $$;
	ALTER DATABASE postgres SET parallel_tuple_cost = 0;
	ALTER DATABASE postgres SET parallel_setup_cost = 0;
	ALTER DATABASE postgres SET min_parallel_table_scan_size = 0;
	ALTER DATABASE postgres SET parallel_leader_participation = off});
$recorder->reset;
$node->create_webhook_sync(
	name => 'parallel', query => 'SELECT id, x, reader() AS reader FROM big', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 1000 }, field_mappings => [ map { { source => $_, destination => $_ } } qw(id x reader) ]);
my $run = $node->run_sync('parallel');
$node->run_is($run, { status => 'completed', rows_created => 5000, rows_failed => 0 }, 'a parallel plan is staged');
my %readers = map { $_->{reader} => 1 } values %{ $recorder->state };
my $runner = $node->sql('SELECT runner_pid FROM signalsmith.run WHERE id = ' . $run->{id} =~ s/run_//r);
ok(%readers && !$readers{$runner}, 'its rows were read by parallel workers, not by the runner');
$node->sql('UPDATE big SET x = 0 WHERE id % 100 = 0; DELETE FROM big WHERE id % 100 = 1');
$node->sql(q{SELECT signalsmith.update_sync('parallel', '{"field_mappings": {"id": "id", "x": "x"}}')});
$node->run_is($node->run_sync('parallel'), { status => 'completed', rows_updated => 4950, rows_deleted => 50 }, 'another one after a change of the mappings');
$node->run_is($node->run_sync('parallel'), { requests => 0, rows_unchanged => 4950 }, 'in whatever order the rows come');
$node->sql("ALTER DATABASE postgres RESET $_") for qw(parallel_tuple_cost parallel_setup_cost min_parallel_table_scan_size parallel_leader_participation);

# --- 1,600 columns
$node->sql('CREATE TABLE wide (' . join(', ', 'id int', map { "column_$_ int" } 2 .. 1600) . ')');
$node->sql('INSERT INTO wide SELECT i, ' . join(', ', map { $_ % 3 ? $_ : 'NULL' } 2 .. 1600) . ' FROM generate_series(1, 50) AS i');
$node->create_webhook_sync(name => 'wide', query => 'SELECT * FROM wide', primary_key => 'id', url => $recorder->url('/wide'));
$recorder->reset;
$node->run_is($node->run_sync('wide'), { status => 'completed', rows_created => 50, rows_failed => 0 }, '1,600 columns are sent');
$node->check_delivery($recorder, q{SELECT json_build_object('id', id) AS key, to_json(w) AS data FROM wide w}, 'all of them');
$node->sql('UPDATE wide SET column_1600 = 0 WHERE id = 7');
$node->run_is($node->run_sync('wide'), { rows_updated => 1, rows_unchanged => 49 }, 'a change in the last one is seen');

# --- a value of 200 MB, and one of 900 MB
$recorder->reset;
$node->sql(q{
	CREATE TABLE large (id int PRIMARY KEY, x text);
	ALTER TABLE large ALTER COLUMN x SET STORAGE EXTENDED;
	INSERT INTO large VALUES (1, 'small'), (2, repeat('0123456789', 20000000))});
$node->create_webhook_sync(
	name => 'large', query => 'SELECT * FROM large', primary_key => 'id', url => $recorder->url('/large'), options => { timeout_seconds => 300 });
$run = $node->run_sync('large');
$node->run_is($run, { status => 'completed', rows_created => 2, rows_failed => 0 }, 'a value of 200 MB is sent');
cmp_ok($run->{bytes_sent}, '>', 200000000, 'all of it');
$recorder->reset;
$node->run_is($node->run_sync('large'), { requests => 0, rows_unchanged => 2 }, 'and then no more');
$node->sql(q{UPDATE large SET x = repeat(E'\x01', 50000000) WHERE id = 2});
$run = $node->run_sync('large');
$node->run_is($run, { status => 'completed', rows_failed => 1, rows_unchanged => 1, requests => 0 }, 'one that takes 300 MB as JSON is rejected');
is(($node->row_errors($run->{id}))[0]{code}, 'too_large', 'as too large');

# --- a record wider than a batch may be
my $config = quote({ base_url => $recorder->url, operations => { upsert => {
			request => { method => 'POST', envelope => '{{rows}}' }, batch => { max_records => 10, max_bytes => 1000 } } } });
$node->sql(qq{
	CREATE TABLE widths AS SELECT i AS id, repeat('x', CASE WHEN i = 5 THEN 2000 ELSE 300 END) AS x FROM generate_series(1, 9) AS i;
	SELECT signalsmith.create_model('widths', 'SELECT * FROM widths', '{id}') \\g /dev/null
	SELECT signalsmith.create_destination('widths', 'http', $config) \\g /dev/null
	SELECT signalsmith.create_sync('widths', 'widths', 'widths')});
$run = $node->run_sync('widths');
$node->run_is($run, { status => 'completed', rows_created => 8, rows_failed => 1, requests => 4 },
	'records that fit share requests; one that fits into none is rejected');
my ($error) = $node->row_errors($run->{id});
is_deeply($error->{key}, { id => 5 }, 'by its key');
like($error->{message}, qr/2\d\d\d bytes, and the destination takes 1000/, 'and by what it lacks');

# --- less memory than it takes
$node->sql(q{UPDATE large SET x = repeat('0123456789', 80000000) WHERE id = 2});
limit('as', 700000000);
failed_clean($node->run_sync('large'), qr/out of memory/, 'a value of 800 MB in 700 MB of memory');
$node->sql('DELETE FROM large WHERE id = 2');
$node->run_is($node->run_sync('large'), { status => 'completed', rows_unchanged => 1 }, 'without it, the run is as before');
$node->create_webhook_sync(
	name => 'two million', query => 'SELECT generate_series(1, 2000000) AS id', primary_key => 'id', mode => 'update', url => $recorder->url);
$node->run_is($node->run_sync('two million'), { status => 'completed', rows_processed => 2000000, requests => 0 }, 'two million rows fit');
limit('as', 'unlimited');

# --- no room for temporary files
$node->sql(q{
	CREATE TABLE scattered AS SELECT i AS id, i AS x FROM generate_series(1, 20000) AS i;
	CREATE FUNCTION place(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i'});
$node->create_webhook_sync(
	name => 'scattered', query => 'SELECT id, x FROM scattered ORDER BY place(id)', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 1000 });
$node->run_sync('scattered');
$node->set(q{signalsmith.diff_mem = '64kB'});
$node->set(q{temp_file_limit = '64kB'});
$node->sql(q{CREATE OR REPLACE FUNCTION place(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i * 7919 % 20000'; DELETE FROM scattered WHERE id = 77});
failed_clean($node->run_sync('scattered'), qr/temporary file size exceeds temp_file_limit/, 'a comparison that spills beyond temp_file_limit');
$node->set(q{temp_file_limit = -1});
$node->run_is($node->run_sync('scattered'), { status => 'completed', rows_deleted => 1, rows_unchanged => 19999 }, 'with room for it, it succeeds');
$node->set(q{signalsmith.diff_mem = '256MB'});

done_testing();
