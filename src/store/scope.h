/*
 * scope.h
 *		Doing something as the extension's owner, for that something alone.
 *
 * Users of signalsmith cannot touch its tables; their backends and runners do
 * it for them, between scope_enter() and scope_leave(): as the owner of the
 * extension, in a security-restricted operation, with search_path and what else
 * changes the meaning of a statement pinned, and with a read-only transaction
 * writable for our own statements.  Nothing that a user defined may run in
 * between.  On error the (sub)transaction's abort restores identity and
 * settings, so no PG_TRY is needed.
 */
#ifndef SIGNALSMITH_SCOPE_H
#define SIGNALSMITH_SCOPE_H

#include "postgres.h"

#include "storage/lock.h"
#include "utils/jsonb.h"

typedef struct Scope
{
	Oid			user_id;
	int			security_context;
	int			guc_level;
	bool		read_only;
} Scope;

/*
 * The extension in this database, InvalidOid if there is none.  Gives its owner
 * and, unless version is NULL, its version (palloc'ed).  Needs a transaction.
 */
extern Oid	extension_lookup(Oid *owner, char **version);

/*
 * Keeps the extension from being dropped until the transaction ends.  Each scope
 * does it first: who locks our tables without it, in an order of his own, and
 * DROP EXTENSION, in another, would wait for each other.
 */
extern LockAcquireResult extension_lock(Oid extension, bool wait);

/* Enters the scope and connects to SPI; the owner is looked up each time. */
extern void scope_enter(Scope *scope);
extern void scope_leave(Scope *scope);

/*
 * The opposite: running what a user has written, in a session that may be
 * another's, as that user: read only, and in a security-restricted operation, so
 * that nothing of it is left to run later as somebody else.  Settings are not
 * touched: who runs a model undoes what it sets (plan/fixed_settings.h).
 */
extern void owner_scope_enter(Scope *scope, Oid owner);
extern void owner_scope_leave(Scope *scope);

/*
 * Runs a statement with bound parameters inside a scope.  "types" has a letter
 * for each parameter that follows, as a Datum:
 *
 *	a text[], m bigint[], b bool, i int4, l int8, d float8, t text, j jsonb, u uuid, y bytea,
 *	z timestamptz, o oid; an upper-case letter takes a bool first: is it null?
 *
 * Results are in SPI_tuptable, the row count is returned.  The plan is not
 * kept: no plan of one identity is ever run under another.
 */
extern uint64 scope_execute(const char *sql, const char *types,...);

/* The Datum of a bigint[], palloc'ed. */
extern Datum scope_bigint_array(Datum *values, int count);

/* Values of the last result: rows from 0, columns from 1. */
extern Datum scope_value(uint64 row, int column, bool *isnull);
extern int64 scope_int64(uint64 row, int column);	/* 0 when null */

extern bool scope_bool(uint64 row, int column);	/* false when null */

/* Copied to a context that outlives the scope; NULL when null. */
extern char *scope_text(uint64 row, int column, MemoryContext context);
extern Jsonb *scope_jsonb(uint64 row, int column, MemoryContext context);

#endif							/* SIGNALSMITH_SCOPE_H */
