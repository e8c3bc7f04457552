# Whatever happens to a table, a run plans what a plain SQL full join says, and
# the destination then holds what it should.
#
# Random tables with keys of many types, random edits, every mode; small ones that
# are compared in memory, and ones that do not fit into diff_mem; with a destination
# in good health, and with one that refuses rows and whose answers get lost.  The
# oracle is SQL on the model and on what has been sent so far.  PROPERTY_SEED names the
# first sequence, PROPERTY_SEQUENCES says how many there are.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main', conf => <<'CONF');
signalsmith.diff_mem = '64kB'
fsync = off
log_statement = none
CONF
my $recorder = Signalsmith::Recorder->start;
$node->sql(scalar slurp_file("$FindBin::RealBin/030_property.sql"));

my ($first, $count) = ($ENV{PROPERTY_SEED} // 1, $ENV{PROPERTY_SEQUENCES} // 200);
my $url = quote($recorder->url);

# Some rows are refused, some requests get lost on the way there, some on the way back.
sub make_weather
{
	my ($seed) = @_;
	my $refused = $node->json(q{SELECT coalesce(json_agg(CASE WHEN key_type = 'composite' THEN json_build_object('k1', k1, 'k2', k2) ELSE json_build_object('k1', k1) END), '[]')
		FROM property.chosen, (SELECT k1, k2 FROM property.source ORDER BY place LIMIT 3) AS s WHERE stormy});
	$recorder->rules(@$refused ? (
		{ probability => 0.1, seed => $seed, phase => 'after_apply', drop => 1 },
		{ probability => 0.1, seed => $seed + 1, phase => 'after_read', drop => 1 },
		{ reject => $refused }) : ());
	return;
}

# Runs a sequence, and then once more with a destination in good health, which
# sets right what was refused or lost; dies of what is wrong.
sub run_sequence
{
	my ($seed) = @_;
	$node->sql("CALL property.begin_sequence($seed, $url)");
	make_weather($seed);
	$node->sql("CALL property.run_sequence($seed)");
	$recorder->rules;
	$node->sql('CALL property.check_step(false)');
	return;
}

my $complaints = 0;
for my $seed ($first .. $first + $count - 1)
{
	$recorder->reset;
	my $done = eval { run_sequence($seed); 1 };
	my $error = $@;
	my $what = $node->sql('SELECT property.describe()');
	if (!$done)
	{
		fail("seed $seed ($what)");
		diag($error);
		last if ++$complaints >= 5;
		next;
	}
	# In some modes nobody ever learns what became of a change without an answer.
	my $expectation = $node->sql(q{SELECT json_build_object(
		'table', (SELECT coalesce(json_object_agg(key, data), '{}') FROM property.held),
		'failed', (SELECT coalesce(json_agg(replace(replace(key::text, '": ', '":'), ', "', ',"')), '[]') FROM property.sent WHERE state <> 'present'))});
	$recorder->check_history("seed $seed ($what)", $expectation);
}

done_testing();
