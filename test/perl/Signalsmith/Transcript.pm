# Transcripts of psql in a document, run again and compared.
#
# A fenced block "psql" holds statements with what they print:
#
#     shop=> SELECT 1 AS one;       as role ann in the database shop; =# is the superuser
#      one
#     -----
#        1
#     (1 row)
#
# A statement goes on, without prompts, to a line that ends with a semicolon or in a
# backslash command.  "$ pg_dump shop" is a command for the shell.
package Signalsmith::Transcript;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = abs_path(dirname(__FILE__) . '/../../../doc');

# A test for each block of doc/NAME.md: its statements, run in their order, print what
# is written there.  Ports are pairs: the document's, and where that is now.
# With UPDATE_DOCUMENTS=1 the document is made to say what is printed, instead.
sub check_document
{
	my ($name, %ports) = @_;
	my $path = "$directory/$name.md";
	my $document = slurp_file($path);
	my $updated = $document;
	for my $block (blocks($document))
	{
		my ($line, $text) = @$block;
		my $got = run($text, timeout => $PostgreSQL::Test::Utils::timeout_default,
			translate => sub { with_ports($_[0], %ports) }, restore => sub { with_ports($_[0], reverse %ports) });
		if ($ENV{UPDATE_DOCUMENTS})
		{
			my $position = index $updated, "```psql\n$text```";
			substr $updated, $position, length("```psql\n$text```"), "```psql\n$got```" if plain($got) ne plain($text);
			pass("doc/$name.md, line $line, is as it is printed now");
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
	return;
}

sub with_ports
{
	my ($text, %ports) = @_;
	while (my ($from, $to) = each %ports)
	{
		$text =~ s/(127\.0\.0\.1:|port )$from\b/$1$to/g;
	}
	return $text;
}

# The blocks of a document: [ number of the first line, text ].
sub blocks
{
	my ($document) = @_;
	my @blocks;
	while ($document =~ /^```psql\n(.*?)^```$/msg)
	{
		my ($text, $start) = ($1, $-[1]);
		push @blocks, [ 1 + (substr($document, 0, $start) =~ tr/\n//), $text ];
	}
	return @blocks;
}

# The steps of a block: { prompt, statement, output }.
sub steps
{
	my ($text) = @_;
	my (@steps, $open);
	for my $line (split /^/, $text)
	{
		if ($open)
		{
			$steps[-1]{statement} .= $line;
		}
		elsif ($line =~ /^((\w+)=([>#])|\$) (.*)$/s)
		{
			push @steps, { prompt => $1, database => $2, role => $3, statement => $4, output => '' };
		}
		else
		{
			die "output without a statement: $line" unless @steps;
			$steps[-1]{output} .= $line;
			next;
		}
		$open = $steps[-1]{prompt} ne '$' && $line !~ /;$|\\g\w*$/ && $steps[-1]{statement} !~ /^\\/;
	}
	return @steps;
}

# Runs a block and returns it with the output that came.  All its statements at one
# prompt share a session.  $translate changes what is run, $restore what came back.
sub run
{
	my ($text, %options) = @_;
	my ($result, @session) = ('');
	my $flush = sub {
		$result .= run_session(\@session, %options) if @session;
		@session = ();
	};
	for my $step (steps($text))
	{
		$flush->() if @session && ($session[0]{prompt} ne $step->{prompt} || $step->{prompt} eq '$');
		push @session, $step;
	}
	$flush->();
	return $result;
}

sub run_session
{
	my ($session, %options) = @_;
	my $first = $session->[0];
	my $mark = 'next-statement';
	my $input = join "\\echo $mark\n", map { $options{translate}->($_->{statement}) } @$session;
	my @command = $first->{prompt} eq '$' ? ('sh') :
		('psql', '-X', '-U', $first->{role} eq '#' ? 'postgres' : 'ann', '-d', $first->{database}, '-f', '-');
	my $output = '';
	local $ENV{PGOPTIONS} = '';
	local $ENV{PAGER} = '';
	IPC::Run::run(\@command, '<', \$input, '>&', \$output, IPC::Run::timeout($options{timeout}));
	$output = $options{restore}->($output);
	$output =~ s/^psql:<stdin>:\d+: //mg;
	my @outputs = split /^$mark\n/m, $output, -1;
	return join '', map { "$_->{prompt} $_->{statement}" . (shift(@outputs) // '') } @$session;
}

# A transcript without what differs each time or on each machine: times, durations,
# random ids, PostgreSQL's major version, and the widths of columns that hold them.
sub plain
{
	my ($text) = @_;
	$text =~ s/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d|Z)?/TIME/g;
	$text =~ s/\d\d:\d\d:\d\d\.\d+/DURATION/g;
	$text =~ s/\b\d+(\.\d+)? (ms|s)\b/DURATION/g;
	$text =~ s/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/UUID/g;
	$text =~ s/\bpostgresql-\d+-/postgresql-MAJOR-/g;
	$text =~ s/-{3,}/--/g;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/ $//mg;
	return $text;
}

1;
