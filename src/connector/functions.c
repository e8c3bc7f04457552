/*
 * functions.c
 *		The closed list of functions that holes may apply to a value.
 *
 * They work on text in UTF-8.  Null and absent values pass through all of them
 * but those that are about being null; an object or array is no text, and so an
 * error.
 */
#include "postgres.h"

#include "common/base64.h"
#include "common/cryptohash.h"
#include "common/md5.h"
#include "common/sha2.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/json_text.h"
#include "connector/expression.h"

struct Function
{
	const char *name;
	int			min_arguments;
	int			max_arguments;
	bool		takes_anything; /* null, absent, objects and arrays too */

	/* text is set unless takes_anything. */
	bool		(*apply) (Value *value, Slice text, const Value *arguments,
						  int argument_count, const char **error);
};

static void
set_text(Value *value, const char *data, size_t length)
{
	value->kind = VALUE_TEXT;
	value->data.data = data;
	value->data.length = length;
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
	set_text(value, text.data, text.length);
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
	set_text(value, result, text.length);
	return true;
}

static bool
apply_upper(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	char	   *result = pnstrdup(text.data, text.length);

	for (uint32 i = 0; i < text.length; i++)
		result[i] = pg_ascii_toupper((unsigned char) result[i]);
	set_text(value, result, text.length);
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
	set_text(value, result, length);
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
	set_text(value, start, p - start);
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
	set_text(value, out.data, out.len);
	return true;
}

static bool
apply_urlencode(Value *value, Slice text, const Value *arguments, int argument_count,
				const char **error)
{
	StringInfoData out;

	initStringInfo(&out);
	for (uint32 i = 0; i < text.length; i++)
	{
		unsigned char c = text.data[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || (c != '\0' && strchr("-._~", c) != NULL))
			appendStringInfoChar(&out, c);
		else
			appendStringInfo(&out, "%%%02X", c);
	}
	set_text(value, out.data, out.len);
	return true;
}

/* --- digests --- */

static void
set_hex(Value *value, const uint8 *digest, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	char	   *hex = palloc(length * 2 + 1);

	for (size_t i = 0; i < length; i++)
	{
		hex[i * 2] = digits[digest[i] >> 4];
		hex[i * 2 + 1] = digits[digest[i] & 15];
	}
	hex[length * 2] = '\0';
	set_text(value, hex, length * 2);
}

static void
set_base64(Value *value, const uint8 *bytes, size_t length)
{
	int			size = pg_b64_enc_len(length) + 1;
	char	   *text = palloc(size);

	set_text(value, text, pg_b64_encode((const char *) bytes, length, text, size));
}

/* Digests come in hexadecimal digits, or in base64 where asked for. */
static bool
set_digest(Value *value, pg_cryptohash_type type, size_t digest_length, Slice text,
		   const Value *arguments, int argument_count, const char **error)
{
	pg_cryptohash_ctx *context;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	Slice		form = {.data = "hex",.length = 3};
	bool		done;

	if (argument_count > 0 && !value_text(&arguments[0], &form))
		form.length = 0;
	context = pg_cryptohash_create(type);
	done = context != NULL &&
		pg_cryptohash_init(context) == 0 &&
		pg_cryptohash_update(context, (const uint8 *) text.data, text.length) == 0 &&
		pg_cryptohash_final(context, digest, digest_length) == 0;
	pg_cryptohash_free(context);
	if (!done)
	{
		*error = "the digest could not be computed";
		return false;
	}
	if (form.length == 3 && memcmp(form.data, "hex", 3) == 0)
		set_hex(value, digest, digest_length);
	else if (form.length == 6 && memcmp(form.data, "base64", 6) == 0)
		set_base64(value, digest, digest_length);
	else
	{
		*error = "a digest is written as 'hex' or 'base64'";
		return false;
	}
	return true;
}

static bool
apply_sha256(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	return set_digest(value, PG_SHA256, PG_SHA256_DIGEST_LENGTH, text, arguments,
					  argument_count, error);
}

static bool
apply_md5(Value *value, Slice text, const Value *arguments, int argument_count,
		  const char **error)
{
	return set_digest(value, PG_MD5, MD5_DIGEST_LENGTH, text, arguments,
					  argument_count, error);
}

static bool
apply_base64(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	set_base64(value, (const uint8 *) text.data, text.length);
	return true;
}

/* --- types --- */

static bool
apply_string(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	set_text(value, text.data, text.length);
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

/* The JSON text of a value, as text: JSON inside a string or a form field. */
static bool
apply_json(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	StringInfoData out;

	initStringInfo(&out);
	value_append_json(value, &out);
	set_text(value, out.data, out.len);
	return true;
}

static bool
is_nothing(const Value *value)
{
	return value->kind == VALUE_ABSENT ||
		(value->kind == VALUE_JSON && value->data.data[0] == 'n');
}

/* The first argument that is something, where the value is absent or null. */
static bool
apply_default(Value *value, Slice text, const Value *arguments, int argument_count,
			  const char **error)
{
	for (int i = 0; i < argument_count && is_nothing(value); i++)
		*value = arguments[i];
	return true;
}

/* --- the list --- */

static const Function functions[] = {
	{"base64", 0, 0, false, apply_base64},
	{"bool", 0, 0, false, apply_bool},
	{"coalesce", 1, 4, true, apply_default},
	{"concat", 1, 4, false, apply_concat},
	{"default", 1, 1, true, apply_default},
	{"digits", 0, 0, false, apply_digits},
	{"json", 0, 0, true, apply_json},
	{"lower", 0, 0, false, apply_lower},
	{"md5", 0, 1, false, apply_md5},
	{"number", 0, 0, false, apply_number},
	{"sha256", 0, 1, false, apply_sha256},
	{"string", 0, 0, false, apply_string},
	{"strip", 1, 1, false, apply_strip},
	{"substr", 1, 2, false, apply_substr},
	{"trim", 0, 0, false, apply_trim},
	{"upper", 0, 0, false, apply_upper},
	{"urlencode", 0, 0, false, apply_urlencode},
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
		if (is_nothing(value))
			return true;
		if (!value_text(value, &text))
		{
			*error = psprintf("%s needs a text, not an object or array", function->name);
			return false;
		}
	}
	return function->apply(value, text, arguments, argument_count, error);
}
