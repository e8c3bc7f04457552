# One run of each kind, with the whole server under valgrind: nothing of ours reads
# or writes where it must not, and nothing is lost.
#
# Run by "test/check valgrind", which puts a program in the server's place.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Certificates;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Signalsmith::Things;
use Signalsmith::Vendors;
use Test::More;

my $reports = PostgreSQL::Test::Utils::tempdir;
my $key_file = PostgreSQL::Test::Utils::tempdir . '/key';
append_to_file($key_file, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n");
chmod 0600, $key_file;
my $certificates = Signalsmith::Certificates->new;
my $node = Signalsmith::Cluster->start_new('main',
	conf => "signalsmith.key_file = '$key_file'\nsignalsmith.ca_file = '" . $certificates->authority_file . "'\n");
$node->stop;
{
	local $ENV{SIGNALSMITH_VALGRIND} = $reports;
	$node->start;
}

my $recorder = Signalsmith::Recorder->start($certificates->make('good', 'IP:127.0.0.1'));
my $vendor = Signalsmith::Things->start;
my %patient = (timeout_seconds => 60);

# A table of n rows and a sync that sends it.
sub create
{
	my ($name, $rows, %more) = @_;
	$recorder->reset;
	$node->sql("CREATE TABLE $name (id int PRIMARY KEY, v text);
		INSERT INTO $name SELECT i, 'v' || i FROM generate_series(1, $rows) AS i");
	$node->create_webhook_sync(name => $name, query => "SELECT id, v, now() AS at, ARRAY[1.5, NULL] AS list FROM $name",
		primary_key => 'id', url => $recorder->url, options => {%patient}, field_mappings => { id => 'Id', v => 'V', list => 'a.list' }, %more);
	return;
}

# --- create, update, nothing to do, delete, over TLS, signed
create('people', 1000, mode => 'mirror', config => { batch_size => 100 });
$node->sql(q{SELECT signalsmith.set_secret('people', 'signing_secret', 'whsec_Y2FuYXJ5LXNpZ25pbmcta2V5')});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_created => 1000 }, 'create');
$node->sql(q{UPDATE people SET v = v || '.' WHERE id % 10 = 0; DELETE FROM people WHERE id % 100 = 1});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_updated => 100, rows_deleted => 10 }, 'update and delete');
$node->run_is($node->run_sync('people'), { status => 'completed', rows_unchanged => 990, requests => 0 }, 'nothing to do');

# --- deletes held and approved
$node->sql('DELETE FROM people WHERE id > 100');
my $held = $node->run_sync('people');
is($held->{status}, 'held', 'held deletes');
my $approved = $node->sql("SELECT signalsmith.approve_deletes('$held->{id}')");
is($node->wait_for_run($approved)->{status}, 'completed', 'approved deletes');

# --- rows refused one by one; a batch split until the bad row is alone; retried
create('refused', 100, config => { batch_size => 50 });
$recorder->rules({ reject => [ { id => 7 }, { id => 99 } ] });
is($node->run_sync('refused')->{rows_failed}, 2, 'refused rows');
create('poisoned', 64, config => { batch_size => 64 });
$recorder->rules({ poison => [ { id => 13 } ] });
my $poisoned = $node->run_sync('poisoned');
$node->run_is($poisoned, { rows_created => 63, rows_failed => 1 }, 'a batch that is split');
$recorder->rules;
is($node->wait_for_run($node->sql("SELECT signalsmith.retry_rows('$poisoned->{id}')"))->{rows_created}, 1, 'rows sent again');

# --- rows that cannot be sent: a key that is null, one that is there twice
$node->sql('CREATE TABLE doubled (id int, v text); INSERT INTO doubled VALUES (1, NULL), (1, NULL), (NULL, NULL), (2, NULL)');
$node->create_webhook_sync(name => 'doubled', query => 'SELECT * FROM doubled', primary_key => 'id', url => $recorder->url, options => {%patient});
is($node->run_sync('doubled')->{rows_created}, 1, 'null and duplicate keys');

