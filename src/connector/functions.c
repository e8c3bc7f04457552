/*
 * functions.c
 *		The closed list of functions that holes may apply to a value.
 *
 * They work on text in UTF-8.  Null and absent values pass through all of them
 * but those that are about being null; an object or array is no text, and so an
 * error.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/json_text.h"
#include "connector/function.h"
#include "connector/template.h"

struct Function
{
	const char *name;
	int			min_arguments;
	int			max_arguments;
	bool		takes_anything; /* null, absent, objects and arrays too */
	ApplyFunction apply;
};

bool
value_is_nothing(const Value *value)
{
	return value->kind == VALUE_ABSENT ||
		(value->kind == VALUE_JSON && value->data.data[0] == 'n');
}

/* --- text --- */

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
apply_trim(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	while (text.length > 0 && is_space(text.data[0]))
	{
		text.data++;
		text.length--;
	}
	while (text.length > 0 && is_space(text.data[text.length - 1]))
		text.length--;
	function_set_text(value, text.data, text.length);
	return true;
}

/*
 * Upper and lower case of ASCII letters only: what is hashed or matched must not
 * depend on the database's locale.
 */
static bool
apply_lower(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	char	   *result = pnstrdup(text.data, text.length);

	for (uint32 i = 0; i < text.length; i++)
		result[i] = pg_ascii_tolower((unsigned char) result[i]);
	function_set_text(value, result, text.length);
	return true;
}

static bool
apply_upper(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	char	   *result = pnstrdup(text.data, text.length);

	for (uint32 i = 0; i < text.length; i++)
		result[i] = pg_ascii_toupper((unsigned char) result[i]);
	function_set_text(value, result, text.length);
	return true;
}

/* Keeps the bytes that are (or are not) among some. */
static void
filter_bytes(Value *value, Slice text, const char *bytes, size_t count, bool keep)
{
	char	   *result = palloc(text.length + 1);
	size_t		length = 0;

	for (uint32 i = 0; i < text.length; i++)
		if ((memchr(bytes, text.data[i], count) != NULL) == keep)
			result[length++] = text.data[i];
	function_set_text(value, result, length);
}

static bool
apply_digits(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	filter_bytes(value, text, "0123456789", 10, true);
	return true;
}

static bool
apply_strip(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	Slice		bytes;

	if (!value_text(&arguments[0], &bytes))
	{
		*error = "strip takes a text";
		return false;
	}
	filter_bytes(value, text, bytes.data, bytes.length, false);
	return true;
}

static bool
integer_argument(const Value *argument, int *number)
{
	Slice		text;
	char	   *end;
	long		result;
	char	   *copy;

	if (!value_text(argument, &text) || text.length == 0)
		return false;
	copy = pnstrdup(text.data, text.length);
	errno = 0;
	result = strtol(copy, &end, 10);
	if (errno != 0 || *end != '\0' || result < PG_INT32_MIN || result > PG_INT32_MAX)
		return false;
	*number = (int) result;
	return true;
}

/* substr(from[, count]), in characters from 1, as SQL's. */
static bool
apply_substr(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	const char *p = text.data;
	const char *end = p + text.length;
	const char *start;
	int			from;
	int			count = PG_INT32_MAX;

	if (!integer_argument(&arguments[0], &from) ||
		(argument_count > 1 && !integer_argument(&arguments[1], &count)) ||
		from < 1 || count < 0)
	{
		*error = "substr takes a position from 1 and a length";
		return false;
	}
	while (--from > 0 && p < end)
		p += Min(pg_utf_mblen((const unsigned char *) p), end - p);
	start = p;
	while (count-- > 0 && p < end)
		p += Min(pg_utf_mblen((const unsigned char *) p), end - p);
	function_set_text(value, start, p - start);
	return true;
}

static bool
apply_concat(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	StringInfoData out;

	initStringInfo(&out);
	appendBinaryStringInfo(&out, text.data, text.length);
	for (int i = 0; i < argument_count; i++)
	{
		Slice		more;

		if (!value_text(&arguments[i], &more))
			continue;			/* as SQL's concat */
		appendBinaryStringInfo(&out, more.data, more.length);
	}
	function_set_text(value, out.data, out.len);
	return true;
}

static bool
apply_urlencode(Value *value, Slice text, const Value *arguments, int argument_count,
				const char **error)
{
	StringInfoData out;

	initStringInfo(&out);
	append_percent_encoded(&out, text, "");
	function_set_text(value, out.data, out.len);
	return true;
}

/* --- types --- */

static bool
apply_string(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	function_set_text(value, text.data, text.length);
	return true;
}

