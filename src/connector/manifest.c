/*
 * manifest.c
 *		From a manifest and a config to a compiled connector.
 *
 * The language is described in doc/manifest.md.  A manifest is data only, and
 * everything in it is checked here, once: an error names the path of the fault,
 * and no run ever meets an invalid manifest.
 */
#include "postgres.h"

#include "connector/config.h"
#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"
#include "connector/manifest_value.h"
#include "http/url.h"

#define MAX_BATCH_RECORDS 100000
/* Where a lookup does not say how many it can ask for at once. */
#define DEFAULT_LOOKUP_RECORDS 100

#define MAX_BYTES (512 * 1024 * 1024)

/* In order of their names' meaning: upsert serves create and update. */
static const char *const operation_keys[] = {"create", "update", "delete", "upsert"};

#define OPERATION_UPSERT OPERATION_COUNT

/* --- operations --- */

static void
read_batch(Compiler *compiler, const char *path, const JsonbValue *json,
		   OperationSpec *operation)
{
	static const char *const keys[] = {"max_records", "max_bytes", "max_record_bytes"};
	const RequestSpec *request = &operation->request;
	JsonbValue	batch;

	operation->is_batch = request->takes_many;
	if (jsonb_member(json, "batch", &batch))
	{
		path = path_member(path, "batch");
		check_keys(compiler, path, &batch, keys, lengthof(keys));
		operation->max_bytes = read_integer(compiler, path, &batch, "max_bytes", MAX_BYTES);
		operation->max_record_bytes = read_integer(compiler, path, &batch,
												   "max_record_bytes", MAX_BYTES);
		operation->max_records = read_integer(compiler, path, &batch, "max_records",
											  MAX_BATCH_RECORDS);
	}
	/* A lookup may ask for everything there is. */
	if (operation->is_lookup && !request->takes_many && request->body == NULL &&
		!text_template_uses_record(request->path) && operation->max_records > 1)
		operation->is_batch = true;
	else if (!request->takes_many && operation->max_records > 1)
		compiler_fault(compiler, path_member(path, "max_records"), NULL,
					   "A request for more than one record needs an \"envelope\" that holds \"{{rows}}\".");

	/* Of two forms the batch size decides: never the size of one batch. */
	if (operation->max_records == 1 && request->body != NULL)
		operation->is_batch = false;
	if (!operation->is_batch)
		operation->max_records = 1;
}

/* Doing it twice is as good as once, or the destination sees to that. */
static bool
guess_idempotent(const OperationSpec *operation)
{
	return strcmp(operation->name, "create") != 0 ||
		strcmp(operation->request.method, "PUT") == 0 ||
		request_has_header(&operation->request, "Idempotency-Key");
}

/* What one answer says of several records cannot be one record's id. */
static void
check_captures(Compiler *compiler, const char *path, const OperationSpec *operation)
{
	const RespondSpec *respond = &operation->respond;

	if (operation->is_batch && respond->rows.mode == ATTRIBUTE_ALL &&
		(respond->rows.id != NULL || respond->rows.version != NULL))
		compiler_fault(compiler, path_member(path, "respond.rows"), NULL,
					   "With mode \"all\" only a request for one record has an \"id\" or \"version\".");
}