# --- doubtful answers: late, cut off, on a connection that dies, throttled
create('doubtful', 30, options => { timeout_seconds => 2, max_attempts => 2, max_in_flight => 2 }, config => { batch_size => 10 });
$recorder->rules({ nth => 1, delay => 5, phase => 'after_apply' }, { nth => 2, phase => 'after_apply', drop => 1 },
	{ nth => 3, status => 200, body => '{"results": [', length => 1000, phase => 'after_apply' }, { nth => 4, status => 429, headers => { 'Retry-After' => '1' } });
isnt($node->run_sync('doubtful')->{status}, 'running', 'doubtful answers');

# --- cancelled while requests hang, by both ways
create('cancelled', 100, config => { batch_size => 10 });
for my $way ("SELECT signalsmith.cancel_run('%s')", q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'signalsmith runner'})
{
	$recorder->rules({ hold => 1 });
	my $run = $node->trigger('cancelled');
	$recorder->wait_for(held => 1);
	$node->sql(sprintf $way, $run);
	$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'signalsmith runner')}) if $way =~ /terminate/;
	$recorder->rules;
	$recorder->release;
	$node->wait_for_run($run);
}
is($node->run_sync('cancelled')->{status}, 'completed', 'cancelled and terminated');

# --- a model that fails, and one that is given up
$node->sql('CREATE TABLE failing AS SELECT i AS id FROM generate_series(1, 10) AS i');
$node->create_webhook_sync(name => 'failing', query => 'SELECT id, 1 / (id - 9) AS v FROM failing', primary_key => 'id', url => $recorder->url);
is($node->run_sync('failing')->{status}, 'failed', 'a model that fails');

# --- records that the destination calls by ids of its own, looked up where they exist
$node->sql(q{CREATE TABLE things (id text PRIMARY KEY, name text); INSERT INTO things SELECT i, 'name ' || i FROM generate_series(1, 5) AS i});
my $captured = { rows => { id => '$.id', version => '$.version' } };
my $manifest = quote({
	base_url => $vendor->url(''),
	operations => {
		create => {
			request => { method => 'POST', path => '/things', body => { external => '{{key}}', name => '{{row.name | lower | sha256}}' } },
			respond => { %$captured, existing_id => '$.error.existing' } },
		update => {
			request => { method => 'PUT', path => '/things/{{id}}', headers => { 'If-Match' => '{{version}}' }, body => { external => '{{key}}', name => '{{row.name}}' } },
			respond => $captured,
			classify => [ { status => 404, is => 'conflict' } ] },
		delete => { request => { method => 'DELETE', path => '/things/{{id}}' } } },
	lookup => {
		when => 'on_conflict',
		request => { method => 'GET', path => '/things', query => { external => '{{key}}' } },
		respond => { rows => { id => '$.things[0].id', version => '$.things[0].version' } } } });
