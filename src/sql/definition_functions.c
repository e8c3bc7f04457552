/*
 * definition_functions.c
 *		What the private PL/pgSQL functions cannot do themselves.
 *
 * Checking a definition is the engine's work: the same code that a run uses
 * looks at a query, at mappings and at a destination's config, so that what was
 * accepted does not fail later for a reason that was there to be seen.  These
 * functions hand it over, and switch to the role whose query it is first: to
 * plan a query is to run functions of its author's (those that are immutable),
 * and nothing of his may run as the extension's owner.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/nearest.h"
#include "connector/connector.h"
#include "plan/plan.h"
#include "store/definition.h"
#include "store/scope.h"
#include "target/target_check.h"

SQL_FUNCTION(signalsmith_describe_query);
SQL_FUNCTION(signalsmith_query_inputs);
SQL_FUNCTION(signalsmith_check_sync);
SQL_FUNCTION(signalsmith_check_sync_connector);
SQL_FUNCTION(signalsmith_check_destination);
SQL_FUNCTION(signalsmith_needed_secrets);
SQL_FUNCTION(signalsmith_closest);

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	pushJsonbValue(state, token, &value);
}

/* [{"name": ..., "type": ...}, ...] */
static Jsonb *
columns_to_jsonb(const List *columns)
{
	JsonbParseState *state = NULL;
	ListCell   *cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, columns)
	{
		ModelColumn *column = lfirst(cell);

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_text(&state, WJB_KEY, "name");
		push_text(&state, WJB_VALUE, column->name);
		push_text(&state, WJB_KEY, "type");
		push_text(&state, WJB_VALUE, column->type);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/*
 * _describe_query(query text, owner regrole, search_path text) returns jsonb
 */
Datum
signalsmith_describe_query(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			owner = PG_GETARG_OID(1);
	char	   *search_path = text_to_cstring(PG_GETARG_TEXT_PP(2));
	List	   *columns;
	Scope		scope;

	owner_scope_enter(&scope, owner);
	columns = model_describe(query, search_path);
	owner_scope_leave(&scope);
	PG_RETURN_JSONB_P(columns_to_jsonb(columns));
}

static void
return_input(ReturnSetInfo *result, Oid relation, int column)
{
	Datum		values[2];
	bool		nulls[2] = {false, column < 0};

	values[0] = ObjectIdGetDatum(relation);
	values[1] = Int16GetDatum((int16) column);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * _query_inputs(query text, owner regrole, search_path text) returns
 * table(relation oid, column_number int2): a row with NULL for each relation,
 * and one for each of its columns that the query refers to, 0 for all of them;
 * some may be repeated.
 */
Datum
signalsmith_query_inputs(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *search_path = text_to_cstring(PG_GETARG_TEXT_PP(2));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *inputs;
	ListCell   *cell;
	Scope		scope;

	InitMaterializedSRF(fcinfo, 0);
	owner_scope_enter(&scope, PG_GETARG_OID(1));
	inputs = model_inputs(query, search_path);
	owner_scope_leave(&scope);
	foreach(cell, inputs)
	{
		const ModelInput *input = lfirst(cell);
		int			column = -1;

		return_input(result, input->relation, -1);
		while ((column = bms_next_member(input->columns, column)) >= 0)
			return_input(result, input->relation, column);
	}
	return (Datum) 0;
}

/*
 * A snapshot taken with another key, or at another object, says nothing of what
 * a sync like this one has sent.
 */
static void
check_snapshot(const SyncDefinition *definition)
{
	if (definition->snapshot_key == NULL ||
		strcmp(definition->snapshot_key, plan_snapshot_key(definition)) == 0)
		return;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the snapshot of sync \"%s\" belongs to another primary key or object",
					definition->sync_name),
			 errdetail("A changed key or object makes every record a different one: what has been sent under the old one would never be updated or deleted again."),
			 errhint("Run SELECT signalsmith.reset_sync('sync_" INT64_FORMAT "') first; the next run then sends everything.",
					 definition->sync_id)));
}

/* The connector must know the object, and what the mode does. */
static void
check_connector(const SyncDefinition *definition)
{
	Connector  *connector;

	connector = connector_of_sync(definition);
	connector_check_mode(connector, definition->mode);
	connector_check_mappings(connector, definition);
	if (connector_table(connector) != NULL)
		target_check(connector_table(connector), definition);
}

/*
 * _check_sync(sync_id bigint) returns void: everything that a run would refuse,
 * short of running the query.
 */
Datum
signalsmith_check_sync(PG_FUNCTION_ARGS)
{
	SyncDefinition *definition = definition_read(PG_GETARG_INT64(0));
	Scope		scope;

	owner_scope_enter(&scope, definition->owner);
	model_check_mappings(definition);
	owner_scope_leave(&scope);
	check_snapshot(definition);
	check_connector(definition);
	PG_RETURN_VOID();
}

/*
 * _check_sync_connector(sync_id bigint) returns void: the part of _check_sync
 * that a change of the destination concerns, in which nothing of the sync's
 * owner is run.
 */
Datum
signalsmith_check_sync_connector(PG_FUNCTION_ARGS)
{
	check_connector(definition_read(PG_GETARG_INT64(0)));
	PG_RETURN_VOID();
}

/*
 * _check_destination(connector text, manifest jsonb, config jsonb) returns void
 */
Datum
signalsmith_check_destination(PG_FUNCTION_ARGS)
{
	(void) connector_compile(text_to_cstring(PG_GETARG_TEXT_PP(0)),
							 PG_GETARG_JSONB_P(1), PG_GETARG_JSONB_P(2), NULL);
	PG_RETURN_VOID();
}

/*
 * _needed_secrets(sync_id bigint) returns text[]: names of the secrets without
 * which a sync could send nothing.
 */
Datum
signalsmith_needed_secrets(PG_FUNCTION_ARGS)
{
	Connector  *connector = connector_of_sync(definition_read(PG_GETARG_INT64(0)));
	const char **names;
	int			count = connector_needed_secrets(connector, &names);
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = CStringGetTextDatum(names[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * _closest(word text, choices text[]) returns text: the choice that was
 * probably meant, or NULL when none is near.
 */
Datum
signalsmith_closest(PG_FUNCTION_ARGS)
{
	char	   *word = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum	   *choices;
	bool	   *nulls;
	const char **candidates;
	int			count;
	int			candidate_count = 0;
	const char *nearest;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &choices, &nulls, &count);
	candidates = palloc(count * sizeof(char *));
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			candidates[candidate_count++] = TextDatumGetCString(choices[i]);

	nearest = nearest_name(word, candidates, candidate_count);
	if (nearest == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(nearest));
}
