/*
 * secret_functions.c
 *		SQL functions about secrets: setting one, rotating the key.
 *
 * A secret's value never becomes part of a message, nor of the text or the
 * parameters of a statement.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/vault.h"
#include "connector/connector.h"
#include "store/scope.h"
#include "store/secret.h"

SQL_FUNCTION(signalsmith_set_secret);
SQL_FUNCTION(signalsmith_rotate_secrets);
SQL_FUNCTION(signalsmith_key_problem);

/* What _settable_secret() returns, to see whether there is a use for the secret. */
static const char *const settable_query =
"SELECT d.id, d.connector, signalsmith._manifest_of(d.connector), d.config"
" FROM signalsmith._settable_secret($1::oid::regrole, $2, $3) AS d";

static void
set_secret(Oid caller, FunctionCallInfo fcinfo, char *value)
{
	MemoryContext context = CurrentMemoryContext;
	bool		no_destination = PG_ARGISNULL(1);
	bool		no_name = PG_ARGISNULL(2);
	Connector  *connector;
	int64		destination_id;
	char	   *name;
	Scope		scope;

	scope_enter(&scope);
	scope_execute(settable_query, "oTT", ObjectIdGetDatum(caller),
				  no_destination, no_destination ? (Datum) 0 : PG_GETARG_DATUM(1),
				  no_name, no_name ? (Datum) 0 : PG_GETARG_DATUM(2));
	destination_id = scope_int64(0, 1);
	connector = connector_compile(scope_text(0, 2, context), scope_jsonb(0, 3, context),
								  scope_jsonb(0, 4, context), NULL);
	if (value == NULL || value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a secret must not be empty"),
				 errhint("A secret goes with its destination; to change it, give the new value.")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	connector_check_secret(connector, name, value);
	secret_store(destination_id, name, value);
	scope_leave(&scope);
}

/* _set_secret(caller regrole, destination text, name text, value text) */
Datum
signalsmith_set_secret(PG_FUNCTION_ARGS)
{
	char	   *value = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));

	PG_TRY();
	{
		set_secret(PG_GETARG_OID(0), fcinfo, value);
	}
	PG_FINALLY();
	{
		vault_wipe(value);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}

Datum
signalsmith_rotate_secrets(PG_FUNCTION_ARGS)
{
	Scope		scope;
	int64		count;

	scope_enter(&scope);
	count = secrets_rotate();
	scope_leave(&scope);
	PG_RETURN_INT64(count);
}

/* What is wrong with the key file; NULL: nothing. */
Datum
signalsmith_key_problem(PG_FUNCTION_ARGS)
{
	char	   *problem = vault_problem();

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
