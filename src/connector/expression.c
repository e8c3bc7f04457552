/*
 * expression.c
 *		What is inside a hole: a reference and functions applied to it.
 */
#include "postgres.h"

#include <time.h>

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "base/json_text.h"
#include "connector/connector_internal.h"
#include "connector/expression.h"
#include "connector/jsonb_reader.h"

#define MAX_ARGUMENTS 4

typedef enum Source
{
	SOURCE_CONSTANT,
	SOURCE_KEY,					/* the identifier */
	SOURCE_KEY_COLUMN,			/* a column of the primary key */
	SOURCE_ROW_FIELD,
	SOURCE_FIELDS,
	SOURCE_RECORD_KEY,			/* all columns of the primary key */
	SOURCE_RECORD_IDEMPOTENCY_KEY,
	SOURCE_RECORD_INDEX,
	SOURCE_OP,
	SOURCE_BATCH_ID,
	SOURCE_BATCH_SIZE,
	SOURCE_RUN_ID,
	SOURCE_SYNC_ID,
	SOURCE_SYNC_NAME,
	SOURCE_SYNC_MODE,
	SOURCE_ATTEMPT_NUMBER,
	SOURCE_ATTEMPT_NOW,
	SOURCE_SECRET,
	SOURCE_ROWS,
	SOURCE_BODY
} Source;

/* References that are fixed words. */
static const struct
{
	const char *name;
	Source		source;
	int			sees;			/* what the place must see; 0: always there */
}			fixed_references[] =
{
	{"attempt.now", SOURCE_ATTEMPT_NOW, SEES_ATTEMPT},
	{"attempt.number", SOURCE_ATTEMPT_NUMBER, SEES_ATTEMPT},
	{"batch.id", SOURCE_BATCH_ID, SEES_REQUEST},
	{"batch.size", SOURCE_BATCH_SIZE, SEES_REQUEST},
	{"body", SOURCE_BODY, SEES_BODY},
	{"fields", SOURCE_FIELDS, SEES_RECORD},
	{"key", SOURCE_KEY, SEES_RECORD},
	{"op", SOURCE_OP, SEES_REQUEST},
	{"record.idempotency_key", SOURCE_RECORD_IDEMPOTENCY_KEY, SEES_RECORD},
	{"record.index", SOURCE_RECORD_INDEX, SEES_RECORD},
	{"record.key", SOURCE_RECORD_KEY, SEES_RECORD},
	{"rows", SOURCE_ROWS, SEES_ROWS},
	{"run.id", SOURCE_RUN_ID, SEES_REQUEST},
	{"sync.id", SOURCE_SYNC_ID, SEES_REQUEST},
	{"sync.mode", SOURCE_SYNC_MODE, SEES_REQUEST},
	{"sync.name", SOURCE_SYNC_NAME, SEES_REQUEST},
};

typedef struct Reference
{
	Source		source;
	Value		constant;
	Slice	   *path;			/* of SOURCE_KEY_COLUMN, SOURCE_ROW_FIELD */
	int			path_length;
	char	   *secret;
} Reference;

typedef struct Call
{
	const Function *function;
	int			argument_count;
	Reference	arguments[MAX_ARGUMENTS];
} Call;

struct Expression
{
	Reference	reference;
	int			call_count;
	Call	   *calls;
	char	   *text;			/* in the server's encoding */
};

/* --- parsing --- */

typedef struct Parser
{
	Compiler   *compiler;
	const char *path;
	int			sees;
	const char *p;
} Parser;

static void
skip_space(Parser *parser)
{
	while (*parser->p == ' ' || *parser->p == '\t' || *parser->p == '\n')
		parser->p++;
}

static bool
take(Parser *parser, char c)
{
	skip_space(parser);
	if (*parser->p != c)
		return false;
	parser->p++;
	return true;
}

static bool
is_word_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '$' || c == '-' || c >= 0x80;
}

static char *
take_quoted(Parser *parser)
{
	StringInfoData text;

	initStringInfo(&text);
	for (parser->p++; *parser->p != '\''; parser->p++)
	{
		if (*parser->p == '\0')
			compiler_fault(parser->compiler, parser->path, NULL,
						   "A string in single quotes has no end.");
		appendStringInfoChar(&text, *parser->p);
	}
	parser->p++;
	return text.data;
}

static char *
take_word(Parser *parser)
{
	const char *start;

	skip_space(parser);
	if (*parser->p == '\'')
		return take_quoted(parser);
	start = parser->p;
	while (is_word_byte((unsigned char) *parser->p))
		parser->p++;
	if (parser->p == start)
		compiler_fault(parser->compiler, parser->path,
					   "A hole looks like {{row.email | trim | lower}}.",
					   "A name is missing at \"%s\".",
					   start[0] ? pg_any_to_server(start, strlen(start), PG_UTF8) : "the end");
	return pnstrdup(start, parser->p - start);
}

