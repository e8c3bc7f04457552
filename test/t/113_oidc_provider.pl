# oidc-provider, a certified OAuth 2.0 server: what it takes for a token request, our
# own server cannot have made too easy.  Refresh tokens are good for one use; who
# uses one again loses all that came of it.
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
append_to_file($key_file, '7e' x 32 . "\n");
chmod 0600, $key_file;
my $node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.key_file = '$key_file'\n");
$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people SELECT i, 'n' || i FROM generate_series(1, 20) AS i;
	SELECT signalsmith.create_model('people', 'SELECT * FROM people ORDER BY id', '{id}')});

# The provider, and an API that asks it whether a token is good.  GET /grant gives
# the first refresh token, as a browser's login would.
my $peer = Signalsmith::Peer->start_node_script(<<'JS');
import http from 'node:http';
import Provider from 'oidc-provider';

const port = Number(process.argv[2]);
const secret = 'a secret: of/client+1';
const machine = { client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };
const provider = new Provider(`http://127.0.0.1:${port}`, {
	clients: [
		{ ...machine, client_id: 'basic', token_endpoint_auth_method: 'client_secret_basic' },
		{ ...machine, client_id: 'post', token_endpoint_auth_method: 'client_secret_post' },
		{ client_id: 'app', client_secret: secret, token_endpoint_auth_method: 'client_secret_post', scope: 'openid offline_access',
			grant_types: ['authorization_code', 'refresh_token'], redirect_uris: ['https://app.example/back'], response_types: ['code'] },
	],
	features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
	ttl: { ClientCredentials: 2, AccessToken: 2, IdToken: 60, RefreshToken: 3600, Grant: 3600 },
	rotateRefreshToken: true,
	findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});

async function firstRefreshToken() {
	const grant = new provider.Grant({ accountId: 'ann', clientId: 'app' });
	grant.addOIDCScope('openid offline_access');
	const client = await provider.Client.find('app');
	return new provider.RefreshToken({ client, accountId: 'ann', grantId: await grant.save(), scope: 'openid offline_access',
		gty: 'authorization_code', iiat: Math.floor(Date.now() / 1000), rotations: 0 }).save();
}

const people = {};
const counts = { tokens: 0, refused: 0 };
const oauth = provider.callback();

async function api(request, response) {
	const answer = (status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
	const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
	if (request.url === '/grant')
		return answer(200, { refresh_token: await firstRefreshToken() });
	if (request.url === '/people' && request.method === 'GET')
		return answer(200, { people, ...counts });
	if (!await provider.ClientCredentials.find(token) && !await provider.AccessToken.find(token)) {
		counts.refused++;
		return answer(401, { error: 'invalid_token' });
	}
	if (request.url === '/me')
		return answer(200, {});
	let body = '';
	for await (const part of request)
		body += part;
	people[request.url] = JSON.parse(body);
	return answer(200, {});
}

http.createServer((request, response) => {
	if (request.url.startsWith('/token')) {
		counts.tokens++;
		oauth(request, response);
	} else
		api(request, response).catch(error => response.writeHead(500).end(String(error)));
}).listen(port, '127.0.0.1');
JS

sub create
{
	my ($name, $grant, $client, %secrets) = @_;
	$node->sql('SELECT signalsmith.create_destination(' . join(', ', quote($name, 'http', {
					base_url => $peer->url, check => { request => { method => 'GET', path => '/me' } },
					auth => { token => { url => '/token', grant => $grant, client => $client }, header => { Authorization => 'Bearer {{token}}' } },
					operations => { upsert => { request => { method => 'PUT', path => "/people/$name/{{key}}" } } } })) . ')');
	$node->sql("SELECT signalsmith.set_secret('$name', " . join(', ', quote($_, $secrets{$_})) . ')') for sort keys %secrets;
	$node->sql("SELECT signalsmith.create_sync('$name', 'people', '$name', options => '{\"max_in_flight\": 1}')");
	return;
}
my $secret = 'a secret: of/client+1';

for my $way ('basic', 'post')
{
	create($way, 'client_credentials', { id => $way, secret => '{{secret.client_secret}}', send => { basic => 'basic', post => 'body' }->{$way} }, client_secret => $secret);
	is($node->sql("SELECT bool_and(ok) FROM signalsmith.test_destination('$way')"), 't', "$way: the credentials are good");
	$node->run_is($node->run_sync($way), { status => 'completed', rows_created => 20, rows_failed => 0 }, "$way: the sync runs");
}
$node->sql(q{SELECT signalsmith.set_secret('basic', 'client_secret', 'wrong')});
like($node->sql(q{SELECT step, ok, detail FROM signalsmith.test_destination('basic')}), qr/^token\|f\|refused: invalid_client: client authentication failed\. Set the secret "client_secret"/,
	'a wrong secret is refused');

# Refresh tokens, run after run, each longer than an access token lives.
create('app', 'refresh_token', { id => 'app', secret => '{{secret.client_secret}}' }, client_secret => $secret, refresh_token => $peer->get('/grant')->{refresh_token});
for my $round (1 .. 3)
{
	my $run = $node->run_sync('app');
	$node->run_is($run, { status => 'completed', rows_failed => 0 }, "refresh token, run $round");
	$node->sql(q{UPDATE people SET name = name || '.'});
	$node->poll_query_until('postgres', q{SELECT bool_and(renew_at < clock_timestamp()) FROM signalsmith.token});
}
my $figures = $peer->get('/people');
cmp_ok($figures->{tokens}, '>=', 3 + 3, 'each had a token of its own');
is(scalar(grep { m{^/people/app/} } keys %{ $figures->{people} }), 20, 'and all records are there');
is($figures->{refused}, 0, 'no request was refused');

done_testing();
