# The memory of a runner that delivers does not grow with what it delivers: with rows,
# with requests that fail, that are repeated, that wait for their turn.  How many rows is
# in SIGNALSMITH_SOAK_ROWS; test/soak/memory runs this.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use List::Util qw(max min sum);
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Peer;
use Test::More;
use Time::HiRes qw(sleep);

my $rows = $ENV{SIGNALSMITH_SOAK_ROWS} // 2_000_000;
my $node = Signalsmith::Cluster->start_new('main', conf => "log_statement = none\nsignalsmith.max_attempts = 50\nautovacuum = off\nmax_wal_size = 4GB\n");
my $nginx = Signalsmith::Peer->start_nginx('split_clients $request_id $fails { 20% 1; * ""; }', <<'SERVER');
client_max_body_size 0;
location /fine { return 200 '{}'; }
location /bad { return 400 '{"error": "this record is not to our liking"}'; }
location /moody { if ($fails) { return 500 '{}'; } return 200 '{}'; }
SERVER

# Kilobytes that a process has for itself; what it shares with others is not counted.
sub private_memory
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/status" or return;
	my ($size) = map { /^RssAnon:\s+(\d+)/ } <$file>;
	return $size;
}

# Runs a sync and returns its run and the memory of the runner while it delivered, as
# often as that can be looked at.
sub watch
{
	my ($name) = @_;
	my $id = $node->trigger($name);
	my ($pid, @sizes);
	$pid = $node->sql("SELECT runner_pid FROM signalsmith.run WHERE 'run_' || id = '$id' AND phase = 'deliver'") until $pid;
	while (my $size = private_memory($pid))
	{
		push @sizes, $size;
		sleep 0.005;
	}
	return ($node->wait_for_run($id), @sizes);
}

# Two tests: in the second half of the delivery no more than in the quarter before.
sub is_flat
{
	my ($name, @sizes) = @_;
	cmp_ok(scalar(@sizes), '>=', 40, "$name: it was looked at often enough");
	my $before = max(@sizes[ @sizes / 4 .. @sizes / 2 - 1 ]);
	my $after = max(@sizes[ @sizes / 2 .. $#sizes ]);
	note sprintf '%s: %d samples, %d to %d kB', $name, scalar @sizes, min(@sizes), max(@sizes);
	cmp_ok($after - $before, '<', 1024 + $before / 20, "$name: memory stays as it is")
	  or diag(join ' ', @sizes[ map { $_ * $#sizes / 20 } 0 .. 20 ]);
	return;
}

# Requests that wait for the turn of their channel, of which there are many.
$node->sql(q{SELECT signalsmith.create_destination('channels', 'http', } . quote({
		base_url => $nginx->url . '/fine', rate => { limits => [ { requests => 10, per => '1s', by => '{{row.channel}}' } ] },
		operations => { upsert => { request => { method => 'POST' } } } }) . q{);
	SELECT signalsmith.create_model('channels', 'SELECT i AS id, i / 100 AS channel FROM generate_series(1, 50000) AS i', '{id}');
	SELECT signalsmith.create_sync('channels', 'channels', 'channels', options => '{"max_in_flight": 8}')});
my ($run, @sizes) = watch('channels');
is($run->{rows_created}, 50000, 'channels: rows_created');
is_flat('channels', @sizes);

for my $case (
	[ 'rows', '/fine', $rows, 1000, 'rows_created' ],
	[ 'requests', '/fine', 50_000, 1, 'rows_created' ],
	[ 'failing requests', '/bad', 10_000, 1, 'rows_failed' ],
	[ 'failing batches', '/bad', 10_000, 100, 'rows_failed' ],
	[ 'repeated requests', '/moody', 20_000, 1, 'rows_created' ])
{
	my ($name, $path, $count, $batch_size, $figure) = @$case;
	$node->create_webhook_sync(
		name => $name, query => "SELECT i AS id, 'person' || i || '\@example.com' AS email FROM generate_series(1, $count) AS i",
		primary_key => 'id', url => $nginx->url . $path, config => { batch_size => $batch_size }, options => { max_in_flight => 8 });
	($run, @sizes) = watch($name);
	is($run->{$figure}, $count, "$name: $figure");
	is_flat($name, @sizes);
}

done_testing();
