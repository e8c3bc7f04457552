# A table of another server, behind postgres_fdw, as the destination.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Test::More;

my $far = PostgreSQL::Test::Cluster->new('far');
$far->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$far->start;
my $node = Signalsmith::Cluster->start_new('main');

$far->safe_psql('postgres', q{
	CREATE ROLE writer LOGIN;
	CREATE TABLE contacts (id int PRIMARY KEY, name text NOT NULL CHECK (name <> 'bad'), plan text, UNIQUE (name) DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE pairs (a int, b text, n numeric, PRIMARY KEY (a, b));
	GRANT ALL ON ALL TABLES IN SCHEMA public TO writer;
	INSERT INTO contacts SELECT i, 'theirs ' || i FROM generate_series(100001, 150000) i});
my ($host, $port) = ($far->host, $far->port);
$node->sql(qq{
	CREATE EXTENSION postgres_fdw;
	CREATE ROLE ann LOGIN IN ROLE signalsmith_user;
	GRANT CREATE ON SCHEMA public TO ann;
	CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres');
	GRANT USAGE ON FOREIGN SERVER far TO ann});
my %ann = (role => 'ann');

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text, plan text);
	INSERT INTO people SELECT i, 'name ' || i, 'free' FROM generate_series(1, 1500) i;
	CREATE FOREIGN TABLE contacts (id int, name text, plan text) SERVER far;
	CREATE FOREIGN TABLE fixed (id int, name text) SERVER far OPTIONS (table_name 'contacts', updatable 'false');
	CREATE FOREIGN TABLE pairs (a int, b text, n numeric) SERVER far;
	SELECT signalsmith.create_destination('far', 'postgresql');
	SELECT signalsmith.create_model('people', 'SELECT * FROM people', '{id}');
	SELECT signalsmith.create_model('pairs', $$SELECT id % 10 AS a, 'b' || id AS b, id * 1.10 AS n FROM people WHERE id <= 300$$, '{a,b}')}, %ann);

