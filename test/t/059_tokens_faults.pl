# A crash while an access token is asked for, or between keeping and using it: the
# refresh token that the answer replaced is not lost, and nobody waits for the dead, as
# long as its request might have taken.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');
$node->skip_all_unless_faults;

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 6) AS i;
	SELECT signalsmith.create_model('people', 'SELECT id, name FROM people', '{id}')});
$node->sql(q{SELECT signalsmith.create_destination('crm', 'http', } . quote({
			base_url => $vendors->url('oauth') . '/api',
			auth => { token => { url => $vendors->url('oauth') . '/token', grant => 'refresh_token', client => { id => 'client', secret => '{{secret.client_secret}}' } },
				header => { Authorization => 'Bearer {{token}}' } },
			operations => { create => { request => { method => 'PUT', path => '/people/{{key}}' }, idempotent => JSON::PP::false },
				update => { request => { method => 'PUT', path => '/people/{{key}}' } } } }) . ')');
$node->sql(q{SELECT signalsmith.set_secret('crm', 'client_secret', 'client secret+1'), signalsmith.set_secret('crm', 'refresh_token', 'refresh-0');
	SELECT signalsmith.create_sync('people', 'people', 'crm', options => '{"max_in_flight": 1, "timeout_seconds": 600}')});

sub refreshed
{
	return map { $vendors->content($_)->{refresh_token} } grep { $_->{path} =~ /token$/ } $vendors->history;
}
sub set_fault { $node->set("signalsmith.fault = '" . ($_[0] // '') . "'") }

# The answer was kept, and the process died before it sent anything.
my $marker = PostgreSQL::Test::Utils::tempdir . '/killed';
set_fault("token-kept:kill\@$marker");
my $run = $node->trigger('people');
$node->wait_until('the runner is killed', sub { -e $marker });
$node->wait_until('the run has ended', sub { $node->ask("SELECT status FROM signalsmith.runs WHERE id = '$run'") =~ /completed|failed/ });
set_fault();
$node->run_is($node->run($run), { status => 'completed', rows_failed => 0, rows_created => 6 }, 'after a crash between keeping and using a token the run goes on');
is_deeply([ refreshed() ], ['refresh-0'], 'with the token that was kept');

# The process died while it had the right to ask, before it did.
$vendors->set('oauth', expire => JSON::PP::true);
$node->sql(q{UPDATE people SET name = name || '.'});
unlink $marker;
set_fault("before-token-request:kill\@$marker");
$run = $node->trigger('people');
$node->wait_until('the runner is killed', sub { -e $marker });
$node->wait_until('the run has ended', sub { $node->ask("SELECT status FROM signalsmith.runs WHERE id = '$run'") =~ /completed|failed/ });
set_fault();
$node->run_is($node->run($run), { status => 'completed', rows_failed => 0, rows_updated => 6 }, 'after a crash before the request the run goes on');
is_deeply([ refreshed() ], [ 'refresh-0', 'refresh-1' ], 'with the refresh token of the last answer');

done_testing();
