/*
 * fuzz_template.c
 *		Templates, of JSON and of texts, and the records that go into them.
 *
 * An input is {"body": template, "path": "template", "header": "template",
 * "key": {}, "data": {}, ...}; what is missing is made up.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "connector/jsonb_reader.h"

#include "harness.h"

static const char *
member_text(const JsonbValue *input, const char *name, const char *otherwise)
{
	JsonbValue	value;

	return jsonb_member(input, name, &value) ? jsonb_text(&value) : otherwise;
}

static void
set_slice(const JsonbValue *input, const char *name, Slice *slice)
{
	JsonbValue	value;

	if (jsonb_member(input, name, &value))
		*slice = (Slice) {jsonb_text(&value), strlen(jsonb_text(&value))};
}

static Connector *
compile_template(const JsonbValue *input)
{
	const char *operation = psprintf(
									 "{\"request\": {\"method\": \"POST\", \"path\": %s, \"headers\": {\"X-Fuzz\": %s},"
									 " \"query\": {\"q\": %s}, \"encode\": %s, \"body\": %s}}",
									 member_text(input, "path", "\"/x\""),
									 member_text(input, "header", "\"x\""),
									 member_text(input, "query", "\"x\""),
									 member_text(input, "encode", "\"json\""),
									 member_text(input, "body", "\"{{fields}}\""));
	const char *batch = psprintf(
								 "{\"request\": {\"method\": \"POST\", \"path\": \"/x\", \"encode\": %s, \"envelope\": %s, \"row\": %s},"
								 " \"batch\": {\"max_records\": 10}}",
								 member_text(input, "encode", "\"json\""),
								 member_text(input, "envelope", "\"{{rows}}\""),
								 member_text(input, "row", "\"{{fields}}\""));

	return compile_manifest("fuzz",
							jsonb_of(psprintf("{\"base_url\": \"https://example.com\", \"secrets\": {\"token\": {}},"
											  " \"operations\": {\"create\": %s, \"update\": %s}}", operation, batch)));
}

void
fuzz_template(const char *data, size_t length)
{
	char	   *text = text_of(data, length);
	JsonbValue	input;
	Connector  *connector;

	if (text == NULL)
		return;
	input = jsonb_root(jsonb_of(text));
	if (!jsonb_is_object(&input))
		return;
	connector = compile_template(&input);
	for (Operation operation = OPERATION_CREATE; operation <= OPERATION_UPDATE; operation++)
	{
		Batch	   *batch = example_batch(connector, operation);
		Record	   *record = &batch->records[0].record;
		JsonbValue	object;

		if (jsonb_member(&input, "key", &object) && jsonb_is_object(&object))
			set_slice(&input, "key", &record->key);
		if (jsonb_member(&input, "data", &object) && jsonb_is_object(&object))
			set_slice(&input, "data", &record->data);
		set_slice(&input, "identifier", &record->identifier);
		set_slice(&input, "id", &record->id);
		set_slice(&input, "version", &record->version);
		check_rendered(connector, batch);
	}
}
