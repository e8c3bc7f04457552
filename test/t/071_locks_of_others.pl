# A transaction that somebody leaves open holds up his own syncs, and no others.
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
$node->sql('CREATE ROLE ann LOGIN IN ROLE signalsmith_user; CREATE ROLE bob LOGIN IN ROLE signalsmith_user; CREATE TABLE gate (); GRANT SELECT ON gate TO ann');

# The first run of "hers" waits at a lock, the second one behind it in the queue.
$node->create_webhook_sync(name => 'hers', role => 'ann', primary_key => 'id', url => $recorder->url,
	query => 'SELECT 1 AS id FROM (SELECT count(*) FROM gate) AS g');
$node->create_webhook_sync(name => 'his', role => 'bob', primary_key => 'id', url => $recorder->url, query => 'SELECT 1 AS id');
my $gate = $node->background_psql('postgres');
$gate->query_safe('BEGIN; LOCK gate');
my $first = $node->trigger('hers', role => 'ann');
$node->poll_query_until('postgres', "SELECT status = 'running' FROM signalsmith.runs WHERE id = '$first'");
my $second = $node->trigger('hers', role => 'ann');
isnt($second, $first, 'a run waits');

# She triggers it again and leaves the transaction open; the first run ends.
my $open = $node->background_psql('postgres');
$open->query_safe('SET SESSION AUTHORIZATION ann');
$open->query_safe(q{BEGIN; SELECT signalsmith.trigger_sync('hers')});
$gate->query_safe('COMMIT');
is($node->wait_for_run($first)->{status}, 'completed', 'the run that was under way ends');
is($node->run_sync('his', role => 'bob', timeout => 60)->{status}, 'completed', 'another role\'s sync runs');
is($node->run($second)->{status}, 'queued', 'hers waits for her own transaction');
$open->query_safe('COMMIT');
is($node->wait_for_run($second)->{status}, 'completed', 'and runs once that is over');

# The same with a sync that cannot run: ending its run waits for nobody either.
$node->sql(q{SELECT signalsmith.create_destination('shared', 'webhook', } . quote({ url => $recorder->url }) . ')', role => 'bob');
$node->sql(q{SELECT signalsmith.share_destination('shared', 'ann')}, role => 'bob');
$node->sql(q{SELECT signalsmith.create_sync('borrowed', 'hers', 'shared')}, role => 'ann');
$node->set('signalsmith.enabled = off');
my $refused = $node->trigger('borrowed', role => 'ann');
my $next = $node->trigger('his', role => 'bob');
$open->query_safe(q{BEGIN; SELECT signalsmith.update_sync('borrowed', '{"description": "mine"}')});
$node->sql(q{SELECT signalsmith.unshare_destination('shared', 'ann')}, role => 'bob');
$node->set('signalsmith.enabled = on');
is($node->wait_for_run($next, timeout => 60)->{status}, 'completed', 'a sync that is being changed is in nobody\'s way');
is($node->run($refused)->{status}, 'queued', 'its own run waits');
$open->query_safe('COMMIT');
my $run = $node->wait_for_run($refused);
$node->run_is($run, { status => 'failed', requests => 0 }, 'and then fails');
like($run->{error}, qr/role "ann" may not use destination "shared"/, 'for it has lost the right to the destination');
$_->quit for $gate, $open;

done_testing();
