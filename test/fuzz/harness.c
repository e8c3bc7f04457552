/*
 * harness.c
 *		The server's code without a server, for fuzz targets.
 *
 * Starts what memory contexts, errors, settings and encodings need, and nothing
 * else: no shared memory, no catalogs, no transaction.  An input may end in an
 * error that a user could see; an internal error, a crash, a leak or a needless
 * wait is a finding.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

#include "base/settings.h"
#include "connector/jsonb_reader.h"
#include "connector/token.h"
#include "http/header.h"
#include "http/url.h"

#include "harness.h"

typedef void (*Target) (const char *data, size_t length);

extern Target find_target(const char *name, int *takes_json);

static const struct
{
	const char *name;
	Target		function;
	bool		takes_json;
}			targets[] =
{
	{"answer", fuzz_answer, false},
	{"cron", fuzz_cron, false},
	{"header", fuzz_header, false},
	{"json_text", fuzz_json_text, true},
	{"manifest", fuzz_manifest, true},
	{"retry_after", fuzz_retry_after, false},
	{"secret", fuzz_secret, false},
	{"template", fuzz_template, true},
	{"url", fuzz_url, false}
};

/* libFuzzer's own watch needs the signal that the server's timers use. */
#define MAX_SECONDS 60

static TimeoutId watch;
static Latch latch;
static Target current;

void
must_fail(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	abort();
}

/* In a signal handler. */
static void
give_up(void)
{
	must_fail("an input takes no longer than a minute", __FILE__, __LINE__);
}

static void
start_server_code(void)
{
	MemoryContextInit();
	set_stack_base();
	InitializeGUCOptions();
	SetDatabaseEncoding(PG_UTF8);
	settings_define();
	InitLatch(&latch);
	MyLatch = &latch;
	InitializeTimeouts();
	watch = RegisterTimeout(USER_TIMEOUT, give_up);
	SetConfigOption("max_stack_depth", "2MB", PGC_POSTMASTER, PGC_S_ARGV);
	SetConfigOption("log_min_messages", "panic", PGC_POSTMASTER, PGC_S_ARGV);
}

/* Runs one input; whatever it allocates is freed, or it is a leak. */
static void
run_input(const char *data, size_t length)
{
	MemoryContext context = exact_context_create(TopMemoryContext);

	MemoryContextSwitchTo(context);
	enable_timeout_after(watch, MAX_SECONDS * 1000);
	PG_TRY();
	{
		current(data, length);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (getenv("FUZZ_SHOW_ERRORS") != NULL)
			fprintf(stderr, "%s: %s (%s)\n", unpack_sql_state(error->sqlerrcode), error->message,
					error->detail ? error->detail : "");
		if (error->sqlerrcode == ERRCODE_INTERNAL_ERROR)
			must_fail(error->message, error->filename, error->lineno);
	}
	PG_END_TRY();
	disable_timeout(watch, false);
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);
}

Target
find_target(const char *name, int *takes_json)
{
	for (int i = 0; i < (int) lengthof(targets); i++)
		if (strcmp(name, targets[i].name) == 0)
		{
			start_server_code();
			current = targets[i].function;
			*takes_json = targets[i].takes_json;
			return run_input;
		}
	return NULL;
}

/* --- texts --- */

char *
text_of(const char *data, size_t length)
{
	if (!pg_verify_mbstr(PG_UTF8, data, length, true))
		return NULL;
	return pnstrdup(data, length);
}

char *
take_line(char *text, char **rest)
{
	size_t		length = strcspn(text, "\n");

	*rest = text + length + (text[length] == '\n');
	text[length] = '\0';
	return text;
}

