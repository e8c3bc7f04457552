/*
 * manifest.c
 *		From a manifest and a config to a compiled connector.
 *
 * The language is described in doc/manifest.md.  A manifest is data only, and
 * everything in it is checked here, once: an error names the path of the fault,
 * and no run ever meets an invalid manifest.
 */
#include "postgres.h"

#include "nodes/pg_list.h"

#include "connector/config.h"
#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"
#include "http/header.h"

#define MAX_BATCH_RECORDS 100000

/* In order of their names' meaning: upsert serves create and update. */
static const char *const operation_keys[] = {"create", "update", "delete", "upsert"};

#define OPERATION_UPSERT OPERATION_COUNT

/* --- values that may be one hole over the config --- */

/* Replaces a string such as "{{config.batch_size}}" by the value itself. */
static bool
read_member(Compiler *compiler, const char *path, const JsonbValue *object,
			const char *name, JsonbValue *value)
{
	if (!jsonb_member(object, name, value))
		return false;
	if (value->type == jbvString)
		(void) template_constant_value(compiler, path_member(path, name),
									   jsonb_string(value), value);
	return value->type != jbvNull;
}

static int
read_integer(Compiler *compiler, const char *path, const JsonbValue *object,
			 const char *name, int maximum)
{
	JsonbValue	value;
	char	   *text;
	long		number;
	char	   *end;

	if (!read_member(compiler, path, object, name, &value))
		return 0;
	text = jsonb_text(&value);
	errno = 0;
	number = strtol(text, &end, 10);
	if (value.type != jbvNumeric || errno != 0 || *end != '\0' || number < 1 || number > maximum)
		compiler_fault(compiler, path_member(path, name), NULL,
					   "It must be an integer from 1 to %d.", maximum);
	return (int) number;
}

/* Text without holes, once those over the config are filled. */
static char *
read_constant(Compiler *compiler, const char *path, const JsonbValue *object,
			  const char *name, bool required)
{
	char	   *text = read_string(compiler, path, object, name, required);
	const char *constant;

	if (text == NULL)
		return NULL;
	constant = text_template_constant(text_template_compile(compiler, path_member(path, name),
															text, TEXT_PLAIN, 0));
	if (constant == NULL)
		compiler_fault(compiler, path_member(path, name), NULL,
					   "It can only have holes over the config.");
	return unconstify(char *, constant);
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

static void
read_headers(Compiler *compiler, const char *path, const JsonbValue *object,
			 const char *name, List **headers)
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
		place.in_config = true;
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
										 TEXT_PLAIN,
										 SEES_REQUEST | SEES_RECORD | SEES_ATTEMPT);
		constant = text_template_constant(template);
		if (constant != NULL && (fault = header_value_fault(constant)) != NULL)
			compiler_fault(compiler, member_path, NULL, "It cannot be sent: %s.", fault);
		put_header(headers, members[i].name, template);
	}
}

/* --- the request --- */

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
read_query(Compiler *compiler, const char *path, const JsonbValue *request,
		   OperationSpec *operation)
{
	JsonbValue	query;
	JsonbMember *members;

	if (!read_member(compiler, path, request, "query", &query))
		return;
	path = path_member(path, "query");
	if (!jsonb_is_object(&query))
		compiler_fault(compiler, path, NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(&query));
	operation->query_count = jsonb_members(&query, &members);
	operation->query = palloc(operation->query_count * sizeof(QueryTemplate));
	for (int i = 0; i < operation->query_count; i++)
	{
		const char *member_path = path_member(path, members[i].name);

		operation->query[i].name = text_template_compile(compiler, member_path,
														 members[i].name, TEXT_QUERY, 0);
		operation->query[i].value = text_template_compile(compiler, member_path,
														  jsonb_plain_text(&members[i].value),
														  TEXT_QUERY,
														  SEES_REQUEST | SEES_RECORD | SEES_ROWS);
		if (text_template_uses_record(operation->query[i].value))
			operation->names_record = true;
	}
}

