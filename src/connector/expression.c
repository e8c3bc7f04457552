/*
 * expression.c
 *		Evaluating what is inside a hole: a reference and functions applied to it.
 */
#include "postgres.h"

#include "base/json_text.h"
#include "connector/connector_internal.h"
#include "connector/expression_internal.h"
#include "connector/token_internal.h"

const Value *
expression_constant(const Expression *expression)
{
	if (expression->reference.source == SOURCE_CONSTANT && expression->call_count == 0)
		return &expression->reference.constant;
	return NULL;
}

bool
expression_is_rows(const Expression *expression)
{
	return expression->reference.source == SOURCE_ROWS && expression->call_count == 0;
}

static bool
depends_on_record(const Reference *reference)
{
	return reference->source >= SOURCE_KEY && reference->source <= SOURCE_VERSION;
}

bool
expression_uses_record(const Expression *expression)
{
	if (depends_on_record(&expression->reference))
		return true;
	for (int i = 0; i < expression->call_count; i++)
		for (int j = 0; j < expression->calls[i].argument_count; j++)
			if (depends_on_record(&expression->calls[i].arguments[j]))
				return true;
	return false;
}

const char *
expression_text(const Expression *expression)
{
	return expression->text;
}

static void
set_text(Value *value, const char *text)
{
	value->kind = VALUE_TEXT;
	value->data = slice_of(text);
}

static void
set_json(Value *value, Slice json)
{
	value->kind = json.length > 0 ? VALUE_JSON : VALUE_ABSENT;
	value->data = json;
}

static void
set_integer(Value *value, int64 number)
{
	value->kind = VALUE_JSON;
	value->data = slice_of(psprintf(INT64_FORMAT, number));
}

static void
set_uuid(Value *value, const pg_uuid_t *uuid)
{
	static const char digits[] = "0123456789abcdef";
	char	   *text = palloc(37);
	char	   *to = text;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[uuid->data[i] >> 4];
		*to++ = digits[uuid->data[i] & 15];
	}
	*to = '\0';
	set_text(value, text);
}

const char *
read_secret(Evaluation *evaluation, const char *name)
{
	const Connector *connector = evaluation->connector;
	const char *secret = NULL;

	if (connector->secret != NULL)
		secret = connector->secret(connector->secret_arg, name);
	if (secret == NULL)
		evaluation->error = psprintf("the secret \"%s\" is not set", name);
	return secret;
}

static bool
set_secret(Value *value, const char *name, Evaluation *evaluation)
{
	const char *secret = read_secret(evaluation, name);

	if (secret == NULL)
		return false;
	set_text(value, secret);
	return true;
}

/* The access token (-1), or what its answer had beside it. */
static bool
set_token(Value *value, int captured, Evaluation *evaluation)
{
	const Connector *connector = evaluation->connector;
	const Token *token = connector->token;
	const char *name = captured < 0 ? "token" :
	psprintf("token.%s", connector->auth.token->capture_names[captured]);

	if (connector->token_placeholder)
		set_text(value, psprintf("[%s]", name));
	else if (token == NULL || (captured >= 0 && token->captured[captured] == NULL))
	{
		evaluation->error = token == NULL ? pstrdup("there is no access token") :
			psprintf("the answer to the token request has no {{%s}}", name);
		return false;
	}
	else
		set_text(value, captured < 0 ? token->value : token->captured[captured]);
	return true;
}

static bool
set_rows(Value *value, Evaluation *evaluation)
{
	StringInfoData rows;

	initStringInfo(&rows);
	if (!append_rows(evaluation, &rows))
		return false;
	value->kind = VALUE_JSON;
	value->data.data = rows.data;
	value->data.length = rows.len;
	return true;
}

