# Credentials that are changed elsewhere: the sync stops at once and blames no row;
# once the new ones are set and the sync is resumed, everything flows.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $key_file = PostgreSQL::Test::Utils::tempdir . '/key';
append_to_file($key_file, ('a1' x 32) . "\n");
chmod 0600, $key_file or die;
my $node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.key_file = '$key_file'\n");
my $recorder = Signalsmith::Recorder->start;

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 100) AS i});
my $config = quote({
	base_url => $recorder->url('/people'), headers => { Authorization => 'Bearer {{secret.token}}' },
	operations => { upsert => { request => { method => 'PUT', path => '/{{key}}' } } } });
$node->sql("SELECT signalsmith.create_destination('api', 'http', $config)");
$node->sql(q{
	SELECT signalsmith.set_secret('api', 'token', 'first-token');
	SELECT signalsmith.create_model('people', 'SELECT id, name FROM people', '{id}');
	SELECT signalsmith.create_sync('people', 'people', 'api', options => '{"max_in_flight": 2}')});
is($node->run_sync('people')->{rows_created}, 100, 'with its credentials the sync runs');
is_deeply([ grep { $_->{headers}{authorization} ne 'Bearer first-token' } $recorder->history ], [], 'which it sends');

# Rotated in the middle of a run.
$recorder->reset;
$recorder->rules({ nth => [ 11, 1000000 ], status => 401, body => { error => 'token first-token expired' } });
$node->sql(q{UPDATE people SET name = name || '.'});
my $run = $node->run_sync('people');
is($run->{status}, 'failed', 'refused credentials fail the run');
like($run->{error}, qr/401|expired/, 'which says why');
unlike($run->{error}, qr/first-token/, 'without naming the token');
is($run->{rows_updated}, 10, 'what was confirmed counts');
is(scalar($node->row_errors($run->{id})), 0, 'no row is blamed');
cmp_ok($recorder->figures->{requests}, '<=', 12, 'nothing more is sent than was under way');
my $sync = $node->sync('people');
is($sync->{status}, 'error', 'the sync is in error');
like($sync->{status_error}, qr/credentials/, 'with the reason');
like($node->sql_error(q{SELECT signalsmith.trigger_sync('people')}), qr/resume_sync/, 'a trigger is refused, naming the way out');

$recorder->rules;
$node->sql(q{SELECT signalsmith.set_secret('api', 'token', 'second-token'); SELECT signalsmith.resume_sync('people')});
my $before = $recorder->figures->{requests};
$run = $node->run_sync('people');
$node->run_is($run, { status => 'completed', rows_updated => 90, rows_unchanged => 10, rows_failed => 0, requests => 90 },
	'with new credentials the rest is sent');
is_deeply([ grep { $_->{headers}{authorization} ne 'Bearer second-token' } $recorder->history($before + 1) ], [], 'under the new token');

done_testing();
