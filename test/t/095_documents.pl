# The transcripts in doc/*.md are true: each statement in them is run, in their order,
# and prints what they say, but for times and the like.
#
#     UPDATE_DOCUMENTS=1 prove ... test/t/095_documents.pl
#
# writes into them what is printed now, where that differs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster;
use Signalsmith::Transcript;
use Test::More;

my $directory = "$FindBin::RealBin/../../doc";

# The server that the documents have the reader start.
my $pid = open my $server, '-|', '/usr/bin/python3', "$directory/example_server.py", 0
  or die "could not start the example server: $!";
END { local $?; kill('TERM', $pid) && close $server if $pid; }
my ($port) = <$server> =~ /:(\d+)$/;

my $key_file = PostgreSQL::Test::Utils::tempdir() . '/signalsmith.key';
append_to_file($key_file, '5' x 64 . "\n");
chmod 0600, $key_file;

my $node = Signalsmith::Cluster->start_new('main', extension => 0, extra => [ '-U', 'postgres', '--locale=C.UTF-8', '--encoding=UTF8' ],
	conf => "signalsmith.key_file = '$key_file'\n");
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = 'postgres';
$ENV{PATH} = $node->config_data('--bindir') . ":$ENV{PATH}" if $node->can('config_data');
chdir PostgreSQL::Test::Utils::tempdir();

# In this order: a document may go on where the one before it has ended.
Signalsmith::Transcript::check_document($_, 8080 => $port) for qw(first-week tour-analyst tour-dba troubleshooting);

done_testing();
