/*
 * request.c
 *		Compiles a "request" block: what one request is made of.
 */
#include "postgres.h"

#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"
#include "connector/manifest_value.h"
#include "http/header.h"

#define SEES_HEADER (SEES_AUTH | SEES_RECORD | SEES_ATTEMPT)

static const char *const encoding_names[] = {"json", "ndjson", "form", "csv"};

static const char *const content_types[] = {
	"application/json", "application/x-ndjson", "application/x-www-form-urlencoded",
	"text/csv"
};

static Slice
read_slice(Compiler *compiler, const char *path, const JsonbValue *object,
		   const char *name, const char *otherwise)
{
	char	   *text = read_string(compiler, path, object, name, false);
	Slice		slice;

	slice.data = text == NULL ? otherwise :
		compiler_utf8(compiler, path_member(path, name), text);
	slice.length = strlen(slice.data);
	return slice;
}

/* --- headers --- */

/* Adds a header, or replaces the one of that name. */
static void
put_header(List **headers, char *name, TextTemplate *value)
{
	HeaderTemplate *header;
	ListCell   *cell;

	foreach(cell, *headers)
	{
		header = lfirst(cell);
		if (pg_strcasecmp(header->name, name) == 0)
		{
			header->value = value;
			return;
		}
	}
	header = palloc(sizeof(HeaderTemplate));
	header->name = name;
	header->value = value;
	*headers = lappend(*headers, header);
}

void
read_headers(Compiler *compiler, const char *path, const JsonbValue *object,
			 const char *name, int sees, List **headers)
{
	JsonbValue	value;
	JsonbValue	written;
	JsonbMember *members;
	Compiler	place = *compiler;
	int			count;

	if (!read_member(compiler, path, object, name, &value))
		return;
	path = path_member(path, name);
	if (!jsonb_is_object(&value))
		compiler_fault(compiler, path, NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(&value));

	/* What the user wrote is not the manifest's fault. */
	if (jsonb_member(object, name, &written) && written.type == jbvString)
		place.in_config = place.declares_secrets = true;
	compiler = &place;
	count = jsonb_members(&value, &members);
	for (int i = 0; i < count; i++)
	{
		const char *member_path = path_member(path, members[i].name);
		const char *fault = header_name_fault(members[i].name);
		TextTemplate *template;
		const char *constant;

		if (fault != NULL)
			compiler_fault(compiler, member_path, NULL, "It cannot be sent: %s.", fault);
		if (members[i].value.type != jbvString)
			compiler_fault(compiler, member_path, NULL, "It must be a string, not %s.",
						   jsonb_type_phrase(&members[i].value));
		template = text_template_compile(compiler, member_path,
										 jsonb_string(&members[i].value),
										 TEXT_PLAIN, sees);
		constant = text_template_constant(template);
		if (constant != NULL && (fault = header_value_fault(constant)) != NULL)
			compiler_fault(compiler, member_path, NULL, "It cannot be sent: %s.", fault);
		put_header(headers, members[i].name, template);
	}
}

HeaderList
header_list(const List *headers)
{
	HeaderList	list = {.count = list_length(headers)};
	int			i = 0;
	ListCell   *cell;

	list.headers = palloc(list.count * sizeof(HeaderTemplate));
	foreach(cell, headers)
		list.headers[i++] = *(HeaderTemplate *) lfirst(cell);
	return list;
}

static TextTemplate *
constant_text(Compiler *compiler, const char *text)
{
	return text_template_compile(compiler, "", text, TEXT_PLAIN, 0);
}

List *
default_headers(Compiler *compiler, const char *content_type)
{
	List	   *headers = NIL;

	put_header(&headers, "User-Agent",
			   constant_text(compiler, "signalsmith/" SIGNALSMITH_VERSION));
	put_header(&headers, "Accept", constant_text(compiler, "application/json"));
	if (content_type != NULL)
		put_header(&headers, "Content-Type", constant_text(compiler, content_type));
	return headers;
}

/*
 * Defaults, then the manifest's, then the request's, then authentication's.  Those
 * of the manifest may be made from a record even where this request carries none;
 * then they are not sent (check.c).
 */
static void
collect_headers(Compiler *compiler, const char *path, const JsonbValue *json,
				const JsonbValue *manifest, bool has_body, RequestSpec *request)
{
	List	   *headers = default_headers(compiler, has_body ?
										  content_types[request->encoding] : NULL);
	Compiler	of_manifest = *compiler;
	JsonbValue	auth;

	of_manifest.without_record = false;
	if (has_body && request->gzip)
		put_header(&headers, "Content-Encoding", constant_text(compiler, "gzip"));
	read_headers(&of_manifest, "", manifest, "headers", SEES_HEADER, &headers);
	read_headers(compiler, path, json, "headers", SEES_HEADER, &headers);
	if (jsonb_member(manifest, "auth", &auth))
		read_headers(&of_manifest, "auth", &auth, "header", SEES_HEADER, &headers);
	request->headers = header_list(headers);
}

