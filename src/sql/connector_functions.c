/*
 * connector_functions.c
 *		Trying a connector without sending anything.
 *
 * The same code that a run uses renders a request for records that the caller
 * makes up, and says what an answer that he makes up would mean for them.
 * Secrets are not opened: a placeholder stands where one would.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/json_text.h"
#include "connector/connector.h"
#include "target/target_statement.h"

SQL_FUNCTION(signalsmith_render);
SQL_FUNCTION(signalsmith_interpret);

static char *
argument_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* The first four arguments: connector, manifest, config, object. */
static Connector *
connector_argument(FunctionCallInfo fcinfo)
{
	ConnectorUse use = {.object = argument_text(fcinfo, 3)};
	Connector  *connector = connector_compile(argument_text(fcinfo, 0),
											  PG_GETARG_JSONB_P(1),
											  PG_GETARG_JSONB_P(2),
											  &use);

	connector_set_placeholders(connector);
	return connector;
}

/* --- records --- */

static Slice
member(Slice object, const char *name)
{
	Slice		value;

	if (!json_text_member(object, (Slice) {name, strlen(name)}, &value) ||
		value.data[0] == 'n')
		value = (Slice) {"", 0};
	return value;
}

/* What identifies the record, unless it is given: the key, or its one column. */
static Slice
default_identifier(Slice key)
{
	JsonTextCursor cursor;
	Slice		name;
	Slice		value;
	Slice		identifier = key;
	int			count = 0;

	json_text_begin_members(&cursor, key);
	while (json_text_next_member(&cursor, &name, &value))
		if (++count == 1)
			identifier = value;
	return count == 1 ? identifier : key;
}

static void
read_record(Slice json, int number, BatchRecord *result)
{
	Record	   *record = &result->record;

	record->key = member(json, "key");
	record->data = member(json, "data");
	record->id = member(json, "id");
	record->version = member(json, "version");
	record->identifier = member(json, "identifier");
	if (record->key.length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("record %d has no key", number + 1),
				 errhint("A record looks like {\"key\": {\"id\": 1}, \"data\": {\"email\": \"ann@example.com\"}}; \"identifier\", \"id\" and \"version\" may be given too.")));
	if (record->identifier.length == 0)
		record->identifier = default_identifier(record->key);
	memset(result->idempotency_key.data, 0, UUID_LEN);
	result->idempotency_key.data[UUID_LEN - 1] = (unsigned char) (number + 1);
	result->idempotency_key.data[UUID_LEN - 2] = (unsigned char) ((number + 1) >> 8);
}

/* A list of records, or one, as a batch. */
static Batch *
read_batch(const char *operation, const char *records)
{
	Batch	   *batch = palloc0(sizeof(Batch));
	char	   *utf8 = pg_server_to_any(records, strlen(records), PG_UTF8);
	Slice		json;
	JsonTextCursor cursor;
	Slice		element;
	int			count = 0;

	while (*utf8 == ' ' || *utf8 == '\n' || *utf8 == '\t' || *utf8 == '\r')
		utf8++;
	if (*utf8 == '{')
		utf8 = psprintf("[%s]", utf8);
	json = (Slice) {utf8, strlen(utf8)};

	json_text_begin_elements(&cursor, json);
	while (json_text_next_element(&cursor, &element))
		count++;
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("records must be a JSON object or a list of at least one"),
				 errhint("Write them as preview_sync shows them: {\"key\": {\"id\": 1}, \"data\": {\"name\": \"Ada\"}}.")));
	batch->operation = operation_from_name(operation);
	batch->attempt = 1;
	batch->record_count = count;
	batch->records = palloc(count * sizeof(BatchRecord));
	count = 0;
	json_text_begin_elements(&cursor, json);
	while (json_text_next_element(&cursor, &element))
	{
		read_record(element, count, &batch->records[count]);
		count++;
	}
	return batch;
}

