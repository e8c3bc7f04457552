/*
 * transfer.c
 *		One request on its way: its options, and the buffers of its answer.
 *
 * A transfer is malloc'ed, like all that libcurl's callbacks touch, and used
 * again for later requests, so that its handle and small buffers are made once.
 * What libcurl may do for any request is set once too, in set_constant_options();
 * what differs is set in set_request_options().
 *
 * It does not start a request, which is transport.c's, nor judge its answer,
 * which is transfer_answer.c's.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/settings.h"
#include "http/egress.h"
#include "http/header.h"
#include "http/transport_internal.h"

/* Certificates are checked again at least this often, in seconds. */
#define MAX_CONNECTION_LIFETIME 300

/* A finished transfer keeps a body buffer up to this size for the next one. */
#define KEEP_BUFFER_SIZE (64 * 1024)

/* --- what libcurl calls: nothing here may raise --- */

static bool
append_part(AnswerPart *part, const char *data, size_t length)
{
	if (part->length + length + 1 > part->size)
	{
		size_t		size = Max(part->size, 1024);
		char	   *grown;

		while (size < part->length + length + 1)
			size *= 2;
		grown = realloc(part->data, size);
		if (grown == NULL)
			return false;
		part->data = grown;
		part->size = size;
	}
	memcpy(part->data + part->length, data, length);
	part->length += length;
	part->data[part->length] = '\0';
	return true;
}

static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;
	size_t		length = size * count;

	/* A status line begins: what came before were interim headers. */
	if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
		transfer->head.length = 0;
	if (transfer->head.length + length > HTTP_MAX_HEAD_LENGTH)
	{
		transfer->head_too_long = true;
		return 0;
	}
	if (!append_part(&transfer->head, data, length))
	{
		transfer->out_of_memory = true;
		return 0;
	}
	return length;
}

/*
 * What is beyond the cap is not read at all: the transfer ends there, and its
 * status counts.
 */
static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;
	size_t		length = size * count;
	size_t		room = HTTP_MAX_BODY_LENGTH - transfer->body.length;

	if (!append_part(&transfer->body, data, Min(length, room)))
	{
		transfer->out_of_memory = true;
		return 0;
	}
	if (length > room)
	{
		transfer->body_cut = true;
		return 0;
	}
	return length;
}

/* A connection, new or reused, is about to carry the request. */
static int
on_connected(void *arg, char *remote_address, char *local_address,
			 int remote_port, int local_port)
{
	Transfer   *transfer = arg;

	if (!egress_address_text_allowed(remote_address))
	{
		transfer->address_refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	transfer->times_sent++;
	return CURL_PREREQFUNC_OK;
}

/* --- making, keeping and freeing --- */

/*
 * What is the same for every request.  Nothing is left to defaults that depend
 * on the environment, a file in somebody's home or a future release; so false,
 * when libcurl could not remember one of these, must keep the handle from use.
 */
static bool
set_constant_options(Transfer *transfer)
{
	CURL	   *easy = transfer->easy;
	bool		done = true;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->transport);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
	done &= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	done &= curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_NONE);
	curl_easy_setopt(easy, CURLOPT_HSTS_CTRL, 0L);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL);
	curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (setting_ca_file != NULL && setting_ca_file[0] != '\0')
	{
		done &= curl_easy_setopt(easy, CURLOPT_CAINFO, setting_ca_file) == CURLE_OK;
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long) MAX_CONNECTION_LIFETIME);
	return done;
}

void
free_transfer(Transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	curl_url_cleanup(transfer->url);
	curl_slist_free_all(transfer->headers);
	free(transfer->head.data);
	free(transfer->body.data);
	free(transfer);
}

void
free_transfers(dlist_head *list)
{
	while (!dlist_is_empty(list))
		free_transfer(dlist_container(Transfer, node, dlist_pop_head_node(list)));
}

