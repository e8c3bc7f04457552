# What models read is known after a dump and restore too, and a command that hits
# it tells so there; restoring itself is silent, and the run says it again.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, email text, age int);
	INSERT INTO people VALUES (1, 'ada@example.com', 36)});
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, email FROM people', primary_key => 'id', url => $recorder->url);
$node->run_sync('people');

my $file = PostgreSQL::Test::Utils::tempdir . '/dump.sql';
system_or_bail('pg_dump', '-f', $file, $node->connstr('postgres'));
unlike(slurp_file($file), qr/EVENT TRIGGER/, 'the event triggers come with the extension');
$node->sql('CREATE DATABASE restored');
my ($output, $notices);
IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $file ],
	'>', \$output, '2>', \$notices) or die "restore failed: $notices";
unlike($notices, qr/model/, 'restoring says nothing of models');

for my $database ('postgres', 'restored')
{
	(undef, undef, $notices) = $node->psql($database, 'ALTER TABLE people DROP COLUMN age');
	is($notices, '', "$database: a column that no model reads is nobody's concern");
	(undef, undef, $notices) = $node->psql($database, 'ALTER TABLE people DROP COLUMN email');
	like($notices, qr/NOTICE:  this command drops or changes what 1 model reads.*Model "people" reads column "email" of "public.people".  Its syncs: "people"/s,
		"$database: a column that a model reads is told");
}

my $run = $node->run_sync('people');
is($run->{status}, 'failed', 'the run fails');
like($run->{error}, qr/column "email" does not exist/, 'and says why');
is($node->sync('people')->{status}, 'error', 'the sync waits for somebody');

# A DBA may forbid it for everybody.
$node->sql(q{ALTER DATABASE restored SET signalsmith.protect_models = on;});
(undef, undef, $notices) = $node->psql('restored', 'ALTER TABLE people RENAME TO persons');
like($notices, qr/ERROR:  cannot drop or change what 1 model reads/, 'or is refused');
is($node->sql('DROP EXTENSION signalsmith; ALTER TABLE people RENAME TO persons; SELECT 1', database => 'restored'), 1,
	'without the extension nothing watches any more');

done_testing();
