/*
 * encode.c
 *		The body of a request in the encoding that the manifest asks for.
 *
 * A form is made from JSON: the same templates serve, and a value that is an
 * object or a list gets the brackets that PHP and Rails made a custom of.
 * Whatever the encoding, the same batch gives the same bytes each time.
 */
#include "postgres.h"

#include <zlib.h>

#include "miscadmin.h"

#include "base/json_text.h"
#include "connector/connector_internal.h"
#include "connector/expression.h"

/* --- JSON --- */

/* Puts the members that authentication wants first into an object. */
static bool
insert_members(const AuthSpec *auth, Evaluation *evaluation, StringInfo body, int start)
{
	StringInfoData members;

	if (auth->member_count == 0)
		return true;
	if (body->data[start] != '{')
	{
		evaluation->error = pstrdup("the body is no object, so authentication cannot be part of it");
		return false;
	}
	initStringInfo(&members);
	for (int i = 0; i < auth->member_count; i++)
	{
		appendBinaryStringInfo(&members, auth->members[i].name.data,
							   auth->members[i].name.length);
		if (!template_append(auth->members[i].value, evaluation, &members))
			return false;
		if (i < auth->member_count - 1 || body->data[start + 1] != '}')
			appendStringInfoChar(&members, ',');
	}
	enlargeStringInfo(body, members.len);
	memmove(body->data + start + 1 + members.len, body->data + start + 1,
			body->len - start);	/* and its final zero */
	memcpy(body->data + start + 1, members.data, members.len);
	body->len += members.len;
	return true;
}

static bool
append_json(const Connector *connector, const OperationSpec *operation,
			Evaluation *evaluation, StringInfo out)
{
	const RequestSpec *request = &operation->request;
	int			start = out->len;

	return template_append(operation->is_batch ? request->envelope : request->body,
						   evaluation, out) &&
		insert_members(&connector->auth, evaluation, out, start);
}

/* --- lines of JSON --- */

static bool
append_lines(const OperationSpec *operation, Evaluation *evaluation, StringInfo out)
{
	const Batch *batch = evaluation->batch;

	for (int i = 0; i < batch->record_count; i++)
	{
		evaluation->record = &batch->records[i];
		evaluation->record_index = i;
		for (int line = 0; line < operation->request.line_count; line++)
		{
			if (!template_append(operation->request.lines[line], evaluation, out))
				return false;
			appendStringInfoCharMacro(out, '\n');
		}
	}
	return true;
}

/* --- forms --- */

static void append_form_value(StringInfo out, Slice name, Slice json);

/* A member's, or an element's, name in brackets behind its parent's. */
static void
append_form_member(StringInfo out, Slice parent, Slice name, Slice json)
{
	StringInfoData full;

	initStringInfo(&full);
	appendBinaryStringInfo(&full, parent.data, parent.length);
	appendStringInfoChar(&full, '[');
	if (name.length > 0)
		json_text_decode_string(&full, name);
	appendStringInfoChar(&full, ']');
	append_form_value(out, (Slice) {full.data, full.len}, json);
	pfree(full.data);
}

static void
append_form_pair(StringInfo out, Slice name, Slice text)
{
	if (out->len > 0)
		appendStringInfoChar(out, '&');
	append_percent_encoded(out, name, "[]");
	appendStringInfoChar(out, '=');
	append_percent_encoded(out, text, "");
}

/* Null is the empty text: that is how a field is cleared. */
static void
append_form_value(StringInfo out, Slice name, Slice json)
{
	JsonTextCursor cursor;
	Slice		member_name;
	Slice		member;
	Value		value = {VALUE_JSON, json};
	Slice		text;

	check_stack_depth();
	if (json.data[0] == '{')
	{
		json_text_begin_members(&cursor, json);
		while (json_text_next_member(&cursor, &member_name, &member))
			append_form_member(out, name, member_name, member);
	}
	else if (json.data[0] == '[')
	{
		json_text_begin_elements(&cursor, json);
		while (json_text_next_element(&cursor, &member))
			append_form_member(out, name, (Slice) {"", 0}, member);
	}
	else if (value_text(&value, &text))
		append_form_pair(out, name, text);
	else
		append_form_pair(out, name, (Slice) {"", 0});
}

void
append_form_members(StringInfo out, Slice json)
{
	JsonTextCursor cursor;
	Slice		name;
	Slice		value;

	json_text_begin_members(&cursor, json);
	while (json_text_next_member(&cursor, &name, &value))
	{
		StringInfoData decoded;

		initStringInfo(&decoded);
		json_text_decode_string(&decoded, name);
		append_form_value(out, (Slice) {decoded.data, decoded.len}, value);
		pfree(decoded.data);
	}
}

static bool
append_form(const Connector *connector, const OperationSpec *operation,
			Evaluation *evaluation, StringInfo out)
{
	StringInfoData json;

	initStringInfo(&json);
	if (!append_json(connector, operation, evaluation, &json))
		return false;
	if (json.data[0] != '{')
	{
		evaluation->error = pstrdup("a form can only be made of an object");
		return false;
	}
	append_form_members(out, (Slice) {json.data, json.len});
	pfree(json.data);
	return true;
}

/* --- CSV, RFC 4180 --- */

static void
append_csv_text(const CsvSpec *csv, StringInfo out, Slice text)
{
	bool		quote = text.length == 0;	/* told apart from null */

	for (uint32 i = 0; i < text.length && !quote; i++)
		quote = text.data[i] == csv->delimiter || strchr("\"\r\n", text.data[i]) != NULL;
	quote = quote || (text.length == csv->null.length &&
					  memcmp(text.data, csv->null.data, text.length) == 0);
	if (!quote)
	{
		appendBinaryStringInfo(out, text.data, text.length);
		return;
	}
	appendStringInfoCharMacro(out, '"');
	for (uint32 i = 0; i < text.length; i++)
	{
		if (text.data[i] == '"')
			appendStringInfoCharMacro(out, '"');
		appendStringInfoCharMacro(out, text.data[i]);
	}
	appendStringInfoCharMacro(out, '"');
}

