# Keys that are NULL or duplicated, models whose columns vanish or change, queries
# that fail: rows are rejected by name, or the run fails and says why.
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

# --- NULL and duplicated keys
$node->sql(q{
	CREATE TABLE people (id int, name text);
	INSERT INTO people VALUES (1, 'one'), (2, 'two'), (2, 'two again'), (NULL, 'nobody'), (3, 'three'), (2, 'and again')});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url);
my $run = $node->run_sync('people');
$node->run_is($run, { status => 'completed', rows_processed => 6, rows_created => 2, rows_failed => 4 },
	'rows without a key and rows that share one are rejected');
my @errors = $node->row_errors($run->{id});
is_deeply([ map { $_->{key} } @errors ], [ { id => 2 }, { id => 2 }, { id => 2 }, { id => undef } ], 'each is named');
is_deeply([ sort keys %{ $recorder->state } ], [ '{"id":1}', '{"id":3}' ], 'and none is sent');
like($errors[0]{message}, qr/duplicate/i, 'the reason of a duplicate');
like($errors[3]{message}, qr/null/i, 'the reason of a missing key');

# A record that was sent and whose key is then duplicated counts as present.
$node->sql(q{INSERT INTO people VALUES (3, 'three again')});
$run = $node->run_sync('people');
$node->run_is($run, { rows_deleted => 0, rows_failed => 6, rows_unchanged => 1 }, 'a record with a duplicated key is not deleted');
is($recorder->figures->{records}, 2, 'it is still there');
$node->sql(q{DELETE FROM people WHERE name = 'three again'; UPDATE people SET id = NULL WHERE name LIKE '%again'});
$run = $node->run_sync('people');
$node->run_is($run, { rows_created => 1, rows_deleted => 0, rows_failed => 3, rows_unchanged => 2 }, 'once unique, it is sent');

# Equal is what the key's type says.
$node->sql(q{
	CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	CREATE TABLE words (word text COLLATE nocase, amount numeric);
	INSERT INTO words VALUES ('Ada', 1.0), ('ADA', 2), ('Bob', 3)});
$node->create_webhook_sync(name => 'words', query => 'SELECT * FROM words', primary_key => 'word', url => $recorder->url);
$node->run_is($node->run_sync('words'), { rows_created => 1, rows_failed => 2 }, 'keys equal by their collation are duplicates');
$node->sql(q{UPDATE words SET amount = 1.00 WHERE word = 'ADA'});
$node->create_webhook_sync(name => 'amounts', query => 'SELECT * FROM words', primary_key => 'amount', url => $recorder->url);
$node->run_is($node->run_sync('amounts'), { rows_created => 1, rows_failed => 2 }, 'and 1.0 is 1.00');

# --- columns that are no longer what they were
$node->sql(q{CREATE TABLE things (id int PRIMARY KEY, a text, b text, c text); INSERT INTO things VALUES (1, 'a', '2', 'c')});
my $before = $recorder->figures->{requests};
for my $case (
	[ 'vanished', 'ALTER TABLE things DROP COLUMN a', qr/"a"/ ],
	[ 'retyped', 'ALTER TABLE things ALTER COLUMN b TYPE int USING b::int', qr/"b".*(text.*integer|integer.*text)/s ],
	[ 'renamed', 'ALTER TABLE things RENAME COLUMN c TO d', qr/"c"/ ],
	[ 'gone', 'DROP TABLE things', qr/things.*does not exist/ ])
{
	my ($what, $change, $error) = @$case;
	my $columns = { vanished => 'id, a', retyped => 'id, b', renamed => 'id, c', gone => 'id' }->{$what};
	$node->create_webhook_sync(name => $what, query => "SELECT $columns FROM things", primary_key => 'id', url => $recorder->url);
	$node->sql($change);
	my $run = $node->run_sync($what);
	is($run->{status}, 'failed', "column $what: the run fails");
	like($run->{error}, $error, "column $what: and says which");
}
is($recorder->figures->{requests}, $before, 'nothing was sent');

# SELECT * that gains a column goes on; one that loses an unmapped column too.
$node->sql(q{CREATE TABLE wide (id int PRIMARY KEY, a text, b text); INSERT INTO wide VALUES (1, 'a', 'b')});
$node->create_webhook_sync(name => 'wide', query => 'SELECT * FROM wide', primary_key => 'id', url => $recorder->url,
	field_mappings => [ { source => 'a', destination => 'a' } ]);
$node->sql('ALTER TABLE wide DROP COLUMN b, ADD COLUMN c int');
is($node->run_sync('wide')->{status}, 'completed', 'columns that are not mapped may come and go');

# --- a query that fails
$node->sql(q{CREATE TABLE quotients (id int PRIMARY KEY, by int); INSERT INTO quotients SELECT i, i - 900 FROM generate_series(1, 1000) AS i});
$node->create_webhook_sync(name => 'quotients', query => 'SELECT id, 1 / by AS q FROM quotients', primary_key => 'id', mode => 'mirror', url => $recorder->url);
$before = $recorder->figures->{requests};
$run = $node->run_sync('quotients');
$node->run_is($run, { status => 'failed', rows_created => 0, requests => 0 }, 'a query that fails fails the run');
like($run->{error}, qr/division by zero/, 'with its own message');
is($recorder->figures->{requests}, $before, 'and nothing of it is sent');
$node->sql('UPDATE quotients SET by = 1 WHERE by = 0');
is($node->run_sync('quotients')->{rows_created}, 1000, 'once it works, it is all sent');
$node->sql('UPDATE quotients SET by = 0 WHERE id = 900');
$run = $node->run_sync('quotients');
is($run->{status}, 'failed', 'and when it fails again');
is($run->{rows_deleted}, 0, 'no delete is derived from half of it');
is($node->sync('quotients')->{rows_in_snapshot}, 1000, 'the snapshot is as it was');

# --- a model writes nothing
$node->sql(q{
	CREATE TABLE canary (n int); INSERT INTO canary VALUES (0);
	CREATE FUNCTION meddle() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN UPDATE canary SET n = n + 1; RETURN 1; END $$});
$node->create_webhook_sync(name => 'meddling', query => 'SELECT meddle() AS id', primary_key => 'id', url => $recorder->url);
$run = $node->run_sync('meddling');
is($run->{status}, 'failed', 'a model that writes fails');
like($run->{error}, qr/read-only/, 'since it is read only');
is($node->sql('SELECT n FROM canary'), 0, 'and it wrote nothing');

done_testing();
