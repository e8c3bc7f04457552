/*
 * token.c
 *		Access tokens of destinations: kept sealed, for all processes together.
 *
 * Like a secret, what is sealed is bound to its row.  A lease ends with its time,
 * or with its process, so that a crash does not keep the others waiting.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/vault.h"
#include "store/scope.h"
#include "store/token.h"

static char *
token_context(int64 destination_id)
{
	return psprintf("signalsmith destination " INT64_FORMAT " token", destination_id);
}

static char *
refresh_context(int64 destination_id)
{
	return psprintf("signalsmith destination " INT64_FORMAT " refresh token", destination_id);
}

/*
 * Of a secret the time that it was set at, and nothing of its value: a digest of a
 * weak one could be tried out.
 */
static const char *const basis_query =
"SELECT encode(sha256(convert_to(jsonb_build_array($2->'auth'->'token', $3,"
"   (SELECT jsonb_agg(jsonb_build_array(name, extract(epoch FROM updated_at)) ORDER BY name)"
"    FROM signalsmith.secret WHERE destination_id = $1))::text, 'UTF8')), 'hex'),"
"  (SELECT updated_at FROM signalsmith.secret WHERE destination_id = $1 AND name = $4)";

TokenBasis *
token_basis(int64 destination_id, Jsonb *manifest, Jsonb *config, const char *refresh_secret)
{
	MemoryContext context = CurrentMemoryContext;
	TokenBasis *basis = palloc0(sizeof(TokenBasis));
	Scope		scope;
	Datum		set_at;
	bool		isnull;

	basis->destination_id = destination_id;
	basis->refresh_secret = refresh_secret;
	scope_enter(&scope);
	scope_execute(basis_query, "ljjT", Int64GetDatum(destination_id),
				  JsonbPGetDatum(manifest), JsonbPGetDatum(config),
				  refresh_secret == NULL,
				  refresh_secret ? CStringGetTextDatum(refresh_secret) : (Datum) 0);
	basis->digest = scope_text(0, 1, context);
	set_at = scope_value(0, 2, &isnull);
	if (!isnull)
		basis->refresh_secret_set_at = DatumGetTimestampTz(set_at);
	scope_leave(&scope);
	return basis;
}

TimestampTz
token_renewal_time(TimestampTz asked_at, int64 lifetime, int64 margin)
{
	if (lifetime == 0)
		return DT_NOEND;
	return asked_at + (lifetime * 1000 - Min(margin * 1000, lifetime * 500)) * 1000;
}

/* --- reading --- */

/* Takes what is sealed from two columns of the first row, if there is anything. */
static bool
take_sealed(int key_id_column, SealedSecret *sealed)
{
	char	   *key_id = scope_text(0, key_id_column, CurrentMemoryContext);
	Datum		value;
	bool		isnull;

	value = scope_value(0, key_id_column + 1, &isnull);
	if (key_id == NULL || isnull)
		return false;
	strlcpy(sealed->key_id, key_id, sizeof(sealed->key_id));
	sealed->sealed = DatumGetByteaPP(value);
	return true;
}

/*
 * Opens it; NULL: there is nothing that can be opened, so it is to be asked for
 * anew.  The vault holds nothing that would have to be rolled back.
 */
static char *
open_columns(int key_id_column, const char *seal_context, MemoryContext context)
{
	MemoryContext old_context = CurrentMemoryContext;
	char	   *volatile opened = NULL;
	SealedSecret sealed;
	char	   *result;

	if (!take_sealed(key_id_column, &sealed))
		return NULL;
	PG_TRY();
	{
		opened = vault_open(&sealed, seal_context);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_DATA_CORRUPTED && geterrcode() != ERRCODE_CONFIG_FILE_ERROR)
			PG_RE_THROW();
		MemoryContextSwitchTo(old_context);
		FlushErrorState();
		ereport(LOG,
				(errmsg("a stored access token cannot be opened, and is asked for anew")));
	}
	PG_END_TRY();
	if (opened == NULL)
		return NULL;
	result = MemoryContextStrdup(context, opened);
	vault_wipe(opened);
	return result;
}

