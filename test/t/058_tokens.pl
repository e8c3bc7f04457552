# Access tokens: asked for, kept for all, renewed, and never lost on the way.
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
my %client = (id => 'client', secret => '{{secret.client_secret}}');

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 6) AS i;
	SELECT signalsmith.create_model('people', 'SELECT id, name FROM people', '{id}')});

# A destination of that name, and a sync to it, with a token block like this.
sub create
{
	my ($name, $token, %given) = @_;
	my $config = {
		base_url => $vendors->url('oauth') . '/api', %{ $given{config} // {} },
		auth => { token => { url => $vendors->url('oauth') . '/token', client => {%client}, %$token }, header => { Authorization => 'Bearer {{token}}' } },
		operations => { upsert => { request => { method => 'PUT', path => '/people/{{key}}' } }, delete => { request => { method => 'DELETE', path => '/people/{{key}}' } } } };
	my %secrets = (client_secret => 'client secret+1', %{ $given{secrets} // {} });
	$node->sql("SELECT signalsmith.create_destination('$name', 'http', " . quote($config) . ')');
	$node->sql("SELECT signalsmith.set_secret('$name', " . join(', ', quote($_, $secrets{$_})) . ')') for sort keys %secrets;
	$node->sql("SELECT signalsmith.create_sync('$name', 'people', '$name', options => " . quote({ max_in_flight => 2, %{ $given{options} // {} } }) . ')');
	$vendors->reset;
	$vendors->set('oauth', choices => { lifetime => 3600, rotate => JSON::PP::true, instance_url => undef });
	return $name;
}

# Requests for tokens, and the others, in the history.
sub token_requests { return grep { $_->{path} =~ /token$/ } $vendors->history }
sub other_requests { return grep { $_->{path} !~ /token$/ } $vendors->history }
sub bearer { return [ map { $_->{headers}{authorization} =~ s/^Bearer oauth-token-//r } @_ ] }
sub all_changed { return $node->sql(q{UPDATE people SET name = name || '.'}) }

#
# What is asked
#

my $sync = create('body', { grant => 'client_credentials', body => { scope => 'a b' } });
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6, requests => 6 }, 'client credentials');
my ($asked) = token_requests;
is_deeply([ $asked->{method}, $vendors->content($asked) ], [ POST => { grant_type => 'client_credentials', client_id => 'client',
			client_secret => 'client secret+1', scope => 'a b' } ], 'the request, as a form');
is_deeply(bearer(other_requests), [ (1) x 6 ], 'each request has the token');
all_changed();
$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 6 }, 'the next run');
is(scalar(token_requests), 1, 'uses it too');

$sync = create('basic', { grant => 'client_credentials', client => { %client, send => 'basic' }, encode => 'json', headers => { 'X-Tenant' => 'acme' } });
$node->run_is($node->run_sync($sync), { status => 'completed' }, 'the client by basic authentication, the body in JSON');
($asked) = token_requests;
is_deeply([ $asked->{body}, $asked->{headers}{'x-tenant'} ], [ '{"grant_type":"client_credentials"}', 'acme' ], 'the request');

$sync = create('password', { url => '/token', grant => 'password', body => { username => 'ann', password => '{{secret.password}}' } }, secrets => { password => 'pass word' });
$node->run_is($node->run_sync($sync), { status => 'completed' }, 'a password, at a URL below the base URL');
($asked) = token_requests;
is_deeply([ $asked->{path}, $vendors->content($asked)->{username} ], [ '/oauth/api/token', 'ann' ], 'the request');

# Signed assertions.
my $directory = PostgreSQL::Test::Utils::tempdir;
run_command([ 'openssl', 'genrsa', '-traditional', '-out', "$directory/rsa.pem", '2048' ]);
run_command([ 'openssl', 'pkcs8', '-topk8', '-nocrypt', '-in', "$directory/rsa.pem", '-out', "$directory/pkcs8.pem" ]);
run_command([ 'openssl', 'rsa', '-aes256', '-passout', 'pass:x', '-in', "$directory/rsa.pem", '-out', "$directory/locked.pem" ]);
run_command([ 'openssl', 'genrsa', '-out', "$directory/short.pem", '1024' ]);
my ($modulus) = run_command([ 'openssl', 'rsa', '-noout', '-modulus', '-in', "$directory/rsa.pem" ]);
my $jwt = { secret => 'private_key', header => { kid => 'k1' }, claims => { iss => '{{secret.client_secret}}', aud => 'me', nbf => '{{attempt.now}}' }, lifetime => 180 };
my $pkcs8 = slurp_file("$directory/pkcs8.pem");
for my $case ([ rs256 => slurp_file("$directory/rsa.pem") ], [ pkcs8 => $pkcs8 ], [ escaped => $pkcs8 =~ s/\n/\\n/gr ])
{
	my ($name, $pem) = @$case;
	$sync = create($name, { grant => 'jwt_bearer', jwt => $jwt, client => undef }, secrets => { private_key => $pem });
	$vendors->set('oauth', choices => { jwt_modulus => $modulus =~ s/^Modulus=//r });
	$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6 }, "an assertion signed with RS256, $name");
}
my $assertion = $vendors->state->{oauth}{assertion};
is_deeply($assertion->{header}, { alg => 'RS256', typ => 'JWT', kid => 'k1' }, 'its header');
my %claims = %{ $assertion->{claims} };
is_deeply([ @claims{qw(iss aud)}, $claims{exp} - $claims{iat}, $claims{nbf} ], [ 'client secret+1', 'me', 180, $claims{iat} ], 'its claims');
for my $key ("$directory/locked.pem", "$directory/short.pem")
{
	like($node->sql_error(q{SELECT signalsmith.set_secret('rs256', 'private_key', } . quote(slurp_file($key)) . ')'),
		qr/the secret "private_key" cannot have this value\nDETAIL:  It must be a private RSA key in PEM, of 2048 bits or more and without a passphrase/, 'a key that cannot be used');
}
$sync = create('hs256', { grant => 'jwt_bearer', client => undef, jwt => { %$jwt, algorithm => 'HS256' } }, secrets => { private_key => 'shared key' });
$vendors->set('oauth', choices => { jwt_secret => 'shared key' });
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6 }, 'with HS256');

# Where the assertion itself is the token, nobody is asked.
$node->sql('SELECT signalsmith.create_destination(' . join(', ', quote('signed', 'http', {
				base_url => $vendors->url('oauth') . '/jwt', check => { request => { method => 'GET', path => '/me' } },
				auth => { token => { jwt => { %$jwt, algorithm => 'HS256' } }, header => { Authorization => 'Bearer {{token}}' } },
				operations => { upsert => { request => { method => 'PUT', path => '/{{key}}' } } } })) . ')');
$node->sql("SELECT signalsmith.set_secret('signed', 'client_secret', 'x'), signalsmith.set_secret('signed', 'private_key', 'shared key')");
is($node->sql(q{SELECT string_agg(step || ' ' || ok, ', ') FROM signalsmith.test_destination('signed')}), 'token true, resolve true, connect true, TLS true, authenticate true', 'a bearer token that is signed here');

#
# When it is asked
#

# Its end is told, or not; and it comes in the middle of a run.
$sync = create('short', { grant => 'client_credentials' }, options => { max_in_flight => 1 });
$vendors->set('oauth', choices => { lifetime => 2 });
$vendors->rules({ path => '/people/', delay => 0.4 });
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6, requests => 6, rows_failed => 0 }, 'tokens of 2 s, and a run that takes longer');
cmp_ok(scalar(token_requests), '>', 1, 'are renewed');
is_deeply([ grep { $_->{status} == 401 } other_requests ], [], 'before they end');

$sync = create('silent', { grant => 'client_credentials' });
$vendors->set('oauth', choices => { lifetime => undef });
$node->run_sync($sync);
$vendors->set('oauth', expire => JSON::PP::true);
all_changed();
my $run = $node->run_sync($sync);
$node->run_is($run, { status => 'completed', rows_updated => 6, rows_failed => 0 }, 'a token that ends without notice is renewed');
is(scalar(token_requests), 2, 'once, though two requests were refused') or diag(explain(bearer(other_requests)));
my @refused = grep { $_->{status} == 401 } other_requests;
for my $first (@refused)
{
	my ($second) = grep { $_->{path} eq $first->{path} && $_->{number} > $first->{number} } other_requests;
	is($second->{body}, $first->{body}, 'what was refused is sent again, the same bytes');
	is($second->{headers}{'idempotency-key'}, $first->{headers}{'idempotency-key'}, 'under the same key');
}
$vendors->rules({ path => '/people/', status => 401, body => { message => 'you may not' } });
all_changed();
my $before = token_requests;
$run = $node->run_sync($sync);
$node->run_is($run, { status => 'failed', rows_failed => 0, rows_updated => 0 }, 'what is refused with a fresh token too ends the run, and blames no row');
like($run->{error}, qr/refuses the credentials: you may not/, 'with the reason');
is($node->sync($sync)->{status}, 'error', 'and the sync is in error');
is(token_requests() - $before, 1, 'after one more token');

# Two runs at once.
$sync = create('two', { grant => 'client_credentials' });
$node->sql(q{SELECT signalsmith.create_sync('two more', 'people', 'two')});
$vendors->rules({ path => '/token', hold => 1 });
my @runs = map { $node->trigger($_) } 'two', 'two more';
$vendors->wait_for(held => 1);
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM signalsmith.run WHERE status = 'running' AND phase = 'deliver'});
$node->poll_query_until('postgres', q{SELECT count(*) FILTER (WHERE query = 'signalsmith: sending') = 2 FROM pg_stat_activity WHERE backend_type = 'signalsmith runner'});
is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'signalsmith runner' AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) AND state = 'idle in transaction'}), '0', 'no transaction is open meanwhile');
is($vendors->figures->{requests}, 1, 'of two runs at once one asks');
$vendors->release;
is_deeply([ map { $node->wait_for_run($_)->{status} } @runs ], [ 'completed', 'completed' ], 'and both go on');
is(scalar(token_requests), 1, 'with that one');

