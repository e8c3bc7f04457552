/*
 * key_table.h
 *		Packed keys with a word each: an array in the order of arrival, and an
 *		index over it.
 */
#ifndef SIGNALSMITH_KEY_TABLE_H
#define SIGNALSMITH_KEY_TABLE_H

#include "postgres.h"

#include "base/types.h"

/*
 * Entries with the value 0 are dead: they keep their place, and are not found.
 * With a limit, in bytes, find_or_add adds nothing that would exceed it.
 */
typedef struct KeyTable
{
	int			key_width;
	uint32		count;			/* entries in use */
	uint32		capacity;
	char	   *entries;		/* key and value of each */

	uint32	   *slots;			/* the index: entry + 1, 0 is free; or NULL */
	bool		index_whole;	/* every live entry is in it */
	uint32		slot_mask;
	int			slot_shift;
	uint32		slots_used;

	Size		limit;			/* 0: none */
	Size		peak;			/* the most bytes in use so far */
	double		index_seconds;	/* spent on building indexes */
	MemoryContext context;
} KeyTable;

#define KEY_TABLE_NONE PG_UINT32_MAX

/* Lives in CurrentMemoryContext. */
extern KeyTable *key_table_create(int key_width, Size limit);
extern void key_table_free(KeyTable *table);

/* Bytes for that many entries, all in the index. */
extern Size key_table_memory(uint64 count, int key_width);

/* Makes room, regardless of the limit. */
extern void key_table_reserve(KeyTable *table, uint64 count);

/* Adds an entry behind the others, whose key is in no index yet. */
extern void key_table_append(KeyTable *table, RecordKey key, uint64 value);

/*
 * Begins a new index, with room for so many entries, and puts entries into it,
 * dead ones too.  Of several with one key the last one put in is found.
 */
extern void key_table_begin_index(KeyTable *table, uint64 room);
extern void key_table_index_range(KeyTable *table, uint32 first, uint32 end);

/* A new index of all entries that are not dead; of one key the last is found. */
extern void key_table_index_all(KeyTable *table);

/* Puts one entry into the index, beginning one if there is none. */
extern void key_table_index_entry(KeyTable *table, uint32 entry);
extern void key_table_drop_index(KeyTable *table);

/* KEY_TABLE_NONE when the key is not in the index, which there must be. */
extern uint32 key_table_find(const KeyTable *table, RecordKey key);

/*
 * Makes the index whole first.  KEY_TABLE_NONE when the key is not there and the
 * limit is reached.
 */
extern uint32 key_table_find_or_add(KeyTable *table, RecordKey key, uint64 value,
									bool *added);

/* Ask for what a lookup will read, some time before it: slot, then entry. */
extern void key_table_prefetch_slot(const KeyTable *table, RecordKey key);
extern void key_table_prefetch_entry(const KeyTable *table, RecordKey key);

/*
 * Bits that depend on the whole key, others than those that the index uses: to
 * part keys by.
 */
static inline uint32
key_part_bits(RecordKey key)
{
	uint64		mixed = (key.low ^ key.high) * UINT64CONST(0xc2b2ae3d27d4eb4f);

	return (uint32) ((mixed ^ (mixed >> 29)) >> 16);
}

static inline Size
key_table_stride(int width)
{
	return width + sizeof(uint64);
}

static inline RecordKey
packed_entry_key(const char *entry, const int width)
{
	RecordKey	key = {0, 0};

	memcpy(&key, entry, width);
	return key;
}

static inline uint64
packed_entry_value(const char *entry, const int width)
{
	uint64		value;

	memcpy(&value, entry + width, sizeof(value));
	return value;
}

static inline bool
packed_entry_has_key(const char *entry, RecordKey key, const int width)
{
	RecordKey	other = packed_entry_key(entry, width);

	return other.low == key.low && (width == KEY_WIDTH_NARROW || other.high == key.high);
}

static inline void
pack_entry(char *entry, RecordKey key, uint64 value, const int width)
{
	memcpy(entry, &key, width);
	memcpy(entry + width, &value, sizeof(value));
}

static inline char *
key_table_entry(const KeyTable *table, uint32 entry)
{
	return table->entries + entry * key_table_stride(table->key_width);
}

static inline RecordKey
key_table_key(const KeyTable *table, uint32 entry)
{
	return packed_entry_key(key_table_entry(table, entry), table->key_width);
}

static inline uint64
key_table_value(const KeyTable *table, uint32 entry)
{
	return packed_entry_value(key_table_entry(table, entry), table->key_width);
}

static inline void
key_table_set_value(KeyTable *table, uint32 entry, uint64 value)
{
	memcpy(key_table_entry(table, entry) + table->key_width, &value, sizeof(value));
}

#endif							/* SIGNALSMITH_KEY_TABLE_H */