/* Text that is a JSON number becomes that number, digit for digit. */
static bool
apply_number(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	const char *p = text.data;
	const char *end = p + text.length;
	const char *digits;

	p += p < end && *p == '-';
	digits = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	if (p == digits || (*digits == '0' && p - digits > 1))
		p = NULL;
	if (p != NULL && p < end && *p == '.')
	{
		digits = ++p;
		while (p < end && *p >= '0' && *p <= '9')
			p++;
		if (p == digits)
			p = NULL;
	}
	if (p != NULL && p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		p += p < end && (*p == '+' || *p == '-');
		digits = p;
		while (p < end && *p >= '0' && *p <= '9')
			p++;
		if (p == digits)
			p = NULL;
	}
	if (p != end)
	{
		*error = "it is no number";
		return false;
	}
	value->kind = VALUE_JSON;
	value->data = text;
	return true;
}

static bool
is_one_of(Slice text, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strlen(words[i]) == text.length &&
			pg_strncasecmp(words[i], text.data, text.length) == 0)
			return true;
	return false;
}

static bool
apply_bool(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	static const char *const yes[] = {"true", "t", "yes", "on", "1"};
	static const char *const no[] = {"false", "f", "no", "off", "0"};

	bool		is_true = is_one_of(text, yes, lengthof(yes));

	if (!is_true && !is_one_of(text, no, lengthof(no)))
	{
		*error = "it is neither true nor false";
		return false;
	}
	value->kind = VALUE_JSON;
	value->data.data = is_true ? "true" : "false";
	value->data.length = strlen(value->data.data);
	return true;
}

/* --- lists and objects --- */

/* The first element of a list; what is no list stays as it is. */
static bool
apply_first(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	JsonTextCursor cursor;
	Slice		element;

	if (value->kind != VALUE_JSON || value->data.data[0] != '[')
		return true;
	json_text_begin_elements(&cursor, value->data);
	if (json_text_next_element(&cursor, &element))
		value->data = element;
	else
		value->kind = VALUE_ABSENT;
	return true;
}

/* The elements of a list as one text; null ones are left out. */
static bool
apply_join(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	JsonTextCursor cursor;
	StringInfoData out;
	Value		element = {.kind = VALUE_JSON};
	Slice		joint = {.data = ",",.length = 1};
	bool		first = true;

	if (value_is_nothing(value))
		return true;
	if (value->kind != VALUE_JSON || value->data.data[0] != '[')
	{
		*error = "join needs a list";
		return false;
	}
	if (argument_count > 0 && !value_text(&arguments[0], &joint))
	{
		*error = "join takes a text";
		return false;
	}
	initStringInfo(&out);
	json_text_begin_elements(&cursor, value->data);
	while (json_text_next_element(&cursor, &element.data))
	{
		if (value_is_nothing(&element))
			continue;
		if (!value_text(&element, &text))
		{
			*error = "join needs a list of texts and numbers";
			return false;
		}
		if (!first)
			appendBinaryStringInfo(&out, joint.data, joint.length);
		first = false;
		appendBinaryStringInfo(&out, text.data, text.length);
	}
	function_set_text(value, out.data, out.len);
	return true;
}

/* The values of an object as a list, in order: a row of a matrix. */
static bool
apply_values(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	JsonTextCursor cursor;
	StringInfoData out;
	Slice		name;
	Slice		member;

	if (value_is_nothing(value))
		return true;
	if (value->kind != VALUE_JSON || value->data.data[0] != '{')
	{
		*error = "values needs an object";
		return false;
	}
	initStringInfo(&out);
	json_text_begin_members(&cursor, value->data);
	while (json_text_next_member(&cursor, &name, &member))
	{
		appendStringInfoChar(&out, out.len > 0 ? ',' : '[');
		appendBinaryStringInfo(&out, member.data, member.length);
	}
	appendStringInfoString(&out, out.len > 0 ? "]" : "[]");
	value->data.data = out.data;
	value->data.length = out.len;
	return true;
}

/* The path of a URL, or of what is a path already, such as a resource's name. */
static Slice
path_of(Slice text)
{
	const char *p = text.data;
	const char *end = p + text.length;

	for (const char *scheme = p; scheme + 2 < end; scheme++)
		if (memcmp(scheme, "://", 3) == 0)
		{
			for (p = scheme + 3; p < end && *p != '/'; p++)
				;
			break;
		}
	for (text.data = p; p < end && *p != '?' && *p != '#'; p++)
		;
	text.length = p - text.data;
	return text;
}

/* Cuts the first segment off a path; false at its end. */
static bool
take_segment(Slice *path, Slice *segment)
{
	const char *p = path->data;
	const char *end = p + path->length;

	while (p < end && *p == '/')
		p++;
	segment->data = p;
	while (p < end && *p != '/')
		p++;
	segment->length = p - segment->data;
	path->data = p;
	path->length = end - p;
	return segment->length > 0;
}