# One that is cancelled lets the other ask.
$sync = create('cancelled', { grant => 'client_credentials' });
$vendors->rules({ path => '/token', hold => 1, times => 1 });
$run = $node->trigger($sync);
$vendors->wait_for(held => 1);
$node->sql("SELECT signalsmith.cancel_run('$run')");
is($node->wait_for_run($run)->{status}, 'cancelled', 'a run that waits for its token is cancelled');
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6 }, 'and the next one need not wait for it');

#
# Refresh tokens
#

$sync = create('refresh', { grant => 'refresh_token', margin => 1 }, secrets => { refresh_token => 'refresh-0' });
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6 }, 'a refresh token');
$vendors->set('oauth', expire => JSON::PP::true);
all_changed();
$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 6 }, 'that was replaced by the answer');
is_deeply([ map { $vendors->content($_)->{refresh_token} } token_requests ], [ 'refresh-0', 'refresh-1' ], 'is sent from then on');
$node->sql(q{SELECT signalsmith.update_destination('refresh', jsonb_build_object('config', signalsmith.get_destination('refresh')->'config' || '{"rate": {"max_in_flight": 3}}'))});
all_changed();
$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 6 }, 'after the config was changed');
is_deeply([ map { $vendors->content($_)->{refresh_token} } token_requests ], [ 'refresh-0', 'refresh-1', 'refresh-2' ], 'a token is asked for, and the refresh token still is the last one');
$node->sql(q{SELECT signalsmith.rotate_key()});
my $dump = "$directory/dump.sql";
run_command([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ]);
like(slurp_file($dump), qr/COPY signalsmith\.token.*refresh_token\t/s, 'a dump has it');

