# What the owner of a model sets for himself does not loosen what a run promises.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

# Nothing is written to disk unless a commit waits for it.
my $node = Signalsmith::Cluster->start_new('main', conf => <<'CONF');
wal_writer_delay = 10s
wal_writer_flush_after = 100MB
CONF
my $recorder = Signalsmith::Recorder->start;
$node->sql(q{CREATE ROLE bob LOGIN IN ROLE signalsmith_user; ALTER ROLE bob SET synchronous_commit = off});
$node->create_webhook_sync(name => 'people', role => 'bob', query => q{SELECT 1 AS id, set_config('synchronous_commit', 'off', false) AS v}, primary_key => 'id',
	url => $recorder->url, options => { timeout_seconds => 120 });

# --- a crash while the request is under way: what had been sent goes on
$recorder->rules({ nth => 1, hold => 1 });
$node->sql(q{CHECKPOINT});
my $run = $node->trigger('people', role => 'bob');
$recorder->wait_for(held => 1);
$node->stop('immediate');
$recorder->release;
$node->start;
$node->run_is($node->wait_for_run($run), { status => 'completed', rows_created => 1 }, 'the run goes on after a crash');
my @requests = $recorder->history;
cmp_ok(scalar(@requests), '>', 1, 'the request came again');
is_deeply([ map { $_->{headers}{'idempotency-key'} } @requests ], [ ($requests[0]{headers}{'idempotency-key'}) x @requests ],
	'under the same key, though the owner\'s commits need not reach the disk');
is_deeply([ map { $_->{body} } @requests ], [ ($requests[0]{body}) x @requests ], 'with the same bytes');

done_testing();
