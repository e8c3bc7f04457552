# Watching runs: notifications of their end, and progress while waiting.
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

$node->sql(q{CREATE ROLE nobody LOGIN;
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 50) AS i});
$node->create_webhook_sync(
	name => 'people', mode => 'mirror', query => 'SELECT id, name FROM people', primary_key => 'id',
	url => $recorder->url, config => { batch_size => 10 }, options => { max_in_flight => 1 });

# --- notifications, to any role that listens
my $listener = $node->background_psql('postgres', on_error_stop => 0);
$listener->query_safe('SET SESSION AUTHORIZATION nobody; LISTEN signalsmith');

# The payloads that came since the last call, once there are so many.
sub notifications
{
	my ($count) = @_;
	my $output = '';
	$node->wait_until("$count notifications have come",
		sub { $output .= $listener->query('SELECT 1'); (() = $output =~ /with payload/g) >= $count });
	my @payloads = $output =~ /Asynchronous notification "signalsmith" with payload "(.*)" received/g;
	unlike("@payloads", qr/people|name|refuse/, 'no name, key or message of anybody');
	return map { decode_json($_) } @payloads;
}

my $run = $node->run_sync('people');
my ($told) = notifications(1);
is_deeply(
	$told, { event => 'run_ended', run => $run->{id}, sync => 'sync_1', trigger => 'manual', status => 'completed' },
	'the end of a run is told, and no figure');

$node->sql('DELETE FROM people WHERE id > 10');
$run = $node->run_sync('people');
($told) = notifications(1);
is_deeply([ @$told{qw(run status)} ], [ $run->{id}, 'held' ], 'a held run is told as held');

$recorder->rules({ status => 401 });
$node->sql(q{UPDATE people SET name = 'new' WHERE id = 1});
$run = $node->run_sync('people');
($told) = notifications(1);
is_deeply([ @$told{qw(run status)} ], [ $run->{id}, 'failed' ], 'a failed run is told as failed');

$recorder->rules;
$node->sql(q{SELECT signalsmith.resume_sync('people')});
$run = $node->sql(q{BEGIN; SELECT signalsmith.trigger_sync('people') AS run \gset
	SELECT signalsmith.cancel_run(:'run') \g /dev/null
	COMMIT; SELECT :'run'});
($told) = notifications(1);
is_deeply([ @$told{qw(run status)} ], [ $run, 'cancelled' ], 'a run that never started is told too');
$listener->quit;

# --- progress while waiting
$recorder->reset;
$node->sql(q{UPDATE people SET name = 'newer'; INSERT INTO people SELECT i, 'n' FROM generate_series(101, 140) AS i});
$recorder->rules({ nth => 3, hold => 1 });
$run = $node->trigger('people');
$recorder->wait_for(held => 1);
my ($status, $output, $notices) = $node->psql('postgres',
	"SET signalsmith.show_progress = on; SELECT signalsmith.wait_for_run('$run', '1.5 seconds')");
like($notices, qr/NOTICE:  \Q$run\E: delivering, 2 of 5 batches sent, \d+ rows a second, [\d:]+ left\n/,
	'wait_for_run tells how far the run is; what is held is not waited for');
like($notices, qr/ERROR:  run "\Q$run\E" is not over yet/, 'until the timeout');
($status, $output, $notices) = $node->psql('postgres', "SELECT signalsmith.wait_for_run('$run', '1.5 seconds')");
unlike($notices, qr/delivering/, 'but only when asked');
$recorder->release;
is($node->wait_for_run($run)->{status}, 'held', 'and the run ends as it would have');

done_testing();