static bool
evaluate_reference(const Reference *reference, Evaluation *evaluation, Value *value)
{
	const BatchRecord *record = evaluation->record;
	Slice		slice;

	switch (reference->source)
	{
		case SOURCE_CONSTANT:
			*value = reference->constant;
			return true;
		case SOURCE_KEY:
			set_json(value, record->record.identifier);
			return true;
		case SOURCE_KEY_COLUMN:
		case SOURCE_ROW_FIELD:
			if (!json_text_field(reference->source == SOURCE_KEY_COLUMN ?
								 record->record.key : record->record.data,
								 reference->path, reference->path_length, &slice))
				slice.length = 0;
			set_json(value, slice);
			return true;
		case SOURCE_FIELDS:
			slice = record->record.data;
			set_json(value, slice.length > 0 ? slice : slice_of("null"));
			return true;
		case SOURCE_RECORD_KEY:
			set_json(value, record->record.key);
			return true;
		case SOURCE_RECORD_IDEMPOTENCY_KEY:
			set_uuid(value, &record->idempotency_key);
			return true;
		case SOURCE_RECORD_INDEX:
			set_integer(value, evaluation->record_index);
			return true;
		case SOURCE_ID:
			slice = record->record.id;
			if (reference->path_length > 0 &&
				!json_text_field(slice, reference->path, reference->path_length, &slice))
				slice.length = 0;
			set_json(value, slice);
			return true;
		case SOURCE_VERSION:
			set_json(value, record->record.version);
			return true;
		case SOURCE_OP:
			set_text(value, operation_name(evaluation->batch->operation));
			return true;
		case SOURCE_BATCH_ID:
			set_uuid(value, &evaluation->batch->id);
			return true;
		case SOURCE_BATCH_SIZE:
			set_integer(value, evaluation->batch->record_count);
			return true;
		case SOURCE_RUN_ID:
			set_text(value, evaluation->run->run_id);
			return true;
		case SOURCE_SYNC_ID:
			set_text(value, evaluation->run->sync_id);
			return true;
		case SOURCE_SYNC_NAME:
			set_text(value, evaluation->run->sync_name);
			return true;
		case SOURCE_SYNC_MODE:
			set_text(value, evaluation->run->sync_mode);
			return true;
		case SOURCE_ATTEMPT_NUMBER:
			set_integer(value, evaluation->batch->attempt);
			return true;
		case SOURCE_ATTEMPT_NOW:
			set_integer(value, evaluation->now);
			return true;
		case SOURCE_SECRET:
			return set_secret(value, reference->secret, evaluation);
		case SOURCE_TOKEN:
			return set_token(value, reference->captured, evaluation);
		case SOURCE_ASSERTION:
			value->kind = VALUE_TEXT;
			value->data = evaluation->assertion;
			return true;
		case SOURCE_REFRESH_TOKEN:
			value->kind = VALUE_TEXT;
			value->data = evaluation->refresh_token;
			return true;
		case SOURCE_ROWS:
			return set_rows(value, evaluation);
		case SOURCE_BODY:
			value->kind = VALUE_TEXT;
			value->data = evaluation->body;
			return true;
		case SOURCE_SIGNATURE:
			value->kind = VALUE_TEXT;
			value->data = evaluation->signature;
			return true;
	}
	pg_unreachable();
}

static bool
apply_call(const Call *call, const Expression *expression, Evaluation *evaluation,
		   Value *value)
{
	Value		arguments[MAX_ARGUMENTS];
	const char *error;

	for (int i = 0; i < call->argument_count; i++)
		if (!evaluate_reference(&call->arguments[i], evaluation, &arguments[i]))
			return false;
	if (function_apply(call->function, value, arguments, call->argument_count, &error))
		return true;
	evaluation->error = psprintf("%s: %s", expression->text, error);
	return false;
}

bool
expression_evaluate(const Expression *expression, Evaluation *evaluation, Value *value)
{
	if (!evaluate_reference(&expression->reference, evaluation, value))
		return false;
	for (int i = 0; i < expression->call_count; i++)
		if (!apply_call(&expression->calls[i], expression, evaluation, value))
			return false;
	return true;
}

void
value_append_json(const Value *value, StringInfo out)
{
	if (value->kind == VALUE_ABSENT)
		appendBinaryStringInfo(out, "null", 4);
	else if (value->kind == VALUE_JSON)
		appendBinaryStringInfo(out, value->data.data, value->data.length);
	else
		(void) json_text_append_utf8(out, value->data.data, value->data.length);
}

bool
value_text(const Value *value, Slice *text)
{
	StringInfoData decoded;

	*text = value->data;
	if (value->kind != VALUE_JSON)
		return value->kind == VALUE_TEXT;
	switch (value->data.data[0])
	{
		case '"':
			if (memchr(text->data, '\\', text->length) == NULL)
			{
				text->data++;
				text->length -= 2;
				return true;
			}
			initStringInfo(&decoded);
			json_text_decode_string(&decoded, value->data);
			text->data = decoded.data;
			text->length = decoded.len;
			return true;
		case '{':
		case '[':
		case 'n':
			return false;
		default:
			return true;
	}
}
