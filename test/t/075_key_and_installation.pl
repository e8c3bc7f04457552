# The key file, the certificate authorities and egress, as check_installation()
# sees them; rotating the key; and what a wrong key is.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir;
my $node = Signalsmith::Cluster->start_new('main');
my $recorder = Signalsmith::Recorder->start;
$node->sql('CREATE ROLE bob LOGIN IN ROLE signalsmith_user; CREATE ROLE adm LOGIN IN ROLE signalsmith_admin');
my ($old_key, $new_key) = ('0123456789abcdef' x 4, 'fedcba9876543210' x 4);

sub check
{
	my ($name) = @_;
	return $node->sql("SELECT ok, detail FROM signalsmith.check_installation() WHERE name = '$name'", role => 'bob');
}

sub write_file
{
	my ($path, $text, $mode) = @_;
	unlink $path;
	append_to_file($path, $text);
	chmod $mode, $path or die "$path: $!";
	return $path;
}

# --- key files
is(check('signalsmith.key_file'), 'f|signalsmith.key_file is not set', 'no key file');
$node->create_webhook_sync(name => 'hook', role => 'bob', query => 'SELECT 1 AS id', primary_key => 'id', url => $recorder->url);
my $set = q{SELECT signalsmith.set_secret('hook', 'signing_secret', 'whsec_c2VjcmV0IG9mIGJvYiBhbmQgdGhlIGhvb2s=')};
like($node->sql_error($set, role => 'bob'), qr/key_file is not set.*openssl rand -hex 32/s, 'set_secret says how to make one');
my $in_data = $node->data_dir . '/signalsmith.key';
for my $case (
	[ 'missing', "$directory/missing", undef, 0, qr/cannot be opened/ ],
	[ 'readable by a group', "$directory/group", $old_key, 0640, qr/only the server's user can read/ ],
	[ 'readable by all', "$directory/all", $old_key, 0644, qr/only the server's user can read/ ],
	[ 'in the data directory', $in_data, $old_key, 0600, qr/outside the data directory/ ],
	[ 'relative', 'signalsmith.key', $old_key, 0600, qr/absolute path/ ],
	[ 'a directory', $directory, undef, 0, qr/file that only the server's user/ ],
	[ 'too short', "$directory/short", substr($old_key, 1), 0600, qr/64 hexadecimal digits/ ],
	[ 'not hexadecimal', "$directory/words", 'x' x 64, 0600, qr/64 hexadecimal digits/ ],
	[ 'empty', "$directory/empty", '', 0600, qr/64 hexadecimal digits/ ])
{
	my ($what, $path, $text, $mode, $problem) = @$case;
	write_file($path =~ m{^/} ? $path : $node->data_dir . "/$path", $text, $mode) if defined $text;
	$node->set("signalsmith.key_file = '$path'");
	my $seen = check('signalsmith.key_file');
	like($seen, qr/^f\|.*$problem/, "key file $what");
	my $error = $node->sql_error($set, role => 'bob');
	like($error, $problem, "key file $what: set_secret says so");
	unlike("$seen $error", qr/\Q$directory\E|$old_key|xxxx/, "key file $what: nobody is told where it is, nor what is in it");
}
unlink $in_data;

# --- a secret is bound to its key, destination and name
my $key_file = write_file("$directory/key", "$old_key\n", 0600);
$node->set("signalsmith.key_file = '$key_file'");
is(check('signalsmith.key_file'), 't|usable', 'a good key file');
$node->sql($set, role => 'bob');
$node->run_is($node->run_sync('hook', role => 'bob'), { status => 'completed', rows_created => 1 }, 'the secret opens');

# Expects a run to fail for this reason, with nothing sent.
sub expect_no_run
{
	my ($reason, $name) = @_;
	my $before = $recorder->figures->{connections};
	$node->sql(q{SELECT signalsmith.resume_sync('hook')});
	my $run = $node->wait_for_run($node->trigger('hook', full_resync => 1));
	$node->run_is($run, { status => 'failed', requests => 0 }, "$name: the run fails");
	like($run->{error}, $reason, "$name: and says why");
	unlike($run->{error}, qr/\Q$directory\E|$old_key|$new_key|secret of bob/, "$name: with nothing secret");
	is($recorder->figures->{connections}, $before, "$name: nothing has connected");
	return;
}

write_file($key_file, "$new_key\n", 0600);
expect_no_run(qr/key that signalsmith\.key_file does not have/, 'another key');
unlink $key_file;
expect_no_run(qr/cannot be opened/, 'the key file is gone');
write_file($key_file, "$old_key\n", 0600);
$node->sql(q{SELECT signalsmith.create_destination('other', 'webhook', '{"url": "http://127.0.0.1:1/"}')}, role => 'bob');
$node->sql(q{CREATE TABLE kept AS SELECT * FROM signalsmith.secret});
$node->sql(q{UPDATE signalsmith.secret SET destination_id = (SELECT id FROM signalsmith.destination WHERE name = 'other');
	UPDATE signalsmith.sync SET destination_id = (SELECT id FROM signalsmith.destination WHERE name = 'other')});
expect_no_run(qr/damaged, or was moved/, 'moved to another destination');
$node->sql(q{UPDATE signalsmith.sync SET destination_id = (SELECT id FROM signalsmith.destination WHERE name = 'hook');
	UPDATE signalsmith.secret s SET destination_id = k.destination_id, sealed = set_byte(s.sealed, 20, get_byte(s.sealed, 20) # 1) FROM kept k});
expect_no_run(qr/damaged/, 'changed by a bit');
$node->sql(q{UPDATE signalsmith.secret SET sealed = '\x00'});
expect_no_run(qr/damaged/, 'cut short');
$node->sql(q{UPDATE signalsmith.secret SET sealed = k.sealed FROM kept k});

# --- rotation: the new key first, then all secrets, then the old one goes
like($node->sql_error('SELECT signalsmith.rotate_key()', role => 'bob'), qr/permission denied/, 'a user does not rotate the key');
is($node->sql('SELECT signalsmith.rotate_key()', role => 'adm'), 0, 'no secret has another key');
write_file($key_file, "$new_key\n$old_key\n", 0600);
$node->sql(q{SELECT signalsmith.resume_sync('hook')});
$node->run_is($node->wait_for_run($node->trigger('hook', full_resync => 1)), { status => 'completed' }, 'with both keys, all goes on');
is($node->sql('SELECT signalsmith.rotate_key()', role => 'adm'), 1, 'one secret is encrypted anew');
write_file($key_file, "$new_key\n", 0600);
$node->run_is($node->wait_for_run($node->trigger('hook', full_resync => 1)), { status => 'completed' }, 'without the old key, too');

# --- the client, the authorities, egress
like(check('libcurl'), qr/^t\|libcurl [0-9.]+, OpenSSL/, 'the client is named');
like(check('signalsmith.ca_file'), qr/^t\|\//, 'the authorities of the system');
$node->set("signalsmith.ca_file = '$directory/none'");
is(check('signalsmith.ca_file'), "f|$directory/none: cannot be read: No such file or directory", 'no such file');
write_file("$directory/ca", "nothing\n", 0644);
$node->set("signalsmith.ca_file = '$directory/ca'");
is(check('signalsmith.ca_file'), "f|$directory/ca: does not begin with a certificate", 'no certificate');
is(check('egress'), 'f|all hosts, private networks too', 'egress is wide open');
$node->set("signalsmith.allowed_hosts = '*.example.com'");
is(check('egress'), 't|hosts: *.example.com, private networks too', 'or narrow');
is(check('shared_preload_libraries'), 't|signalsmith is loaded', 'what else is loaded is not told');

# --- every line can fail, and says what to do then
sub fails
{
	my ($line, $detail, $hint, $server, $role) = @_;
	like(($server // $node)->sql("SELECT ok, detail, hint FROM signalsmith.check_installation() WHERE name = '$line'", role => $role // 'bob'),
		qr/^f\|.*$detail.*\|.*$hint/s, "$line fails, with a hint");
	return;
}

fails('signalsmith.key_file', 'cannot be opened', 'openssl rand -hex 32') if $node->set("signalsmith.key_file = '$directory/none'");
fails('signalsmith.ca_file', 'does not begin with a certificate', 'install the package ca-certificates');
$node->set("signalsmith.ca_file = '$directory/none'");
fails('signalsmith.ca_file', 'No such file', 'signalsmith.ca_file');
$node->set("signalsmith.allowed_hosts = ''");
fails('egress', 'no host is allowed', 'Name some in signalsmith.allowed_hosts');
$node->set("signalsmith.allowed_hosts = '*'");
fails('egress', 'private networks too', 'name the hosts in signalsmith.allowed_hosts');
$node->set('signalsmith.enabled = off');
fails('signalsmith.enabled', 'off', 'ALTER SYSTEM SET signalsmith.enabled = on');
$node->set('signalsmith.max_workers = 30');
fails('worker slots', 'max_worker_processes is 20', 'Raise max_worker_processes');
$node->sql('CREATE ROLE team IN ROLE signalsmith_user; GRANT team TO bob');
is($node->sql(q{SET ROLE team; SELECT ok, detail, hint FROM signalsmith.check_installation() WHERE name = 'owner of syncs'}, role => 'bob'),
	'f|role "team" cannot log in|A sync runs connected as its owner: use a role with LOGIN and CONNECT.', 'owner of syncs fails, with a hint');
fails('pg_cron', 'pg_cron is not', 'Only cron schedules need it');

my $bare = Signalsmith::Cluster->new('bare');
$bare->init;
$bare->start;
$bare->sql('CREATE EXTENSION signalsmith');
fails('shared_preload_libraries', 'is not among them', 'Add signalsmith to shared_preload_libraries and restart', $bare, 'postgres');
fails('launcher', 'not running', 'It starts with the server', $bare, 'postgres');

done_testing();