HeaderList
probe_headers_compile(Compiler *compiler, const JsonbValue *manifest)
{
	List	   *headers = NIL;
	JsonbValue	auth;

	put_header(&headers, "User-Agent",
			   constant_text(compiler, "signalsmith/" SIGNALSMITH_VERSION));
	read_headers(compiler, "", manifest, "headers", SEES_HEADER, &headers);
	if (jsonb_member(manifest, "auth", &auth))
		read_headers(compiler, "auth", &auth, "header", SEES_HEADER, &headers);
	return header_list(headers);
}

/* --- the URL --- */

static void
check_path(Compiler *compiler, const char *path, const char *text)
{
	if (text[0] != '\0' && text[0] != '/')
		compiler_fault(compiler, path, NULL, "A path must begin with a slash.");
	if (strpbrk(text, "?#") != NULL && strstr(text, "{{") == NULL)
		compiler_fault(compiler, path, "Use \"query\" for parameters.",
					   "A path must not hold \"?\" or \"#\".");
}

static void
read_path(Compiler *compiler, const char *path, const JsonbValue *json, RequestSpec *request)
{
	char	   *text = read_string(compiler, path, json, "path", false);

	if (text == NULL)
		text = "";
	path = path_member(path, "path");
	check_path(compiler, path, text);
	request->path = text_template_compile(compiler, path, text, TEXT_PATH,
										  SEES_AUTH | SEES_RECORD);
	request->path_ends_in_slash = text[0] != '\0' && text[strlen(text) - 1] == '/';
}

/* {"each": "{{id}}", "join": ","}: a value of each record. */
static void
read_list_parameter(Compiler *compiler, const char *path, const JsonbValue *json,
					QueryTemplate *parameter)
{
	static const char *const keys[] = {"each", "join"};
	char	   *text;

	check_keys(compiler, path, json, keys, lengthof(keys));
	text = read_string(compiler, path, json, "each", true);
	parameter->of_each = true;
	parameter->value = text_template_compile(compiler, path_member(path, "each"), text,
											 TEXT_QUERY, SEES_REQUEST | SEES_RECORD);
	parameter->joint = read_slice(compiler, path, json, "join", "");
	if (strspn(parameter->joint.data, ",;:+") != parameter->joint.length)
		compiler_fault(compiler, path_member(path, "join"), NULL,
					   "It must be a comma, semicolon, colon or plus sign.");
}

void
read_query(Compiler *compiler, const char *path, const JsonbValue *object, QueryList *query)
{
	JsonbValue	value;
	JsonbMember *members;

	if (!read_member(compiler, path, object, "query", &value))
		return;
	path = path_member(path, "query");
	if (!jsonb_is_object(&value))
		compiler_fault(compiler, path, NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(&value));
	query->count = jsonb_members(&value, &members);
	query->parameters = palloc0(query->count * sizeof(QueryTemplate));
	for (int i = 0; i < query->count; i++)
	{
		QueryTemplate *parameter = &query->parameters[i];
		const char *member_path = path_member(path, members[i].name);

		parameter->name = text_template_compile(compiler, member_path, members[i].name,
												TEXT_QUERY, 0);
		if (jsonb_is_object(&members[i].value))
			read_list_parameter(compiler, member_path, &members[i].value, parameter);
		else
			parameter->value = text_template_compile(compiler, member_path,
													 jsonb_plain_text(&members[i].value),
													 TEXT_QUERY,
													 SEES_AUTH | SEES_RECORD | SEES_ROWS);
	}
}

/* --- bodies --- */

static Template *
read_template(Compiler *compiler, const char *path, const JsonbValue *json,
			  const char *name, int sees)
{
	JsonbValue	value;

	if (!jsonb_member(json, name, &value) || value.type == jbvNull)
		return NULL;
	return template_compile(compiler, path_member(path, name), &value, sees);
}

/* The mapped fields, as they are. */
static Template *
fields_template(Compiler *compiler, const char *path)
{
	static char fields[] = "{{fields}}";
	JsonbValue	text = {
		.type = jbvString,
		.val.string = {.val = fields,.len = sizeof(fields) - 1}
	};

	return template_compile(compiler, path, &text, SEES_RECORD);
}

