# The main job: rows of a model travel through a sync to a webhook, and afterwards
# only what changed does, in each mode.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;
my $query = 'SELECT id, email, name, visits FROM customers';
my $whole = q{SELECT json_build_object('id', id) AS key, to_json(c) AS data FROM customers c};

# Empties everything, so that each mode starts alike: rows 1, 2 and 3.
sub fresh_rows
{
	$node->sql(q{
		DROP TABLE IF EXISTS customers;
		CREATE TABLE customers (id int PRIMARY KEY, email text, name text, visits int);
		INSERT INTO customers VALUES (1, 'ada@example.com', 'Ada', 10),
			(2, 'bob@example.com', NULL, 0), (3, 'eve@example.com', 'Eve', 7)});
	$recorder->reset;
	return;
}

# One row is updated, one inserted, one deleted.
sub change_rows
{
	$node->sql(q{
		UPDATE customers SET visits = 11 WHERE id = 1;
		INSERT INTO customers VALUES (4, 'joe@example.com', 'Joe', 1);
		DELETE FROM customers WHERE id = 3});
	$recorder->reset;
	return;
}

sub create
{
	my ($mode, %more) = @_;
	fresh_rows();
	$node->create_webhook_sync(
		name => $mode, mode => $mode, query => $query, primary_key => 'id',
		url => $recorder->url, %more);
	return;
}

# The operations that reached the destination: ('create 1', 'update 2', ...).
sub operations
{
	my @operations;
	for my $request ($recorder->history)
	{
		my $body = decode_json($request->{body});
		push @operations, map { "$_->{operation} $_->{key}{id}" }
		  $body->{records} ? @{ $body->{records} } : $body->{metadata};
	}
	return [ sort @operations ];
}

# --- upsert
create('upsert');
my $run = $node->run_sync('upsert');
$node->run_is($run,
	{ status => 'completed', trigger => 'manual', sync => 'upsert', rows_processed => 3, rows_created => 3,
	  rows_updated => 0, rows_deleted => 0, rows_failed => 0, rows_unchanged => 0, error => undef },
	'upsert: the first run creates everything');
like($run->{id}, qr/^run_\d+$/, 'a run has an id with its prefix');
$node->check_delivery($recorder, $whole, 'upsert: nothing lost, nothing invented');
$node->check_figures($recorder, $run, 'upsert: the figures are those of the history');
is($node->sync('upsert')->{status}, 'active', 'a sync that has run is active');
is($node->sync('upsert')->{rows_in_snapshot}, 3, 'the snapshot holds three rows');

my $requests = $recorder->figures->{requests};
$run = $node->run_sync('upsert');
$node->run_is($run,
	{ status => 'completed', rows_processed => 3, rows_unchanged => 3, rows_created => 0, requests => 0, bytes_sent => 0 },
	'upsert: the second run sends nothing');
is($recorder->figures->{requests}, $requests, 'upsert: no request arrived in the second run');

change_rows();
$run = $node->run_sync('upsert');
$node->run_is($run,
	{ status => 'completed', rows_processed => 3, rows_created => 1, rows_updated => 1, rows_deleted => 0, rows_unchanged => 1 },
	'upsert: what changed is counted');
is_deeply(operations(), [ 'create 4', 'update 1' ], 'upsert: exactly what changed is sent, and no delete');

$recorder->reset;
$run = $node->run_sync('upsert', full_resync => 1);
$node->run_is($run, { status => 'completed', rows_processed => 3, rows_failed => 0, rows_unchanged => 0 },
	'upsert: a full resync sends everything again');
is($recorder->figures->{records}, 3, 'upsert: all rows arrived again');

# --- mirror
create('mirror');
$node->run_sync('mirror');
change_rows();
$run = $node->run_sync('mirror');
$node->run_is($run,
	{ status => 'completed', rows_processed => 3, rows_created => 1, rows_updated => 1, rows_deleted => 1, rows_unchanged => 1 },
	'mirror: a vanished row counts as deleted');
is_deeply(operations(), [ 'create 4', 'delete 3', 'update 1' ], 'mirror: the delete is sent too');
my ($delete) = grep { $_->{body} =~ /"delete"/ } $recorder->history;
unlike($delete->{body}, qr/eve\@example/, 'mirror: a delete carries no row data');
$recorder->reset;
$run = $node->run_sync('mirror');
$node->run_is($run, { requests => 0, rows_deleted => 0, rows_unchanged => 3 }, 'mirror: a delete is sent once');

# --- append and its synonym
for my $mode ('append', 'insert')
{
	create($mode);
	$node->run_sync($mode);
	change_rows();
	$run = $node->run_sync($mode);
	$node->run_is($run, { status => 'completed', rows_processed => 3, rows_created => 1, rows_updated => 0, rows_deleted => 0 },
		"$mode: only new rows count");
	is_deeply(operations(), ['create 4'], "$mode: only new rows are sent");
}

# --- update
create('update');
$run = $node->run_sync('update');
$node->run_is($run, { status => 'completed', rows_processed => 3, rows_created => 0, requests => 0 },
	'update: with nothing known, a first run sends nothing');

# --- the shape of what is sent
create('single', config => { batch_size => 1, headers => { 'X-Team' => 'growth' } }, mode => 'upsert');
$run = $node->run_sync('single');
my ($request) = sort { $a->{body} cmp $b->{body} } $recorder->history;
my $body = decode_json($request->{body});
is_deeply([ sort keys %$body ], [ 'data', 'metadata' ], 'one record a request: data and metadata');
is_deeply($body->{data}, { id => 1, email => 'ada@example.com', name => 'Ada', visits => 10 }, 'the row as it is');
is_deeply([ sort keys %{ $body->{metadata} } ],
	[ sort qw(sync_id sync_name sync_mode run_id batch_id operation key idempotency_key) ], 'metadata of a single record');
