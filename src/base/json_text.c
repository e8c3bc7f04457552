/*
 * json_text.c
 *		JSON as text in UTF-8: writing strings, finding members, reading strings.
 *
 * Writing strings is the hottest part of a first run, so text is copied in runs
 * between the bytes that need an escape.  Those are found with a table, and
 * eight bytes at a time as long as none is near: nearly all text has none.
 *
 * Nothing here raises an error for what a row may contain; a row that cannot be
 * written is rejected, and the run goes on.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "base/json_text.h"

/*
 * What a byte becomes inside a JSON string: 0 itself, 'u' a \u00XX escape,
 * else a backslash and that letter.
 */
static const char escapes[256] = {
	'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b', 't', 'n', 'u', 'f', 'r', 'u', 'u',
	'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
	['"'] = '"', ['\\'] = '\\'
};

#define BYTES(byte) (UINT64CONST(0x0101010101010101) * (byte))

/*
 * Whether none of eight bytes needs an escape.  A byte below n sets its high
 * bit in (word - n) & ~word; false alarms, which only borrows can cause, are
 * harmless here.
 */
static inline bool
is_plain(uint64 word)
{
	uint64		quote = word ^ BYTES('"');
	uint64		backslash = word ^ BYTES('\\');
	uint64		hits = ((word - BYTES(0x20)) & ~word) |
	((quote - BYTES(1)) & ~quote) |
	((backslash - BYTES(1)) & ~backslash);

	return (hits & BYTES(0x80)) == 0;
}

static inline const char *
skip_plain(const char *p, const char *end)
{
	while (end - p >= (ptrdiff_t) sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, p, sizeof(word));
		if (!is_plain(word))
			break;
		p += sizeof(word);
	}
	while (p < end && escapes[(unsigned char) *p] == 0)
		p++;
	return p;
}

static inline bool
has_room(StringInfo out, size_t more)
{
	return more <= JSON_TEXT_MAX_LENGTH &&
		out->len + more <= JSON_TEXT_MAX_LENGTH;
}

static void
append_escape(StringInfo out, unsigned char byte)
{
	static const char digits[] = "0123456789abcdef";
	char		escape = escapes[byte];
	char	   *to = out->data + out->len;

	to[0] = '\\';
	to[1] = escape;
	out->len += 2;
	if (escape == 'u')
	{
		to[2] = '0';
		to[3] = '0';
		to[4] = digits[byte >> 4];
		to[5] = digits[byte & 15];
		out->len += 4;
	}
}

JsonTextStatus
json_text_append_utf8(StringInfo out, const char *text, size_t length)
{
	const char *end = text + length;

	if (!has_room(out, length + 2))
		return JSON_TEXT_TOO_LONG;
	enlargeStringInfo(out, length + 2);
	out->data[out->len++] = '"';

	/*
	 * The buffer always has room for the rest as it is, and one byte more; an
	 * escape asks for what it takes beyond that.
	 */
	for (;;)
	{
		const char *run = text;

		text = skip_plain(text, end);
		memcpy(out->data + out->len, run, text - run);
		out->len += text - run;
		if (text == end)
			break;
		if (!has_room(out, (end - text) + 7))
			return JSON_TEXT_TOO_LONG;
		enlargeStringInfo(out, (end - text) + 7);
		append_escape(out, (unsigned char) *text++);
	}

	out->data[out->len++] = '"';
	out->data[out->len] = '\0';
	return JSON_TEXT_OK;
}

static bool
is_ascii(const char *text, size_t length)
{
	const char *end = text + length;
	uint64		high = 0;

	for (; end - text >= (ptrdiff_t) sizeof(uint64); text += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, text, sizeof(word));
		high |= word;
	}
	for (; text < end; text++)
		high |= (unsigned char) *text;
	return (high & BYTES(0x80)) == 0;
}