static const char *const read_query =
"SELECT generation, renew_at,"
"  CASE WHEN will_do THEN key_id END, CASE WHEN will_do THEN sealed END,"
"  CASE WHEN replaces THEN refresh_key_id END, CASE WHEN replaces THEN refresh_sealed END"
" FROM (SELECT *, basis = $2 AND generation > $3"
"    AND coalesce(renew_at > clock_timestamp(), true) AS will_do,"
"   refresh_secret = $4 AND refresh_secret_set_at = $5 AS replaces"
"  FROM signalsmith.token WHERE destination_id = $1) AS t";

void
token_read(const TokenBasis *basis, int64 refused_generation, StoredToken *stored)
{
	MemoryContext context = CurrentMemoryContext;
	Scope		scope;
	Datum		renew_at;
	bool		isnull;

	memset(stored, 0, sizeof(StoredToken));
	scope_enter(&scope);
	if (scope_execute(read_query, "ltlTz", Int64GetDatum(basis->destination_id),
					  CStringGetTextDatum(basis->digest), Int64GetDatum(refused_generation),
					  basis->refresh_secret == NULL,
					  basis->refresh_secret ? CStringGetTextDatum(basis->refresh_secret) : (Datum) 0,
					  TimestampTzGetDatum(basis->refresh_secret_set_at)) > 0)
	{
		stored->generation = scope_int64(0, 1);
		renew_at = scope_value(0, 2, &isnull);
		stored->renew_at = isnull ? DT_NOEND : DatumGetTimestampTz(renew_at);
		stored->token = open_columns(3, token_context(basis->destination_id), context);
		stored->refresh_token = open_columns(5, refresh_context(basis->destination_id), context);
	}
	scope_leave(&scope);
}

/* --- asking for one --- */

static const char *const insert_query =
"INSERT INTO signalsmith.token (destination_id) VALUES ($1) ON CONFLICT DO NOTHING";

static const char *const claim_query =
"UPDATE signalsmith.token SET lease = lease + 1,"
"  lease_until = clock_timestamp() + make_interval(secs => $3),"
"  lease_pid = $4, lease_process_started_at = $5"
" WHERE destination_id = $1 AND generation = $2"
"  AND (lease_until IS NULL OR lease_until < clock_timestamp()"
"   OR NOT EXISTS (SELECT FROM pg_stat_get_activity(lease_pid) a"
"                  WHERE a.backend_start = lease_process_started_at))"
" RETURNING lease";

int64
token_claim(const TokenBasis *basis, int64 generation, int seconds)
{
	char		key_id[VAULT_KEY_ID_LENGTH + 1];
	int64		lease = 0;
	Scope		scope;

	/* A refresh token that could not be kept would be lost. */
	vault_current_key_id(key_id);
	scope_enter(&scope);
	if (generation == 0)
		scope_execute(insert_query, "l", Int64GetDatum(basis->destination_id));
	if (scope_execute(claim_query, "lldiz", Int64GetDatum(basis->destination_id),
					  Int64GetDatum(generation), Float8GetDatum(seconds),
					  Int32GetDatum(MyProcPid), TimestampTzGetDatum(MyStartTimestamp)) > 0)
		lease = scope_int64(0, 1);
	scope_leave(&scope);
	return lease;
}

/*
 * A refresh token takes the place of the secret that it was given for, and of no
 * other: if that was set anew meanwhile, the new one counts.
 */
static const char *const store_query =
"UPDATE signalsmith.token SET generation = generation + 1, basis = $3,"
"  key_id = $4, sealed = $5, renew_at = $6, obtained_at = clock_timestamp(),"
"  lease_until = NULL, lease_pid = NULL, lease_process_started_at = NULL"
" WHERE destination_id = $1 AND lease = $2 RETURNING generation";

static const char *const replace_query =
"UPDATE signalsmith.token t SET refresh_key_id = $2, refresh_sealed = $3,"
"  refresh_secret = s.name, refresh_secret_set_at = s.updated_at"
" FROM signalsmith.secret s"
" WHERE t.destination_id = $1 AND s.destination_id = $1 AND s.name = $4 AND s.updated_at = $5";

