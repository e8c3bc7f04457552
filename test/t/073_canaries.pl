# Secrets are nowhere but in the key file's ciphertext and in requests: not in
# logs, whatever is logged, nor in views, errors, statistics, dumps and files.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Signalsmith::Vendors;
use Test::More;

my $key_file = PostgreSQL::Test::Utils::tempdir . '/key';
append_to_file($key_file, "0123456789abcdef" x 4 . "\n");
chmod 0600, $key_file or die $!;

my $node = Signalsmith::Cluster->start_new('main', conf => <<"CONF");
shared_preload_libraries = 'signalsmith,auto_explain,pg_stat_statements'
signalsmith.key_file = '$key_file'
log_statement = all
log_duration = on
log_min_messages = debug5
log_error_verbosity = verbose
log_min_error_statement = debug5
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_executor_stats = off
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_triggers = on
auto_explain.log_nested_statements = on
pg_stat_statements.track = all
pg_stat_statements.track_utility = on
CONF
my $recorder = Signalsmith::Recorder->start;
my $vendors = Signalsmith::Vendors->start;

my %canaries = (
	header_token => 'canary-header+4711/x="y"',
	query_token => 'canary query&4712?%',
	basic_password => 'canary:basic:4713',
	body_token => 'canary\\body"4714',
	signing_secret => 'whsec_' . encode_base64('canary-signing-key-4715', ''));

