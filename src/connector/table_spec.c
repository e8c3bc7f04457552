/*
 * table_spec.c
 *		A connector that writes to tables of this database instead of sending
 *		requests.
 *
 * Its manifest says so with "table".  There is nothing to be rendered from
 * templates, since a table says itself what it can take (target/target_table.h);
 * what is left to compile is where tables are, and how much a statement carries.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"
#include "connector/manifest_value.h"

#define MAX_BATCH_RECORDS 100000
#define MAX_BYTES (512 * 1024 * 1024)

/* Of a statement, where the manifest does not say. */
#define TABLE_BATCH_RECORDS 1000

/* All that an operation says: how large a statement may be. */
static void
read_batch(Compiler *compiler, const char *path, const JsonbValue *operation,
		   OperationSpec *spec)
{
	static const char *const operation_keys[] = {"batch"};
	static const char *const keys[] = {"max_records", "max_bytes"};
	JsonbValue	batch;

	check_keys(compiler, path, operation, operation_keys, lengthof(operation_keys));
	if (!jsonb_member(operation, "batch", &batch))
		return;
	path = path_member(path, "batch");
	check_keys(compiler, path, &batch, keys, lengthof(keys));
	spec->max_records = read_integer(compiler, path, &batch, "max_records", MAX_BATCH_RECORDS);
	spec->max_bytes = read_integer(compiler, path, &batch, "max_bytes", MAX_BYTES);
}

/*
 * A batch and what is recorded of it are one transaction, so nothing is ever
 * done twice, and nothing is of unknown outcome.
 */
static OperationSpec *
read_operation(Compiler *compiler, const char *name, const JsonbValue *json)
{
	OperationSpec *operation = palloc0(sizeof(OperationSpec));

	operation->name = name;
	operation->is_batch = true;
	operation->idempotent = true;
	read_batch(compiler, path_member("operations", name), json, operation);
	if (operation->max_records == 0)
		operation->max_records = TABLE_BATCH_RECORDS;
	return operation;
}

/* "upsert", and "delete", which may be like it; without, nothing is deleted. */
static void
read_operations(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	static const char *const names[] = {"upsert", "delete"};
	JsonbValue	operations;
	JsonbValue	upsert;
	JsonbValue	delete;

	if (!jsonb_member(manifest, "operations", &operations))
		compiler_fault(compiler, "operations", NULL, "It is required.");
	check_keys(compiler, "operations", &operations, names, lengthof(names));
	if (!jsonb_member(&operations, "upsert", &upsert))
		compiler_fault(compiler, "operations.upsert", NULL, "It is required.");
	connector->operations[OPERATION_CREATE] = read_operation(compiler, "upsert", &upsert);
	connector->operations[OPERATION_UPDATE] = connector->operations[OPERATION_CREATE];
	if (!jsonb_member(&operations, "delete", &delete))
		return;
	if (delete.type == jbvString && strcmp(jsonb_string(&delete), "upsert") == 0)
		delete = upsert;
	connector->operations[OPERATION_DELETE] = read_operation(compiler, "delete", &delete);
}

bool
table_compile(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	static const char *const manifest_keys[] = {
		"name", "version", "description", "config", "rate", "table", "objects", "operations"
	};
	static const char *const keys[] = {"schema"};
	JsonbValue	table;
	char	   *schema;

	if (compiler->in_config || !jsonb_member(manifest, "table", &table))
		return false;
	check_keys(compiler, "", manifest, manifest_keys, lengthof(manifest_keys));
	check_keys(compiler, "table", &table, keys, lengthof(keys));
	schema = read_constant(compiler, "table", &table, "schema", true);
	connector->table = palloc0(sizeof(TableSpec));
	connector->table->schema = pg_any_to_server(schema, strlen(schema), PG_UTF8);
	connector->table->name = compiler->object;
	connector->needs_object = compiler->object == NULL;
	read_operations(compiler, manifest, connector);
	rate_compile(compiler, manifest, connector);
	connector->rate.max_in_flight = 1;
	return true;
}

const TableSpec *
connector_table(const Connector *connector)
{
	return connector->table;
}
