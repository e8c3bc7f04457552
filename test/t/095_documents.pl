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
use Signalsmith::Transcript qw(blocks plain);
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
for my $name (qw(first-week tour-analyst tour-dba troubleshooting))
{
	my $path = "$directory/$name.md";
	my $document = slurp_file($path);
	my $updated = $document;
	for my $block (blocks($document))
	{
		my ($line, $text) = @$block;
		my $got = Signalsmith::Transcript::run($text,
			timeout => $PostgreSQL::Test::Utils::timeout_default,
			translate => sub { $_[0] =~ s/127\.0\.0\.1:8080/127.0.0.1:$port/gr },
			restore => sub { $_[0] =~ s/127\.0\.0\.1:$port/127.0.0.1:8080/gr =~ s/port $port/port 8080/gr });
		if ($ENV{UPDATE_DOCUMENTS})
		{
			my $position = index $updated, "```psql\n$text```";
			substr $updated, $position, length("```psql\n$text```"), "```psql\n$got```" if plain($got) ne plain($text);
		}
		else
		{
			is(plain($got), plain($text), "doc/$name.md, line $line");
		}
	}
	if ($updated ne $document)
	{
		open my $file, '>', $path or die "could not write $path: $!";
		print $file $updated;
		close $file;
	}
}

ok(1, 'documents updated') if $ENV{UPDATE_DOCUMENTS};
done_testing();
