# Rows that fail: refused one by one or as a batch, answered late or never.  The
# others go on, the run says what failed, and the next run tries it again.
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

# A table of n rows and a sync that sends it; the recorder starts afresh.
sub create
{
	my ($name, $rows, %more) = @_;
	$recorder->reset;
	$node->sql("CREATE TABLE $name (id int PRIMARY KEY, v text);
		INSERT INTO $name SELECT i, 'v' || i FROM generate_series(1, $rows) AS i");
	$node->create_webhook_sync(
		name => $name, query => "SELECT id, v FROM $name", primary_key => 'id', url => $recorder->url, %more);
	return;
}

sub whole
{
	my ($name) = @_;
	return "SELECT json_build_object('id', id) AS key, to_json(t) AS data FROM $name t";
}

# --- the answer names the refused rows
create('refused', 250, config => { batch_size => 100 });
$recorder->rules({ reject => [ { id => 7 }, { id => 123 } ] });
my $run = $node->run_sync('refused');
$node->run_is($run, { status => 'completed', rows_processed => 250, rows_created => 248, rows_failed => 2, requests => 3 },
	'refused rows fail, the rest of their batch does not');
my @errors = $node->row_errors($run->{id});
is_deeply(
	[ map { [ $_->{key}, @$_{qw(operation outcome attempts http_status code sync)} ] } @errors ],
	[ [ { id => 123 }, 'create', 'rejected', 1, 200, 422, 'refused' ], [ { id => 7 }, 'create', 'rejected', 1, 200, 422, 'refused' ] ],
	'row_errors says which and why');
like($errors[0]{message}, qr/refused by rule/, 'in the words of the destination');
$node->check_delivery($recorder, whole('refused'), 'nothing else is missing', run => $run->{id});
is($node->sync('refused')->{rows_in_snapshot}, 248, 'the snapshot knows only what was confirmed');

my $before = $recorder->figures->{requests};
$run = $node->run_sync('refused');
$node->run_is($run, { status => 'completed', rows_created => 0, rows_failed => 2, rows_unchanged => 248, requests => 1 },
	'the next run sends the refused rows again, and only them');
$recorder->rules;
$run = $node->run_sync('refused');
$node->run_is($run, { rows_created => 2, rows_failed => 0, rows_unchanged => 248 }, 'and they arrive once they are accepted');
$node->check_delivery($recorder, whole('refused'), 'then everything is there');

# --- a row that was refused and vanishes is not sent again, and never deleted
create('vanished', 3, mode => 'mirror');
$recorder->rules({ reject => [ { id => 2 } ] });
$node->run_sync('vanished');
$recorder->rules;
$node->sql('DELETE FROM vanished WHERE id IN (2, 3)');
$before = $recorder->figures->{requests};
$run = $node->run_sync('vanished');
$node->run_is($run, { rows_processed => 1, rows_created => 0, rows_deleted => 1, rows_failed => 0 },
	'only what was ever acknowledged is deleted');
my @sent = map { decode_json($_->{body}) } $recorder->history($before + 1);
is_deeply([ map { $_->{key} } map { $_->{records} ? @{ $_->{records} } : $_->{metadata} } @sent ], [ { id => 3 } ],
	'and nothing is sent of the refused row');

# --- one poison row in a batch of 1,000
create('poison', 1000, config => { batch_size => 1000 });
$recorder->rules({ poison => [ { id => 611 } ], body => { error => 'row 611 is bad' } });
$run = $node->run_sync('poison');
$node->run_is($run, { status => 'completed', rows_created => 999, rows_failed => 1 }, 'one poison row fails alone');
cmp_ok($run->{requests}, '<=', 21, 'found in at most 20 further requests');
@errors = $node->row_errors($run->{id});
is_deeply($errors[0]{key}, { id => 611 }, 'it is the right one');
is($errors[0]{http_status}, 400, 'with the status');
like($errors[0]{message} // '', qr/row 611 is bad/, 'and the words of the answer');
$node->check_delivery($recorder, whole('poison'), 'the others arrived once', run => $run->{id});

# --- seven of them
create('poisons', 1000, config => { batch_size => 1000 });
my @poison = (1, 17, 18, 500, 501, 777, 1000);
$recorder->rules({ poison => [ map { { id => $_ } } @poison ] });
$run = $node->run_sync('poisons');
$node->run_is($run, { status => 'completed', rows_created => 993, rows_failed => 7 }, 'seven poison rows fail alone');
cmp_ok($run->{requests}, '<=', 1 + 7 * 2 * 10, 'found in at most 2 log2 n requests each');
is_deeply([ sort { $a <=> $b } map { $_->{key}{id} } $node->row_errors($run->{id}) ], \@poison, 'they are the right ones');
$node->check_delivery($recorder, whole('poisons'), 'the others arrived once', run => $run->{id});

# --- failed rows as work: counted by reason, and tried again at once
is($node->sql(qq{SELECT operation, outcome, http_status, rows FROM signalsmith.error_summary WHERE run_id = '$run->{id}'}),
	'create|rejected|400|7', 'what failed for one reason is one line');
$recorder->rules;
my $retry = $node->wait_for_run($node->sql("SELECT signalsmith.retry_rows('$run->{id}')"));
$node->run_is($retry, { status => 'completed', rows_created => 7, rows_failed => 0, rows_unchanged => 993, trigger => 'manual' },
	'retry_rows sends the failed rows again');
$node->check_delivery($recorder, whole('poisons'), 'then everything is there');
like($node->sql_error("SELECT signalsmith.retry_rows('$run->{id}')"),
	qr/the failed rows of run "$run->{id}" have been retried\nDETAIL:  Run "$retry->{id}" tried them again/, 'once more is refused');
like($node->sql_error("SELECT signalsmith.retry_rows('$retry->{id}')"),
	qr/run "$retry->{id}" has no failed rows\nDETAIL:  Its status is "completed".\nHINT:  SELECT signalsmith.trigger_sync/,
	'and so is a run without failed rows');

# --- all of them
create('all_poison', 16, config => { batch_size => 16 });
$recorder->rules({ status => 400, body => { error => 'no' } });
$run = $node->run_sync('all_poison');
$node->run_is($run, { status => 'completed', rows_created => 0, rows_failed => 16, requests => 31 }, 'a batch of poison rows fails row by row');
$recorder->reset;

# --- a row that makes the API stumble: the batch is repeated first, then halved
create('stumbling', 100, config => { batch_size => 100 }, options => { max_attempts => 2 });
$recorder->rules({ poison => [ { id => 42 } ], status => 500, body => { error => 'internal error' } });
$run = $node->run_sync('stumbling');
$node->run_is($run, { status => 'completed', rows_created => 99, rows_failed => 1 }, 'a row that makes a 500 fails alone');
cmp_ok($run->{requests}, '<=', 2 + 2 * 7, 'found in at most 2 log2 n further requests');
@errors = $node->row_errors($run->{id});
is_deeply([ map { @$_{qw(outcome http_status)}, $_->{key}{id} } @errors ], [ 'unknown', 500, 42 ], 'it is the right one, of unknown outcome');
my @stumbling = $recorder->history;
is($stumbling[1]{headers}{'idempotency-key'}, $stumbling[0]{headers}{'idempotency-key'}, 'the batch was repeated before it was halved');
$node->check_delivery($recorder, whole('stumbling'), 'the others arrived once', run => $run->{id});

# --- a destination that stumbles over everything is not asked about every row
create('broken', 1000, config => { batch_size => 1000 }, options => { max_attempts => 2 });
$recorder->rules({ status => 500 });
$run = $node->run_sync('broken');
$node->run_is($run, { status => 'failed', rows_created => 0 }, 'without an end to it the run fails');
like($run->{error}, qr/^10 batches in a row failed.*500/, 'and says why');
cmp_ok($run->{requests}, '<', 20, 'after a few requests');

# --- many reasons, the most frequent first
create('reasons', 60, config => { batch_size => 100 });
$recorder->rules({ poison => [ { id => 5 } ], body => { error => 'bad' } }, { reject => [ map { { id => $_ } } 21 .. 60 ] });
$run = $node->run_sync('reasons');
is($node->sql(qq{SELECT operation, outcome, http_status, code, message IS NOT NULL, rows
		FROM signalsmith.error_summary WHERE run_id = '$run->{id}'}),
	"create|rejected|200|422|t|40\ncreate|rejected|400|http_400|t|1", 'error_summary counts them by reason');

# --- trouble that passes: the same bytes under the same key, within the run
for my $fault (
	[ 'a server error', { status => 503 } ],
	[ 'a dropped connection', { drop => 1 } ],
	[ 'a reset after the request was applied', { phase => 'after_apply', reset => 1 } ],
	[ 'half an answer', { phase => 'mid_answer', drop => 1 } ],
	[ 'a late answer', { phase => 'after_apply', delay => 3 } ])
{
	my ($what, $rule) = @$fault;
	my $name = 'passing_' . ($what =~ s/\W+/_/gr);
	create($name, 3, config => { batch_size => 10 }, options => { timeout_seconds => 1 });
	$recorder->rules({ %$rule, nth => 1 });
	$run = $node->run_sync($name);
	$node->run_is($run, { status => 'completed', rows_created => 3, rows_failed => 0 }, "$what is repeated");
	my @requests = $recorder->history;
	is(scalar(@requests), 2, "$what: with two requests");
	is($requests[1]{body_hash}, $requests[0]{body_hash}, "$what: of the same bytes");
	is($requests[1]{headers}{'idempotency-key'}, $requests[0]{headers}{'idempotency-key'}, "$what: and the same key");
	$node->check_delivery($recorder, whole($name), "$what: nothing is lost");
}

# --- trouble that stays: the outcome is unknown, and the row is planned again
create('unknown', 3, config => { batch_size => 10 }, options => { timeout_seconds => 1, max_attempts => 2 });
$recorder->rules({ phase => 'after_apply', delay => 5 });
$run = $node->run_sync('unknown');
$node->run_is($run, { status => 'completed', rows_created => 0, rows_failed => 3 }, 'without an answer the rows fail');
is_deeply([ map { [ @$_{qw(outcome attempts)} ] } $node->row_errors($run->{id}) ], [ ([ 'unknown', 2 ]) x 3 ],
	'as unknown, after max_attempts');
my @requests = $recorder->history;
is(scalar(@requests), 2, 'max_attempts requests were made');
is_deeply([ map { $_->{headers}{'signalsmith-attempt'} } @requests ], [ 1, 2 ], 'the attempts are counted in a header');
$recorder->rules;
$run = $node->run_sync('unknown');
$node->run_is($run, { status => 'completed', rows_failed => 0, rows_unchanged => 0 }, 'the next run sends them again');
is($recorder->figures->{records}, 3, 'and they are there');

# --- first doubt, then a definite refusal: only then the batch is split
create('doubtful', 10, config => { batch_size => 10 }, options => { timeout_seconds => 1 });
$recorder->rules({ nth => 1, delay => 3 }, { poison => [ { id => 4 } ] });
$run = $node->run_sync('doubtful');
$node->run_is($run, { status => 'completed', rows_created => 9, rows_failed => 1 }, 'after a timeout the bad row is found as well');
@requests = $recorder->history;
is($requests[1]{headers}{'idempotency-key'}, $requests[0]{headers}{'idempotency-key'}, 'the batch is repeated first, under the same key');
is($requests[1]{body_hash}, $requests[0]{body_hash}, 'with the same bytes');
isnt($requests[2]{headers}{'idempotency-key'}, $requests[0]{headers}{'idempotency-key'}, 'what it is split into has other keys');
$node->check_delivery($recorder, whole('doubtful'), 'the others arrived once', run => $run->{id});

# --- a newer version never overtakes
create('newer', 1, options => { timeout_seconds => 1, max_attempts => 1 });
$recorder->rules({ phase => 'before_read', delay => 2 });
$node->run_sync('newer');
$node->sql(q{UPDATE newer SET v = 'newer'});
$recorder->rules;
$node->run_sync('newer');
$node->check_delivery($recorder, whole('newer'), 'the destination ends with the newer version');

done_testing();
