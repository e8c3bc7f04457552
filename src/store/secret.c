/*
 * secret.c
 *		The secrets of destinations: stored sealed, opened only to send.
 *
 * What is sealed is bound to its destination's id and its name: a ciphertext
 * that somebody copies into another row does not open there.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "base/vault.h"
#include "store/scope.h"
#include "store/secret.h"
#include "store/token.h"

static char *
secret_context(int64 destination_id, const char *name)
{
	return psprintf("signalsmith destination " INT64_FORMAT " secret %s",
					destination_id, name);
}

void
secret_store(int64 destination_id, const char *name, const char *value)
{
	SealedSecret sealed;

	vault_seal(value, secret_context(destination_id, name), &sealed);
	scope_execute("INSERT INTO signalsmith.secret (destination_id, name, key_id, sealed)"
				  " VALUES ($1, $2, $3, $4) ON CONFLICT (destination_id, name)"
				  " DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed,"
				  "  updated_at = clock_timestamp()",
				  "ltty", Int64GetDatum(destination_id), CStringGetTextDatum(name),
				  CStringGetTextDatum(sealed.key_id), PointerGetDatum(sealed.sealed));
	token_forget(destination_id, name);
}

/* It stays the same secret, set when it was. */
static void
seal_again(int64 destination_id, const char *name, const char *value)
{
	SealedSecret sealed;

	vault_seal(value, secret_context(destination_id, name), &sealed);
	scope_execute("UPDATE signalsmith.secret SET key_id = $3, sealed = $4"
				  " WHERE destination_id = $1 AND name = $2",
				  "ltty", Int64GetDatum(destination_id), CStringGetTextDatum(name),
				  CStringGetTextDatum(sealed.key_id), PointerGetDatum(sealed.sealed));
}

static char *
open_row(int64 destination_id, const char *name, uint64 row, int key_id_column,
		 int sealed_column)
{
	SealedSecret sealed;
	bool		isnull;

	strlcpy(sealed.key_id, scope_text(row, key_id_column, CurrentMemoryContext),
			sizeof(sealed.key_id));
	sealed.sealed = DatumGetByteaPP(scope_value(row, sealed_column, &isnull));
	return vault_open(&sealed, secret_context(destination_id, name));
}

SecretList *
secrets_read(int64 destination_id)
{
	MemoryContext context = CurrentMemoryContext;
	SecretList *list = palloc0(sizeof(SecretList));
	Scope		scope;

	scope_enter(&scope);
	list->count = scope_execute("SELECT name, key_id, sealed FROM signalsmith.secret"
								" WHERE destination_id = $1 ORDER BY name",
								"l", Int64GetDatum(destination_id));
	list->secrets = MemoryContextAllocZero(context, list->count * sizeof(Secret));
	for (int i = 0; i < list->count; i++)
	{
		Secret	   *secret = &list->secrets[i];
		char	   *value;

		secret->name = scope_text(i, 1, context);
		value = open_row(destination_id, secret->name, i, 2, 3);
		secret->value = MemoryContextStrdup(context, value);
		vault_wipe(value);
	}
	scope_leave(&scope);
	return list;
}

void
secrets_wipe(SecretList *list)
{
	for (int i = 0; i < list->count; i++)
		vault_wipe(list->secrets[i].value);
}

int64
secrets_rotate(void)
{
	char		key_id[VAULT_KEY_ID_LENGTH + 1];
	SPITupleTable *rows;
	int64		count;

	vault_current_key_id(key_id);
	count = scope_execute("SELECT destination_id, name, key_id, sealed FROM signalsmith.secret"
						  " WHERE key_id <> $1 FOR UPDATE", "t", CStringGetTextDatum(key_id));
	rows = SPI_tuptable;
	for (int64 i = 0; i < count; i++)
	{
		int64		destination_id;
		char	   *name;
		char	   *value;

		SPI_tuptable = rows;
		destination_id = scope_int64(i, 1);
		name = scope_text(i, 2, CurrentMemoryContext);
		value = open_row(destination_id, name, i, 3, 4);
		seal_again(destination_id, name, value);
		vault_wipe(value);
	}
	tokens_rotate();
	return count;
}
