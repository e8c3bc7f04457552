/*
 * config.c
 *		A destination's config against the schema in the connector's manifest.
 *
 * The schema is {"name": {"type", "required", "default", "enum", "minimum",
 * "maximum", "format", "values", "secret", "description"}, ...}, and beside that
 * what every destination may say, base_url and rate.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "connector/config.h"
#include "connector/jsonb_reader.h"
#include "http/url.h"

typedef enum ConfigType
{
	TYPE_STRING,
	TYPE_INTEGER,
	TYPE_NUMBER,
	TYPE_BOOLEAN,
	TYPE_OBJECT,
	TYPE_ARRAY
} ConfigType;

static const char *const type_names[] = {
	"string", "integer", "number", "boolean", "object", "array"
};

static const char *const type_phrases[] = {
	"a string", "an integer", "a number", "true or false", "an object", "an array"
};

static const char *const property_keys[] = {
	"type", "required", "default", "enum", "minimum", "maximum", "format", "values",
	"secret", "description"
};

static bool
type_fits(ConfigType type, const JsonbValue *value)
{
	switch (type)
	{
		case TYPE_STRING:
			return value->type == jbvString;
		case TYPE_INTEGER:
			return value->type == jbvNumeric &&
				strspn(jsonb_text(value), "-0123456789") == strlen(jsonb_text(value));
		case TYPE_NUMBER:
			return value->type == jbvNumeric;
		case TYPE_BOOLEAN:
			return value->type == jbvBool;
		case TYPE_OBJECT:
			return jsonb_is_object(value);
		case TYPE_ARRAY:
			return jsonb_is_array(value);
	}
	pg_unreachable();
}

static bool
is_less(const JsonbValue *a, const JsonbValue *b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_lt,
											NumericGetDatum(a->val.numeric),
											NumericGetDatum(b->val.numeric)));
}

static void
check_bounds(const Compiler *compiler, const char *path, const JsonbValue *property,
			 const JsonbValue *value)
{
	JsonbValue	bound;

	if (value->type != jbvNumeric)
		return;
	if (jsonb_member(property, "minimum", &bound) && bound.type == jbvNumeric &&
		is_less(value, &bound))
		config_fault(compiler, path, NULL, "It must be at least %s.", jsonb_text(&bound));
	if (jsonb_member(property, "maximum", &bound) && bound.type == jbvNumeric &&
		is_less(&bound, value))
		config_fault(compiler, path, NULL, "It must be at most %s.", jsonb_text(&bound));
}

static void
check_enum(const Compiler *compiler, const char *path, const JsonbValue *property,
		   const JsonbValue *value)
{
	JsonbValue	choices;
	JsonbValue *elements;
	const char **words;
	char	   *word = jsonb_plain_text(value);
	int			count;

	if (!jsonb_member(property, "enum", &choices) || !jsonb_is_array(&choices))
		return;
	count = jsonb_elements(&choices, &elements);
	words = palloc(count * sizeof(char *));
	for (int i = 0; i < count; i++)
	{
		words[i] = jsonb_plain_text(&elements[i]);
		if (strcmp(words[i], word) == 0)
			return;
	}
	config_fault(compiler, path, choice_hint(word, words, count),
				 "\"%s\" is not valid here.", word);
}

/* An object's values must all be of one type, say those of "headers". */
static void
check_member_types(const Compiler *compiler, const char *path, const JsonbValue *property,
				   const JsonbValue *value)
{
	JsonbMember *members;
	int			count;
	int			type;

	if (!jsonb_is_object(value))
		return;
	type = read_choice(compiler, path, property, "values", type_names, lengthof(type_names), -1);
	if (type < 0)
		return;
	count = jsonb_members(value, &members);
	for (int i = 0; i < count; i++)
		if (!type_fits((ConfigType) type, &members[i].value))
			config_fault(compiler, path_member(path, members[i].name), NULL,
						 "It must be %s, not %s.", type_phrases[type],
						 jsonb_type_phrase(&members[i].value));
}

static void
check_value(const Compiler *compiler, const char *path, const JsonbValue *property,
			const JsonbValue *value)
{
	static const char *const formats[] = {"url"};
	int			type = read_choice(compiler, path, property, "type", type_names,
								   lengthof(type_names), TYPE_STRING);

	if (!type_fits((ConfigType) type, value))
		config_fault(compiler, path, NULL, "It must be %s, not %s.", type_phrases[type],
					 jsonb_type_phrase(value));
	check_enum(compiler, path, property, value);
	check_bounds(compiler, path, property, value);
	check_member_types(compiler, path, property, value);
	if (type == TYPE_STRING &&
		read_choice(compiler, path, property, "format", formats, lengthof(formats), -1) == 0)
	{
		const char *fault = url_fault(jsonb_string(value));

		if (fault != NULL)
			config_fault(compiler, path, NULL, "%s", fault);
	}
}

static void
note_config_names(Compiler *compiler, const JsonbMember *properties, int property_count)
{
	compiler->config_names = palloc(property_count * sizeof(char *));
	for (int i = 0; i < property_count; i++)
		if (!read_bool(compiler, properties[i].name, &properties[i].value, "secret", false))
			compiler->config_names[compiler->config_name_count++] = properties[i].name;
}