/* "lines": the lines of each record; one of its fields if not given. */
static void
read_lines(Compiler *compiler, const char *path, const JsonbValue *json, RequestSpec *request)
{
	JsonbValue	lines;
	JsonbValue *elements;

	request->takes_many = true;
	if (!jsonb_member(json, "lines", &lines))
	{
		request->line_count = 1;
		request->lines = palloc(sizeof(Template *));
		request->lines[0] = fields_template(compiler, path);
		return;
	}
	path = path_member(path, "lines");
	if (!jsonb_is_array(&lines))
		compiler_fault(compiler, path, NULL, "It must be a list of templates, not %s.",
					   jsonb_type_phrase(&lines));
	request->line_count = jsonb_elements(&lines, &elements);
	request->lines = palloc(request->line_count * sizeof(Template *));
	for (int i = 0; i < request->line_count; i++)
		request->lines[i] = template_compile(compiler, path_element(path, i), &elements[i],
											 SEES_REQUEST | SEES_RECORD);
}

static void
read_csv_columns(Compiler *compiler, const char *path, const JsonbValue *json, CsvSpec *csv)
{
	static const char *const keys[] = {"name", "value"};
	JsonbValue	columns;
	JsonbValue *elements;

	if (!jsonb_member(json, "columns", &columns))
		return;
	path = path_member(path, "columns");
	if (!jsonb_is_array(&columns) || (csv->column_count = jsonb_elements(&columns, &elements)) == 0)
		compiler_fault(compiler, path, NULL, "It must be a list of columns.");
	csv->columns = palloc(csv->column_count * sizeof(CsvColumn));
	for (int i = 0; i < csv->column_count; i++)
	{
		const char *column_path = path_element(path, i);

		check_keys(compiler, column_path, &elements[i], keys, lengthof(keys));
		(void) read_string(compiler, column_path, &elements[i], "name", true);
		csv->columns[i].name = read_slice(compiler, column_path, &elements[i], "name", "");
		csv->columns[i].value =
			text_template_compile(compiler, path_member(column_path, "value"),
								  read_string(compiler, column_path, &elements[i], "value", true),
								  TEXT_PLAIN, SEES_REQUEST | SEES_RECORD);
	}
}

static void
read_csv(Compiler *compiler, const char *path, const JsonbValue *json, RequestSpec *request)
{
	static const char *const keys[] = {"columns", "header", "delimiter", "line_end", "null"};
	static const char *const line_ends[] = {"lf", "crlf"};
	CsvSpec    *csv = &request->csv;
	JsonbValue	value;
	Slice		delimiter;

	request->takes_many = true;
	path = path_member(path, "csv");
	if (jsonb_member(json, "csv", &value))
		check_keys(compiler, path, &value, keys, lengthof(keys));
	else
		value.type = jbvNull;	/* which has no members */
	read_csv_columns(compiler, path, &value, csv);
	csv->without_header = !read_bool(compiler, path, &value, "header", true);
	delimiter = read_slice(compiler, path, &value, "delimiter", ",");
	if (delimiter.length != 1 || strchr("\"\r\n", delimiter.data[0]) != NULL)
		compiler_fault(compiler, path_member(path, "delimiter"), NULL,
					   "It must be one character, such as a comma or a tab.");
	csv->delimiter = delimiter.data[0];
	csv->line_end.data = "\r\n";
	csv->line_end.length = 2;
	if (read_choice(compiler, path, &value, "line_end", line_ends, lengthof(line_ends), 0) == 0)
	{
		csv->line_end.data++;
		csv->line_end.length--;
	}
	csv->null = read_slice(compiler, path, &value, "null", "");
}

/* Bodies that are JSON, or made from it. */
static void
read_json_bodies(Compiler *compiler, const char *path, const JsonbValue *json,
				 RequestSpec *request)
{
	JsonbValue	body;

	request->body = read_template(compiler, path, json, "body", SEES_REQUEST | SEES_RECORD);
	request->envelope = read_template(compiler, path, json, "envelope",
									  SEES_REQUEST | SEES_ROWS);
	request->row = read_template(compiler, path, json, "row", SEES_REQUEST | SEES_RECORD);
	if (request->envelope != NULL)
		request->takes_many = true;
	if (request->row != NULL && !request->takes_many)
		compiler_fault(compiler, path_member(path, "row"), NULL,
					   "A row needs an \"envelope\" that holds \"{{rows}}\".");
	if (!request->takes_many && !jsonb_member(json, "body", &body) &&
		!compiler->without_record &&
		strcmp(request->method, "GET") != 0 && strcmp(request->method, "DELETE") != 0)
		request->body = fields_template(compiler, path);
}

