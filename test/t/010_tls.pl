# TLS: destinations are verified, always, against the authorities that the DBA
# trusts; what cannot be verified gets no byte of the request.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Certificates;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $certificates = Signalsmith::Certificates->new;
my $node = Signalsmith::Cluster->start_new('main',
	conf => "signalsmith.ca_file = '" . $certificates->authority_file . "'\n");
$node->sql(q{CREATE ROLE bob LOGIN IN ROLE signalsmith_user});
$node->sql(q{CREATE TABLE people AS SELECT i AS id FROM generate_series(1, 3) AS i});

# Runs a sync to the recorder and returns the run.
sub run_to
{
	my ($name, $recorder, $host) = @_;
	$node->create_webhook_sync(
		name => $name, query => 'SELECT id FROM people', primary_key => 'id',
		url => $recorder->url =~ s/127\.0\.0\.1/$host/r, options => { max_attempts => 1, timeout_seconds => 5 });
	return $node->run_sync($name);
}

for my $host ('127.0.0.1', 'localhost')
{
	my $recorder = Signalsmith::Recorder->start($certificates->make("good_$host", 'IP:127.0.0.1,DNS:localhost'));
	$node->run_is(run_to("good $host", $recorder, $host), { status => 'completed', rows_created => 3, rows_failed => 0 },
		"a certificate of the authority for $host is good");
}

for my $case (
	[ 'expired', 'IP:127.0.0.1', { days => -1 }, {} ],
	[ 'wrong host', 'DNS:example.com', {}, {} ],
	[ 'wrong address', 'IP:127.0.0.2', {}, {} ],
	[ 'self-signed', 'IP:127.0.0.1', { self_signed => 1 }, {} ],
	[ 'SHA-1', 'IP:127.0.0.1', { digest => 'sha1' }, {} ],
	[ 'TLS 1.0', 'IP:127.0.0.1', {}, { 'tls-maximum' => '1.0' } ],
	[ 'TLS 1.1', 'IP:127.0.0.1', {}, { 'tls-maximum' => '1.1' } ])
{
	my ($what, $names, $options, $server) = @$case;
	my $recorder = Signalsmith::Recorder->start($certificates->make($what =~ s/\W/_/gr, $names, %$options), %$server);
	my $run = run_to($what, $recorder, '127.0.0.1');
	is($run->{rows_created}, 0, "$what: nothing is sent");
	is($recorder->figures->{requests}, 0, "$what: no request arrives");
	is(scalar(grep { $_->{outcome} eq 'unknown' } $node->row_errors($run->{id})), 0, "$what: no row is of unknown outcome");
}

# --- the old versions would have worked for whoever takes them
for my $version ('1.0', '1.1')
{
	my $recorder = Signalsmith::Recorder->start($certificates->make("old_$version", 'IP:127.0.0.1'), 'tls-maximum' => $version);
	my $option = '-tls' . ($version =~ s/\.0//r =~ s/\./_/r);
	my ($output) = run_command([ 'openssl', 's_client', '-connect', "127.0.0.1:$recorder->{port}", $option, '-cipher', 'ALL:@SECLEVEL=0', '-CAfile', $certificates->authority_file ]);
	like($output, qr/Verify return code: 0/, "openssl speaks TLS $version with such a server");
}

# --- an authority of the same name, and another key
my $impostor = Signalsmith::Certificates->new;
my $of_impostor = Signalsmith::Recorder->start($impostor->make('impostor', 'IP:127.0.0.1'));
is(run_to('impostor', $of_impostor, '127.0.0.1')->{rows_created}, 0, 'an authority that only has the name of ours is not trusted');
is($of_impostor->figures->{requests}, 0, 'no request arrives');
$node->set("signalsmith.ca_file = '" . $impostor->authority_file . "'");
is(run_to('swapped', $of_impostor, '127.0.0.1')->{rows_created}, 3, 'until the DBA puts it in the place of ours');
like($node->sql_error("$_ signalsmith.ca_file = ''", role => 'bob'), qr/permission denied/, "which nobody else does by $_")
  for 'SET', 'ALTER ROLE bob SET';

# --- with the system's authorities, ours is nobody
my $recorder = Signalsmith::Recorder->start($certificates->make('stranger', 'IP:127.0.0.1'));
$node->set(q{signalsmith.ca_file = ''});
is(run_to('stranger', $recorder, '127.0.0.1')->{rows_created}, 0, 'an authority that the system does not know is not trusted');

done_testing();
