# How fast a destination is sent to: limits that several runs share, limits of each
# channel alone, what a destination's config may lower, and destinations that say
# themselves when they have had enough.
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
$node->sql(q{CREATE TABLE things AS SELECT i AS id, 'c' || i % 3 AS channel FROM generate_series(1, 30) AS i});
$node->sql(q{SELECT signalsmith.create_model('things', 'SELECT id, channel FROM things ORDER BY channel, id', '{id}')});

# What is sent at one moment arrives within a few milliseconds; on a machine that has
# other things to do, within more.
my $jitter = 0.15;

# A destination with a manifest, and syncs to it.
sub create_destination
{
	my ($name, $rate, %more) = @_;
	my $config = quote({
		base_url => $recorder->url('/api'), rate => $rate,
		operations => { upsert => { request => { method => 'PUT', path => '/{{key}}' }, respond => { decode => 'none' } } }, %more });
	return $node->sql("SELECT signalsmith.create_destination('$name', 'http', $config)");
}

sub create_sync
{
	my ($name, $destination, $options) = @_;
	return $node->sql("SELECT signalsmith.create_sync('$name', 'things', '$destination', options => " . quote($options // {}) . ')');
}

# The largest sum that arrived in any period of so many seconds.  Requests count 1
# each, or what the function says of them.
sub most_within
{
	my ($seconds, $requests, $weight) = @_;
	my @sorted = sort { $a->{started} <=> $b->{started} } @$requests;
	my ($most, $sum, $first) = (0, 0, 0);
	for my $request (@sorted)
	{
		$sum += $weight ? $weight->($request) : 1;
		while ($request->{started} - $sorted[$first]{started} >= $seconds - $jitter)
		{
			$sum -= $weight ? $weight->($sorted[$first]) : 1;
			$first++;
		}
		$most = $sum if $sum > $most;
	}
	return $most;
}

sub duration
{
	my @times = sort { $a <=> $b } map { $_->{started} } @_;
	return $times[-1] - $times[0];
}

# --- two syncs of one destination share its limit, while it throttles now and then
create_destination('shared', { limits => [ { requests => 20, per => '1s' } ] });
create_sync($_, 'shared', { max_in_flight => 4 }) for 'first', 'second';
$recorder->rules({ nth => 20, times => 1, status => 429, headers => { 'Retry-After' => '1' } });
my @runs = map { $node->trigger($_) } 'first', 'second';
$node->run_is($node->wait_for_run($_), { status => 'completed', rows_created => 30, rows_failed => 0 }, "$_ completes") for @runs;
my @history = $recorder->history;
is(scalar(@history), 61, 'one request for each row of both syncs, and one more for the 429');
cmp_ok(most_within(1, \@history), '<=', 20, 'no second has more requests than the limit');
cmp_ok(duration(@history), '<', 60 / 20 + 1 + 5, 'and the limit is made use of');

# --- a burst is part of the limit, and is there after a pause
create_destination('bursts', { limits => [ { requests => 16, per => '1s', burst => 8 } ] });
create_sync('bursts', 'bursts', { max_in_flight => 20 });
$recorder->reset;
$node->run_is($node->run_sync('bursts'), { status => 'completed', rows_created => 30 }, 'with a burst: completes');
@history = $recorder->history;
cmp_ok(duration(@history[ 0 .. 7 ]), '<', 0.5, 'the burst goes at once');
cmp_ok(most_within(1, \@history), '<=', 16, 'and no second has more than the limit');
cmp_ok(duration(@history), '>', 22 / 9 - 0.2, 'what follows goes at what is left of it');

# --- rows: batches of different sizes
create_destination('rows', { limits => [ { rows => 20, per => '1s' } ] }, operations => { upsert => {
	request => { method => 'POST', path => '/bulk', envelope => { rows => '{{rows}}' } },
	batch => { max_records => 1000 }, respond => { decode => 'none' } } });
create_sync('rows', 'rows', { batch_size => 5 });
create_sync('rows, large', 'rows');
$recorder->reset;
@runs = map { $node->trigger($_) } 'rows', 'rows, large';
$node->run_is($node->wait_for_run($_), { status => 'completed', rows_created => 30 }, "$_: completes") for @runs;
@history = $recorder->history;
my $rows = sub { scalar(() = $_[0]{body} =~ /"channel"/g) };
is((sort { $b <=> $a } map { $rows->($_) } @history)[0], 20, 'no request has more rows than a second may');
cmp_ok(most_within(1, \@history, $rows), '<=', 20 + 19, 'no second has more rows than the limit and those of its last request');
cmp_ok(duration(@history), '>', 60 / 20 - 1.1, 'rows are counted over both runs');

# --- each channel by itself: the model gives them one after the other, and they go
# side by side
create_destination('channels', { limits => [ { requests => 5, per => '1s', by => '{{row.channel}}' } ] });
create_sync('channels', 'channels');
$recorder->reset;
$node->run_is($node->run_sync('channels'), { status => 'completed', rows_created => 30 }, 'by channel: completes');
@history = $recorder->history;
for my $channel ('c0', 'c1', 'c2')
{
	my @of_channel = grep { $_->{body} =~ /"$channel"/ } @history;
	is(scalar(@of_channel), 10, "$channel has its requests");
	cmp_ok(most_within(1, \@of_channel), '<=', 5, "$channel: no second has more than the limit");
	is_deeply([ map { $_->{path} =~ /(\d+)$/ } sort { $a->{started} <=> $b->{started} } @of_channel ],
		[ sort { $a <=> $b } map { $_->{path} =~ /(\d+)$/ } @of_channel ], "$channel: in the order of the model");
}
cmp_ok(most_within(1, \@history), '>', 5, 'one channel does not wait for another');
cmp_ok(duration(@history), '<', 6, 'so all takes little longer than one channel does');

# --- cancelling while requests wait for their turn
create_destination('slow', { limits => [ { requests => 1, per => '1h', by => '{{row.channel}}' } ] });
create_destination('slower', { limits => [ { requests => 1, per => '1h' } ] });
for my $name ('slow', 'slower')
{
	create_sync($name, $name);
	$recorder->reset;
	my $run = $node->trigger($name);
	$recorder->wait_for(requests => $name eq 'slow' ? 3 : 1);
	$node->sql("SELECT signalsmith.cancel_run('$run')");
	my $before = time;
	$node->run_is($node->wait_for_run($run), { status => 'cancelled' }, "$name: a run that waits is cancelled");
	cmp_ok(time - $before, '<=', 3, "$name: at once");
	is_deeply([ $node->row_errors($run) ], [], "$name: no row is of unknown outcome");
}

# --- a destination's config: what its plan allows counts instead of the manifest's
$node->sql(q{INSERT INTO signalsmith.connector (name, manifest) VALUES ('vendor', '{
	"base_url": "https://vendor.example.com", "rate": {"max_in_flight": 8, "limits": [{"requests": 1000, "per": "1s"}]},
	"operations": {"upsert": {"request": {"method": "PUT", "path": "/{{key}}"}, "respond": {"decode": "none"}}}}')});
my $lower = quote({ base_url => $recorder->url('/api'), rate => { limits => [ { requests => 20, per => '1s' } ] } });
$node->sql("SELECT signalsmith.create_destination('small plan', 'vendor', $lower)");
create_sync('small plan', 'small plan');
$recorder->reset;
$node->run_is($node->run_sync('small plan'), { status => 'completed', rows_created => 30 }, 'with a smaller plan: completes');
cmp_ok(most_within(1, [ $recorder->history ]), '<=', 20, 'the config lowers the limit');
$node->sql("SELECT signalsmith.create_destination('small hook', 'webhook', " . quote({
		url => $recorder->url, rate => { limits => [ { requests => 20, per => '1s' } ] } }) . ')');
create_sync('small hook', 'small hook');
$recorder->reset;
$node->run_is($node->run_sync('small hook'), { status => 'completed', rows_created => 30 }, 'a webhook with a limit: completes');
cmp_ok(most_within(1, [ $recorder->history ]), '<=', 20, 'every connector takes one');

# --- what answers say: nothing is left, and when there is more
create_destination('counts down', { max_in_flight => 1, remaining => 'X-Quota-Left', wait => [ { header => 'X-Quota-Resets-In', unit => 'ms' } ] });
create_sync('counts down', 'counts down');
$recorder->reset;
$recorder->rules({ nth => 5, status => 200, headers => { 'X-Quota-Left' => '0', 'X-Quota-Resets-In' => '1500' } }, { status => 200, headers => { 'X-Quota-Left' => '7' } });
$node->run_is($node->run_sync('counts down'), { status => 'completed', rows_created => 30 }, 'a quota that is counted down: completes');
@history = $recorder->history;
cmp_ok($history[5]{started} - $history[4]{finished}, '>=', 1.4, 'after the last request that is allowed none is made');
cmp_ok($history[5]{started} - $history[4]{finished}, '<', 10, 'until there are more');

# --- waits: a path into the body, and one that is always the same
for my $case (
	[ 'body', [ { body => '$.again_in' } ], { body => { again_in => 2 } } ],
	[ 'fixed', [ { if => '$.policy == "burst"', fixed => '2s' }, { fixed => '1h' } ], { body => { policy => 'burst' } } ])
{
	my ($name, $wait, $answer) = @$case;
	create_destination("wait: $name", { max_in_flight => 1, wait => $wait },
		operations => { upsert => { request => { method => 'PUT', path => '/{{key}}' }, respond => { rows => { mode => 'all' } } } });
	create_sync("wait: $name", "wait: $name");
	$recorder->reset;
	$recorder->rules({ nth => 1, status => 429, %$answer });
	$node->run_is($node->run_sync("wait: $name"), { status => 'completed', rows_created => 30 }, "wait, $name: completes");
	@history = $recorder->history;
	cmp_ok($history[1]{started} - $history[0]{finished}, '>=', 1.9, "wait, $name: as long as it says");
}

# --- the quota of the day: the run does not sit there, and no further one asks before
create_destination('daily', { max_in_flight => 1 });
create_sync('daily', 'daily');
create_sync('daily too', 'daily');
$recorder->reset;
$recorder->rules({ nth => 3, status => 429, headers => { 'Retry-After' => '36000' } });
$node->sql(q{SELECT signalsmith.update_sync('daily', '{"options": {"error_after": 1}, "schedule": {"type": "interval", "interval_minutes": 1}}')});
my $run = $node->run_sync('daily');
$node->run_is($run, { status => 'failed', rows_created => 2, rows_failed => 0 }, 'a wait of hours ends the run');
like($run->{error}, qr/^the destination asks to be left alone until \d{4}-/, 'which says when it goes on');
is($node->sync('daily')->{status}, 'active', 'it does not count as a failure of the sync');
is($node->sql(q{SELECT next_run_at - now() BETWEEN '9 hours' AND '11 hours' FROM signalsmith.syncs WHERE name = 'daily'}),
	't', 'the schedule waits as long');
is($recorder->figures->{requests}, 3, 'nothing further was sent');
$node->restart;
$node->sql(q{UPDATE signalsmith.sync SET next_run_at = now() - interval '1 minute' WHERE name = 'daily'});
is($node->sql(q{SELECT signalsmith._enqueue_due() > now() + interval '9 hours'}), 't', 'after a restart too');
is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE sync = 'daily'}), 1, 'so no run is queued');
$node->run_is($node->run_sync('daily'), { status => 'completed', rows_created => 28 }, 'whoever triggers a run has a reason to: it is tried');
$node->run_is($node->run_sync('daily too'), { status => 'completed', rows_created => 30 }, 'and what is over is over for all');

done_testing();
