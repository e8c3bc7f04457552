# Copies of the whole server: a standby, its promotion, a base backup that becomes
# a server of its own, a recovery to an earlier point.
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

my $recorder = Signalsmith::Recorder->start;
my $primary = Signalsmith::Cluster->start_new('primary', init => { allows_streaming => 1, has_archiving => 1 },
	conf => "wal_keep_size = 128MB\nsignalsmith.instance_id = 'production'");
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};

$primary->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i});
$primary->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 100 }, options => { max_in_flight => 2, timeout_seconds => 600 });
$primary->run_sync('people');
$primary->backup('base');

sub processes
{
	my ($node) = @_;
	return $node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'signalsmith%'});
}

# A new server from the base backup.
sub start_from_backup
{
	my ($name, $conf, %how) = @_;
	my $node = Signalsmith::Cluster->new($name);
	$node->init_from_backup($primary, 'base', %how);
	$node->append_conf('postgresql.conf', $conf);
	$node->start;
	return $node;
}

# --- a base backup under another name is a copy, and sends nothing
my $requests = $recorder->figures->{requests};
my $copy = start_from_backup('copy', q{signalsmith.instance_id = 'test'});
$copy->sql(q{UPDATE people SET name = 'copied'});
like($copy->sql_error(q{SELECT signalsmith.trigger_sync('people')}), qr/sends nothing, because signalsmith\.instance_id was "production" and is "test"/,
	'a base backup with another instance_id refuses to run');
$copy->sql(q{SELECT signalsmith.update_sync('people', '{"schedule":{"type":"interval","interval_seconds":1}}')});
$copy->wait_until('the log says so', sub { slurp_file($copy->logfile) =~ /signalsmith sends nothing from database "postgres"/ });
is($recorder->figures->{requests}, $requests, 'not even on schedule');
$copy->stop;

# --- a standby: it shows everything, changes nothing, and runs nothing
my $standby = start_from_backup('standby', '', has_streaming => 1);
$primary->wait_for_catchup($standby);
is(processes($standby), 0, 'on a standby there is no process of ours');
is($standby->sync('people')->{rows_in_snapshot}, 1000, 'a standby shows its syncs');
is($standby->sql(q{SELECT count(*) FROM signalsmith.snapshot('people')}), 1000, 'and their snapshots');
is($standby->json(q{SELECT signalsmith.get_sync('people')})->{name}, 'people', 'and what they are');
is($standby->sql(q{SELECT count(*) FROM signalsmith.check_installation() WHERE name = 'launcher' AND NOT ok}), 1, 'check_installation works there');
like($standby->sql_error($_), qr/cannot execute \w+(\(\))? (in a read-only transaction|during recovery)/, "$_ says why not")
  for q{SELECT signalsmith.trigger_sync('people')}, q{SELECT signalsmith.pause_sync('people')},
  q{SELECT signalsmith.create_model('m', 'SELECT 1 AS id', '{id}')}, q{SELECT signalsmith.set_secret('people', 'a', 'b')},
  q{SELECT signalsmith.reset_sync('people')}, q{SELECT signalsmith.adopt_instance('resync')};

# --- a synchronous standby that has stopped: what was sent cannot be recorded,
# so no more is sent
$primary->set(q{synchronous_standby_names = 'standby'});
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'}) or die;
$recorder->reset;
$primary->sql(q{UPDATE people SET name = name || '.'});
$recorder->rules({ nth => 3, hold => 1 });
my $run = $primary->trigger('people');
$recorder->wait_for(held => 1);
$standby->stop;
$recorder->rules;
$recorder->release;
ok($primary->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND wait_event = 'SyncRep')}),
	'the runner waits for its commit');
$requests = $recorder->figures->{requests};
my $began = time;
$primary->stop('fast');
cmp_ok(time - $began, '<', 10, 'a fast shutdown takes less than 10 s then');
is($recorder->figures->{requests}, $requests, 'and nothing more was sent');
$standby->start;
$primary->start;
$primary->run_is($primary->wait_for_run($run), { status => 'completed', rows_updated => 1000, rows_failed => 0 }, 'when both are back the run goes on');
$primary->check_delivery($recorder, $whole, 'and loses nothing', crashes => 1);
$primary->set(q{synchronous_standby_names = ''});

