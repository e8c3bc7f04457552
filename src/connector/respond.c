/*
 * respond.c
 *		Compiles a "respond" block: how an answer names rows.
 */
#include "postgres.h"

#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"

static const char *const decodings[] = {"none", "json", "ndjson", "text"};

static const char *const modes[] = {
	"all", "positional", "index_list", "index_map", "correlation", "key", "counts"
};

static JsonPath *
read_path(Compiler *compiler, const char *path, const JsonbValue *json, const char *name)
{
	char	   *text = read_string(compiler, path, json, name, false);
	TextTemplate *template;
	const char *constant;

	if (text == NULL)
		return NULL;
	path = path_member(path, name);
	template = text_template_compile(compiler, path, text, TEXT_PLAIN, 0);
	constant = text_template_constant(template);
	if (constant == NULL)
		compiler_fault(compiler, path, NULL, "A path can only have holes over the config.");
	return compile_jsonpath(compiler, path, constant);
}

/* "items": a path or a list of paths. */
static void
read_item_paths(Compiler *compiler, const char *path, const JsonbValue *json, ResultList *list)
{
	JsonbValue	items;
	JsonbValue *elements;

	if (!jsonb_member(json, "items", &items))
		compiler_fault(compiler, path_member(path, "items"), NULL, "It is required.");
	path = path_member(path, "items");
	elements = &items;
	list->path_count = 1;
	if (jsonb_is_array(&items))
		list->path_count = jsonb_elements(&items, &elements);
	list->paths = palloc(list->path_count * sizeof(JsonPath *));
	for (int i = 0; i < list->path_count; i++)
	{
		if (elements[i].type != jbvString)
			compiler_fault(compiler, path, NULL, "It must be a path, or a list of paths.");
		list->paths[i] = compile_jsonpath(compiler, path, jsonb_string(&elements[i]));
	}
}

/* Do results name the rows that failed, and say nothing of the good ones? */
static bool
lists_failures(const RowsSpec *rows)
{
	return !rows->of_lookup &&
		(rows->mode == ATTRIBUTE_INDEX_LIST || rows->mode == ATTRIBUTE_INDEX_MAP ||
		 rows->mode == ATTRIBUTE_KEY);
}

/*
 * What names rows in "correlation" and "key", of this list or of all; both sides
 * are compared through some functions.
 */
static void
read_tokens(Compiler *compiler, const char *path, const JsonbValue *json,
			const JsonbValue *rows_json, const RowsSpec *rows, ResultList *list)
{
	char	   *token = read_string(compiler, path, json, "token", false);
	char	   *compare = read_string(compiler, path, json, "compare", false);

	if (token == NULL)
	{
		token = read_string(compiler, path, rows_json, "token", false);
		if (compare == NULL)
			compare = read_string(compiler, path, rows_json, "compare", false);
	}
	if (token == NULL)
		token = rows->mode == ATTRIBUTE_KEY ? "{{key}}" : "{{record.idempotency_key}}";
	list->token = text_template_compile(compiler, path_member(path, "token"), token,
										TEXT_PLAIN, SEES_RECORD);
	if (compare != NULL)
		list->compare = text_template_compile(compiler, path_member(path, "compare"),
											  psprintf("{{body|%s}}", compare),
											  TEXT_PLAIN, SEES_BODY);
}

static void
compile_list(Compiler *compiler, const char *path, const JsonbValue *json,
			 const JsonbValue *rows_json, const RowsSpec *rows, ResultList *list)
{
	JsonbValue	class;

	read_item_paths(compiler, path, json, list);
	if (rows->mode == ATTRIBUTE_CORRELATION || rows->mode == ATTRIBUTE_KEY)
		read_tokens(compiler, path, json, rows_json, rows, list);
	list->get = read_path(compiler, path, json, "get");
	list->error = read_path(compiler, path, json, "error");
	list->code = read_path(compiler, path, json, "code");
	list->id = capture_compile(compiler, path, json, "id", false);
	list->version = capture_compile(compiler, path, json, "version", false);

	/* A list of errors names failed rows, other results speak for themselves. */
	list->class = lists_failures(rows) ? CLASS_REJECTED : CLASS_OK;
	if (!jsonb_member(json, "class", &class))
		return;
	path = path_member(path, "class");
	if (class.type == jbvString)
		list->class = class_from_name(compiler, path, jsonb_string(&class));
	else
	{
		list->rules = rules_compile(compiler, path, &class, true);
		list->class = CLASS_UNKNOWN;
	}
	if (list->class == CLASS_PARTIAL)
		compiler_fault(compiler, path, NULL, "A row cannot be \"partial\".");
}

static const char *const list_keys[] = {
	"items", "get", "class", "error", "code", "id", "version", "token", "compare"
};

