# Where requests may go: however an address of this machine or network is
# written or found out, no byte leaves for it unless the DBA has allowed that.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $resolver = PostgreSQL::Test::Utils::tempdir . '/resolver.so';
system_or_bail('cc', '-shared', '-fPIC', '-o', $resolver, "$FindBin::RealBin/../server/resolver.c", '-ldl');
$ENV{LD_PRELOAD} = $resolver;
$ENV{RESOLVER_TURNED} = PostgreSQL::Test::Utils::tempdir . '/turned';
my $node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.allow_private_networks = off\n");
delete $ENV{LD_PRELOAD};
my $recorder = Signalsmith::Recorder->start;
my $port = $recorder->{port};
$node->sql('CREATE ROLE ann LOGIN IN ROLE signalsmith_user; CREATE ROLE bob LOGIN IN ROLE signalsmith_user');

my $number = 0;

# Runs a sync to a URL and returns the run.
sub run_to
{
	my ($url, %options) = @_;
	my $name = 'sync ' . ++$number;
	$node->create_webhook_sync(
		name => $name, query => 'SELECT 1 AS id', primary_key => 'id', url => $url,
		options => { max_attempts => 1, timeout_seconds => 10 }, %options);
	return $node->run_sync($name, role => $options{role});
}

# --- addresses, as they may be written
for my $host ('127.0.0.1', '127.1', '0x7f.1', '0x7f000001', '2130706433', '017700000001', '0177.0.0.1', '%31%32%37.0.0.1',
	'0', '0.0.0.0', '[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::127.0.0.1]', '[64:ff9b::7f00:1]', '[64:ff9b:1::7f00:1]', '[2002:7f00:1::]',
	'[fe80::1%25lo]', '[fd00:ec2::254]', 'localhost', 'LOCALHOST', 'private.test', 'two.test',
	'10.0.0.1', '172.16.0.1', '192.168.0.1', '169.254.169.254', '100.64.0.1', '100.100.100.200', '168.63.129.16', '198.18.0.1', '224.0.0.1', '255.255.255.255')
{
	my $run = run_to("http://$host:$port/hook");
	$node->run_is($run, { status => 'failed', requests => 0 }, "$host is refused");
	like($run->{error}, qr/private address/, "$host: and the error says why") or next;
	is($node->sync("sync $number")->{status}, 'error', "$host: it is not tried again") if $host eq '127.0.0.1';
}
is($recorder->figures->{connections}, 0, 'nothing has connected');

# --- a name that is public when it is first asked for, and private the next time
$node->create_webhook_sync(
	name => 'turns', query => 'SELECT 1 AS id', primary_key => 'id', url => "http://turns.test:$port/hook",
	options => { max_attempts => 1, timeout_seconds => 10 });
unlike($node->run_sync('turns')->{error}, qr/private address/, 'a name that is public');
my $turned = $node->run_sync('turns');
$node->run_is($turned, { status => 'failed', requests => 0 }, 'and private when it is asked for again is not followed');
like($turned->{error}, qr/private address/, 'and the error says why');
is($recorder->figures->{connections}, 0, 'nothing has connected to what it said later');

