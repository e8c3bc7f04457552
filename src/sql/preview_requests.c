/*
 * preview_requests.c
 *		preview_requests, and preview_sync with "render": the very requests that
 *		a run would send first.
 *
 * They are cut and rendered as in a run, by the same code, from a plan that is
 * thrown away.  What only a run has is a placeholder: the idempotency keys,
 * which are made with the plan, and the run's own id.  Secrets are not opened
 * here: the templates are given a placeholder for each.  And who may use the
 * destination without managing it sees what get_destination() would show him of
 * its config.
 *
 * A destination that is a table gets statements instead, and shows those.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "http/redact.h"
#include "run/planning.h"
#include "sql/preview.h"
#include "store/scope.h"
#include "target/target_statement.h"

#define RUN_PLACEHOLDER "run_0"

SQL_FUNCTION(signalsmith_preview_requests);

typedef struct Renderer
{
	const Preview *preview;
	Connector  *connector;
	TargetTable *table;			/* it writes to; or NULL */
	RunFacts	facts;
	List	   *secret_names;	/* of char *, in UTF-8 */
	ReturnSetInfo *result;
	bool		as_changes;		/* in the columns of preview_sync */
	Operation	operation;		/* of the request at hand */
	int			room;			/* requests that may still be returned */
	int64		unrenderable;
	char	   *first_fault;
} Renderer;

/* --- what the requests are made with --- */

static char *
to_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* What is not set has no placeholder either. */
static const char *
read_placeholder(void *arg, const char *name)
{
	const Renderer *renderer = arg;
	ListCell   *cell;

	foreach(cell, renderer->secret_names)
		if (strcmp(lfirst(cell), name) == 0)
			return connector_placeholder(renderer->connector, name);
	return NULL;
}

/* The config as the caller may see it, and which secrets there are. */
static Jsonb *
read_destination(Renderer *renderer, int64 destination_id)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			caller = GetUserId();
	Jsonb	   *config;
	Scope		scope;
	uint64		count;

	scope_enter(&scope);
	scope_execute("SELECT CASE WHEN signalsmith._may_manage($1::oid::regrole, owner) THEN config"
				  "  ELSE signalsmith._redacted_config(config) END"
				  " FROM signalsmith.destination WHERE id = $2",
				  "ol", ObjectIdGetDatum(caller), Int64GetDatum(destination_id));
	config = scope_jsonb(0, 1, context);

	count = scope_execute("SELECT name FROM signalsmith.secret WHERE destination_id = $1",
						  "l", Int64GetDatum(destination_id));
	for (uint64 i = 0; i < count; i++)
	{
		char	   *name = scope_text(i, 1, context);
		MemoryContext old_context = MemoryContextSwitchTo(context);

		renderer->secret_names = lappend(renderer->secret_names, to_utf8(name));
		MemoryContextSwitchTo(old_context);
	}
	scope_leave(&scope);
	return config;
}

static void
prepare_renderer(Renderer *renderer)
{
	const SyncDefinition *definition = renderer->preview->definition;
	Jsonb	   *config = read_destination(renderer, definition->destination_id);
	ConnectorUse use = {
		.object = definition->object,
		.identifier = definition->identifier
	};

	renderer->facts.sync_id = psprintf("sync_" INT64_FORMAT, definition->sync_id);
	renderer->facts.sync_name = to_utf8(definition->sync_name);
	renderer->facts.sync_mode = definition->mode_name;
	renderer->facts.run_id = RUN_PLACEHOLDER;
	renderer->connector = connector_compile(definition->connector,
											definition->manifest, config,
											&use);
	connector_set_secrets(renderer->connector, read_placeholder, renderer);
	connector_set_token_placeholder(renderer->connector);
	connector_require_secrets(renderer->connector, definition->destination_name);
	connector_check_mode(renderer->connector, definition->mode);
	if (connector_table(renderer->connector) != NULL)
		renderer->table = target_table_of_sync(connector_table(renderer->connector),
											   definition);
}

