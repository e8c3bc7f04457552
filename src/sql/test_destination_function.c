/*
 * test_destination_function.c
 *		test_destination: does it answer, and if not, where does it end?
 *
 * One request, in the caller's own backend and transaction, for whoever has just
 * written a destination down.  Nothing of the caller's runs while its secrets are
 * open; they are gone when the function returns, however it does.
 *
 * The destination is asked nothing that it would have to know: so what it answers
 * can show that it refuses the credentials, and not that it takes them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/vault.h"
#include "connector/connector.h"
#include "http/redact.h"
#include "store/secret.h"

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

/* In the server's encoding, and without what is nobody's business. */
static char *
redact_error(const SecretList *list, const char *error)
{
	const char **values = palloc(list->count * sizeof(char *));
	char	   *redacted;

	for (int i = 0; i < list->count; i++)
		values[i] = list->secrets[i].value;
	redacted = redact_text(error, values, list->count);
	return pg_any_to_server(redacted, strlen(redacted), PG_UTF8);
}

/* --- what became of the request --- */

static void
return_step(ReturnSetInfo *result, const char *step, bool ok, const char *detail)
{
	Datum		values[3] = {0};
	bool		nulls[3] = {false};

	values[0] = CStringGetTextDatum(step);
	values[1] = BoolGetDatum(ok);
	nulls[2] = detail == NULL;
	if (!nulls[2])
		values[2] = CStringGetTextDatum(detail);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
return_answer(ReturnSetInfo *result, int status)
{
	if (status == 401 || status == 403 || status == 407)
		return_step(result, "authenticate", false,
					psprintf("HTTP %d: it refuses the credentials, or asks for some", status));
	else if (status >= 500)
		return_step(result, "authenticate", false,
					psprintf("HTTP %d: it cannot answer now", status));
	else
		return_step(result, "authenticate", true,
					psprintf("HTTP %d: it answers, and does not refuse the credentials", status));
}

/* One line for each step that was taken; the last one may have failed. */
static void
return_steps(ReturnSetInfo *result, const HttpAnswer *answer, bool secure, const char *error)
{
	if (answer->stage < HTTP_RESOLVED)
	{
		return_step(result, "resolve", false, error);
		return;
	}
	return_step(result, "resolve", true, psprintf("%d ms", answer->dns_ms));

	if (answer->stage < HTTP_CONNECTED)
	{
		return_step(result, "connect", false, error);
		return;
	}
	if (secure && answer->stage < HTTP_SECURED)
	{
		return_step(result, "connect", true, NULL); /* libcurl has not measured it */
		return_step(result, "TLS", false, error);
		return;
	}
	return_step(result, "connect", true, psprintf("%d ms", answer->connect_ms));
	return_step(result, "TLS", true,
				secure ? psprintf("%d ms", answer->tls_ms) : "not used: the URL begins with http://");

	if (answer->result == HTTP_ANSWERED)
		return_answer(result, answer->status);
	else
		return_step(result, "authenticate", false, error);
}

/* --- the request --- */

static void
probe(ReturnSetInfo *result, Connector *connector, const char *destination_name,
	  SecretList *secrets)
{
	Transport  *transport;
	HttpRequest request;
	HttpAnswer *answer;
	char	   *fault;

	connector_set_secrets(connector, read_secret, secrets);
	connector_require_secrets(connector, destination_name);
	if (!connector_render_probe(connector, &request, &fault))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the request cannot be made: %s", redact_error(secrets, fault))));
	request.timeout_ms = PROBE_TIMEOUT_MS;

	transport = transport_create(CurrentMemoryContext);
	transport_permit_transaction(transport);
	transport_submit(transport, &request, NULL);
	while ((answer = transport_next_answer(transport)) == NULL)
		transport_wait(transport, -1);
	return_steps(result, answer, pg_strncasecmp(request.url, "https:", 6) == 0,
				 redact_error(secrets, answer->error ? answer->error : ""));
	transport_destroy(transport);
}

/*
 * _probe_destination(destination_id bigint, destination_name text, connector text,
 * manifest jsonb, config jsonb)
 */
Datum
signalsmith_probe_destination(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Connector  *connector;
	SecretList *secrets;

	InitMaterializedSRF(fcinfo, 0);
	connector = connector_compile(text_to_cstring(PG_GETARG_TEXT_PP(2)),
								  PG_GETARG_JSONB_P(3), PG_GETARG_JSONB_P(4), NULL);
	secrets = open_secrets(PG_GETARG_INT64(0));
	PG_TRY();
	{
		probe((ReturnSetInfo *) fcinfo->resultinfo, connector, name, secrets);
	}
	PG_FINALLY();
	{
		secrets_wipe(secrets);
	}
	PG_END_TRY();
	return (Datum) 0;
}