static Batch *
batch_arguments(FunctionCallInfo fcinfo, const Connector *connector)
{
	Batch	   *batch = read_batch(argument_text(fcinfo, 4), argument_text(fcinfo, 5));
	ConnectorLimits limits;

	connector_check_operation(connector, batch->operation);
	limits = connector_limits(connector, batch->operation);
	if (limits.batch_size > 0 && batch->record_count > limits.batch_size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg_plural("a request for operation %s carries %d record at most",
							   "a request for operation %s carries %d records at most",
							   limits.batch_size,
							   operation_name(batch->operation), limits.batch_size),
				 errhint("Give fewer records, as a run would.")));
	return batch;
}

static const RunFacts example_run = {"sync_1", "example", "upsert", "run_1"};

/* --- requests --- */

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = pg_any_to_server(text, strlen(text), PG_UTF8);
	value.val.string.len = strlen(value.val.string.val);
	pushJsonbValue(state, token, &value);
}

static void
push_body(JsonbParseState **state, const HttpRequest *request)
{
	Datum		base64;

	if (request->body == NULL)
		return;
	if (strlen(request->body) == request->body_length &&
		pg_verify_mbstr(PG_UTF8, request->body, request->body_length, true))
	{
		push_text(state, WJB_KEY, "body");
		push_text(state, WJB_VALUE, request->body);
		return;
	}
	base64 = DirectFunctionCall2(binary_encode,
								 PointerGetDatum(cstring_to_text_with_len(request->body,
																		  request->body_length)),
								 CStringGetTextDatum("base64"));
	push_text(state, WJB_KEY, "body_base64");
	push_text(state, WJB_VALUE, TextDatumGetCString(base64));
}

static Jsonb *
request_to_jsonb(const HttpRequest *request)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, WJB_KEY, "method");
	push_text(&state, WJB_VALUE, request->method);
	push_text(&state, WJB_KEY, "url");
	push_text(&state, WJB_VALUE, request->url);
	push_text(&state, WJB_KEY, "headers");
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < request->header_count; i++)
	{
		push_text(&state, WJB_KEY, request->headers[i].name);
		push_text(&state, WJB_VALUE, request->headers[i].value);
	}
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	push_body(&state, request);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* --- statements --- */

/* The columns that identify a record are those of its key. */
static TargetTable *
open_table(const Connector *connector, const Batch *batch)
{
	const TableSpec *spec = connector_table(connector);
	Slice		key = batch->records[0].record.key;
	JsonTextCursor cursor;
	Slice		name;
	Slice		value;
	const char **columns = palloc(key.length * sizeof(char *));
	const char **members = palloc(key.length * sizeof(char *));
	TargetTable *table;
	int			count = 0;

	json_text_begin_members(&cursor, key);
	while (json_text_next_member(&cursor, &name, &value))
	{
		StringInfoData decoded;

		initStringInfo(&decoded);
		json_text_decode_string(&decoded, name);
		members[count] = decoded.data;
		columns[count++] = pg_any_to_server(decoded.data, decoded.len, PG_UTF8);
	}
	table = target_table_open(spec, count, columns);
	table->key_members = members;
	return table;
}

static Jsonb *
statement_to_jsonb(const Connector *connector, const Batch *batch)
{
	TargetTable *table = open_table(connector, batch);
	char	   *error = NULL;
	List	   *statements = target_statements(table, target_action(MODE_UPSERT, batch->operation),
											   batch, &error);
	TargetStatement *statement;
	JsonbParseState *state = NULL;

	if (error != NULL || list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the statement cannot be made: %s",
						error != NULL ? error : _("the records have different fields"))));
	statement = linitial(statements);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, WJB_KEY, "statement");
	push_text(&state, WJB_VALUE, pg_server_to_any(statement->text, strlen(statement->text), PG_UTF8));
	push_text(&state, WJB_KEY, "parameter");
	push_text(&state, WJB_VALUE, pnstrdup(statement->parameter.data, statement->parameter.length));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * _render(connector text, manifest jsonb, config jsonb, object text,
 * operation text, records json) returns jsonb
 */
