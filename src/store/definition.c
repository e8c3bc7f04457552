/*
 * definition.c
 *		Reads a sync with its model, destination and connector.
 *
 * What the definition leaves open is filled in here, once: absent mappings
 * become one for each column of the model, the identifier is found by the
 * contract's rule, options fall back to the settings.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/settings.h"
#include "store/definition.h"
#include "store/scope.h"

static const char *const sync_query =
"SELECT s.name, s.mode, m.owner::oid::int8, s.object,"
"  coalesce(s.options->>'on_null', 'null') = 'omit',"
"  (s.options->>'batch_size')::int8, (s.options->>'max_in_flight')::int8,"
"  (s.options->>'max_attempts')::int8, (s.options->>'error_after')::int8,"
"  (s.options->>'timeout_seconds')::float8 * 1000,"
"  (s.options->>'max_delete_percent')::float8, s.snapshot_key,"
"  m.id, m.name, m.query, m.search_path,"
"  d.id, d.name, c.name, c.manifest, d.config,"
"  greatest(0, extract(epoch FROM d.breaker_until - clock_timestamp()) * 1000)::int8,"
"  s.hold_next_deletes,"
"  greatest(0, extract(epoch FROM d.rests_until - clock_timestamp()) * 1000)::int8"
" FROM signalsmith.sync s"
"  JOIN signalsmith.model m ON m.id = s.model_id"
"  JOIN signalsmith.destination d ON d.id = s.destination_id"
"  JOIN signalsmith.connector c ON c.name = d.connector"
" WHERE s.id = $1";

static const char *const columns_query =
"SELECT c->>'name', c->>'type'"
" FROM signalsmith.model m,"
"  jsonb_array_elements(m.columns) WITH ORDINALITY AS e (c, position)"
" WHERE m.id = $1 ORDER BY position";

static const char *const key_query =
"SELECT k FROM signalsmith.model m,"
"  unnest(m.primary_key) WITH ORDINALITY AS e (k, position)"
" WHERE m.id = $1 ORDER BY position";

/*
 * kind is MappingSource.  The identifier is the mapping that says so, else the
 * first one of a column among the model's identifiers.
 */
static const char *const mappings_query =
"WITH mapping AS ("
"  SELECT position,"
"   CASE WHEN e ? 'source' THEN 0 WHEN e ? 'constant' THEN 1 ELSE 2 END AS kind,"
"   CASE WHEN e ? 'source' THEN e->>'source'"
"    WHEN e ? 'constant' THEN (e->'constant')::text"
"    ELSE e->>'expression' END AS text,"
"   e->>'destination' AS destination,"
"   coalesce((e->>'identifier')::boolean, false) AS chosen,"
"   e->>'source' = ANY (m.identifiers) AS candidate"
"  FROM signalsmith.sync s JOIN signalsmith.model m ON m.id = s.model_id,"
"   jsonb_array_elements(coalesce(s.field_mappings,"
"    (SELECT jsonb_agg(jsonb_build_object('source', c->'name', 'destination', c->'name') ORDER BY p)"
"     FROM jsonb_array_elements(m.columns) WITH ORDINALITY AS columns (c, p))))"
"   WITH ORDINALITY AS entry (e, position)"
"  WHERE s.id = $1)"
" SELECT kind::int8, text, destination,"
"  position IS NOT DISTINCT FROM (SELECT position FROM mapping"
"   WHERE chosen OR candidate ORDER BY chosen DESC, position LIMIT 1)"
" FROM mapping ORDER BY position";

static int
read_int(uint64 row, int column, int fallback)
{
	bool		isnull;
	Datum		value = scope_value(row, column, &isnull);

	return isnull ? fallback : (int) DatumGetInt64(value);
}

static double
read_double(uint64 row, int column, double fallback)
{
	bool		isnull;
	Datum		value = scope_value(row, column, &isnull);

	return isnull ? fallback : DatumGetFloat8(value);
}

