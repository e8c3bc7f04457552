# Processes that die at chosen places.  Needs a build with "make FAULTS=1".
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
$node->skip_all_unless_faults;
my $recorder = Signalsmith::Recorder->start;
my $once = PostgreSQL::Test::Utils::tempdir;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};
my $number = 0;

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 100 }, options => { max_in_flight => 2 });
$node->run_sync('people');

# Each point: what dies there, how many requests there may be for the 10 batches.
for my $case (
	[ 'after-claim', 'kill', 10 ],
	[ 'staging', 'kill', 10 ],
	[ 'before-plan-commit', 'kill', 10 ],
	[ 'before-send:kill:3', undef, 14 ],
	[ 'after-answer:kill:3', undef, 20 ],
	[ 'before-acknowledgement', 'kill', 20 ],
	[ 'after-acknowledgement', 'kill', 12 ],
	[ 'after-claim', 'fatal', 10 ],
	[ 'staging', 'fatal', 10 ],
	[ 'before-acknowledgement', 'fatal', 20 ],
	[ 'after-claim', 'error', 10 ],
	[ 'before-acknowledgement', 'error', 20 ])
{
	my ($point, $action, $most) = @$case;
	my $fault = defined $action ? "$point:$action" : $point;
	$number++;
	$recorder->reset;
	$node->sql(q{UPDATE people SET name = name || '.'});
	$node->set("signalsmith.fault = '$fault\@$once/$number'");
	my $run = $node->trigger('people');
	$node->wait_until("fault $fault strikes", sub { -e "$once/$number" });
	$node->wait_until('the server is there', sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 });

	my $end = $node->wait_for_run($run);
	$node->run_is($end, { status => 'completed', rows_processed => 1000, rows_updated => 1000, rows_failed => 0, rows_deleted => 0 },
		"$fault: the run completes");
	$node->check_delivery($recorder, $whole, "$fault: nothing is lost", crashes => 1);
	cmp_ok($recorder->figures->{requests}, '>=', 10, "$fault: everything was sent");
	cmp_ok($recorder->figures->{requests}, '<=', $most, "$fault: and not much twice");
	$node->run_is($node->run_sync('people'), { requests => 0, rows_unchanged => 1000 }, "$fault: the next run sends nothing");
}

# --- an error in the plan fails the run, and the next one makes up for it
for my $point ('staging', 'before-plan-commit')
{
	$recorder->reset;
	$node->sql(q{UPDATE people SET name = name || '!'});
	$node->set("signalsmith.fault = '$point:error'");
	my $run = $node->run_sync('people');
	is($run->{status}, 'failed', "$point: an error fails the run");
	is($recorder->figures->{requests}, 0, "$point: nothing was sent");
	$node->set(q{signalsmith.fault = ''});
	$node->run_is($node->run_sync('people'), { status => 'completed', rows_updated => 1000 }, "$point: the next run sends it all");
}

done_testing();