Datum
signalsmith_render(PG_FUNCTION_ARGS)
{
	Connector  *connector = connector_argument(fcinfo);
	Batch	   *batch = batch_arguments(fcinfo, connector);
	HttpRequest request;
	char	   *error;

	if (connector_table(connector) != NULL)
		PG_RETURN_JSONB_P(statement_to_jsonb(connector, batch));
	if (!connector_render(connector, &example_run, batch, &request, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the request cannot be made: %s",
						pg_any_to_server(error, strlen(error), PG_UTF8))));
	PG_RETURN_JSONB_P(request_to_jsonb(&request));
}

/* --- answers --- */

/* {"Retry-After": "10"} as raw header lines. */
static const char *
header_lines(Jsonb *headers)
{
	StringInfoData lines;
	JsonbIterator *iterator = JsonbIteratorInit(&headers->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	initStringInfo(&lines);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			appendStringInfo(&lines, "%.*s: ", value.val.string.len, value.val.string.val);
		else if (token == WJB_VALUE && value.type == jbvString)
			appendStringInfo(&lines, "%.*s\r\n", value.val.string.len, value.val.string.val);
		else if (token == WJB_VALUE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("values of headers must be strings")));
	}
	return lines.data;
}

static void
set_json(Datum *value, bool *isnull, Slice json)
{
	char	   *text;

	*isnull = json.length == 0;
	if (*isnull)
		return;
	text = pnstrdup(json.data, json.length);
	*value = DirectFunctionCall1(jsonb_in,
								 CStringGetDatum(pg_any_to_server(text, json.length, PG_UTF8)));
}

static void
return_outcomes(ReturnSetInfo *result, const Batch *batch, const RecordOutcome *outcomes)
{
	for (int i = 0; i < batch->record_count; i++)
	{
		const RecordOutcome *outcome = &outcomes[i];
		Datum		values[6] = {0};
		bool		nulls[6] = {false};

		set_json(&values[0], &nulls[0], batch->records[i].record.key);
		values[1] = CStringGetTextDatum(outcome_class_name(outcome->class));
		nulls[2] = outcome->code == NULL;
		if (!nulls[2])
			values[2] = CStringGetTextDatum(outcome->code);
		nulls[3] = outcome->message == NULL;
		if (!nulls[3])
			values[3] = CStringGetTextDatum(outcome->message);
		set_json(&values[4], &nulls[4], outcome->id);
		set_json(&values[5], &nulls[5], outcome->version);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/*
 * _interpret(connector text, manifest jsonb, config jsonb, object text,
 * operation text, records json, status integer, headers jsonb, body text)
 * returns setof record
 */
Datum
signalsmith_interpret(PG_FUNCTION_ARGS)
{
	Connector  *connector = connector_argument(fcinfo);
	Batch	   *batch = batch_arguments(fcinfo, connector);
	RecordOutcome *outcomes = palloc0(batch->record_count * sizeof(RecordOutcome));
	char	   *body = argument_text(fcinfo, 8);
	HttpAnswer	answer = {.result = HTTP_ANSWERED};
	int64		retry_after_ms;

	InitMaterializedSRF(fcinfo, 0);
	if (connector_table(connector) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a table gives no answers to interpret")));
	answer.status = PG_GETARG_INT32(6);
	answer.headers = header_lines(PG_GETARG_JSONB_P(7));
	answer.body = body != NULL ? pg_server_to_any(body, strlen(body), PG_UTF8) : "";
	answer.body_length = strlen(answer.body);
	connector_attribute(connector, batch, &answer, outcomes, &retry_after_ms);
	return_outcomes((ReturnSetInfo *) fcinfo->resultinfo, batch, outcomes);
	return (Datum) 0;
}
