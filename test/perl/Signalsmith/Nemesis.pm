# What kills our processes and others at random, with a seed, and knows what was
# its own doing.
#
#     my $nemesis = Signalsmith::Nemesis->new($node, seed => 7);
#     $nemesis->strike('kill', 'signalsmith runner');     # or terminate, restart
#     $nemesis->count('kill');
#
# The node's server must restart after a crash.
package Signalsmith::Nemesis;

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

# The random numbers are the process's own, so that what else a test leaves to
# chance has the same seed.
sub new
{
	my ($class, $node, %options) = @_;
	srand $options{seed};
	note "seed $options{seed}";
	return bless { node => $node, count => {}, victims => {} }, $class;
}

sub count
{
	my ($self, $deed) = @_;
	return $self->{count}{$deed} // 0;
}

# In words.
sub deeds
{
	my ($self) = @_;
	my ($count, $victims) = @$self{qw(count victims)};
	return join ', ', (map { "$count->{$_} x $_" } sort keys %$count), map { "$victims->{$_} of a $_" } sort keys %$victims;
}

# A process of some kind: its id, or nothing.  Schedulers are there for moments
# only, so it looks for one for a while, at the server's children themselves.
sub find_process
{
	my ($self, $type) = @_;
	my $postmaster = $self->{node}{_pid} or return;
	my $until = time + ($type =~ /scheduler/ ? 0.5 : 0);
	do
	{
		my @found = grep { read_file("/proc/$_/cmdline") =~ /^postgres: .*\Q$type\E/ } split ' ', read_file("/proc/$postmaster/task/$postmaster/children");
		return $found[ rand @found ] if @found;
	} while (time < $until);
	return;
}

# The content of a file, or of none.
sub read_file
{
	my ($path) = @_;
	open my $file, '<', $path or return '';
	local $/;
	return <$file> // '';
}

# Does something to a process of this kind (the server is restarted whatever the
# kind).  False: there was none, or it was gone before.
sub strike
{
	my ($self, $deed, $type) = @_;
	my $done = $deed eq 'restart' ? $self->restart : $self->$deed($self->find_process($type) || return 0);
	return 0 unless $done;
	$self->{count}{$deed}++;
	$self->{victims}{$type}++ unless $deed eq 'restart';
	return 1;
}

sub restart
{
	my ($self) = @_;
	$self->{node}->stop('immediate');
	$self->{node}->start;
	return 1;
}

# What pg_terminate_backend does.
sub terminate
{
	my ($self, $pid) = @_;
	return CORE::kill('TERM', $pid);
}

# The server has crashed when it has another checkpointer.
sub incarnation
{
	my ($self) = @_;
	return $self->{node}->ask(q{SELECT pid, backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
}

# A process that is about to end may be beyond being killed: then nothing happens.
sub kill
{
	my ($self, $pid) = @_;
	my $before = $self->incarnation or return 0;
	CORE::kill('KILL', $pid) or return 0;
	my ($crashed, $harmless_until) = (0);
	$self->{node}->wait_until('the server restarts', sub {
		my $now = $self->incarnation;
		$crashed = $now && $now ne $before;
		$harmless_until //= time + 2 if $now && !CORE::kill(0, $pid);
		return $crashed || $now && $harmless_until && time > $harmless_until;
	});
	return $crashed;
}

1;
