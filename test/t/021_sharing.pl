# A destination that is shared: another role sends to it with its own rights, until
# the owner takes that back.
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
my $config = quote({ url => $recorder->url });

$node->sql('CREATE ROLE ann LOGIN IN ROLE signalsmith_user; CREATE ROLE bob LOGIN IN ROLE signalsmith_user');
$node->sql(<<"SQL", role => 'ann');
SELECT signalsmith.create_destination('crm', 'webhook', $config);
SELECT signalsmith.share_destination('crm', 'bob');
SQL
$node->sql(<<'SQL', role => 'bob');
SELECT signalsmith.create_model('m', 'SELECT 1 AS id, current_user AS runs_as', '{id}');
SELECT signalsmith.create_sync('s', 'm', 'crm');
SQL

my $run = $node->run_sync('s', role => 'bob');
$node->run_is($run, { status => 'completed', rows_created => 1 }, 'bob sends to what ann has shared');
my ($request) = $recorder->history;
like($request->{body}, qr/"runs_as": ?"bob"/, 'with his own rights');

# --- the right is asked for before each run

my (undef, undef, $notice) = $node->psql('postgres', q{SET SESSION AUTHORIZATION ann; SELECT signalsmith.unshare_destination('crm', 'bob')});
like($notice, qr/NOTICE:  1 sync may no longer send to destination "crm"/, 'ann is told what stops');
$run = $node->run_sync('s', role => 'bob', full_resync => 1);
my $reason = 'role "bob" may not use destination "crm"; who manages that can allow it with signalsmith.share_destination()';
$node->run_is($run, { status => 'failed', error => $reason, query_ms => undef }, 'the next run fails before it begins');
my $sync = $node->sync('s');
is($sync->{status}, 'error', 'the sync is in error');
is($sync->{status_error}, $reason, 'and says why');
is(scalar($recorder->history), 1, 'nothing was sent');

# --- shared again, it goes on

$node->sql(q{SELECT signalsmith.share_destination('crm', 'signalsmith_user')}, role => 'ann');
$node->sql(q{SELECT signalsmith.resume_sync('s')}, role => 'bob');
$run = $node->run_sync('s', role => 'bob', full_resync => 1);
$node->run_is($run, { status => 'completed' }, 'shared again with all users, it runs again');
is(scalar($recorder->history), 2, 'and sends');

# --- shares travel with a dump

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
run_log([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ]);
$node->sql('CREATE DATABASE copy');
run_log([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('copy') ]);
is($node->sql(q{SELECT role FROM signalsmith.destination_share}, database => 'copy'), 'signalsmith_user', 'shares are in a dump');
is($node->sql(q{SELECT owner FROM signalsmith.syncs}, database => 'copy'), 'bob', 'and so are owners');

done_testing();