$node->sql("SELECT signalsmith.create_model('things', 'SELECT * FROM things ORDER BY id', '{id}');
	SELECT signalsmith.create_destination('things', 'http', $manifest);
	SELECT signalsmith.create_sync('things', 'things', 'things', 'mirror')");
is($node->run_sync('things')->{rows_created}, 5, 'ids of the destination\'s');
$node->sql(q{UPDATE things SET name = 'new'; SELECT signalsmith.reset_sync('things')});
isnt($node->run_sync('things')->{status}, 'running', 'lookups');

# --- to a table
$node->sql(q{CREATE TABLE copies (id int PRIMARY KEY, v text CHECK (v <> 'v7'));
	SELECT signalsmith.create_destination('tables', 'postgresql', '{"schema": "public"}');
	SELECT signalsmith.create_sync('copies', 'refused', 'tables', 'mirror', '{"id": "id", "v": "v"}', object => 'copies')});
$node->run_is($node->run_sync('copies'), { rows_created => 99, rows_failed => 1 }, 'to a table');
$node->sql('DELETE FROM refused WHERE id = 1');
is($node->run_sync('copies')->{rows_deleted}, 1, 'deletes in a table');

# --- with an access token, for an assertion that is signed here; renewed when it is refused
my $vendors = Signalsmith::Vendors->start;
my $pem_file = PostgreSQL::Test::Utils::tempdir . '/rsa.pem';
run_command([ 'openssl', 'genrsa', '-out', $pem_file, '2048' ]);
my ($modulus) = run_command([ 'openssl', 'rsa', '-noout', '-modulus', '-in', $pem_file ]);
$vendors->reset;
$vendors->set('oauth', choices => { lifetime => 3600, jwt_modulus => $modulus =~ s/^Modulus=//r });
$node->sql('SELECT signalsmith.create_destination(' . join(', ', quote('oauth', 'http', {
				base_url => $vendors->url('oauth') . '/api',
				auth => { token => { url => $vendors->url('oauth') . '/token', grant => 'jwt_bearer', jwt => { secret => 'private_key', claims => { iss => 'us' } } },
					header => { Authorization => 'Bearer {{token}}' } },
				operations => { upsert => { request => { method => 'PUT', path => '/people/{{key}}' } } } })) . ')');
$node->sql(q{SELECT signalsmith.set_secret('oauth', 'private_key', } . quote(slurp_file($pem_file)) . q{);
	SELECT signalsmith.create_sync('oauth', 'doubled', 'oauth')});
is($node->run_sync('oauth')->{rows_created}, 1, 'with an access token');
$vendors->set('oauth', expire => JSON::PP::true);
$node->sql(q{INSERT INTO doubled VALUES (3, NULL)});
is($node->run_sync('oauth')->{rows_created}, 1, 'with a renewed one');

# --- what people look at
$node->sql("SELECT * FROM signalsmith.$_") for 'syncs', 'runs', 'row_errors', 'run_progress', q{preview_sync('people')}, q{preview_requests('people')},
  q{snapshot('people')}, q{test_destination('people')}, 'check_installation()', 'list_syncs()';
$node->sql_error(q{SELECT signalsmith.create_model('bad', 'SELECT 1; SELECT 2', '{id}')});
$node->sql_error(q{SELECT signalsmith.create_destination('bad', 'http', '{"base_url": "https://example.com", "operations": {"create": {"reqest": 1}}}')});
$node->sql('SELECT signalsmith.rotate_key()');

# --- what valgrind has to say of it
$node->stop;
my %findings;
my $processes = 0;
for my $report (glob "$reports/*.xml")
{
	my $xml = slurp_file($report);
	$processes++ if $xml =~ /signalsmith\.so/ || $xml =~ m{</valgrindoutput>};
	while ($xml =~ m{<error>(.*?)</error>}gs)
	{
		my $error = $1;
		$findings{ summary($error) }++ if is_ours($error);
	}
}
cmp_ok($processes, '>', 20, 'valgrind has watched runners and others');
is(join("\n\n", sort keys %findings), '', 'and found nothing of ours');

# The nearest function that is no allocation belongs to us, or to a library that
# we have called.
sub is_ours
{
	my ($error) = @_;
	my ($stack) = $error =~ m{<stack>(.*?)</stack>}s;
	for my $frame ($stack =~ m{<frame>(.*?)</frame>}gs)
	{
		my ($object) = $frame =~ m{<obj>(.*?)</obj>};
		return 1 if $object =~ /signalsmith\.so/;
		return 0 if $object =~ m{/postgres\.real$};
	}
	return 0;
}

sub summary
{
	my ($error) = @_;
	my ($kind) = $error =~ m{<kind>(.*?)</kind>};
	my ($stack) = $error =~ m{<stack>(.*?)</stack>}s;
	return join "\n  ", $kind, grep { defined } map { my ($function) = m{<fn>(.*?)</fn>}; my ($file) = m{<file>(.*?)</file>}; my ($line) = m{<line>(.*?)</line>};
		($function // '?') . ($file ? " ($file:$line)" : '') } $stack =~ m{<frame>(.*?)</frame>}gs;
}

done_testing();
