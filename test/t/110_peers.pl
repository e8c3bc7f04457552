# Programs that others have written, as destinations: nginx keeps a file for each
# record and lets only so many requests through; Debian's webhook checks signatures.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Peer;
use Test::More;

my $key_file = PostgreSQL::Test::Utils::tempdir() . '/key';
append_to_file($key_file, '6f' x 32 . "\n");
chmod 0600, $key_file;
my $node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.key_file = '$key_file'\n");
$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'n' || i FROM generate_series(1, 60) AS i;
	SELECT signalsmith.create_model('people', 'SELECT * FROM people ORDER BY id', '{id}')});

sub create_sync
{
	my ($name, $connector, $config, %options) = @_;
	$node->sql('SELECT signalsmith.create_destination(' . join(', ', quote($name, $connector, $config)) . ')');
	$node->sql('SELECT signalsmith.create_sync(' . join(', ', quote($name, 'people', $name, 'mirror')) . ', options => ' . quote(\%options) . ')');
	return;
}

#
# nginx: WebDAV, at a limited rate
#

my $nginx = Signalsmith::Peer->start_nginx(
	'limit_req_zone $server_addr zone=api:1m rate=100r/s; limit_req_status 429;',
	'location /people/ { dav_methods PUT DELETE; create_full_put_path on; limit_req zone=api burst=5 nodelay; }');

sub files
{
	return { map { m{/(\d+)\.json$} => decode_json(slurp_file($_)) } glob "$nginx->{directory}/files/people/*.json" };
}
sub people
{
	return decode_json($node->sql(q{SELECT coalesce(json_object_agg(id, p), '{}') FROM people AS p}));
}

create_sync('files', 'http', {
		base_url => $nginx->url,
		operations => {
			upsert => { request => { method => 'PUT', path => '/people/{{key}}.json' } },
			delete => { request => { method => 'DELETE', path => '/people/{{key}}.json' } } } });
my $run = $node->run_sync('files');
$node->run_is($run, { status => 'completed', rows_created => 60, rows_failed => 0 }, 'nginx: all records arrive');
cmp_ok($run->{requests}, '>', 60, 'nginx: though it had refused some that came too fast');
is_deeply(files(), people(), 'nginx: its files are the records');

$node->sql(q{UPDATE people SET name = 'Ann' WHERE id = 1; DELETE FROM people WHERE id = 2});
unlink "$nginx->{directory}/files/people/3.json";
$node->sql('DELETE FROM people WHERE id = 3');
$node->run_is($node->run_sync('files'), { status => 'completed', rows_updated => 1, rows_deleted => 2, rows_failed => 0 },
	'nginx: an update and two deletes, one of which finds nothing');
is_deeply(files(), people(), 'nginx: its files are the records again');

#
# webhook: the signature over the bytes that it got
#

my $secret = 'correct horse battery staple';
my $hooks = Signalsmith::Peer->start_webhook({
		id => 'people', 'execute-command' => '/bin/sh',
		'pass-arguments-to-command' => [ { source => 'string', name => '-c' }, { source => 'string', name => 'echo "$0" >> received' },
			{ source => 'entire-payload' } ],
		'trigger-rule' => { match => {
				type => 'payload-hmac-sha256', secret => $secret, parameter => { source => 'header', name => 'X-Hub-Signature-256' } } },
		'trigger-rule-mismatch-http-response-code' => 403 });

sub received
{
	return map { @{ decode_json($_)->{people} } } split /\n/, -e "$hooks->{directory}/received" ? slurp_file("$hooks->{directory}/received") : '';
}

$node->sql('DELETE FROM people WHERE id > 10');
create_sync('hub', 'http', {
		base_url => $hooks->url,
		secrets => { hub => { description => 'the secret that both sides know' } },
		auth => { hmac => { secret => 'hub', sign => '{{body}}', headers => { 'X-Hub-Signature-256' => 'sha256={{signature}}' } } },
		operations => {
			upsert => {
				request => { method => 'POST', path => '/hooks/people', envelope => { people => '{{rows}}' } },
				batch => { max_records => 4 } },
			delete => { request => { method => 'POST', path => '/hooks/people', body => { people => [], gone => '{{key}}' } } } } },
	max_attempts => 1);

$node->sql(q{SELECT signalsmith.set_secret('hub', 'hub', 'another secret')});
$run = $node->run_sync('hub');
$node->run_is($run, { rows_created => 0, rows_failed => $run->{rows_processed} }, 'webhook: what another secret has signed is not taken');
is_deeply([received()], [], 'webhook: nothing was');

$node->sql(q{SELECT signalsmith.set_secret('hub', 'hub', } . quote($secret) . ')');
$node->run_is($node->run_sync('hub'), { status => 'completed', rows_created => 8, rows_failed => 0 }, 'webhook: with its own secret, all is');
is_deeply({ map { $_->{id} => $_ } received() }, people(), 'webhook: the records are what the model returns');

done_testing();
