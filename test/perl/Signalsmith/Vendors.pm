# The vendors' APIs of test/server/vendors.py, and the proof that a connector
# speaks with one of them.
#
#     my $vendors = Signalsmith::Vendors->start;
#     $vendors->prove($node, 'braze', config => {...}, secrets => {...}, ...);
package Signalsmith::Vendors;

use strict;
use warnings;
use parent 'Signalsmith::Recorder';

use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Test::More;

my $json = JSON::PP->new->utf8->allow_nonref->canonical;

sub start
{
	my ($class) = @_;
	my $self = Signalsmith::Recorder::start_server($class, 'vendors.py');
	$self->{scheme} = 'http';
	$self->{http} = HTTP::Tiny->new(timeout => 300);
	return $self;
}

# A cluster with a key for secrets.
sub start_cluster
{
	my ($self, $name) = @_;
	my $key_file = PostgreSQL::Test::Utils::tempdir() . '/signalsmith.key';
	append_to_file($key_file, '0123456789abcdef' x 4 . "\n");
	chmod 0600, $key_file;
	return Signalsmith::Cluster->start_new($name, conf => "signalsmith.key_file = '$key_file'\n");
}

# The base URL of a vendor.
sub url
{
	my ($self, $vendor) = @_;
	return "http://127.0.0.1:$self->{port}/$vendor";
}

# Changes how a vendor behaves: set('braze', throttle => 1); see vendors.py.
sub set
{
	my ($self, $vendor, %changes) = @_;
	$self->control('PUT', "/vendor/$vendor", \%changes);
	return;
}

# Requests since the last call, as [METHOD, path with query, body].  Bodies are
# decoded where they are JSON, lines of it or a form, and every UUID is "UUID".
sub requests
{
	my ($self) = @_;
	my @history = $self->history($self->{seen} + 1);
	$self->{seen} += @history;
	return map { [ $_->{method}, uuidless($_->{raw_path} =~ s{^/[^/]+}{}r), $self->content($_) ] } @history;
}

# Every UUID of the text as "UUID".
sub uuidless
{
	my ($text) = @_;
	return $text =~ s/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/gr;
}

sub content
{
	my ($self, $request) = @_;
	my $body = $request->{body};
	return undef if $body eq '';
	return { map { map { decoded(tr/+/ /r =~ s/%(..)/chr hex $1/egr) } split /=/, $_, 2 } split /&/, $body }
	  if $request->{headers}{'content-type'} eq 'application/x-www-form-urlencoded';
	$body = uuidless($body);
	$body =~ s/$self->{without}//g if $self->{without};
	return [ map { JSON::PP->new->decode($_) } split /\n/, $body ]
	  if $request->{headers}{'content-type'} =~ m{^(application/x-ndjson|text/plain)$};
	return decoded($body);
}

