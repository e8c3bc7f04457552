# A table as the destination: what arrives in it, in which mode.
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
	CREATE SCHEMA crm AUTHORIZATION ann;
	GRANT CREATE ON SCHEMA public TO ann});
my %ann = (role => 'ann');

# Has the same in two queries, as text?
sub same
{
	my ($left, $right, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->sql($left), $node->sql($right), $name);
	return;
}

sub create_sync
{
	my ($name, $query, $key, $mode, $mappings, $object, $options) = @_;
	my ($n, $q, $m, $f, $o, $p) = quote($name, $query, $mode, $mappings, $object, $options // {});
	$node->sql("SELECT signalsmith.create_model($n, $q, ARRAY[" . join(', ', quote(@$key)) . "]);
		SELECT signalsmith.create_sync($n, $n, 'crm', $m, $f, object => $o, options => $p)", %ann);
	return;
}

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, plan text);
	INSERT INTO people SELECT i, 'p' || i || '@example.com', 'free' FROM generate_series(1, 2500) i;
	SELECT signalsmith.create_destination('crm', 'postgresql', '{"schema": "crm"}')}, %ann);

# Upsert: rows that are there already are updated, and keep what is not mapped.
$node->sql(q{
	CREATE TABLE crm.contacts (id int PRIMARY KEY, email text NOT NULL, plan text, note text DEFAULT 'new');
	INSERT INTO crm.contacts VALUES (7, 'old', 'old', 'kept'), (9999, 'theirs', 'x', 'theirs')}, %ann);
create_sync('contacts', 'SELECT * FROM people', ['id'], 'upsert', undef, 'contacts');
$node->run_is($node->run_sync('contacts'),
	{ status => 'completed', rows_created => 2500, rows_failed => 0, requests => 3 }, 'upsert: three statements carry 2,500 rows');
same(q{SELECT id, email, plan FROM crm.contacts WHERE id < 9999 ORDER BY id}, q{SELECT * FROM people ORDER BY id}, 'upsert: the table holds the model');
is($node->sql('SELECT id, note FROM crm.contacts WHERE id IN (7, 8, 9999) ORDER BY id'), "7|kept\n8|new\n9999|theirs",
	'upsert: what is not mapped stays, or gets its default');
$node->sql(q{UPDATE people SET plan = 'pro' WHERE id <= 3; DELETE FROM people WHERE id = 4; DELETE FROM crm.contacts WHERE id = 3}, %ann);
$node->run_is($node->run_sync('contacts'), { rows_updated => 3, rows_created => 0, rows_deleted => 0, rows_unchanged => 2496 },
	'upsert: a changed row is written, even where somebody has deleted it');
is($node->sql(q{SELECT string_agg(id::text, ',' ORDER BY id) FROM crm.contacts WHERE plan = 'pro'}), '1,2,3', 'upsert: and is there');
$node->run_is($node->run_sync('contacts'), { requests => 0, rows_unchanged => 2499 }, 'upsert: nothing changed, nothing written');

# Mirror, by a key of two columns under other names.
$node->sql(q{
	CREATE TABLE visits (day date, page text, hits bigint, PRIMARY KEY (day, page));
	INSERT INTO visits SELECT date '2024-01-01' + i % 30, '/' || i, i FROM generate_series(1, 1500) i;
	CREATE TABLE crm.traffic ("The Day" date, path text, hits bigint, UNIQUE (path, "The Day"))}, %ann);
create_sync('visits', 'SELECT * FROM visits', [ 'day', 'page' ], 'mirror', { day => 'The Day', page => 'path', hits => 'hits' }, 'traffic');
$node->run_sync('visits');
$node->sql(q{DELETE FROM visits WHERE hits % 10 = 0; UPDATE visits SET hits = -1 WHERE hits % 10 = 1; INSERT INTO visits VALUES ('2030-01-01', '/"q''x', 0)}, %ann);
$node->run_is($node->run_sync('visits'), { status => 'completed', rows_created => 1, rows_updated => 150, rows_deleted => 150 }, 'mirror: creates, updates, deletes');
same(q{SELECT "The Day", path, hits FROM crm.traffic ORDER BY 1, 2}, q{SELECT * FROM visits ORDER BY 1, 2}, 'mirror: the table is the model');

# Mirror by an identifier that is not the key, and changes.
$node->sql(q{CREATE TABLE crm.mails (email text PRIMARY KEY, plan text)}, %ann);
create_sync('mails', 'SELECT * FROM people', ['id'], 'mirror',
	[ { source => 'email', destination => 'email', identifier => \1 }, { source => 'plan', destination => 'plan' } ], 'mails');
