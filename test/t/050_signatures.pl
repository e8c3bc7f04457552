# Secrets and signatures: what is sent with each attempt, and what never shows.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use Digest::SHA qw(hmac_sha256_base64 hmac_sha256_hex);
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $key_file = PostgreSQL::Test::Utils::tempdir . '/key';
append_to_file($key_file, ('5e' x 32) . "\n");
chmod 0600, $key_file or die;
my $node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.key_file = '$key_file'\n");
my $recorder = Signalsmith::Recorder->start;
$node->sql(q{CREATE TABLE people AS SELECT i AS id, 'n' || i AS name FROM generate_series(1, 3) AS i});

sub pad { return $_[0] . '=' x (-length($_[0]) % 4) }

# --- Standard Webhooks
my $key = 'correct horse battery staple';
$node->create_webhook_sync(
	name => 'signed', query => 'SELECT * FROM people', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 2 }, options => { max_in_flight => 1 });
$recorder->rules({ nth => 1, status => 503 });
like($node->sql_error(q{SELECT signalsmith.set_secret('signed', 'signing_secrt', 'x')}), qr/Did you mean "signing_secret"/,
	'a secret of another name is refused');
unlike($node->sql_error(q{SELECT signalsmith.set_secret('signed', 'signing_secret', 'not base64')}), qr/not base64/,
	'a key that is none is refused without being shown');
is($node->run_sync('signed')->{rows_created}, 3, 'without its secret a webhook is not signed');
is(scalar(grep { exists $_->{headers}{'webhook-signature'} } $recorder->history), 0, 'none of its requests is');

$recorder->reset;
$node->sql('SELECT signalsmith.set_secret(' . join(', ', quote('signed', 'signing_secret', 'whsec_' . encode_base64($key, ''))) . ')');
$recorder->rules({ nth => 1, status => 503 });
is($node->run_sync('signed', full_resync => 1)->{rows_updated}, 3, 'with it, it is');
my %attempts;
for my $request ($recorder->history)
{
	my ($id, $time, $signature) = map { $request->{headers}{"webhook-$_"} } qw(id timestamp signature);
	my $expected = pad(hmac_sha256_base64("$id.$time.$request->{body}", $key));
	is($signature, "v1,$expected", "request $request->{number} is signed as Standard Webhooks says");
	is($id, $request->{headers}{'idempotency-key'}, 'its id is that of the batch');
	push @{ $attempts{$id} }, $request;
}
my ($repeated) = grep { @$_ > 1 } values %attempts;
is(scalar(@$repeated), 2, 'one was repeated, under the same id');
is($repeated->[0]{body}, $repeated->[1]{body}, 'with the same body');
isnt($repeated->[0]{headers}{'webhook-timestamp'} . $repeated->[0]{headers}{'signalsmith-attempt'},
	$repeated->[1]{headers}{'webhook-timestamp'} . $repeated->[1]{headers}{'signalsmith-attempt'}, 'as another attempt');

# --- GitHub's way, and whatever else, with the http connector
sub http_sync
{
	my ($name, $config) = @_;
	$recorder->reset;
	$node->sql("SELECT signalsmith.create_model('$name', 'SELECT * FROM people', '{id}') \\g /dev/null
		SELECT signalsmith.create_destination('$name', 'http', " . quote($config) . ") \\g /dev/null
		SELECT signalsmith.create_sync('$name', '$name', '$name', options => '{\"max_in_flight\": 1}')");
	return $name;
}
http_sync(hub => {
		base_url => $recorder->url,
		auth => {
			header => { Authorization => 'Bearer {{secret.token}}' },
			hmac => { secret => 'hub', sign => '{{body}}', headers => { 'X-Hub-Signature-256' => 'sha256={{signature}}' } }
		},
		operations => { upsert => { request => { method => 'PUT', path => '/{{key}}' } } } });
my $run = $node->run_sync('hub');
is($run->{status}, 'failed', 'without a secret that it needs, a run fails');
like($run->{error}, qr/the secret "(token|hub)" of destination "hub" is not set/, 'and says which');
is($recorder->figures->{requests}, 0, 'before anything is sent');
is($node->sync('hub')->{status}, 'error', 'and the sync waits for somebody');
$node->sql(q{SELECT signalsmith.set_secret('hub', 'token', 'top-secret/token'), signalsmith.set_secret('hub', 'hub', 'hush');
	SELECT signalsmith.resume_sync('hub')});
is($node->run_sync('hub')->{rows_created}, 3, 'once it is set, everything flows');
for my $request ($recorder->history)
{
	is($request->{headers}{'x-hub-signature-256'}, 'sha256=' . hmac_sha256_hex($request->{body}, 'hush'), 'signed over the body');
	is($request->{headers}{authorization}, 'Bearer top-secret/token', 'with the token');
}

# --- what is secret stays so
$recorder->rules({ status => 422, body => { error => 'who is top-secret/token, or top-secret%2Ftoken? or hush?' } });
$run = $node->run_sync('hub', full_resync => 1);
my ($failure) = $node->row_errors($run->{id});
unlike(JSON::PP->new->encode($failure), qr/top-secret|hush/, 'a destination that repeats a secret does not get it into row_errors');
is($node->json(q{SELECT signalsmith.render_request('hub', 'create', '{"key": {"id": 1}, "data": {}}')})->{headers}{Authorization},
	'Bearer [token]', 'render_request shows a placeholder');
my $log = slurp_file($node->logfile);
$log =~ s/^.*LOG:  statement: .*$//mg;
unlike($log, qr/top-secret/, 'nor is it in the log');

# --- basic, in the URL and in the body
http_sync(elsewhere => {
		base_url => $recorder->url('') . '/v1?fixed=1',
		auth => { basic => { user => 'me', password => '{{secret.pw}}' }, query => { key => '{{secret.k}}' }, body => { api_key => '{{secret.k}}' } },
		operations => { upsert => { request => { method => 'POST', encode => 'form', body => { name => '{{row.name}}' } }, idempotent => JSON::PP::true } } });
$node->sql(q{SELECT signalsmith.set_secret('elsewhere', 'pw', 'geheim'), signalsmith.set_secret('elsewhere', 'k', 'a&b=c')});
$recorder->rules({ status => 200 });
is($node->run_sync('elsewhere')->{rows_created}, 3, 'a form');
my ($request) = $recorder->history;
is($request->{headers}{authorization}, 'Basic ' . encode_base64('me:geheim', ''), 'basic authentication');
is($request->{raw_path}, '/v1?fixed=1&key=a%26b%3Dc', 'a parameter of the URL');
like($request->{body}, qr/^api_key=a%26b%3Dc&name=n\d$/, 'and a field of the form');

done_testing();
