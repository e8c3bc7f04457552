# Values survive: 5,000 awkward rows arrive byte for byte as to_json prints them
# under fixed settings, whatever the role's settings and the database's encoding.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

$ENV{PGCLIENTENCODING} = 'UTF8';
my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;

# What the contract calls "the JSON form of values".
my $fixed = q{
	SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';
	SET bytea_output = 'hex'; SET extra_float_digits = 1;};

# A role whose own settings would change how nearly everything prints.
$node->sql(q{
	CREATE ROLE owner LOGIN IN ROLE signalsmith_user;
	ALTER ROLE owner SET TimeZone = 'Asia/Kathmandu';
	ALTER ROLE owner SET DateStyle = 'SQL, DMY';
	ALTER ROLE owner SET IntervalStyle = 'iso_8601';
	ALTER ROLE owner SET bytea_output = 'escape';
	ALTER ROLE owner SET extra_float_digits = -10;
	GRANT CREATE ON SCHEMA public TO owner;});

# A here-document, since q{} would take backslashes away.
$node->sql(<<'SQL');
	CREATE TYPE mood AS ENUM ('sad', 'so "so"', 'happy');
	CREATE DOMAIN percentage AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
	CREATE TYPE address AS (street text, number int, since date);
	CREATE TABLE awkward (
		id bigint PRIMARY KEY, small smallint, big bigint, amount numeric, scaled numeric(30, 12),
		double float8, single float4, moment timestamptz, local timestamp, day date, tod time, todz timetz,
		span interval, flag boolean, token uuid, document json, binary_document jsonb, numbers int[], words text[],
		matrix numeric[][], moments timestamptz[], home address, homes address[], raw bytea, feeling mood,
		share percentage, words_of_all text, padded char(7), label name, span_of int4range, host inet,
		bits bit varying, point point, "strange ""column"" näme" text);
	GRANT SELECT ON awkward TO owner;

	-- One of a few awkward values, or NULL, by the row's number; a different
	-- mixture for each column through "salt".
	CREATE FUNCTION pick(row_number bigint, salt int, VARIADIC choices text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
		SELECT CASE WHEN h % 7 = 0 THEN NULL ELSE choices[1 + h / 7 % cardinality(choices)] END
		FROM (SELECT abs(hashint8extended(row_number, salt) % 1000000007)) AS hashed(h) $$;

	-- Any characters that a text can hold.
	CREATE FUNCTION noise(row_number bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
		SELECT string_agg(chr(CASE WHEN h % 4 = 0 THEN 1 + h % 127 WHEN h % 4 = 1 THEN 128 + h % 2000
			WHEN h % 4 = 2 THEN 57344 + h % 8000 ELSE 65536 + h % 1000000 END), '')
		FROM generate_series(1, 1 + row_number % 20) AS position,
			LATERAL (SELECT (abs(hashint8extended(row_number, position)) % 1000000007)::int) AS hashed(h) $$;

	INSERT INTO awkward SELECT i, pick(i, 1, '-32768', '0', '32767')::smallint,
		coalesce(pick(i, 2, '9007199254740993', '-9223372036854775808', '9223372036854775807', '9007199254740992')::bigint, i),
		pick(i, 3, '1.50', '1.500', '0.0000000000000000000000000000000000001', '-0', '123456789012345678901234567890.123456789', '1e40', '100')::numeric,
		pick(i, 4, '1.5', '-2', '0', '999999999999999999.999999999999')::numeric,
		pick(i, 5, '0.1', '1e-300', '1.7976931348623157e308', '-0', '5e-324', '123456789.12345679', '100000000000000000000', '1e15', '1e16')::float8,
		pick(i, 6, '0.1', '3.4028235e38', '1e-45', '16777217', '-0')::float4,
		pick(i, 7, '2026-03-29 01:30:00+00', '2026-03-29 03:30:00.123456+02', '1900-01-01 00:00:00+00', '0044-03-15 12:00:00+00 BC', '99999-12-31 23:59:59+00', 'infinity', '-infinity', '2026-11-23 10:00:00.1+05:45')::timestamptz,
		pick(i, 8, '2026-02-28 23:59:59.999999', '0001-01-01 00:00:00', 'infinity', '2026-01-02 03:04:05')::timestamp,
		pick(i, 9, '2024-02-29', '0044-03-15 BC', '5874897-12-31', '-infinity', '2026-12-11')::date,
		pick(i, 10, '00:00', '24:00', '12:34:56.789')::time, pick(i, 11, '12:00+05:45', '00:00:00.000001-11')::timetz,
		pick(i, 12, '1 year 2 months -3 days 04:05:06.789', '-00:00:01', '0', '100 years')::interval,
		pick(i, 13, 't', 'f')::boolean,
		pick(i, 14, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid,
		pick(i, 15, '{"a" :  1, "a": 2.50 , "b":[ ]}', 'null', '"text"', '[1,  2, {"n": 1e5}]', '12345678901234567890.10', '""', '{"\u00e9": "\ud83d\ude00"}')::json,
		pick(i, 16, '{"b": 2.50, "a": [1, null, true]}', 'null', '"\u2028\n"', '12345678901234567890.10', '{}', '[[[]]]', '{"": ""}')::jsonb,
		pick(i, 17, '{1,NULL,-3}', '{}', '[5:6]={7,8}')::int[],
		pick(i, 18, '{"a,b","\"quoted\"",NULL,"NULL","","back\\slash"}', '{}', '{ä,😀}')::text[],
		pick(i, 19, '{{1.50,2},{3,4.000}}', '{{NULL,1},{2,3}}')::numeric[],
		pick(i, 20, '{2026-01-01 00:00:00+00,infinity,NULL}')::timestamptz[],
		CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN ROW(NULL, NULL, NULL)::address ELSE ROW(E'Rue "É"\n\t\\', i, '2020-01-02')::address END,
		CASE i % 3 WHEN 0 THEN NULL ELSE ARRAY[ROW('a', 1, '1999-12-31')::address, NULL] END,
		CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE int8send(i) || '\x00ff5c27'::bytea END,
		pick(i, 23, 'sad', 'so "so"', 'happy')::mood, pick(i, 24, '0', '100', '33.3')::percentage,
		CASE i % 6 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN noise(i)
			WHEN 3 THEN pick(i, 25, E'"', E'\\', E'\\n', E'\n', E'\r\n', E'\t', E'\u007f', E'\u0001\u001f', '</script>', '\u0041', 'NULL', 'null', ' ', E'\u2028\u2029', E'\ufeff', E'\uffff', E'a\u0301', '👩‍👩‍👧', '{{key}}', '${x}', '%s%n', $$'; DROP TABLE x; --$$)
			WHEN 4 THEN repeat(pick(i, 26, 'x', 'ß', '😀', '"'), 1 + (i % 3000)::int) ELSE 'plain ' || i END,
		pick(i, 27, 'a', '', 'é'), pick(i, 28, 'Name', 'na"me')::name, pick(i, 29, '[1,5)', 'empty', '(,)')::int4range,
		pick(i, 30, '10.0.0.1', '::1/64', '192.168.0.0/16')::inet, pick(i, 31, '101', '', '0000')::bit varying,
		pick(i, 32, '(1.5,-2)', '(0,0)')::point, pick(i, 33, 'straße', '')
	FROM generate_series(1, 5000) AS i;
SQL

my $query = 'SELECT * FROM awkward';
my $records = q{SELECT json_build_object('id', id) AS key, to_json(a) AS data FROM awkward a};
$node->create_webhook_sync(
	name => 'awkward', query => $query, primary_key => 'id', url => $recorder->url,
	config => { batch_size => 1 }, role => 'owner');

my $run = $node->run_sync('awkward');
$node->run_is($run, { status => 'completed', rows_processed => 5000, rows_created => 5000, rows_failed => 0 },
	'5,000 awkward rows are sent');

# Byte for byte: the text of "data" is what to_json prints.
my %expected = split /\0/, $node->sql("$fixed\nSELECT id || E'\\x01' || to_json(a) FROM awkward a") =~ s/\n/\0/gr =~ s/\x01/\0/gr;
is(scalar(keys %expected), 5000, 'to_json printed a line for each row');
my (%different, $arrived);
for my $request ($recorder->history)
{
	my $body = $request->{body};
	utf8::encode($body);
	my ($id) = $body =~ /"key":\s*\{"id":\s*(\d+)\}/;
	$arrived++;
	$different{$id} = $body if index($body, '"data":' . $expected{$id}) < 0 && index($body, '"data": ' . $expected{$id}) < 0;
}
is($arrived, 5000, 'each row arrived once');
is(scalar(keys %different), 0, 'and each is what to_json prints, byte for byte')
  or diag(join "\n", map { "$_: $different{$_}\n  expected $expected{$_}" } (sort keys %different)[ 0 .. 2 ]);

# The same through a JSON parser, as a receiver would see it.
my $table = $node->sql("$fixed\nSELECT json_object_agg(key::text, data) FROM ($records) AS r");
$recorder->check_history('each body parses to the same values', qq({"table":$table}));

# --- a second run, and changes that only show in the text
$recorder->reset;
$run = $node->run_sync('awkward');
$node->run_is($run, { requests => 0, rows_unchanged => 5000, rows_failed => 0 }, 'nothing has changed for the second run');
$node->sql(q{ALTER ROLE owner SET TimeZone = 'America/New_York'; ALTER ROLE owner RESET DateStyle; ALTER ROLE owner RESET extra_float_digits});
$run = $node->run_sync('awkward');
$node->run_is($run, { requests => 0, rows_unchanged => 5000 }, 'settings of the role change nothing');
$node->sql(q{
	UPDATE awkward SET amount = 1.5 WHERE id = 1;
	UPDATE awkward SET words_of_all = '' WHERE id = 2;
	UPDATE awkward SET words_of_all = NULL WHERE id = 3;
	UPDATE awkward SET document = '{"a":1}' WHERE id = 4});
$node->run_sync('awkward');
$node->sql(q{
	UPDATE awkward SET amount = 1.50 WHERE id = 1;
	UPDATE awkward SET words_of_all = NULL WHERE id = 2;
	UPDATE awkward SET words_of_all = '' WHERE id = 3;
	UPDATE awkward SET document = '{"a": 1}' WHERE id = 4});
$run = $node->run_sync('awkward');
$node->run_is($run, { rows_updated => 4, rows_failed => 0 }, 'a scale, an empty text, a NULL and the spelling of json are changes');

# --- what JSON cannot say is a rejected row with a reason
$node->sql(q{
	CREATE TABLE unsayable (id int PRIMARY KEY, double float8, single float4, amount numeric, doubles float8[]);
	INSERT INTO unsayable VALUES (1, 'NaN'), (2, 'Infinity'), (3, '-Infinity'), (4, 1.5);
	INSERT INTO unsayable (id, single) VALUES (5, 'NaN'), (6, 'Infinity');
	INSERT INTO unsayable (id, amount) VALUES (7, 'NaN'), (8, 'Infinity'), (9, '-Infinity'), (10, 2.50);
	INSERT INTO unsayable (id, doubles) VALUES (11, '{1,NaN}'), (12, '{1,2}');
	GRANT SELECT ON unsayable TO owner});
$recorder->reset;
$node->create_webhook_sync(
	name => 'unsayable', query => 'SELECT * FROM unsayable', primary_key => 'id', url => $recorder->url, role => 'owner');
$run = $node->run_sync('unsayable');
$node->run_is($run, { status => 'completed', rows_processed => 12, rows_created => 3, rows_failed => 9 }, 'NaN and Infinity are rejected');
my @errors = $node->row_errors($run->{id});
is(scalar(grep { $_->{outcome} eq 'rejected' && $_->{operation} eq 'create' && !defined $_->{http_status} } @errors), 9,
	'each with its row in row_errors, not sent');
my ($error) = grep { $_->{key}{id} == 2 } @errors;
like($error->{message}, qr/NaN or infinite/, 'the reason names the fault');
like($error->{message}, qr/double/, 'and the column');
is($recorder->figures->{records}, 3, 'the others arrived');

# --- keys of many types name their row
$node->sql(<<'SQL');
	CREATE TABLE keyed (code text, day date, token uuid, amount numeric, n int, PRIMARY KEY (code, day, token, amount));
	INSERT INTO keyed VALUES (E'a"\\\n😀', '2026-01-02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1.50, 1), ('', '0044-03-15 BC', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 0, 2);
	GRANT SELECT ON keyed TO owner;
SQL
$recorder->reset;
$node->create_webhook_sync(
	name => 'keyed', query => 'TABLE keyed', primary_key => [qw(code day token amount)], url => $recorder->url, role => 'owner', mode => 'mirror');
$run = $node->run_sync('keyed');
$table = $node->sql("$fixed\n" . q{SELECT json_object_agg(json_build_object('code', code, 'day', day, 'token', token, 'amount', amount)::text, to_json(k)) FROM keyed k});
$recorder->check_history('a key of four columns', qq({"table":$table}));
$node->sql('DELETE FROM keyed WHERE n = 1');
$run = $node->run_sync('keyed');
is($run->{rows_deleted}, 1, 'a row with such a key is deleted');
is($recorder->figures->{records}, 1, 'under the same key');

# --- a database that is not in UTF-8
$node->sql(q{CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
$node->sql(<<'SQL', database => 'latin');
	CREATE EXTENSION signalsmith;
	CREATE TABLE people (name text PRIMARY KEY, "straße" text, document json, words text[]);
	INSERT INTO people VALUES ('José', 'Königsallee ½', '{"é": "ü"}', '{ß,"\"ÿ\""}'), ('Zoë', '', '""', '{}');
SQL
$recorder->reset;
$node->create_webhook_sync(
	name => 'people', query => 'SELECT * FROM people', primary_key => 'name', url => $recorder->url, database => 'latin', mode => 'mirror');
$run = $node->run_sync('people', database => 'latin');
is($run->{rows_created}, 2, 'rows of a LATIN1 database are sent');
$table = $node->sql(q{SELECT json_object_agg(json_build_object('name', name)::text, to_json(p)) FROM people p}, database => 'latin');
$recorder->check_history('and arrive in UTF-8', qq({"table":$table}));
$node->sql(q{DELETE FROM people WHERE name = 'Zoë'}, database => 'latin');
$run = $node->run_sync('people', database => 'latin');
is($run->{rows_deleted}, 1, 'deletes convert as well');
is(join(',', keys %{ $recorder->state }), qq({"name":"Jos\x{e9}"}), 'under the same key');

done_testing();
