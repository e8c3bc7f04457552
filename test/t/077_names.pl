# No name in a PL/pgSQL function of ours is the caller's to decide, and no statement
# is put together as text.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $catalog = $node->sql(q{SELECT json_build_object(
	'relations', (SELECT json_agg(relname) FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace),
	'functions', (SELECT json_agg(DISTINCT proname) FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace),
	'operators', (SELECT json_agg(DISTINCT oprname) FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace),
	'types', (SELECT json_agg(name) FROM (
		SELECT typname::text AS name FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace
		UNION SELECT format_type(oid, NULL) FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace) AS t))});

# What is found in the functions of a schema.
sub findings
{
	my ($schema) = @_;
	my $functions = $node->sql(qq{SELECT json_build_object('function', p.oid::regprocedure, 'definition', pg_get_functiondef(p.oid),
			'pinned', coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false))
		FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE lanname = 'plpgsql' AND pronamespace = '$schema'::regnamespace ORDER BY 1::text});
	my ($output, $errors) = ('', '');
	IPC::Run::run([ 'python3', "$FindBin::RealBin/../lint/plpgsql_names.py" ], '<', \"$catalog\n$functions\n", '>', \$output, '2>', \$errors)
	  or die $errors;
	chomp $output;
	return (split(/\n/, $functions) + 0, $output);
}

my ($count, $found) = findings('signalsmith');
cmp_ok($count, '>', 100, 'all functions are read');
is($found, '', 'and each name in them is qualified, or pg_catalog\'s');

# --- it would have been seen
$node->sql(q{CREATE SCHEMA sly});
my $body = q{RETURNS text LANGUAGE plpgsql %s AS $$ DECLARE n mine; BEGIN SELECT count(*) INTO n FROM t WHERE own(id) AND id = 1 AND note ~~~~ 'x'; EXECUTE 'x'; RETURN 'a' || n::my_type; END $$};
$node->sql('SET check_function_bodies = off; CREATE TYPE mine AS (a int);'
	  . 'CREATE FUNCTION sly.pinned() ' . sprintf($body, 'SET search_path = pg_catalog, pg_temp') . '; CREATE FUNCTION sly.loose() ' . sprintf($body, ''));
(undef, $found) = findings('sly');
like($found, qr/sly\.pinned\(\): $_$/m, "a pinned function: $_") for 'a statement made of text', 'relation t', 'function own', 'operator ~~~~', 'type my_type', 'type mine';
unlike($found, qr/sly\.pinned\(\): (operator =|function count|operator \|\|)$/m, 'what pg_catalog has is fine in it');
like($found, qr/sly\.loose\(\): \Q$_\E$/m, "a function that is not pinned: $_") for 'operator =', 'operator ||', 'function count';

done_testing();
