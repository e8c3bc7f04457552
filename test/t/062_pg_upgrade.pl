# pg_upgrade: nothing of ours runs in the servers that it starts, everything is
# kept, and the new cluster sends once somebody has said that it is the successor.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use File::Find;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;

my ($bin) = split /\n/, (run_command([ 'pg_config', '--bindir' ]))[0];
plan skip_all => 'there is no pg_upgrade' unless -x "$bin/pg_upgrade";

# Registering a worker is told at this level.
my $conf = 'log_min_messages = debug1';
my $recorder = Signalsmith::Recorder->start;
my $old = Signalsmith::Cluster->start_new('old', conf => $conf);
my $new = Signalsmith::Cluster->start_new('new', conf => $conf, extension => 0);
$new->stop;

$old->sql(q{
	CREATE ROLE ann LOGIN IN ROLE signalsmith_user;
	CREATE TABLE people (id int PRIMARY KEY, name text);
	GRANT SELECT ON people TO ann;
	INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i});
$old->create_webhook_sync(
	name => 'people', query => 'SELECT id, name FROM people', primary_key => 'id', mode => 'mirror', url => $recorder->url, role => 'ann');
$old->sql(q{SELECT signalsmith.update_sync('people', '{"schedule":{"type":"interval","interval_minutes":60}}')});
$old->run_sync('people');

# Something is due at once, and a run waits, in the middle of its work.
$recorder->rules({ nth => 3, hold => 1 });
$old->sql(q{UPDATE people SET name = name || '.'});
my $run = $old->trigger('people');
$recorder->wait_for(held => 1);
$old->set('signalsmith.enabled = off');
$old->sql(q{UPDATE signalsmith.sync SET next_run_at = now() - interval '1 hour'});
my $id = $old->sql(q{SELECT system_identifier FROM pg_control_system()});
$old->stop('fast');
$recorder->rules;
my $requests = $recorder->figures->{requests};

# The clusters log where pg_upgrade keeps its own files.
my $directory = PostgreSQL::Test::Utils::tempdir;
chdir $directory or die;
my @command = ('pg_upgrade', '--no-sync', '--retain', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
	'-s', $directory, '-p', $old->port, '-P', $new->port);
command_ok([ @command, '--check' ], 'pg_upgrade --check is content');
command_ok([ @command, '--link' ], 'pg_upgrade --link works');
my $logs = '';
find({ no_chdir => 1, wanted => sub { $logs .= slurp_file($_) if -f && /\.log$/ } }, $new->data_dir . '/pg_upgrade_output.d');
like($logs, qr/database system is ready to accept connections/, 'its servers have a log');
unlike($logs, qr/registering background worker "signalsmith|starting background worker process "signalsmith/, 'in which no worker of ours appears');
is($recorder->figures->{requests}, $requests, 'nothing was sent meanwhile');

$new->start;
isnt($new->sql(q{SELECT system_identifier FROM pg_control_system()}), $id, 'the new cluster is another one');
like($new->sql_error(q{SELECT signalsmith.trigger_sync('people')}), qr/sends nothing, because it was restored into another cluster.*adopt_instance/s, 'and sends nothing, as any copy');
$new->wait_until('the log says so', sub { slurp_file($new->logfile) =~ /signalsmith sends nothing from database "postgres"/ });
is($new->sync('people')->{rows_in_snapshot}, 1000, 'it knows what the destination has');
is($new->run($run)->{status}, 'running', 'and which run was at work');
is($recorder->figures->{requests}, $requests, 'but goes on with nothing');

$new->sql(q{SELECT signalsmith.adopt_instance('continue')});
$new->run_is($new->wait_for_run($run), { status => 'completed', rows_updated => 1000, rows_failed => 0 }, 'adopted, it goes on where the old one was');
ok($new->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM signalsmith.runs WHERE trigger = 'schedule' AND status = 'completed')}), 'and with the schedule');
$new->run_is($new->run_sync('people'), { status => 'completed', rows_unchanged => 1000, requests => 0 }, 'nothing is left to be sent');
$new->check_delivery($recorder, q{SELECT json_build_object('id', id) AS key, to_json(p) AS data FROM people p}, 'and the destination is as the model', crashes => 1);

done_testing();