/* What only belongs to one encoding. */
static void
check_encoding_keys(Compiler *compiler, const char *path, const JsonbValue *json,
					Encoding encoding)
{
	static const struct
	{
		const char *key;
		int			encodings;
	}			members[] =
	{
		{"body", (1 << ENCODE_JSON) | (1 << ENCODE_FORM)},
		{"envelope", (1 << ENCODE_JSON) | (1 << ENCODE_FORM)},
		{"row", (1 << ENCODE_JSON) | (1 << ENCODE_FORM)},
		{"lines", 1 << ENCODE_NDJSON},
		{"csv", 1 << ENCODE_CSV}
	};
	JsonbValue	value;

	for (int i = 0; i < (int) lengthof(members); i++)
		if (jsonb_member(json, members[i].key, &value) &&
			(members[i].encodings & (1 << encoding)) == 0)
			compiler_fault(compiler, path_member(path, members[i].key), NULL,
						   "It has no meaning with \"encode\": \"%s\".",
						   encoding_names[encoding]);
}

static void
read_bodies(Compiler *compiler, const char *path, const JsonbValue *json, RequestSpec *request)
{
	request->encoding = read_choice(compiler, path, json, "encode", encoding_names,
									lengthof(encoding_names), ENCODE_JSON);
	check_encoding_keys(compiler, path, json, request->encoding);
	if (request->encoding == ENCODE_NDJSON)
		read_lines(compiler, path, json, request);
	else if (request->encoding == ENCODE_CSV)
		read_csv(compiler, path, json, request);
	else
		read_json_bodies(compiler, path, json, request);
}

bool
request_has_header(const RequestSpec *request, const char *name)
{
	for (int i = 0; i < request->headers.count; i++)
		if (pg_strcasecmp(request->headers.headers[i].name, name) == 0)
			return true;
	return false;
}

bool
request_has_body(const RequestSpec *request, bool is_batch)
{
	return request->encoding == ENCODE_NDJSON || request->encoding == ENCODE_CSV ||
		(is_batch ? request->envelope : request->body) != NULL;
}

/* --- the whole --- */

static void
read_method(Compiler *compiler, const char *path, const JsonbValue *json, RequestSpec *request)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

	request->method = read_constant(compiler, path, json, "method", true);
	for (int i = 0; i < (int) lengthof(methods); i++)
		if (strcmp(request->method, methods[i]) == 0)
			return;
	compiler_fault(compiler, path_member(path, "method"),
				   choice_hint(request->method, methods, lengthof(methods)),
				   "\"%s\" is not valid here.", request->method);
}

void
request_compile(Compiler *compiler, const char *path, const JsonbValue *json,
				const JsonbValue *manifest, RequestSpec *request)
{
	static const char *const keys[] = {
		"method", "path", "query", "headers", "encode", "compress", "body", "envelope",
		"row", "lines", "csv"
	};
	static const char *const compressions[] = {"gzip"};

	check_keys(compiler, path, json, keys, lengthof(keys));
	read_method(compiler, path, json, request);
	read_path(compiler, path, json, request);
	read_query(compiler, path, json, &request->query);
	for (int i = 0; i < request->query.count; i++)
		if (request->query.parameters[i].of_each)
			request->takes_many = true;
	read_bodies(compiler, path, json, request);

	/* {{rows}} may stand in the query of any request that carries records. */
	if (request->row == NULL && !compiler->without_record)
		request->row = fields_template(compiler, path);
	request->gzip = read_choice(compiler, path, json, "compress", compressions,
								lengthof(compressions), -1) == 0;
	collect_headers(compiler, path, json, manifest, request_has_body(request, true) || request_has_body(request, false),
					request);

	request->names_record = text_template_uses_record(request->path);
	for (int i = 0; i < request->query.count; i++)
		if (text_template_uses_record(request->query.parameters[i].value))
			request->names_record = true;
}

void
request_check_batch(Compiler *compiler, const char *path, const RequestSpec *request)
{
	if (text_template_uses_record(request->path))
		compiler_fault(compiler, path_member(path, "path"), NULL,
					   "The path of a request for several records cannot depend on one of them.");
	for (int i = 0; i < request->headers.count; i++)
		if (text_template_uses_record(request->headers.headers[i].value))
			compiler_fault(compiler, path_member(path, "headers"), NULL,
						   "The headers of a request for several records cannot depend on one of them.");
	for (int i = 0; i < request->query.count; i++)
		if (!request->query.parameters[i].of_each &&
			text_template_uses_record(request->query.parameters[i].value))
			compiler_fault(compiler, path_member(path, "query"),
						   "Write {\"each\": \"{{id}}\", \"join\": \",\"} for a list of all records' values.",
						   "A parameter of a request for several records cannot depend on one of them.");
}