static void
read_sync(SyncDefinition *definition, MemoryContext context)
{
	if (scope_execute(sync_query, "l", Int64GetDatum(definition->sync_id)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("sync \"sync_" INT64_FORMAT "\" does not exist",
						definition->sync_id)));

	definition->sync_name = scope_text(0, 1, context);
	definition->mode_name = scope_text(0, 2, context);
	definition->mode = sync_mode_from_name(definition->mode_name);
	definition->owner = (Oid) scope_int64(0, 3);
	definition->object = scope_text(0, 4, context);
	definition->omit_nulls = scope_bool(0, 5);
	definition->batch_size = read_int(0, 6, 0);
	definition->max_in_flight = read_int(0, 7, 0);
	definition->max_attempts = read_int(0, 8, setting_max_attempts);
	definition->error_after = read_int(0, 9, setting_error_after);
	definition->timeout_ms = (int) read_double(0, 10, setting_request_timeout);
	definition->max_delete_percent = read_double(0, 11, setting_max_delete_percent);
	definition->snapshot_key = scope_text(0, 12, context);
	definition->model_id = scope_int64(0, 13);
	definition->model_name = scope_text(0, 14, context);
	definition->query = scope_text(0, 15, context);
	definition->search_path = scope_text(0, 16, context);
	definition->destination_id = scope_int64(0, 17);
	definition->destination_name = scope_text(0, 18, context);
	definition->connector = scope_text(0, 19, context);
	definition->manifest = scope_jsonb(0, 20, context);
	definition->config = scope_jsonb(0, 21, context);
	definition->breaker_open_ms = scope_int64(0, 22);
	definition->hold_deletes = scope_bool(0, 23);
	definition->rest_ms = scope_int64(0, 24);
}

static void
read_columns(SyncDefinition *definition, MemoryContext context)
{
	int			count;

	count = scope_execute(columns_query, "l", Int64GetDatum(definition->model_id));
	definition->column_count = count;
	definition->columns = MemoryContextAlloc(context, count * sizeof(ModelColumn));
	for (int i = 0; i < count; i++)
	{
		definition->columns[i].name = scope_text(i, 1, context);
		definition->columns[i].type = scope_text(i, 2, context);
	}

	count = scope_execute(key_query, "l", Int64GetDatum(definition->model_id));
	definition->key_count = count;
	definition->key_columns = MemoryContextAlloc(context, count * sizeof(char *));
	for (int i = 0; i < count; i++)
		definition->key_columns[i] = scope_text(i, 1, context);
}

static void
read_mappings(SyncDefinition *definition, MemoryContext context)
{
	int			count;

	count = scope_execute(mappings_query, "l", Int64GetDatum(definition->sync_id));
	definition->mapping_count = count;
	definition->mappings = MemoryContextAlloc(context, count * sizeof(FieldMapping));
	for (int i = 0; i < count; i++)
	{
		FieldMapping *mapping = &definition->mappings[i];

		mapping->source = (MappingSource) scope_int64(i, 1);
		mapping->text = scope_text(i, 2, context);
		mapping->destination = scope_text(i, 3, context);
		mapping->identifier = scope_bool(i, 4);
	}
}

/* That of the identifier, else of the primary key's only column. */
static char *
identifier_field(const SyncDefinition *definition)
{
	for (int i = 0; i < definition->mapping_count; i++)
		if (definition->mappings[i].identifier)
			return definition->mappings[i].destination;
	for (int i = 0; i < definition->mapping_count && definition->key_count == 1; i++)
		if (definition->mappings[i].source == MAPPING_COLUMN &&
			strcmp(definition->mappings[i].text, definition->key_columns[0]) == 0)
			return definition->mappings[i].destination;
	return NULL;
}

SyncDefinition *
definition_read(int64 sync_id)
{
	MemoryContext context = CurrentMemoryContext;
	SyncDefinition *definition = palloc0(sizeof(SyncDefinition));
	Scope		scope;

	definition->sync_id = sync_id;
	scope_enter(&scope);
	read_sync(definition, context);
	read_columns(definition, context);
	read_mappings(definition, context);
	definition->identifier = identifier_field(definition);
	scope_leave(&scope);
	return definition;
}

void
destination_record_gate(int64 destination_id, int64 open_ms, int64 rest_ms)
{
	Scope		scope;

	scope_enter(&scope);
	scope_execute("UPDATE signalsmith.destination SET breaker_until ="
				  " CASE WHEN $2 > 0 THEN clock_timestamp() + make_interval(secs => $2 / 1000.0) END,"
				  " rests_until ="
				  " CASE WHEN $3 > 0 THEN clock_timestamp() + make_interval(secs => $3 / 1000.0) END"
				  " WHERE id = $1",
				  "lll", Int64GetDatum(destination_id), Int64GetDatum(open_ms),
				  Int64GetDatum(rest_ms));
	scope_leave(&scope);
}