# JSON objects and lists decoded, other text as it is.
sub decoded
{
	my ($text) = @_;
	return $text unless $text =~ /^[\[{]/;
	return eval { JSON::PP->new->decode($text) } // $text;
}

#
# Proofs
#

# Proves a connector with a table of people in every stage of their lives: rows
# that are accepted next to one that is refused, a change while the vendor
# throttles, a deletion, and credentials that have expired.  Given are
#
#   vendor       where it is other than the connector's name
#   path, url_in   what is below the vendor's URL, and where the config has it
#   object, config, secrets, mappings, mode, options
#   columns      of the model's table, beside id, email, plan
#   prepare      a statement about the table, %s, before anything is sent
#   without      what is cut from JSON bodies before they are compared
#   bad          column and value that make the vendor refuse row 3
#   rejected     what is said of row 3 then
#   holds        the table of the vendor that shows the state
#   change       what is changed of row 1, "plan = 'pro'" if not given
#   create, update, delete   the requests of each run, see requests()
#   expired      "error" (the sync ends in error, the default), "refresh" (nobody
#                notices), "unnoticed" (the vendor does not tell)
#
# Returns the sync's name.
sub prove
{
	my ($self, $node, $connector, %given) = @_;
	my $vendor = $given{vendor} // $connector;
	my $sync = join '_', $connector, grep { defined } $given{object};
	$sync =~ s/\W/_/g;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	subtest "$connector" . ($given{object} ? ", $given{object}" : '') => sub {
		$self->reset;
		$self->{seen} = 0;
		$self->{without} = $given{without};
		$self->set_up($node, $connector, $vendor, $sync, %given);
		$self->prove_creation($node, $sync, %given);
		$self->prove_update($node, $vendor, $sync, %given) if $given{update};
		$self->prove_deletion($node, $sync, %given) if $given{delete};
		$self->prove_expiry($node, $vendor, $sync, %given, connector => $connector);
	};
	return $sync;
}

# Proves that a record is deleted though its id at the vendor was never captured:
# it was sent when the connector did not know of ids yet.  Given are the same as
# for prove(), and "requests": those of the deletion of row 1.
sub prove_lookup
{
	my ($self, $node, $connector, %given) = @_;
	my $copy = join '_', $connector, 'copy', grep { defined } $given{object};
	my $manifest = $node->sql("SELECT signalsmith.get_connector('$connector')->'manifest'");
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	subtest "$connector, an id that is not known" => sub {
		$self->reset;
		$self->{seen} = 0;
		$node->sql("SELECT signalsmith.create_connector('$copy', " . quote(without_ids(JSON::PP->new->decode($manifest))) . ')');
		$self->set_up($node, $copy, $given{vendor} // $connector, $copy, %given, bad => undef, mode => 'upsert', prepare => 'DELETE FROM %s WHERE id > 1');
		$node->run_is($node->run_sync($copy), { rows_created => 1, rows_failed => 0 }, 'a record is made');
		$node->sql("SELECT signalsmith.update_connector('$copy', " . quote($manifest) . ')');
		$node->sql(qq{SELECT signalsmith.update_sync('$copy', '{"mode": "mirror"}')});
		$node->sql("DELETE FROM $copy");
		$self->requests;
		$node->run_is($node->run_sync($copy), { status => 'completed', rows_deleted => 1, rows_failed => 0 }, 'and deleted');
		my @requests = $self->requests;
		is_deeply(\@requests, $given{requests}, 'after the vendor was asked for its id') or diag($json->pretty->encode(\@requests));
		$json->pretty(0);
	};
	return;
}

sub without_ids
{
	my ($manifest) = @_;
	for my $operations (grep { defined } map { $_->{operations} } $manifest, values %{ $manifest->{objects} })
	{
		delete $operations->{delete};
		delete $_->{id} for map { ($_, @{ $_->{results} // [] }) } grep { defined } map { $_->{respond}{rows} } values %$operations;
	}
	return $manifest;
}

sub set_up
{
	my ($self, $node, $connector, $vendor, $sync, %given) = @_;
	my %config = (%{ $given{config} // {} }, ($given{url_in} // 'base_url') => $self->url($vendor) . ($given{path} // ''));
	my ($column, $value) = %{ $given{bad} // {} };
	$node->sql(<<"SQL");
CREATE TABLE $sync (id int PRIMARY KEY, email text, plan text);
INSERT INTO $sync VALUES (1, 'ann\@example.com', 'free'), (2, 'bob\@example.com', 'pro'), (3, 'cid\@example.com', 'free');
SQL
	$node->sql(sprintf $given{prepare}, $sync) if $given{prepare};
	$node->sql("UPDATE $sync SET $column = " . quote($value) . ' WHERE id = 3') if defined $column;
	$node->sql("SELECT signalsmith.create_model('$sync', 'SELECT id, email, plan FROM $sync ORDER BY id', ARRAY['id'])");
	$node->sql("SELECT signalsmith.create_destination('$sync', '$connector', " . quote(\%config) . ')');
	$self->set_secrets($node, $sync, %{ $given{secrets} // {} });
	$node->sql('SELECT signalsmith.create_sync(' . quote({
				name => $sync, model => $sync, destination => $sync, mode => $given{mode} // ($given{delete} ? 'mirror' : 'upsert'),
				field_mappings => $given{mappings}, options => { max_in_flight => 1, %{ $given{options} // {} } },
				defined $given{object} ? (object => $given{object}) : () }) . '::jsonb)');
	$self->prove_check($node, $connector, $sync, 't', qr/it takes the credentials/);
	return;
}

# What test_destination says, where the connector has a check.  Its requests are
# not among those that are compared later.
sub prove_check
{
	my ($self, $node, $connector, $destination, $ok, $detail) = @_;
	my $steps = "SELECT ok || ' ' || detail FROM signalsmith.test_destination('$destination') WHERE step = 'authenticate'";
	if ($node->sql("SELECT manifest ? 'check' FROM signalsmith.connector WHERE name = '$connector'") eq 't')
	{
		my $found = $node->sql($steps);
		like($found, $detail, 'check: what it proves');
		is(substr($found, 0, 1), $ok, 'check: or not');
	}
	$self->requests;
	return;
}

sub set_secrets
{
	my ($self, $node, $destination, %secrets) = @_;
	$node->sql("SELECT signalsmith.set_secret('$destination', " . join(', ', quote($_, $secrets{$_})) . ')')
	  for sort keys %secrets;
	return;
}

# What the vendor holds of the table that shows the state, by id.
sub held
{
	my ($self, $vendor, $table) = @_;
	return $self->state->{$vendor}{$table} // {};
}

sub prove_creation
{
	my ($self, $node, $sync, %given) = @_;
	my $refused = defined $given{rejected} ? 1 : 0;
	my $run = $node->run_sync($sync);
	$node->run_is($run, { status => 'completed', rows_created => 3 - $refused, rows_failed => $refused },
		'creation: ' . ($refused ? 'what is good goes, though one row is refused' : 'all rows go'));
	my @requests = $self->requests;
	is_deeply(\@requests, $given{create}, 'creation: the requests') or diag($json->pretty->encode(\@requests));
	$json->pretty(0);
	return unless $refused;
	my @errors = $node->row_errors($run->{id});
	is_deeply([ map { [ $_->{key}, $_->{operation}, $_->{outcome} ] } @errors ],
		[ [ { id => 3 }, 'create', 'rejected' ] ], 'creation: the row that was refused');
	like($errors[0]{message}, $given{rejected}, 'creation: and why');
	return;
}

# While the vendor throttles: the same bytes again, as late as it asks.
sub prove_update
{
	my ($self, $node, $vendor, $sync, %given) = @_;
	$node->sql("UPDATE $sync SET " . ($given{change} // "plan = 'pro'") . ' WHERE id = 1');
	$node->sql("DELETE FROM $sync WHERE id = 3");
	$self->set($vendor, throttle => 1) unless $given{never_throttled};
	my $before = $self->{seen};
	$node->run_is($node->run_sync($sync), { status => 'completed', rows_updated => 1, rows_failed => 0 },
		'update: is made, though the vendor throttles');
	my @history = $self->history($before + 1);
	my @requests = $self->requests;
	unless ($given{never_throttled})
	{
		cmp_ok($history[0]{status}, '>=', 400, 'update: first refused');
		is($history[1]{body}, $history[0]{body}, 'update: the same bytes once more');
		shift @requests;
	}
	is_deeply(\@requests, $given{update}, 'update: the requests') or diag($json->pretty->encode(\@requests));
	$json->pretty(0);
	return;
}

sub prove_deletion
{
	my ($self, $node, $sync, %given) = @_;
	my $vendor = $given{vendor} // (split /_/, $sync)[0];
	my @before = sort keys %{ $self->held($vendor, $given{holds}) };
	$node->sql("DELETE FROM $sync WHERE id = 2");
	$node->run_is($node->run_sync($sync), { status => 'completed', rows_deleted => 1, rows_failed => 0 }, 'deletion: one row');
	my @requests = $self->requests;
	is_deeply(\@requests, $given{delete}, 'deletion: the requests') or diag($json->pretty->encode(\@requests));
	$json->pretty(0);
	is(scalar(keys %{ $self->held($vendor, $given{holds}) }), @before - 1, 'deletion: the vendor holds one less');
	return;
}

sub prove_expiry
{
	my ($self, $node, $vendor, $sync, %given) = @_;
	my $expired = $given{expired} // 'error';
	return if $expired eq 'unnoticed';
	$node->sql("DELETE FROM $sync WHERE id = 3; INSERT INTO $sync VALUES (4, 'dan\@example.com', 'free')");
	if ($expired eq 'refresh')
	{
		$self->set($vendor, expire => JSON::PP::true);
		$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 1, rows_failed => 0 },
			'credentials: a token that has expired is renewed');
		return;
	}
	$self->set($vendor, revoke => JSON::PP::true);
	$self->prove_check($node, $given{connector}, $sync, 'f', qr/it refuses the credentials/);
	my $run = $node->run_sync($sync);
	$node->run_is($run, { status => 'failed', rows_created => 0, rows_failed => 0 }, 'credentials: the run fails, no row is blamed');
	is($node->sync($sync)->{status}, 'error', 'credentials: the sync is in error');
	$self->set($vendor, revoke => JSON::PP::false, throttle => $given{update} ? 0 : 1);
	$node->sql("SELECT signalsmith.resume_sync('$sync')");
	$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 1, rows_failed => 0 }, 'credentials: then it goes on');
	return;
}

1;
