/*
 * render.c
 *		From a batch to the request that carries it.
 *
 * The host, the scheme and the method never depend on a row.  What a row puts
 * into the path is one segment, or a part of one: it is percent-encoded, and a
 * path that would mean something else to whoever decodes it is refused.
 */
#include "postgres.h"

#include "connector/connector_internal.h"
#include "http/header.h"

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
append_path(const OperationSpec *operation, Evaluation *evaluation, StringInfo url)
{
	int			start = url->len;
	const char *fault;

	/* A base URL may end in a slash, and a path begins with one. */
	if (url->data[start - 1] == '/' && !text_template_is_empty(operation->path))
		url->data[url->len = --start] = '\0';
	if (!text_template_append(operation->path, evaluation, url))
		return false;
	fault = path_fault(url->data + start, operation->path_ends_in_slash);
	if (fault != NULL)
		evaluation->error = pstrdup(fault);
	return fault == NULL;
}

static bool
append_query(const Connector *connector, const OperationSpec *operation,
			 Evaluation *evaluation, StringInfo url)
{
	char		separator = '?';

	if (connector->base_query != NULL)
	{
		appendStringInfo(url, "?%s", connector->base_query);
		separator = '&';
	}
	for (int i = 0; i < operation->query_count; i++)
	{
		appendStringInfoChar(url, separator);
		if (!text_template_append(operation->query[i].name, evaluation, url))
			return false;
		appendStringInfoChar(url, '=');
		if (!text_template_append(operation->query[i].value, evaluation, url))
			return false;
		separator = '&';
	}
	return true;
}

static char *
render_url(const Connector *connector, const OperationSpec *operation,
		   Evaluation *evaluation)
{
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfoString(&url, connector->base_url);
	if (!append_path(operation, evaluation, &url) ||
		!append_query(connector, operation, evaluation, &url))
		return NULL;
	if (url.len > MAX_URL_LENGTH)
	{
		evaluation->error = psprintf("the URL would be longer than %d bytes", MAX_URL_LENGTH);
		return NULL;
	}
	return url.data;
}

static bool
render_headers(const OperationSpec *operation, Evaluation *evaluation, HttpRequest *request)
{
	request->header_count = operation->header_count;
	request->headers = palloc(operation->header_count * sizeof(HttpHeader));
	for (int i = 0; i < operation->header_count; i++)
	{
		const HeaderTemplate *header = &operation->headers[i];
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
		request->headers[i].name = header->name;
		request->headers[i].value = value.data;
	}
	return true;
}

static bool
render_body(const OperationSpec *operation, Evaluation *evaluation, HttpRequest *request)
{
	const Template *template = operation->is_batch ? operation->envelope : operation->body;
	StringInfoData body;

	if (template == NULL)
		return true;
	initStringInfo(&body);
	if (!template_append(template, evaluation, &body))
		return false;
	if (operation->max_bytes > 0 && body.len > operation->max_bytes)
	{
		evaluation->error = psprintf("the request's body would have %d bytes, and the destination takes %d",
									 body.len, operation->max_bytes);
		return false;
	}
	request->body = body.data;
	request->body_length = body.len;
	return true;
}

bool
connector_render(const Connector *connector, const RunFacts *run, const Batch *batch,
				 HttpRequest *request, char **error)
{
	const OperationSpec *operation = connector->operations[batch->operation];
	Evaluation	evaluation = {
		.connector = connector,
		.run = run,
		.batch = batch,
		.row = operation->row
	};
	char	   *url;

	memset(request, 0, sizeof(HttpRequest));
	if (!operation->is_batch)
	{
		Assert(batch->record_count == 1);
		evaluation.record = &batch->records[0];
	}
	url = render_url(connector, operation, &evaluation);
	if (url == NULL || !render_body(operation, &evaluation, request) ||
		!render_headers(operation, &evaluation, request))
	{
		*error = evaluation.error;
		return false;
	}
	request->method = operation->method;
	request->url = url;
	request->fresh_connection = !operation->idempotent;
	return true;
}
