# Cron schedules: pg_cron's jobs are kept in step with the syncs, and start them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $recorder = Signalsmith::Recorder->start;
my $node = Signalsmith::Cluster->start_new('main', conf => <<'CONF');
shared_preload_libraries = 'signalsmith, pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
CONF
my $url = $recorder->url;

$node->sql(<<'SQL');
CREATE ROLE "Ann's" LOGIN IN ROLE signalsmith_user;
GRANT ALL ON SCHEMA public TO "Ann's";
SQL
$node->create_webhook_sync(
	name => 'fast', query => 'SELECT 1 AS id', primary_key => 'id', url => $url, role => q("Ann's"));
$node->create_webhook_sync(
	name => 'slow', query => 'SELECT 1 AS id', primary_key => 'id', url => $url, role => q("Ann's"));

# The statement that gives a sync this schedule.
sub schedule
{
	my ($sync, $schedule) = @_;
	$schedule = qq({"type": "cron", "expression": "$schedule"}) if $schedule !~ /^[{"]/;
	return 'SELECT signalsmith.update_sync(' . join(', ', quote($sync, qq({"schedule": $schedule}))) . ')';
}

sub jobs
{
	return $node->sql(q{SELECT jobname, schedule, active FROM cron.job ORDER BY jobid});
}

# --- what keeps pg_cron from working is said, with the way out

like(
	$node->sql_error(schedule('slow', '0 9 * * 1-5')),
	qr/ERROR:  cron schedules do not work here: pg_cron is not installed in this database\nHINT:  Run CREATE EXTENSION pg_cron as a superuser\./,
	'not installed');
$node->sql('CREATE DATABASE elsewhere');
like(
	$node->sql_error("CREATE EXTENSION signalsmith; SELECT signalsmith.create_model('m', 'SELECT 1 AS id', '{id}');
		SELECT signalsmith.create_destination('d', 'webhook', '{\"url\": \"$url\"}');
		SELECT signalsmith.create_sync('s', 'm', 'd', schedule => '\"0 9 * * 1-5\"')", database => 'elsewhere'),
	qr/ERROR:  cron schedules do not work here: pg_cron works in database "postgres", and there can be only one\nHINT:  Set cron\.database_name = 'elsewhere'/,
	'installed elsewhere');
$node->sql('DROP DATABASE elsewhere WITH (FORCE)');
is( $node->sql(q{SELECT ok, detail FROM signalsmith.check_installation() WHERE name = 'pg_cron'}),
	'f|pg_cron is not installed in this database', 'check_installation says so');

$node->sql('CREATE EXTENSION pg_cron');
is($node->sql(q{SELECT ok, detail ~ '^version [0-9.-]+, time zone GMT$' FROM signalsmith.check_installation() WHERE name = 'pg_cron'}),
	't|t', 'and that it works');

# --- this one runs while the others are looked at

$node->sql(schedule('fast', '* * * * *'), role => q("Ann's"));
is( $node->sql(q{SELECT jobname, schedule, command, database, username, active FROM cron.job}),
	q{signalsmith sync_1|* * * * *|SELECT signalsmith.trigger_sync('sync_1')|postgres|Ann's|t},
	q{the job is in the owner's name});
is( $node->sql(q{SELECT next_run_at - date_trunc('minute', now()) FROM signalsmith.syncs WHERE name = 'fast'}),
	'00:01:00', 'the view says when it is due');

# --- the job follows the sync

$node->sql(schedule('slow', ' 0 9  * * MON-fri'), role => q("Ann's"));
is($node->sql(q{SELECT schedule FROM signalsmith.syncs WHERE name = 'slow'}, role => q("Ann's")),
	'{"type": "cron", "timezone": "GMT", "expression": "0 9 * * MON-fri"}', 'the schedule is shown with its time zone');
my $job = 'signalsmith sync_2|0 9 * * MON-fri|';
my @steps = (
	[ 'pause'   => 'f' ],
	[ 'resume'  => 't' ],
	[ 'archive' => undef ],
	[ 'restore' => undef ],
	[ 'resume'  => 't' ]);
for my $step (@steps)
{
	my ($action, $active) = @$step;
	$node->sql("SELECT signalsmith.${action}_sync('slow')", role => q("Ann's"));
	is(jobs(), join("\n", 'signalsmith sync_1|* * * * *|t', defined $active ? $job . $active : ()), "after $action");
	is($node->sql(q{SELECT next_run_at IS NOT NULL FROM signalsmith.syncs WHERE name = 'slow'}),
		($active // 'f'), "next_run_at after $action");
}
$node->sql(schedule('slow', '30 4 * * *'), role => q("Ann's"));
like(jobs(), qr/^signalsmith sync_2\|30 4 \* \* \*\|t$/m, 'after a new expression');
my $schedule = $node->sql(q{SELECT signalsmith.get_sync('slow')->'schedule'});
$node->sql(schedule('slow', $schedule));
like(jobs(), qr/^signalsmith sync_2\|30 4 \* \* \*\|t$/m, 'what get_sync shows can be given back');
$node->sql(schedule('slow', '{"type": "manual"}'));
unlike(jobs(), qr/sync_2/, 'after a manual schedule');
$node->sql(schedule('slow', '30 4 * * *'), role => q("Ann's"));

# Another role's job of the same name is not taken for ours.
$node->sql(q{CREATE ROLE "AAA" LOGIN; GRANT USAGE ON SCHEMA cron TO "AAA"; GRANT EXECUTE ON FUNCTION cron.schedule(text, text, text) TO "AAA"});
$node->sql(q{SELECT cron.schedule('signalsmith sync_2', '5 5 5 5 *', 'SELECT 1')}, role => q("AAA"));
$node->sql(q{UPDATE cron.job SET jobid = jobid + 1000 WHERE jobname = 'signalsmith sync_2' AND username <> 'AAA'; CLUSTER cron.job USING job_pkey});
$node->sql(q{SELECT signalsmith.pause_sync('slow')}, role => q("Ann's"));
is($node->sql(q{SELECT username, command, active FROM cron.job WHERE jobname = 'signalsmith sync_2' ORDER BY username}),
	q{AAA|SELECT 1|t} . "\nAnn's|SELECT signalsmith.trigger_sync('sync_2')|f", 'a namesake of another role is left alone');
$node->sql(q{SELECT signalsmith.resume_sync('slow')}, role => q("Ann's"));
$node->sql(q{SELECT cron.unschedule(jobid) FROM cron.job WHERE username = 'AAA'});
$node->sql(q{BEGIN; SELECT signalsmith.pause_sync('slow'); ROLLBACK});
like(jobs(), qr/^signalsmith sync_2\|30 4 \* \* \*\|t$/m, 'what is rolled back has not happened');

# --- time zones

like(
	$node->sql_error(schedule('slow', '{"type": "cron", "expression": "0 9 * * *", "timezone": "Europe/Berlin"}')),
	qr/ERROR:  cron schedules are in time zone "GMT" here, not in "Europe\/Berlin"\nDETAIL:  pg_cron has one time zone for all its jobs\.\nHINT:  Write the expression in time zone "GMT"\./,
	'another time zone is refused');
my (undef, undef, $notice) = $node->psql('postgres',
	q{SET TimeZone = 'Asia/Kolkata'; } . schedule('slow', '"0 9 * * *"'));
like($notice, qr/NOTICE:  cron schedule "0 9 \* \* \*" is in time zone "GMT": next at \d{4}-\d\d-\d\d 14:30:00\+05:30/, 'a session in another zone is told');
(undef, undef, $notice) = $node->psql('postgres',
	q{SET TimeZone = 'UTC'; } . schedule('slow', '"0 9 * * *"'));
is($notice, '', 'one in the same is not');

# --- a sync in error has an inactive job

$node->sql(q{ALTER ROLE "Ann's" NOLOGIN});
my $run = $node->run_sync('slow');
is($run->{status}, 'failed', 'the run failed');
is($node->sync('slow')->{status}, 'error', 'the sync is in error');
like(jobs(), qr/^signalsmith sync_2\|0 9 \* \* \*\|f$/m, 'the job is inactive');
is($node->sync('slow')->{next_run_at}, undef, 'no next run');
$node->sql(q{ALTER ROLE "Ann's" LOGIN});
$node->sql(q{SELECT signalsmith.resume_sync('slow')});
like(jobs(), qr/^signalsmith sync_2\|0 9 \* \* \*\|t$/m, 'active again');

# --- the job does its work

ok( $node->poll_query_until('postgres',
		q{SELECT EXISTS (SELECT FROM signalsmith.runs WHERE sync = 'fast' AND status = 'completed')}),
	'pg_cron has started a run');
$run = $node->run($node->sql(q{SELECT min(id) FROM signalsmith.runs WHERE sync = 'fast'}));
$node->run_is($run, { trigger => 'schedule', status => 'completed', rows_created => 1 }, 'the run was started by the schedule');
my $lateness = $node->sql(
	qq{SELECT extract(epoch FROM queued_at - date_trunc('minute', queued_at)) FROM signalsmith.runs WHERE id = '$run->{id}'});
cmp_ok($lateness, '<', 10, 'at the beginning of the minute');
ok($node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM cron.job_run_details WHERE status = 'succeeded')}), 'pg_cron saw no error');
$run = $node->run_sync('fast', role => q("Ann's"));
$node->run_is($run, { trigger => 'manual', status => 'completed' }, 'a manual run is manual');

# --- renamed roles leave jobs behind, which is told and mended

$node->sql(q{ALTER ROLE "Ann's" RENAME TO ann});
is($node->sql(q{SELECT ok, detail FROM signalsmith.check_installation() WHERE name = 'pg_cron'}),
	'f|2 syncs with a cron schedule have no job that starts them', 'a renamed role');
$node->sql(q{SELECT signalsmith.update_sync(s->>'name', jsonb_build_object('schedule', s->'schedule')) FROM signalsmith.list_syncs() AS s});
is($node->sql(q{SELECT ok FROM signalsmith.check_installation() WHERE name = 'pg_cron'}), 't', 'the same schedule again mends it');
is($node->sql(q{SELECT string_agg(username, ',') FROM cron.job}), 'ann,ann', 'no old job is left');

# --- a sync that is gone has no job

$node->sql(q{SELECT signalsmith.archive_sync('fast')});
$node->sql(q{SELECT signalsmith.delete_sync('fast')});
like(jobs(), qr/^signalsmith sync_2\|0 9 \* \* \*\|t$/, 'only one is left');

# --- without pg_cron a sync can be put away, but not resumed

$node->sql('DROP EXTENSION pg_cron');
is($node->sync('slow')->{next_run_at}, undef, 'nothing is promised');
$node->sql(q{SELECT signalsmith.pause_sync('slow')});
like($node->sql_error(q{SELECT signalsmith.resume_sync('slow')}), qr/cron schedules do not work here: pg_cron is not installed/, 'not resumed');
$node->sql(q{SELECT signalsmith.archive_sync('slow')});
$node->sql(q{SELECT signalsmith.delete_sync('slow')});

done_testing();