# The secret is set anew: what was given for the old one is not used any more.
$vendors->set('oauth', refresh_token => 'another');
$node->sql(q{SELECT signalsmith.set_secret('refresh', 'refresh_token', 'another')});
all_changed();
$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 6 }, 'a new refresh token in the secret');
is($vendors->content((token_requests)[-1])->{refresh_token}, 'another', 'is the one that is sent');

# What is sealed belongs to its row: in another one it is nothing.
$node->sql(q{UPDATE signalsmith.token t SET key_id = o.key_id, sealed = o.sealed FROM signalsmith.token o
	WHERE t.destination_id = (SELECT id FROM signalsmith.destination WHERE name = 'refresh') AND o.destination_id = (SELECT id FROM signalsmith.destination WHERE name = 'body')});
all_changed();
my $sent = token_requests;
$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 6 }, 'a token that somebody moved to another row');
is(token_requests() - $sent, 1, 'is none');

# The other side lets it end.
$vendors->set('oauth', refresh_token => 'lost', expire => JSON::PP::true);
all_changed();
$run = $node->run_sync($sync);
$node->run_is($run, { status => 'failed', rows_failed => 0 }, 'a refresh token that is refused ends the run');
like($run->{error}, qr{^the destination gives no access token: invalid_grant: expired access/refresh token .*redacted.* \(Set the secret "refresh_token" with signalsmith\.set_secret\.\)$}, 'and says what to do');
unlike($run->{error}, qr/refresh-\d|another/, 'without saying it');
is($node->sync($sync)->{status}, 'error', 'the sync is in error');
$node->sql(q{SELECT signalsmith.set_secret('refresh', 'refresh_token', 'lost'), signalsmith.resume_sync('refresh')});
$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 6 }, 'and goes on with a new one');

