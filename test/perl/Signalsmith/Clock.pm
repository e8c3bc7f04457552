# A clock for a server that a test can set (test/server/clock.c).
#
#     my $clock = Signalsmith::Clock->new;
#     my $node = $clock->run(sub { Signalsmith::Cluster->start_new('main') });
#     $clock->set('+61m');                    # s, m, h, d from the real time
#     $clock->set_time($seconds_since_1970);
#
# The server's processes look at the file whenever they look at the clock.
package Signalsmith::Clock;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

my %seconds = (s => 1, m => 60, h => 3600, d => 86400);

sub new
{
	my ($class) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir;
	my $self = bless { file => "$directory/clock", library => "$directory/clock.so" }, $class;
	my $source = abs_path(dirname(__FILE__) . '/../../server/clock.c');
	system_or_bail('cc', '-shared', '-fPIC', '-O', '-o', $self->{library}, $source, '-ldl');
	$self->set('0s');
	return $self;
}

# Runs something that starts a server, which gets this clock.
sub run
{
	my ($self, $action) = @_;
	local %ENV = (%ENV, LD_PRELOAD => $self->{library}, SIGNALSMITH_TEST_CLOCK => $self->{file});
	return $action->();
}

sub set
{
	my ($self, $offset) = @_;
	my ($number, $unit) = $offset =~ /^([-+]?\d+)([smhd])$/ or die "no offset: $offset";
	return $self->write_offset($number * $seconds{$unit});
}

sub set_time
{
	my ($self, $time) = @_;
	return $self->write_offset(int($time - time));
}

sub write_offset
{
	my ($self, $offset) = @_;
	open my $file, '>', "$self->{file}.new" or die;
	print $file $offset, "\n";
	close $file;
	rename "$self->{file}.new", $self->{file} or die;
	return;
}

1;
