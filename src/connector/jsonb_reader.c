/*
 * jsonb_reader.c
 *		Reading jsonb documents member by member.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "connector/jsonb_reader.h"

JsonbValue
jsonb_root(Jsonb *document)
{
	JsonbValue	root;

	if (!JsonbExtractScalar(&document->root, &root))
	{
		root.type = jbvBinary;
		root.val.binary.data = &document->root;
		root.val.binary.len = VARSIZE(document) - VARHDRSZ;
	}
	return root;
}

bool
jsonb_is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

bool
jsonb_is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data);
}

const char *
jsonb_type_phrase(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return jsonb_is_object(value) ? "an object" : "an array";
	}
}

bool
jsonb_member(const JsonbValue *object, const char *name, JsonbValue *member)
{
	return jsonb_is_object(object) &&
		getKeyJsonValueFromContainer(object->val.binary.data, name, strlen(name),
									 member) != NULL;
}

int
jsonb_members(const JsonbValue *object, JsonbMember **members)
{
	JsonbIterator *iterator = JsonbIteratorInit(object->val.binary.data);
	JsonbMember *member;
	JsonbIteratorToken token;
	JsonbValue	value;

	Assert(jsonb_is_object(object));
	member = palloc(JsonContainerSize(object->val.binary.data) * sizeof(JsonbMember));
	*members = member;
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			member->name = jsonb_string(&value);
		else if (token == WJB_VALUE)
			(member++)->value = value;
	}
	return member - *members;
}

int
jsonb_elements(const JsonbValue *array, JsonbValue **elements)
{
	JsonbIterator *iterator = JsonbIteratorInit(array->val.binary.data);
	JsonbValue *element;
	JsonbIteratorToken token;
	JsonbValue	value;

	Assert(jsonb_is_array(array));
	element = palloc(JsonContainerSize(array->val.binary.data) * sizeof(JsonbValue));
	*elements = element;
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			*element++ = value;
	return element - *elements;
}

char *
jsonb_string(const JsonbValue *value)
{
	Assert(value->type == jbvString);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

char *
jsonb_text(const JsonbValue *value)
{
	Jsonb	   *document = JsonbValueToJsonb(unconstify(JsonbValue *, value));

	return JsonbToCString(NULL, &document->root, VARSIZE(document));
}

char *
jsonb_plain_text(const JsonbValue *value)
{
	return value->type == jbvString ? jsonb_string(value) : jsonb_text(value);
}
