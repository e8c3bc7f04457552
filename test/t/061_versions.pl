# The extension in another version than the library's: what is under way stops and
# goes on later, and nothing is lost, whichever of the two is the newer.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(time);

# Scripts of versions that there never were, beside the real one.
my ($directory) = split /\n/, (run_command([ 'pg_config', '--sharedir' ]))[0];
$directory .= '/extension';
plan skip_all => 'cannot install further scripts' unless -w $directory;

sub install_script
{
	my ($versions, $sql) = @_;
	my $path = "$directory/signalsmith--$versions.sql";
	append_to_file($path, $sql);
	return $path;
}

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p};
my $version = $node->sql(q{SELECT extversion FROM pg_extension WHERE extname = 'signalsmith'});
my ($older, $newer) = ("$version-older", "$version-newer");
my $more = "ALTER TABLE signalsmith.run ADD COLUMN weather text;\nALTER TABLE signalsmith.sync ADD COLUMN weather text;\n";
my $less = $more =~ s/ADD COLUMN weather text/DROP COLUMN weather/gr;
my $index = 'CREATE INDEX run_started ON signalsmith.run (started_at) WHERE started_at IS NOT NULL;';
my @scripts = (
	install_script("$version--$newer", $more), install_script("$newer--$version", $less),
	install_script("$version--$older", 'DROP INDEX signalsmith.run_started;'), install_script("$older--$version", $index));
END { unlink @scripts if @scripts }

$node->sql(q{
	CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', url => $recorder->url,
	config => { batch_size => 100 }, options => { max_in_flight => 2 });
$node->run_sync('people');

sub says
{
	my ($what) = @_;
	return $node->sql("SELECT ok, detail FROM signalsmith.check_installation() WHERE name = 'version'");
}

is(says(), "t|$version", 'extension and library agree');
for my $other ($newer, $older)
{
	my $offset = -s $node->logfile;
	$recorder->reset;
	$recorder->rules({ nth => 5, hold => 1 });
	$node->sql(q{UPDATE people SET name = name || '.'});
	my $run = $node->trigger('people');
	$recorder->wait_for(held => 1);
	my $pid = $node->runner_pid;
	my $began = time;
	$node->sql("ALTER EXTENSION signalsmith UPDATE TO '$other'");
	cmp_ok(time - $began, '<', 2, "$other: the extension is updated while a request is under way");
	$recorder->rules;
	$recorder->release;
	$node->wait_until('the runner is gone', sub { !kill 0, $pid });
	like(slurp_file($node->logfile, $offset), qr/extension "signalsmith" has become version \Q$other\E, but the library is version \Q$version\E/,
		"$other: its runner leaves");
	is(says(), "f|$other in this database, but the library is $version: syncs wait", "$other: check_installation says so");
	$node->wait_until('the log says so',
		sub { slurp_file($node->logfile, $offset) =~ /signalsmith \Q$other\E is installed in database "postgres", but the library is version \Q$version\E: its syncs wait/ });
	is($node->sql("SELECT status FROM signalsmith.runs WHERE id = '$run'"), 'running', "$other: the run waits");

	my $requests = $recorder->figures->{requests};
	$node->restart;
	is($recorder->figures->{requests}, $requests, "$other: nothing is sent, even after a restart");
	$node->sql("ALTER EXTENSION signalsmith UPDATE TO '$version'");
	$node->run_is($node->wait_for_run($run), { status => 'completed', rows_updated => 1000, rows_failed => 0 }, "$other: and back: the run goes on by itself");
	$node->check_delivery($recorder, $whole, "$other: nothing is lost", crashes => 1);
	$node->run_is($node->run_sync('people'), { status => 'completed', requests => 0 }, "$other: nothing is left");
}
# What notices an update is in nobody's way.
$node->sql(q{CREATE ROLE plain; CREATE DATABASE hers OWNER plain});
$node->sql(q{CREATE EXTENSION signalsmith; SET ROLE plain; CREATE EXTENSION pg_trgm; ALTER EXTENSION pg_trgm UPDATE}, database => 'hers');
is($node->sql(q{SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'}, database => 'hers'), 1, 'a plain role may update another extension');

unlike(slurp_file($node->logfile), qr/terminated by signal/, 'nothing has crashed');

done_testing();