$node->run_sync('mails');
$node->sql(q{UPDATE people SET email = 'new@example.com' WHERE id = 10; DELETE FROM people WHERE id = 11}, %ann);
$node->run_is($node->run_sync('mails'), { rows_created => 1, rows_deleted => 2 }, 'mirror: another identifier is another row');
same(q{SELECT * FROM crm.mails ORDER BY 1}, q{SELECT email, plan FROM people ORDER BY 1}, 'mirror: the table is the model');

# Append: never an update, and what is there already is left alone.
$node->sql(q{
	CREATE TABLE crm.log (id int PRIMARY KEY, plan text);
	INSERT INTO crm.log VALUES (1, 'theirs')}, %ann);
create_sync('log', 'SELECT id, plan FROM people', ['id'], 'append', undef, 'log');
$node->run_is($node->run_sync('log'), { status => 'completed', rows_created => 2497, rows_processed => 2498, rows_failed => 0 }, 'append: inserts what is new');
is($node->sql('SELECT plan FROM crm.log WHERE id = 1'), 'theirs', 'append: a row that was there stays as it was');
$node->sql(q{UPDATE people SET plan = 'gold'; INSERT INTO people VALUES (5000, 'z@example.com', 'z')}, %ann);
$node->run_is($node->run_sync('log'), { rows_created => 1, rows_updated => 0 }, 'append: a later change is none');

# Update: what the table has, from the first run on; the rest is asked for again.
$node->sql(q{
	CREATE TABLE crm.known (id int PRIMARY KEY, plan text);
	INSERT INTO crm.known SELECT i, 'old' FROM generate_series(1, 100) i}, %ann);
create_sync('known', 'SELECT id, plan FROM people', ['id'], 'update', undef, 'known');
my $of_known = $node->sql('SELECT count(*) FROM people JOIN crm.known USING (id)');
$node->run_is($node->run_sync('known'), { status => 'completed', rows_updated => $of_known, rows_created => 0, rows_failed => 0 }, 'update: the first run updates what is there');
is($node->sql(q{SELECT count(*), count(*) FILTER (WHERE plan = 'gold') FROM crm.known}), "100|$of_known", 'update: and creates nothing');
$node->sql(q{INSERT INTO crm.known VALUES (101, 'old')}, %ann);
$node->run_is($node->run_sync('known'), { rows_updated => 1, rows_unchanged => $of_known }, 'update: a row that appears is updated by the next run');

# No unique index, and a view: rows are looked for.
$node->sql(q{
	CREATE TABLE crm.heap (id int, plan text);
	INSERT INTO crm.heap VALUES (1, 'old'), (1, 'old too');
	CREATE TABLE crm.base (id int PRIMARY KEY, plan text, hidden text DEFAULT 'h');
	CREATE VIEW crm.view AS SELECT id, plan FROM crm.base}, %ann);
create_sync('heap', 'SELECT id, plan FROM people WHERE id <= 1200', ['id'], 'mirror', undef, 'heap');
create_sync('view', 'SELECT id, plan FROM people WHERE id <= 1200', ['id'], 'mirror', undef, 'view');
for my $sync (qw(heap view))
{
	$node->run_sync($sync);
	$node->sql(q{UPDATE people SET plan = plan || '+' WHERE id % 7 = 0; DELETE FROM people WHERE id % 100 = 50}, %ann);
	$node->run_is($node->run_sync($sync), { status => 'completed', rows_failed => 0, rows_created => 0 }, "$sync: updates and deletes");
	same("SELECT DISTINCT id, plan FROM crm.$sync ORDER BY id", q{SELECT id, plan FROM people WHERE id <= 1200 ORDER BY id}, "$sync: holds the model");
}
is($node->sql('SELECT count(*) FROM crm.heap WHERE id = 1'), 2, 'heap: both rows of one key are updated, none is added');

# Partitions.
$node->sql(q{
	CREATE TABLE crm.parted (id int PRIMARY KEY, plan text) PARTITION BY HASH (id);
	CREATE TABLE crm.parted_0 PARTITION OF crm.parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE crm.parted_1 PARTITION OF crm.parted FOR VALUES WITH (MODULUS 2, REMAINDER 1)}, %ann);
create_sync('parted', 'SELECT id, plan FROM people', ['id'], 'mirror', undef, 'parted');
$node->run_sync('parted');
$node->sql(q{UPDATE people SET plan = 'x'}, %ann);
$node->run_sync('parted');
same('SELECT * FROM crm.parted ORDER BY id', 'SELECT id, plan FROM people ORDER BY id', 'partitions hold the model');

