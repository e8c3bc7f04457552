# When slots for runs are short, owners take turns, and so do databases: nobody keeps
# another from running by having many syncs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main', conf => 'signalsmith.max_workers = 1');
my $recorder = Signalsmith::Recorder->start;

# Ann has many syncs, Bob and Cora have two each.
$node->sql("CREATE ROLE $_ LOGIN IN ROLE signalsmith_user") for qw(ann bob cora);
$node->create_webhook_sync(name => 'gate', query => 'SELECT 1 AS id', primary_key => 'id', url => $recorder->url('/gate'));
my %syncs = (ann => 20, bob => 2, cora => 2);
for my $owner (sort keys %syncs)
{
	$node->sql(q{SELECT signalsmith.create_destination('} . $owner . q{', 'webhook', } . quote({ url => $recorder->url }) . ')', role => $owner);
	$node->sql("SELECT signalsmith.create_model('$owner', 'SELECT 1 AS id', '{id}')", role => $owner);
	$node->sql("SELECT signalsmith.create_sync('$owner' || i, '$owner', '$owner') FROM generate_series(1, $syncs{$owner}) AS i", role => $owner);
}

# Queues these runs, in this order, while others hold all the slots; then lets them
# go, and returns their syncs in the order in which they were started.
sub order_of_starts
{
	my (@queued) = @_;
	$recorder->rules({ path => '/gate', hold => 1 });
	$node->sql(q{SELECT signalsmith.reset_sync('gate')});
	my $gate = $node->trigger('gate');
	$recorder->wait_for(held => 1);
	my @runs = map { $node->trigger($_) } @queued;
	$recorder->rules;
	$recorder->release;
	$node->wait_for_run($_) for $gate, @runs;
	my $ids = join ', ', quote(@runs);
	return $node->sql("SELECT string_agg(sync, ' ' ORDER BY started_at) FROM signalsmith.runs WHERE id IN ($ids)");
}

is(order_of_starts(map { "ann$_" } 3, 1, 2), 'ann3 ann1 ann2', 'the runs of one owner start in the order in which they were queued');
is(order_of_starts('bob1', 'ann1', 'cora1'), 'bob1 ann1 cora1', 'so do those of several owners who have one each');
is(order_of_starts((map { "ann$_" } 1 .. 5), 'bob1', 'bob2', 'cora1'), 'ann1 bob1 cora1 ann2 bob2 ann3 ann4 ann5',
	'an owner with many waiting runs takes turns with the others');

# Somebody who comes late does not wait for all that was queued before.
$recorder->reset;
$node->sql(q{SELECT signalsmith.reset_sync('ann' || i) FROM generate_series(1, 20) AS i});
$recorder->rules({ nth => 3, hold => 1 });
my @anns = map { $node->trigger("ann$_") } 1 .. 20;
$recorder->wait_for(held => 1);
my $late = $node->trigger('bob1');
$recorder->rules;
$recorder->release;
$node->wait_for_run($_) for @anns, $late;
is($node->sql("SELECT count(*) FROM signalsmith.runs r, signalsmith.runs late WHERE late.id = '$late'
		AND r.started_at > late.queued_at AND r.started_at < late.started_at"), 1, 'who comes late waits for one run of each other owner');

# With more slots than one: who has none at work is next.
$node->set('signalsmith.max_workers = 3');
$recorder->reset;
$node->sql(q{SELECT signalsmith.reset_sync('ann' || i) FROM generate_series(1, 20) AS i});
$recorder->rules({ nth => [ 1, 3 ], hold => 1 });
@anns = map { $node->trigger("ann$_") } 1 .. 20;
$recorder->wait_for(held => 3);
$late = $node->trigger('cora1');
$recorder->rules;
$recorder->release;
$node->wait_for_run($_) for @anns, $late;
cmp_ok($node->sql("SELECT count(*) FROM signalsmith.runs r, signalsmith.runs late WHERE late.id = '$late'
		AND r.started_at > late.queued_at AND r.started_at < late.started_at"), '<=', 2, 'with three slots no longer than for one of them');

# Databases take turns, however much waits in one of them.
$node->set('signalsmith.max_workers = 2');
$node->sql('CREATE DATABASE other');
$node->sql('CREATE EXTENSION signalsmith', database => 'other');
$node->create_webhook_sync(name => "other$_", query => 'SELECT 1 AS id', primary_key => 'id', url => $recorder->url("/other$_"), database => 'other') for 1 .. 3;
for my $round (1, 2)
{
	$recorder->reset;
	$node->sql(q{SELECT signalsmith.reset_sync('ann' || i) FROM generate_series(1, 20) AS i});
	$node->sql(q{SELECT signalsmith.reset_sync('other' || i) FROM generate_series(1, 3) AS i}, database => 'other');
	$recorder->rules({ nth => [ 1, 2 ], hold => 1 });
	@anns = map { $node->trigger("ann$_") } 1 .. 20;
	$recorder->wait_for(held => 2);
	my @others = map { $node->trigger("other$_", database => 'other') } 1 .. 3;
	$node->poll_query_until('postgres', q{SELECT count(DISTINCT datname) = 2 FROM pg_stat_activity WHERE backend_type = 'signalsmith scheduler'}) or die
	  if $round == 1;
	$recorder->rules;
	$recorder->release;
	$node->wait_for_run($_, database => 'other') for @others;
	$node->wait_for_run($_) for @anns;
	my ($queued, $started) = split /\|/, $node->sql('SELECT max(queued_at), max(started_at) FROM signalsmith.runs', database => 'other');
	my $between = $node->sql("SELECT count(*) FROM signalsmith.runs WHERE started_at > '$queued' AND started_at < '$started'");
	cmp_ok($between, '<=', 6,
		"round $round: a database with many waiting runs leaves slots to another one");
}

done_testing();
