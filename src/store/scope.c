/*
 * scope.c
 *		Doing something as the extension's owner, for that something alone.
 *
 * The owner is looked up each time: the extension may have been dropped, or
 * have changed hands, since the last statement of a long run.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "postmaster/bgworker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"

#include "store/scope.h"

#define SCOPE_MAX_PARAMETERS 24

Oid
extension_lookup(Oid *owner, char **version)
{
	Relation	relation;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			found = InvalidOid;

	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("signalsmith"));
	scan = systable_beginscan(relation, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		found = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		if (version)
		{
			bool		isnull;
			Datum		datum = heap_getattr(tuple, Anum_pg_extension_extversion,
											 RelationGetDescr(relation), &isnull);

			*version = isnull ? NULL : TextDatumGetCString(datum);
		}
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return found;
}

LockAcquireResult
extension_lock(Oid extension, bool wait)
{
	LOCKTAG		tag;
	LockAcquireResult result;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	result = LockAcquire(&tag, AccessShareLock, false, !wait);
	if (result == LOCKACQUIRE_OK)
		AcceptInvalidationMessages();
	return result;
}

/* Looks the extension up and locks it; whoever has waited looks again. */
static Oid
lookup_and_lock(Oid *owner, char **version)
{
	Oid			extension = extension_lookup(owner, version);

	if (OidIsValid(extension) && extension_lock(extension, true) == LOCKACQUIRE_OK)
		extension = extension_lookup(owner, version);
	return extension;
}

static void
set_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * These, and auto_explain where a superuser has set it up, would show our statements
 * to whoever asks for such messages, with the values that they are given: the config
 * of a destination that is only shared with him, say.
 */
static void
show_nothing(void)
{
	static const char *const settings[] = {
		"debug_print_plan", "debug_print_parse", "debug_print_rewritten",
		"debug_print_raw_parse"
	};

	if (client_min_messages < NOTICE)
		set_setting("client_min_messages", "notice");
	for (int i = 0; i < (int) lengthof(settings); i++)
	{
		const char *value = GetConfigOption(settings[i], true, false);

		if (value != NULL && strcmp(value, "off") != 0)
			set_setting(settings[i], "off");
	}
}

/*
 * What decides how our statements are read, and whether foreign keys hold.  The
 * session is the user's, and so are its settings.
 */
static void
pin_settings(void)
{
	set_setting("search_path", "pg_catalog, pg_temp");
	if (!standard_conforming_strings)
		set_setting("standard_conforming_strings", "on");
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
		set_setting("session_replication_role", "origin");
	show_nothing();
}

/*
 * In a worker our statements are top-level ones, which pg_stat_statements would
 * count; nobody wants to see them there.
 */
static void
leave_no_statistics(void)
{
	static const char *const setting = "pg_stat_statements.track";

	if (MyBackendType == B_BG_WORKER && GetConfigOption(setting, true, false) != NULL)
		set_setting(setting, "none");
}

/* Not pg_cron's, whose worker is a user's session. */
static bool
is_our_worker(void)
{
	return MyBackendType == B_BG_WORKER &&
		strcmp(MyBgworkerEntry->bgw_library_name, "signalsmith") == 0;
}

/*
 * A worker belongs to the installation that it was started for.  In another one,
 * created since, its run's number would be that of another run; in another
 * version, updated to since, nobody knows what the tables are like.
 */
static void
check_extension(Oid extension, const char *version)
{
	static Oid	first = InvalidOid;

	if (!OidIsValid(extension))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"signalsmith\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION signalsmith.")));
	if (!is_our_worker())
		return;
	if (!OidIsValid(first))
		first = extension;
	if (extension != first)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"signalsmith\" was dropped and created again")));
	if (strcmp(version, SIGNALSMITH_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"signalsmith\" has become version %s, but the library is version %s",
						version, SIGNALSMITH_VERSION),
				 errdetail("What was under way goes on once they agree again.")));
}

