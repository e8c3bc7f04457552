# A PostgreSQL::Test::Cluster with signalsmith preloaded and created, and what
# the TAP tests do with one all the time.
#
#     my $node = Signalsmith::Cluster->start_new('main');
#     $node->create_webhook_sync(name => 'people', query => 'SELECT ...',
#         primary_key => 'id', url => $recorder->url);
#     my $run = $node->run_sync('people');       # { status => 'completed', ... }
#
# The server runs as it would in production: it restarts after a crash, and a
# loopback destination is private, so that is allowed in its settings.
package Signalsmith::Cluster;

use strict;
use warnings;
use parent 'PostgreSQL::Test::Cluster';

use Exporter 'import';
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(quote);

my $json = JSON::PP->new->canonical->allow_nonref;

# Quotes values as SQL literals; hashes and arrays become JSON.
sub quote
{
	my @quoted = map { defined $_ ? "'" . (ref $_ ? $json->encode($_) : $_) =~ s/'/''/gr . "'" : 'NULL' } @_;
	return wantarray ? @quoted : $quoted[0];
}

# Makes and starts a cluster with the extension in its database "postgres".
# Options: conf (further settings, as text), extra (of initdb; by default the
# encoding is UTF8), extension => 0.
sub start_new
{
	my ($class, $name, %options) = @_;
	my $self = $class->new($name);
	$self->init(extra => $options{extra} // [ '--encoding=UTF8', '--locale=C.UTF-8' ], %{ $options{init} // {} });
	$self->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'signalsmith'
signalsmith.allow_private_networks = on
max_worker_processes = 20
restart_after_crash = on
CONF
	$self->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$self->start;
	$self->safe_psql('postgres', 'CREATE EXTENSION signalsmith')
	  unless defined $options{extension} && !$options{extension};
	return $self;
}

# Runs SQL in the database "postgres", or as another role: sql($sql, role => 'bob').
# Dies on errors.  Text comes and goes as UTF-8 bytes.
sub sql
{
	my ($self, $sql, %options) = @_;
	$sql = "SET SESSION AUTHORIZATION $options{role};\n$sql" if $options{role};
	return $self->safe_psql($options{database} // 'postgres', $sql);
}

# The result of a query, or nothing while the server is not there: a psql that
# could not connect may be gone before its input is written.
sub ask
{
	my ($self, $sql) = @_;
	my ($status, $output) = eval { $self->psql('postgres', $sql) };
	return defined $status && $status == 0 ? $output : '';
}

# Runs SQL that must fail, and returns the error.
sub sql_error
{
	my ($self, $sql, %options) = @_;
	$sql = "SET SESSION AUTHORIZATION $options{role};\n$sql" if $options{role};
	my ($status, $output, $error) =
	  $self->psql($options{database} // 'postgres', $sql);
	die "no error from: $sql" if $status == 0;
	return $error;
}

# Changes a setting of the running server: set("signalsmith.enabled = off").
sub set
{
	my ($self, $setting) = @_;
	$self->append_conf('postgresql.conf', $setting);
	$self->reload;
	my ($name, $value) = $setting =~ /^(\S+) = '?(.*?)'?$/;
	$self->poll_query_until('postgres', "SELECT current_setting('$name') = " . quote($value))
	  or die "the setting is not in force: $setting";
	return;
}

# Ends the test file here unless the library was built with "make FAULTS=1".
sub skip_all_unless_faults
{
	my ($self) = @_;
	plan skip_all => 'needs a build with FAULTS=1'
	  if $self->sql(q{SELECT count(*) FROM pg_settings WHERE name = 'signalsmith.fault'}) == 0;
	return;
}

# Runs a query that gives one JSON value, and returns it decoded.
sub json
{
	my ($self, $sql, %options) = @_;
	my $text = $self->sql($sql, %options);
	return $text eq '' ? undef : $json->decode($text);
}

#
# Definitions
#

# Creates a model, a webhook destination and a sync, all of one name.  Needs:
# name, query, primary_key (a column, or an array of them), url.  May have: mode,
# field_mappings, options, config (more of the destination's), role, database.
sub create_webhook_sync
{
	my ($self, %given) = @_;
	my %where = map { $_ => $given{$_} } grep { $given{$_} } qw(role database);
	my @key = ref $given{primary_key} ? @{ $given{primary_key} } : $given{primary_key};
	my ($name, $query, $mode, $mappings, $options, $config) = quote(
		$given{name}, $given{query}, $given{mode} // 'upsert',
		$given{field_mappings}, $given{options} // {},
		{ url => $given{url}, %{ $given{config} // {} } });
	my $columns = join ', ', quote(@key);

	return $self->sql(<<"SQL", %where);
SELECT signalsmith.create_model($name, $query, ARRAY[$columns]) \\g /dev/null
SELECT signalsmith.create_destination($name, 'webhook', $config) \\g /dev/null
SELECT signalsmith.create_sync($name, $name, $name, $mode, $mappings,
	options => $options);
SQL
}

#
# Runs
#

# Triggers a sync and returns the run's id.
sub trigger
{
	my ($self, $sync, %options) = @_;
	my $full = $options{full_resync} ? 'true' : 'false';
	return $self->sql('SELECT signalsmith.trigger_sync(' . quote($sync) . ", $full)", %options);
}

# Waits for the end of a run and returns its row of signalsmith.runs as a hash.
sub wait_for_run
{
	my ($self, $run, %options) = @_;
	my $timeout = $options{timeout} // $PostgreSQL::Test::Utils::timeout_default;
	$self->sql('SELECT signalsmith.wait_for_run(' . quote($run) . ", '$timeout s')", %options);
	return $self->run($run, %options);
}

# A run's row of signalsmith.runs.
sub run
{
	my ($self, $run, %options) = @_;
	return $self->json('SELECT to_json(r) FROM signalsmith.runs r WHERE id = ' . quote($run), %options);
}

# Triggers a sync, waits, and returns the run's row.
sub run_sync
{
	my ($self, $sync, %options) = @_;
	return $self->wait_for_run($self->trigger($sync, %options), %options);
}

# A sync's row of signalsmith.syncs.
sub sync
{
	my ($self, $sync, %options) = @_;
	return $self->json('SELECT to_json(s) FROM signalsmith.syncs s WHERE name = ' . quote($sync), %options);
}

# The row errors of a run, by key.
sub row_errors
{
	my ($self, $run, %options) = @_;
	return @{ $self->json(
			q{SELECT coalesce(json_agg(e ORDER BY key::text), '[]')
			FROM signalsmith.row_errors e WHERE run_id = } . quote($run), %options) };
}

# One test: the figures of a run are these.
sub run_is
{
	my ($self, $run, $expected, $name) = @_;
	my %got = map { $_ => $run->{$_} } keys %$expected;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply(\%got, $expected, $name)
	  or diag($json->pretty->encode($run), $json->pretty->encode([ $self->row_errors($run->{id}) ]));
	$json->pretty(0);
	return;
}

#
# History
#

# What a webhook destination should hold, as JSON text for the recorder's check:
# a query with the columns key (a JSON object) and data (JSON).
sub expected_table
{
	my ($self, $query, %options) = @_;
	return $self->sql(
		"SELECT coalesce(json_object_agg(key::text, data), '{}') FROM ($query) AS expected", %options);
}

# One test: invariants I1 to I5 hold for the recorder's history, given the query
# of what the destination should hold, less the rows that failed in the given run.
# Options: run, crashes; runs => sync has I2 and I6 looked at for all its runs.
sub check_delivery
{
	my ($self, $recorder, $query, $name, %options) = @_;
	my $table = $self->expected_table($query);
	my @failed = $options{run} ? map { $json->encode($_->{key}) } $self->row_errors($options{run}) : ();
	my $crashes = $options{crashes} // 0;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $runs = $options{runs} ? ',"runs":' . $self->runs_to_check($options{runs}) : '';
	$recorder->check_history($name,
		'{"table":' . $table . ',"failed":' . $json->encode(\@failed) . qq(,"crashes":$crashes$runs}));
	return;
}

# The runs of a sync, as the recorder's check wants to know them.
sub runs_to_check
{
	my ($self, $sync) = @_;
	return $self->sql(q{SELECT json_object_agg(id, json_build_object('confirmed', rows_created + rows_updated + rows_deleted,
		'complete', status = 'completed' AND rows_failed = 0)) FROM signalsmith.runs WHERE sync = } . quote($sync));
}

# One test: I6, the run's figures are those of the history.  The history is that
# of this run alone.
sub check_figures
{
	my ($self, $recorder, $run, $name) = @_;
	my @requests = grep { $_->{body} =~ /"run_id": ?"\Q$run->{id}\E"/ } $recorder->history;
	my %acknowledged;
	for my $request (@requests)
	{
		next unless $request->{answered} && $request->{status} < 300;
		my $body = $json->decode($request->{body});
		$acknowledged{ $_->{idempotency_key} } = $_->{operation}
		  for $body->{records} ? @{ $body->{records} } : $body->{metadata};
	}
	my %count = (create => 0, update => 0, delete => 0);
	$count{$_}++ for values %acknowledged;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply(
		{ map { $_ => $run->{$_} } qw(requests rows_created rows_updated rows_deleted) },
		{
			requests     => scalar(@requests),
			rows_created => $count{create},
			rows_updated => $count{update},
			rows_deleted => $count{delete}
		},
		$name);
	return;
}

#
# Processes
#

# The process id of the runner that is at work, once there is one.
sub runner_pid
{
	my ($self) = @_;
	my $query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'signalsmith runner'";
	$self->poll_query_until('postgres', "SELECT EXISTS ($query)")
	  or die 'there is no runner';
	return $self->sql("$query LIMIT 1");
}

# Kills a process and waits until the server has restarted itself.
sub kill_and_wait_for_restart
{
	my ($self, $pid) = @_;
	my $started = $self->sql('SELECT pid, backend_start FROM pg_stat_activity WHERE backend_type = ' . quote('checkpointer'));
	kill 'KILL', $pid or die "could not kill $pid: $!";
	$self->wait_until(
		'the server restarts',
		sub {
			my $now = $self->ask(q{SELECT pid, backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
			return $now ne '' && $now ne $started;
		});
	return;
}

# Waits for a condition that is no query.
sub wait_until
{
	my ($self, $what, $condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($condition->())
	{
		die "waited in vain until $what" if time > $deadline;
		sleep 0.05;
	}
	return;
}

1;
