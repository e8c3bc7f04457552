# What the previews say is what the next run does: the changes, the counts, the
# very requests, and which deletes would be held.  And a preview leaves no trace.
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
my $uuid = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

$node->sql(q{CREATE TABLE people (id int PRIMARY KEY, name text);
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 100) AS i});
$node->create_webhook_sync(
	name => 'people', mode => 'mirror', query => 'SELECT id, name FROM people ORDER BY id',
	primary_key => 'id', url => $recorder->url, config => { batch_size => 30 });

# { outcome => row_count } of preview_counts, without the zeros.
sub counts
{
	return $node->json(q{SELECT coalesce(json_object_agg(outcome, row_count), '{}')
		FROM signalsmith.preview_counts('people') WHERE row_count > 0});
}

# What both a previewed and a recorded request have, placeholders aside.
sub comparable
{
	my ($method, $path, $body) = @_;
	$body =~ s/$uuid/UUID/g;
	$body =~ s/run_\d+/RUN/g;
	return "$method $path $body";
}

sub previewed_requests
{
	my $requests = $node->json(
		q{SELECT json_agg(json_build_array(method, url, body)) FROM signalsmith.preview_requests('people')});
	return [ sort map { comparable($_->[0], $_->[1] =~ s{^\w+://[^/]+}{}r, $_->[2]) } @$requests ];
}

sub sent_requests
{
	return [ sort map { comparable($_->{method}, $_->{path}, $_->{body}) } $recorder->history ];
}

# --- the first run
is_deeply(counts(), { create => 100 }, 'counts before the first run');
my $preview = previewed_requests();
is(scalar(@$preview), 4, 'a hundred records in batches of thirty');
is($node->sql('SELECT count(*) FROM signalsmith.run') + $recorder->figures->{requests}, 0, 'a preview leaves nothing and sends nothing');
$node->run_sync('people');
is_deeply(sent_requests(), $preview, 'the run sends the requests that were previewed');
is_deeply(counts(), { unchanged => 100 }, 'afterwards nothing is to be done');

# --- changes of each kind
$node->sql(q{UPDATE people SET name = 'new' WHERE id <= 3;
	DELETE FROM people WHERE id > 95;
	INSERT INTO people VALUES (201, 'one'), (202, 'two')});
$recorder->reset;
is_deeply(counts(), { create => 2, update => 3, delete => 5, unchanged => 92 }, 'counts of each kind');
is($node->sql(q{SELECT string_agg(operation || (key->>'id'), ' ') FROM signalsmith.preview_sync('people')}),
	'delete96 delete97 delete98 delete99 delete100 update1 update2 update3 create201 create202', 'in the order of sending');
$preview = previewed_requests();
my $run = $node->run_sync('people');
is_deeply(sent_requests(), $preview, 'the run sends the requests that were previewed, for each operation');
$node->run_is($run, { rows_created => 2, rows_updated => 3, rows_deleted => 5 }, 'and counts the same');

# --- deletes that would be held
my ($status, $output, $notice) = $node->psql('postgres', q{
	BEGIN;
	DELETE FROM people WHERE id > 50;
	INSERT INTO people VALUES (300, 'three');
	SELECT outcome, row_count, remark FROM signalsmith.preview_counts('people') WHERE row_count > 0;
	SELECT string_agg(operation || (key->>'id'), ' ') FROM signalsmith.preview_sync('people', 2);
	SELECT count(*) FROM signalsmith.preview_requests('people');
	ROLLBACK});
is($output, join("\n",
		'create|1|',
		'held|47|Deletes that wait for approval.  The model lacks 48.5 % of the 97 records sent before.',
		'unchanged|50|', 'create300 delete51', '1'),
	'deletes that would be held are counted apart, come last, and are not among the requests');
like($notice, qr/NOTICE:  47 deletes would be held until somebody approves them/, 'and are told');

$node->sql('TRUNCATE people');
($status, $output, $notice) = $node->psql('postgres', q{SELECT * FROM signalsmith.preview_sync('people', 0)});
like($notice, qr/changes in all: 0 creates, 0 updates, 97 deletes/, 'max_rows 0 gives the counts');
like($notice, qr/97 deletes would be held.*The model returns no rows/s, 'an empty model holds all');
$recorder->reset;
$run = $node->run_sync('people');
$node->run_is($run, { status => 'held', rows_deleted => 0 }, 'and so does the run');
is($recorder->figures->{requests}, 0, 'without a request');

# --- secrets are not opened for it: even the key may be gone
my $key_file = PostgreSQL::Test::Utils::tempdir . '/key';
append_to_file($key_file, 'ab' x 32 . "\n");
chmod 0600, $key_file;
$node->set("signalsmith.key_file = '$key_file'");
$node->sql(q{SELECT signalsmith.set_secret('people', 'signing_secret', 'whsec_aHVzaCBodXNoIGh1c2g=')});
unlink $key_file;
my $headers = $node->json(q{INSERT INTO people VALUES (1, 'again');
	SELECT headers FROM signalsmith.preview_requests('people')});
ok($headers->{'webhook-signature'}, 'a request that is signed is shown with its header');

done_testing();