/* It may be unusable, for want of memory: then it is there to say so. */
static Transfer *
new_transfer(Transport *transport)
{
	Transfer   *transfer = calloc(1, sizeof(Transfer));

	if (transfer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	transfer->transport = transport;
	transfer->easy = curl_easy_init();
	transfer->url = curl_url();
	transfer->unusable = transfer->easy == NULL || transfer->url == NULL ||
		!set_constant_options(transfer);
	return transfer;
}

/* Gives a transfer back; big buffers go. */
void
recycle_transfer(Transfer *transfer)
{
	if (transfer->unusable)
	{
		free_transfer(transfer);
		return;
	}
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	if (transfer->body.size > KEEP_BUFFER_SIZE)
	{
		free(transfer->body.data);
		memset(&transfer->body, 0, sizeof(AnswerPart));
	}
	dlist_push_head(&transfer->transport->idle, &transfer->node);
}

Transfer *
take_idle_transfer(Transport *transport)
{
	Transfer   *transfer;

	if (dlist_is_empty(&transport->idle))
		return new_transfer(transport);
	transfer = dlist_container(Transfer, node, dlist_pop_head_node(&transport->idle));
	transfer->head.length = 0;
	transfer->body.length = 0;
	transfer->error[0] = '\0';
	transfer->times_sent = 0;
	transfer->address_refused = false;
	transfer->out_of_descriptors = false;
	transfer->out_of_memory = false;
	transfer->head_too_long = false;
	transfer->body_cut = false;
	transfer->host_refused = false;
	transfer->not_started = false;
	transfer->code = CURLE_OK;
	return transfer;
}

/* --- what is asked --- */

/* Raises unless the request is one that libcurl cannot misunderstand. */
void
check_request(const HttpRequest *request)
{
	for (const unsigned char *p = (const unsigned char *) request->url; *p != '\0'; p++)
		if (*p <= 0x20 || *p >= 0x7F)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a URL must not hold spaces, control or non-ASCII characters")));
	for (int i = 0; i < request->header_count; i++)
	{
		const char *fault = header_name_fault(request->headers[i].name);

		if (fault == NULL)
			fault = header_value_fault(request->headers[i].value);
		if (fault != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid HTTP header"),
					 errdetail_internal("%s", fault)));
	}
}

CURLUcode
set_url(Transfer *transfer, const char *url)
{
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *port = NULL;
	CURLUcode	code;

	code = curl_url_set(transfer->url, CURLUPART_URL, url, CURLU_DISALLOW_USER);
	if (code == CURLUE_OK)
		code = curl_url_get(transfer->url, CURLUPART_SCHEME, &scheme, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(transfer->url, CURLUPART_HOST, &host, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(transfer->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
	if (code == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		code = CURLUE_UNSUPPORTED_SCHEME;
	if (code == CURLUE_OK)
		transfer->host_refused = !egress_host_allowed(scheme, host, atoi(port));
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	return code;
}

static bool
append_header(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer == NULL)
		return false;
	*list = longer;
	return true;
}

/*
 * libcurl would add a Content-Type and, above 1 MiB, wait a second for "100
 * Continue"; a name with nothing after the colon stops that.
 */
static bool
set_headers(Transfer *transfer, const HttpRequest *request)
{
	StringInfoData line;
	bool		done;

	done = append_header(&transfer->headers, "Expect:") &&
		append_header(&transfer->headers, "Content-Type:");
	initStringInfo(&line);
	for (int i = 0; done && i < request->header_count; i++)
	{
		const HttpHeader *header = &request->headers[i];

		resetStringInfo(&line);
		if (header->value[0] == '\0')
			appendStringInfo(&line, "%s;", header->name);
		else
			appendStringInfo(&line, "%s: %s", header->name, header->value);
		done = append_header(&transfer->headers, line.data);
	}
	pfree(line.data);
	return done;
}

bool
set_request_options(Transfer *transfer, const HttpRequest *request)
{
	CURL	   *easy = transfer->easy;
	bool		has_body = request->body != NULL ||
	strcmp(request->method, "POST") == 0 ||
	strcmp(request->method, "PUT") == 0 ||
	strcmp(request->method, "PATCH") == 0;

	if (!set_headers(transfer, request))
		return false;
	if (has_body)
	{
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_length);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
	}
	else if (strcmp(request->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);

	transfer->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : setting_request_timeout;
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) transfer->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
					 (long) Min(setting_connect_timeout, transfer->timeout_ms));
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long) request->fresh_connection);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long) request->fresh_connection);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	return curl_easy_setopt(easy, CURLOPT_CURLU, transfer->url) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
}
