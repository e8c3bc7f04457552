# Certificates for TLS tests, made by openssl when the test runs.
#
#     my $certificates = Signalsmith::Certificates->new;
#     $certificates->authority_file                   # for signalsmith.ca_file
#     $certificates->make('good', 'IP:127.0.0.1')     # (certificate => file, key => file)
package Signalsmith::Certificates;

use strict;
use warnings;

use PostgreSQL::Test::Utils;

sub new
{
	my ($class) = @_;
	my $self = bless { directory => PostgreSQL::Test::Utils::tempdir }, $class;
	$self->openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 2 -subj), '/CN=signalsmith test authority',
		'-keyout', $self->file('authority.key'), '-out', $self->authority_file);
	return $self;
}

sub file
{
	my ($self, $name) = @_;
	return "$self->{directory}/$name";
}

sub authority_file
{
	my ($self) = @_;
	return $self->file('authority.crt');
}

sub openssl
{
	my ($self, @arguments) = @_;
	system_or_bail('openssl', @arguments, '-batch') if $arguments[0] eq 'req';
	system_or_bail('openssl', @arguments) if $arguments[0] ne 'req';
	return;
}

# A key and a certificate for the names, such as "IP:127.0.0.1,DNS:localhost".
# Options: days (negative: expired), self_signed, digest (such as "sha1").
# Returns options for Signalsmith::Recorder->start.
sub make
{
	my ($self, $name, $names, %options) = @_;
	my ($key, $request, $certificate, $extensions) = map { $self->file("$name.$_") } qw(key csr crt ext);
	my @signer = $options{self_signed} ? ('-signkey', $key)
	  : ('-CA', $self->authority_file, '-CAkey', $self->file('authority.key'), '-CAcreateserial');

	append_to_file($extensions, "subjectAltName=$names\n");
	$self->openssl(qw(req -newkey rsa:2048 -nodes -subj), "/CN=$name", '-keyout', $key, '-out', $request);
	$self->openssl(qw(x509 -req -in), $request, '-out', $certificate, '-extfile', $extensions,
		'-days', $options{days} // 2, '-' . ($options{digest} // 'sha256'), @signer);
	return (certificate => $certificate, key => $key);
}

1;
