# The destination of test/server/things.py, from a TAP test: an API that has ids
# and versions of its own.
package Signalsmith::Things;

use strict;
use warnings;
use parent -norequire, 'Signalsmith::Recorder';

use HTTP::Tiny;
use Signalsmith::Recorder;

sub start
{
	my ($class) = @_;
	my $self = Signalsmith::Recorder::start_server($class, 'things.py');
	$self->{scheme} = 'http';
	$self->{http} = HTTP::Tiny->new(timeout => 300);
	return $self;
}

# What the destination holds: { external key => { id, version, data } }.
sub things
{
	my ($self) = @_;
	return $self->control('GET', '/things');
}

# What came, as hashes: method, path, headers, body, status.
sub requests
{
	my ($self) = @_;
	return @{ $self->control('GET', '/requests') };
}

# Somebody else changes a thing, or deletes it.
sub touch
{
	my ($self, $external) = @_;
	$self->control('POST', '/touch', { external => $external });
	return;
}

sub remove
{
	my ($self, $external) = @_;
	$self->control('POST', '/remove', { external => $external });
	return;
}

sub quirks
{
	my ($self, %quirks) = @_;
	$self->control('PUT', '/quirks', \%quirks);
	return;
}

1;