static Template *
read_template(Compiler *compiler, const char *path, const JsonbValue *request,
			  const char *name, int sees)
{
	JsonbValue	value;

	if (!jsonb_member(request, name, &value) || value.type == jbvNull)
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

static void
read_bodies(Compiler *compiler, const char *path, const JsonbValue *request,
			OperationSpec *operation)
{
	JsonbValue	body;

	operation->body = read_template(compiler, path, request, "body",
									SEES_REQUEST | SEES_RECORD);
	operation->envelope = read_template(compiler, path, request, "envelope",
										SEES_REQUEST | SEES_ROWS);
	operation->row = read_template(compiler, path, request, "row",
								   SEES_REQUEST | SEES_RECORD);
	if (operation->row != NULL && operation->envelope == NULL)
		compiler_fault(compiler, path_member(path, "row"), NULL,
					   "A row needs an \"envelope\" that holds \"{{rows}}\".");
	if (operation->envelope != NULL && operation->row == NULL)
		operation->row = fields_template(compiler, path);
	if (operation->envelope == NULL && !jsonb_member(request, "body", &body) &&
		strcmp(operation->method, "GET") != 0 && strcmp(operation->method, "DELETE") != 0)
		operation->body = fields_template(compiler, path);
}

static void
read_request(Compiler *compiler, const char *path, const JsonbValue *request,
			 const JsonbValue *manifest, OperationSpec *operation)
{
	static const char *const keys[] = {
		"method", "path", "query", "headers", "encode", "body", "envelope", "row"
	};
	static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
	static const char *const encodings[] = {"json"};
	List	   *headers = NIL;
	char	   *text;
	int			i;

	check_keys(compiler, path, request, keys, lengthof(keys));
	operation->method = read_constant(compiler, path, request, "method", true);
	for (i = 0; i < (int) lengthof(methods); i++)
		if (strcmp(operation->method, methods[i]) == 0)
			break;
	if (i == lengthof(methods))
		compiler_fault(compiler, path_member(path, "method"),
					   choice_hint(operation->method, methods, lengthof(methods)),
					   "\"%s\" is not valid here.", operation->method);

	text = read_string(compiler, path, request, "path", false);
	if (text == NULL)
		text = "";
	check_path(compiler, path_member(path, "path"), text);
	operation->path = text_template_compile(compiler, path_member(path, "path"), text,
											TEXT_PATH,
											SEES_REQUEST | SEES_RECORD);
	operation->names_record = text_template_uses_record(operation->path);
	operation->path_ends_in_slash = text[0] != '\0' && text[strlen(text) - 1] == '/';
	read_query(compiler, path, request, operation);
	(void) read_choice(compiler, path, request, "encode", encodings, lengthof(encodings), 0);
	read_bodies(compiler, path, request, operation);

	put_header(&headers, "User-Agent",
			   text_template_compile(compiler, path, "signalsmith/" SIGNALSMITH_VERSION,
									 TEXT_PLAIN, 0));
	put_header(&headers, "Accept", text_template_compile(compiler, path, "application/json", TEXT_PLAIN, 0));
	if (operation->body != NULL || operation->envelope != NULL)
		put_header(&headers, "Content-Type",
				   text_template_compile(compiler, path, "application/json", TEXT_PLAIN, 0));
	read_headers(compiler, "", manifest, "headers", &headers);
	read_headers(compiler, path, request, "headers", &headers);
	operation->headers = palloc(list_length(headers) * sizeof(HeaderTemplate));
	for (i = 0; i < list_length(headers); i++)
		operation->headers[i] = *(HeaderTemplate *) list_nth(headers, i);
	operation->header_count = i;
}

/* --- operations --- */

static void
read_batch(Compiler *compiler, const char *path, const JsonbValue *json,
		   OperationSpec *operation)
{
	static const char *const keys[] = {"max_records", "max_bytes"};
	JsonbValue	batch;

	operation->is_batch = operation->envelope != NULL;
	if (!operation->is_batch)
		operation->max_records = 1;
	if (!jsonb_member(json, "batch", &batch))
		return;
	path = path_member(path, "batch");
	check_keys(compiler, path, &batch, keys, lengthof(keys));
	operation->max_bytes = read_integer(compiler, path, &batch, "max_bytes", 512 * 1024 * 1024);
	operation->max_records = read_integer(compiler, path, &batch, "max_records",
										  MAX_BATCH_RECORDS);

	/* Of two forms the batch size decides: never the size of one batch. */
	if (operation->max_records == 1 && (operation->body != NULL || !operation->is_batch))
		operation->is_batch = false;
	else if (operation->envelope == NULL && operation->max_records != 0)
		compiler_fault(compiler, path_member(path, "max_records"), NULL,
					   "A request for more than one record needs an \"envelope\" that holds \"{{rows}}\".");
	if (!operation->is_batch)
		operation->max_records = 1;
}

/* Doing it twice is as good as once, or the destination sees to that. */
static bool
guess_idempotent(const OperationSpec *operation)
{
	if (strcmp(operation->name, "create") != 0 || strcmp(operation->method, "PUT") == 0)
		return true;
	for (int i = 0; i < operation->header_count; i++)
		if (pg_strcasecmp(operation->headers[i].name, "Idempotency-Key") == 0)
			return true;
	return false;
}

/* In a request for several records nothing but the rows may be of a record. */
static void
check_batch_holes(Compiler *compiler, const char *path, const OperationSpec *operation)
{
	if (!operation->is_batch)
		return;
	if (text_template_uses_record(operation->path))
		compiler_fault(compiler, path_member(path, "path"), NULL,
					   "The path of a request for several records cannot depend on one of them.");
	for (int i = 0; i < operation->header_count; i++)
		if (text_template_uses_record(operation->headers[i].value))
			compiler_fault(compiler, path_member(path, "headers"), NULL,
						   "The headers of a request for several records cannot depend on one of them.");
	for (int i = 0; i < operation->query_count; i++)
		if (text_template_uses_record(operation->query[i].value))
			compiler_fault(compiler, path_member(path, "query"), NULL,
						   "The query of a request for several records cannot depend on one of them.");
}

static OperationSpec *
read_operation(Compiler *compiler, const char *path, const char *name,
			   const JsonbValue *json, const JsonbValue *manifest)
{
	static const char *const keys[] = {"request", "batch", "respond", "classify", "idempotent"};
	OperationSpec *operation = palloc0(sizeof(OperationSpec));
	JsonbValue	member;

	check_keys(compiler, path, json, keys, lengthof(keys));
	operation->name = name;
	if (!jsonb_member(json, "request", &member))
		compiler_fault(compiler, path_member(path, "request"), NULL, "It is required.");
	read_request(compiler, path_member(path, "request"), &member, manifest, operation);
	read_batch(compiler, path, json, operation);
	check_batch_holes(compiler, path_member(path, "request"), operation);
	if (jsonb_member(json, "classify", &member))
		operation->rules = rules_compile(compiler, path_member(path, "classify"), &member, false);
	if (jsonb_member(json, "respond", &member))
		respond_compile(compiler, path_member(path, "respond"), &member, &operation->respond);
	operation->idempotent = read_bool(compiler, path, json, "idempotent",
									  guess_idempotent(operation));
	return operation;
}

/* An operation, or the name of another one that serves here too. */
static OperationSpec *
find_operation(Compiler *compiler, const char *path, const JsonbValue *operations,
			   const char *name, const JsonbValue *manifest)
{
	JsonbValue	json;
	const char *member_path = path_member(path, name);
	char	   *other;

	if (!jsonb_member(operations, name, &json))
		return NULL;
	if (json.type != jbvString)
		return read_operation(compiler, member_path, name, &json, manifest);
	other = jsonb_string(&json);
	if (!jsonb_member(operations, other, &json) || !jsonb_is_object(&json))
		compiler_fault(compiler, member_path, NULL,
					   "There is no operation \"%s\" that could serve here.", other);
	return read_operation(compiler, path_member(path, other), name, &json, manifest);
}

static void
read_operations(Compiler *compiler, const char *path, const JsonbValue *json,
				const JsonbValue *manifest, Connector *connector)
{
	OperationSpec *found[OPERATION_UPSERT + 1];

	check_keys(compiler, path, json, operation_keys, lengthof(operation_keys));
	for (int i = 0; i <= OPERATION_UPSERT; i++)
		found[i] = find_operation(compiler, path, json, operation_keys[i], manifest);
	for (int i = 0; i < OPERATION_COUNT; i++)
		connector->operations[i] = found[i];
	if (found[OPERATION_CREATE] == NULL)
		connector->operations[OPERATION_CREATE] = found[OPERATION_UPSERT];
	if (found[OPERATION_UPDATE] == NULL)
		connector->operations[OPERATION_UPDATE] = found[OPERATION_UPSERT];
	for (int i = 0; i < OPERATION_COUNT; i++)
		if (connector->operations[i] != NULL)
			return;
	compiler_fault(compiler, path, NULL, "At least one operation is required.");
}

/* --- objects --- */

/*
 * A manifest has the operations of one kind of object, or objects by name.  All
 * are checked, whichever the sync is for.
 */
static void
read_objects(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	static const char *const keys[] = {"operations", "description"};
	JsonbValue	objects;
	JsonbValue	operations;
	JsonbMember *members;
	const char **names;
	int			count;
	int			chosen = -1;

	if (jsonb_member(manifest, "operations", &operations))
	{
		read_operations(compiler, "operations", &operations, manifest, connector);
		return;
	}
	if (!jsonb_member(manifest, "objects", &objects))
		compiler_fault(compiler, "operations", NULL, "It is required.");
	if (!jsonb_is_object(&objects) || (count = jsonb_members(&objects, &members)) == 0)
		compiler_fault(compiler, "objects", NULL,
					   "It must be an object with at least one member.");

	names = palloc(count * sizeof(char *));
	for (int i = 0; i < count; i++)
	{
		const char *path = path_member("objects", members[i].name);
		Connector	other = *connector;

		names[i] = members[i].name;
		check_keys(compiler, path, &members[i].value, keys, lengthof(keys));
		if (!jsonb_member(&members[i].value, "operations", &operations))
			compiler_fault(compiler, path_member(path, "operations"), NULL, "It is required.");
		read_operations(compiler, path_member(path, "operations"), &operations, manifest, &other);
		if (count == 1 || (compiler->object != NULL && strcmp(members[i].name, compiler->object) == 0))
		{
			*connector = other;
			chosen = i;
		}
	}
	if (chosen >= 0)
		return;
	if (compiler->object != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("connector \"%s\" has no object \"%s\"", compiler->connector, compiler->object),
				 errhint("%s", choice_hint(compiler->object, names, count))));
	connector->needs_object = true;
}

