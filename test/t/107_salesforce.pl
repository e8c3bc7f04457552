# Salesforce, against a server that answers as it does: three ways to a token, 200
# whatever becomes of the records, ids of its own for updates and deletes.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');
my $data = '/services/data/v62.0';

my $token = [ POST => '/services/oauth2/token', { grant_type => 'client_credentials', client_id => 'consumer-key', client_secret => 'consumer-secret' } ];
sub contact
{
	my ($id, $name, $email, %more) = @_;
	return { attributes => { type => 'Contact' }, Row__c => $id, LastName => $name, Email => $email, %more };
}
my @contacts = (
	object => 'Contact', url_in => 'login_url', config => { client_id => 'consumer-key' }, secrets => { client_secret => 'consumer-secret' },
	mappings => [ { source => 'id', destination => 'Row__c', identifier => JSON::PP::true },
		{ source => 'plan', destination => 'LastName' }, { source => 'email', destination => 'Email' } ]);
my $sync = $vendors->prove(
	$node, 'salesforce', @contacts,
	holds => 'Contact', bad => { email => 'nonsense' }, rejected => qr/invalid email address: nonsense/, expired => 'refresh',
	create => [ $token, [ PATCH => "$data/composite/sobjects/Contact/Row__c", { allOrNone => JSON::PP::false, records => [
				contact(1, 'free', 'ann@example.com'), contact(2, 'pro', 'bob@example.com'), contact(3, 'free', 'nonsense') ] } ] ],
	update => [ [ PATCH => "$data/composite/sobjects", { allOrNone => JSON::PP::false, records => [ contact(1, 'pro', 'ann@example.com', id => '003000000000001AAA') ] } ] ],
	delete => [ [ DELETE => "$data/composite/sobjects?ids=003000000000002AAA&allOrNone=false", undef ] ]);
is((grep { $_->{code} eq 'INVALID_EMAIL_ADDRESS' && $_->{http_status} == 200 } $node->row_errors('run_1')), 1, 'the code of a record that was refused with status 200');
$vendors->prove_lookup(
	$node, 'salesforce', @contacts,
	requests => [ [ GET => "$data/sobjects/Contact/Row__c/1?fields=Id", undef ], [ DELETE => "$data/composite/sobjects?ids=003000000000001AAA&allOrNone=false", undef ] ]);

# A record that is locked is sent again, alone; one that somebody has deleted is made again.
$vendors->reset;
$node->sql("TRUNCATE $sync; INSERT INTO $sync VALUES (11, 'ann\@example.com', 'Ann'), (12, 'bob\@example.com', 'Bob'); SELECT signalsmith.reset_sync('$sync')");
$vendors->set('salesforce', lock => 1);
$node->run_is($node->run_sync($sync), { status => 'completed', rows_created => 2, rows_failed => 0 }, 'a record that was locked');
my @sizes = map { scalar @{ decode_json($_->{body})->{records} } } grep { $_->{method} eq 'PATCH' && $_->{status} == 200 } $vendors->history;
is_deeply(\@sizes, [ 2, 1 ], 'is sent again, and not the one beside it');
$vendors->set('salesforce', tables => { Contact => {} });
$node->sql("UPDATE $sync SET plan = 'Anna' WHERE id = 11");
$node->run_is($node->run_sync($sync), { status => 'completed', rows_failed => 0 }, 'one that was deleted at Salesforce');
is_deeply([ map { $_->{LastName} } values %{ $vendors->held('salesforce', 'Contact') } ], ['Anna'], 'is made again when it changes');

# Mistakes are found when they are made.
my $valid = quote({ login_url => $vendors->url('salesforce'), client_id => 'consumer-key' });
like($node->sql_error("SELECT signalsmith.create_sync('s', '$sync', '$sync', object => 'Contact', field_mappings => '{\"id\": \"Row__c\"}')"),
	qr/LastName/, 'a contact without a last name');
like($node->sql_error(q{SELECT signalsmith.create_destination('x', 'salesforce', } . quote({ login_url => $vendors->url('salesforce'), client_id => 'k', grant => 'jwt_bearer' }) . ')'),
	qr/at "username"\nDETAIL:  Grant "jwt_bearer" requires it/, 'a grant that lacks something');

# An external id that there is not ends the run, and blames no record.
$node->sql("SELECT signalsmith.create_sync('wrong', '$sync', '$sync', object => 'Contact', field_mappings => " .
	quote([ { source => 'id', destination => 'NoSuch', identifier => JSON::PP::true }, { source => 'plan', destination => 'LastName' } ]) . ')');
my $run = $node->run_sync('wrong');
$node->run_is($run, { status => 'failed', rows_failed => 0 }, 'an external id that there is not');
like($run->{error}, qr/refuses this sync: Provided external ID field does not exist/, 'is the reason');

# The quota of the day.
$vendors->rules({ path => '/composite/', status => 403, body => [ { message => 'TotalRequests Limit exceeded.', errorCode => 'REQUEST_LIMIT_EXCEEDED' } ] });
$node->sql("UPDATE $sync SET plan = plan || '!'");
$run = $node->run_sync($sync);
like($run->{error}, qr/asks to be left alone until/, 'when the calls of the day are used up, the run ends');
is($run->{rows_failed}, 0, 'no record is blamed');
is($node->sync($sync)->{status}, 'active', 'and the sync goes on later');
$vendors->rules;

# The other two ways to a token.
my $key = PostgreSQL::Test::Utils::tempdir() . '/key.pem';
run_command([ 'openssl', 'genrsa', '-out', $key, '2048' ]);
for my $grant ([ 'refresh_token', {}, { client_secret => 'consumer-secret', refresh_token => 'refresh-1' } ],
	[ 'jwt_bearer', { username => 'ann@example.com', audience => 'https://test.salesforce.com' }, { private_key => slurp_file($key) } ])
{
	my ($name, $config, $secrets) = @$grant;
	$node->sql("SELECT signalsmith.create_destination('$name', 'salesforce', " . quote({ login_url => $vendors->url('salesforce'), client_id => 'consumer-key', grant => $name, %$config }) . ')');
	$vendors->set_secrets($node, $name, %$secrets);
	is($node->sql("SELECT bool_and(ok) FROM signalsmith.test_destination('$name')"), 't', "$name: a token, and its proof");
}

done_testing();
