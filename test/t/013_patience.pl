# Waiting: after 429 all runners leave the destination alone for as long as it said;
# what failed is tried again after delays that are spread evenly.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;
my $other = Signalsmith::Recorder->start;

# --- two syncs of one destination, and one of another
$node->sql(q{CREATE TABLE things AS SELECT i AS id FROM generate_series(1, 2000) AS i});
$node->create_webhook_sync(
	name => 'first', query => 'SELECT id FROM things', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 50 }, options => { max_in_flight => 1 });
$node->create_webhook_sync(
	name => 'elsewhere', query => 'SELECT id FROM things', primary_key => 'id', url => $other->url, config => { batch_size => 50 });
$node->sql(q{SELECT signalsmith.create_sync('second', 'first', 'first', options => '{"max_in_flight": 1}')});

# Both are under way when the first gets its 429.
$recorder->rules({ nth => 3, hold => 1, status => 429, headers => { 'Retry-After' => '3' } }, { delay => 0.01 });
my $first = $node->trigger('first');
$recorder->wait_for(held => 1);
my $second = $node->trigger('second');
$recorder->wait_for(requests => 8);
my $before = $recorder->figures->{requests};
$recorder->release;
is($node->run_sync('elsewhere')->{rows_created}, 2000, 'another destination goes on');
for my $run ($first, $second)
{
	$node->run_is($node->wait_for_run($run), { status => 'completed', rows_created => 2000, rows_failed => 0 }, "$run completes");
}
my ($throttled) = grep { ($_->{status} // 0) == 429 } $recorder->history;
my @later = sort { $a <=> $b } map { $_->{started} } grep { $_->{started} > $throttled->{finished} } $recorder->history;

# A request of the other runner may have been on its way at that moment.
shift @later if $later[0] - $throttled->{finished} < 0.1;
cmp_ok($later[0] - $throttled->{finished}, '>=', 2.9, 'after Retry-After: 3 no runner sends for 3 s');

# --- the delays before second attempts: uniform between 0 and 1 s
$recorder->reset;
$recorder->rules({ attempt => 1, probability => 0.7, status => 500 });
$node->create_webhook_sync(
	name => 'jitter', query => 'SELECT id FROM things', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 1 }, options => { max_in_flight => 16 });
$node->run_is($node->run_sync('jitter'), { status => 'completed', rows_created => 2000, rows_failed => 0 }, 'all rows arrive');
my (%failed, @delays);
for my $request ($recorder->history)
{
	my $key = $request->{headers}{'idempotency-key'};
	push @delays, $request->{started} - $failed{$key} if defined $failed{$key};
	$failed{$key} = $request->{finished} if $request->{status} == 500;
}
cmp_ok(scalar(@delays), '>', 1000, 'more than a thousand delays');

# The distance from the uniform distribution: a sum of delays and of the time it takes
# to send, so the allowance is larger than the 0.05 of statistics.
@delays = sort { $a <=> $b } @delays;
my $distance = max(map { abs(($_ + 1) / @delays - min(1, $delays[$_])) } 0 .. $#delays);
cmp_ok($distance, '<', 0.15, 'which are spread evenly over a second')
  or diag(join ' ', map { sprintf '%.2f', $delays[ $_ * $#delays / 10 ] } 0 .. 10);

done_testing();
