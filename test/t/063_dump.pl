# pg_dump and restore: by a superuser, by the owner of the database, twice in a row;
# everything is kept, secrets stay closed, and numbers go on where they were.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $canary = 'whsec_Y2FuYXJ5IG9mIHRoZSBkdW1w';
my $directory = PostgreSQL::Test::Utils::tempdir;
append_to_file("$directory/key", 'ab' x 32);
chmod 0600, "$directory/key";
my $recorder = Signalsmith::Recorder->start;
my $node = Signalsmith::Cluster->start_new('main', conf => "signalsmith.key_file = '$directory/key'", extension => 0);

# A database with an owner who is nobody special, and a bit of everything in it.
$node->sql(q{CREATE ROLE olga LOGIN CREATEDB});
$node->sql('CREATE DATABASE original OWNER olga');
$node->sql(q{CREATE EXTENSION signalsmith; GRANT signalsmith_user TO olga}, database => 'original');
$node->sql(q{CREATE TABLE people AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 1000) AS i}, role => 'olga', database => 'original');
$node->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url,
	config => { batch_size => 100 }, role => 'olga', database => 'original');
$node->sql("SELECT signalsmith.set_secret('people', 'signing_secret', '$canary')", role => 'olga', database => 'original');
$recorder->rules({ nth => 1, key => { id => 5 }, status => 400 });
$node->run_sync('people', database => 'original');
$recorder->rules;
$node->sql('DELETE FROM people WHERE id > 500', database => 'original');
my $held = $node->run_sync('people', database => 'original');
is($held->{status}, 'held', 'a run of the original holds deletes');

my @tables = qw(connector model destination destination_share secret sync run outbox segment row_failure instance);

# Everything that signalsmith knows, as text.
sub state_of
{
	my ($database) = @_;
	my $where = 'WHERE NOT builtin';
	return join "\n", map { $node->sql("SELECT '$_', t FROM signalsmith.$_ t " . ($_ eq 'connector' ? $where : '') . ' ORDER BY t::text', database => $database) } @tables;
}

sub dump_database
{
	my ($database, $role, @options) = @_;
	my $file = "$directory/$database-$role.sql";
	my ($output, $error) = run_command([ 'pg_dump', '-d', $node->connstr($database), ($role eq 'superuser' ? () : ('--role', $role)), '-f', $file, @options ]);
	return ($file, $error);
}

sub restore
{
	my ($file, $database, $role) = @_;
	$node->sql("CREATE DATABASE $database");
	$node->sql("ALTER DATABASE $database OWNER TO olga") if $role;
	$node->sql('CREATE EXTENSION signalsmith', database => $database) if $role;
	my @command = ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-o', '/dev/null');
	push @command, '-c', "SET SESSION AUTHORIZATION $role" if $role;
	command_ok([ @command, '-f', $file ], "$file is restored without an error");
	return;
}

# --- by a superuser, and the copy again
my ($file, $error) = dump_database('original', 'superuser');
is($error, '', 'a superuser dumps it');
unlike(slurp_file($file), qr/\Q$canary\E|@{[ unpack 'H*', $canary ]}/, 'the secret is not in the dump');
my $original = state_of('original');
my $from = $file;
for my $copy ('first', 'second')
{
	restore($from, $copy);
	is(state_of($copy), $original, "the $copy copy has all that the original had");
	like($node->sql_error(q{SELECT signalsmith.trigger_sync('people')}, database => $copy), qr/sends nothing, because it is a copy/, "the $copy copy is fenced");
	($from) = dump_database($copy, 'superuser');
	is(slurp_file($from) =~ s/^\\(un)?restrict .*\n//gmr, slurp_file($file) =~ s/^\\(un)?restrict .*\n//gmr, "the $copy copy is dumped as the original was");
}

# Numbers and secrets go on.
$node->sql(q{SELECT signalsmith.adopt_instance('continue')}, database => 'second');
$recorder->reset;
$node->sql(q{UPDATE people SET name = 'new' WHERE id = 1}, database => 'second');
my $run = $node->run_sync('people', database => 'second');
is($run->{id}, 'run_' . (1 + ($held->{id} =~ s/run_//r)), 'adopted, the copy goes on with the next number');
$node->run_is($run, { status => 'held', rows_updated => 1, rows_deleted => 0 }, 'sends what is new there, and holds the deletes again');
ok(($recorder->history)[0]{headers}{'webhook-signature'}, 'with the secret, since the key file is the same');

# --- by the owner of the database, who may not read the tables of the extension
(undef, $error) = dump_database('original', 'olga');
like($error, qr/permission denied/, 'the owner of the database may not dump what signalsmith knows');
($file, $error) = dump_database('original', 'olga', '--exclude-schema=signalsmith', '--extension=plpgsql');
is($error, '', 'but all the rest');
restore($file, 'third', 'olga');
is($node->sql('SELECT count(*) FROM people', database => 'third'), 500, 'which is restored');
is($node->sql('SELECT count(*) FROM signalsmith.list_syncs()', database => 'third'), 0, 'without syncs');

$node->sql('GRANT pg_read_all_data TO olga');
($file, $error) = dump_database('original', 'olga');
is($error, '', 'with pg_read_all_data everything');
restore($file, 'fourth');
is(state_of('fourth'), $original, 'and nothing is lost then');

done_testing();