bool
path_segment(Slice text, int number, Slice *segment)
{
	Slice		path = path_of(text);
	Slice		rest = path;

	if (number < 0)
	{
		while (take_segment(&rest, segment))
			number++;
		number++;				/* the last one was -1 */
	}
	for (rest = path; number > 0 && take_segment(&rest, segment);)
		if (--number == 0)
			return true;
	return false;
}

/* segment(n) of a path or URL; what is no such segment is absent. */
static bool
apply_segment(Value *value, Slice text, const Value *arguments, int argument_count,
			  const char **error)
{
	int			number;
	Slice		segment;

	if (!integer_argument(&arguments[0], &number) || number == 0)
	{
		*error = "segment takes a number, such as 4, or -1 for the last";
		return false;
	}
	if (path_segment(text, number, &segment))
		function_set_text(value, segment.data, segment.length);
	else
		value->kind = VALUE_ABSENT;
	return true;
}

/* The JSON text of a value, as text: JSON inside a string or a form field. */
static bool
apply_json(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	StringInfoData out;

	initStringInfo(&out);
	value_append_json(value, &out);
	function_set_text(value, out.data, out.len);
	return true;
}

/* The first argument that is something, where the value is absent or null. */
static bool
apply_default(Value *value, Slice text, const Value *arguments, int argument_count,
			  const char **error)
{
	for (int i = 0; i < argument_count && value_is_nothing(value); i++)
		*value = arguments[i];
	return true;
}

/* map('from', 'to', ...): what the text stands for, which must be among them. */
static bool
apply_map(Value *value, Slice text, const Value *arguments, int argument_count,
		  const char **error)
{
	Slice		from;

	for (int i = 0; i + 1 < argument_count; i += 2)
		if (value_text(&arguments[i], &from) && from.length == text.length &&
			memcmp(from.data, text.data, text.length) == 0)
		{
			*value = arguments[i + 1];
			return true;
		}
	*error = psprintf("map has nothing for \"%.*s\"", (int) text.length, text.data);
	return false;
}

/* --- the list --- */

static const Function functions[] = {
	{"base64", 0, 0, false, apply_base64},
	{"bool", 0, 0, false, apply_bool},
	{"coalesce", 1, 4, true, apply_default},
	{"concat", 1, 4, false, apply_concat},
	{"date", 0, 0, false, apply_date},
	{"default", 1, 1, true, apply_default},
	{"digits", 0, 0, false, apply_digits},
	{"epoch", 0, 0, false, apply_epoch},
	{"epoch_ms", 0, 0, false, apply_epoch_ms},
	{"first", 0, 0, true, apply_first},
	{"gmail", 0, 0, false, apply_gmail},
	{"hmac", 1, 2, false, apply_hmac},
	{"iso", 0, 0, false, apply_iso},
	{"join", 0, 1, true, apply_join},
	{"json", 0, 0, true, apply_json},
	{"lower", 0, 0, false, apply_lower},
	{"map", 2, 8, false, apply_map},
	{"md5", 0, 1, false, apply_md5},
	{"number", 0, 0, false, apply_number},
	{"only", 1, 8, true, apply_only},
	{"segment", 1, 1, false, apply_segment},
	{"sha1", 0, 1, false, apply_sha1},
	{"sha256", 0, 1, false, apply_sha256},
	{"sha512", 0, 1, false, apply_sha512},
	{"string", 0, 0, false, apply_string},
	{"stringify", 0, 0, true, apply_stringify},
	{"strip", 1, 1, false, apply_strip},
	{"substr", 1, 2, false, apply_substr},
	{"trim", 0, 0, false, apply_trim},
	{"upper", 0, 0, false, apply_upper},
	{"urlencode", 0, 0, false, apply_urlencode},
	{"uuid5", 1, 4, false, apply_uuid5},
	{"values", 0, 0, true, apply_values},
	{"without", 1, 8, true, apply_without},
};

const Function *
function_find(const char *name)
{
	for (int i = 0; i < (int) lengthof(functions); i++)
		if (strcmp(name, functions[i].name) == 0)
			return &functions[i];
	return NULL;
}

const char *const *
function_names(int *count)
{
	static const char *names[lengthof(functions)];

	for (int i = 0; i < (int) lengthof(functions); i++)
		names[i] = functions[i].name;
	*count = lengthof(functions);
	return names;
}

bool
function_accepts(const Function *function, int argument_count)
{
	return argument_count >= function->min_arguments &&
		argument_count <= function->max_arguments;
}

bool
function_apply(const Function *function, Value *value, const Value *arguments,
			   int argument_count, const char **error)
{
	Slice		text = {0};

	if (!function->takes_anything)
	{
		if (value_is_nothing(value))
			return true;
		if (!value_text(value, &text))
		{
			*error = psprintf("%s needs a text, not an object or array", function->name);
			return false;
		}
	}
	return function->apply(value, text, arguments, argument_count, error);
}
