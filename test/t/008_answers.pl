# Answers of every kind, and what they mean for the run, its rows and its sync.
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
my $number = 0;

# A sync of three rows to the recorder, which starts afresh; returns its name.
sub fresh_sync
{
	my (%more) = @_;
	my $name = 'sync_of_' . ++$number;
	$recorder->reset;
	$node->sql("CREATE TABLE $name AS SELECT i AS id, 'v' || i AS v FROM generate_series(1, 3) AS i");
	$node->create_webhook_sync(
		name => $name, query => "SELECT id, v FROM $name", primary_key => 'id', url => $recorder->url,
		config => { batch_size => 10 }, options => { timeout_seconds => 2, max_attempts => 2 }, %more);
	return $name;
}

# --- what counts as accepted
for my $case ([ 204, '' ], [ 201, '' ], [ 202, '{"queued": true}' ], [ 200, 'OK' ], [ 200, '<html>fine</html>' ])
{
	my ($status, $body) = @$case;
	my $sync = fresh_sync();
	$recorder->rules({ status => $status, body => $body, phase => 'after_apply' });
	$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 3, rows_failed => 0 },
		"$status with \"$body\" is an acknowledgement");
}

# --- 401, 403: the credentials are at fault, no row is
for my $status (401, 403)
{
	my $sync = fresh_sync(config => { batch_size => 1 });
	$recorder->rules({ status => $status });
	my $run = $node->run_sync($sync);
	is($run->{status}, 'failed', "$status: the run fails");
	like($run->{error}, qr/$status/, "$status: it says why");
	is($run->{rows_created}, 0, "$status: nothing counts as sent");
	is(scalar($node->row_errors($run->{id})), 0, "$status: no row is blamed");
	is($node->sync($sync)->{status}, 'error', "$status: the sync is in error");
	like($node->sync($sync)->{status_error}, qr/$status/, "$status: with the reason");
	cmp_ok($recorder->figures->{requests}, '<=', 4, "$status: nothing further is sent");
	like($node->sql_error('SELECT signalsmith.trigger_sync(' . quote($sync) . ')'), qr/resume_sync/,
		"$status: a trigger is refused and names the way out");
	$recorder->rules;
	$node->sql('SELECT signalsmith.resume_sync(' . quote($sync) . ')');
	$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 3 }, "$status: once resumed, everything flows");
}

# --- 410: the endpoint is gone
my $sync = fresh_sync();
$recorder->rules({ status => 410 });
my $run = $node->run_sync($sync);
is($run->{status}, 'failed', '410: the run fails');
is($node->sync($sync)->{status}, 'error', '410: the sync is in error');
is($recorder->figures->{requests}, 1, '410: nothing further is sent');

# --- redirects are not followed
for my $status (301, 302, 303, 307, 308)
{
	my $name = fresh_sync();
	$recorder->rules({ path => '^/hook', status => $status, headers => { Location => $recorder->url('/elsewhere') } });
	my $end = $node->run_sync($name);
	is($end->{rows_created}, 0, "$status: a redirect is no acknowledgement");
	is(scalar(grep { $_->{path} eq '/elsewhere' } $recorder->history), 0, "$status: and is not followed");
}