static Slice
slice_of(const char *text)
{
	Slice		slice = {.data = text,.length = strlen(text)};

	return slice;
}

static void
set_constant(Reference *reference, ValueKind kind, const char *text)
{
	reference->source = SOURCE_CONSTANT;
	reference->constant.kind = kind;
	reference->constant.data = slice_of(text);
}

static void
unknown_reference(Parser *parser, const char *name)
{
	const char *names[lengthof(fixed_references) + 5];
	int			count = 0;

	for (int i = 0; i < (int) lengthof(fixed_references); i++)
		if ((fixed_references[i].sees & ~parser->sees) == 0)
			names[count++] = fixed_references[i].name;
	if (parser->sees & SEES_RECORD)
	{
		names[count++] = "row.FIELD";
		names[count++] = "key.COLUMN";
	}
	if (parser->sees & SEES_REQUEST)
		names[count++] = "secret.NAME";
	names[count++] = "object";
	if (parser->compiler->config != NULL)
		names[count++] = "config.NAME";
	compiler_fault(parser->compiler, parser->path, choice_hint(name, names, count),
				   "There is no \"%s\" here.", name);
}

/* config.NAME...: its value is known now. */
static void
resolve_config(Parser *parser, Reference *reference, char **words, int count)
{
	Compiler   *compiler = parser->compiler;
	JsonbValue	value;

	if (compiler->config == NULL || count < 2)
		unknown_reference(parser, "config");
	value = jsonb_root(compiler->config);
	set_constant(reference, VALUE_ABSENT, "");
	for (int i = 1; i < count; i++)
		if (!jsonb_member(&value, pg_any_to_server(words[i], strlen(words[i]), PG_UTF8), &value))
			return;
	if (value.type == jbvNull)
		return;
	set_constant(reference, VALUE_JSON,
				 compiler_utf8(compiler, parser->path, jsonb_text(&value)));
}

static void
resolve_secret(Parser *parser, Reference *reference, char **words, int count)
{
	Compiler   *compiler = parser->compiler;

	if (count != 2)
		compiler_fault(compiler, parser->path, NULL,
					   "A secret is referred to as secret.NAME.");
	for (int i = 0; i < compiler->secret_count; i++)
		if (strcmp(words[1], compiler->secrets[i]) == 0)
			break;
		else if (i == compiler->secret_count - 1)
			compiler_fault(compiler, parser->path,
						   choice_hint(words[1], compiler->secrets, compiler->secret_count),
						   "The config declares no secret \"%s\".", words[1]);
	if (compiler->secret_count == 0)
		compiler_fault(compiler, parser->path, NULL,
					   "The config declares no secret \"%s\".", words[1]);
	reference->source = SOURCE_SECRET;
	reference->secret = words[1];
}

static void
resolve_words(Parser *parser, Reference *reference, char **words, int count)
{
	StringInfoData name;

	if (strcmp(words[0], "config") == 0)
	{
		resolve_config(parser, reference, words, count);
		return;
	}
	if (strcmp(words[0], "secret") == 0 && (parser->sees & SEES_REQUEST))
	{
		resolve_secret(parser, reference, words, count);
		return;
	}
	if (strcmp(words[0], "object") == 0 && count == 1)
	{
		if (parser->compiler->object == NULL)
			set_constant(reference, VALUE_ABSENT, "");
		else
			set_constant(reference, VALUE_TEXT,
						 compiler_utf8(parser->compiler, parser->path,
									   parser->compiler->object));
		return;
	}
	if ((parser->sees & SEES_RECORD) && count > 1 &&
		(strcmp(words[0], "row") == 0 || strcmp(words[0], "key") == 0))
	{
		reference->source = words[0][0] == 'r' ? SOURCE_ROW_FIELD : SOURCE_KEY_COLUMN;
		reference->path_length = count - 1;
		reference->path = palloc(reference->path_length * sizeof(Slice));
		for (int i = 1; i < count; i++)
			reference->path[i - 1] = slice_of(words[i]);
		return;
	}

	initStringInfo(&name);
	for (int i = 0; i < count; i++)
		appendStringInfo(&name, "%s%s", i > 0 ? "." : "", words[i]);
	for (int i = 0; i < (int) lengthof(fixed_references); i++)
		if (strcmp(name.data, fixed_references[i].name) == 0 &&
			(fixed_references[i].sees & ~parser->sees) == 0)
		{
			reference->source = fixed_references[i].source;
			return;
		}
	unknown_reference(parser, name.data);
}

