/*
 * expression_parse.c
 *		From the text of a hole to an expression.
 *
 * What is known when the manifest is compiled, the config above all, is
 * resolved here: such a hole becomes a constant.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "connector/connector_internal.h"
#include "connector/expression_internal.h"
#include "connector/jsonb_reader.h"

/* References that are fixed words. */
static const struct
{
	const char *name;
	Source		source;
	int			sees;			/* what the place must see; 0: always there */
}			fixed_references[] =
{
	{"assertion", SOURCE_ASSERTION, SEES_TOKEN_REQUEST},
	{"attempt.now", SOURCE_ATTEMPT_NOW, SEES_ATTEMPT},
	{"attempt.number", SOURCE_ATTEMPT_NUMBER, SEES_ATTEMPT},
	{"batch.id", SOURCE_BATCH_ID, SEES_REQUEST},
	{"batch.size", SOURCE_BATCH_SIZE, SEES_REQUEST},
	{"body", SOURCE_BODY, SEES_BODY},
	{"fields", SOURCE_FIELDS, SEES_RECORD},
	{"id", SOURCE_ID, SEES_RECORD},
	{"key", SOURCE_KEY, SEES_RECORD},
	{"op", SOURCE_OP, SEES_REQUEST},
	{"record.idempotency_key", SOURCE_RECORD_IDEMPOTENCY_KEY, SEES_RECORD},
	{"record.index", SOURCE_RECORD_INDEX, SEES_RECORD},
	{"record.key", SOURCE_RECORD_KEY, SEES_RECORD},
	{"refresh_token", SOURCE_REFRESH_TOKEN, SEES_TOKEN_REQUEST},
	{"rows", SOURCE_ROWS, SEES_ROWS},
	{"run.id", SOURCE_RUN_ID, SEES_REQUEST},
	{"signature", SOURCE_SIGNATURE, SEES_SIGNATURE},
	{"sync.id", SOURCE_SYNC_ID, SEES_REQUEST},
	{"sync.mode", SOURCE_SYNC_MODE, SEES_REQUEST},
	{"sync.name", SOURCE_SYNC_NAME, SEES_REQUEST},
	{"version", SOURCE_VERSION, SEES_RECORD},
};

/* Where secrets may be. */
#define SEES_SECRET (SEES_REQUEST | SEES_TOKEN_REQUEST)

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
	const char *names[lengthof(fixed_references) + 7];
	int			count = 0;

	for (int i = 0; i < (int) lengthof(fixed_references); i++)
		if ((fixed_references[i].sees & ~parser->sees) == 0)
			names[count++] = fixed_references[i].name;
	if (parser->sees & SEES_RECORD)
	{
		names[count++] = "row.FIELD";
		names[count++] = "key.COLUMN";
	}
	if (parser->sees & SEES_SECRET)
		names[count++] = "secret.NAME";
	if ((parser->sees & SEES_TOKEN) && parser->compiler->token != NULL)
		names[count++] = "token";
	names[count++] = "object";
	names[count++] = "identifier";
	if (parser->compiler->config != NULL)
		names[count++] = "config.NAME";
	compiler_fault(parser->compiler, parser->path, choice_hint(name, names, count),
				   "There is no \"%s\" here.", name);
}

static void
check_config_name(const Compiler *compiler, const char *path, const char *name)
{
	for (int i = 0; i < compiler->config_name_count; i++)
		if (strcmp(compiler->config_names[i], name) == 0)
			return;
	compiler_fault(compiler, path,
				   choice_hint(name, compiler->config_names, compiler->config_name_count),
				   "The manifest's \"config\" has no \"%s\".", name);
}

