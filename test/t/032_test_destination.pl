# test_destination: one harmless request, and where it ended.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Certificates;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $certificates = Signalsmith::Certificates->new;
my $key_file = PostgreSQL::Test::Utils::tempdir . '/key';
append_to_file($key_file, 'ab' x 32 . "\n");
chmod 0600, $key_file;
my $node = Signalsmith::Cluster->start_new('main',
	conf => "signalsmith.key_file = '$key_file'\nsignalsmith.ca_file = '" . $certificates->authority_file . "'\n");
$node->sql(q{CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE vic LOGIN;
	GRANT signalsmith_user TO ann, bob, vic; GRANT signalsmith_viewer TO vic});
my $recorder = Signalsmith::Recorder->start;
my $secure = Signalsmith::Recorder->start($certificates->make('good', 'IP:127.0.0.1'));
my $self_signed = Signalsmith::Recorder->start($certificates->make('self_signed', 'IP:127.0.0.1', self_signed => 1));

sub create
{
	my ($name, $url, %config) = @_;
	$node->sql('SELECT signalsmith.create_destination(' . join(', ', quote($name, 'webhook', { url => $url, %config })) . ')', role => 'ann');
	return;
}

# "step ok detail" of each step, times replaced.
sub steps
{
	my ($name, %options) = @_;
	my $steps = $node->sql('SELECT step, ok, detail FROM signalsmith.test_destination(' . quote($name) . ')', role => 'ann', %options);
	return $steps =~ s/\d+ ms/N ms/gr;
}

# --- it answers
create('good', $recorder->url);
is(steps('good'), "resolve|t|N ms\nconnect|t|N ms\nTLS|t|not used: the URL begins with http://\n"
	. 'authenticate|t|HTTP 200: it answers, and does not refuse the credentials (no proof: the connector has no check)', 'all steps of a good one');
my ($request) = $recorder->history;
is_deeply([ @$request{qw(method path body)} ], [ 'HEAD', '/hook', '' ], 'nothing is sent to it');
is($recorder->figures->{records}, 0, 'nor changed there');
create('secure', $secure->url);
like(steps('secure'), qr/^resolve\|t\|N ms\nconnect\|t\|N ms\nTLS\|t\|N ms\nauthenticate\|t\|HTTP 200/, 'over TLS, too');

# --- or it does not
for my $status (401, 403, 503, 404)
{
	$recorder->rules({ status => $status });
	my $ok = $status == 404 ? 't' : 'f';
	like(steps('good'), qr/^resolve\|t.*\nconnect\|t.*\nTLS\|t.*\nauthenticate\|$ok\|HTTP $status: /, "HTTP $status");
}
$recorder->rules({ drop => 1 });
like(steps('good'), qr/^authenticate\|f\|.*empty reply/mi, 'no answer at all');
$recorder->rules;

my $closed = Signalsmith::Recorder->start;
create('closed', $closed->url);
$closed->stop;
like(steps('closed'), qr/^resolve\|t\|N ms\nconnect\|f\|Failed to connect[^\n]*$/, 'a port where nobody listens');
create('nowhere', 'http://' . 'x' x 70 . '.example/hook');
like(steps('nowhere'), qr/^resolve\|f\|Could not resolve host[^\n]*$/, 'a host that does not exist');
create('self signed', $self_signed->url);
like(steps('self signed'), qr/^resolve\|t\|N ms\nconnect\|t\|\nTLS\|f\|[^\n]*certificate[^\n]*$/, 'a certificate that cannot be verified');
create('plain', $recorder->url =~ s/^http/https/r);
like(steps('plain'), qr/^resolve\|t\|N ms\nconnect\|t\|\nTLS\|f\|[^\n]*$/, 'TLS with who does not speak it');

# --- a check proves more
$node->sql('SELECT signalsmith.create_destination(' . join(', ', quote('checked', 'http', {
				base_url => $recorder->url(''), headers => { 'X-Batch' => '{{batch.id}}', 'X-Key' => '{{key}}' }, auth => { header => { Authorization => 'Bearer {{secret.token}}' } },
				check => { request => { method => 'GET', path => '/me', query => { fields => 'id' } }, classify => [ { if => '$.ok == false', is => 'auth' } ] },
				operations => { upsert => { request => { method => 'PUT', path => '/{{key}}' } } } })) . ')', role => 'ann');
