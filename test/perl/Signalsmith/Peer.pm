# Programs that others have written, as destinations: what they accept, our own
# servers cannot have made too easy.
#
#     my $peer = Signalsmith::Peer->start_json_server({ contacts => [] });
#     ... $peer->url('/contacts') ...
#     my $contacts = $peer->get('/contacts');
#
# The npm packages are those of test/peers, which test/check installs for the TAP
# files that say Signalsmith::Peer; "npm ci --ignore-scripts" there does the same.
# A peer ends with its object, or with the test.
package Signalsmith::Peer;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my $modules = abs_path(dirname(__FILE__) . '/../../peers') . '/node_modules';
my $json = JSON::PP->new->utf8->allow_nonref->canonical;

# Starts a program that listens at "port" and works in "directory", where its
# output goes to the file "log".  Its command comes from a function of these two.
sub start
{
	my ($class, $command, %options) = @_;
	my $self = bless {
		port => PostgreSQL::Test::Cluster::get_free_port(),
		directory => $options{directory} // PostgreSQL::Test::Utils::tempdir(),
		http => HTTP::Tiny->new(timeout => 60),
	}, $class;
	my @command = $command->($self->{port}, $self->{directory});
	die "there is no $command[0]" unless -e $command[0];
	$self->{pid} = fork // die "could not fork: $!";
	$self->become(@command) unless $self->{pid};
	$self->wait_until_it_listens($command[0]);
	return $self;
}

# In the child: POSIX::_exit, since the test's END blocks are not its own.
sub become
{
	my ($self, @command) = @_;
	chdir $self->{directory};
	open STDIN, '<', '/dev/null';
	open STDOUT, '>', 'log';
	open STDERR, '>&', \*STDOUT;
	exec @command or POSIX::_exit(127);
}

sub wait_until_it_listens
{
	my ($self, $program) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until (IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}))
	{
		my $ended = waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid};
		die "$program does not listen: " . slurp_file("$self->{directory}/log") if $ended || time > $deadline;
		sleep 0.05;
	}
	return;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	kill 'TERM', $pid;
	waitpid $pid, 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	$self->stop;
	return;
}

sub url
{
	my ($self, $path) = @_;
	return "http://127.0.0.1:$self->{port}" . ($path // '');
}

# Asks the peer itself: method, path, and perhaps a value to send as JSON.  As
# "user", a name and a password with a colon, if there is one.
sub request
{
	my ($self, $method, $path, $content) = @_;
	my %options = defined $content ? (content => $json->encode($content), headers => { 'Content-Type' => 'application/json' }) : ();
	my $url = $self->url($path);
	$url =~ s{//}{//$self->{user}@} if $self->{user};
	my $answer = $self->{http}->request($method, $url, \%options);
	die "$method $path: $answer->{status} $answer->{content}" unless $answer->{success};
	return $answer->{content} eq '' ? undef : $json->decode($answer->{content});
}

sub get
{
	my ($self, $path) = @_;
	return $self->request(GET => $path);
}

#
# The programs
#

# https://www.npmjs.com/package/json-server: REST over a JSON file.
sub start_json_server
{
	my ($class, $tables) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$directory/db.json", $json->encode($tables));
	return $class->start(
		sub { ('/usr/bin/node', "$modules/json-server/lib/cli/bin.js", '--host', '127.0.0.1', '--port', $_[0], 'db.json') },
		directory => $directory);
}

# https://www.npmjs.com/package/pouchdb-server: the protocol of CouchDB.
sub start_pouchdb_server
{
	my ($class) = @_;
	return $class->start(
		sub { ('/usr/bin/node', "$modules/pouchdb-server/bin/pouchdb-server", '--host', '127.0.0.1', '--port', $_[0], '--in-memory') });
}

# https://github.com/adnanh/webhook: it runs the command of a hook if its rules hold.
sub start_webhook
{
	my ($class, @hooks) = @_;
	return $class->start(
		sub {
			my ($port, $directory) = @_;
			append_to_file("$directory/hooks.json", $json->encode(\@hooks));
			return ('/usr/bin/webhook', '-hooks', 'hooks.json', '-ip', '127.0.0.1', '-port', $port);
		});
}

# nginx with what is given in its block "server", as a process that forks no workers.
sub start_nginx
{
	my ($class, $zones, $server) = @_;
	return $class->start(
		sub {
			my ($port, $directory) = @_;
			my $temporary = join '', map { "${_}_temp_path temporary;\n" } qw(client_body proxy fastcgi uwsgi scgi);
			mkdir "$directory/files";
			append_to_file("$directory/nginx.conf", <<"CONF");
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {}
http {
access_log off;
$temporary$zones
server { listen 127.0.0.1:$port; root files; $server }
}
CONF
			return ('/usr/sbin/nginx', '-p', $directory, '-e', "$directory/error.log", '-c', "$directory/nginx.conf");
		});
}

# A script that is given the port and runs with the packages of test/peers at hand.
sub start_node_script
{
	my ($class, $script) = @_;
	return $class->start(
		sub {
			my ($port, $directory) = @_;
			symlink $modules, "$directory/node_modules";
			append_to_file("$directory/server.mjs", $script);
			return ('/usr/bin/node', "$directory/server.mjs", $port);
		});
}

1;