/*
 * Converts *text to UTF-8.  Where that takes memory, it is palloc'ed and
 * returned in *converted for the caller to free; else *converted is NULL.  In a
 * database without an encoding (SQL_ASCII) the bytes are UTF-8 or nothing we
 * could send.
 */
static JsonTextStatus
convert_to_utf8(const char **text, size_t *length, char **converted)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion;

	*converted = NULL;
	if (encoding == PG_UTF8 || is_ascii(*text, *length))
		return JSON_TEXT_OK;
	if (*length > JSON_TEXT_MAX_LENGTH / MAX_CONVERSION_GROWTH)
		return JSON_TEXT_TOO_LONG;
	if (encoding == PG_SQL_ASCII)
		return pg_encoding_verifymbstr(PG_UTF8, *text, *length) == (int) *length ?
			JSON_TEXT_OK : JSON_TEXT_BAD_ENCODING;

	conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(conversion))
		return JSON_TEXT_BAD_ENCODING;
	*converted = palloc(*length * MAX_CONVERSION_GROWTH + 1);
	if (pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
									  (unsigned char *) unconstify(char *, *text), *length,
									  (unsigned char *) *converted,
									  *length * MAX_CONVERSION_GROWTH + 1,
									  true) != (int) *length)
	{
		pfree(*converted);
		*converted = NULL;
		return JSON_TEXT_BAD_ENCODING;
	}
	*text = *converted;
	*length = strlen(*converted);
	return JSON_TEXT_OK;
}

JsonTextStatus
json_text_append_string(StringInfo out, const char *text, size_t length)
{
	char	   *converted;
	JsonTextStatus status = convert_to_utf8(&text, &length, &converted);

	if (status == JSON_TEXT_OK)
		status = json_text_append_utf8(out, text, length);
	if (converted != NULL)
		pfree(converted);
	return status;
}

JsonTextStatus
json_text_append_raw(StringInfo out, const char *text, size_t length)
{
	char	   *converted;
	JsonTextStatus status = convert_to_utf8(&text, &length, &converted);

	if (status == JSON_TEXT_OK && !has_room(out, length))
		status = JSON_TEXT_TOO_LONG;
	if (status == JSON_TEXT_OK)
		appendBinaryStringInfo(out, text, length);
	if (converted != NULL)
		pfree(converted);
	return status;
}