# Any of them, also as it looks encoded, or cut.
my $signing_key = encode_base64('canary-signing-key-4715', '');
my $basic = encode_base64("bob:$canaries{basic_password}", '');
my $secret = qr{canary[^_]|4711.x|query.{1,3}4712|basic.{1,3}4713|body..?"?4714|key-4715|wrong-471|\Q$signing_key\E|\Q$basic\E};

$node->sql(q{CREATE ROLE bob LOGIN IN ROLE signalsmith_user; CREATE EXTENSION pg_stat_statements; CREATE TABLE people AS SELECT i AS id FROM generate_series(1, 3) AS i; GRANT SELECT ON people TO bob});
my $base_url = $recorder->url('');
$node->sql(q{SELECT signalsmith.create_destination('rest', 'http', } . quote({
			base_url => $base_url, headers => { 'X-Api-Key' => '{{secret.header_token}}', 'X-Copied' => '{{secret.copied_token}}' },
			auth => { basic => { user => 'bob', password => '{{secret.basic_password}}' }, body => { token => '{{secret.body_token}}' } },
			operations => { create => { request => { method => 'POST', path => '/people', query => { token => '{{secret.query_token}}' }, body => '{{fields}}' },
					respond => { decode => 'json', optional => \1, error => '$.error', code => '$.code' } } } }) . ')', role => 'bob');
$node->create_webhook_sync(name => 'hook', role => 'bob', query => 'SELECT id FROM people', primary_key => 'id', url => $recorder->url);
$node->sql(q{SELECT signalsmith.create_sync('rest', 'hook', 'rest', 'append', options => '{"max_attempts": 1}')}, role => 'bob');

# As a user would, with everything logged: the statement itself is logged, as
# documented, with what it is called with.
for my $name (sort keys %canaries)
{
	my $destination = $name eq 'signing_secret' ? 'hook' : 'rest';
	$node->sql('SELECT signalsmith.set_secret(' . join(', ', quote($destination, $name, $canaries{$name})) . ')', role => 'bob');
}

# As doc/security.md says: this one is not even in the caller's own statement.
my $copied = "hush\\copied\n4719";
IPC::Run::run([ 'perl', '-pe', 's/\\\\/\\\\\\\\/g; s/\n/\\\\n/' ], '<', \$copied, '|',
	[ 'psql', '-X', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1', '-c', 'CREATE TEMP TABLE entered (value text)', '-c', '\copy entered FROM pstdin',
		'-c', q{SELECT signalsmith.set_secret('rest', 'copied_token', translate(value, E'\n', '.')) FROM entered} ], '>', '/dev/null') or die;
$node->sql_error(q{SELECT signalsmith.set_secret('hook', 'signing_secret', 'canary-wrong-4716')}, role => 'bob');
$node->sql_error(q{SELECT signalsmith.set_secret('rest', 'bad name', 'canary-wrong-4717')}, role => 'bob');
$node->sql_error(q{SELECT signalsmith.set_secret('nothing', 'token', 'canary-wrong-4718')}, role => 'bob');

# --- they arrive
my $run = $node->run_sync('rest', role => 'bob');
$node->run_is($run, { status => 'completed', rows_created => 3 }, 'secrets are used');
my ($request) = $recorder->history;
is($request->{headers}{'x-api-key'}, $canaries{header_token}, 'in a header');
is($request->{headers}{'x-copied'}, 'hush\copied.4719', 'also what has come by COPY');
is($request->{headers}{authorization}, "Basic $basic", 'for basic authentication');
like($request->{raw_path}, qr/token=canary%20query%264712%3F%25/, 'in the query, encoded');
like($request->{body}, qr/canary\\\\body\\"4714/, 'and in the body');
$run = $node->run_sync('hook', role => 'bob');
$node->run_is($run, { status => 'completed', rows_created => 3 }, 'requests are signed');

# --- while it has them, the process leaves no core file: its files in /proc are root's
$recorder->rules({ hold => 1 });
$node->sql(q{INSERT INTO people VALUES (50)});
my $holding = $node->trigger('rest', role => 'bob');
$recorder->wait_for(held => 1);
is((stat '/proc/' . $node->runner_pid . '/environ')[4], 0, 'a runner that sends cannot be dumped');
$recorder->rules;
$recorder->release;
$node->wait_for_run($holding);
my $tester = $node->background_psql('postgres');
my $pid = $tester->query_safe('SELECT pg_backend_pid()');
isnt((stat "/proc/$pid/environ")[4], 0, 'other processes can');
$tester->query_safe(q{SELECT signalsmith.test_destination('rest')});
is((stat "/proc/$pid/environ")[4], 0, 'but for those that have tested a destination');
$tester->quit;

# --- a destination that tells them all in its answers, in every form
my @told = @canaries{ grep { $_ ne 'signing_secret' } keys %canaries };
my $echo = join ' ', @told, map({ my $text = $_; $text =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge; $text } @told),
  'Authorization: ' . $request->{headers}{authorization}, "$base_url$request->{raw_path}", "X-Api-Key: $canaries{header_token}";
for my $answer ({ status => 400, body => { error => $echo, code => $canaries{header_token} } }, { status => 400, body => $echo },
	{ status => 500, body => { error => $echo } }, { status => 401, body => { error => $echo } }, { status => 410, body => $echo })
{
	$recorder->rules($answer);
	$node->sql(q{INSERT INTO people SELECT max(id) + 1 FROM people});
	$node->sql(q{SELECT signalsmith.resume_sync('rest')}, role => 'bob');
	isnt($node->run_sync('rest', role => 'bob')->{rows_failed} . $node->sync('rest')->{status}, '0active', "an answer with status $answer->{status} fails");
}
$recorder->rules;

# --- tokens that a destination gave, and tells
$vendors->set('oauth', refresh_token => 'canary-refresh-0', choices => { client_secret => 'canary-client-4720', prefix => 'canary-' });
$node->sql(q{SELECT signalsmith.create_destination('oauth', 'http', } . quote({
			base_url => $vendors->url('oauth') . '/api', check => { request => { method => 'GET', path => '/me' } },
			auth => { token => { url => '/token', grant => 'refresh_token', client => { id => 'client', secret => '{{secret.client_secret}}' } }, header => { Authorization => 'Bearer {{token}}' } },
			operations => { upsert => { request => { method => 'PUT', path => '/people/{{key}}' } } } }) . ')', role => 'bob');
$node->sql(q{SELECT signalsmith.set_secret('oauth', 'client_secret', 'canary-client-4720')}, role => 'bob');
$node->sql(q{SELECT signalsmith.set_secret('oauth', 'refresh_token', 'canary-refresh-0')}, role => 'bob');
$node->sql(q{SELECT signalsmith.create_sync('oauth', 'hook', 'oauth')}, role => 'bob');
is($node->run_sync('oauth', role => 'bob')->{status}, 'completed', 'with an access token');
$node->sql(q{UPDATE people SET id = id + 1000});
$vendors->rules({ path => '/people/', status => 401, body => { error => 'Bearer canary-oauth-token-1 canary-oauth-token-2 canary-refresh-1 canary-refresh-2' } });
my @told_by_runs = $node->run_sync('oauth', role => 'bob')->{error};
like($told_by_runs[0], qr/refuses the credentials: .*redacted/, 'they are told in an answer, and redacted');
$vendors->rules({ path => '/token', status => 400, body => { error => 'invalid_grant', error_description => 'canary-refresh-2 canary-client-4720' } });
$node->sql(q{SELECT signalsmith.set_secret('oauth', 'client_secret', 'canary-client-4720')}, role => 'bob');
$node->sql(q{SELECT signalsmith.resume_sync('oauth')}, role => 'bob');
push @told_by_runs, $node->run_sync('oauth', role => 'bob')->{error}, $node->sql(q{SELECT * FROM signalsmith.test_destination('oauth')}, role => 'bob');
unlike(join("\n", @told_by_runs), $secret, 'no error tells one');
$vendors->rules;

# --- destinations that cannot be reached, and a key file that is wrong
$node->sql(q{UPDATE people SET id = id + 100});
$recorder->stop;
$node->sql(q{SELECT signalsmith.resume_sync('rest')}, role => 'bob');
$run = $node->trigger('rest', role => 'bob');
$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM signalsmith.destination WHERE breaker_until IS NOT NULL) OR EXISTS (SELECT FROM signalsmith.runs WHERE id = '$run' AND status = 'failed')");
$node->sql("SELECT signalsmith.cancel_run('$run')", role => 'bob') if $node->run($run)->{status} eq 'running';
$node->wait_for_run($run);

# --- nowhere else
my $seen = join "\n", map { $node->sql("SELECT * FROM $_") } qw(signalsmith.syncs signalsmith.runs signalsmith.row_errors signalsmith.run_progress pg_stat_activity),
  map({ "(SELECT signalsmith.$_) AS seen" } 'list_syncs()', 'list_destinations()', 'list_models()', q{list_runs('rest')}, q{preview_requests('rest')}, q{render_request('rest', 'create', '{"key": {"id": 1}, "data": {"id": 1}}')});
unlike($seen, $secret, 'views and functions show none');
my $tables = join "\n", map { $node->sql("SELECT * FROM $_") } split /\n/, $node->sql(q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'signalsmith'::regnamespace AND relkind = 'r'});
unlike($tables, $secret, 'nor do the tables');
like($tables, qr/client_secret/, 'which were all read');
unlike($node->sql('SELECT query FROM pg_stat_statements'), $secret, 'nor statistics of statements');
my ($dump) = run_command([ 'pg_dump', '-d', $node->connstr('postgres') ]);
like($dump, qr/COPY signalsmith\.secret.*COPY signalsmith\.token/s, 'a dump has the ciphertext');
unlike($dump, $secret, 'and nothing else');

# --- who may only send to a destination does not see what our statements are given
$node->sql(q{CREATE ROLE ann LOGIN IN ROLE signalsmith_user});
$node->sql(q{SELECT signalsmith.create_destination('shared', 'webhook', '{"url": "https://example.com/hush-config", "headers": {"X-Api-Key": "hush-config"}}')}, role => 'ann');
$node->sql(q{SELECT signalsmith.share_destination('shared', 'bob')}, role => 'ann');
my ($status, $output, $printed) = $node->psql('postgres', q{SET SESSION AUTHORIZATION bob; SET client_min_messages = log;
	SET debug_print_plan = on; SET debug_print_parse = on; SET debug_print_rewritten = on;
	SELECT signalsmith.get_destination('shared');
	SELECT count(*) FROM signalsmith.list_destinations();
	SELECT signalsmith.render_request('shared', 'create', '{"key": {"id": 1}, "data": {"id": 1}}');
	SELECT signalsmith.interpret_answer('shared', 'create', '{"key": {"id": 1}, "data": {"id": 1}}', 200)});
is($status, 0, 'statements can be printed');
my @constants = map { join '', map { chr($_ & 255) } split ' ' } $printed =~ /:constvalue \d+ \[ ([-0-9 ]+) \]/g;
ok(scalar(grep { /shared/ } @constants), 'with the values they are given');
is(scalar(grep { /hush-config/ } @constants, $output, $printed), 0, 'but ours are not');

# In the log each of them is where its own statement is, and only there: the
# statement, and the plan of its outermost level.
$node->stop;
my @lines = grep { /$secret/ } split /\n/, slurp_file($node->logfile);
ok(scalar(grep { /statement: SELECT signalsmith\.set_secret/ } @lines), 'the caller\'s own statement is logged, as documented');
my @others = grep { !/\bsignalsmith\.set_secret\(/ } @lines;
is_deeply(\@others, [], 'and nothing else with a secret in it');
is(scalar(grep { /copied.{1,3}4719/ } split /\n/, slurp_file($node->logfile)), 0, 'what has come by COPY is not in the log at all');
my ($grep) = run_command([ 'grep', '-rlaE', 'canary-header|canary query|canary:basic|canary.body|canary-signing|canary-wrong|canary-oauth|canary-refresh|canary-client', $node->data_dir ]);
is($grep, '', 'no file of the data directory has one');

done_testing();
