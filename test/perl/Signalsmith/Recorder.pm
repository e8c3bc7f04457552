# The recording destination of test/server/recorder.py, from a TAP test.
#
#     my $recorder = Signalsmith::Recorder->start;
#     $recorder->rules({ nth => 1, hold => 1 });
#     ... $recorder->url('/hook') ...
#     $recorder->wait_for(held => 1);
#
# A recorder ends with the test, since its standard input does.
package Signalsmith::Recorder;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;
use Test::More;

my $directory = abs_path(dirname(__FILE__) . '/../../server');
my $json = JSON::PP->new->utf8->allow_nonref->canonical;

# Starts a recorder; options are passed on: (certificate => file, key => file,
# 'tls-maximum' => '1.1'), (forget_keys => 1), (port => PORT), (rules => [ ... ]):
# those that count from the first request on.
sub start
{
	my ($class, %options) = @_;
	my @arguments;
	push @arguments, '--forget-keys' if delete $options{forget_keys};
	$options{rules} = $json->encode($options{rules}) if $options{rules};
	push @arguments, map { ("--$_", $options{$_}) } sort keys %options;

	my $self = start_server($class, 'recorder.py', @arguments);
	$self->{scheme} = $options{certificate} ? 'https' : 'http';
	$self->{http} = HTTP::Tiny->new(timeout => 300);
	return $self;
}

# Starts the server of impossible answers instead; of the methods below it has
# only url() and stop().
sub start_hostile
{
	my ($class) = @_;
	my $self = start_server($class, 'hostile.py');
	$self->{scheme} = 'http';
	return $self;
}

sub start_server
{
	my ($class, $program, @arguments) = @_;
	my $pid = open2(my $output, my $input, '/usr/bin/python3',
		"$directory/$program", @arguments);
	my $line = <$output>;
	BAIL_OUT("$program did not start") unless defined $line;
	my $ports = $json->decode($line);
	return bless {
		pid => $pid, input => $input, output => $output,
		port => $ports->{port}, control => $ports->{control}
	}, $class;
}

sub stop
{
	my ($self) = @_;
	return unless $self->{pid};
	close $self->{input};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	$self->stop;
	return;
}

# The URL of a path at the destination.
sub url
{
	my ($self, $path) = @_;
	return "$self->{scheme}://127.0.0.1:$self->{port}" . ($path // '/hook');
}

sub control
{
	my ($self, $method, $path, $content) = @_;
	my %options;
	$options{content} = ref $content ? $json->encode($content) : $content
	  if defined $content;
	my $answer = $self->{http}
	  ->request($method, "http://127.0.0.1:$self->{control}$path", \%options);
	die "recorder: $method $path: $answer->{status} $answer->{content}"
	  unless $answer->{success};
	return $json->decode($answer->{content});
}

# Replaces the fault rules; see class Rule in recorder.py.
sub rules
{
	my ($self, @rules) = @_;
	$self->control('PUT', '/rules', \@rules);
	return;
}

# Requests as hashes, in order of arrival, from the given number on.
sub history
{
	my ($self, $since) = @_;
	return @{ $self->control('GET', '/history?since=' . ($since // 1)) };
}

# What the destination holds now: { key => data }.
sub state
{
	my ($self) = @_;
	return $self->control('GET', '/state');
}

# Counts: requests, held, open, connections, records, rules (by name).
sub figures
{
	my ($self) = @_;
	return $self->control('GET', '/figures');
}

# Waits until so many requests have come or are held: wait_for(held => 1).
sub wait_for
{
	my ($self, %wanted) = @_;
	my $query = join '&', map { "$_=$wanted{$_}" } sort keys %wanted;
	my $figures = $self->control('GET', "/wait?$query&timeout=120");
	die "recorder: waited in vain for $query, got " . $json->encode($figures)
	  unless $figures->{reached};
	return $figures;
}

# Lets go of the requests that rules hold.
sub release
{
	my ($self) = @_;
	$self->control('POST', '/release');
	return;
}

# Forgets everything.
sub reset
{
	my ($self) = @_;
	$self->control('POST', '/reset');
	return;
}

# Runs the checks of test/server/history.py as one test.  The expectation is a
# hash or JSON text (whose numbers stay as they are written); see check() there.
sub check_history
{
	my ($self, $name, $expectation) = @_;
	my $violations = $self->control('POST', '/check', $expectation // '{}');
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(!@$violations, $name) or diag(join "\n", @$violations);
	return;
}

1;
