# Answers that are made to do harm: whatever a destination says, little of it is read,
# the run ends, what it says of a row is told in few and proper words, and nothing
# that is no acknowledgement is taken for one.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Signalsmith::Cluster qw(quote);
use Signalsmith::Recorder;
use Test::More;
use Time::HiRes qw(time);

my $node = Signalsmith::Cluster->start_new('main');
my $hostile = Signalsmith::Recorder->start_hostile;
$node->sql(q{CREATE TABLE things AS SELECT 1 AS id; SELECT signalsmith.create_model('things', 'SELECT id FROM things', '{id}')});

# Runs a sync whose destination answers that way, and returns the run.
sub run_with
{
	my ($answer) = @_;
	my $config = quote({
		base_url => $hostile->url("/$answer"), operations => { upsert => {
			request => { method => 'POST', envelope => { rows => '{{rows}}' } },
			respond => { rows => { mode => 'positional', items => '$.results[*]', error => '$.error',
				class => [ { if => '$.status == "ok"', is => 'ok' }, { if => '$.status == "bad"', is => 'rejected' } ] } } } } });
	$node->sql("SELECT signalsmith.create_destination('$answer', 'http', $config);
		SELECT signalsmith.create_sync('$answer', 'things', '$answer', options => '{\"timeout_seconds\": 2, \"max_attempts\": 1}')");
	my $began = time;
	my $run = $node->run_sync($answer);
	cmp_ok(time - $began, '<', 20, "$answer: the run ends in time");
	return $run;
}

sub bytes_sent
{
	my ($answer) = @_;
	my $figures = HTTP::Tiny->new->get($hostile->url('/figures'));
	return decode_json($figures->{content})->{$answer}{bytes};
}

# --- what says nothing of the row leaves it unknown
for my $answer (qw(huge_body huge_chunks gzip_bomb endless_headers endless_header_line endless_continue truncated_chunks
	truncated_body bad_chunk_size negative_length no_status_line binary_noise status_zero slow_headers slow_body silence hang_up
	json_deep json_many_results json_two_documents json_long_number json_large_exponent))
{
	my $run = run_with($answer);
	is($run->{rows_created}, 0, "$answer: is no acknowledgement");
	is_deeply([ map { $_->{outcome} } $node->row_errors($run->{id}) ], ['unknown'], "$answer: the outcome is unknown")
	  or diag(encode_json([ $run, $node->row_errors($run->{id}) ]));
}

# --- of what has no end little is read: the server gets rid of a few megabytes, which
# is mostly what the two kernels hold
cmp_ok(bytes_sent($_), '<', 32 * 1024 * 1024, "$_: is not read to its end") for qw(huge_body huge_chunks gzip_bomb endless_headers endless_header_line);

# --- what says that the row is bad says so in proper words
my %words = (
	json_zero_bytes => 'a?b', json_escaped_zero => 'a?b?c', json_invalid_utf8 => 'a?(b', json_long_message => undef);
for my $answer (sort keys %words)
{
	my ($error) = $node->row_errors(run_with($answer)->{id});
	is($error->{outcome}, 'rejected', "$answer: the row is rejected");
	cmp_ok(length $error->{message}, '<', 2000, "$answer: which takes few words");
	is($error->{message} =~ s/(\xef\xbf\xbd)+/?/gr, $words{$answer}, "$answer: and proper ones") if defined $words{$answer};
}

# --- what is right is taken, whatever it is called
for my $answer (qw(json_byte_order_mark json_as_text))
{
	is(run_with($answer)->{rows_created}, 1, "$answer: is an acknowledgement");
}

is($node->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'signalsmith launcher'}), 1, 'the server is up');
unlike(slurp_file($node->logfile), qr/was terminated by signal/, 'and was, all the time');

done_testing();