/* --- the whole --- */

static void
read_base_url(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	char	   *url = read_constant(compiler, "", manifest, "base_url", true);
	const char *fault = url_fault(url);
	char	   *query;

	if (fault != NULL)
		compiler_fault(compiler, "base_url", NULL, "%s", fault);
	query = strchr(url, '?');
	if (query != NULL)
	{
		connector->base_query = pstrdup(query + 1);
		*query = '\0';
	}
	connector->base_url = url;
}

static void
read_manifest(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	static const char *const keys[] = {
		"name", "version", "description", "config", "base_url", "headers", "rate",
		"classify", "operations", "objects"
	};
	JsonbValue	member;

	check_keys(compiler, "", manifest, keys, lengthof(keys));
	if (compiler->in_config && jsonb_member(manifest, "config", &member))
		compiler_fault(compiler, "config", NULL, "There is no such key.");
	read_base_url(compiler, manifest, connector);
	if (jsonb_member(manifest, "classify", &member))
		connector->rules = rules_compile(compiler, "classify", &member, false);
	if (jsonb_member(manifest, "rate", &member))
	{
		static const char *const rate_keys[] = {"max_in_flight"};

		check_keys(compiler, "rate", &member, rate_keys, lengthof(rate_keys));
		connector->max_in_flight = read_integer(compiler, "rate", &member, "max_in_flight", 100);
	}
	read_objects(compiler, manifest, connector);
}

