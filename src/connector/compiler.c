/*
 * compiler.c
 *		What the compilers of a manifest's parts share.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonpath.h"

#include "base/json_text.h"
#include "base/nearest.h"
#include "connector/compiler.h"
#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"

static char *format_detail(const char *format, va_list args) pg_attribute_printf(1, 0);

static char *
format_detail(const char *format, va_list args)
{
	StringInfoData detail;
	int			needed;
	va_list		copy;

	initStringInfo(&detail);
	for (;;)
	{
		va_copy(copy, args);
		needed = appendStringInfoVA(&detail, format, copy);
		va_end(copy);
		if (needed == 0)
			return detail.data;
		enlargeStringInfo(&detail, needed);
	}
}

static const char *
place_of(const char *path)
{
	return path[0] == '\0' ? "" : psprintf(" at \"%s\"", path);
}

void
compiler_fault(const Compiler *compiler, const char *path, const char *hint,
			   const char *format,...)
{
	char	   *detail;
	va_list		args;

	va_start(args, format);
	detail = format_detail(format, args);
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 compiler->in_config ?
			 errmsg("invalid config for connector \"%s\"%s", compiler->connector, place_of(path)) :
			 errmsg("invalid manifest of connector \"%s\"%s", compiler->connector, place_of(path)),
			 errdetail_internal("%s", detail),
			 hint ? errhint("%s", hint) : 0));
}

void
config_fault(const Compiler *compiler, const char *path, const char *hint,
			 const char *format,...)
{
	Compiler	as_config = *compiler;
	char	   *detail;
	va_list		args;

	va_start(args, format);
	detail = format_detail(format, args);
	va_end(args);
	as_config.in_config = true;
	compiler_fault(&as_config, path, hint, "%s", detail);
}

const char *
choice_hint(const char *word, const char *const *choices, int count)
{
	const char *nearest = nearest_name(word, choices, count);
	StringInfoData hint;

	if (nearest != NULL)
		return psprintf("Did you mean \"%s\"?", nearest);
	if (count == 0)
		return NULL;
	initStringInfo(&hint);
	appendStringInfoString(&hint, "Valid here: ");
	for (int i = 0; i < count; i++)
		appendStringInfo(&hint, "%s\"%s\"", i > 0 ? ", " : "", choices[i]);
	appendStringInfoChar(&hint, '.');
	return hint.data;
}

const char *
path_member(const char *path, const char *name)
{
	return path[0] == '\0' ? pstrdup(name) : psprintf("%s.%s", path, name);
}

const char *
path_element(const char *path, int index)
{
	return psprintf("%s[%d]", path, index);
}

void
check_keys(const Compiler *compiler, const char *path, const JsonbValue *object,
		   const char *const *keys, int count)
{
	JsonbMember *members;
	int			member_count;

	if (!jsonb_is_object(object))
		compiler_fault(compiler, path, NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(object));
	member_count = jsonb_members(object, &members);
	for (int i = 0; i < member_count; i++)
	{
		int			j;

		for (j = 0; j < count; j++)
			if (strcmp(members[i].name, keys[j]) == 0)
				break;
		if (j == count)
			compiler_fault(compiler, path_member(path, members[i].name),
						   choice_hint(members[i].name, keys, count),
						   "There is no such key.");
	}
}

char *
read_string(const Compiler *compiler, const char *path, const JsonbValue *object,
			const char *name, bool required)
{
	JsonbValue	value;

	if (!jsonb_member(object, name, &value))
	{
		if (required)
			compiler_fault(compiler, path_member(path, name), NULL,
						   "It is required.");
		return NULL;
	}
	if (value.type != jbvString)
		compiler_fault(compiler, path_member(path, name), NULL,
					   "It must be a string, not %s.", jsonb_type_phrase(&value));
	return jsonb_string(&value);
}

bool
read_bool(const Compiler *compiler, const char *path, const JsonbValue *object,
		  const char *name, bool otherwise)
{
	JsonbValue	value;

	if (!jsonb_member(object, name, &value))
		return otherwise;
	if (value.type != jbvBool)
		compiler_fault(compiler, path_member(path, name), NULL,
					   "It must be true or false, not %s.", jsonb_type_phrase(&value));
	return value.val.boolean;
}

int
read_choice(const Compiler *compiler, const char *path, const JsonbValue *object,
			const char *name, const char *const *choices, int count, int otherwise)
{
	char	   *word = read_string(compiler, path, object, name, false);

	if (word == NULL)
		return otherwise;
	for (int i = 0; i < count; i++)
		if (strcmp(word, choices[i]) == 0)
			return i;
	compiler_fault(compiler, path_member(path, name),
				   choice_hint(word, choices, count),
				   "\"%s\" is not valid here.", word);
}

JsonPath *
compile_jsonpath(const Compiler *compiler, const char *path, const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	JsonPath   *volatile result = NULL;
	ErrorData  *volatile error = NULL;
	const char *fault;

	PG_TRY();
	{
		result = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in,
													   CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();

	/* The parser takes no resources, so there is nothing to roll back. */
	if (error != NULL)
		compiler_fault(compiler, path, "It must be an SQL/JSON path, such as $.errors[*].",
					   "%s", error->message);
	if ((fault = answer_path_fault(result)) != NULL)
		compiler_fault(compiler, path,
					   "Compare with a constant; or, where both are single values, begin the path with \"strict\": strict $.failed == $.total.",
					   "%s", fault);
	return result;
}

char *
compiler_utf8(const Compiler *compiler, const char *path, const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	if (json_text_append_raw(&out, text, strlen(text)) != JSON_TEXT_OK)
		compiler_fault(compiler, path, NULL, "It cannot be represented in UTF-8.");
	return out.data;
}

void
compiler_declare_secret(const Compiler *compiler, const char *name, const char *description)
{
	SecretSpecs *secrets = compiler->secrets;

	secrets->specs = secrets->count == 0 ? palloc(sizeof(SecretSpec)) :
		repalloc(secrets->specs, (secrets->count + 1) * sizeof(SecretSpec));
	secrets->specs[secrets->count].name = name;
	secrets->specs[secrets->count].description = description;
	secrets->specs[secrets->count].of_token = false;
	secrets->specs[secrets->count++].needed = false;
}

void
compiler_use_secret(const Compiler *compiler, const char *path, const char *name, bool needed)
{
	SecretSpecs *secrets = compiler->secrets;
	const char **names;

	for (int i = 0; i < secrets->count; i++)
		if (strcmp(name, secrets->specs[i].name) == 0)
		{
			secrets->specs[i].needed |= needed;
			secrets->specs[i].of_token |= needed && compiler->of_token;
			return;
		}
	if (compiler->declares_secrets)
	{
		compiler_declare_secret(compiler, name, NULL);
		secrets->specs[secrets->count - 1].needed = needed;
		secrets->specs[secrets->count - 1].of_token = needed && compiler->of_token;
		return;
	}
	names = palloc(secrets->count * sizeof(char *));
	for (int i = 0; i < secrets->count; i++)
		names[i] = secrets->specs[i].name;
	compiler_fault(compiler, path, choice_hint(name, names, secrets->count),
				   "No secret \"%s\" is declared.", name);
}
