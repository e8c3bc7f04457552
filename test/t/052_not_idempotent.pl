# Requests that do harm when they are made twice: an outcome that nobody knows is
# reported as such, not made up for by sending again, neither within the run nor
# after a crash.
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
$node->sql(q{CREATE TABLE people AS SELECT i AS id, 'n' || i AS name FROM generate_series(1, 3) AS i});

# A sync that creates each person with a POST of its own; the recorder starts
# afresh.
sub create_sync
{
	my ($name, %create) = @_;
	my %config = (base_url => $recorder->url,
		operations => { create => { request => { method => 'POST' }, %create }, update => { request => { method => 'PUT', path => '/{{key}}' } } });
	$recorder->reset;
	$node->sql("SELECT signalsmith.create_model('$name', 'SELECT * FROM people', '{id}') \\g /dev/null
		SELECT signalsmith.create_destination('$name', 'http', " . quote(\%config) . ") \\g /dev/null
		SELECT signalsmith.create_sync('$name', '$name', '$name', options => '{\"max_in_flight\": 1, \"timeout_seconds\": 1}')");
	return;
}

sub unknown_keys
{
	my ($run) = @_;
	return [ sort map { $_->{key}{id} } grep { $_->{outcome} eq 'unknown' } $node->row_errors($run->{id}) ];
}

# --- within a run
for my $case (
	[ 'timeout', { phase => 'after_apply', delay => 3 } ],
	[ 'dropped_connection', { phase => 'after_apply', drop => 1 } ],
	[ 'half_an_answer', { phase => 'mid_answer', drop => 1 } ],
	[ 'server_error', { phase => 'after_apply', status => 502 } ])
{
	my ($what, $rule) = @$case;
	create_sync($what);
	$recorder->rules({ %$rule, nth => 2 });
	my $run = $node->run_sync($what);
	$node->run_is($run, { status => 'completed', rows_created => 2, rows_failed => 1, requests => 3 },
		"$what: the request is not repeated");
	my ($error) = $node->row_errors($run->{id});
	is_deeply([ @$error{qw(outcome attempts)} ], [ 'unknown', 1 ], "$what: its row is of unknown outcome at once");
	is($recorder->figures->{requests}, 3, "$what: three rows, three requests");
}

# --- what is known to have had no effect is repeated all the same
for my $case (
	[ 'throttled', { status => 503, headers => { 'Retry-After' => '1' } } ],
	[ 'known_to_be_harmless', { status => 500 }, classify => [ { status => 500, is => 'retry' } ] ],
	[ 'idempotent', { status => 500 }, idempotent => JSON::PP::true ])
{
	my ($what, $rule, @create) = @$case;
	create_sync($what, @create);
	$recorder->rules({ %$rule, nth => 2 });
	$node->run_is($node->run_sync($what), { status => 'completed', rows_created => 3, rows_failed => 0, requests => 4 },
		"$what: the request is repeated");
}

# --- a destination that never says is left alone after a while
$node->sql(q{INSERT INTO people SELECT i, 'n' || i FROM generate_series(4, 40) AS i});
create_sync('hopeless');
$recorder->rules({ phase => 'after_apply', status => 500 });
my $run = $node->run_sync('hopeless');
is($run->{rows_created}, 0, 'nothing is confirmed by a destination that always fails');
is($recorder->figures->{requests}, 10, 'and it is not tried with every row');
like($run->{error}, qr/10 batches in a row failed, the last at attempt 1: HTTP status 500/, 'the run says why it ended');
is(scalar(@{ unknown_keys($run) }), 10, 'the rows that were sent are of unknown outcome, the others are not');
$node->sql('DELETE FROM people WHERE id > 3');

# --- after a crash
create_sync('crash');
$recorder->rules({ phase => 'after_apply', hold => 1, nth => 2 });
my $id = $node->trigger('crash');
$recorder->wait_for(held => 1);
$node->kill_and_wait_for_restart($node->runner_pid);
$run = $node->wait_for_run($id);
is($run->{status}, 'completed', 'after a crash the run ends');
is($run->{rows_created} + $run->{rows_failed}, 3, 'with a word about each row');
is($recorder->figures->{requests}, 2, 'and sends nothing that it had begun to send');
ok((grep { $_ == 2 } @{ unknown_keys($run) }), 'the row that hung is of unknown outcome');
is(scalar(@{ unknown_keys($run) }), $run->{rows_failed}, 'and so is whatever was not confirmed');
like(($node->row_errors($id))[0]{message}, qr/an earlier process may have sent it/, 'the reason says so');

# --- the same crash does not keep what is idempotent from being sent again
create_sync('crash_idempotent', idempotent => JSON::PP::true);
$recorder->rules({ phase => 'after_apply', hold => 1, nth => 2 });
$id = $node->trigger('crash_idempotent');
$recorder->wait_for(held => 1);
$node->kill_and_wait_for_restart($node->runner_pid);
$node->run_is($node->wait_for_run($id), { status => 'completed', rows_created => 3, rows_failed => 0 },
	'what is idempotent is sent again after a crash');

done_testing();
