# Google's Data Manager and Sheets, against servers that answer as they do.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Vendors;
use Test::More;

my $vendors = Signalsmith::Vendors->start;
my $node = $vendors->start_cluster('main');
my $key = PostgreSQL::Test::Utils::tempdir() . '/key.pem';
run_command([ 'openssl', 'genrsa', '-out', $key, '2048' ]);
my %robot = (service_account => 'robot@example.iam.gserviceaccount.com');
my %secrets = (private_key => slurp_file($key));

# Assertions differ each time.
sub without_assertions
{
	my (@requests) = @_;
	for (@requests) { $_->[2]{assertion} = 'JWT' if ref $_->[2] eq 'HASH' && $_->[2]{assertion} }
	return \@requests;
}
my $token = [ POST => '/token', { grant_type => 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion => 'JWT' } ];

#
# Data Manager: all that it says is that it has the request
#

sub members
{
	my ($operation, @emails) = @_;
	return [ POST => "/v1/audienceMembers:$operation", {
			destinations => [ { operatingAccount => { accountType => 'GOOGLE_ADS', accountId => '123' }, productDestinationId => 'audience' } ],
			audienceMembers => [ map { { userData => { userIdentifiers => [ { emailAddress => sha256_hex($_) } ] } } } @emails ], encoding => 'HEX',
			$operation eq 'ingest' ? (consent => { adUserData => 'CONSENT_GRANTED' }, termsOfService => { customerMatchTermsOfServiceStatus => 'ACCEPTED' }) : () } ];
}
$vendors->reset;
$vendors->{seen} = 0;
my %data_manager = (
	object => 'audience', mode => 'mirror', secrets => \%secrets,
	config => { %robot, account_id => '123', ad_user_data => 'CONSENT_GRANTED', token_url => $vendors->url('datamanager') . '/token' },
	mappings => [ { source => 'email', destination => 'email', identifier => JSON::PP::true } ]);
$vendors->set_up($node, 'google_data_manager', 'datamanager', 'members', %data_manager);
$node->sql(q{UPDATE members SET email = ' Bob.Smith+news@GMail.com' WHERE id = 2});
$node->run_is($node->run_sync('members'), { status => 'completed', rows_created => 3, rows_failed => 0 }, 'members are added');
is_deeply(without_assertions($vendors->requests), [ $token, members('ingest', 'ann@example.com', 'bobsmith@gmail.com', 'cid@example.com') ], 'normalised and hashed');
$node->sql(q{DELETE FROM members WHERE id = 3; UPDATE members SET email = 'ann.smith@example.com' WHERE id = 1});
$vendors->set('datamanager', throttle => 1, expire => JSON::PP::true);
$node->run_is($node->run_sync('members'), { status => 'completed', rows_created => 1, rows_deleted => 2, rows_failed => 0 }, 'members are removed, and one has another address');
my @requests = grep { $_->[1] ne '/token' } $vendors->requests;
is_deeply([ @requests[ -2, -1 ] ], [ members('remove', 'ann@example.com', 'cid@example.com'), members('ingest', 'ann.smith@example.com') ],
	'though the token had expired, and Google throttled')
  or diag(explain(\@requests));
is_deeply([ sort keys %{ $vendors->held('datamanager', 'audience') } ], [ sort map { sha256_hex($_) } 'ann.smith@example.com', 'bobsmith@gmail.com' ], 'Google has them');
like($node->sql_error(q{SELECT signalsmith.create_sync('plan', 'members', 'members', object => 'audience', field_mappings => '{"plan": "plan"}')}), qr/plan/, 'a field that there is not');

#
# Sheets: a row is known by its number, which is looked up each time
#

my $sheet = '/v4/spreadsheets/S1/values';
my $look = [ GET => "$sheet/'People'!A:A?valueRenderOption=UNFORMATTED_VALUE", undef ];
sub appended
{
	return [ POST => "$sheet/'People'!A1:append?insertDataOption=INSERT_ROWS&valueInputOption=RAW", { majorDimension => 'ROWS', values => [@_] } ];
}
my @ann = (1, 'ann@example.com', 'free');
my @bob = (2, 'bob@example.com', 'pro');
my @cid = (3, 'nonsense', 'free');
$vendors->reset;
$vendors->{seen} = 0;
$vendors->set_up($node, 'google_sheets', 'sheets', 'people', object => 'People', secrets => \%secrets,
	config => { %robot, spreadsheet_id => 'S1', token_url => $vendors->url('sheets') . '/token' },
	mappings => [ { source => 'id', destination => 'key', identifier => JSON::PP::true }, { source => 'email', destination => 'email' }, { source => 'plan', destination => 'plan' } ]);
$node->sql(q{UPDATE people SET email = 'nonsense' WHERE id = 3});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_created => 2, rows_failed => 1 }, 'rows are appended, but one that is refused');
is_deeply(without_assertions($vendors->requests), [ $token, $look, appended(\@ann, \@bob, \@cid), appended(\@ann), appended(\@bob, \@cid), appended(\@bob), appended(\@cid) ], 'which halving finds')
  or diag(explain([ $vendors->requests ]));

# Somebody has inserted a row above.
$vendors->set('sheets', tables => { People => { 1 => ['key'], 2 => ['a note'], 3 => [@ann], 4 => [@bob] } });
$node->sql(q{DELETE FROM people WHERE id = 3; UPDATE people SET plan = 'max' WHERE id = 2; INSERT INTO people VALUES (5, 'eve@example.com', 'free')});
$vendors->set('sheets', throttle => 1);
$node->run_is($node->run_sync('people'), { status => 'completed', rows_updated => 1, rows_created => 1, rows_failed => 0 }, 'a row is updated where it is now, and one is appended');
is_deeply($vendors->held('sheets', 'People'), { 1 => ['key'], 2 => ['a note'], 3 => \@ann, 4 => [ 2, 'bob@example.com', 'max' ], 5 => [ 5, 'eve@example.com', 'free' ] }, 'and nothing else is touched');

# What is there already is not appended again.
$node->sql(q{SELECT signalsmith.reset_sync('people')});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_failed => 0 }, 'all rows are sent anew');
is(scalar(keys %{ $vendors->held('sheets', 'People') }), 5, 'and none is there twice');
like($node->sql_error(q{SELECT signalsmith.update_sync('people', '{"mode": "mirror"}')}), qr/no delete operation/, 'rows are never deleted');
$vendors->set('sheets', expire => JSON::PP::true);
$node->sql(q{UPDATE people SET plan = 'x' WHERE id = 1});
$node->run_is($node->run_sync('people'), { status => 'completed', rows_updated => 1 }, 'a token that has expired is renewed');

# With the refresh token of a user.
$node->sql(q{SELECT signalsmith.create_destination('user', 'google_sheets', } . quote({ base_url => $vendors->url('sheets'), token_url => $vendors->url('sheets') . '/token',
			grant => 'refresh_token', client_id => 'me', spreadsheet_id => 'S1' }) . ')');
$vendors->set_secrets($node, 'user', client_secret => 's', refresh_token => '1//refresh');
is($node->sql(q{SELECT bool_and(ok) FROM signalsmith.test_destination('user')}), 't', 'a refresh token');

done_testing();
