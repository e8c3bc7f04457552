/*
 * fuzz_json_text.c
 *		JSON as text: what the server takes for JSON is walked and read alike.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "base/json_text.h"
#include "connector/jsonb_reader.h"

#include "harness.h"

static void walk(Slice value, int depth);

/* A string means what the server says it means, and survives being written. */
static void
check_string(Slice string)
{
	char	   *text = pnstrdup(string.data, string.length);
	StringInfoData decoded;
	StringInfoData written;
	JsonbValue	value;

	initStringInfo(&decoded);
	json_text_decode_string(&decoded, string);
	must(pg_verify_mbstr(PG_UTF8, decoded.data, strlen(decoded.data), true));

	/* What jsonb refuses, json lets pass. */
	if (strstr(text, "\\u") != NULL)
		return;
	value = jsonb_root(jsonb_of(text));
	must(decoded.len == value.val.string.len);
	must(memcmp(decoded.data, value.val.string.val, decoded.len) == 0);

	initStringInfo(&written);
	must(json_text_append_utf8(&written, decoded.data, decoded.len) == JSON_TEXT_OK);
	value = jsonb_root(jsonb_of(written.data));
	must(decoded.len == value.val.string.len);
	must(memcmp(decoded.data, value.val.string.val, decoded.len) == 0);
}

static void
walk(Slice value, int depth)
{
	JsonTextCursor cursor;
	Slice		name;
	Slice		element;
	Slice		found;

	must(value.length > 0);
	if (depth > 100)
		return;
	if (value.data[0] == '"')
		check_string(value);
	else if (value.data[0] == '[')
	{
		json_text_begin_elements(&cursor, value);
		while (json_text_next_element(&cursor, &element))
			walk(element, depth + 1);
	}
	else if (value.data[0] == '{')
	{
		json_text_begin_members(&cursor, value);
		while (json_text_next_member(&cursor, &name, &element))
		{
			check_string(name);
			walk(element, depth + 1);
			if (memchr(name.data, '\\', name.length) == NULL)
				must(json_text_member(value, (Slice) {name.data + 1, name.length - 2}, &found));
		}
	}
}

void
fuzz_json_text(const char *data, size_t length)
{
	char	   *text = text_of(data, length);
	size_t		end;

	if (text == NULL)
		return;
	(void) DirectFunctionCall1(json_in, CStringGetDatum(text));
	text += strspn(text, " \t\r\n");
	end = strlen(text);
	while (end > 0 && strchr(" \t\r\n", text[end - 1]) != NULL)
		end--;
	walk((Slice) {text, end}, 0);
}