Jsonb *
jsonb_of(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* --- connectors --- */

/* Some value that fits what the manifest says of it. */
static const char *
example_value(const JsonbValue *property)
{
	JsonbValue	value;
	JsonbValue *elements;

	if (jsonb_member(property, "enum", &value) && jsonb_is_array(&value) &&
		jsonb_elements(&value, &elements) > 0)
		return jsonb_text(&elements[0]);
	if (jsonb_member(property, "minimum", &value))
		return jsonb_text(&value);
	if (!jsonb_member(property, "type", &value) || value.type != jbvString)
		return "null";
	if (strcmp(jsonb_string(&value), "string") == 0)
		return "\"https://example.com/x\"";
	if (strcmp(jsonb_string(&value), "boolean") == 0)
		return "true";
	if (strcmp(jsonb_string(&value), "object") == 0)
		return "{}";
	return strcmp(jsonb_string(&value), "array") == 0 ? "[]" : "1";
}

static Jsonb *
example_config(const JsonbValue *manifest)
{
	StringInfoData text;
	JsonbValue	schema;
	JsonbValue	ignored;
	JsonbMember *properties;
	int			count = 0;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	if (jsonb_member(manifest, "config", &schema) && jsonb_is_object(&schema))
		count = jsonb_members(&schema, &properties);
	for (int i = 0; i < count; i++)
	{
		if (jsonb_member(&properties[i].value, "default", &ignored) ||
			jsonb_member(&properties[i].value, "secret", &ignored))
			continue;
		if (text.len > 1)
			appendStringInfoChar(&text, ',');
		escape_json(&text, properties[i].name);
		appendStringInfo(&text, ":%s", example_value(&properties[i].value));
	}
	appendStringInfoChar(&text, '}');
	return jsonb_of(text.data);
}

Connector *
compile_manifest(const char *name, Jsonb *manifest)
{
	JsonbValue	root = jsonb_root(manifest);
	JsonbValue	objects;
	JsonbMember *members;
	ConnectorUse use = {.identifier = "email"};
	Connector  *connector;

	if (jsonb_member(&root, "objects", &objects) && jsonb_is_object(&objects) &&
		jsonb_members(&objects, &members) > 0)
		use.object = strcmp(members[0].name, "*") == 0 ? "thing" : members[0].name;
	connector = connector_compile(name, manifest, example_config(&root), &use);
	connector_set_placeholders(connector);
	return connector;
}

static Slice
slice_of(const char *text)
{
	return (Slice) {text, strlen(text)};
}

Batch *
example_batch(const Connector *connector, Operation operation)
{
	static const char *const keys[] = {"{\"id\": 1}", "{\"id\": \"b/\xC3\xA4\"}"};
	static const char *const fields[] = {
		"{\"email\": \"ann@example.com\", \"name\": \"Ann \\\"A\\\" \\u00e4\", \"ltv\": 12.50, \"tags\": [\"a\", null], \"address\": {\"city\": \"Ulm\"}, \"at\": \"2024-02-29T12:00:00+01:00\"}",
		"{\"email\": null, \"name\": \"\", \"ltv\": -0, \"tags\": [], \"address\": {}, \"at\": 1700000000, \"other\": {\"\": [[]]}}"
	};
	Batch	   *batch = palloc0(sizeof(Batch));
	int			limit = connector_limits(connector, operation).batch_size;

	batch->operation = operation;
	batch->attempt = 1;
	batch->record_count = limit == 1 ? 1 : 2;
	batch->records = palloc0(2 * sizeof(BatchRecord));
	for (int i = 0; i < batch->record_count; i++)
	{
		Record	   *record = &batch->records[i].record;

		batch->records[i].idempotency_key.data[UUID_LEN - 1] = i + 1;
		record->key = slice_of(keys[i]);
		record->identifier = slice_of(i == 0 ? "\"ann@example.com\"" : "7");
		record->id = slice_of(i == 0 ? "\"vendor-1\"" : "");
		record->version = slice_of(i == 0 ? "3" : "");
		record->data = slice_of(operation == OPERATION_DELETE ? "" : fields[i]);
	}
	return batch;
}

static bool
is_text(const char *text)
{
	return text == NULL || pg_verify_mbstr(PG_UTF8, text, strlen(text), true);
}

void
check_rendered(const Connector *connector, const Batch *batch)
{
	static const RunFacts run = {"sync_1", "Ann's \"sync\"", "upsert", "run_1"};
	HttpRequest request = {0};
	char	   *error = NULL;

	if (!connector_render(connector, &run, batch, &request, &error))
	{
		must(error != NULL && is_text(error));
		return;
	}
	must(url_fault(request.url) == NULL);
	must(request.body != NULL || request.body_length == 0);
	for (int i = 0; i < request.header_count; i++)
	{
		must(header_name_fault(request.headers[i].name) == NULL);
		must(header_value_fault(request.headers[i].value) == NULL);
	}
}

/* The same answer, to the request for an access token. */
static void
check_token_answer(const Connector *connector, const HttpAnswer *answer)
{
	HttpRequest request = {0};
	TokenAnswer read = {0};
	char	   *error = NULL;

	if (!connector_uses_token(connector) || connector_makes_token(connector))
		return;
	if (connector_render_token_request(connector, "refresh", &request, &error))
		must(url_fault(request.url) == NULL);
	connector_read_token_answer(connector, answer, &read);
	must(read.verdict != TOKEN_GRANTED || (read.token != NULL && is_text(read.token->value)));
	must(read.lifetime >= 0 && read.retry_after_ms >= 0);
}

void
check_attributed(const Connector *connector, const Batch *batch, int status,
				 const char *headers, const char *body, size_t body_length)
{
	HttpAnswer	answer = {.result = HTTP_ANSWERED,.status = status,.headers = headers,
	.body = body,.body_length = body_length};
	RecordOutcome *outcomes = palloc0(batch->record_count * sizeof(RecordOutcome));
	int64		retry_after_ms = 0;

	connector_attribute(connector, batch, &answer, outcomes, &retry_after_ms);
	must(retry_after_ms >= 0);
	for (int i = 0; i < batch->record_count; i++)
	{
		must(outcomes[i].class <= CLASS_UNKNOWN);
		must(is_text(outcomes[i].code) && is_text(outcomes[i].message));
		must(pg_verify_mbstr(PG_UTF8, outcomes[i].id.data, outcomes[i].id.length, true));
		must(pg_verify_mbstr(PG_UTF8, outcomes[i].version.data, outcomes[i].version.length, true));
	}
	check_token_answer(connector, &answer);
}
