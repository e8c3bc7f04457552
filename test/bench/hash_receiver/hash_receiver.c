/*
 * hash_receiver.c
 *		H, the yardstick of test/bench: a query whose rows are hashed and forgotten.
 *
 * The least that a comparison by hashes can cost: each row's binary values,
 * with marks for NULLs and lengths, are put together and go through XXH3, and
 * nothing else happens.  It is as fast as we can make it, or it would flatter what
 * is compared with it; and it shares no code with the product.
 */
#include "postgres.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "access/htup_details.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "portability/instr_time.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(hash_receiver_ms);

/* Always free, so that values passed by value need not look for room. */
#define BY_VALUE_ROOM (MaxTupleAttributeNumber * sizeof(Datum))

typedef struct HashReceiver
{
	DestReceiver receiver;		/* must be first */
	MemoryContext row_context;
	char	   *row;			/* what is hashed of the row at hand */
	Size		length;
	Size		room;
	uint64		sum;
} HashReceiver;

/* Appends a length and so many bytes. */
static inline void
append_bytes(HashReceiver *hasher, const char *bytes, uint32 length)
{
	if (unlikely(hasher->room - hasher->length < sizeof(length) + length + BY_VALUE_ROOM))
	{
		hasher->room = (hasher->room + length) * 2;
		hasher->row = repalloc_huge(hasher->row, hasher->room);
	}
	memcpy(hasher->row + hasher->length, &length, sizeof(length));
	memcpy(hasher->row + hasher->length + sizeof(length), bytes, length);
	hasher->length += sizeof(length) + length;
}

static inline void
append_value(HashReceiver *hasher, Form_pg_attribute attribute, Datum value)
{
	if (attribute->attbyval)
	{
		memcpy(hasher->row + hasher->length, &value, sizeof(value));
		hasher->length += sizeof(value);
	}
	else if (attribute->attlen == -1)
	{
		struct varlena *varlena = PG_DETOAST_DATUM_PACKED(value);

		append_bytes(hasher, VARDATA_ANY(varlena), VARSIZE_ANY_EXHDR(varlena));
	}
	else
		append_bytes(hasher, DatumGetPointer(value), attribute->attlen > 0 ?
					 attribute->attlen : strlen(DatumGetCString(value)));
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	HashReceiver *hasher = (HashReceiver *) self;
	TupleDesc	descriptor = slot->tts_tupleDescriptor;
	MemoryContext old_context = MemoryContextSwitchTo(hasher->row_context);

	slot_getallattrs(slot);
	memcpy(hasher->row, slot->tts_isnull, descriptor->natts);
	hasher->length = descriptor->natts;
	for (int i = 0; i < descriptor->natts; i++)
		if (!slot->tts_isnull[i])
			append_value(hasher, TupleDescAttr(descriptor, i), slot->tts_values[i]);
	hasher->sum += XXH3_64bits(hasher->row, hasher->length);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(hasher->row_context);
	return true;
}

static void
start_rows(DestReceiver *self, int operation, TupleDesc descriptor)
{
}

static void
end_rows(DestReceiver *self)
{
}

/* hash_receiver_ms(query text) returns double precision: milliseconds */
Datum
hash_receiver_ms(PG_FUNCTION_ARGS)
{
	HashReceiver hasher = {0};
	SPIExecuteOptions options = {0};
	instr_time	begin;
	instr_time	end;

	hasher.receiver.receiveSlot = receive_row;
	hasher.receiver.rStartup = start_rows;
	hasher.receiver.rShutdown = end_rows;
	hasher.receiver.rDestroy = end_rows;
	hasher.receiver.mydest = DestNone;
	hasher.row_context = AllocSetContextCreate(CurrentMemoryContext, "hash_receiver row",
											   ALLOCSET_DEFAULT_SIZES);
	hasher.room = MaxTupleAttributeNumber + 2 * BY_VALUE_ROOM;
	hasher.row = palloc(hasher.room);
	options.read_only = true;
	options.dest = &hasher.receiver;

	INSTR_TIME_SET_CURRENT(begin);
	SPI_connect();
	if (SPI_execute_extended(text_to_cstring(PG_GETARG_TEXT_PP(0)), &options) < 0)
		elog(ERROR, "the query was not run");
	SPI_finish();
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);

	elog(DEBUG1, "sum of hashes: " UINT64_FORMAT, hasher.sum);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_MILLISEC(end));
}
