/*
 * render.c
 *		From a batch to the request that carries it.
 *
 * The host, the scheme and the method never depend on a row.  What a row puts
 * into the path is one segment, or a part of one: it is percent-encoded, and a
 * path that would mean something else to whoever decodes it is refused.
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>

#include "connector/connector_internal.h"
#include "http/header.h"
#include "http/url.h"

/* Longer ones are refused by most servers. */
#define MAX_URL_LENGTH 8000

static int
hex_digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/*
 * Refuses empty segments, and "." and ".." even where they only appear once the
 * path is decoded: some servers decode before they resolve.
 */
static const char *
path_fault(const char *path, bool may_end_in_slash)
{
	size_t		piece_length = 0;	/* decoded, since a slash of any kind */
	bool		only_dots = true;

	for (const char *p = path;; p++)
	{
		char		c = *p;
		bool		encoded = false;

		if (c == '%')
		{
			if (!isxdigit((unsigned char) p[1]) || !isxdigit((unsigned char) p[2]))
				return "the path would hold a percent sign that encodes nothing";
			c = (char) (hex_digit(p[1]) * 16 + hex_digit(p[2]));
			p += 2;
			encoded = true;
		}
		if (c == '\0' && encoded)
			return "the path would hold a NUL byte";
		if (c == '/' || c == '\\' || c == '\0')
		{
			if (piece_length > 0 && piece_length <= 2 && only_dots)
				return "the path would hold a segment \".\" or \"..\"";
			if (piece_length == 0 && !encoded && p > path &&
				(c == '/' || (c == '\0' && !may_end_in_slash)))
				return "the path would hold an empty segment";
			if (c == '\0')
				return NULL;
			piece_length = 0;
			only_dots = true;
			continue;
		}
		piece_length++;
		only_dots = only_dots && c == '.';
	}
}

static bool
append_path(const RequestSpec *request, Evaluation *evaluation, StringInfo url)
{
	int			start = url->len;
	const char *fault;

	/* A base URL may end in a slash, and a path begins with one. */
	if (url->data[start - 1] == '/' && !text_template_is_empty(request->path))
		url->data[url->len = --start] = '\0';
	if (!text_template_append(request->path, evaluation, url))
		return false;
	fault = path_fault(url->data + start, request->path_ends_in_slash);
	if (fault != NULL)
		evaluation->error = pstrdup(fault);
	return fault == NULL;
}

/* A value of each record: in one parameter, or in one parameter each. */
static bool
append_list_parameter(const QueryTemplate *parameter, Evaluation *evaluation, StringInfo url)
{
	const Batch *batch = evaluation->batch;
	const BatchRecord *outer = evaluation->record;
	bool		joined = parameter->joint.length > 0;
	bool		done = true;

	for (int i = 0; i < batch->record_count && done; i++)
	{
		evaluation->record = &batch->records[i];
		if (i > 0 && joined)
			appendBinaryStringInfo(url, parameter->joint.data, parameter->joint.length);
		else
		{
			if (i > 0)
				appendStringInfoChar(url, '&');
			(void) text_template_append(parameter->name, evaluation, url);
			appendStringInfoChar(url, '=');
		}
		done = text_template_append(parameter->value, evaluation, url);
	}
	evaluation->record = outer;
	return done;
}

bool
append_query(const QueryList *query, Evaluation *evaluation, char *separator, StringInfo url)
{
	for (int i = 0; i < query->count; i++)
	{
		const QueryTemplate *parameter = &query->parameters[i];

		appendStringInfoChar(url, *separator);
		*separator = '&';
		if (parameter->of_each)
		{
			if (!append_list_parameter(parameter, evaluation, url))
				return false;
			continue;
		}
		if (!text_template_append(parameter->name, evaluation, url))
			return false;
		appendStringInfoChar(url, '=');
		if (!text_template_append(parameter->value, evaluation, url))
			return false;
	}
	return true;
}

/*
 * The base URL; where it came with an access token, it is checked as one that was
 * configured, and egress rules hold for it as for any.
 */