/* --- showing a request --- */

/* Redacts a header's value with the name in front, which tells what it is. */
static char *
redact_header(const HttpHeader *header)
{
	char	   *line = psprintf("%s: %s", header->name, header->value);

	return redact_text(line, NULL, 0) + strlen(header->name) + 2;
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *utf8)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = pg_any_to_server(utf8, strlen(utf8), PG_UTF8);
	value.val.string.len = strlen(value.val.string.val);
	pushJsonbValue(state, token, &value);
}

static Jsonb *
headers_to_jsonb(const HttpRequest *request)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < request->header_count; i++)
	{
		push_text(&state, WJB_KEY, request->headers[i].name);
		push_text(&state, WJB_VALUE, redact_header(&request->headers[i]));
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* One request or statement, as shown; body and headers in UTF-8. */
typedef struct ShownRequest
{
	const char *method;
	const char *url;
	Jsonb	   *headers;
	Slice		body;			/* no data: there is none */
} ShownRequest;

static Jsonb *
shown_request_to_jsonb(const ShownRequest *shown)
{
	JsonbParseState *state = NULL;
	JsonbValue	headers;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, WJB_KEY, "method");
	push_text(&state, WJB_VALUE, shown->method);
	push_text(&state, WJB_KEY, "url");
	push_text(&state, WJB_VALUE, shown->url);
	push_text(&state, WJB_KEY, "headers");
	JsonbToJsonbValue(shown->headers, &headers);
	pushJsonbValue(&state, WJB_VALUE, &headers);
	if (shown->body.data != NULL)
	{
		push_text(&state, WJB_KEY, "body");
		push_text(&state, WJB_VALUE, pnstrdup(shown->body.data, shown->body.length));
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
return_shown_request(Renderer *renderer, const ShownRequest *shown)
{
	ReturnSetInfo *result = renderer->result;
	Datum		values[4] = {0};
	bool		nulls[4] = {false};

	if (renderer->as_changes)
	{
		values[0] = CStringGetTextDatum(operation_name(renderer->operation));
		nulls[1] = true;
		values[2] = JsonbPGetDatum(shown_request_to_jsonb(shown));
	}
	else
	{
		values[0] = CStringGetTextDatum(shown->method);
		values[1] = CStringGetTextDatum(shown->url);
		values[2] = JsonbPGetDatum(shown->headers);
		nulls[3] = shown->body.data == NULL;
		if (!nulls[3])
			values[3] = CStringGetTextDatum(pg_any_to_server(shown->body.data,
															 shown->body.length,
															 PG_UTF8));
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	renderer->room--;
}

static void
return_request(Renderer *renderer, const HttpRequest *request)
{
	ShownRequest shown = {
		.method = request->method,
		.url = request->url,
		.headers = headers_to_jsonb(request),
		.body = {request->body, request->body ? request->body_length : 0}
	};

	return_shown_request(renderer, &shown);
}

/* --- showing a statement --- */

/* In the same columns: the command, the table, the statement, its parameter. */
static void
return_statement(Renderer *renderer, const TargetStatement *statement)
{
	JsonbParseState *state = NULL;
	ShownRequest shown = {
		.method = statement->command,
		.url = renderer->table->name,
		.body = statement->parameter
	};

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, WJB_KEY, "statement");
	push_text(&state, WJB_VALUE, to_utf8(statement->text));
	shown.headers = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	return_shown_request(renderer, &shown);
}

static bool
show_statements(Renderer *renderer, const Batch *batch, char **error)
{
	SyncMode	mode = renderer->preview->definition->mode;
	List	   *statements = target_statements(renderer->table,
											   target_action(mode, batch->operation),
											   batch, error);
	ListCell   *cell;

	foreach(cell, statements)
		if (renderer->room > 0)
			return_statement(renderer, lfirst(cell));
	return statements != NIL;
}

/* --- cutting and rendering --- */

static bool
show_request(Renderer *renderer, const Batch *batch, char **error)
{
	HttpRequest request;

	if (!connector_render(renderer->connector, &renderer->facts, batch, &request, error))
		return false;
	return_request(renderer, &request);
	return true;
}

/* As a run does: a batch that cannot be represented is split. */
static void
render_records(Renderer *renderer, Operation operation, BatchRecord *records, int count)
{
	Batch		batch = {
		.operation = operation,
		.attempt = 1,
		.record_count = count,
		.records = records
	};
	char	   *error;

	if (renderer->room <= 0 ||
		(renderer->table != NULL ?
		 show_statements(renderer, &batch, &error) :
		 show_request(renderer, &batch, &error)))
		return;
	if (count > 1)
	{
		render_records(renderer, operation, records, count / 2);
		render_records(renderer, operation, records + count / 2, count - count / 2);
	}
	else if (renderer->unrenderable++ == 0)
		renderer->first_fault = error;
}

static Size
record_bytes(const Record *record)
{
	return (Size) record->key.length + record->identifier.length +
		record->id.length + record->version.length + record->data.length;
}

static void
render_operation(Renderer *renderer, Operation operation, const OutboxLimits *limits)
{
	List	   *changes = renderer->preview->kept[operation];
	BatchRecord *records = palloc0(Max(1, list_length(changes)) * sizeof(BatchRecord));
	Size		bytes = 0;
	int			first = 0;
	int			count = 0;
	ListCell   *cell;

	renderer->operation = operation;
	foreach(cell, changes)
	{
		const Record *record = &((PreviewedChange *) lfirst(cell))->record;

		if (count > first &&
			(count - first >= limits->max_records ||
			 (limits->max_bytes > 0 && bytes + record_bytes(record) > (Size) limits->max_bytes)))
		{
			render_records(renderer, operation, records + first, count - first);
			first = count;
			bytes = 0;
		}
		records[count++].record = *record;
		bytes += record_bytes(record);
	}
	if (count > first)
		render_records(renderer, operation, records + first, count - first);
}

static void
render_all(Renderer *renderer, const OutboxLimits limits[OPERATION_COUNT])
{
	for (int i = 0; i < OPERATION_COUNT; i++)
	{
		Operation	operation = preview_order[i];

		if (operation != OPERATION_DELETE || !renderer->preview->holds_deletes)
			render_operation(renderer, operation, &limits[operation]);
	}
	if (renderer->unrenderable > 0)
		ereport(NOTICE,
				(errmsg_plural("%lld row would be rejected because its request cannot be made",
							   "%lld rows would be rejected because their requests cannot be made",
							   (unsigned long) renderer->unrenderable,
							   (long long) renderer->unrenderable),
				 errdetail("The first one: %s", renderer->first_fault)));
}

void
preview_return_requests(ReturnSetInfo *result, text *sync, int max_requests, bool as_changes)
{
	Renderer	renderer = {0};
	OutboxLimits limits[OPERATION_COUNT];
	Preview    *preview = preview_create(sync, 0);
	int64		largest = 1;

	renderer.preview = preview;
	renderer.result = result;
	renderer.as_changes = as_changes;
	renderer.room = Max(0, max_requests);
	prepare_renderer(&renderer);

	run_batch_limits(preview->definition, renderer.connector, limits);
	for (int i = 0; i < OPERATION_COUNT; i++)
		largest = Max(largest, limits[i].max_records);
	preview->max_kept = renderer.room * largest;
	preview_plan(preview);
	preview_tell(preview);
	render_all(&renderer, limits);
}

/* preview_requests(sync text, max_requests integer) */
Datum
signalsmith_preview_requests(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("sync and max_requests must not be null")));
	InitMaterializedSRF(fcinfo, 0);
	preview_return_requests((ReturnSetInfo *) fcinfo->resultinfo, PG_GETARG_TEXT_PP(0),
							PG_GETARG_INT32(1), false);
	return (Datum) 0;
}
