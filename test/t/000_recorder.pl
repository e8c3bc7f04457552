# The recorder itself: it applies, misbehaves as told, and its history checks see
# what they are there for.  A check that cannot fail would prove nothing.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Recorder;
use Test::More;

my $recorder = Signalsmith::Recorder->start;
my $client = HTTP::Tiny->new(timeout => 60);
my $json = JSON::PP->new->canonical;

# Sends one record as a webhook does, and returns the answer's status; 599 is
# HTTP::Tiny's word for no answer.
sub send_record
{
	my ($id, $data, $idempotency_key, $operation) = @_;
	my $body = $json->encode({ data => $data, metadata => { run_id => 'run_1', operation => $operation // 'update', key => { id => $id }, idempotency_key => $idempotency_key } });
	return $client->post($recorder->url, { content => $body, headers => { 'Idempotency-Key' => "batch of $idempotency_key" } })->{status};
}

sub violations
{
	my ($expectation) = @_;
	return join "\n", @{ $recorder->control('POST', '/check', $expectation) };
}

# --- applying, and idempotency keys
is(send_record(1, { v => 'one' }, 'a'), 200, 'a record is taken');
is($recorder->state->{'{"id":1}'}{v}, 'one', 'and applied');
send_record(1, { v => 'two' }, 'b');
is(send_record(1, { v => 'one' }, 'a'), 200, 'a known key is answered as before');
is($recorder->state->{'{"id":1}'}{v}, 'two', 'and not applied again');
is(send_record(1, { v => 'three' }, 'b'), 422, 'a key with another body is refused');
send_record(1, undef, 'c', 'delete');
is_deeply($recorder->state, {}, 'a delete is applied');

# --- the checks see what is wrong
my $violations = violations('{"table": {"{\"id\": 1}": {"v": 1.50}}}');
like($violations, qr/I1: lost: \{"id":1\}/, 'I1 sees a lost record');
like($violations, qr/I3: requests 2 and 4/, 'I3 sees a key with other bytes');
like($violations, qr/I4: request 3 brings back an older version/, 'I4 sees an older version');
like($violations, qr/I5: request 3 repeats/, 'I5 sees a duplicate without a reason');

$recorder->reset;
send_record(2, { v => 'x' }, 'a');
like(violations('{"table": {}}'), qr/I1: should be gone: \{"id":2\}/, 'I1 sees what was not deleted');
like(violations('{"table": {"{\"id\":2}": {"v": "y"}}}'), qr/I1: differs/, 'I1 sees a wrong value');
is(violations('{"table": {"{\"id\":2}": {"v": "x"}}}'), '', 'and is content with the right one');
is(violations('{"table": {}, "failed": ["{\"id\":2}"]}'), '', 'or with a failed row');
is(violations('{"runs": {"run_1": {"confirmed": 1, "complete": true}}}'), '', 'and with a run that counts one record');
like(violations('{"runs": {"run_2": {"confirmed": 0, "complete": true}}}'), qr/I2: request 1 belongs to no run: run_1/, 'I2 sees what no run has sent');
like(violations('{"runs": {"run_1": {"confirmed": 2, "complete": true}}}'), qr/I6: run_1 counts 2 confirmed records, the destination acknowledged 1/, 'I6 sees a run that counts too many');
like(violations('{"runs": {"run_1": {"confirmed": 0, "complete": true}}}'), qr/I6: run_1 sent 1 records and counts 0 as confirmed/, 'or too few');
is(violations('{"runs": {"run_1": {"confirmed": 0, "complete": false}}}'), '', 'unless it has not completed');

$recorder->reset;
$client->put($recorder->url('/things/1'), { content => '{"amount": 1.50}' });
like(violations('{"table": {"/things/1": {"amount": 1.5}}}'), qr/I1: differs.*1\.50/, 'numbers count as they are written');
is(violations('{"table": {"/things/1": {"amount": 1.50}}}'), '', 'plain REST is understood');
$client->delete($recorder->url('/things/1'));
is_deeply($recorder->state, {}, 'deletes too');

# --- faults
$recorder->reset;
$recorder->rules({ nth => 1, phase => 'after_read', drop => 1 }, { nth => 2, status => 503 },
	{ nth => 2, phase => 'after_apply', reset => 1 }, { key => { id => 7 }, status => 400 }, { reject => [ { id => 8 } ] });
is(send_record(1, {}, 'k1'), 599, 'a dropped connection');
is(send_record(2, {}, 'k2'), 503, 'a status');
is(send_record(3, {}, 'k3'), 200, 'a rule that has struck does not strike again');
is_deeply([ sort keys %{ $recorder->state } ], ['{"id":3}'], 'only what was accepted is applied');
is(send_record(7, {}, 'k7'), 400, 'a key');
is(send_record(8, {}, 'k8'), 200, 'a row that is refused in the answer');
is($recorder->state->{'{"id":8}'}, undef, 'is not applied');
is(scalar($recorder->history), 5, 'every request is recorded');

$recorder->reset;
$recorder->rules({ phase => 'after_apply', reset => 1 });
is(send_record(1, {}, 'k1'), 599, 'applied, then reset');
is($recorder->figures->{records}, 1, 'it was applied');
ok(!($recorder->history)[0]{answered}, 'and not answered');
$recorder->rules({ phase => 'mid_answer', drop => 1 });
is(send_record(2, {}, 'k2'), 599, 'half an answer');
eval { $recorder->rules({ colour => 'red' }) };
like($@, qr/unknown in a rule: colour/, 'a misspelt rule is refused');

# --- overlapping requests for one record
$recorder->reset;
$recorder->rules({ hold => 1, nth => 1 });
my $child = fork // die;
if (!$child)
{
	send_record(1, { v => 1 }, 'k1');
	require POSIX;
	POSIX::_exit(0);
}
$recorder->wait_for(held => 1);
$recorder->figures->{held} == 1 or diag('not held');
send_record(1, { v => 2 }, 'k2');
$recorder->release;
waitpid $child, 0;
like(violations('{}'), qr/I4: requests 1 and 2 for \{"id":1\} overlap/, 'I4 sees an overlap');

# --- impossible answers
my $hostile = Signalsmith::Recorder->start_hostile;
is($client->post($hostile->url('/truncated_body'))->{status}, 599, 'an answer that is cut off');
is($client->post($hostile->url('/no_status_line'))->{status}, 599, 'an answer that is none');
my $figures = $json->decode($client->get($hostile->url('/figures'))->{content});
is($figures->{truncated_body}{requests}, 1, 'requests are counted');

done_testing();
