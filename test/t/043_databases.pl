# Databases that come and go, idle and busy, and the extension in them: nothing of
# ours stands in the way.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(time);

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;

# A database with a sync of 1,000 rows in ten batches.
sub create_database
{
	my ($name, %options) = @_;
	$node->sql("CREATE DATABASE $name");
	$node->sql('CREATE EXTENSION signalsmith; CREATE TABLE people AS SELECT i AS id, \'name \' || i AS name FROM generate_series(1, 1000) AS i',
		database => $name);
	$node->create_webhook_sync(
		name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url("/$name"),
		config => { batch_size => 100 }, database => $name);
	return;
}

# Triggers a run there and waits until one of its requests hangs.
sub make_busy
{
	my ($database) = @_;
	$recorder->reset;
	$recorder->rules({ hold => 1 });
	$node->sql(q{UPDATE people SET name = name || '.'}, database => $database);
	my $run = $node->trigger('people', database => $database);
	$recorder->wait_for(held => 1);
	return $run;
}

# Tests: the statement works, within so many seconds.
sub takes_less_than
{
	my ($seconds, $sql, $name, %options) = @_;
	my $began = time;
	my ($status, undef, $error) = $node->psql($options{database} // 'postgres', $sql);
	is($status, 0, $name) or diag($error);
	cmp_ok(time - $began, '<', $seconds, "within $seconds s");
	return;
}

# --- several databases at once
my @names = qw(one two three);
create_database($_) for @names;
my %runs = map { $_ => $node->trigger('people', database => $_) } @names;
is($node->wait_for_run($runs{$_}, database => $_)->{status}, 'completed', "the run in database $_ takes place") for @names;
is($recorder->figures->{requests}, 30, 'ten requests from each');

# --- idle
takes_less_than(6, 'CREATE DATABASE copy TEMPLATE one', 'an idle database can be a template');
takes_less_than(6, 'ALTER DATABASE two RENAME TO renamed', 'and be renamed');
takes_less_than(6, 'ALTER DATABASE renamed SET TABLESPACE pg_default', 'and be moved');
takes_less_than(6, 'DROP DATABASE three', 'and be dropped');
is($node->run_sync('people', database => 'renamed')->{status}, 'completed', 'a renamed database goes on');

# The copy is not the original, and says so.
like($node->sql_error(q{SELECT signalsmith.trigger_sync('people')}, database => 'copy'), qr/copy of another database.*adopt_instance/s,
	'a copy refuses to run');

# --- busy: DROP DATABASE waits no longer than for its own patience, WITH (FORCE)
# not even that
my $run = make_busy('renamed');
my ($status, undef, $error) = $node->psql('postgres', 'DROP DATABASE renamed');
like($error, qr/being accessed by other users/, 'a busy database is not dropped under a run');
takes_less_than(6, 'DROP DATABASE renamed WITH (FORCE)', 'but with force it is');

$run = make_busy('one');
$node->sql("SELECT signalsmith.cancel_run('$run')", database => 'one');
takes_less_than(6, 'DROP DATABASE one', 'and after cancel_run at once');

# A database whose owner is nobody special.
$node->sql('CREATE ROLE plain LOGIN CREATEDB');
create_database('owned');
$node->sql('ALTER DATABASE owned OWNER TO plain');
takes_less_than(6, 'SET SESSION AUTHORIZATION plain; DROP DATABASE owned', 'a plain owner drops an idle database');

# --- the extension: dropped while sending, created again in the same session
create_database('here');
make_busy('here');
takes_less_than(5, <<'SQL', 'DROP EXTENSION while sending, and CREATE EXTENSION again', database => 'here');
SELECT signalsmith.get_sync('people');
DROP EXTENSION signalsmith CASCADE;
CREATE EXTENSION signalsmith;
SELECT signalsmith.list_syncs();
SQL
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url('/again'),
	config => { batch_size => 100 }, database => 'here');
$run = $node->trigger('people', database => 'here');
$recorder->rules;
$recorder->release;
$node->run_is($node->wait_for_run($run, database => 'here'), { id => 'run_1', status => 'completed', rows_created => 1000, rows_updated => 0, requests => 10 },
	'the new installation works, and its first run is none of the old one\'s');
