# Rights are asked for when a sync is defined, when a run starts, and before it
# opens secrets; whoever has lost them gets nothing sent.
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
$node->sql('CREATE ROLE ann LOGIN IN ROLE signalsmith_user; CREATE ROLE bob LOGIN IN ROLE signalsmith_user; CREATE ROLE adm LOGIN IN ROLE signalsmith_admin;'
	  . 'CREATE TABLE people AS SELECT 1 AS id; GRANT SELECT ON people TO bob; CREATE TABLE gate (); GRANT SELECT ON gate TO bob');
$node->sql(q{SELECT signalsmith.create_destination('crm', 'webhook', } . quote({ url => $recorder->url }) . ')', role => 'ann');
$node->sql(q{SELECT signalsmith.share_destination('crm', 'bob')}, role => 'ann');
$node->sql(q{SELECT signalsmith.create_model('people', 'SELECT id FROM people, (SELECT count(*) FROM gate) AS g', '{id}')}, role => 'bob');

# Expects a run to fail for this reason, with nothing sent and the sync in error.
sub expect_refusal
{
	my ($run, $sync, $reason, $name) = @_;
	my $end = $node->wait_for_run($run);
	$node->run_is($end, { status => 'failed', requests => 0 }, "$name: the run fails");
	like($end->{error}, $reason, "$name: and says why");
	is($node->sync($sync)->{status}, 'error', "$name: the sync is in error");
	is($recorder->figures->{connections}, 0, "$name: nothing has connected");
	return;
}

# --- taken away while the model is at work
$node->sql(q{SELECT signalsmith.create_sync('slow', 'people', 'crm')}, role => 'bob');
my $gate = $node->background_psql('postgres');
$gate->query_safe('BEGIN; LOCK gate');
my $run = $node->trigger('slow', role => 'bob');
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND wait_event_type = 'Lock')});
$node->sql(q{SELECT signalsmith.unshare_destination('crm', 'bob')}, role => 'ann');
$gate->query_safe('COMMIT');
expect_refusal($run, 'slow', qr/role "bob" may not use destination "crm"/, 'share taken away during the run');
$gate->quit;

# --- taken away between definition and run
$node->sql(q{SELECT signalsmith.share_destination('crm', 'bob')}, role => 'ann');
for my $case (
	[ 'login', 'ALTER ROLE bob NOLOGIN', qr/role "bob" cannot log in/, 'ALTER ROLE bob LOGIN' ],
	[ 'connect', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC', qr/role "bob" may not connect/, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC' ],
	[ 'select', 'REVOKE SELECT ON people FROM bob', qr/permission denied for table people/, 'GRANT SELECT ON people TO bob' ],
	[ 'schema', 'REVOKE USAGE ON SCHEMA public FROM PUBLIC', qr/permission denied for schema public|relation "people" does not exist/, 'GRANT USAGE ON SCHEMA public TO PUBLIC' ],
	[ 'row security', q{ALTER TABLE people ENABLE ROW LEVEL SECURITY; ALTER ROLE bob SET row_security = off}, qr/row-level security/, 'ALTER TABLE people DISABLE ROW LEVEL SECURITY; ALTER ROLE bob RESET row_security' ],
	[ 'share', q{SELECT signalsmith.unshare_destination('crm', 'bob')}, qr/may not use destination "crm"/, q{SELECT signalsmith.share_destination('crm', 'bob')} ])
{
	my ($what, $take, $reason, $give) = @$case;
	$node->sql("SELECT signalsmith.create_sync('$what', 'people', 'crm')", role => 'bob');
	$node->sql($take);
	expect_refusal($node->trigger($what), $what, $reason, "$what taken away");
	$node->sql($give);
}
$node->sql(q{SELECT signalsmith.resume_sync('slow')}, role => 'bob');
$node->run_is($node->run_sync('slow', role => 'bob'), { status => 'completed', rows_created => 1 }, 'given back, all is well');

# --- syncs of superusers, where the DBA wants none
$recorder->reset;
$node->create_webhook_sync(name => 'super', query => 'SELECT 1 AS id', primary_key => 'id', url => $recorder->url);
$node->run_is($node->run_sync('super'), { status => 'completed' }, 'a superuser\'s sync runs');
like($node->sql_error(q{SELECT signalsmith.update_model('super', '{"query": "SELECT 2 AS id"}')}, role => 'adm'), qr/permission denied for model "super"/, 'an admin does not change what runs with its rights');
like($node->sql_error(qq{SELECT signalsmith.$_}, role => 'adm'), qr/permission denied for (sync|destination|run) "/, "an admin may not: $_")
  for q{update_sync('super', '{}')}, q{trigger_sync('super')}, q{preview_sync('super')}, q{set_secret('super', 'signing_secret', 'x')}, q{update_destination('super', '{}')}, q{reset_sync('super')}, q{share_destination('super', 'adm')}, q{snapshot('super')};
$node->set('signalsmith.allow_superuser_syncs = off');
$node->sql(q{SELECT signalsmith.reset_sync('super')});
my $refused = $node->run_sync('super');
$node->run_is($refused, { status => 'failed', requests => 0 }, 'with allow_superuser_syncs off it does not');
like($refused->{error}, qr/allow_superuser_syncs is off/, 'and says so');
$node->run_is($node->run_sync('slow', role => 'bob'), { status => 'completed' }, 'others go on');
like($node->sql_error(q{SELECT signalsmith.create_sync('another', 'super', 'super')}), qr/allow_superuser_syncs is off/, 'nor can one be created');
$node->sql('ALTER ROLE bob SUPERUSER');
is($node->run_sync('slow')->{status}, 'failed', 'nor does one of a role that has become a superuser');

done_testing();