is($body->{metadata}{run_id}, $run->{id}, 'metadata names the run');
is($body->{metadata}{sync_name}, 'single', 'metadata names the sync');
is_deeply($body->{metadata}{key}, { id => 1 }, 'the key is an object');
is($request->{headers}{'idempotency-key'}, $body->{metadata}{batch_id}, 'the Idempotency-Key is the batch id');
like($body->{metadata}{batch_id}, qr/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'which is a UUID');
is($request->{headers}{'signalsmith-attempt'}, 1, 'the first attempt');
is($request->{headers}{'x-team'}, 'growth', 'own headers are sent');
is($request->{method}, 'POST', 'POST is the default');
like($request->{headers}{'content-type'}, qr{^application/json}, 'JSON is announced');

create('batched', config => { batch_size => 2, method => 'PUT' }, mode => 'upsert');
$run = $node->run_sync('batched');
is($run->{requests}, 2, 'three records in batches of two');
($request) = $recorder->history;
$body = decode_json($request->{body});
is($request->{method}, 'PUT', 'the configured method');
is_deeply([ sort keys %{ $body->{metadata} } ], [ sort qw(sync_id sync_name sync_mode run_id batch_id) ], 'metadata of a batch');
is_deeply([ sort keys %{ $body->{records}[0] } ], [ sort qw(operation key data idempotency_key) ], 'a record of a batch');

# --- mappings
create('mapped', mode => 'upsert',
	field_mappings => [
		{ source => 'email', destination => 'Email', identifier => JSON::PP::true },
		{ constant => 'crm', destination => 'Source' },
		{ constant => 5, destination => 'Level' },
		{ expression => 'upper(name)', destination => 'contact.name' },
		{ expression => 'visits * 2', destination => 'contact.score' } ]);
$node->run_sync('mapped');
is_deeply($recorder->state->{'{"id":1}'},
	{ Email => 'ada@example.com', Source => 'crm', Level => 5, contact => { name => 'ADA', score => 20 } },
	'columns, constants, expressions and nesting');
$node->sql('ALTER TABLE customers ADD COLUMN note text');
$node->sql(q{UPDATE customers SET id = id});
$recorder->reset;
$run = $node->run_sync('mapped');
is($run->{requests}, 0, 'a change in what is not mapped is no change');

# --- the body of the product's REST interface, as it is
$node->sql(q{
	CREATE VIEW active_customers AS SELECT id, email, name AS first_name, visits * 1.10 AS lifetime_value FROM customers;
	SELECT signalsmith.create_model('active customers', 'SELECT * FROM active_customers', ARRAY['id'], ARRAY['email'])});
$node->sql(q{SELECT signalsmith.create_destination('crm', 'webhook', } . quote({ url => $recorder->url }) . ')');
my $model = $node->json(q{SELECT signalsmith.get_model('active customers')});
my $destination = $node->json(q{SELECT signalsmith.get_destination('crm')});
like($model->{id}, qr/^mod_\d+$/, 'the id of a model');
like($destination->{id}, qr/^dst_\d+$/, 'the id of a destination');
my $definition = qq({"name":"Active Customers to CRM","model_id":"$model->{id}","destination_id":"$destination->{id}",)
  . q("mode":"upsert","schedule":{"type":"manual"},"field_mappings":[)
  . q({"source":"email","destination":"Email"},{"source":"first_name","destination":"FirstName"},)
  . q({"source":"lifetime_value","destination":"LTV__c"}]});
my $sync = $node->sql("SELECT signalsmith.create_sync('$definition')");
like($sync, qr/^sync_\d+$/, 'create_sync(jsonb) returns an id');
$run = $node->run_sync($sync);
$node->run_is($run, { status => 'completed', sync => 'Active Customers to CRM', rows_created => 3 }, 'a sync made from a REST body runs');
is_deeply([ sort keys %{ $recorder->state->{'{"id":1}'} } ], [qw(Email FirstName LTV__c)], 'and sends its fields');

# --- preview
$node->sql(q{UPDATE customers SET visits = 100 WHERE id = 2});
is($node->sql(q{SELECT operation, key, data ->> 'LTV__c' FROM signalsmith.preview_sync('Active Customers to CRM')}),
	'update|{"id": 2}|110.00', 'a preview shows what a run would send');
is($node->sql(q{
	BEGIN;
	DELETE FROM customers WHERE id = 1;
	UPDATE customers SET visits = 1 WHERE id = 3;
	SELECT count(*) FROM signalsmith.preview_sync('Active Customers to CRM');
	ROLLBACK}), '2', 'and sees changes that are not committed');

# --- triggers
my ($first, $second) = split /\n/, $node->sql(q{
	BEGIN; SELECT signalsmith.trigger_sync('upsert'); SELECT signalsmith.trigger_sync('upsert'); COMMIT});
is($first, $second, 'two triggers are one queued run');
is($node->sql("SELECT signalsmith.wait_for_run('$first')"), 'completed', 'which runs once the transaction commits');
is($node->sql(q{SELECT count(*) FROM signalsmith.runs WHERE status = 'queued'}), 0, 'and nothing else is queued');

done_testing();
