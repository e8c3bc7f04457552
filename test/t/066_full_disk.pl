# The disk is full: while a run is planned, nothing is sent; while answers are
# recorded, what they say is forgotten and asked for again, with the same keys.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir;
my ($flag, $library) = ("$directory/full", "$directory/full_disk.so");
system_or_bail('cc', '-shared', '-fPIC', '-O', '-o', $library, "$FindBin::RealBin/../server/full_disk.c", '-ldl');
my $node;
{
	local %ENV = (%ENV, LD_PRELOAD => $library, SIGNALSMITH_TEST_FULL_DISK => $flag);
	$node = Signalsmith::Cluster->start_new('main', conf => 'autovacuum = off');
}
my $recorder = Signalsmith::Recorder->start;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};

sub fill { append_to_file($flag, 'full'); return }
sub make_room { unlink $flag; return }

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, md5(i::text) FROM generate_series(1, 10) AS i});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 1000 }, options => { max_in_flight => 2 });

# Afterwards there is room in the tables for what little a run writes at first.
$node->run_sync('people');
$node->sql(q{INSERT INTO people SELECT i, md5(i::text) FROM generate_series(11, 20000) AS i});

# --- while staging
$node->set('signalsmith.enabled = off');
my $run = $node->trigger('people');
fill();
$node->set('signalsmith.enabled = on');
$run = $node->wait_for_run($run);
$node->run_is($run, { status => 'failed', requests => 0 }, 'a run that cannot be staged fails');
like($run->{error}, qr/could not (extend|write).*No space left on device/, 'and says why');
is($recorder->figures->{requests}, 1, 'nothing is sent');
is($node->sync('people')->{status}, 'active', 'the sync stays active');
make_room();
$node->run_is($node->run_sync('people'), { status => 'completed', rows_created => 19990, rows_failed => 0 }, 'with room, the next run works');

# --- while answers are recorded
$recorder->reset;
$node->sql(q{UPDATE people SET name = 'x' || name});
$recorder->rules({ nth => 5, phase => 'after_apply', hold => 1 });
$run = $node->trigger('people');
$recorder->wait_for(held => 1);
fill();
my $offset = -s $node->logfile;
$recorder->rules;
$recorder->release;
$node->wait_until('an answer cannot be recorded', sub { slurp_file($node->logfile, $offset) =~ /could not (extend|write).*No space left on device/ });
is($node->run($run)->{status}, 'running', 'an answer that cannot be recorded does not end the run');
my $requests = $recorder->figures->{requests};
cmp_ok($requests, '<', 20, 'no more is sent than the window');
make_room();
$node->run_is($node->wait_for_run($run), { status => 'completed', rows_updated => 20000, rows_failed => 0 }, 'with room, it goes on');
$node->check_delivery($recorder, $whole, 'with the same keys, and nothing is lost', crashes => 1);
$node->run_is($node->run_sync('people'), { status => 'completed', requests => 0 }, 'nothing is left');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'and nothing has crashed');

done_testing();