# Every kind of value arrives as it was.
$node->sql(q{
	CREATE TYPE mood AS ENUM ('sad', 'happy');
	CREATE TYPE point3 AS (x int, y numeric, label text);
	CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> 'bad');
	CREATE TABLE things (id int PRIMARY KEY, n numeric, f float8, r real, big bigint, t text, ts timestamptz, local timestamp, d date,
		i interval, b bytea, j json, jb jsonb, a int[], ta text[], aa int[][], m mood, s short, c point3, u uuid, rg int4range, bo boolean, o oid, ip inet, mny money);
	INSERT INTO things VALUES
		(1, 12345678901234567890.123456789012345678901, 0.1, 1.1, 9223372036854775807, E'q"\\\t\n''\u00e9\U0001F600', '2024-02-29 12:34:56.789012+05:30',
		 '2024-01-01 00:00:00.000001', '0044-03-15 BC', '-1 year 2 mons -3 days +04:05:06.7', '\x00ff27', '{"a":1.10,"a":[null,"x"]}',
		 '{"big": 12345678901234567890.10, "u": "\u00e9"}', '{1,NULL,3}', '{"a,b","\"q\"",NULL,""}', '{{1,2},{3,4}}', 'happy', 'abcde',
		 '(1,2.50,"a, b")', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[1,5)', true, 4294967295, '10.0.0.0/8', '-1234.56'),
		(2, -0.00, '-0', 1e-30, -1, '', 'infinity', '-infinity', 'infinity', '0', '', '[]', '"null"', '{}', '{}', '{}', 'sad', '',
		 '(,,)', '00000000-0000-0000-0000-000000000000', 'empty', false, 0, '::1', '0');
	INSERT INTO things (id) VALUES (3);
	CREATE TABLE crm.things (LIKE things, PRIMARY KEY (id));
	ALTER ROLE ann SET datestyle = 'German'; ALTER ROLE ann SET intervalstyle = 'sql_standard'; ALTER ROLE ann SET timezone = 'Asia/Kolkata'}, %ann);
create_sync('things', 'SELECT * FROM things', ['id'], 'mirror', undef, 'things');
$node->run_is($node->run_sync('things'), { status => 'completed', rows_created => 3, rows_failed => 0 }, 'values: all rows are accepted');
for my $column (split /\n/, $node->sql(q{SELECT attname FROM pg_attribute WHERE attrelid = 'things'::regclass AND attnum > 0 ORDER BY attnum}))
{
	same("SELECT id, ($column)::text AS v FROM crm.things ORDER BY id", "SELECT id, ($column)::text AS v FROM things ORDER BY id", "values: $column");
}

# Nested fields become the object of a column.
$node->sql(q{CREATE TABLE crm.nested (id int PRIMARY KEY, address jsonb, pos point3)}, %ann);
create_sync('nested', q{SELECT 1 AS id, 'Rome' AS city, 1.50 AS lat, '{"x":1}'::json AS geo}, ['id'], 'upsert',
	[ { source => 'id', destination => 'id' }, { source => 'city', destination => 'address.city' }, { source => 'geo', destination => 'address.geo.raw' },
	  { source => 'lat', destination => 'pos.y' }, { constant => 'here', destination => 'pos.label' } ], 'nested');
$node->run_sync('nested');
is($node->sql('SELECT address, pos FROM crm.nested'), '{"geo": {"raw": {"x": 1}}, "city": "Rome"}|(,1.50,here)', 'nested fields make up an object');

# on_null omit: what is left out keeps its value, or gets its default.
$node->sql(q{
	CREATE TABLE crm.sparse (id int PRIMARY KEY, a text DEFAULT 'da', b text DEFAULT 'db');
	INSERT INTO crm.sparse VALUES (1, 'a1', 'b1'), (2, 'a2', 'b2');
	CREATE TABLE sparse (id int PRIMARY KEY, a text, b text);
	INSERT INTO sparse VALUES (1, 'x', NULL), (2, NULL, 'y'), (3, NULL, 'z'), (4, NULL, NULL)}, %ann);
create_sync('sparse', 'SELECT * FROM sparse', ['id'], 'upsert', undef, 'sparse', { on_null => 'omit' });
$node->run_is($node->run_sync('sparse'), { status => 'completed', rows_created => 4 }, 'omit: all rows are written');
is($node->sql('SELECT * FROM crm.sparse ORDER BY id'), "1|x|b1\n2|a2|y\n3|da|z\n4|da|db", 'omit: NULLs change nothing');

# Two rows of the model that are one row of the table.
$node->sql(q{CREATE TABLE crm.plans (plan text PRIMARY KEY, example int)}, %ann);
create_sync('plans', q{SELECT i AS id, 'p' || i / 2 AS plan FROM generate_series(1, 100) i}, ['id'], 'upsert',
	[ { source => 'plan', destination => 'plan', identifier => \1 }, { source => 'id', destination => 'example' } ], 'plans');
$node->run_is($node->run_sync('plans'), { status => 'completed', rows_created => 100, rows_failed => 0 }, 'rows of one identifier are written one after the other');
is($node->sql('SELECT count(*) FROM crm.plans'), 51, 'and are one row of the table');

$node->stop;
done_testing();
