/*
 * destination_test.c
 *		test_destination: does it answer, and if not, where does it end?
 *
 * One request, and one for an access token before it, in the caller's own backend
 * and transaction, for whoever has just written a destination down.  Nothing of the caller's runs while its secrets are
 * open; they are gone when the function returns, however it does.
 *
 * Where the manifest has a check, what it answers proves that it takes the
 * credentials.  Else it is asked nothing that it would have to know: so what it
 * answers can show that it refuses them, and not that it takes them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/vault.h"
#include "http/redact.h"
#include "sql/destination_test.h"

/* The caller's transaction is open all that time. */
#define PROBE_TIMEOUT_MS 10000

SQL_FUNCTION(signalsmith_probe_destination);

/* --- secrets, in UTF-8 --- */

static SecretList *
open_secrets(int64 destination_id)
{
	SecretList *list = secrets_read(destination_id);

	for (int i = 0; i < list->count; i++)
	{
		Secret	   *secret = &list->secrets[i];
		char	   *value = pg_server_to_any(secret->value, strlen(secret->value), PG_UTF8);

		secret->name = pg_server_to_any(secret->name, strlen(secret->name), PG_UTF8);
		if (value != secret->value)
			vault_wipe(secret->value);
		secret->value = value;
	}
	return list;
}

static const char *
read_secret(void *arg, const char *name)
{
	const SecretList *list = arg;

	for (int i = 0; i < list->count; i++)
		if (strcmp(list->secrets[i].name, name) == 0)
			return list->secrets[i].value;
	return NULL;
}

char *
test_redact(const DestinationTest *test, const char *text)
{
	const SecretList *list = test->secrets;
	const char **values = palloc((list->count + 2) * sizeof(char *));
	int			count = 0;
	char	   *redacted;

	for (int i = 0; i < list->count; i++)
		values[count++] = list->secrets[i].value;
	if (test->token != NULL)
		values[count++] = test->token->value;
	if (test->refresh_token != NULL)
		values[count++] = test->refresh_token;
	redacted = redact_text(text, values, count);
	return pg_any_to_server(redacted, strlen(redacted), PG_UTF8);
}

/* --- what became of the request --- */

void
test_step(DestinationTest *test, const char *step, bool ok, const char *detail)
{
	Datum		values[3] = {0};
	bool		nulls[3] = {false};

	values[0] = CStringGetTextDatum(step);
	values[1] = BoolGetDatum(ok);
	nulls[2] = detail == NULL;
	if (!nulls[2])
		values[2] = CStringGetTextDatum(detail);
	tuplestore_putvalues(test->result->setResult, test->result->setDesc, values, nulls);
}

/* What a connector's check says. */
static void
step_checked(DestinationTest *test, const HttpAnswer *answer)
{
	char	   *message;
	OutcomeClass class = connector_check_answer(test->connector, answer, &message);
	const char *meaning = "it cannot answer now";

	if (class == CLASS_OK)
	{
		test_step(test, "authenticate", true,
				  psprintf("HTTP %d: it takes the credentials", answer->status));
		return;
	}
	if (class == CLASS_AUTH)
		meaning = "it refuses the credentials";
	else if (class != CLASS_RETRY && class != CLASS_THROTTLED && class != CLASS_UNKNOWN)
		meaning = "it refuses the check";
	test_step(test, "authenticate", false,
			  psprintf("HTTP %d: %s%s%s", answer->status, meaning, message ? ": " : "",
					   message ? test_redact(test, message) : ""));
}

/* Without one only a refusal says something. */
static void
step_probed(DestinationTest *test, int status)
{
	if (status == 401 || status == 403 || status == 407)
		test_step(test, "authenticate", false,
				  psprintf("HTTP %d: it refuses the credentials, or asks for some", status));
	else if (status >= 500)
		test_step(test, "authenticate", false,
				  psprintf("HTTP %d: it cannot answer now", status));
	else
		test_step(test, "authenticate", true,
				  psprintf("HTTP %d: it answers, and does not refuse the credentials (no proof: the connector has no check)", status));
}

/* One line for each step that was taken; the last one may have failed. */
static void
step_answer(DestinationTest *test, const HttpAnswer *answer, bool secure, const char *error)
{
	if (answer->stage < HTTP_RESOLVED)
	{
		test_step(test, "resolve", false, error);
		return;
	}
	test_step(test, "resolve", true, psprintf("%d ms", answer->dns_ms));

	if (answer->stage < HTTP_CONNECTED)
	{
		test_step(test, "connect", false, error);
		return;
	}
	if (secure && answer->stage < HTTP_SECURED)
	{
		test_step(test, "connect", true, NULL); /* libcurl has not measured it */
		test_step(test, "TLS", false, error);
		return;
	}
	test_step(test, "connect", true, psprintf("%d ms", answer->connect_ms));
	test_step(test, "TLS", true,
				secure ? psprintf("%d ms", answer->tls_ms) : "not used: the URL begins with http://");

	if (answer->result == HTTP_ANSWERED && connector_has_check(test->connector))
		step_checked(test, answer);
	else if (answer->result == HTTP_ANSWERED)
		step_probed(test, answer->status);
	else
		test_step(test, "authenticate", false, error);
}

/* --- the requests --- */

HttpAnswer *
test_exchange(HttpRequest *request)
{
	Transport  *transport = transport_create(CurrentMemoryContext);
	HttpAnswer *answer;

	request->timeout_ms = PROBE_TIMEOUT_MS;
	transport_permit_transaction(transport);
	transport_submit(transport, request, NULL);
	while ((answer = transport_next_answer(transport)) == NULL)
		transport_wait(transport, -1);
	return answer;
}

static void
test_steps(DestinationTest *test)
{
	HttpRequest request;
	HttpAnswer *answer;
	char	   *fault;

	connector_set_secrets(test->connector, read_secret, test->secrets);
	connector_require_secrets(test->connector, test->destination_name);
	if (!test_token(test))
		return;
	if (!connector_render_check(test->connector, &request, &fault))
	{
		test_step(test, "request", false, test_redact(test, fault));
		return;
	}
	answer = test_exchange(&request);
	step_answer(test, answer, pg_strncasecmp(request.url, "https:", 6) == 0,
				test_redact(test, answer->error ? answer->error : ""));
}

static void
wipe_test(DestinationTest *test)
{
	secrets_wipe(test->secrets);
	vault_wipe(test->refresh_token);
	if (test->token != NULL)
		vault_wipe(test->token->value);
}

/*
 * _probe_destination(destination_id bigint, destination_name text, connector text,
 * manifest jsonb, config jsonb)
 */
Datum
signalsmith_probe_destination(PG_FUNCTION_ARGS)
{
	DestinationTest test = {
		.result = (ReturnSetInfo *) fcinfo->resultinfo,
		.destination_id = PG_GETARG_INT64(0),
		.destination_name = text_to_cstring(PG_GETARG_TEXT_PP(1)),
		.manifest = PG_GETARG_JSONB_P(3),
		.config = PG_GETARG_JSONB_P(4)
	};

	InitMaterializedSRF(fcinfo, 0);
	test.connector = connector_compile(text_to_cstring(PG_GETARG_TEXT_PP(2)),
									   test.manifest, test.config, NULL);
	test.secrets = open_secrets(test.destination_id);
	PG_TRY();
	{
		test_steps(&test);
	}
	PG_FINALLY();
	{
		wipe_test(&test);
	}
	PG_END_TRY();
	if (test.cancel_held)
	{
		QueryCancelPending = false;
		RESUME_CANCEL_INTERRUPTS();
	}
	return (Datum) 0;
}