#
# test_destination
#

sub steps { return $node->sql(q{SELECT step || '|' || ok || '|' || coalesce(detail, '') FROM signalsmith.test_destination('} . $_[0] . q{')}) =~ s/\d+ ms/N ms/gr }
my $connected = "resolve|true|N ms\nconnect|true|N ms\nTLS|true|not used: the URL begins with http://\n";
$sync = create('tested', { grant => 'client_credentials' }, config => { check => { request => { method => 'GET', path => '/me' } } });
is(steps('tested'), "token|true|granted, for 3600 s\n${connected}authenticate|true|HTTP 200: it takes the credentials", 'test_destination gets a token and proves that it is taken');
is_deeply([ map { "$_->{method} $_->{path}" } $vendors->history ], [ 'POST /oauth/token', 'GET /oauth/api/me' ], 'by two requests');
steps('tested');
is(scalar(token_requests), 2, 'a second time as well');
$node->sql(q{SELECT signalsmith.set_secret('tested', 'client_secret', 'wrong secret')});
is(steps('tested'), 'token|false|refused: invalid_client: unknown client, secret [redacted] Set the secret "client_secret" with signalsmith.set_secret.' =~ s/\] S/]. S/r, 'a wrong secret');
$vendors->rules({ path => '/token', drop => 1 });
like(steps('tested'), qr/^token\|false\|.*empty reply/i, 'no answer');
$vendors->rules;

$sync = create('tested refresh', { grant => 'refresh_token' }, config => { check => { request => { method => 'GET', path => '/me' } } }, secrets => { refresh_token => 'refresh-0' });
like($node->sql_error(q{BEGIN; SELECT * FROM signalsmith.test_destination('tested refresh'); COMMIT}),
	qr/destination "tested refresh" cannot be tested inside a transaction block\nDETAIL:  Its answer may replace the refresh token.*\nHINT:  Call test_destination as a statement of its own/, 'not where a refresh token could be lost');
is(scalar($vendors->history), 0, 'then nobody is asked');
is(steps('tested refresh'), "token|true|granted, for 3600 s\n${connected}authenticate|true|HTTP 200: it takes the credentials", 'as a statement of its own');
like(steps('tested refresh'), qr/^token\|true\|kept from an earlier request, and not over yet\n/, 'and again');
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6 }, 'a run goes on with it');
is(scalar(token_requests), 1, 'without asking');
$node->sql(q{SELECT signalsmith.set_secret('tested refresh', 'client_secret', 'client secret+1')});
$vendors->rules({ path => '/me', delay => 2 });
is($node->sql(q{SET statement_timeout = '1s'; SELECT string_agg(step || ' ' || ok, ', ') FROM signalsmith.test_destination('tested refresh')}),
	'token true, resolve true, connect true, TLS true, authenticate true', 'a timeout waits until the new refresh token is kept');
