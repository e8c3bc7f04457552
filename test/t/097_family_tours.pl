# The tours of the families of connectors, which send nothing, print what they say, and
# so does the list of connectors in the README.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster;
use Signalsmith::Transcript;
use Test::More;

my $key_file = PostgreSQL::Test::Utils::tempdir() . '/signalsmith.key';
append_to_file($key_file, '5' x 64 . "\n");
chmod 0600, $key_file;

my $node = Signalsmith::Cluster->start_new('main', extension => 0, extra => [ '-U', 'postgres', '--locale=C.UTF-8', '--encoding=UTF8' ],
	conf => "signalsmith.key_file = '$key_file'\n");
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = 'postgres';
$node->sql('CREATE DATABASE shop; CREATE ROLE ann LOGIN');
$node->sql('CREATE EXTENSION signalsmith; GRANT signalsmith_user TO ann; GRANT CREATE ON SCHEMA public TO ann', database => 'shop');

Signalsmith::Transcript::check_document("tour-$_") for qw(crm engagement analytics audiences search streams messaging);
Signalsmith::Transcript::check_document('../README');

done_testing();
