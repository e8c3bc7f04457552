# The connector for CouchDB, against a server that answers as its documentation says,
# and against a program that speaks its protocol.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Peer;
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');

sub write_docs
{
	return [ POST => '/people/_bulk_docs', { docs => [@_] } ];
}

my $couchdb = $vendors->prove(
	$node, 'couchdb', object => 'people', url_in => 'url', secrets => { user => 'admin', password => 'couchdb-password' },
	mappings => { email => 'email', plan => 'plan' }, holds => 'people', bad => { plan => 'nonsense' }, rejected => qr/there is no plan "nonsense"/,
	without => qr/,?"_rev":"[^"]*"/,
	create => [ write_docs(
			{ _id => '1', email => 'ann@example.com', plan => 'free' }, { _id => '2', email => 'bob@example.com', plan => 'pro' },
			{ _id => '3', email => 'cid@example.com', plan => 'nonsense' }) ],
	update => [ write_docs({ _id => '1', email => 'ann@example.com', plan => 'pro' }) ],
	delete => [ write_docs({ _id => '2', _deleted => JSON::PP::true }) ]);

#
# PouchDB Server
#

my $pouchdb = Signalsmith::Peer->start_pouchdb_server;
$pouchdb->request(PUT => '/people');
$pouchdb->request(PUT => '/_config/admins/admin', 'pouchdb-password');
$pouchdb->{user} = 'admin:pouchdb-password';
sub documents
{
	my $rows = $pouchdb->get('/people/_all_docs?include_docs=true')->{rows};
	return { map { my %doc = %{ $_->{doc} }; my $id = delete $doc{_id}; delete $doc{_rev}; $id => \%doc } @$rows };
}
sub people
{
	return JSON::PP->new->decode($node->sql(q{SELECT coalesce(json_object_agg(id, json_build_object('name', name)), '{}') FROM pouchdb}));
}

$node->sql(q{CREATE TABLE pouchdb (id text PRIMARY KEY, name text);
	INSERT INTO pouchdb SELECT 'p' || i, 'n' || i FROM generate_series(1, 250) AS i;
	SELECT signalsmith.create_model('pouchdb', 'SELECT * FROM pouchdb', '{id}')});
$node->sql("SELECT signalsmith.create_destination('pouchdb', 'couchdb', " . quote({ url => $pouchdb->url }) . ')');
$vendors->set_secrets($node, 'pouchdb', user => 'admin', password => 'pouchdb-password');
$node->sql(q{SELECT signalsmith.create_sync('pouchdb', 'pouchdb', 'pouchdb', 'mirror', '{"name": "name"}', object => 'people', options => '{"batch_size": 100}')});
$node->run_is($node->run_sync('pouchdb'), { status => 'completed', rows_created => 250, rows_failed => 0, requests => 3 }, 'PouchDB: batches');
is_deeply(documents(), people(), 'PouchDB: its documents are the rows');

# Somebody else changes one document and deletes another one, and makes a third.
my $doc = $pouchdb->get('/people/p1');
$pouchdb->request(PUT => '/people/p1', { %$doc, name => 'somebody else' });
$doc = $pouchdb->get('/people/p2');
$pouchdb->request(DELETE => "/people/p2?rev=$doc->{_rev}");
$pouchdb->request(PUT => '/people/p900', { name => 'here before' });
$node->sql(q{UPDATE pouchdb SET name = upper(name) WHERE id IN ('p1', 'p2', 'p3');
	INSERT INTO pouchdb VALUES ('p900', 'ours'), ('_illegal', 'bad');
	DELETE FROM pouchdb WHERE id IN ('p4', 'p5')});
$doc = $pouchdb->get('/people/p5');
$pouchdb->request(PUT => '/people/p5', { %$doc, name => 'changed, then deleted' });
my $run = $node->run_sync('pouchdb');
$node->run_is($run, { status => 'completed', rows_created => 1, rows_updated => 3, rows_deleted => 2, rows_failed => 1 },
	'PouchDB: conflicts are resolved by their current revisions');
my @errors = $node->row_errors($run->{id});
is_deeply([ map { $_->{key} } @errors ], [ { id => '_illegal' } ], 'PouchDB: one illegal id is refused alone');
$node->sql(q{DELETE FROM pouchdb WHERE id = '_illegal'});
is_deeply(documents(), people(), 'PouchDB: its documents are the rows again');

done_testing();
