/*
 * transfer_answer.c
 *		What a request has come to, told from a transfer that is over.
 *
 * The question that everything else hangs on is whether a byte of the request
 * may have left us: result_of() says so, by libcurl's own count of what it sent.
 * Whatever text comes from outside is redacted before it becomes an error.
 */
#include "postgres.h"

#include "http/redact.h"
#include "http/transport_internal.h"

/* How far a request came that is over now. */
static HttpResult
result_of(const Transfer *transfer)
{
	long		request_size = 0;

	if (transfer->host_refused)
		return HTTP_REFUSED;
	if (transfer->not_started)
		return HTTP_NOT_SENT;
	if (transfer->code == CURLE_OK || transfer->body_cut)
		return HTTP_ANSWERED;
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_size);
	if (request_size > 0)
		return HTTP_UNKNOWN;
	return transfer->address_refused ? HTTP_REFUSED : HTTP_NOT_SENT;
}

static int64
elapsed_us(const Transfer *transfer, CURLINFO what)
{
	curl_off_t	microseconds = 0;

	curl_easy_getinfo(transfer->easy, what, &microseconds);
	return microseconds;
}

static int
elapsed_ms(const Transfer *transfer, CURLINFO what)
{
	return (int) (elapsed_us(transfer, what) / 1000);
}

static bool
failed_in_tls(CURLcode code)
{
	switch (code)
	{
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_INVALIDCERTSTATUS:
			return true;
		default:
			return false;
	}
}

/*
 * Each of these times is 0 until it has come that far, and then is not; but
 * libcurl takes a connection that fails in TLS for one that was never made.
 */
static HttpStage
stage_of(const Transfer *transfer)
{
	curl_off_t	looked_up = 0;
	curl_off_t	connected = 0;
	curl_off_t	secured = 0;

	if (transfer->host_refused || transfer->not_started ||
		transfer->code == CURLE_COULDNT_RESOLVE_HOST)
		return HTTP_UNRESOLVED;
	curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &connected);
	curl_easy_getinfo(transfer->easy, CURLINFO_APPCONNECT_TIME_T, &secured);
	if (secured > 0)
		return HTTP_SECURED;
	if (connected > 0 || failed_in_tls(transfer->code))
		return HTTP_CONNECTED;
	return looked_up > 0 ? HTTP_RESOLVED : HTTP_UNRESOLVED;
}

static const char *
error_of(const Transport *transport, const Transfer *transfer)
{
	const HttpAnswer *answer = &transport->answer;

	if (transfer->host_refused)
		return "the host is not among signalsmith.allowed_hosts";
	if (answer->result == HTTP_REFUSED)
		return "the host has a private address, and signalsmith.allow_private_networks is off";
	if (transfer->out_of_descriptors)
		return "too many open files";
	if (transfer->not_started || transfer->out_of_memory || transfer->code == CURLE_OUT_OF_MEMORY)
		return "out of memory";
	if (transfer->head_too_long)
		return psprintf("the answer's headers are longer than %d kB", HTTP_MAX_HEAD_LENGTH / 1024);
	if (transfer->code == CURLE_OPERATION_TIMEDOUT)
		return psprintf("timed out after %d ms (name lookup %d ms, connect %d ms, TLS %d ms)",
						(int) (answer->total_us / 1000), answer->dns_ms, answer->connect_ms, answer->tls_ms);
	if (transfer->error[0] != '\0')
		return redact_text(transfer->error, NULL, 0);
	return curl_easy_strerror(transfer->code);
}

static void
fill_timings(HttpAnswer *answer, const Transfer *transfer)
{
	curl_off_t	uploaded = 0;
	int			looked_up = elapsed_ms(transfer, CURLINFO_NAMELOOKUP_TIME_T);
	int			connected = elapsed_ms(transfer, CURLINFO_CONNECT_TIME_T);
	int			secured = elapsed_ms(transfer, CURLINFO_APPCONNECT_TIME_T);

	answer->dns_ms = looked_up;
	answer->connect_ms = Max(0, connected - looked_up);
	answer->tls_ms = Max(0, secured - connected);
	answer->total_us = elapsed_us(transfer, CURLINFO_TOTAL_TIME_T);
	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	answer->bytes_sent = uploaded;
}

void
fill_answer(Transport *transport, const Transfer *transfer)
{
	HttpAnswer *answer = &transport->answer;
	long		status = 0;
	MemoryContext old_context;

	memset(answer, 0, sizeof(HttpAnswer));
	answer->tag = transfer->tag;
	answer->result = result_of(transfer);
	answer->stage = stage_of(transfer);
	answer->headers = transfer->head.length > 0 ? transfer->head.data : "";
	answer->body = transfer->body.length > 0 ? transfer->body.data : "";
	answer->body_length = transfer->body.length;
	answer->body_cut = transfer->body_cut;
	answer->resent = transfer->times_sent > 1;
	if (!transfer->host_refused && !transfer->not_started)
	{
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		answer->status = status;
		fill_timings(answer, transfer);
	}
	if (answer->result != HTTP_ANSWERED)
	{
		old_context = MemoryContextSwitchTo(transport->answer_context);
		answer->error = error_of(transport, transfer);
		MemoryContextSwitchTo(old_context);
	}
}
