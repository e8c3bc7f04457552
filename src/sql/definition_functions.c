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
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/nearest.h"
#include "connector/connector.h"
#include "plan/plan.h"
#include "store/definition.h"

SQL_FUNCTION(signalsmith_describe_query);
SQL_FUNCTION(signalsmith_check_sync);
SQL_FUNCTION(signalsmith_check_destination);
SQL_FUNCTION(signalsmith_closest);

typedef struct Identity
{
	Oid			user_id;
	int			security_context;
	int			guc_level;
} Identity;

/* An error's abort undoes it, as with a scope. */
static void
identity_enter(Identity *identity, Oid user_id, const char *search_path)
{
	GetUserIdAndSecContext(&identity->user_id, &identity->security_context);
	SetUserIdAndSecContext(user_id,
						   identity->security_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	identity->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", search_path,
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

static void
identity_leave(const Identity *identity)
{
	AtEOXact_GUC(false, identity->guc_level);
	SetUserIdAndSecContext(identity->user_id, identity->security_context);
}

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
	Identity	identity;
	List	   *columns;

	identity_enter(&identity, owner, search_path);
	columns = model_describe(query);
	identity_leave(&identity);
	PG_RETURN_JSONB_P(columns_to_jsonb(columns));
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

/*
 * _check_sync(sync_id bigint) returns void: everything that a run would refuse,
 * short of running the query.
 */
Datum
signalsmith_check_sync(PG_FUNCTION_ARGS)
{
	SyncDefinition *definition = definition_read(PG_GETARG_INT64(0));
	Connector  *connector;
	Identity	identity;

	identity_enter(&identity, definition->owner, definition->search_path);
	model_check_mappings(definition);
	check_snapshot(definition);
	connector = connector_compile(definition->connector, definition->manifest,
								  definition->config, definition->object);
	connector_check_mode(connector, definition->mode);
	identity_leave(&identity);
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