# --- a recovery to the middle of a run: what was sent after it is forgotten.  That
# run goes on with the keys of its plan; then what is new is sent, and deletes wait
$recorder->reset;
$primary->sql(q{UPDATE people SET name = name || '+'});
$recorder->rules({ nth => 5, hold => 1 });
my $recalled = $primary->trigger('people');
$recorder->wait_for(held => 1);
$primary->sql(q{SELECT pg_create_restore_point('before')});
$recorder->rules;
$recorder->release;
$primary->wait_for_run($recalled);
my %keys = map { $_->{headers}{'idempotency-key'} => 1 } $recorder->history;
$primary->sql(q{INSERT INTO people SELECT i, 'new' FROM generate_series(1001, 1100) AS i; DELETE FROM people WHERE id <= 5; SELECT pg_switch_wal()});
$primary->run_sync('people');
$primary->sql('SELECT pg_switch_wal()');
$requests = $recorder->figures->{requests};
my $recovered = start_from_backup('recovered', <<'CONF', has_restoring => 1, standby => 0);
recovery_target_name = 'before'
recovery_target_action = 'promote'
signalsmith.instance_id = 'production'
CONF
$recovered->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
$recovered->run_is($recovered->wait_for_run($recalled), { status => 'completed', rows_updated => 1000, rows_failed => 0 },
	'after a recovery the run that was under way goes on');
my @again = grep { $_->{number} > $requests } $recorder->history;
cmp_ok(scalar(@again), '>', 0, 'what may have been sent is sent');
is(scalar(grep { !$keys{ $_->{headers}{'idempotency-key'} } } @again), 0, 'with the keys that it had');
$recovered->sql(q{DELETE FROM people WHERE id <= 3; UPDATE people SET name = 'recovered' WHERE id = 4});
$run = $recovered->run_sync('people');
$recovered->run_is($run, { status => 'held', rows_updated => 1, rows_deleted => 0 }, 'after a recovery updates are sent, and even three deletes are held');
like($run->{error}, qr/promoted or recovered/, 'the run says why');
$recovered->run_is($recovered->wait_for_run($recovered->sql("SELECT signalsmith.approve_deletes('$run->{id}')")), { status => 'completed', rows_deleted => 3 },
	'they can be approved');
$recovered->sql('DELETE FROM people WHERE id = 10');
$recovered->run_is($recovered->run_sync('people'), { status => 'completed', rows_deleted => 1 }, 'later deletes are as always');
$recovered->stop;

# --- the standby is promoted while the primary sends
$primary->wait_for_catchup($standby);
$recorder->reset;
$primary->sql(q{UPDATE people SET name = name || '!'; DELETE FROM people WHERE id IN (6, 7)});
$recorder->rules({ nth => [ 4, 5 ], phase => 'after_apply', hold => 1 });
$run = $primary->trigger('people');
$recorder->wait_for(held => 2);
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$requests = $recorder->figures->{requests};
$recorder->rules;
$began = time;
$standby->promote;
$recorder->wait_for(requests => $requests + 1);
cmp_ok(time - $began, '<', 10, 'a promoted standby goes on sending within 10 s');
my $end = $standby->wait_for_run($run);
is($end->{status}, 'completed', 'the run is finished there');
is(processes($standby) >= 1 ? 1 : 0, 1, 'our launcher is there now');
$recorder->check_history('with the keys and bytes of the old plan', '{"crashes":1}');
$run = $standby->run_sync('people');
ok($run->{status} eq 'completed' || $run->{status} eq 'held', 'the next run looks at the model once more');
$standby->wait_for_run($standby->sql("SELECT signalsmith.approve_deletes('$run->{id}')")) if $run->{status} eq 'held';
$standby->check_delivery($recorder, $whole, 'and then the destination is as the model', crashes => 1);
$standby->run_is($standby->run_sync('people'), { status => 'completed', requests => 0, rows_failed => 0 }, 'nothing is left to be sent');

done_testing();
