/*
 * types.h
 *		The nouns that every layer shares: operations, modes, keys, slices.
 *
 * Nothing here allocates or raises anything.
 */
#ifndef SIGNALSMITH_TYPES_H
#define SIGNALSMITH_TYPES_H

#include "postgres.h"

/* What a change does to a record at the destination. */
typedef enum Operation
{
	OPERATION_CREATE,
	OPERATION_UPDATE,
	OPERATION_DELETE
} Operation;

#define OPERATION_COUNT 3

typedef enum SyncMode
{
	MODE_UPSERT,				/* create + update */
	MODE_MIRROR,				/* create + update + delete */
	MODE_APPEND,				/* create only; "insert" is a synonym */
	MODE_UPDATE					/* update only */
} SyncMode;

/*
 * A packed key.  Integers and uuids are the value itself (integers in "low",
 * sign-extended, with "high" 0); everything else is 128 bits of hash that agree
 * with the type's own equality.
 */
typedef struct RecordKey
{
	uint64		low;
	uint64		high;
} RecordKey;

/* Says something of a key. */
typedef bool (*KeyTest) (void *arg, RecordKey key);

/* Bytes of a packed key on disk and in memory: 8 when "high" is always 0. */
#define KEY_WIDTH_NARROW 8
#define KEY_WIDTH_WIDE 16

/*
 * Row hashes that are no hash of a row, so they equal none.  After an update of
 * unknown outcome the record is there, its content not known: a row is an
 * update.  After a create or delete of unknown outcome the record itself may be
 * there or not: a row is a create, no row a delete.
 */
#define ROW_HASH_DELETED UINT64CONST(0) /* tombstone */
#define ROW_HASH_UNKNOWN UINT64CONST(1)
#define ROW_HASH_MAYBE UINT64CONST(2)
#define ROW_HASH_FIRST UINT64CONST(3)	/* the least hash of a row */

/* Some bytes that somebody else owns; not zero-terminated. */
typedef struct Slice
{
	const char *data;
	uint32		length;
} Slice;

/*
 * One record of a change as the outbox holds it, in UTF-8 JSON text; slices are
 * empty where there is nothing.
 *
 * key is an object of the primary key's columns; identifier the value that
 * matches the record at the destination; id what the destination itself calls
 * it, and version what its next change has to name, both as its answers said;
 * data the object of mapped fields (empty for a delete).
 */
typedef struct Record
{
	Slice		key;
	Slice		identifier;
	Slice		id;
	Slice		version;
	Slice		data;
} Record;

/* Names as the SQL interface spells them. */
extern const char *operation_name(Operation operation);
extern Operation operation_from_name(const char *name);
extern const char *sync_mode_name(SyncMode mode);
extern SyncMode sync_mode_from_name(const char *name);

#endif							/* SIGNALSMITH_TYPES_H */