static OperationSpec *
read_operation(Compiler *compiler, const char *path, const char *name,
			   const JsonbValue *json, const JsonbValue *manifest)
{
	static const char *const keys[] = {
		"request", "batch", "respond", "classify", "idempotent", "when"
	};
	OperationSpec *operation = palloc0(sizeof(OperationSpec));
	JsonbValue	member;

	operation->is_lookup = strcmp(name, "lookup") == 0;
	check_keys(compiler, path, json, keys, lengthof(keys) - (operation->is_lookup ? 0 : 1));
	operation->name = name;
	if (!jsonb_member(json, "request", &member))
		compiler_fault(compiler, path_member(path, "request"), NULL, "It is required.");
	memset(compiler->references, 0, sizeof(References));
	request_compile(compiler, path_member(path, "request"), &member, manifest,
					&operation->request);
	operation->uses_id = compiler->references->id;
	operation->uses_version = compiler->references->version;
	read_batch(compiler, path, json, operation);
	if (operation->is_batch)
		request_check_batch(compiler, path_member(path, "request"), &operation->request);
	if (jsonb_member(json, "classify", &member))
		operation->rules = rules_compile(compiler, path_member(path, "classify"), &member, false);
	if (jsonb_member(json, "respond", &member))
		respond_compile(compiler, path_member(path, "respond"), &member,
						operation->is_lookup, &operation->respond);
	else
		operation->respond.optional = true;
	check_captures(compiler, path, operation);
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

/* --- ids and versions --- */

static bool
captures(const OperationSpec *operation, bool version)
{
	const RowsSpec *rows;

	if (operation == NULL)
		return false;
	rows = &operation->respond.rows;
	if ((version ? rows->version : rows->id) != NULL ||
		(!version && operation->respond.existing_id != NULL))
		return true;
	for (int i = 0; i < rows->list_count; i++)
		if ((version ? rows->lists[i].version : rows->lists[i].id) != NULL)
			return true;
	return false;
}

static bool
captures_anywhere(const Connector *connector, bool version)
{
	bool		found = captures(connector->lookup, version);

	for (int i = 0; i < OPERATION_COUNT; i++)
		found = found || captures(connector->operations[i], version);
	return found;
}

/* What is used must come from somewhere. */
static void
check_sources(Compiler *compiler, const char *path, const Connector *connector)
{
	for (int i = 0; i < OPERATION_COUNT; i++)
	{
		const OperationSpec *operation = connector->operations[i];

		if (operation == NULL)
			continue;
		if (operation->uses_id && !captures_anywhere(connector, false))
			compiler_fault(compiler, path_member(path, operation->name), NULL,
						   "It uses {{id}}, but neither a \"respond\" nor a \"lookup\" has an \"id\".");
		if (operation->uses_version && !captures_anywhere(connector, true))
			compiler_fault(compiler, path_member(path, operation->name), NULL,
						   "It uses {{version}}, but neither a \"respond\" nor a \"lookup\" has a \"version\".");
	}
}

/* "lookup": how to ask for the ids and versions of records. */
static void
read_lookup(Compiler *compiler, const char *path, const JsonbValue *parent,
			const JsonbValue *manifest, Connector *connector)
{
	static const char *const whens[] = {"on_conflict", "missing_id", "always"};
	JsonbValue	lookup;

	if (!jsonb_member(parent, "lookup", &lookup))
		return;
	path = path_member(path, "lookup");
	connector->lookup = read_operation(compiler, path, "lookup", &lookup, manifest);
	connector->lookup_when = LOOKUP_ON_CONFLICT +
		read_choice(compiler, path, &lookup, "when", whens, lengthof(whens), 1);
	if (!captures(connector->lookup, false) && !captures(connector->lookup, true))
		compiler_fault(compiler, path_member(path, "respond"), NULL,
					   "A lookup needs an \"id\" or a \"version\" in its \"rows\".");
}

static bool
has_predicate(const RuleList *list)
{
	for (int i = 0; i < list->count; i++)
		if (list->rules[i].predicate != NULL)
			return true;
	return false;
}

/*
 * Rules may look into the body of an answer though nothing else does; it is
 * decoded for them if it can be.
 */
static void
decode_for_rules(const Connector *connector, OperationSpec *operation)
{
	if (operation != NULL && operation->respond.optional &&
		operation->respond.decoding == DECODE_NONE &&
		(has_predicate(&operation->rules) || has_predicate(&connector->rules)))
		operation->respond.decoding = DECODE_JSON;
}

void
operations_compile(Compiler *compiler, const char *path, const JsonbValue *json,
				   const char *lookup_path, const JsonbValue *lookup_parent,
				   const JsonbValue *manifest, Connector *connector)
{
	read_operations(compiler, path, json, manifest, connector);
	read_lookup(compiler, lookup_path, lookup_parent, manifest, connector);
	check_sources(compiler, path, connector);
	for (int i = 0; i < OPERATION_COUNT; i++)
		decode_for_rules(connector, connector->operations[i]);
	decode_for_rules(connector, connector->lookup);
}

/* --- the whole --- */

/* One that the answer with the access token has a part of; or NULL. */
static TextTemplate *
read_token_base_url(Compiler *compiler, const JsonbValue *manifest, const Connector *connector)
{
	char	   *text = read_string(compiler, "", manifest, "base_url", true);
	TextTemplate *template;

	if (compiler->token == NULL || strstr(text, "{{") == NULL)
		return NULL;
	template = text_template_compile(compiler, "base_url", text, TEXT_PLAIN, SEES_TOKEN);
	if (text_template_constant(template) != NULL)
		return NULL;
	if (token_is_below_base_url(connector->auth.token))
		compiler_fault(compiler, "auth.token.url", NULL,
					   "It cannot be below a base_url that the token's answer gives.");
	return template;
}

static void
read_base_url(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	char	   *url = config_base_url(compiler);
	const char *fault;
	char	   *query;

	if (url == NULL && (connector->token_base_url = read_token_base_url(compiler, manifest, connector)))
		return;
	if (url == NULL)
		url = read_constant(compiler, "", manifest, "base_url", true);
	fault = url_fault(url);
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

/* "secrets": {"NAME": {"description": ...}}: no other may be used then. */
static void
read_secrets(Compiler *compiler, const JsonbValue *manifest)
{
	static const char *const keys[] = {"description"};
	JsonbValue	secrets;
	JsonbMember *members;
	int			count;

	if (!jsonb_member(manifest, "secrets", &secrets))
		return;
	if (!jsonb_is_object(&secrets))
		compiler_fault(compiler, "secrets", NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(&secrets));
	compiler->declares_secrets = false;
	count = jsonb_members(&secrets, &members);
	for (int i = 0; i < count; i++)
	{
		const char *path = path_member("secrets", members[i].name);

		check_keys(compiler, path, &members[i].value, keys, lengthof(keys));
		compiler_declare_secret(compiler, members[i].name,
								read_string(compiler, path, &members[i].value,
											"description", false));
	}
}

static void
read_manifest(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	static const char *const keys[] = {
		"name", "version", "description", "config", "secrets", "base_url", "headers",
		"auth", "rate", "classify", "operations", "lookup", "objects", "check", "table"
	};
	JsonbValue	member;

	check_keys(compiler, "", manifest, keys,
			   lengthof(keys) - (compiler->in_config ? 1 : 0));
	if (compiler->in_config && jsonb_member(manifest, "config", &member))
		compiler_fault(compiler, "config", NULL, "There is no such key.");
	if (table_compile(compiler, manifest, connector))
		return;
	read_secrets(compiler, manifest);
	if (jsonb_member(manifest, "auth", &member))
		auth_compile(compiler, &member, &connector->auth);
	read_base_url(compiler, manifest, connector);
	connector->probe_headers = probe_headers_compile(compiler, manifest);
	connector->check = check_compile(compiler, manifest);
	if (jsonb_member(manifest, "classify", &member))
		connector->rules = rules_compile(compiler, "classify", &member, false);
	objects_compile(compiler, manifest, connector);
	rate_compile(compiler, manifest, connector);
	token_check_use(compiler);
}

Connector *
connector_compile(const char *connector_name, Jsonb *manifest, Jsonb *config,
				  const ConnectorUse *use)
{
	References	references = {0};
	SecretSpecs secrets = {0};
	Compiler	compiler = {
		.connector = connector_name,
		.object = use ? use->object : NULL,
		.identifier = use ? use->identifier : NULL,
		.tentative = use == NULL,
		.secrets = &secrets,
		.references = &references
	};
	Connector  *connector = palloc0(sizeof(Connector));
	JsonbValue	root = jsonb_root(manifest);

	connector->name = pstrdup(connector_name);
	if (read_bool(&compiler, "", &root, "manifest_in_config", false))
	{
		/* The config is the manifest; any secret may be referred to. */
		compiler.in_config = true;
		connector->in_config = true;
		compiler.declares_secrets = true;
		root = jsonb_root(config);
	}
	else
		config_check(&compiler, &root, config);
	read_manifest(&compiler, &root, connector);
	connector->secret_count = secrets.count;
	connector->secrets = secrets.specs;
	return connector;
}

Connector *
connector_of_sync(const SyncDefinition *definition)
{
	ConnectorUse use = {
		.object = definition->object,
		.identifier = definition->identifier
	};

	return connector_compile(definition->connector, definition->manifest,
							 definition->config, &use);
}

/* --- what it can do --- */

/* The operation that a mode needs and that is not there; -1: it has them all. */
static int
missing_operation(const Connector *connector, SyncMode mode)
{
	if (mode != MODE_UPDATE && connector->operations[OPERATION_CREATE] == NULL)
		return OPERATION_CREATE;
	if (mode != MODE_APPEND && connector->operations[OPERATION_UPDATE] == NULL)
		return OPERATION_UPDATE;
	if (mode == MODE_MIRROR && connector->operations[OPERATION_DELETE] == NULL)
		return OPERATION_DELETE;
	return -1;
}

static char *
possible_modes(const Connector *connector)
{
	static const SyncMode modes[] = {MODE_UPSERT, MODE_MIRROR, MODE_APPEND, MODE_UPDATE};
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < (int) lengthof(modes); i++)
		if (missing_operation(connector, modes[i]) < 0)
			appendStringInfo(&list, "%s\"%s\"", list.len > 0 ? ", " : "",
							 sync_mode_name(modes[i]));
	return list.data;
}

static void
object_is_needed(const Connector *connector)
{
	if (connector->table != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("connector \"%s\" needs the name of a table", connector->name),
				 errhint("Say which one the sync is for, as its \"object\": \"contacts\", or \"crm.contacts\".")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("connector \"%s\" has several kinds of object", connector->name),
			 errhint("Say which one the sync is for, as its \"object\": %s.",
					 object_choices(connector))));
}

