/*
 * capture.c
 *		Taking a record's id or version out of an answer.
 *
 * It is kept as JSON, as the destination wrote it: a number stays a number, and
 * what has several parts becomes an object of them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/json_text.h"
#include "connector/connector_internal.h"
#include "connector/expression.h"
#include "connector/jsonb_reader.h"
#include "http/header.h"

/* Longer ones are none. */
#define MAX_CAPTURE_LENGTH 4096

/* --- compiling --- */

/* "$.id", {"path": "$.name", "segment": -1} or {"header": "Location", "segment": -1} */
static void
compile_part(Compiler *compiler, const char *path, const JsonbValue *json, bool whole_answer,
			 CapturePart *part)
{
	static const char *const keys[] = {"path", "header", "segment", "place"};
	JsonbValue	segment;
	JsonbValue	place;
	char	   *expression;

	if (json->type == jbvString)
	{
		part->path = compile_jsonpath(compiler, path, jsonb_string(json));
		return;
	}
	check_keys(compiler, path, json, keys, lengthof(keys));
	if (jsonb_member(json, "place", &place))
	{
		part->is_place = true;
		part->first_place = atoi(jsonb_plain_text(&place));
		if (place.type != jbvNumeric || whole_answer)
			compiler_fault(compiler, path_member(path, "place"), NULL,
						   "It must be the number of the first result, and only results have one.");
		return;
	}
	part->header = read_string(compiler, path, json, "header", false);
	expression = read_string(compiler, path, json, "path", false);
	if ((part->header == NULL) == (expression == NULL))
		compiler_fault(compiler, path, NULL, "It must have a \"path\" or a \"header\".");
	if (part->header != NULL && !whole_answer)
		compiler_fault(compiler, path_member(path, "header"), NULL,
					   "A header says nothing of a single row.");
	if (expression != NULL)
		part->path = compile_jsonpath(compiler, path_member(path, "path"), expression);
	if (jsonb_member(json, "segment", &segment))
	{
		part->segment = atoi(jsonb_plain_text(&segment));
		if (segment.type != jbvNumeric || part->segment == 0)
			compiler_fault(compiler, path_member(path, "segment"), NULL,
						   "It must be an integer: from 1, or from the end when negative.");
	}
}

/* {"parts": {"channel": "$.channel", "ts": "$.ts"}} */
static void
compile_parts(Compiler *compiler, const char *path, const JsonbValue *json, bool whole_answer,
			  Capture *capture)
{
	JsonbMember *members;

	path = path_member(path, "parts");
	if (!jsonb_is_object(json) || jsonb_members(json, &members) == 0)
		compiler_fault(compiler, path, NULL, "It must be an object of names and paths.");
	capture->is_object = true;
	capture->part_count = jsonb_members(json, &members);
	capture->parts = palloc0(capture->part_count * sizeof(CapturePart));
	for (int i = 0; i < capture->part_count; i++)
	{
		const char *part_path = path_member(path, members[i].name);

		capture->parts[i].name = compiler_utf8(compiler, part_path, members[i].name);
		compile_part(compiler, part_path, &members[i].value, whole_answer, &capture->parts[i]);
	}
}

Capture *
capture_compile(Compiler *compiler, const char *path, const JsonbValue *json,
				const char *name, bool whole_answer)
{
	static const char *const keys[] = {"parts"};
	Capture    *capture;
	JsonbValue	value;
	JsonbValue	parts;

	if (!jsonb_member(json, name, &value))
		return NULL;
	path = path_member(path, name);
	capture = palloc0(sizeof(Capture));
	if (jsonb_member(&value, "parts", &parts))
	{
		check_keys(compiler, path, &value, keys, lengthof(keys));
		compile_parts(compiler, path, &parts, whole_answer, capture);
		return capture;
	}
	capture->part_count = 1;
	capture->parts = palloc0(sizeof(CapturePart));
	compile_part(compiler, path, &value, whole_answer, capture->parts);
	return capture;
}

/* --- capturing --- */

/*
 * JSON in the server's encoding as UTF-8.  Only what is ASCII in either is
 * taken: there is no transaction to convert the rest in.
 */
static bool
append_utf8(StringInfo out, const char *json)
{
	if (GetDatabaseEncoding() != PG_UTF8)
		for (const char *p = json; *p != '\0'; p++)
			if (IS_HIGHBIT_SET(*p))
				return false;
	appendStringInfoString(out, json);
	return true;
}

static bool
append_text(StringInfo out, const CapturePart *part, const char *text, size_t length)
{
	Slice		slice = {text, length};

	if (part->segment != 0 && !path_segment(slice, part->segment, &slice))
		return false;
	if (slice.length == 0 || !pg_verify_mbstr(PG_UTF8, slice.data, slice.length, true))
		return false;
	return json_text_append_utf8(out, slice.data, slice.length) == JSON_TEXT_OK;
}

static bool
append_part(StringInfo out, const CapturePart *part, Jsonb *json, const HttpAnswer *answer,
			int place)
{
	JsonbValue	value;

	if (part->is_place)
	{
		appendStringInfo(out, "%d", place + part->first_place);
		return place >= 0;
	}
	if (part->header != NULL)
	{
		size_t		length;
		const char *text = header_find(answer->headers, part->header, &length);

		return text != NULL && append_text(out, part, text, length);
	}
	if (json == NULL || !answer_select_first(json, part->path, &value) || value.type == jbvNull)
		return false;
	if (part->segment == 0)
		return append_utf8(out, jsonb_text(&value));
	if (value.type != jbvString)
		return false;
	return append_text(out, part, value.val.string.val, value.val.string.len);
}

Slice
capture_value(const Capture *capture, Jsonb *json, const HttpAnswer *answer, int place)
{
	StringInfoData out;
	Slice		nothing = {"", 0};

	if (capture == NULL)
		return nothing;
	initStringInfo(&out);
	for (int i = 0; i < capture->part_count; i++)
	{
		if (capture->is_object)
		{
			appendStringInfoChar(&out, i > 0 ? ',' : '{');
			(void) json_text_append_utf8(&out, capture->parts[i].name,
										 strlen(capture->parts[i].name));
			appendStringInfoChar(&out, ':');
		}
		if (!append_part(&out, &capture->parts[i], json, answer, place))
			return nothing;
	}
	if (capture->is_object)
		appendStringInfoChar(&out, '}');
	if (out.len > MAX_CAPTURE_LENGTH)
		return nothing;
	return (Slice) {out.data, out.len};
}