static void
take_reference(Parser *parser, Reference *reference)
{
	char	   *words[16];
	int			count = 0;

	memset(reference, 0, sizeof(Reference));
	skip_space(parser);
	if (*parser->p == '\'')
	{
		set_constant(reference, VALUE_TEXT, take_quoted(parser));
		return;
	}
	if ((*parser->p >= '0' && *parser->p <= '9') || *parser->p == '-')
	{
		const char *start = parser->p++;

		while (*parser->p >= '0' && *parser->p <= '9')
			parser->p++;
		set_constant(reference, VALUE_JSON, pnstrdup(start, parser->p - start));
		return;
	}
	do
	{
		if (count == lengthof(words))
			compiler_fault(parser->compiler, parser->path, NULL,
						   "A reference has too many parts.");
		words[count++] = take_word(parser);
	} while (take(parser, '.'));
	resolve_words(parser, reference, words, count);
}

static void
take_call(Parser *parser, Call *call)
{
	char	   *name = take_word(parser);

	memset(call, 0, sizeof(Call));
	call->function = function_find(name);
	if (call->function == NULL)
	{
		int			count;
		const char *const *names = function_names(&count);

		compiler_fault(parser->compiler, parser->path, choice_hint(name, names, count),
					   "There is no function \"%s\".", name);
	}
	if (take(parser, '(') && !take(parser, ')'))
	{
		do
		{
			if (call->argument_count == MAX_ARGUMENTS)
				compiler_fault(parser->compiler, parser->path, NULL,
							   "Function \"%s\" has too many arguments.", name);
			take_reference(parser, &call->arguments[call->argument_count++]);
		} while (take(parser, ','));
		if (!take(parser, ')'))
			compiler_fault(parser->compiler, parser->path, NULL,
						   "A closing parenthesis is missing after the arguments of \"%s\".", name);
	}
	if (!function_accepts(call->function, call->argument_count))
		compiler_fault(parser->compiler, parser->path, NULL,
					   "Function \"%s\" does not take %d arguments.", name,
					   call->argument_count);
}

/* Functions of constants are applied once, now. */
static void
fold_constant(Parser *parser, Expression *expression)
{
	Evaluation	evaluation = {0};
	Value		value;

	if (expression->reference.source != SOURCE_CONSTANT)
		return;
	for (int i = 0; i < expression->call_count; i++)
		for (int j = 0; j < expression->calls[i].argument_count; j++)
			if (expression->calls[i].arguments[j].source != SOURCE_CONSTANT)
				return;
	if (!expression_evaluate(expression, &evaluation, &value))
		compiler_fault(parser->compiler, parser->path, NULL, "%s", evaluation.error);
	expression->reference.constant = value;
	expression->call_count = 0;
}

Expression *
expression_parse(Compiler *compiler, const char *path, const char *text, int sees,
				 const char **end)
{
	Parser		parser = {compiler, path, sees, text};
	Expression *expression = palloc0(sizeof(Expression));
	List	   *calls = NIL;
	ListCell   *cell;

	take_reference(&parser, &expression->reference);
	while (take(&parser, '|'))
	{
		Call	   *call = palloc(sizeof(Call));

		take_call(&parser, call);
		calls = lappend(calls, call);
	}
	skip_space(&parser);
	if (strncmp(parser.p, "}}", 2) != 0)
		compiler_fault(compiler, path, "A hole looks like {{row.email | trim | lower}}.",
					   "\"}}\" is missing after \"{{%s\".",
					   pg_any_to_server(pnstrdup(text, parser.p - text),
										parser.p - text, PG_UTF8));

	expression->text = psprintf("{{%s}}", pg_any_to_server(pnstrdup(text, parser.p - text),
														   parser.p - text, PG_UTF8));
	expression->calls = palloc(list_length(calls) * sizeof(Call));
	foreach(cell, calls)
		expression->calls[expression->call_count++] = *(Call *) lfirst(cell);
	fold_constant(&parser, expression);
	*end = parser.p + 2;
	return expression;
}

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
	return reference->source >= SOURCE_KEY && reference->source <= SOURCE_RECORD_INDEX;
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

/* --- evaluating --- */

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

static bool
set_secret(Value *value, const char *name, Evaluation *evaluation)
{
	const Connector *connector = evaluation->connector;
	const char *secret = NULL;

	if (connector->secret != NULL)
		secret = connector->secret(connector->secret_arg, name);
	if (secret == NULL)
	{
		evaluation->error = psprintf("the secret \"%s\" is not set", name);
		return false;
	}
	set_text(value, secret);
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
			set_integer(value, (int64) time(NULL));
			return true;
		case SOURCE_SECRET:
			return set_secret(value, reference->secret, evaluation);
		case SOURCE_ROWS:
			return set_rows(value, evaluation);
		case SOURCE_BODY:
			value->kind = VALUE_TEXT;
			value->data = evaluation->body;
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
