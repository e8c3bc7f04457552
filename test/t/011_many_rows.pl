# 10,000 rows to a destination in good health: each is sent once, and then no more.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster;
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};
$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 10000) AS i});

# Records of a request, and how many requests they make.
for my $case ([ 1, 10000 ], [ 300, 34 ])
{
	my ($size, $requests) = @$case;
	$recorder->reset;
	$node->create_webhook_sync(
		name => "by $size", query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url,
		config => { batch_size => $size }, options => { max_in_flight => 8 });
	my $run = $node->run_sync("by $size");
	$node->run_is($run,
		{ status => 'completed', rows_processed => 10000, rows_created => 10000, rows_failed => 0, requests => $requests },
		"by $size: a request for each batch");
	is(scalar($recorder->history), $requests, "by $size: and no more arrive");
	$node->check_delivery($recorder, $whole, "by $size: nothing lost, nothing twice");
	$node->check_figures($recorder, $run, "by $size: the figures are those of the history");

	$recorder->reset;
	$node->run_is($node->run_sync("by $size"), { requests => 0, rows_unchanged => 10000 }, "by $size: the second run sends nothing");
	is(scalar($recorder->history), 0, "by $size: nothing arrives");
}

done_testing();