$vendors->rules;
all_changed();
$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 6 }, 'and it is');
is(scalar(token_requests), 2, 'with the token that came with it');

#
# A server that has none
#

$sync = create('wrong', { grant => 'client_credentials' }, secrets => { client_secret => 'wrong secret' });
$run = $node->run_sync($sync);
$node->run_is($run, { status => 'failed', requests => 0 }, 'a wrong secret');
like($run->{error}, qr/invalid_client: unknown client, secret \[redacted\] \(Set the secret "client_secret" with signalsmith\.set_secret\.\)$/, 'is named, and not shown');

$sync = create('throttled', { grant => 'client_credentials' });
$vendors->set('oauth', throttle => 1);
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6 }, 'one that throttles is waited for');
my @asked = token_requests;
cmp_ok($asked[1]{started} - $asked[0]{started}, '>=', 1, 'as long as it asks');

$sync = create('unwell', { grant => 'client_credentials' });
$vendors->rules({ path => '/token', status => 503, times => 2 });
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6, rows_failed => 0 }, 'one that is not well is asked again');
$vendors->rules({ path => '/token', status => 200, body => '<html>' });
$sync = create('nonsense', { grant => 'client_credentials' });
$vendors->rules({ path => '/token', status => 200, body => '<html>' });
$run = $node->run_sync($sync);
$node->run_is($run, { status => 'failed', rows_failed => 0 }, 'one that talks nonsense');
like($run->{error}, qr/could not get an access token: the answer, with HTTP status 200, holds no token/, 'is given up after a while');
is($node->sync($sync)->{status}, 'active', 'as a destination that cannot be reached is');

#
# What the answer has beside the token
#

my $capture = { grant => 'client_credentials', capture => { instance_url => '$.instance_url' } };
$sync = create('captured', $capture, config => { base_url => '{{token.instance_url}}/api' });
$vendors->set('oauth', choices => { instance_url => $vendors->url('oauth') });
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 6 }, 'a base URL that comes with the token');
is_deeply({ map { $_->{path} =~ s/\d+$//r => 1 } other_requests }, { '/oauth/api/people/' => 1 }, 'is where requests go');
for my $case ([ undef, qr/the answer has nothing for \{\{token\.instance_url\}\}/ ], [ 'ftp://x', qr/gives no base URL/ ])
{
	my ($url, $error) = @$case;
	$node->sql(q{SELECT signalsmith.set_secret('captured', 'client_secret', 'client secret+1')});
	$vendors->set('oauth', choices => { instance_url => $url });
	all_changed();
	$run = $node->trigger($sync);
	$run = $node->wait_for_run($run);
	like("$run->{status} $run->{error}", qr/failed .*$error/, 'or not: ' . ($url // 'none'));
	is($run->{rows_failed}, 0, 'no row is blamed');
	$node->sql(q{SELECT signalsmith.resume_sync('captured')}) if $node->sync($sync)->{status} eq 'error';
}
$node->set(q{signalsmith.allowed_hosts = 'localhost, example.com'});
$sync = create('elsewhere', { grant => 'client_credentials' });
$run = $node->run_sync($sync);
like($run->{error}, qr/request for an access token is refused: .*signalsmith\.allowed_hosts/, 'egress rules hold for the token');
$sync = create('captured elsewhere', { %$capture, url => $vendors->url('oauth') =~ s/127.0.0.1/localhost/r . '/token' }, config => { base_url => '{{token.instance_url}}/api' });
$vendors->set('oauth', choices => { instance_url => $vendors->url('oauth') });
$run = $node->run_sync($sync);
like($run->{error}, qr/^the host is not among signalsmith\.allowed_hosts/, 'and for a base URL that came with it');
$node->set(q{signalsmith.allowed_hosts = '*'});

done_testing();
