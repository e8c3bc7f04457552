# Cron schedules while time goes by: daylight saving, pg_cron and an interval at once;
# and schedules made up at random, which are refused or work.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Clock;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::Local qw(timegm);

# Without a setting cron.timezone, pg_cron's zone is GMT, whatever the server's is.
my $recorder = Signalsmith::Recorder->start;
my $clock = Signalsmith::Clock->new;
$clock->set_time(timegm(0, 0, 12, 26, 2, 2027));
my $node = $clock->run(sub { Signalsmith::Cluster->start_new('main', conf => <<'CONF') });
shared_preload_libraries = 'signalsmith, pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
timezone = 'Europe/Berlin'
CONF
$node->sql('CREATE EXTENSION pg_cron; CREATE TABLE people AS SELECT 1 AS id, 0 AS x');
my $seed = $ENV{SIGNALSMITH_TEST_SEED} // 35;

# --- daily at 02:30, in the nights in which Berlin's clocks change
$node->create_webhook_sync(name => 'nightly', query => 'SELECT id, x FROM people', primary_key => 'id', url => $recorder->url('/nightly'));
my (undef, undef, $notice) = $node->psql('postgres', q{SELECT signalsmith.update_sync('nightly', '"30 2 * * *"')} =~ s/'"(.*)"'/'{"schedule":"$1"}'/r);
like($notice, qr/NOTICE:  cron schedule "30 2 \* \* \*" is in time zone "GMT": next at 2027-03-27 03:30:00\+01/, 'who is in another zone is told what the schedule means');

sub runs_of
{
	my ($sync, $condition) = @_;
	return $node->sql("SELECT count(*) FROM signalsmith.runs WHERE sync = '$sync'" . ($condition ? " AND $condition" : ''));
}

# Waits until pg_cron has looked at the clock: it runs another job of each minute.
$node->sql(q{CREATE TABLE ticks (at timestamptz); SELECT cron.schedule('tick', '* * * * *', 'INSERT INTO ticks SELECT clock_timestamp()')});

sub let_minute_pass
{
	my ($time) = @_;
	$clock->set_time($time - 2);
	my $from = "to_timestamp($time)";
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM ticks WHERE at >= $from AND at < $from + interval '1 minute')") or die;
	return;
}

for my $night ([ 2027, 3, 28 ], [ 2027, 3, 29 ], [ 2027, 10, 31 ], [ 2027, 11, 1 ])
{
	my ($year, $month, $day) = @$night;
	my $name = sprintf '%d-%02d-%02d', @$night;
	my $midnight = timegm(0, 0, 0, $day, $month - 1, $year);
	let_minute_pass($midnight + 60 * $_) for 60, 150;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM signalsmith.runs WHERE sync = 'nightly' AND status = 'completed' AND queued_at >= to_timestamp($midnight)"),
		"$name: it runs");
	let_minute_pass($midnight + 60 * $_) for 210;
	is($node->sql("SELECT string_agg(to_char(queued_at AT TIME ZONE 'GMT', 'HH24:MI'), ' ') FROM signalsmith.runs WHERE sync = 'nightly' AND queued_at >= to_timestamp($midnight)"),
		'02:30', "$name: once, at 02:30 GMT");
}
is(runs_of('nightly', q{trigger <> 'schedule'}), 0, 'started by the schedule');

# --- pg_cron calls trigger_sync each minute, and the sync has an interval too
$node->create_webhook_sync(name => 'both', query => 'SELECT id, x FROM people', primary_key => 'id', url => $recorder->url('/both'));
$recorder->rules({ path => '/both', hold => 1 });
$node->sql(q{SELECT cron.schedule('other', '* * * * *', 'SELECT signalsmith.trigger_sync(''both'')');
	SELECT signalsmith.update_sync('both', '{"schedule":{"type":"interval","interval_seconds":1}}')});
$recorder->wait_for(held => 1);
my $later = timegm(0, 0, 12, 1, 10, 2027);
let_minute_pass($later + 60 * $_) for 0 .. 2;
$node->poll_query_until('postgres', qq{SELECT count(*) >= 3 FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE jobname = 'other' AND d.status = 'succeeded' AND d.start_time >= to_timestamp($later)}) or die;
is($node->sql(q{SELECT string_agg(status, ' ' ORDER BY queued_at) FROM signalsmith.runs WHERE sync = 'both' AND status IN ('queued', 'running')}), 'running queued',
	'both together give one live run, and one that waits');
is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%trigger_sync(%both%' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()}), 0, 'pg_cron does not wait for the run');
$node->sql(q{SELECT cron.unschedule('other'), signalsmith.update_sync('both', '{"schedule":{"type":"manual"}}')});
$recorder->rules;
$recorder->release;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM signalsmith.runs WHERE sync = 'both' AND status IN ('queued', 'running')}), 'all of them end');
$recorder->check_history('and no two have overlapped', '{"crashes":1}');

