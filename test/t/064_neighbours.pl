# How we behave to the rest of the server: what its statistics show of us, and what
# becomes of databases that we are at work in.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(time);

my $node = Signalsmith::Cluster->start_new('main', conf => <<'CONF');
shared_preload_libraries = 'signalsmith, pg_stat_statements'
allow_in_place_tablespaces = on
CONF
my $recorder = Signalsmith::Recorder->start;

sub create_people
{
	my ($database) = @_;
	$node->sql(q{CREATE TABLE people AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 1000) AS i}, database => $database);
	$node->create_webhook_sync(
		name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url("/$database"),
		config => { batch_size => 100 }, database => $database);
	return;
}

# --- statistics
$node->sql('CREATE EXTENSION pg_stat_statements');
create_people('postgres');
$node->sql(q{SELECT signalsmith.update_sync('people', '{"schedule":{"type":"interval","interval_seconds":1}}'); SELECT pg_stat_statements_reset()});
ok($node->poll_query_until('postgres', q{SELECT count(*) >= 2 FROM signalsmith.runs WHERE status = 'completed' AND trigger = 'schedule'}), 'two runs have taken place');
$node->sql(q{SELECT signalsmith.update_sync('people', '{"schedule":{"type":"manual"}}')});
is($node->sql(q{SELECT query FROM pg_stat_statements s WHERE query ~ 'signalsmith\.' AND query !~ 'signalsmith.(runs|update_sync)|pg_stat_statements'}), '',
	'our own statements are not in pg_stat_statements');
is($node->sql(q{SELECT count(*) FROM pg_stat_statements WHERE query = 'SELECT id, name FROM people'}), 1, 'the model is');
ok($node->poll_query_until('postgres', qq{SELECT bool_and(n_tup_ins + n_tup_upd > 0 AND n_mod_since_analyze > 0) FROM pg_stat_all_tables WHERE relid IN ('signalsmith.$_'::regclass)}),
	"what is done to signalsmith.$_ is counted, so that autovacuum sees to it") for qw(run segment outbox);

# --- what is seen of a wait
$recorder->rules({ hold => 1 });
$node->sql(q{UPDATE people SET name = name || '.'});
my $run = $node->trigger('people');
$recorder->wait_for(held => 1);
my $waits = 'Extension|' . ($node->sql('SHOW server_version_num') >= 170000 ? 'Signalsmith.*' : 'Extension');
like($node->sql(qq{SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'signalsmith $_'}), qr/^$waits$/, "a $_ that waits says so")
  for qw(launcher runner);
$recorder->rules;
$recorder->release;
$node->wait_for_run($run);

# --- a database is renamed, moved, copied, dropped while we send from it: it takes
# nobody longer than the server's own patience, and cancel_run makes room
$node->sql(q{CREATE TABLESPACE elsewhere LOCATION ''});
$node->sql('CREATE ROLE plain LOGIN CREATEDB');
my $offset = -s $node->logfile;
my $count = 0;
for my $case (
	[ 'SET SESSION AUTHORIZATION plain; ALTER DATABASE %s RENAME TO %s_renamed', '%s_renamed' ],
	[ 'ALTER DATABASE %s SET TABLESPACE elsewhere', '%s' ],
	[ 'CREATE DATABASE %s_copy TEMPLATE %s', '%s' ],
	[ 'SET SESSION AUTHORIZATION plain; DROP DATABASE %s', undef ])
{
	my ($statement, $after) = @$case;
	my $database = 'busy' . ++$count;
	$statement =~ s/%s/$database/g;
	$node->sql("CREATE DATABASE $database");
	$node->sql('CREATE EXTENSION signalsmith', database => $database);
	create_people($database);
	$node->sql("ALTER DATABASE $database OWNER TO plain");
	$recorder->reset;
	$recorder->rules({ hold => 1 });
	$run = $node->trigger('people', database => $database);
	$recorder->wait_for(held => 1);
	my $began = time;
	my (undef, undef, $error) = $node->psql('postgres', $statement);
	like($error, qr/is being accessed by other users|other session/, "busy: $statement");
	cmp_ok(time - $began, '<', 8, 'is refused within the server\'s 5 s');
	$began = time;
	$node->sql("SELECT signalsmith.cancel_run('$run')", database => $database);
	my ($status, undef, $message) = $node->psql('postgres', $statement);
	is($status, 0, 'after cancel_run it works') or diag $message;
	cmp_ok(time - $began, '<', 6, 'within 6 s');
	$recorder->rules;
	$recorder->release;
	is($node->run_sync('people', database => sprintf $after, $database)->{status}, 'completed', 'and the database goes on') if $after;
}

# --- a database that is gone while something is due in it
$node->sql('CREATE DATABASE gone');
$node->sql('CREATE EXTENSION signalsmith', database => 'gone');
create_people('gone');
$node->sql(q{SELECT signalsmith.update_sync('people', '{"schedule":{"type":"interval","interval_seconds":1}}')}, database => 'gone');
$node->poll_query_until('gone', q{SELECT count(*) >= 2 FROM signalsmith.runs}) or die;
my $gone = $node->sql(q{SELECT oid FROM pg_database WHERE datname = 'gone'});
$node->sql('DROP DATABASE gone WITH (FORCE)');

# One that takes no connections any more.
$node->sql('CREATE DATABASE closed');
$node->sql('CREATE EXTENSION signalsmith', database => 'closed');
create_people('closed');
$node->sql(q{SELECT signalsmith.update_sync('people', '{"schedule":{"type":"interval","interval_seconds":1}}')}, database => 'closed');
$node->poll_query_until('closed', q{SELECT count(*) >= 2 FROM signalsmith.runs}) or die;
$node->sql('ALTER DATABASE closed ALLOW_CONNECTIONS false');
$node->wait_until('it was looked at', sub { slurp_file($node->logfile, $offset) =~ /database "closed" is not currently accepting connections/ });

$node->run_sync('people') for 1 .. 10;
my $log = slurp_file($node->logfile, $offset);
is(scalar(() = $log =~ /FATAL: .*"closed" is not currently accepting/g), 1, 'a database without connections is asked once');
cmp_ok(scalar(() = $log =~ /FATAL: +database $gone does not exist/g), '<=', 1, 'one that is gone, once at most');
$node->sql('ALTER DATABASE closed ALLOW_CONNECTIONS true');
$node->reload;
my $runs = $node->sql('SELECT count(*) FROM signalsmith.runs', database => 'closed');
ok($node->poll_query_until('closed', "SELECT count(*) > $runs FROM signalsmith.runs"), 'open again, it goes on');

done_testing();
