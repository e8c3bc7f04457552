/*
 * probe.c
 *		A request that asks a destination nothing, to see whether it answers.
 *
 * It is a HEAD of the base URL, with the headers of every request and what
 * authentication adds: HEAD is the one method that is safe on whatever the URL is,
 * a webhook included.  Headers that are made from a record are left out, since
 * there is none.
 */
#include "postgres.h"

#include <time.h>

#include "connector/connector_internal.h"

static const RunFacts no_run = {"sync_0", "test", "upsert", "run_0"};

static char *
render_probe_url(const Connector *connector, Evaluation *evaluation)
{
	StringInfoData url;
	char		separator = '?';

	initStringInfo(&url);
	appendStringInfoString(&url, connector->base_url);
	if (connector->base_query != NULL)
	{
		appendStringInfo(&url, "?%s", connector->base_query);
		separator = '&';
	}
	return append_query(&connector->auth.query, evaluation, &separator, &url) ? url.data : NULL;
}

static bool
render_probe_headers(const Connector *connector, Evaluation *evaluation,
					 HttpRequest *request)
{
	const HeaderList *headers = &connector->probe_headers;

	request->headers = palloc((headers->count + auth_header_limit(&connector->auth)) *
							  sizeof(HttpHeader));
	for (int i = 0; i < headers->count; i++)
		if (!text_template_uses_record(headers->headers[i].value) &&
			!append_header_value(&headers->headers[i], evaluation,
								 &request->headers[request->header_count++]))
			return false;
	return auth_append_headers(connector, evaluation, request);
}

bool
connector_render_probe(const Connector *connector, HttpRequest *request, char **error)
{
	Batch		no_records = {.operation = OPERATION_CREATE,.attempt = 1};
	Evaluation	evaluation = {
		.connector = connector,
		.run = &no_run,
		.batch = &no_records,
		.now = (int64) time(NULL)
	};

	memset(request, 0, sizeof(HttpRequest));
	request->method = "HEAD";
	request->fresh_connection = true;
	request->url = render_probe_url(connector, &evaluation);
	if (request->url == NULL || !render_probe_headers(connector, &evaluation, request))
	{
		*error = evaluation.error;
		return false;
	}
	return true;
}