Connector *
connector_compile(const char *connector_name, Jsonb *manifest, Jsonb *config,
				  const char *object)
{
	Compiler	compiler = {.connector = connector_name,.object = object};
	Connector  *connector = palloc0(sizeof(Connector));
	JsonbValue	root = jsonb_root(manifest);
	JsonbValue	schema;

	connector->name = pstrdup(connector_name);
	if (read_bool(&compiler, "", &root, "manifest_in_config", false))
	{
		/* The config is the manifest; any secret may be referred to. */
		compiler.in_config = true;
		compiler.secret_count = -1;
		root = jsonb_root(config);
	}
	else
		config_check(&compiler, jsonb_member(&root, "config", &schema) ? &schema : NULL, config);
	read_manifest(&compiler, &root, connector);
	return connector;
}

void
connector_set_secrets(Connector *connector, SecretReader secret, void *arg)
{
	connector->secret = secret;
	connector->secret_arg = arg;
}

/* --- what it can do --- */

static void
require_operation(const Connector *connector, Operation operation, SyncMode mode)
{
	if (connector->operations[operation] != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the destination has no %s operation, which mode \"%s\" needs",
					operation_name(operation), sync_mode_name(mode)),
			 operation == OPERATION_DELETE ?
			 errhint("Give its connector \"operations.delete\", or choose mode \"upsert\".") :
			 errhint("Give its connector \"operations.%s\" or \"operations.upsert\", or choose another mode.",
					 operation_name(operation))));
}

void
connector_check_mode(const Connector *connector, SyncMode mode)
{
	if (connector->needs_object)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("connector \"%s\" has several kinds of object", connector->name),
				 errhint("Say which one the sync is for, as its \"object\".")));
	if (mode != MODE_UPDATE)
		require_operation(connector, OPERATION_CREATE, mode);
	if (mode != MODE_APPEND)
		require_operation(connector, OPERATION_UPDATE, mode);
	if (mode == MODE_MIRROR)
		require_operation(connector, OPERATION_DELETE, mode);
}

ConnectorLimits
connector_limits(const Connector *connector, Operation operation)
{
	const OperationSpec *spec = connector->operations[operation];
	ConnectorLimits limits = {.max_in_flight = connector->max_in_flight};

	if (spec != NULL)
	{
		limits.batch_size = spec->max_records;
		limits.max_bytes = spec->max_bytes;
	}
	return limits;
}

bool
connector_is_idempotent(const Connector *connector, Operation operation)
{
	return connector->operations[operation]->idempotent;
}
