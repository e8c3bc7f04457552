# A destination that is down for ten minutes, and requests that fail ten times, in a
# time that flies: what waits does so by a clock that the test makes sixty times as fast.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IO::Socket::INET;
use List::Util qw(max min);
use POSIX ();
use PostgreSQL::Test::Utils;
use Signalsmith::Certificates;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(sleep time);

my $speed = 60;
my $directory = PostgreSQL::Test::Utils::tempdir;
my $library = "$directory/fast_clock.so";
system_or_bail('cc', '-shared', '-fPIC', '-O', '-o', $library, "$FindBin::RealBin/../server/fast_clock.c", '-ldl');

# Requests themselves are not made faster, so they may take long.
my $certificates = Signalsmith::Certificates->new;
my $node;
{
	local %ENV = (%ENV, LD_PRELOAD => $library, SIGNALSMITH_TEST_SPEED => $speed);
	$node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.ca_file = '" . $certificates->authority_file . "'
signalsmith.request_timeout = 3600s\nsignalsmith.connect_timeout = 3600s\nsignalsmith.error_after = 1000\n");
}

# Instead of the destination, something that hangs up before anything is said, in a
# process of its own; it notes each connection.
sub start_nothing
{
	my ($port) = @_;
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 100, ReuseAddr => 1) or die;
	my $pid = fork // die;
	return $pid if $pid;
	open my $file, '>', "$directory/connections" or POSIX::_exit(1);
	while (my $connection = $socket->accept)
	{
		syswrite $file, time . "\n";
		close $connection;
	}
	POSIX::_exit(0);
}

sub connections
{
	return -e "$directory/connections" ? split /\n/, slurp_file("$directory/connections") : ();
}

# --- ten minutes without the destination, while 100,000 changes are due
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $nothing = start_nothing($port);
$node->sql(q{CREATE TABLE things AS SELECT i AS id FROM generate_series(1, 100000) AS i});
my $limit = 120;
$node->create_webhook_sync(
	name => 'things', query => 'SELECT id FROM things', primary_key => 'id', url => "https://127.0.0.1:$port/hook",
	config => { batch_size => 500, rate => { limits => [ { requests => $limit, per => '1m' } ] } });
$node->sql(q{SELECT signalsmith.update_sync('things', '{"schedule": {"type": "interval", "interval_seconds": 1}}')});
my $began = time;
sleep 0.1 until time > $began + 600 / $speed;

my @runs = split /\n/, $node->sql(q{SELECT status || ' ' || coalesce(error, '') FROM signalsmith.runs WHERE sync = 'things'});
my @failed = grep { /^failed could not reach the destination/ } @runs;
cmp_ok(scalar(@failed), '>=', 2, 'runs end when the destination cannot be reached');
is(scalar(grep { !/^(failed could not reach|running|queued)/ } @runs), 0, 'none ends otherwise') or diag(join "\n", @runs);
my @connections = connections();

# Five failures, of up to four requests side by side, open the breaker; from then on
# a run sends one request and ends.
cmp_ok(scalar(@connections), '<=', 5 * 4 + @runs, 'once it is known to be down it is asked once by each run at most');
cmp_ok(scalar(@connections), '>=', 5, 'it is asked, though');
is($node->sql(q{SELECT count(*) FROM signalsmith.row_errors}), 0, 'no row is blamed');

kill TERM => $nothing;
waitpid $nothing, 0;
my $recorder = Signalsmith::Recorder->start(port => $port, $certificates->make('good', 'IP:127.0.0.1'));
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM signalsmith.runs WHERE sync = 'things' AND status = 'completed')})
  or die 'it does not recover';
$node->sql(q{SELECT signalsmith.pause_sync('things')});
is($recorder->figures->{records}, 100000, 'when it is back everything arrives');
my @history = $recorder->history;
is(scalar(@history), 200, 'in as many requests as there are batches');
my @times = sort { $a <=> $b } map { $_->{started} } @history;
my $most = max(map { my $first = $_; scalar(grep { $_ >= $first && $_ < $first + 50 / $speed } @times) } @times);
cmp_ok($most, '<=', $limit, 'no faster than the limit, though much is due');

# --- the delays of attempts that fail: up to a minute, spread evenly
$recorder = Signalsmith::Recorder->start;
my $attempts = 10;
$recorder->rules(map { { attempt => $_, status => 500 } } 1 .. $attempts);
$node->create_webhook_sync(
	name => 'failing', query => 'SELECT id FROM things WHERE id <= 400', primary_key => 'id', url => $recorder->url,
	options => { max_attempts => $attempts + 1, max_in_flight => 50 });
$node->run_is($node->wait_for_run($node->trigger('failing'), timeout => 3600 * $speed), { status => 'completed', rows_created => 400, rows_failed => 0, requests => 400 * ($attempts + 1) },
	'what fails ten times arrives at the eleventh attempt');
my (%failed_at, %delays);
for my $request ($recorder->history)
{
	my ($key, $attempt) = @{ $request->{headers} }{qw(idempotency-key signalsmith-attempt)};
	push @{ $delays{ $attempt - 1 } }, ($request->{started} - $failed_at{$key}) * $speed if $attempt > 1;
	$failed_at{$key} = $request->{finished};
}
cmp_ok(max(@{ $delays{1} }), '<', max(@{ $delays{7} }), 'later delays are longer');

# From the seventh on they are up to a minute.  What is measured has the time in it
# that sending takes, which counts sixty times.
my @delays = sort { $a <=> $b } map { @{ $delays{$_} } } 7 .. $attempts;
is(scalar(@delays), 400 * 4, 'delays at the cap');
cmp_ok($delays[ $#delays * 0.98 ], '<', 60 + 15, 'none is much longer than a minute');
my $distance = max(map { abs(($_ + 1) / @delays - min(1, $delays[$_] / 60)) } 0 .. $#delays);
cmp_ok($distance, '<', 0.2, 'they are spread evenly') or diag(join ' ', map { sprintf '%.1f', $delays[ $_ * $#delays / 10 ] } 0 .. 10);

done_testing();
