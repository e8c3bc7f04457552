/*
 * manifest_value.c
 *		Values of a manifest that may be one hole over the config.
 */
#include "postgres.h"

#include "connector/jsonb_reader.h"
#include "connector/manifest_value.h"
#include "connector/template.h"

bool
read_member(Compiler *compiler, const char *path, const JsonbValue *object,
			const char *name, JsonbValue *value)
{
	if (!jsonb_member(object, name, value))
		return false;
	if (value->type == jbvString)
		(void) template_constant_value(compiler, path_member(path, name),
									   jsonb_string(value), value);
	return value->type != jbvNull;
}

int
read_integer(Compiler *compiler, const char *path, const JsonbValue *object,
			 const char *name, int maximum)
{
	JsonbValue	value;
	char	   *text;
	long		number;
	char	   *end;

	if (!read_member(compiler, path, object, name, &value))
		return 0;
	text = jsonb_text(&value);
	errno = 0;
	number = strtol(text, &end, 10);
	if (value.type != jbvNumeric || errno != 0 || *end != '\0' || number < 1 || number > maximum)
		compiler_fault(compiler, path_member(path, name), NULL,
					   "It must be an integer from 1 to %d.", maximum);
	return (int) number;
}

char *
read_constant(Compiler *compiler, const char *path, const JsonbValue *object,
			  const char *name, bool required)
{
	char	   *text = read_string(compiler, path, object, name, required);
	const char *constant;

	if (text == NULL)
		return NULL;
	constant = text_template_constant(text_template_compile(compiler, path_member(path, name),
															text, TEXT_PLAIN, 0));
	if (constant == NULL)
		compiler_fault(compiler, path_member(path, name), NULL,
					   "It can only have holes over the config.");
	return unconstify(char *, constant);
}
