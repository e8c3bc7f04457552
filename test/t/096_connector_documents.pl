# Writing a connector, as doc/ tells it, is done here, with the programs that it names.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster;
use Signalsmith::Peer;
use Signalsmith::Transcript;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main', extension => 0, extra => [ '-U', 'postgres', '--locale=C.UTF-8', '--encoding=UTF8' ]);
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = 'postgres';
$node->sql('CREATE DATABASE shop; CREATE ROLE ann LOGIN');
$node->sql('CREATE EXTENSION signalsmith; GRANT signalsmith_user TO ann; GRANT CREATE ON SCHEMA public TO ann', database => 'shop');
chdir PostgreSQL::Test::Utils::tempdir();

my $people = Signalsmith::Peer->start_json_server({ people => [] });
Signalsmith::Transcript::check_document('writing-a-connector', 3004 => $people->{port});

my $pouchdb = Signalsmith::Peer->start_pouchdb_server;
$pouchdb->request(PUT => '/people');
Signalsmith::Transcript::check_document('writing-a-batch-connector', 5984 => $pouchdb->{port});

done_testing();