/* Objects and lists are written as JSON. */
static void
append_csv_value(const CsvSpec *csv, StringInfo out, const Value *value)
{
	Slice		text;

	if (value_text(value, &text))
		append_csv_text(csv, out, text);
	else if (value->kind == VALUE_ABSENT || value->data.data[0] == 'n')
		appendBinaryStringInfo(out, csv->null.data, csv->null.length);
	else
		append_csv_text(csv, out, value->data);
}

/* The columns of the manifest, or the fields of the first record. */
static void
append_csv_header(const CsvSpec *csv, const Batch *batch, StringInfo out)
{
	JsonTextCursor cursor;
	Slice		name;
	Slice		value;
	bool		first = true;

	for (int i = 0; i < csv->column_count; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, csv->delimiter);
		append_csv_text(csv, out, csv->columns[i].name);
	}
	if (csv->column_count == 0)
	{
		json_text_begin_members(&cursor, batch->records[0].record.data);
		while (json_text_next_member(&cursor, &name, &value))
		{
			Value		text = {VALUE_JSON, name};

			if (!first)
				appendStringInfoChar(out, csv->delimiter);
			first = false;
			append_csv_value(csv, out, &text);
		}
	}
	appendBinaryStringInfo(out, csv->line_end.data, csv->line_end.length);
}

static bool
append_csv_columns(const CsvSpec *csv, Evaluation *evaluation, StringInfo out)
{
	for (int i = 0; i < csv->column_count; i++)
	{
		Value		value;

		if (i > 0)
			appendStringInfoCharMacro(out, csv->delimiter);
		if (!text_template_value(csv->columns[i].value, evaluation, &value))
			return false;
		append_csv_value(csv, out, &value);
	}
	return true;
}

/* A record's fields, in the order of the first record's. */
static void
append_csv_fields(const CsvSpec *csv, const Batch *batch, Slice data, StringInfo out)
{
	JsonTextCursor cursor;
	Slice		name;
	Slice		unused;
	bool		first = true;

	json_text_begin_members(&cursor, batch->records[0].record.data);
	while (json_text_next_member(&cursor, &name, &unused))
	{
		StringInfoData decoded;
		Value		value = {.kind = VALUE_JSON};

		initStringInfo(&decoded);
		json_text_decode_string(&decoded, name);
		if (!json_text_member(data, (Slice) {decoded.data, decoded.len}, &value.data))
			value.kind = VALUE_ABSENT;
		pfree(decoded.data);
		if (!first)
			appendStringInfoCharMacro(out, csv->delimiter);
		first = false;
		append_csv_value(csv, out, &value);
	}
}

static bool
append_csv(const OperationSpec *operation, Evaluation *evaluation, StringInfo out)
{
	const CsvSpec *csv = &operation->request.csv;
	const Batch *batch = evaluation->batch;

	if (!csv->without_header)
		append_csv_header(csv, batch, out);
	for (int i = 0; i < batch->record_count; i++)
	{
		evaluation->record = &batch->records[i];
		evaluation->record_index = i;
		if (csv->column_count == 0)
			append_csv_fields(csv, batch, batch->records[i].record.data, out);
		else if (!append_csv_columns(csv, evaluation, out))
			return false;
		appendBinaryStringInfo(out, csv->line_end.data, csv->line_end.length);
	}
	return true;
}

/* --- compression --- */

/* RFC 1952.  The header says no time, so that the same bytes come out. */
static bool
compress_body(Evaluation *evaluation, StringInfo body)
{
	z_stream	stream = {0};
	StringInfoData out;
	int			result;

	if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
					 Z_DEFAULT_STRATEGY) != Z_OK)
	{
		evaluation->error = pstrdup("the body could not be compressed");
		return false;
	}
	initStringInfo(&out);
	enlargeStringInfo(&out, deflateBound(&stream, body->len));
	stream.next_in = (Bytef *) body->data;
	stream.avail_in = body->len;
	stream.next_out = (Bytef *) out.data;
	stream.avail_out = out.maxlen;
	result = deflate(&stream, Z_FINISH);
	out.len = stream.total_out;
	(void) deflateEnd(&stream);
	if (result != Z_STREAM_END)
	{
		evaluation->error = pstrdup("the body could not be compressed");
		return false;
	}
	pfree(body->data);
	*body = out;
	return true;
}

/* --- the whole --- */

bool
encode_body(const Connector *connector, const OperationSpec *operation,
			Evaluation *evaluation, StringInfo out)
{
	bool		done = false;

	switch (operation->request.encoding)
	{
		case ENCODE_JSON:
			done = append_json(connector, operation, evaluation, out);
			break;
		case ENCODE_FORM:
			done = append_form(connector, operation, evaluation, out);
			break;
		case ENCODE_NDJSON:
			done = append_lines(operation, evaluation, out);
			break;
		case ENCODE_CSV:
			done = append_csv(operation, evaluation, out);
			break;
	}
	if (!done)
		return false;
	if (operation->max_bytes > 0 && out->len > operation->max_bytes)
	{
		evaluation->error = psprintf("the request's body would have %d bytes, and the destination takes %d",
									 out->len, operation->max_bytes);
		return false;
	}
	return !operation->request.gzip || compress_body(evaluation, out);
}
