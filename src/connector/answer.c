/*
 * answer.c
 *		Reading what a destination answered, whatever it is.
 *
 * An answer may be hostile or just broken: bytes that are no UTF-8, NULs, half
 * surrogates, nesting a thousand levels deep, numbers with a million digits.
 * The text is made safe first, then read by the server's own parser, and what
 * that still refuses counts as no JSON.  This works without a transaction: no
 * catalog is looked at, no resource is held.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"

/* More levels than any API has, and far from the stack's end. */
#define MAX_DEPTH 100

#define REPLACEMENT_CHARACTER 0xFFFD

bool
answer_is_data_error(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category != ERRCODE_OPERATOR_INTERVENTION &&
		category != ERRCODE_INSUFFICIENT_RESOURCES &&
		sqlerrcode != ERRCODE_INTERNAL_ERROR;
}

/* --- characters --- */

/*
 * Appends a character in the server's encoding; where that has no such
 * character, a question mark.
 */
static void
append_character(StringInfo out, pg_wchar character)
{
	MemoryContext context = CurrentMemoryContext;
	unsigned char buffer[MAX_UNICODE_EQUIVALENT_STRING + 1];

	if (character < 0x80)
	{
		appendStringInfoCharMacro(out, (char) character);
		return;
	}
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		unicode_to_utf8(character, buffer);
		appendBinaryStringInfo(out, (char *) buffer, pg_utf_mblen(buffer));
		return;
	}

	PG_TRY();
	{
		pg_unicode_to_server(character, buffer);
	}
	PG_CATCH();
	{
		if (!answer_is_data_error(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		strcpy((char *) buffer, "?");
	}
	PG_END_TRY();
	appendStringInfoString(out, (char *) buffer);
}

/* Takes a character from UTF-8 text; what is none is U+FFFD, byte by byte. */
static pg_wchar
take_character(const char **p, const char *end)
{
	const unsigned char *bytes = (const unsigned char *) *p;
	int			length = pg_utf_mblen(bytes);

	if (length > end - *p || !pg_utf8_islegal(bytes, length) || *bytes == '\0')
	{
		*p += 1;
		return REPLACEMENT_CHARACTER;
	}
	*p += length;
	return length == 1 ? *bytes : utf8_to_unicode(bytes);
}

char *
answer_text(const char *text, size_t length)
{
	StringInfoData out;
	const char *end = text + length;

	initStringInfo(&out);
	while (text < end)
		append_character(&out, take_character(&text, end));
	return out.data;
}

/* --- JSON --- */

static int
hex4(const char *p, const char *end)
{
	int			value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/*
 * Copies a backslash escape inside a string; p is at the backslash.  A \u that
 * jsonb cannot hold becomes U+FFFD; one that the server's encoding may not have
 * is resolved here, since the parser would raise.
 */
static const char *
copy_escape(StringInfo out, const char *p, const char *end)
{
	int			character;
	int			low = -1;

	if (end - p < 2 || p[1] != 'u' || (character = hex4(p + 2, end)) < 0)
	{
		appendBinaryStringInfo(out, p, Min(2, end - p));
		return p + Min(2, end - p);
	}
	p += 6;
	if (character >= 0xD800 && character <= 0xDBFF && end - p >= 6 &&
		p[0] == '\\' && p[1] == 'u')
		low = hex4(p + 2, end);
	if (low >= 0xDC00 && low <= 0xDFFF)
	{
		character = 0x10000 + ((character & 0x3FF) << 10) + (low & 0x3FF);
		p += 6;
	}
	else if (character == 0 || (character >= 0xD800 && character <= 0xDFFF))
		character = REPLACEMENT_CHARACTER;

	if (character < 0x80)
		appendStringInfo(out, "\\u%04x", character);
	else
		append_character(out, character);
	return p;
}

/*
 * Copies one JSON text so that the server's parser may have it.  False when it
 * nests too deep.
 */
static bool
copy_safely(StringInfo out, const char *p, const char *end)
{
	int			depth = 0;
	bool		in_string = false;

	while (p < end)
	{
		unsigned char c = *p;

		if (in_string && c == '\\')
		{
			p = copy_escape(out, p, end);
			continue;
		}
		if (c >= 0x80 || c == '\0')
		{
			append_character(out, take_character(&p, end));
			continue;
		}
		if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
		{
			if (++depth > MAX_DEPTH)
				return false;
		}
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
		appendStringInfoCharMacro(out, c);
		p++;
	}
	return true;
}

/* Text in the server's encoding as jsonb, or NULL. */
static Jsonb *
parse(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile document = NULL;

	PG_TRY();
	{
		document = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		if (!answer_is_data_error(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return document;
}

static Jsonb *
decode_json(const char *body, size_t length)
{
	StringInfoData text;

	/* A byte order mark is no JSON, but some servers send one. */
	if (length >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0)
	{
		body += 3;
		length -= 3;
	}
	initStringInfo(&text);
	if (!copy_safely(&text, body, body + length))
		return NULL;
	return parse(text.data);
}

/* One JSON text a line: as the array of them. */
static Jsonb *
decode_ndjson(const char *body, size_t length)
{
	StringInfoData text;
	const char *end = body + length;
	char		separator = '[';

	initStringInfo(&text);
	while (body < end)
	{
		const char *line_end = memchr(body, '\n', end - body);

		if (line_end == NULL)
			line_end = end;
		if (line_end > body && !(line_end - body == 1 && *body == '\r'))
		{
			appendStringInfoChar(&text, separator);
			if (!copy_safely(&text, body, line_end))
				return NULL;
			separator = ',';
		}
		body = line_end + 1;
	}
	appendStringInfoString(&text, separator == '[' ? "[]" : "]");
	return parse(text.data);
}

Jsonb *
answer_decode(Decoding decoding, const char *body, size_t length)
{
	JsonbValue	string;

	switch (decoding)
	{
		case DECODE_NONE:
			return NULL;
		case DECODE_JSON:
			return decode_json(body, length);
		case DECODE_NDJSON:
			return decode_ndjson(body, length);
		case DECODE_TEXT:
			string.type = jbvString;
			string.val.string.val = answer_text(body, length);
			string.val.string.len = strlen(string.val.string.val);
			return JsonbValueToJsonb(&string);
	}
	pg_unreachable();
}