# --- schedules made up at random: refused with a reason, or they work
$node->sql(q{
	CREATE TABLE verdicts (schedule text, state text, message text, canonical text, next timestamptz, cron text);
	CREATE FUNCTION judge(given text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		verdict verdicts;
	BEGIN
		verdict.schedule := given;
		BEGIN
			PERFORM signalsmith.update_sync('both', jsonb_build_object('schedule', given::jsonb));
			verdict.state := 'accepted';
			SELECT s.schedule->>'expression', s.next_run_at INTO verdict.canonical, verdict.next FROM signalsmith.syncs s WHERE name = 'both';
		EXCEPTION WHEN OTHERS THEN
			verdict.state := SQLSTATE;
			verdict.message := SQLERRM;
		END;
		IF verdict.canonical IS NOT NULL THEN
			BEGIN
				PERFORM cron.schedule('judge', verdict.canonical, 'SELECT 1');
				verdict.cron := 'accepted';
			EXCEPTION WHEN OTHERS THEN
				verdict.cron := SQLERRM;
			END;
		END IF;
		INSERT INTO verdicts SELECT verdict.*;
	END $$});
srand $seed;
note "seed $seed";

sub one_of { return $_[ rand @_ ] }

# Mostly right, so that it is not always the first thing that is wrong.
sub cron_field
{
	return one_of('*', '*', '*', int rand 60, int rand 24, 1 + int rand 12, '*/' . int rand 40, int(rand 8) . '-' . int(rand 60), join(',', map { int rand 32 } 1 .. 1 + rand 4),
		'mon', 'jan-mar', '$', int(rand 10) . '-' . int(rand 40) . '/' . int(rand 9), '*', '*');
}

sub cron_text
{
	my $text = rand() < 0.05 ? one_of('@daily', '@hourly', '@reboot', '@', '30 seconds') : join ' ', map { cron_field() } 1 .. one_of(5, 5, 5, 5, 4, 6);
	substr($text, rand(1 + length $text), int rand 2) = one_of(split //, "*,-/\$@ \t.x9\x{7f}") if rand() < 0.3;
	return $text =~ s/\t/\\t/gr;
}

sub interval_text
{
	my $number = one_of(1, 5, 60, int rand 1e6, 0, -1, '1.5', '1e3', '1e400', '1e-5', 2**31, 2**63, '99999999999999999999', '"5"', 'null', 'true', '[]', '{}', '"PT5M"', '""');
	my $key = one_of('interval_minutes', 'interval_minutes', 'interval_seconds', 'interval_hours', 'interval', '');
	my $more = one_of('', '', '', ',"interval_seconds":3', ',"expression":"* * * * *"', ',"timezone":"GMT"');
	return one_of(qq({"type":"interval","$key":$number$more}), qq({"type":"interval","$key":$number$more}), $number, qq({"$key":$number}), qq("$key"));
}

my @schedules = ((map { '{"type":"cron","expression":"' . cron_text() . '"}' } 1 .. 1000), (map { interval_text() } 1 .. 1000));
$node->sql('SELECT ' . join ', ', map { 'judge(' . quote($_) . ')' } splice @schedules, 0, 100) while @schedules;
note $node->sql(q{SELECT string_agg(state || ': ' || count, ', ') FROM (SELECT state, count(*) FROM verdicts GROUP BY state) AS v});
is($node->sql(q{SELECT schedule, state, message FROM verdicts WHERE state NOT IN ('accepted', '22023', '0A000', '22P02') LIMIT 5}), '', 'what is refused is refused for what it says');
is($node->sql(q{SELECT schedule, message FROM verdicts WHERE state = '22P02' AND message !~ '^invalid input syntax for type json' LIMIT 5}), '', 'and never by an inner error');
is($node->sql(q{SELECT schedule FROM verdicts WHERE state = 'accepted' AND next IS NULL AND schedule ~ 'interval' LIMIT 5}), '', 'an interval that is accepted is due some time');
is($node->sql(q{SELECT schedule, canonical FROM verdicts WHERE canonical IS NOT NULL AND (next IS NULL OR next <= now()) LIMIT 5}), '', 'so is a cron schedule');
is($node->sql(q{SELECT schedule, cron FROM verdicts WHERE cron <> 'accepted' LIMIT 5}), '', 'which pg_cron accepts too');
cmp_ok($node->sql(qq{SELECT count(*) FROM verdicts WHERE state = 'accepted' AND schedule ~ '$_'}), '>', 20, "$_: some are accepted") for 'cron', 'interval';

done_testing();
