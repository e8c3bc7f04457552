# Destinations that call records by ids of their own, and change them only under
# the version that they have.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Things;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $vendor = Signalsmith::Things->start;
my $captured = { rows => { id => '$.id', version => '$.version' } };
my %one_by_one = (
	operations => {
		create => {
			request => { method => 'POST', path => '/things', body => { external => '{{key}}', name => '{{row.name}}' } },
			respond => { %$captured, existing_id => '$.error.existing' } },
		update => {
			request => {
				method => 'PUT', path => '/things/{{id}}', headers => { 'If-Match' => '{{version}}' },
				body => { external => '{{key}}', name => '{{row.name}}' } },
			respond => $captured,
			classify => [ { status => 404, is => 'conflict' } ] },
		delete => { request => { method => 'DELETE', path => '/things/{{id}}' } } },
	lookup => {
		when => 'on_conflict',
		request => { method => 'GET', path => '/things', query => { external => '{{key}}' } },
		respond => { rows => { id => '$.things[0].id', version => '$.things[0].version' } } });

# A sync of a table of its own; returns its name.  Rows are id (text) and name.
my $number = 0;
sub fresh_sync
{
	my ($manifest, %more) = @_;
	my $name = 'sync_of_' . ++$number;
	my $key = $more{key_type} // 'text';
	$vendor->reset;
	$node->sql("CREATE TABLE $name (id $key PRIMARY KEY, name text);
		INSERT INTO $name SELECT i, 'name ' || i FROM generate_series(1, @{[ $more{rows} // 3 ]}) AS i");
	my ($config, $mode, $options) = quote({ base_url => $vendor->url(''), %$manifest }, $more{mode} // 'mirror',
		{ max_in_flight => 1, %{ $more{options} // {} } });
	$node->sql("SELECT signalsmith.create_model('$name', 'SELECT * FROM $name ORDER BY id', '{id}') \\g /dev/null
		SELECT signalsmith.create_destination('$name', 'http', $config) \\g /dev/null
		SELECT signalsmith.create_sync('$name', '$name', '$name', $mode, options => $options)");
	return $name;
}

my $seen = 0;
# Runs the sync; the requests that came of it are in @requests.
my @requests;
sub run_sync
{
	my ($sync, %options) = @_;
	$seen = scalar($vendor->requests);
	my $run = $node->run_sync($sync, %options);
	@requests = $vendor->requests;
	splice @requests, 0, $seen;
	return $run;
}

sub requests_are
{
	my ($expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply([ map { "$_->{method} $_->{path} $_->{status}" } @requests ], $expected, $name);
	return;
}

# --- ids and versions are kept, whether the key is stored with them or not
for my $key_type (qw(text integer))
{
	my $sync = fresh_sync(\%one_by_one, key_type => $key_type);
	$node->run_is(run_sync($sync), { status => 'completed', rows_created => 3 }, "$key_type key: creates");
	$node->sql("UPDATE $sync SET name = 'changed' WHERE id = '2'");
	$node->run_is(run_sync($sync), { status => 'completed', rows_updated => 1, rows_failed => 0 }, "$key_type key: an update");
	requests_are([ 'PUT /things/t2 200' ], 'goes to the id that the create gave');
	is($requests[0]{headers}{'if-match'}, 1, 'under the version that it gave');
	$node->sql("UPDATE $sync SET name = 'changed again' WHERE id = '2'");
	run_sync($sync);
	is($requests[0]{headers}{'if-match'}, 2, 'the next one under the version that the update gave');
	is($vendor->things->{2}{data}{name}, 'changed again', 'and that is what the destination holds');
	run_sync($sync, full_resync => 1) for 1 .. 2;
	requests_are([ 'PUT /things/t1 200', 'PUT /things/t2 200', 'PUT /things/t3 200' ], 'they outlive a merge of the snapshot');
	$node->sql("DELETE FROM $sync WHERE id IN ('1', '3')");
	$node->run_is(run_sync($sync), { status => 'completed', rows_deleted => 2, rows_failed => 0 }, "$key_type key: deletes");
	requests_are([ 'DELETE /things/t1 204', 'DELETE /things/t3 204' ], 'name the ids');
	is_deeply([ keys %{ $vendor->things } ], [2], 'one thing is left');
}

# --- somebody else changes things
my $sync = fresh_sync(\%one_by_one);
run_sync($sync);
$vendor->touch(2);
$vendor->remove(3);
$node->sql("UPDATE $sync SET name = name || '!'");
$node->run_is(run_sync($sync), { status => 'completed', rows_updated => 2, rows_created => 1, rows_failed => 0 },
	'a stale version is looked up, and what is gone comes back');
requests_are([ 'PUT /things/t1 200', 'PUT /things/t2 412', 'GET /things?external=2 200', 'PUT /things/t2 200',
		'PUT /things/t3 404', 'GET /things?external=3 200', 'POST /things 201' ],
	'one lookup and one repeat each');
is_deeply({ map { $_ => $vendor->things->{$_}{data}{name} } 1 .. 3 }, { map { $_ => "name $_!" } 1 .. 3 }, 'the destination holds the model');
$vendor->remove(1);
$node->sql("DELETE FROM $sync WHERE id = '1'");
$node->run_is(run_sync($sync), { rows_deleted => 1, rows_failed => 0 }, 'a delete of what is gone is done');

# --- what exists already
for my $hide (0, 1)
{
	$sync = fresh_sync(\%one_by_one);
	run_sync($sync);
	$node->sql("SELECT signalsmith.reset_sync('$sync')");
	$vendor->quirks(hide_existing => $hide ? JSON::PP::true : JSON::PP::false);
	$node->sql("UPDATE $sync SET name = 'again'");
	$node->run_is(run_sync($sync), { status => 'completed', rows_created => 0, rows_updated => 3, rows_failed => 0 },
		$hide ? 'what exists is looked up and updated' : 'what exists is updated by the id in the error');
	is(scalar(grep { $_->{method} eq 'GET' } @requests), 3, 'after its version was looked up');
	is($vendor->things->{1}{data}{name}, 'again', 'the update arrives');
}
$sync = fresh_sync(\%one_by_one, mode => 'append');
run_sync($sync);
$node->sql("SELECT signalsmith.reset_sync('$sync')");
$node->sql("UPDATE $sync SET name = 'again'");
$node->sql("INSERT INTO $sync VALUES ('4', 'new')");
$node->run_is(run_sync($sync), { status => 'completed', rows_created => 1, rows_updated => 0, rows_failed => 0 },
	'mode append leaves alone what exists');
is($vendor->things->{1}{data}{name}, 'name 1', 'as it is');
$node->run_is(run_sync($sync), { rows_processed => 4, rows_created => 0, rows_unchanged => 4 }, 'and does not ask again');

# --- batches: conflicts of single rows, lookups of several
my %bulk = (
	operations => {
		map { $_ => {
				request => {
					method => 'POST', path => '/bulk', envelope => '{{rows}}',
					row => { op => '{{op}}', id => '{{id}}', version => '{{version}}', external => '{{key}}', name => '{{row.name}}' } },
				batch => { max_records => 10 },
				respond => { rows => {
						mode => 'positional', items => '$[*]', id => '$.id', version => '$.version', error => '$.error',
						class => [
							{ if => '$.error == "conflict"', is => 'conflict' }, { if => '$.error == "exists"', is => 'exists' },
							{ if => '$.error == "missing"', op => 'delete', is => 'gone_ok' },
							{ if => '$.error == "missing"', is => 'conflict' },
							{ if => 'exists($.id)', is => 'ok' } ] } } } } qw(create update delete) },
	lookup => {
		when => 'missing_id', batch => { max_records => 7 },
		request => { method => 'POST', path => '/things/search', envelope => { externals => '{{rows}}' }, row => '{{key}}' },
		respond => { rows => { mode => 'key', items => '$.things[*]', get => '$.external', id => '$.id', version => '$.version' } } });
$sync = fresh_sync(\%bulk, rows => 25, key_type => 'integer');
$node->run_is(run_sync($sync), { status => 'completed', rows_created => 25 }, 'creates in batches');
requests_are([ ('POST /bulk 200') x 3 ], 'three of them');
$vendor->touch($_) for 2, 5, 11, 12;
$vendor->remove(20);
$node->sql("UPDATE $sync SET name = name || '!'");
$node->run_is(run_sync($sync), { status => 'completed', rows_updated => 24, rows_created => 1, rows_failed => 0 }, 'conflicts of some rows');
my @lookups = grep { $_->{path} eq '/things/search' } @requests;
cmp_ok(scalar(@lookups), '<=', 3, 'are looked up together');
is_deeply([ sort { $a <=> $b } map { @{ decode_json($_->{body})->{externals} } } @lookups ], [ 2, 5, 11, 12, 20 ], 'once each, and only they');
is(scalar(grep { $vendor->things->{$_}{data}{name} eq "name $_!" } 1 .. 25), 25, 'in the end the destination holds the model');

# --- ids that nobody has kept
my %forgetful = %{ decode_json(encode_json(\%bulk)) };
delete $forgetful{lookup};
delete @{ $_->{request}{row} }{qw(id version)}, delete @{ $_->{respond}{rows} }{qw(id version)} for values %{ $forgetful{operations} };
$sync = fresh_sync(\%forgetful, rows => 25, key_type => 'integer');
run_sync($sync);
my ($config) = quote({ config => { base_url => $vendor->url(''), %bulk } });
$node->sql("SELECT signalsmith.update_destination('$sync', $config)");
$node->sql("UPDATE $sync SET name = name || '!' WHERE id <= 20; DELETE FROM $sync WHERE id > 22");
$node->run_is(run_sync($sync), { status => 'completed', rows_updated => 20, rows_deleted => 3, rows_failed => 0 }, 'ids that are missing are looked up');
is(scalar(grep { $_->{path} eq '/things/search' } @requests), 4, 'as many at once as a lookup may ask for');
is_deeply([ grep { $_->{path} eq '/bulk' && $_->{body} !~ /"id":/ } @requests ], [], 'before anything is sent without');

# --- a lookup that fails
my %broken = %{ decode_json(encode_json(\%bulk)) };
$broken{lookup}{request}{path} = '/nowhere';
$sync = fresh_sync(\%forgetful, rows => 12);
run_sync($sync);
$node->sql("SELECT signalsmith.update_destination('$sync', " . quote({ config => { base_url => $vendor->url(''), %broken } }) . ')');
$node->sql("UPDATE $sync SET name = name || '!'");
my $run = run_sync($sync);
$node->run_is($run, { status => 'completed', rows_updated => 0, rows_failed => 12 }, 'without a lookup no row is updated');
is_deeply([ map { "$_->{outcome} $_->{code} $_->{http_status}" } $node->row_errors($run->{id}) ], [ ('rejected lookup_failed 404') x 12 ],
	'each says why');
is(scalar(grep { $_->{path} eq '/bulk' } @requests), 0, 'and nothing is sent');

done_testing();