static void
compile_lists(Compiler *compiler, const char *path, const JsonbValue *json, RowsSpec *rows)
{
	JsonbValue	results;
	JsonbValue *elements;

	if (!jsonb_member(json, "results", &results))
	{
		rows->list_count = 1;
		rows->lists = palloc0(sizeof(ResultList));
		compile_list(compiler, path, json, json, rows, rows->lists);
		return;
	}
	path = path_member(path, "results");
	if (!jsonb_is_array(&results))
		compiler_fault(compiler, path, NULL, "It must be a list, not %s.",
					   jsonb_type_phrase(&results));
	rows->list_count = jsonb_elements(&results, &elements);
	rows->lists = palloc0(rows->list_count * sizeof(ResultList));
	for (int i = 0; i < rows->list_count; i++)
	{
		check_keys(compiler, path_element(path, i), &elements[i], list_keys, lengthof(list_keys));
		compile_list(compiler, path_element(path, i), &elements[i], json, rows, &rows->lists[i]);
	}
}

static int
read_base(Compiler *compiler, const char *path, const JsonbValue *json)
{
	JsonbValue	base;
	char	   *text;

	if (!jsonb_member(json, "base", &base))
		return 0;
	text = jsonb_plain_text(&base);
	if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
		compiler_fault(compiler, path_member(path, "base"), NULL,
					   "Rows are counted from 0 or from 1.");
	return text[0] - '0';
}

/* Rows that no result names: a list of errors leaves out the good ones. */
static int
read_default(Compiler *compiler, const char *path, const JsonbValue *json, const RowsSpec *rows)
{
	char	   *name = read_string(compiler, path, json, "default", false);

	if (name != NULL)
		return class_from_name(compiler, path_member(path, "default"), name);
	if (rows->of_lookup && rows->mode != ATTRIBUTE_POSITIONAL)
		return CLASS_GONE_OK;
	return lists_failures(rows) ? CLASS_OK : CLASS_UNKNOWN;
}

static void
compile_rows(Compiler *compiler, const char *path, const JsonbValue *json, RowsSpec *rows)
{
	static const char *const keys[] = {
		"mode", "default", "results", "items", "get", "class", "error", "code",
		"token", "compare", "base", "failed", "accepted", "id", "version"
	};

	check_keys(compiler, path, json, keys, lengthof(keys));
	rows->mode = read_choice(compiler, path, json, "mode", modes, lengthof(modes), ATTRIBUTE_ALL);
	rows->otherwise = read_default(compiler, path, json, rows);
	rows->failed = read_path(compiler, path, json, "failed");
	switch (rows->mode)
	{
		case ATTRIBUTE_ALL:
			rows->id = capture_compile(compiler, path, json, "id", true);
			rows->version = capture_compile(compiler, path, json, "version", true);
			break;
		case ATTRIBUTE_COUNTS:
			rows->accepted = read_path(compiler, path, json, "accepted");
			if (rows->failed == NULL && rows->accepted == NULL)
				compiler_fault(compiler, path, NULL,
							   "Mode \"counts\" needs \"failed\" or \"accepted\".");
			break;
		case ATTRIBUTE_CORRELATION:
		case ATTRIBUTE_KEY:
			compile_lists(compiler, path, json, rows);
			break;
		case ATTRIBUTE_POSITIONAL:
		case ATTRIBUTE_INDEX_LIST:
		case ATTRIBUTE_INDEX_MAP:
			rows->base = read_base(compiler, path, json);
			compile_lists(compiler, path, json, rows);
			break;
	}
}

void
respond_compile(Compiler *compiler, const char *path, const JsonbValue *json,
				bool is_lookup, RespondSpec *respond)
{
	static const char *const keys[] = {
		"decode", "optional", "rows", "error", "code", "existing_id"
	};
	JsonbValue	rows;

	respond->rows.of_lookup = is_lookup;
	check_keys(compiler, path, json, keys, lengthof(keys));
	respond->decoding = read_choice(compiler, path, json, "decode", decodings,
									lengthof(decodings), DECODE_JSON);
	respond->optional = read_bool(compiler, path, json, "optional", false);
	respond->error = read_path(compiler, path, json, "error");
	respond->code = read_path(compiler, path, json, "code");
	respond->existing_id = capture_compile(compiler, path, json, "existing_id", true);
	if (jsonb_member(json, "rows", &rows))
		compile_rows(compiler, path_member(path, "rows"), &rows, &respond->rows);
	if (respond->decoding == DECODE_NONE && respond->rows.mode != ATTRIBUTE_ALL)
		compiler_fault(compiler, path_member(path, "rows"), NULL,
					   "What is not decoded can name no rows.");
}