sub table_is
{
	my ($table, $query, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($far->safe_psql('postgres', "SELECT * FROM $table"), $node->sql($query), $name);
	return;
}

# How often the table was read as a whole, by sessions that are over.
sub whole_reads
{
	$far->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'}) or die;
	return $far->safe_psql('postgres', q{SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'contacts'});
}

# What is missing is said when the sync is saved.
my $create = q{SELECT signalsmith.create_sync('contacts', 'people', 'far', 'mirror', object => 'contacts')};
like($node->sql_error($create, %ann), qr/role "ann" has no user mapping for server "far".*HINT:\s+CREATE USER MAPPING FOR ann SERVER far/s, 'a user mapping is needed');
$node->sql(q{CREATE USER MAPPING FOR ann SERVER far OPTIONS (user 'writer', password_required 'false')});
like($node->sql_error(q{SELECT signalsmith.create_sync('fixed', 'people', 'far', 'upsert', '{"id":"id"}', object => 'fixed')}, %ann),
	qr/table "public.fixed" does not allow INSERT, which mode "upsert" needs/, 'and a table that can be written');
$node->sql($create, %ann);
is($node->sql(q{SELECT step, ok, detail FROM signalsmith.test_destination('far')}, %ann), 'table|t|public.contacts: sync "contacts" can write to it', 'test_destination connects');

# Mirror.  Of 50,000 rows of others none is fetched.
my $run = $node->run_sync('contacts', %ann);
$node->run_is($run, { status => 'completed', rows_created => 1500, rows_failed => 0 }, 'mirror: rows arrive at the other server');
table_is('contacts WHERE id <= 1500 ORDER BY id', 'SELECT * FROM people ORDER BY id', 'mirror: and are the model');
$node->sql(q{UPDATE people SET plan = 'pro' WHERE id % 5 = 0; DELETE FROM people WHERE id % 7 = 0; INSERT INTO people VALUES (2000, 'new', 'x')}, %ann);
$far->safe_psql('postgres', 'ANALYZE contacts');
my $before = whole_reads();
$node->run_is($node->run_sync('contacts'), { status => 'completed', rows_created => 1, rows_updated => 258, rows_deleted => 214 }, 'mirror: creates, updates, deletes');
is(whole_reads(), $before, 'mirror: rows are found by their key, not by reading the table');
table_is('contacts WHERE id <= 2000 ORDER BY id', 'SELECT * FROM people ORDER BY id', 'mirror: and it is the model again');
is($far->safe_psql('postgres', 'SELECT count(*) FROM contacts WHERE id > 100000'), 50000, 'mirror: what is not ours stays');

# A key of two columns; append, twice over.
$node->sql(q{SELECT signalsmith.create_sync('pairs', 'pairs', 'far', 'append', object => 'pairs')}, %ann);
$run = $node->run_sync('pairs');
is($run->{rows_created}, $node->sql(q{SELECT count(*) FROM people WHERE id <= 300}), 'append: rows arrive');
$node->sql(q{SELECT signalsmith.reset_sync('pairs')}, %ann);
$node->run_is($node->run_sync('pairs'), { status => 'completed', rows_created => 0, rows_failed => 0 }, 'append: what was repeated finds its rows');
table_is('pairs ORDER BY a, b', q{SELECT id % 10, 'b' || id, id * 1.10 FROM people WHERE id <= 300 ORDER BY 1, 2}, 'append: and nothing is there twice');
$node->sql(q{SELECT signalsmith.update_sync('pairs', '{"mode": "mirror"}'); DELETE FROM people WHERE id <= 20}, %ann);
$node->run_is($node->run_sync('pairs'), { status => 'completed', rows_failed => 0, rows_deleted => 18 }, 'mirror: deletes by two columns');

# What the other server refuses is a row's error, even what it refuses at its
# commit.
$node->sql(q{UPDATE people SET name = 'bad' WHERE id = 100; UPDATE people SET name = 'theirs 100001' WHERE id = 200; UPDATE people SET name = name || '!' WHERE id BETWEEN 101 AND 199}, %ann);
$run = $node->run_sync('contacts');
is($run->{status}, 'completed', 'rows that the server refuses do not fail the run');
is_deeply([ map { [ $_->{key}{id}, $_->{outcome}, $_->{code} ] } grep { $_->{operation} eq 'update' } $node->row_errors($run->{id}) ],
	[ [ 100, 'rejected', '23514' ], [ 200, 'rejected', '23505' ] ], 'they are found and named, a deferred constraint\'s too');

# The server is away: the run tries again, and goes on when it is back.
$node->sql(q{UPDATE people SET name = 'name ' || id, plan = 'back'}, %ann);
$far->stop('fast');
my $id = $node->trigger('contacts', %ann);
my $log = $node->logfile;
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND query = 'signalsmith: writing' AND xact_start IS NULL}) or die;
$far->start;
$run = $node->wait_for_run($id);
$node->run_is($run, { status => 'completed', rows_failed => 0 }, 'a server that comes back is written to');
table_is('contacts WHERE id <= 2000 ORDER BY id', 'SELECT * FROM people ORDER BY id', 'and holds the model');

# It stays away: the run fails, no row is blamed, and the next one goes on.
$node->sql(q{UPDATE people SET plan = 'away'}, %ann);
$far->stop('fast');
$run = $node->run_sync('contacts');
is($run->{status}, 'failed', 'a server that stays away fails the run');
like($run->{error}, qr/^could not reach the destination: could not connect to server "far"/, 'which says why');
is(scalar $node->row_errors($run->{id}), 0, 'and blames no row');
is($node->sync('contacts')->{status}, 'active', 'the sync goes on by itself');
like($node->sql(q{SELECT detail FROM signalsmith.test_destination('far') WHERE NOT ok}, %ann), qr/^sync "contacts": could not connect to server "far"/m, 'test_destination says so as well');
$far->start;
$node->run_is($node->run_sync('contacts'), { status => 'completed', rows_failed => 0 }, 'the next run writes everything');
table_is('contacts WHERE id <= 2000 ORDER BY id', 'SELECT * FROM people ORDER BY id', 'and the table is the model');

$node->stop;
$far->stop;
done_testing();
