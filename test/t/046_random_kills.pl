# Fifty processes killed and fifty terminated at random while 20,000 rows keep
# changing: nothing is lost, nothing is sent that should not be.  The seed is
# SIGNALSMITH_TEST_SEED, or always the same.  test/soak/run goes on for longer.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Nemesis;
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(time);

my $node = Signalsmith::Cluster->start_new('main', conf => <<'CONF');
log_statement = none
signalsmith.max_attempts = 20
signalsmith.error_after = 1000
CONF
my $recorder = Signalsmith::Recorder->start;
my $seed = $ENV{SIGNALSMITH_TEST_SEED} // 20261123;
my $nemesis = Signalsmith::Nemesis->new($node, seed => $seed);

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, x int);
	INSERT INTO people SELECT i, 0 FROM generate_series(1, 20000) AS i});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, x FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 50 }, options => { max_in_flight => 4 });

# The destination has its own bad days.
$recorder->rules(
	{ probability => 0.01, seed => $seed, phase => 'after_apply', drop => 1 },
	{ probability => 0.01, seed => $seed + 1, status => 503 },
	{ probability => 0.01, seed => $seed + 2, phase => 'mid_answer', drop => 1 },
	{ probability => 0.01, seed => $seed + 3, phase => 'before_read', reset => 1 });

# Some rows are updated, some deleted, some come (back).
sub change_rows
{
	my $residue = int rand 7;
	$node->sql(qq{
		DELETE FROM people WHERE id % 7 = $residue AND id % 3 = 0;
		UPDATE people SET x = x + 1 WHERE id % 7 <> $residue;
		INSERT INTO people SELECT i, 0 FROM generate_series(1, 20000) AS i WHERE i % 7 <> $residue ON CONFLICT DO NOTHING});
	return;
}

my $requests = 0;

# Waits until a few more requests have come, and sometimes until something more
# has been confirmed than when the wait began: a run that gets nowhere is given up,
# as it should be.  Sees to it that there is always a run.
sub let_it_work
{
	my ($confirmed) = @_;
	my $target = $requests + int rand 60;
	my $before;
	$node->wait_until('the run goes on', sub {
		my $answer = $node->ask(q{SELECT signalsmith.trigger_sync('people')
			WHERE NOT EXISTS (SELECT FROM signalsmith.runs WHERE status IN ('queued', 'running'))});
		change_rows() if $answer;
		my $now = $node->ask('SELECT coalesce(sum(rows_created + rows_updated + rows_deleted), 0) FROM signalsmith.runs');
		return 0 if $now eq '';
		$before //= $now;
		return $recorder->figures->{requests} >= $target && (!$confirmed || $now ne $before) });
	$requests = $recorder->figures->{requests};
	return;
}

my @deeds = ((map { 'kill' } 1 .. 50), (map { 'terminate' } 1 .. 50));
@deeds = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @deeds;
my $began = time;
for my $number (0 .. $#deeds)
{
	my $choice = rand;
	my $type = $choice < 0.8 ? 'signalsmith runner' : $choice < 0.96 ? 'signalsmith scheduler'
	  : $choice < 0.98 ? 'signalsmith launcher' : $deeds[$number] eq 'kill' ? 'checkpointer' : 'signalsmith runner';
	let_it_work($number % 2);
	$nemesis->terminate($nemesis->find_process('signalsmith runner') || redo) if $type eq 'signalsmith scheduler';    # one follows
	$nemesis->strike($deeds[$number], $type) || $nemesis->strike($deeds[$number], 'signalsmith runner') || redo;
}
note sprintf '%s in %.0f s', $nemesis->deeds, time - $began;

# The destination recovers, and so does everything else.
$recorder->rules;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM signalsmith.runs WHERE status IN ('queued', 'running')}) or die;
my $run;
$run = $node->run_sync('people') for 1 .. 2;
$node->run_is($run, { status => 'completed', requests => 0, rows_failed => 0 }, 'at last nothing is left to be sent');
is($node->sync('people')->{status}, 'active', 'the sync is active');
$node->check_delivery($recorder, q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p},
	'nothing is lost, invented, reordered', crashes => 1, runs => 'people');
is($node->sql(q{SELECT count(*) FROM signalsmith.snapshot('people') WHERE state <> 'present'}), 0, 'the snapshot knows everything');
is($node->sql(q{SELECT count(*) FROM signalsmith.snapshot('people')}), $node->sql('SELECT count(*) FROM people'), 'as many records as rows');
is($node->sql('SELECT count(*) FROM signalsmith.outbox'), 0, 'the outbox is empty');
is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE status NOT IN ('completed', 'failed')}), 0, 'all runs are over');
my $crashes = () = slurp_file($node->logfile) =~ /all server processes terminated; reinitializing/g;
is($crashes, $nemesis->count('kill'), 'the server has crashed as often as something was killed');
note $node->sql(q{SELECT count(*) || ' runs, ' || sum(rows_created + rows_updated + rows_deleted) || ' rows confirmed, ' || sum(rows_failed) || ' failed, '
	|| sum(requests) || ' requests' FROM signalsmith.runs});

done_testing();
