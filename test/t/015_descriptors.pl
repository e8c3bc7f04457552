# A process that may open no more files: no row is to blame, and it does what it
# can with the connections it has.
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
$node->sql(q{CREATE TABLE things AS SELECT i AS id FROM generate_series(1, 1000) AS i});
$node->create_webhook_sync(
	name => 'things', query => 'SELECT id FROM things', primary_key => 'id', url => $recorder->url, options => { max_in_flight => 100 });

# Requests hang until the runner can open no further socket.
my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
system_or_bail('prlimit', '--pid', $postmaster, '--nofile=60:1024');
$recorder->rules({ nth => [ 1, 100 ], delay => 1 });
my $run = $node->run_sync('things');
$node->run_is($run, { status => 'completed', rows_created => 1000, rows_failed => 0 }, 'all rows arrive, though sockets are scarce');
cmp_ok($recorder->figures->{connections}, '<', 100, 'over fewer connections than it wanted');
$node->check_delivery($recorder, q{SELECT json_build_object('id', id) AS key, to_json(t) AS data FROM things t}, 'nothing is lost');

done_testing();
