# Whatever happens to a table, a run plans what a plain SQL full join says, and
# the destination then holds what it should.
#
# Random tables with keys of many types, random edits, every mode; small ones that
# are compared in memory, and ones that do not fit into diff_mem.  The oracle is
# SQL on the model and on what has been sent so far.  PROPERTY_SEED names the first
# sequence, PROPERTY_SEQUENCES says how many there are.
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
CONF
my $recorder = Signalsmith::Recorder->start;
$node->sql(scalar slurp_file("$FindBin::RealBin/030_property.sql"));

my ($first, $count) = ($ENV{PROPERTY_SEED} // 1, $ENV{PROPERTY_SEQUENCES} // 200);
my $url = quote($recorder->url);
my $complaints = 0;
for my $seed ($first .. $first + $count - 1)
{
	$recorder->reset;
	my ($status, $output, $error) = $node->psql('postgres', "CALL property.run_sequence($seed, $url)");
	my $what = $node->sql('SELECT property.describe()');
	if ($status != 0)
	{
		fail("seed $seed ($what)");
		diag($error);
		last if ++$complaints >= 5;
		next;
	}
	my $table = $node->sql(q{SELECT coalesce(json_object_agg(key, data), '{}') FROM property.held});
	$recorder->check_history("seed $seed ($what)", qq({"table":$table}));
}

done_testing();
