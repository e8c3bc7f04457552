# doc/reference.md mentions all there is: functions with their arguments, views with
# their columns, settings with their defaults, roles, statuses, modes.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster;
use Test::More;

my $reference = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../doc/reference.md");
my $node = Signalsmith::Cluster->start_new('main');
my $member = q{FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'signalsmith')};

# One test: the query gives at least so many rows, and each is in the reference
# as the pattern that is made of it.
sub mentions
{
	my ($what, $least, $query, $pattern) = @_;
	my @rows = split /\n/, $node->sql($query);
	my @absent = grep { $reference !~ $pattern->(split /\|/) } @rows;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok(scalar(@rows), '>=', $least, "$what: some");
	is_deeply(\@absent, [], "$what: all");
	return;
}

# The text of a section, down to the next heading of its level or above.
sub section
{
	my ($heading) = @_;
	my ($level) = $heading =~ /^(#+)/;
	return $reference =~ /^\Q$heading\E\n(.*?)(?=^#{1,${\length $level}} |\z)/ms ? $1 : '';
}

mentions('functions', 36, qq{SELECT DISTINCT proname, array_to_string(proargnames[1:pronargs], ',') FROM pg_proc
		WHERE oid IN (SELECT objid $member AND classid = 'pg_proc'::regclass) AND proname NOT LIKE '\\_%'},
	sub {
		my ($name, $arguments) = @_;
		my $list = join '[^`)]*?', map { "\\b\Q$_\E\\b" } split /,/, $arguments // '';
		return qr/\*\*`\Q$name\E\([^`)]*?$list[^`)]*\)`\*\*/;
	});
is(scalar(() = $reference =~ /^\| `signalsmith\./mg),
	$node->sql(q{SELECT count(*) FROM pg_settings WHERE name LIKE 'signalsmith.%' AND name <> 'signalsmith.fault'}),
	'settings: no other ones');
mentions('settings', 19, q{SELECT name, current_setting(name) FROM (
		SELECT name, set_config(name, boot_val || coalesce(unit, ''), true) FROM pg_settings
		WHERE name LIKE 'signalsmith.%' AND name <> 'signalsmith.fault' AND context = 'superuser') AS s
		UNION ALL
		SELECT name, current_setting(name) FROM pg_settings
		WHERE name LIKE 'signalsmith.%' AND name <> 'signalsmith.fault' AND context = 'sighup' AND source = 'default'},
	sub {
		my ($name, $default) = @_;
		return defined $default && $default ne '' ? qr/^\| `\Q$name\E` \| `\Q$default\E` \|/m : qr/^\| `\Q$name\E` \| \|/m;
	});
for my $view (split /\n/, $node->sql(qq{SELECT relname FROM pg_class
		WHERE relkind = 'v' AND oid IN (SELECT objid $member AND classid = 'pg_class'::regclass) AND relname NOT LIKE '\\_%'}))
{
	my $section = section("### $view");
	my @columns = split /\n/, $node->sql("SELECT attname FROM pg_attribute WHERE attrelid = 'signalsmith.$view'::regclass AND attnum > 0");
	is_deeply([ grep { $section !~ /^\|[^|]*`$_`[^|]*\|/m } @columns ], [], "view $view: all columns");
	my @shown = map { /`(\w+)`/g } $section =~ /^\|([^|]*)\|/mg;
	is_deeply(\@shown, \@columns, "view $view: in their order, and no others");
}
mentions('roles', 3, q{SELECT rolname FROM pg_roles WHERE rolname LIKE 'signalsmith%'}, sub { return qr/^\| `$_[0]` \|/m });

# What the tables' CHECK constraints allow is explained.
my %explained = (
	'sync.mode'   => '#### mode',
	'sync.status' => '### The life of a sync',
	'run.status'  => '### runs',
	'run.trigger' => '### runs',
	'run.phase'   => '### run_progress',
	'row_failure.outcome' => '### row_errors',
	'row_failure.operation' => '### row_errors');
for my $column (sort keys %explained)
{
	my ($table, $name) = split /\./, $column;
	my $check = $node->sql(qq{SELECT pg_get_constraintdef(oid) FROM pg_constraint
		WHERE conrelid = 'signalsmith.$table'::regclass AND contype = 'c' AND conname = '${table}_${name}_check'});
	my @values = $check =~ /'(\w+)'/g;
	my $section = section($explained{$column});
	ok(@values && !(grep { $section !~ /`$_`/ } @values), "values of $column") or diag("$check\n$section");
}

# A sync's options: the hint for an unknown one lists them all.
my @options = $node->sql_error(q{SELECT signalsmith._check_options('{"x": 1}')}) =~ /"(\w+)"/g;
shift @options;
my $section = section('#### options');
is_deeply([ grep { $section !~ /^\| `$_` \|/m } @options ], [], 'options: all');
cmp_ok(scalar(@options), '>=', 7, 'options: some');

done_testing();