like(slurp_file($node->logfile), qr/extension "signalsmith" was dropped and created again/, 'whose runner noticed');

# --- a schema of that name without the extension, a table that is missing
my $offset = -s $node->logfile;
$node->sql('CREATE DATABASE bare');
$node->sql('CREATE SCHEMA signalsmith; CREATE TABLE signalsmith.sync (id int)', database => 'bare');
$node->sql('ALTER EXTENSION signalsmith DROP TABLE signalsmith.segment; ALTER TABLE signalsmith.segment RENAME TO lost', database => 'here');
$node->sql(q{UPDATE people SET name = name || '.'}, database => 'here');
$run = $node->trigger('people', database => 'here');
ok($node->poll_query_until('here', "SELECT status <> 'running' AND status <> 'queued' FROM signalsmith.runs WHERE id = '$run'"), 'a missing table ends the run');
is($node->run($run, database => 'here')->{status}, 'failed', 'which has failed');
$node->sql('ALTER TABLE signalsmith.lost RENAME TO segment; ALTER EXTENSION signalsmith ADD TABLE signalsmith.segment', database => 'here');

# --- another version than the library's: syncs wait, and the log says why
$node->sql(q{UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'signalsmith'; SELECT signalsmith.resume_sync('people'); SELECT signalsmith.trigger_sync('people')}, database => 'here');
$node->wait_until('the log says so', sub { slurp_file($node->logfile, $offset) =~ /signalsmith 0\.0\.9 is installed in database "here", but the library is version/ });
is($node->sql(q{SELECT status FROM signalsmith.runs ORDER BY queued_at DESC LIMIT 1}, database => 'here'), 'queued', 'syncs of another version wait');
$node->sql(sprintf(q{UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'signalsmith') WHERE extname = 'signalsmith'}), database => 'here');
is($node->run_sync('people', database => 'here')->{status}, 'completed', 'and go on with the right one');

# --- owners that may not do any more what they have to
$node->sql(<<'SQL', database => 'here');
CREATE ROLE ann LOGIN IN ROLE signalsmith_user;
CREATE ROLE heir LOGIN IN ROLE signalsmith_user;
GRANT SELECT ON people TO ann, heir;
REVOKE CONNECT ON DATABASE here FROM PUBLIC;
GRANT CONNECT ON DATABASE here TO ann, heir;
SQL
$node->create_webhook_sync(
	name => 'anns', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url('/ann'), role => 'ann', database => 'here');
for my $case (
	[ 'ALTER ROLE ann NOLOGIN', 'ALTER ROLE ann LOGIN', qr/role "ann" cannot log in/ ],
	[ 'REVOKE CONNECT ON DATABASE here FROM ann', 'GRANT CONNECT ON DATABASE here TO ann', qr/role "ann".*connect/i ],
	[ 'REVOKE SELECT ON people FROM ann', 'GRANT SELECT ON people TO ann', qr/permission denied for table people/ ])
{
	my ($take, $give, $reason) = @$case;
	$node->sql($take, database => 'here');
	$run = $node->run_sync('anns', database => 'here');
	is($run->{status}, 'failed', "$take: the run fails");
	is($node->sync('anns', database => 'here')->{status}, 'error', "$take: the sync is in error");
	like($node->sync('anns', database => 'here')->{status_error}, $reason, "$take: and says why");
	is($node->run_sync('people', database => 'here')->{status}, 'completed', "$take: other syncs go on");
	$node->sql("$give; SELECT signalsmith.resume_sync('anns')", database => 'here');
	is($node->run_sync('anns', database => 'here')->{status}, 'completed', "$give: it goes on after resume_sync");
}
$node->sql('REASSIGN OWNED BY ann TO heir; DROP OWNED BY ann; DROP ROLE ann', database => 'here');
$run = $node->run_sync('anns', database => 'here');
is($run->{status}, 'failed', 'without its owner a sync fails');
like($node->sync('anns', database => 'here')->{status_error}, qr/role \d+ no longer exists/, 'and says why');
is($node->run_sync('people', database => 'here')->{status}, 'completed', 'other syncs go on');

is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'signalsmith launcher'}), 1, 'the launcher is there');
unlike(slurp_file($node->logfile), qr/signalsmith launcher" \(PID \d+\) (exited|was terminated)/, 'and has been all the time');

done_testing();