void
connector_check_mode(const Connector *connector, SyncMode mode)
{
	int			missing;
	const char *name;

	if (connector->needs_object)
		object_is_needed(connector);
	missing = missing_operation(connector, mode);
	if (missing < 0)
		return;
	name = operation_name((Operation) missing);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the destination has no %s operation, which mode \"%s\" needs",
					name, sync_mode_name(mode)),
			 !connector->in_config ?
			 errhint("Choose a mode that it can do: %s.", possible_modes(connector)) :
			 missing == OPERATION_DELETE ?
			 errhint("Give its connector \"operations.delete\", or choose mode \"upsert\".") :
			 errhint("Give its connector \"operations.%s\" or \"operations.upsert\", or choose another mode.", name)));
}

ConnectorLimits
connector_limits(const Connector *connector, Operation operation)
{
	const OperationSpec *spec = connector->operations[operation];
	ConnectorLimits limits = {.max_in_flight = connector->rate.max_in_flight};

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

bool
connector_has_operation(const Connector *connector, Operation operation)
{
	return connector->operations[operation] != NULL;
}

bool
connector_updates_otherwise(const Connector *connector)
{
	return connector->operations[OPERATION_UPDATE] != NULL &&
		connector->operations[OPERATION_UPDATE] != connector->operations[OPERATION_CREATE];
}

void
connector_check_operation(const Connector *connector, Operation operation)
{
	if (connector->needs_object)
		object_is_needed(connector);
	if (!connector_has_operation(connector, operation))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the destination has no %s operation", operation_name(operation)),
				 errhint("signalsmith.list_connectors() tells what a connector can do; one of your own, or of kind \"http\", can be given the operation.")));
}

bool
connector_captures(const Connector *connector)
{
	return captures_anywhere(connector, false) || captures_anywhere(connector, true);
}

bool
connector_needs_id(const Connector *connector, Operation operation)
{
	return connector->operations[operation] != NULL && connector->operations[operation]->uses_id;
}

bool
connector_needs_version(const Connector *connector, Operation operation)
{
	return connector->operations[operation] != NULL && connector->operations[operation]->uses_version;
}

LookupWhen
connector_lookup_when(const Connector *connector)
{
	return connector->lookup_when;
}

int
connector_lookup_size(const Connector *connector)
{
	return connector->lookup->max_records > 0 ? connector->lookup->max_records :
		DEFAULT_LOOKUP_RECORDS;
}
