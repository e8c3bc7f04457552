# libcurl runs out of memory, again and again and wherever it asks for some: no row is
# to blame, nothing is lost, nobody crashes.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster;
use Signalsmith::Recorder;
use Test::More;

my $library = PostgreSQL::Test::Utils::tempdir . '/scarce_memory.so';
system_or_bail('cc', '-shared', '-fPIC', '-O', '-o', $library, "$FindBin::RealBin/../server/scarce_memory.c", '-lcurl');

# A request takes about forty allocations, a connection more.
for my $every (499, 211)
{
	my $node;
	{
		local %ENV = (%ENV, LD_PRELOAD => $library, SIGNALSMITH_TEST_FAIL_EVERY => $every);
		$node = Signalsmith::Cluster->start_new("every_$every", conf => "signalsmith.max_attempts = 50\n");
	}
	my $recorder = Signalsmith::Recorder->start;
	$node->sql(q{CREATE TABLE things AS SELECT i AS id FROM generate_series(1, 200) AS i});
	$node->create_webhook_sync(
		name => 'things', query => 'SELECT id FROM things', primary_key => 'id', url => $recorder->url, options => { max_in_flight => 8, timeout_seconds => 3 });
	my $run = $node->run_sync('things');
	$node->run_is($run, { status => 'completed', rows_created => 200, rows_failed => 0 }, "1 in $every: all rows arrive");
	$node->check_delivery($recorder, q{SELECT json_build_object('id', id) AS key, to_json(t) AS data FROM things t}, "1 in $every: nothing is lost",
		crashes => 1);		# of memory for an answer: it is asked for again
	unlike(slurp_file($node->logfile), qr/was terminated by signal/, "1 in $every: nobody crashes");
	$node->stop;
}

done_testing();