# --- URLs that are none, or say one host and mean another
for my $url ("http://good.example\@127.0.0.1:$port/", "http:\\\\127.0.0.1:$port/", "http://good.example\\\@127.0.0.1:$port/", "http://127.0.0.1:$port\t/",
	"http://127.0.0.1:${port}#\@good.example/", "http://good.example:80\@127.0.0.1:$port/", "http://[::1]$port/", 'http:///hook', 'http:127.0.0.1', '//127.0.0.1/',
	"http://\x{ff11}27.0.0.1:$port/", "http://127\x{3002}0.0.1:$port/", "http://127.0.0.1:99999/", 'http://127.0.0.1:-1/', "http://127.0.0.1%00.example:$port/", "http://127.0.0.1%2f.example:$port/",
	'file:///etc/passwd', 'gopher://127.0.0.1/', 'dict://127.0.0.1/', 'ftp://127.0.0.1/', 'unix:/tmp/.s.PGSQL.5432', 'http+unix://x/', 'javascript:1', '')
{
	my $bytes = $url;
	utf8::encode($bytes);
	like($node->sql_error(q{SELECT signalsmith.create_destination('none', 'webhook', } . quote({ url => $bytes }) . ')'),
		qr/invalid config for connector "webhook" at "url"/, 'refused when it is defined: ' . ($bytes =~ s/[^ -~]/?/gr));
}
is($recorder->figures->{connections}, 0, 'still nothing has connected');

# --- hosts by name
my $good = $recorder->url;
$node->set(q{signalsmith.allow_private_networks = on});
for my $case (
	[ 'example.com', 0 ], [ '*.example.com', 0 ], [ "https://127.0.0.1:$port", 0 ], [ '127.0.0.1:1', 0 ], [ '', 0 ], [ 'x127.0.0.1', 0 ], [ '*27.0.0.1', 0 ],
	[ '127.0.0.1', 1 ], [ "http://127.0.0.1:$port", 1 ], [ "example.com, 127.0.0.1:$port", 1 ], [ '*', 1 ])
{
	my ($hosts, $allowed) = @$case;
	my $before = $recorder->figures->{connections};
	$node->set("signalsmith.allowed_hosts = '$hosts'");
	my $run = run_to($good);
	is($run->{status}, $allowed ? 'completed' : 'failed', "allowed_hosts '$hosts': " . ($allowed ? 'allowed' : 'refused'));
	is($recorder->figures->{connections} - $before, $allowed, "allowed_hosts '$hosts': " . ($allowed ? 'connected' : 'not connected'));
}

# --- what a DBA allows one role is not allowed another; no connection is shared
$node->set('signalsmith.allow_private_networks = off');
$node->sql('ALTER ROLE ann SET signalsmith.allow_private_networks = on');
$recorder->reset;
$recorder->rules({ nth => 1, hold => 1 });
$node->create_webhook_sync(name => 'hers', role => 'ann', query => 'SELECT 1 AS id', primary_key => 'id', url => $good);
my $hers = $node->trigger('hers', role => 'ann');
$recorder->wait_for(held => 1);
my $connections = $recorder->figures->{connections};
$node->run_is(run_to($good, role => 'bob'), { status => 'failed', requests => 0 }, 'another role may not, while her connection is open');
is($recorder->figures->{connections}, $connections, 'nor has it connected');
$recorder->release;
$node->run_is($node->wait_for_run($hers, role => 'ann'), { status => 'completed', rows_created => 1 }, 'hers goes on');
$node->sql('ALTER ROLE bob SET signalsmith.allow_private_networks = on');
$node->run_is(run_to($good, role => 'bob'), { status => 'completed' }, 'once he may, he does');
is($recorder->figures->{connections}, $connections + 1, 'by a connection of his own');

# --- what a sync is not asked for is not allowed either: users change nothing
like($node->sql_error("SET signalsmith.$_", role => 'bob'), qr/permission denied to set parameter/, "a user may not set $_")
  for 'allow_private_networks = on', q{allowed_hosts = '*'}, q{ca_file = '/tmp/ca'}, 'allow_superuser_syncs = on';
like($node->sql_error('ALTER ROLE bob SET signalsmith.allow_private_networks = on', role => 'bob'), qr/permission denied/, 'nor for his sessions to come');

# --- proxies and files of the environment are not for us
$node->stop;
{
	my $other = Signalsmith::Recorder->start;
	local $ENV{http_proxy} = "http://127.0.0.1:$other->{port}/";
	local $ENV{HTTP_PROXY} = $ENV{http_proxy};
	local $ENV{all_proxy} = $ENV{http_proxy};
	local $ENV{HOME} = PostgreSQL::Test::Utils::tempdir;
	append_to_file("$ENV{HOME}/.netrc", "machine 127.0.0.1 login stolen password stolen\n");
	append_to_file("$ENV{HOME}/.curlrc", "header = \"X-Stolen: 1\"\n");
	$node->start;
	$recorder->reset;
	$node->run_is(run_to($good, role => 'ann'), { status => 'completed' }, 'a run where the environment names a proxy');
	is($other->figures->{connections}, 0, 'goes past it');
	my ($request) = $recorder->history;
	is_deeply([ grep { /^(authorization|x-stolen|cookie|proxy.*)$/i } keys %{ $request->{headers} } ],
		[], 'and with no header from there');
}

done_testing();
