# The README's tour: its statements work, and print what it says.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster;
use Signalsmith::Recorder;
use Test::More;

my $node = Signalsmith::Cluster->start_new('main', extension => 0);
my $recorder = Signalsmith::Recorder->start;
my $readme = slurp_file("$FindBin::RealBin/../../README.md");

# The destination of the tour, which refuses what is no address.
my $port = $recorder->{port};
ok($readme =~ s/localhost:8080/localhost:$port/, 'the tour has a destination');
$recorder->rules({ reject => [ { id => 3 } ], error => 'Email: not an e-mail address', times => 1 });
$node->sql('CREATE ROLE alice');

# psql's output without what differs from the README: row counts, and blanks at
# the ends of lines.
sub trimmed
{
	my ($text) = @_;
	return $text =~ s/^\(\d+ rows?\)$//gmr =~ s/[ \n]+(?=\n)//gr =~ s/^\s+|\s+$//gr;
}

# Statements as a script, and a session as statements with what they print.
sub run_script
{
	my ($script) = @_;
	my ($output, $error) = ('', '');
	my @command = ($node->installed_command('psql'), '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'));
	my $ok = IPC::Run::run(\@command, '<', \$script, '>', \$output, '2>', \$error);
	return $ok ? trimmed($output) : "ERROR $error";
}

# What test/t/097_family_tours.pl compares.
$readme =~ s/^```psql\n.*?^```$//gms;

my $blocks = 0;
while ($readme =~ /^```(sql|)\n(.*?)^```$/gms)
{
	my ($language, $text) = ($1, $2);
	next unless $language || $text =~ /^=> /;
	$blocks++;
	my $about = "block $blocks, " . (split /\n/, $text)[0];
	if ($language)
	{
		unlike(run_script($text), qr/ERROR/, "$about: works");
		next;
	}
	# A statement starts after the prompt, and goes on as long as lines are indented.
	my $script = join "\n", $text =~ /^(?:=> |   )(\w.*)$/gm;
	my $expected = $text =~ s/^(?:=> |   )\w.*\n//gmr;
	is(run_script($script), trimmed($expected), "$about: prints what it says");
}
cmp_ok($blocks, '>=', 8, 'the tour has all its blocks');

done_testing();