static uint32
read_hex4(const char *p)
{
	uint32		value = 0;

	for (int i = 0; i < 4; i++)
	{
		unsigned char c = p[i];

		value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/*
 * Appends the character of the \u escape whose digits start at p; returns what
 * follows it, and its second half if it has one.
 */
static const char *
decode_unicode_escape(StringInfo out, const char *p)
{
	uint32		character = read_hex4(p);
	unsigned char utf8[8];

	p += 4;
	if (character >= 0xD800 && character <= 0xDFFF)
	{
		uint32		low = 0;

		if (character <= 0xDBFF && p[0] == '\\' && p[1] == 'u')
			low = read_hex4(p + 2);
		if (low >= 0xDC00 && low <= 0xDFFF)
		{
			character = 0x10000 + ((character & 0x3FF) << 10) + (low & 0x3FF);
			p += 6;
		}
		else
			character = 0xFFFD;
	}
	unicode_to_utf8(character, utf8);
	appendBinaryStringInfo(out, (char *) utf8, pg_utf_mblen(utf8));
	return p;
}

void
json_text_decode_string(StringInfo out, Slice string)
{
	const char *p = string.data + 1;
	const char *end = string.data + string.length - 1;

	while (p < end)
	{
		const char *run = p;

		while (p < end && *p != '\\')
			p++;
		appendBinaryStringInfo(out, run, p - run);
		if (p == end)
			break;
		p += 2;
		switch (p[-1])
		{
			case 'b':
				appendStringInfoChar(out, '\b');
				break;
			case 'f':
				appendStringInfoChar(out, '\f');
				break;
			case 'n':
				appendStringInfoChar(out, '\n');
				break;
			case 'r':
				appendStringInfoChar(out, '\r');
				break;
			case 't':
				appendStringInfoChar(out, '\t');
				break;
			case 'u':
				p = decode_unicode_escape(out, p);
				break;
			default:
				appendStringInfoChar(out, p[-1]);
				break;
		}
	}
}

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* p is at the opening quote; returns what follows the closing one. */
static const char *
skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return Min(p + 1, end);
}

/* p is at a value's first byte; returns what follows its last. */
static const char *
skip_value(const char *p, const char *end)
{
	int			depth = 0;

	while (p < end)
	{
		switch (*p)
		{
			case '"':
				p = skip_string(p, end);
				if (depth == 0)
					return p;
				break;
			case '{':
			case '[':
				depth++;
				p++;
				break;
			case '}':
			case ']':
				if (depth == 0)
					return p;	/* the end of what holds the value */
				p++;
				if (--depth == 0)
					return p;
				break;
			case ',':
			case ' ':
			case '\t':
			case '\n':
			case '\r':
				if (depth == 0)
					return p;
				p++;
				break;
			default:
				p++;
				break;
		}
	}
	return end;
}

void
json_text_begin_members(JsonTextCursor *cursor, Slice object)
{
	cursor->end = object.data + object.length;
	cursor->position = skip_space(object.data, cursor->end);
	if (cursor->position < cursor->end && *cursor->position == '{')
		cursor->position++;
	else
		cursor->position = cursor->end;
}

bool
json_text_next_member(JsonTextCursor *cursor, Slice *name, Slice *value)
{
	const char *end = cursor->end;
	const char *p = skip_space(cursor->position, end);
	const char *start;

	if (p < end && *p == ',')
		p = skip_space(p + 1, end);
	if (p >= end || *p != '"')
		return false;

	start = p;
	p = skip_string(p, end);
	name->data = start;
	name->length = p - start;

	p = skip_space(p, end);
	p = skip_space(Min(p + 1, end), end);	/* the colon */

	start = p;
	p = skip_value(p, end);
	value->data = start;
	value->length = p - start;
	cursor->position = p;
	return true;
}

void
json_text_begin_elements(JsonTextCursor *cursor, Slice array)
{
	cursor->end = array.data + array.length;
	cursor->position = skip_space(array.data, cursor->end);
	if (cursor->position < cursor->end && *cursor->position == '[')
		cursor->position++;
	else
		cursor->position = cursor->end;
}

bool
json_text_next_element(JsonTextCursor *cursor, Slice *value)
{
	const char *end = cursor->end;
	const char *start = skip_space(cursor->position, end);

	if (start < end && *start == ',')
		start = skip_space(start + 1, end);
	if (start >= end || *start == ']')
		return false;
	cursor->position = skip_value(start, end);
	value->data = start;
	value->length = cursor->position - start;
	return true;
}

/* Whether a JSON string, with its quotes, spells this name. */
static bool
string_is(Slice string, Slice name)
{
	StringInfoData decoded;
	bool		same;

	if (memchr(string.data, '\\', string.length) == NULL)
		return string.length == name.length + 2 &&
			memcmp(string.data + 1, name.data, name.length) == 0;

	initStringInfo(&decoded);
	json_text_decode_string(&decoded, string);
	same = decoded.len == (int) name.length &&
		memcmp(decoded.data, name.data, name.length) == 0;
	pfree(decoded.data);
	return same;
}

bool
json_text_member(Slice object, Slice name, Slice *value)
{
	JsonTextCursor cursor;
	Slice		member;

	json_text_begin_members(&cursor, object);
	while (json_text_next_member(&cursor, &member, value))
		if (string_is(member, name))
			return true;
	return false;
}

bool
json_text_field(Slice object, const Slice *path, int path_length, Slice *value)
{
	*value = object;
	for (int i = 0; i < path_length; i++)
		if (!json_text_member(*value, path[i], value))
			return false;
	return true;
}
