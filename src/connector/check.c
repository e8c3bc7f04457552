/*
 * check.c
 *		A request that carries no record and shows whether a destination takes our
 *		credentials.
 *
 * A manifest's "check" is one that proves them: something cheap that is answered to
 * nobody else.  Without one there is the probe, a HEAD of the base URL, with the
 * headers of every request and what authentication adds: HEAD is the one method
 * that is safe on whatever the URL is, a webhook included.  It proves only what
 * the answer refuses.  Headers that are made from a record are left out.
 */
#include "postgres.h"

#include <time.h>

#include "connector/attribution.h"
#include "connector/jsonb_reader.h"

static const RunFacts no_run = {"sync_0", "test", "upsert", "run_0"};
static const Batch no_records = {.operation = OPERATION_CREATE,.attempt = 1};

OperationSpec *
check_compile(Compiler *compiler, const JsonbValue *manifest)
{
	static const char *const keys[] = {"request", "classify"};
	Compiler	of_check = *compiler;
	OperationSpec *check;
	JsonbValue	json;
	JsonbValue	member;

	if (!jsonb_member(manifest, "check", &json))
		return NULL;
	of_check.without_record = true;
	check_keys(&of_check, "check", &json, keys, lengthof(keys));
	if (!jsonb_member(&json, "request", &member))
		compiler_fault(&of_check, "check.request", NULL, "It is required.");
	check = palloc0(sizeof(OperationSpec));
	check->name = "check";
	check->idempotent = true;
	check->respond.decoding = DECODE_JSON;
	request_compile(&of_check, "check.request", &member, manifest, &check->request);
	if (check->request.takes_many)
		compiler_fault(&of_check, "check.request", NULL, "A check carries no records.");
	if (jsonb_member(&json, "classify", &member))
		check->rules = rules_compile(&of_check, "check.classify", &member, false);
	return check;
}

bool
connector_has_check(const Connector *connector)
{
	return connector->check != NULL;
}

static bool
render_headers(const Connector *connector, const HeaderList *headers,
			   Evaluation *evaluation, HttpRequest *request)
{
	request->headers = palloc((headers->count + auth_header_limit(&connector->auth)) *
							  sizeof(HttpHeader));
	for (int i = 0; i < headers->count; i++)
		if (!text_template_uses_record(headers->headers[i].value) &&
			!append_header_value(&headers->headers[i], evaluation,
								 &request->headers[request->header_count++]))
			return false;
	return auth_append_headers(connector, evaluation, request);
}

static char *
render_probe_url(const Connector *connector, Evaluation *evaluation)
{
	StringInfoData url;
	char		separator = '?';

	initStringInfo(&url);
	if (!append_base_url(connector, evaluation, &url))
		return NULL;
	if (connector->base_query != NULL)
	{
		appendStringInfo(&url, "?%s", connector->base_query);
		separator = '&';
	}
	return append_query(&connector->auth.query, evaluation, &separator, &url) ? url.data : NULL;
}

static bool
render_probe(const Connector *connector, Evaluation *evaluation, HttpRequest *request)
{
	request->method = "HEAD";
	request->url = render_probe_url(connector, evaluation);
	return request->url != NULL &&
		render_headers(connector, &connector->probe_headers, evaluation, request);
}

static bool
render_check(const Connector *connector, Evaluation *evaluation, HttpRequest *request)
{
	const OperationSpec *check = connector->check;

	request->method = check->request.method;
	request->url = render_url(connector, &check->request, evaluation);
	return request->url != NULL &&
		render_body(connector, check, evaluation, request) &&
		render_headers(connector, &check->request.headers, evaluation, request);
}

bool
connector_render_check(const Connector *connector, HttpRequest *request, char **error)
{
	Evaluation	evaluation = {
		.connector = connector,
		.run = &no_run,
		.batch = &no_records,
		.now = (int64) time(NULL)
	};

	memset(request, 0, sizeof(HttpRequest));
	request->fresh_connection = true;
	if (connector->check != NULL ? render_check(connector, &evaluation, request) :
		render_probe(connector, &evaluation, request))
		return true;
	*error = evaluation.error;
	return false;
}

typedef struct CheckWork
{
	Attribution attribution;
	int			class;
	char	   *message;
} CheckWork;

static void
read_answer(void *arg)
{
	CheckWork  *work = arg;
	Attribution *attribution = &work->attribution;
	const HttpAnswer *answer = attribution->answer;

	if (answer->body_length > 0 && !answer->body_cut)
		attribution->json = answer_decode(DECODE_JSON, answer->body, answer->body_length);
	work->class = answer_class(attribution);
	work->message = answer_message(attribution);
}

OutcomeClass
connector_check_answer(const Connector *connector, const HttpAnswer *answer, char **message)
{
	CheckWork	work = {
		.attribution = {
			.connector = connector,
			.operation = connector->check,
			.batch = &no_records,
			.answer = answer
		}
	};

	answer_within_limit(read_answer, &work);
	*message = work.message;
	return work.class == CLASS_PARTIAL ? CLASS_OK : (OutcomeClass) work.class;
}