/* config.NAME...: its value is known now. */
static void
resolve_config(Parser *parser, Reference *reference, char **words, int count)
{
	Compiler   *compiler = parser->compiler;
	JsonbValue	value;

	if (compiler->config == NULL || count < 2)
		unknown_reference(parser, "config");
	check_config_name(compiler, parser->path,
					  pg_any_to_server(words[1], strlen(words[1]), PG_UTF8));
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
	compiler_use_secret(compiler, parser->path, words[1], !compiler->of_other_object);
	reference->source = SOURCE_SECRET;
	reference->secret = words[1];
}

/* token, or token.NAME: what its answer had beside it. */
static void
resolve_token(Parser *parser, Reference *reference, char **words, int count)
{
	Compiler   *compiler = parser->compiler;
	TokenNames *token = compiler->token;

	if (token == NULL)
		compiler_fault(compiler, parser->path, "Say in \"auth.token\" how to get one.",
					   "There is no access token.");
	if ((parser->sees & SEES_TOKEN) == 0)
		compiler_fault(compiler, parser->path, "Make it a member of \"auth.body\".",
					   "A body is the same at each attempt, and an access token is not.");
	token->used = true;
	reference->source = SOURCE_TOKEN;
	reference->captured = -1;
	if (count == 1)
		return;
	for (int i = 0; i < token->count; i++)
		if (count == 2 && strcmp(words[1], token->names[i]) == 0)
		{
			reference->captured = i;
			return;
		}
	compiler_fault(compiler, parser->path, choice_hint(words[1], token->names, token->count),
				   "\"auth.token.capture\" has no \"%s\".", words[1]);
}

static void
set_path(Reference *reference, Source source, char **words, int count)
{
	reference->source = source;
	reference->path_length = count;
	reference->path = palloc(count * sizeof(Slice));
	for (int i = 0; i < count; i++)
		reference->path[i] = slice_of(words[i]);
}

/* References into what a record holds; false: it is none. */
static bool
resolve_record_path(Parser *parser, Reference *reference, char **words, int count)
{
	if ((parser->sees & SEES_RECORD) == 0 || count < 2)
		return false;
	if (strcmp(words[0], "row") == 0)
		set_path(reference, SOURCE_ROW_FIELD, words + 1, count - 1);
	else if (strcmp(words[0], "key") == 0)
		set_path(reference, SOURCE_KEY_COLUMN, words + 1, count - 1);
	else if (strcmp(words[0], "id") == 0)
		set_path(reference, SOURCE_ID, words + 1, count - 1);
	else
		return false;
	return true;
}

/* The operation cannot be done without what is referred to. */
static void
note_reference(Parser *parser, const Reference *reference)
{
	if (reference->source == SOURCE_ID)
		parser->compiler->references->id = true;
	else if (reference->source == SOURCE_VERSION)
		parser->compiler->references->version = true;
}

/* Text that is known now; or NULL. */
static void
resolve_known(Parser *parser, Reference *reference, const char *text)
{
	if (text == NULL)
		set_constant(reference, VALUE_ABSENT, "");
	else
		set_constant(reference, VALUE_TEXT, compiler_utf8(parser->compiler, parser->path, text));
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
	if (strcmp(words[0], "secret") == 0 && (parser->sees & SEES_SECRET))
	{
		resolve_secret(parser, reference, words, count);
		return;
	}
	if (strcmp(words[0], "token") == 0 && (parser->sees & (SEES_TOKEN | SEES_REQUEST)))
	{
		resolve_token(parser, reference, words, count);
		return;
	}
	if (strcmp(words[0], "object") == 0 && count == 1)
	{
		resolve_known(parser, reference, parser->compiler->object);
		return;
	}
	if (strcmp(words[0], "identifier") == 0 && count == 1)
	{
		/* Where one is needed, a sync without is refused (object.c). */
		resolve_known(parser, reference,
					  parser->compiler->identifier ? parser->compiler->identifier : "");
		return;
	}
	if (resolve_record_path(parser, reference, words, count))
		return;

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
	note_reference(parser, reference);
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

	if (compiler->without_record)
		parser.sees &= ~(SEES_RECORD | SEES_ROWS);
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

