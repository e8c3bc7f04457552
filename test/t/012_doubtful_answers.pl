# Answers that leave in doubt whether the destination has the rows: connections
# that end at the worst moment, bodies that are cut off or of the wrong kind, and
# what destinations say of idempotency keys.
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
	CREATE TABLE things (id int PRIMARY KEY, v text); INSERT INTO things SELECT i, 'v' || i FROM generate_series(1, 3) AS i;
	CREATE TABLE heavy (id int PRIMARY KEY, v text); INSERT INTO heavy SELECT 1, repeat('x', 20000000)});

# A sync of its own to the recorder, which starts afresh with these rules.
sub run_with_rules
{
	my ($name, $table, $rules, %more) = @_;
	$recorder->reset;
	$recorder->rules(@$rules);
	$node->create_webhook_sync(
		name => $name, query => "SELECT id, v FROM $table", primary_key => 'id', url => $recorder->url, %more);
	return $node->run_sync($name);
}

sub everything_of
{
	my ($table) = @_;
	return "SELECT json_build_object('id', id) AS key, to_json(t) AS data FROM $table t";
}

# The idempotency keys and attempts of all requests, in order of arrival.
sub headers
{
	my ($header) = @_;
	return map { $_->{headers}{$header} } $recorder->history;
}

# --- a connection that is used again, and ends after the request was applied
my $run = run_with_rules('used again', 'things', [ { nth => 2, phase => 'after_apply', drop => 1 } ], options => { max_in_flight => 1 });
$node->run_is($run, { status => 'completed', rows_created => 3, rows_failed => 0, requests => 4 },
	'a request that libcurl sends again by itself counts as a request');
my @keys = headers('idempotency-key');
is(scalar(@keys), 4, 'four requests arrived');
is($keys[2], $keys[1], 'the repeated one under the same key');
$node->check_delivery($recorder, everything_of('things'), 'nothing is lost');

# --- a connection that ends in the middle of a request
$run = run_with_rules('cut off', 'heavy', [ { phase => 'before_read', reset => 1 } ], options => { max_attempts => 1 });
$node->run_is($run, { status => 'completed', rows_created => 0, rows_failed => 1, requests => 1 }, 'a request that is cut off fails');
is(($node->row_errors($run->{id}))[0]{outcome}, 'unknown', 'its outcome is unknown, since bytes were sent');
$run = run_with_rules('cut off once', 'heavy', [ { phase => 'before_read', reset => 1, nth => 1 } ]);
$node->run_is($run, { status => 'completed', rows_created => 1, rows_failed => 0 }, 'while there are attempts left it is repeated');
@keys = headers('idempotency-key');
is_deeply(\@keys, [ ($keys[0]) x 2 ], 'under the same key');

# --- answers of the wrong kind
my $config = quote({
	base_url => $recorder->url('/api'), operations => { upsert => {
		request => { method => 'PUT', path => '/{{key}}' }, respond => { decode => 'json', rows => { mode => 'all' } } } } });
$node->sql("SELECT signalsmith.create_destination('api', 'http', $config);
	SELECT signalsmith.create_model('things', 'SELECT id, v FROM things', '{id}')");
for my $case (
	[ 'JSON', '{"fine": true}', undef, 3 ],
	[ 'an HTML page', '<html>Welcome to the login page</html>', undef, 0 ],
	[ 'half a JSON text', '{"fine": tr', undef, 0 ],
	[ 'less than announced', '{"fine": true}', 500, 0 ])
{
	my ($what, $body, $length, $created) = @$case;
	$recorder->reset;
	$recorder->rules({ status => 200, body => $body, defined $length ? (length => $length) : (), phase => 'after_apply' });
	$node->sql('SELECT signalsmith.create_sync(' . quote("answer: $what") . ", 'things', 'api', options => '{\"max_attempts\": 2}')");
	$run = $node->run_sync("answer: $what");
	is($run->{rows_created}, $created, "$what: acknowledges $created where JSON is wanted");
	next if $created;
	is_deeply([ map { $_->{outcome} } $node->row_errors($run->{id}) ], [ ('unknown') x 3 ], "$what: the outcome is unknown");
	is($node->sync("answer: $what")->{rows_in_snapshot}, 0, "$what: the snapshot knows nothing");
}

# --- our key is in progress: the same again, later
$run = run_with_rules('in progress', 'things',
	[ { nth => [ 1, 2 ], status => 409, body => { error => 'a request with this key is in progress' } } ], config => { batch_size => 10 });
$node->run_is($run, { status => 'completed', rows_created => 3, rows_failed => 0, requests => 3 }, '409: repeated until it is done');
@keys = headers('idempotency-key');
is_deeply(\@keys, [ ($keys[0]) x 3 ], '409: under one key');
is_deeply([ headers('signalsmith-attempt') ], [ 1, 2, 3 ], '409: as further attempts');

# --- a destination that says that we reused a key: that is no fault of the rows
$run = run_with_rules('reused key', 'things',
	[ { nth => 1, status => 503 }, { nth => 2, status => 422, body => { error => 'idempotency key reused with another payload' } } ], config => { batch_size => 10 });
$node->run_is($run, { status => 'completed', rows_created => 0, rows_failed => 3, requests => 2 }, '422: the rows fail, and are not looked for one by one');
my @errors = $node->row_errors($run->{id});
is_deeply([ map { [ @$_{qw(outcome http_status code)} ] } @errors ], [ ([ 'rejected', 422, 'idempotency_key_reused' ]) x 3 ], '422: for a reason of its own');
like($errors[0]{message}, qr/idempotency key reused with another payload/, '422: with the words of the destination');
@keys = headers('idempotency-key');
like($errors[0]{message}, qr/key $keys[0] /, '422: with the key');
my ($now, $then) = $errors[0]{message} =~ /([0-9a-f]{16}) now and was ([0-9a-f]{16}) at/;
is($now, $then, '422: and with the hashes of what was sent, which agree');
$node->run_is($node->run_sync('reused key'), { status => 'completed', rows_created => 3, rows_failed => 0 }, '422: the next run has a key of its own');
isnt((headers('idempotency-key'))[-1], $keys[0], '422: which is another one');

done_testing();
