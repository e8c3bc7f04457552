/*
 * packed.h
 *		Keys and row hashes as our tables hold them: all keys, then all hashes.
 */
#ifndef SIGNALSMITH_PACKED_H
#define SIGNALSMITH_PACKED_H

#include "postgres.h"

#include "base/types.h"

/* Bytes of that many entries. */
static inline Size
packed_size(Size count, int key_width)
{
	return count * ((Size) key_width + sizeof(uint64));
}

static inline bool
key_width_is_valid(int key_width)
{
	return key_width == KEY_WIDTH_NARROW || key_width == KEY_WIDTH_WIDE;
}

/* A key out of "keys", which has our byte order. */
static inline RecordKey
packed_key(const char *keys, int key_width, Size index)
{
	RecordKey	key = {0, 0};

	memcpy(&key, keys + index * key_width, key_width);
	return key;
}

/*
 * Packs entries as a bytea, ready to be stored, in CurrentMemoryContext.  With
 * narrow keys each key's "high" must be 0.
 */
extern bytea *packed_build(const RecordKey *keys, const uint64 *hashes, int count,
						   int key_width);

/* Turns stored bytes, 8-aligned, into our byte order; nothing on most machines. */
extern void packed_to_native(char *entries, int count, int key_width);

/*
 * A single key as a bytea that is the same on every machine, however wide the
 * keys of its sync are; and back, from a value of that length.
 */
extern bytea *packed_single_key(RecordKey key);
extern RecordKey packed_read_single_key(const char *bytes);

/* A bytea with these bytes, in CurrentMemoryContext. */
extern bytea *bytea_build(const void *bytes, Size length);

#endif							/* SIGNALSMITH_PACKED_H */