# --- 429 with Retry-After, in its forms
for my $case (
	[ 'seconds', sub { '2' } ],
	[ 'a date', sub { my @t = gmtime(time + 3); sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', (qw(Sun Mon Tue Wed Thu Fri Sat))[ $t[6] ], $t[3],
			(qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[ $t[4] ], $t[5] + 1900, @t[ 2, 1, 0 ] } ])
{
	my ($form, $value) = @$case;
	my $name = fresh_sync();
	$recorder->rules({ nth => 1, status => 429, headers => { 'Retry-After' => $value->() } });
	$run = $node->run_sync($name);
	$node->run_is($run, { status => 'completed', rows_created => 3, rows_failed => 0 }, "429 with $form: is repeated");
	my @requests = $recorder->history;
	cmp_ok($requests[1]{started} - $requests[0]{finished}, '>=', 1.9, "429 with $form: not before it may");
	is($requests[1]{headers}{'idempotency-key'}, $requests[0]{headers}{'idempotency-key'}, "429 with $form: under the same key");
}
for my $nonsense ('soon', '-5', '99999999999999999999', '')
{
	my $name = fresh_sync();
	my $began = time;
	$recorder->rules({ nth => 1, status => 429, headers => { 'Retry-After' => $nonsense } });
	if ($nonsense =~ /^9/)
	{
		$run = $node->trigger($name);
		$recorder->wait_for(requests => 1);
		$node->sql("SELECT signalsmith.cancel_run('$run')");
		is($node->wait_for_run($run)->{status}, 'cancelled', 'a Retry-After of ages can be cancelled');
		next;
	}
	$run = $node->run_sync($name);
	is($run->{rows_created}, 3, "Retry-After \"$nonsense\" is ignored");
	cmp_ok(time - $began, '<', 20, 'and delays nothing');
}

# --- 409 and 422 about the idempotency key
$sync = fresh_sync();
$recorder->rules({ nth => 1, status => 409, body => { error => 'a request with this key is in progress' } });
$run = $node->run_sync($sync);
my @requests = $recorder->history;
is($requests[-1]{headers}{'idempotency-key'}, $requests[0]{headers}{'idempotency-key'}, '409: what follows has the same key')
  if @requests > 1;

# --- nobody there
my $closed = Signalsmith::Recorder->start;
my $url = $closed->url;
$closed->stop;
for my $case ([ 'connection refused', $url ], [ 'unknown host', 'http://nowhere.invalid/hook' ],
	[ 'TLS against plain HTTP', $recorder->url =~ s/^http/https/r ])
{
	my ($what, $where) = @$case;
	my $name = fresh_sync(url => $where);
	my $end = $node->run_sync($name);
	is($end->{rows_created}, 0, "$what: nothing counts as sent");
	is($end->{bytes_sent}, 0, "$what: no byte was sent") unless $what =~ /TLS/;
	is(scalar(grep { $_->{outcome} eq 'unknown' } $node->row_errors($end->{id})), 0, "$what: no row is of unknown outcome");
	is($node->sync($name)->{rows_in_snapshot}, 0, "$what: the snapshot is empty");
}

# --- nobody there at first: that is no attempt of any row
my $port = PostgreSQL::Test::Cluster::get_free_port();
$sync = fresh_sync(url => "http://127.0.0.1:$port/hook");
$run = $node->trigger($sync);
$node->poll_query_until('postgres', "SELECT phase = 'deliver' FROM signalsmith.run WHERE 'run_' || id = '$run'") or die;
my $late = Signalsmith::Recorder->start(port => $port, rules => [ { reject => [ { id => 2 } ] } ]);
$run = $node->wait_for_run($run);
$node->run_is($run, { status => 'completed', rows_created => 2, rows_failed => 1 }, 'a destination that comes late gets its rows');
is(($node->row_errors($run->{id}))[0]{attempts}, 1, 'what was not sent does not count as an attempt');
is(($late->history)[0]{headers}{'signalsmith-attempt'}, 1, 'nor is it told as one');

# --- a connection that dies when it is reused: one change, one key
$sync = fresh_sync(config => { batch_size => 1 }, options => { max_in_flight => 1 });
$recorder->rules({ nth => 2, phase => 'after_apply', drop => 1 });
$run = $node->run_sync($sync);
$node->run_is($run, { status => 'completed', rows_created => 3, rows_failed => 0 }, 'a reused connection that dies is made up for');
$node->check_delivery($recorder, "SELECT json_build_object('id', id) AS key, to_json(t) AS data FROM $sync t", 'under the same key');

# --- another destination goes on meanwhile
$sync = fresh_sync();
$recorder->rules({ nth => 1, status => 429, headers => { 'Retry-After' => '600' } });
my $throttled = $node->trigger($sync);
$recorder->wait_for(requests => 1);
my $other = Signalsmith::Recorder->start;
$node->sql('CREATE TABLE others AS SELECT 1 AS id');
$node->create_webhook_sync(name => 'others', query => 'SELECT id FROM others', primary_key => 'id', url => $other->url);
is($node->run_sync('others')->{rows_created}, 1, 'a throttled destination does not hold up another one');
is($recorder->figures->{requests}, 1, 'and is left alone');
$node->sql("SELECT signalsmith.cancel_run('$throttled')");

# --- impossible answers
my $hostile = Signalsmith::Recorder->start_hostile;
for my $answer (qw(huge_body huge_chunks endless_headers endless_header_line endless_continue gzip_bomb truncated_chunks
	truncated_body bad_chunk_size negative_length no_status_line binary_noise status_zero invalid_utf8 deep_json
	slow_headers slow_body silence hang_up))
{
	my $name = fresh_sync(url => $hostile->url("/$answer"), options => { timeout_seconds => 2, max_attempts => 1 });
	my $began = time;
	my $end = $node->run_sync($name);
	ok(defined $end->{finished_at}, "$answer: the run ends");
	cmp_ok(time - $began, '<', 15, "$answer: in time");
	next if $answer =~ /^(huge|gzip)/;
	is($end->{rows_created}, 0, "$answer: is no acknowledgement");
}
is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'signalsmith launcher'}), 1, 'nothing crashed');
unlike(slurp_file($node->logfile), qr/was terminated by signal/, 'the log says so too');

done_testing();