void
scope_enter(Scope *scope)
{
	Oid			owner;
	char	   *version = NULL;
	Oid			extension = lookup_and_lock(&owner, is_our_worker() ? &version : NULL);

	check_extension(extension, version);

	GetUserIdAndSecContext(&scope->user_id, &scope->security_context);
	SetUserIdAndSecContext(owner,
						   scope->security_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	scope->guc_level = NewGUCNestLevel();
	pin_settings();
	leave_no_statistics();

	/*
	 * A worker sends what it has recorded; a commit that its owner's settings leave
	 * for later could be lost in a crash, after the request has gone out.
	 */
	if (MyBackendType == B_BG_WORKER)
		ForceSyncCommit();

	/*
	 * The flag stops the statements of users, not ours; putting it back before
	 * the commit keeps what a user's query left behind (a holdable cursor, say)
	 * from writing then.
	 */
	scope->read_only = XactReadOnly;
	XactReadOnly = false;

	SPI_connect();
}

void
scope_leave(Scope *scope)
{
	SPI_finish();
	XactReadOnly = scope->read_only;
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->user_id, scope->security_context);
}

void
owner_scope_enter(Scope *scope, Oid owner)
{
	GetUserIdAndSecContext(&scope->user_id, &scope->security_context);
	SetUserIdAndSecContext(owner,
						   scope->security_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	scope->read_only = XactReadOnly;
	XactReadOnly = true;
}

void
owner_scope_leave(Scope *scope)
{
	XactReadOnly = scope->read_only;
	SetUserIdAndSecContext(scope->user_id, scope->security_context);
}

static Oid
parameter_type(char letter)
{
	switch (letter)
	{
		case 'a':
			return TEXTARRAYOID;
		case 'm':
			return INT8ARRAYOID;
		case 'b':
			return BOOLOID;
		case 'i':
			return INT4OID;
		case 'l':
			return INT8OID;
		case 'd':
			return FLOAT8OID;
		case 't':
			return TEXTOID;
		case 'j':
			return JSONBOID;
		case 'u':
			return UUIDOID;
		case 'y':
			return BYTEAOID;
		case 'z':
			return TIMESTAMPTZOID;
		case 'o':
			return OIDOID;
		default:
			elog(ERROR, "unrecognized parameter type '%c'", letter);
	}
}

Datum
scope_bigint_array(Datum *values, int count)
{
	return PointerGetDatum(construct_array(values, count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

uint64
scope_execute(const char *sql, const char *types,...)
{
	int			count = strlen(types);
	Oid			type_oids[SCOPE_MAX_PARAMETERS];
	Datum		values[SCOPE_MAX_PARAMETERS];
	char		nulls[SCOPE_MAX_PARAMETERS];
	MemoryContext context = CurrentMemoryContext;
	va_list		args;
	int			result;

	if (count > SCOPE_MAX_PARAMETERS)
		elog(ERROR, "too many parameters: %d", count);

	va_start(args, types);
	for (int i = 0; i < count; i++)
	{
		bool		isnull = false;

		if (types[i] >= 'A' && types[i] <= 'Z')
			isnull = (bool) va_arg(args, int);
		type_oids[i] = parameter_type(pg_tolower((unsigned char) types[i]));
		values[i] = va_arg(args, Datum);
		nulls[i] = isnull ? 'n' : ' ';
	}
	va_end(args);

	result = SPI_execute_with_args(sql, count, type_oids, values, nulls, false, 0);
	MemoryContextSwitchTo(context); /* SPI leaves its own one current */
	if (result < 0)
		elog(ERROR, "could not run a statement of signalsmith: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

Datum
scope_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

int64
scope_int64(uint64 row, int column)
{
	bool		isnull;
	Datum		value = scope_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

char *
scope_text(uint64 row, int column, MemoryContext context)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row],
									 SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(context, value);
}

bool
scope_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = scope_value(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

Jsonb *
scope_jsonb(uint64 row, int column, MemoryContext context)
{
	bool		isnull;
	Datum		value = scope_value(row, column, &isnull);
	MemoryContext old_context;
	Jsonb	   *copy;

	if (isnull)
		return NULL;
	old_context = MemoryContextSwitchTo(context);
	copy = DatumGetJsonbPCopy(value);
	MemoryContextSwitchTo(old_context);
	return copy;
}