/* Refuses config keys that the schema does not know, and secrets. */
static void
check_config_keys(const Compiler *compiler, const JsonbValue *config)
{
	const char **names = compiler->config_names;
	int			name_count = compiler->config_name_count;
	JsonbMember *members;
	int			count = jsonb_members(config, &members);

	for (int i = 0; i < count; i++)
	{
		int			j;

		for (j = 0; j < compiler->secrets->count; j++)
			if (strcmp(members[i].name, compiler->secrets->specs[j].name) == 0)
				config_fault(compiler, members[i].name,
							 psprintf("Use set_secret(destination, '%s', value).", members[i].name),
							 "It is a secret, and secrets are not kept in the config.");
		for (j = 0; j < name_count; j++)
			if (strcmp(members[i].name, names[j]) == 0)
				break;
		if (j == name_count)
			config_fault(compiler, members[i].name,
						 choice_hint(members[i].name, names, name_count),
						 "There is no such key.");
	}
}

/* The property's value, given or by default, checked, into the new config. */
static void
take_property(const Compiler *compiler, const JsonbMember *property, const JsonbValue *config,
			  JsonbParseState **state)
{
	JsonbValue	value;
	JsonbValue	name;

	if (jsonb_member(config, property->name, &value))
		check_value(compiler, property->name, &property->value, &value);
	else if (!jsonb_member(&property->value, "default", &value))
	{
		if (read_bool(compiler, property->name, &property->value, "required", false))
			config_fault(compiler, property->name, NULL, "It is required.");
		return;
	}
	name.type = jbvString;
	name.val.string.val = property->name;
	name.val.string.len = strlen(property->name);
	pushJsonbValue(state, WJB_KEY, &name);
	pushJsonbValue(state, WJB_VALUE, &value);
}

/*
 * Whether a destination may have a base_url of its own: for a sandbox, a proxy
 * or a test.  Where the manifest's is nothing but a property of the config,
 * that property serves.
 */
static bool
takes_base_url(const JsonbValue *manifest)
{
	JsonbValue	url;

	return jsonb_member(manifest, "base_url", &url) && url.type == jbvString &&
		(strncmp(jsonb_string(&url), "{{", 2) != 0 ||
		 strncmp(jsonb_string(&url), "{{token.", 8) == 0);
}

static bool
has_property(const JsonbMember *properties, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (strcmp(properties[i].name, name) == 0)
			return true;
	return false;
}

static int
add_property(JsonbMember **properties, int count, char *name, const char *schema)
{
	JsonbMember *more = palloc((count + 1) * sizeof(JsonbMember));

	if (count > 0)
		memcpy(more, *properties, count * sizeof(JsonbMember));
	more[count].name = name;
	more[count].value = jsonb_root(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																	  CStringGetDatum(schema))));
	*properties = more;
	return count + 1;
}

/* The manifest's properties, and those of every connector. */
static void
read_schema(Compiler *compiler, const JsonbValue *manifest, JsonbMember **properties, int *count)
{
	JsonbValue	schema;

	*count = 0;
	if (jsonb_member(manifest, "config", &schema))
	{
		if (!jsonb_is_object(&schema))
			compiler_fault(compiler, "config", NULL, "It must be an object, not %s.",
						   jsonb_type_phrase(&schema));
		*count = jsonb_members(&schema, properties);
	}
	for (int i = 0; i < *count; i++)
	{
		const char *path = path_member("config", (*properties)[i].name);

		check_keys(compiler, path, &(*properties)[i].value, property_keys, lengthof(property_keys));
		if (read_bool(compiler, path, &(*properties)[i].value, "secret", false))
			compiler_declare_secret(compiler, (*properties)[i].name,
									read_string(compiler, path, &(*properties)[i].value,
												"description", false));
	}
	if (takes_base_url(manifest))
		*count = add_property(properties, *count, "base_url",
							  "{\"type\": \"string\", \"format\": \"url\"}");
	if (!has_property(*properties, *count, "rate"))
		*count = add_property(properties, *count, "rate", "{\"type\": \"object\"}");
}

char *
config_base_url(const Compiler *compiler)
{
	JsonbValue	config;

	if (compiler->config == NULL)
		return NULL;
	config = jsonb_root(compiler->config);
	return read_string(compiler, "", &config, "base_url", false);
}

void
config_check(Compiler *compiler, const JsonbValue *manifest, Jsonb *config)
{
	JsonbMember *properties = NULL;
	JsonbValue	root = jsonb_root(config);
	JsonbParseState *state = NULL;
	int			count;

	if (!jsonb_is_object(&root))
		config_fault(compiler, "config", NULL, "It must be an object, not %s.",
					 jsonb_type_phrase(&root));
	read_schema(compiler, manifest, &properties, &count);
	note_config_names(compiler, properties, count);
	check_config_keys(compiler, &root);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
		if (!read_bool(compiler, properties[i].name, &properties[i].value, "secret", false))
			take_property(compiler, &properties[i], &root, &state);
	compiler->config = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
