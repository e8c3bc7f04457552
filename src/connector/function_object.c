/*
 * function_object.c
 *		Functions that holes may apply to an object: which of its members are
 *		sent, and as what.
 *
 * They work on JSON text in UTF-8, and leave every member that stays as it is
 * written, digit for digit.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/json_text.h"
#include "connector/function.h"

/* What a function makes of a member; false: it is left out. */
typedef bool (*MemberFunction) (Slice name, Slice value, const Value *arguments,
								int argument_count, StringInfo out);

static bool
is_named(Slice quoted_name, const Value *arguments, int argument_count)
{
	StringInfoData name;
	Slice		wanted;

	initStringInfo(&name);
	json_text_decode_string(&name, quoted_name);
	for (int i = 0; i < argument_count; i++)
		if (value_text(&arguments[i], &wanted) && wanted.length == (uint32) name.len &&
			memcmp(wanted.data, name.data, name.len) == 0)
			return true;
	return false;
}

static bool
apply_to_members(Value *value, const Value *arguments, int argument_count,
				 MemberFunction function, const char **error)
{
	StringInfoData out;
	JsonTextCursor cursor;
	Slice		name;
	Slice		member;
	bool		first = true;

	if (value_is_nothing(value))
		return true;
	if (value->kind != VALUE_JSON || value->data.data[0] != '{')
	{
		*error = "it is no object";
		return false;
	}
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	json_text_begin_members(&cursor, value->data);
	while (json_text_next_member(&cursor, &name, &member))
	{
		int			length = out.len;

		if (!first)
			appendStringInfoChar(&out, ',');
		appendBinaryStringInfo(&out, name.data, name.length);
		appendStringInfoChar(&out, ':');
		if (function(name, member, arguments, argument_count, &out))
			first = false;
		else
			out.len = length;
	}
	appendStringInfoChar(&out, '}');
	value->data.data = out.data;
	value->data.length = out.len;
	return true;
}

/* --- without('a', 'b'), only('a', 'b') --- */

static bool
keep_others(Slice name, Slice value, const Value *arguments, int argument_count,
			StringInfo out)
{
	appendBinaryStringInfo(out, value.data, value.length);
	return !is_named(name, arguments, argument_count);
}

static bool
keep_named(Slice name, Slice value, const Value *arguments, int argument_count,
		   StringInfo out)
{
	appendBinaryStringInfo(out, value.data, value.length);
	return is_named(name, arguments, argument_count);
}

bool
apply_without(Value *value, Slice text, const Value *arguments, int argument_count,
			  const char **error)
{
	return apply_to_members(value, arguments, argument_count, keep_others, error);
}

bool
apply_only(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	return apply_to_members(value, arguments, argument_count, keep_named, error);
}

/* --- stringify --- */

/* A number or boolean becomes a string of its text, null an empty one. */
static bool
to_string(Slice name, Slice value, const Value *arguments, int argument_count,
		  StringInfo out)
{
	if (value.data[0] == '"')
		appendBinaryStringInfo(out, value.data, value.length);
	else if (value.data[0] == 'n')
		appendStringInfoString(out, "\"\"");
	else
		(void) json_text_append_utf8(out, value.data, value.length);
	return true;
}

bool
apply_stringify(Value *value, Slice text, const Value *arguments, int argument_count,
				const char **error)
{
	return apply_to_members(value, arguments, argument_count, to_string, error);
}