static void
replace_refresh_token(const TokenBasis *basis, const char *refresh_token)
{
	SealedSecret sealed;

	vault_seal(refresh_token, refresh_context(basis->destination_id), &sealed);
	scope_execute(replace_query, "ltytz", Int64GetDatum(basis->destination_id),
				  CStringGetTextDatum(sealed.key_id), PointerGetDatum(sealed.sealed),
				  CStringGetTextDatum(basis->refresh_secret),
				  TimestampTzGetDatum(basis->refresh_secret_set_at));
}

int64
token_store(const TokenBasis *basis, int64 lease, const char *token, TimestampTz renew_at,
			const char *refresh_token)
{
	SealedSecret sealed;
	int64		generation = 0;
	Scope		scope;

	vault_seal(token, token_context(basis->destination_id), &sealed);
	scope_enter(&scope);
	if (scope_execute(store_query, "llttyZ", Int64GetDatum(basis->destination_id),
					  Int64GetDatum(lease), CStringGetTextDatum(basis->digest),
					  CStringGetTextDatum(sealed.key_id), PointerGetDatum(sealed.sealed),
					  renew_at == DT_NOEND, TimestampTzGetDatum(renew_at)) > 0)
	{
		generation = scope_int64(0, 1);
		if (refresh_token != NULL && basis->refresh_secret != NULL)
			replace_refresh_token(basis, refresh_token);
	}
	scope_leave(&scope);
	ForceSyncCommit();
	return generation;
}

void
token_release(const TokenBasis *basis, int64 lease)
{
	Scope		scope;

	scope_enter(&scope);
	scope_execute("UPDATE signalsmith.token SET lease_until = NULL, lease_pid = NULL,"
				  "  lease_process_started_at = NULL"
				  " WHERE destination_id = $1 AND lease = $2", "ll",
				  Int64GetDatum(basis->destination_id), Int64GetDatum(lease));
	scope_leave(&scope);
}

/* --- when secrets change --- */

void
token_forget(int64 destination_id, const char *secret_name)
{
	scope_execute("UPDATE signalsmith.token SET basis = NULL, key_id = NULL, sealed = NULL,"
				  "  renew_at = NULL WHERE destination_id = $1", "l",
				  Int64GetDatum(destination_id));
	scope_execute("UPDATE signalsmith.token SET refresh_key_id = NULL, refresh_sealed = NULL,"
				  "  refresh_secret = NULL, refresh_secret_set_at = NULL"
				  " WHERE destination_id = $1 AND refresh_secret = $2", "lt",
				  Int64GetDatum(destination_id), CStringGetTextDatum(secret_name));
}

static void
seal_again(int64 destination_id, char *opened, const char *seal_context, const char *sql)
{
	SealedSecret sealed;

	vault_seal(opened, seal_context, &sealed);
	vault_wipe(opened);
	scope_execute(sql, "lty", Int64GetDatum(destination_id),
				  CStringGetTextDatum(sealed.key_id), PointerGetDatum(sealed.sealed));
}

/* Access tokens are asked for anew; refresh tokens cannot be. */
void
tokens_rotate(void)
{
	char		key_id[VAULT_KEY_ID_LENGTH + 1];
	SPITupleTable *rows;
	uint64		count;

	vault_current_key_id(key_id);
	scope_execute("UPDATE signalsmith.token SET basis = NULL, key_id = NULL, sealed = NULL,"
				  "  renew_at = NULL WHERE key_id <> $1", "t", CStringGetTextDatum(key_id));
	count = scope_execute("SELECT destination_id FROM signalsmith.token"
						  " WHERE refresh_key_id <> $1 FOR UPDATE", "t",
						  CStringGetTextDatum(key_id));
	rows = SPI_tuptable;
	for (uint64 i = 0; i < count; i++)
	{
		int64		destination_id;
		SealedSecret sealed;

		SPI_tuptable = rows;
		destination_id = scope_int64(i, 1);
		scope_execute("SELECT refresh_key_id, refresh_sealed FROM signalsmith.token"
					  " WHERE destination_id = $1", "l", Int64GetDatum(destination_id));
		if (!take_sealed(1, &sealed))
			continue;
		seal_again(destination_id, vault_open(&sealed, refresh_context(destination_id)),
				   refresh_context(destination_id),
				   "UPDATE signalsmith.token SET refresh_key_id = $2, refresh_sealed = $3"
				   " WHERE destination_id = $1");
	}
}
