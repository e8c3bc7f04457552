# What the owner of a model may try inside the process of a run: it is connected
# as that role, reads only, and does the bookkeeping of the run afterwards.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;

$node->sql(q{
	CREATE ROLE bob LOGIN IN ROLE signalsmith_user;
	CREATE ROLE boss NOLOGIN;
	GRANT boss TO bob;
	CREATE SCHEMA bob AUTHORIZATION bob;
	CREATE TABLE bob.canary (touched_by text);
	ALTER TABLE bob.canary OWNER TO bob;
	CREATE TABLE of_superuser (touched_by text)});

# A deferred trigger and a holdable cursor run at commit, when somebody else may
# be at work; a role's own settings are in force in its runs.
$node->sql(q{
	CREATE FUNCTION bob.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE command;
		RETURN 'done';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;
	CREATE FUNCTION bob.fire() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN RAISE LOG 'FIRED as %', current_user; RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER fire AFTER INSERT ON bob.canary DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bob.fire();
	CREATE FUNCTION bob.held() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		RAISE LOG 'HELD as %, %', current_user, bob.attempt('INSERT INTO bob.canary VALUES (current_user)');
		RETURN 1;
	END $$;
	CREATE FUNCTION bob.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'SPRUNG as %', current_user; RETURN pg_catalog.now(); END $$;
	CREATE FUNCTION bob.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'SPRUNG as %', current_user; RETURN true; END $$;
	CREATE OPERATOR bob.= (FUNCTION = bob.equal, LEFTARG = bigint, RIGHTARG = bigint);
	ALTER ROLE bob SET search_path = bob, public;
	ALTER ROLE bob SET default_transaction_read_only = on;
	ALTER ROLE bob SET default_transaction_isolation = 'serializable';
	ALTER ROLE bob SET standard_conforming_strings = off;
	ALTER ROLE bob SET DateStyle = 'SQL, DMY'}, role => 'bob');

my @attempts = (
	[ 'reset role', 'RESET ROLE', 'done' ],
	[ 'session authorization', 'SET SESSION AUTHORIZATION DEFAULT', 'done' ],
	[ 'superuser', q{SET SESSION AUTHORIZATION postgres}, '42501' ],
	[ 'set_config role', q{SELECT set_config('role', 'postgres', false)}, '42501' ],
	[ 'insert', 'INSERT INTO bob.canary VALUES (current_user)', '25006' ],
	[ 'of superuser', 'INSERT INTO public.of_superuser VALUES (current_user)', '25006' ],
	[ 'nextval', q{SELECT nextval('bob.numbers')}, '25006' ],
	[ 'lock rows', 'SELECT FROM bob.canary FOR UPDATE', '25006' ],
	[ 'read write', 'SET TRANSACTION READ WRITE', '25001' ],
	[ 'read only off', q{SELECT set_config('transaction_read_only', 'off', false)}, '25001' ],
	[ 'commit', 'COMMIT', '0A000' ],
	[ 'temp table', 'CREATE TEMP TABLE run (id bigint)', '25006' ],
	[ 'truncate', 'TRUNCATE bob.canary', '25006' ],
	[ 'do', q{DO $x$ BEGIN INSERT INTO bob.canary VALUES ('do'); END $x$}, '25006' ],
	[ 'program', q{COPY bob.canary TO PROGRAM 'true'}, '42501' ],
	[ 'file', q{SELECT pg_read_file('postgresql.conf')}, '42501' ],
	[ 'large object', q{SELECT lo_import('/etc/passwd')}, '42501' ],
	[ 'our tables', 'SELECT FROM signalsmith.secret', '42501' ],
	[ 'private function', q{SELECT signalsmith._finish_run(1, 0, 'completed', NULL, false)}, '42501' ],
	[ 'trigger', q{SELECT signalsmith.trigger_sync('attempts')}, '25006' ],
	[ 'egress', 'SET signalsmith.allow_private_networks = on', '42501' ],
	[ 'key file', 'SHOW signalsmith.key_file', '42501' ],
	[ 'hold', 'DECLARE c CURSOR WITH HOLD FOR SELECT bob.held()', 'done' ],
	[ 'search path', q{SELECT set_config('search_path', 'bob', false)}, 'done' ],
	[ 'lock timeout', q{SET lock_timeout = '1ms'}, 'done' ],
	[ 'statement timeout', q{SET statement_timeout = '1ms'}, 'done' ],
	[ 'role', 'SET ROLE boss', 'done' ]);
my $number = 0;
$node->sql('CREATE SEQUENCE bob.numbers; CREATE TABLE bob.attempts (id int PRIMARY KEY, what text, command text);'
	  . join(' ', map { 'INSERT INTO bob.attempts VALUES (' . ++$number . ', ' . join(', ', quote(@$_[ 0, 1 ])) . ');' } @attempts)
	  . 'GRANT SELECT ON bob.attempts TO boss; GRANT USAGE ON SCHEMA bob TO boss', role => 'bob');
$node->create_webhook_sync(
	name => 'attempts', primary_key => 'id', url => $recorder->url, role => 'bob',
	query => 'SELECT id, what, bob.attempt(command) AS answer, session_user AS connected FROM bob.attempts');

my $run = $node->run_sync('attempts', role => 'bob');
$node->run_is($run, { status => 'completed', rows_created => scalar(@attempts), rows_failed => 0 },
	'whatever the model did to its session, the run is recorded');
my %answers = map { my $data = JSON::PP::decode_json($_->{body})->{data}; ($data->{what} => $data) } $recorder->history;
for my $attempt (@attempts)
{
	is($answers{ $attempt->[0] }{answer}, $attempt->[2], "$attempt->[0]: $attempt->[2]");
}
is_deeply([ sort keys %{ { map { $_->{connected} => 1 } values %answers } } ], ['bob'], 'the session is the owner\'s');
is($node->sql('SELECT count(*) FROM bob.canary'), 0, 'the canary is untouched');
is($node->sql('SELECT count(*) FROM of_superuser'), 0, 'so is what belongs to a superuser');

# --- nothing of his ran as anybody else
my $log = slurp_file($node->logfile);
like($log, qr/LOG:  HELD as (bob|boss), 25006/, 'a cursor held over the commit is read as its owner, and reads only');
unlike($log, qr/LOG:  HELD as (?!bob,|boss,)/, 'and as nobody else');
unlike($log, qr/LOG:  (SPRUNG|FIRED)/, 'planted functions, operators and triggers are never used by our statements');

# --- a second run, with nothing to do, is as good
$node->run_is($node->run_sync('attempts', role => 'bob'),
	{ status => 'completed', rows_created => 0, rows_unchanged => scalar(@attempts) }, 'the next run finds nothing to send');

done_testing();