$node->sql(q{SELECT signalsmith.set_secret('checked', 'token', 'hush-hush')}, role => 'ann');
$recorder->reset;
for my $case (
	[ 200, { id => 1 }, 't', 'it takes the credentials' ], [ 200, { ok => JSON::PP::false, error => 'token hush-hush is over' }, 'f', 'it refuses the credentials: token [redacted] is over' ],
	[ 401, { message => 'who are you?' }, 'f', 'it refuses the credentials: who are you?' ], [ 404, { message => 'no such thing' }, 'f', 'it refuses the check: no such thing' ],
	[ 429, { message => 'not so fast' }, 'f', 'it cannot answer now: not so fast' ], [ 503, '', 'f', 'it cannot answer now' ])
{
	my ($status, $body, $ok, $meaning) = @$case;
	$recorder->rules({ status => $status, body => $body });
	like(steps('checked'), qr/^authenticate\|$ok\|HTTP $status: \Q$meaning\E/m, "HTTP $status: $meaning");
}
($request) = $recorder->history;
is_deeply([ @$request{qw(method raw_path body)}, @{ $request->{headers} }{qw(authorization x-key)} ], [ 'GET', '/me?fields=id', '', 'Bearer hush-hush', undef ],
	'it is asked what the manifest says, without what is of a record');
$recorder->rules;

# --- our own rules
$node->set('signalsmith.allow_private_networks = off');
like(steps('good'), qr/^resolve\|t\|N ms\nconnect\|f\|the host has a private address, and signalsmith\.allow_private_networks is off$/,
	'a private address');
$node->set(q{signalsmith.allowed_hosts = '*.example.com'});
is(steps('good'), 'resolve|f|the host is not among signalsmith.allowed_hosts', 'a host that is not allowed');
$node->set(q{signalsmith.allowed_hosts = '*'});
$node->set('signalsmith.allow_private_networks = on');

# --- secrets are sent, and not shown
create('secret', $recorder->url, headers => { Authorization => 'Bearer {{secret.token}}' });
like($node->sql_error(q{SELECT * FROM signalsmith.test_destination('secret')}, role => 'ann'),
	qr/the secret "token" of destination "secret" is not set\nHINT:  Use SELECT signalsmith.set_secret/, 'a missing secret');
$node->sql(q{SELECT signalsmith.set_secret('secret', 'token', 'hush-hush')}, role => 'ann');
$recorder->reset;
like(steps('secret'), qr/^authenticate\|t\|HTTP 200/m, 'with the secret');
($request) = $recorder->history;
is($request->{headers}{authorization}, 'Bearer hush-hush', 'it is sent');

# --- who may
like($node->sql_error(q{SELECT * FROM signalsmith.test_destination('secret')}, role => 'bob'), qr/destination "secret" does not exist/, 'not a stranger');
like($node->sql_error(q{SELECT * FROM signalsmith.test_destination('secret')}, role => 'vic'), qr/permission denied for destination "secret"/, 'nor a viewer');
$node->sql(q{SELECT signalsmith.share_destination('secret', 'bob')}, role => 'ann');
like(steps('secret', role => 'bob'), qr/^authenticate\|t\|HTTP 200/m, 'but whom it is shared with');

# --- a statement can be cancelled while the destination keeps it waiting
$recorder->rules({ hold => 1 });
like($node->sql_error(q{SET statement_timeout = '300ms'; SELECT * FROM signalsmith.test_destination('good')}, role => 'ann'),
	qr/canceling statement due to statement timeout/, 'it can be cancelled');
$recorder->release;
$recorder->rules;
is($node->sql(q{BEGIN; SAVEPOINT a; SELECT count(*) FROM signalsmith.test_destination('good'); ROLLBACK TO a;
	SELECT count(*) FROM signalsmith.test_destination('good'); COMMIT}, role => 'ann'), "4\n4", 'it works in a transaction');

done_testing();