bool
append_base_url(const Connector *connector, Evaluation *evaluation, StringInfo url)
{
	const char *fault;

	if (connector->base_url != NULL)
	{
		appendStringInfoString(url, connector->base_url);
		return true;
	}
	if (!text_template_append(connector->token_base_url, evaluation, url))
		return false;
	fault = connector->token_placeholder ? NULL :
		strchr(url->data, '?') != NULL ? "It must not have parameters." : url_fault(url->data);
	if (fault != NULL)
		evaluation->error = psprintf("the token's answer gives no base URL: %s", fault);
	return fault == NULL;
}

char *
render_url(const Connector *connector, const RequestSpec *request, Evaluation *evaluation)
{
	StringInfoData url;
	char		separator = '?';

	initStringInfo(&url);
	if (!append_base_url(connector, evaluation, &url) ||
		!append_path(request, evaluation, &url))
		return NULL;
	if (connector->base_query != NULL)
	{
		appendStringInfo(&url, "?%s", connector->base_query);
		separator = '&';
	}
	if (!append_query(&request->query, evaluation, &separator, &url) ||
		!append_query(&connector->auth.query, evaluation, &separator, &url))
		return NULL;
	if (url.len > MAX_URL_LENGTH)
	{
		evaluation->error = psprintf("the URL would be longer than %d bytes", MAX_URL_LENGTH);
		return NULL;
	}
	return url.data;
}

bool
append_header_value(const HeaderTemplate *header, Evaluation *evaluation, HttpHeader *result)
{
	StringInfoData value;
	const char *fault;

	initStringInfo(&value);
	if (!text_template_append(header->value, evaluation, &value))
		return false;
	fault = header_value_fault(value.data);
	if (strlen(value.data) != (size_t) value.len)
		fault = "a header's value must not hold control characters";
	if (fault != NULL)
	{
		evaluation->error = psprintf("header \"%s\": %s", header->name, fault);
		return false;
	}
	result->name = header->name;
	result->value = value.data;
	return true;
}

static bool
render_headers(const Connector *connector, const HeaderList *headers,
			   Evaluation *evaluation, HttpRequest *request)
{
	request->headers = palloc((headers->count + auth_header_limit(&connector->auth)) *
							  sizeof(HttpHeader));
	for (int i = 0; i < headers->count; i++)
		if (!append_header_value(&headers->headers[i], evaluation,
								 &request->headers[request->header_count++]))
			return false;
	return auth_append_headers(connector, evaluation, request);
}

bool
render_body(const Connector *connector, const OperationSpec *operation,
			Evaluation *evaluation, HttpRequest *request)
{
	StringInfoData body;
	const BatchRecord *outer = evaluation->record;

	if (!request_has_body(&operation->request, operation->is_batch))
		return true;
	initStringInfo(&body);
	if (!encode_body(connector, operation, evaluation, &body))
		return false;
	evaluation->record = outer;
	request->body = body.data;
	request->body_length = body.len;
	return true;
}

bool
connector_render(const Connector *connector, const RunFacts *run, const Batch *batch,
				 HttpRequest *request, char **error)
{
	const OperationSpec *operation = batch_operation(connector, batch);
	Evaluation	evaluation = {
		.connector = connector,
		.run = run,
		.batch = batch,
		.row = operation->request.row,
		.max_record_bytes = operation->max_record_bytes,
		.now = (int64) time(NULL)
	};
	char	   *url;

	memset(request, 0, sizeof(HttpRequest));
	if (!operation->is_batch)
	{
		Assert(batch->record_count == 1);
		evaluation.record = &batch->records[0];
	}
	url = render_url(connector, &operation->request, &evaluation);
	if (url == NULL ||
		!render_body(connector, operation, &evaluation, request) ||
		!render_headers(connector, &operation->request.headers, &evaluation, request))
	{
		*error = evaluation.error;
		return false;
	}
	request->method = operation->request.method;
	request->url = url;
	request->fresh_connection = !operation->idempotent;
	return true;
}
