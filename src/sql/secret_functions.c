/*
 * secret_functions.c
 *		SQL functions about secrets: setting one, rotating the key.
 *
 * Called from PL/pgSQL that has checked the caller's rights.  A secret's value
 * never becomes part of a message, nor of the text of a statement.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/vault.h"
#include "connector/connector.h"
#include "store/scope.h"
#include "store/secret.h"

SQL_FUNCTION(signalsmith_check_secret);
SQL_FUNCTION(signalsmith_store_secret);
SQL_FUNCTION(signalsmith_rotate_secrets);
SQL_FUNCTION(signalsmith_key_problem);

/*
 * (connector text, manifest jsonb, config jsonb, name text, value text): raises
 * when the destination has no use for such a secret.
 */
Datum
signalsmith_check_secret(PG_FUNCTION_ARGS)
{
	Connector  *connector = connector_compile(text_to_cstring(PG_GETARG_TEXT_PP(0)),
											  PG_GETARG_JSONB_P(1),
											  PG_GETARG_JSONB_P(2), NULL);
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(4));

	connector_check_secret(connector, text_to_cstring(PG_GETARG_TEXT_PP(3)), value);
	vault_wipe(value);
	PG_RETURN_VOID();
}

/* (destination_id bigint, name text, value text) */
Datum
signalsmith_store_secret(PG_FUNCTION_ARGS)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Scope		scope;

	scope_enter(&scope);
	secret_store(PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)), value);
	scope_leave(&scope);
	vault_wipe(value);
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
