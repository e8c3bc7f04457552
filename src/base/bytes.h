/*
 * bytes.h
 *		Integers as our packed columns hold them: little-endian, anywhere.
 *
 * The packed columns go into dumps, which may be restored on another machine.
 */
#ifndef SIGNALSMITH_BYTES_H
#define SIGNALSMITH_BYTES_H

#include "postgres.h"

#include "port/pg_bswap.h"

#ifdef WORDS_BIGENDIAN
#define little_endian_32(value) pg_bswap32(value)
#define little_endian_64(value) pg_bswap64(value)
#else
#define little_endian_32(value) (value)
#define little_endian_64(value) (value)
#endif

static inline uint32
read_uint32(const char *bytes)
{
	uint32		value;

	memcpy(&value, bytes, sizeof(value));
	return little_endian_32(value);
}

static inline void
write_uint32(char *bytes, uint32 value)
{
	value = little_endian_32(value);
	memcpy(bytes, &value, sizeof(value));
}

/* Between our order and the disk's, either way, in place. */
static inline void
swap_words_64(uint64 *words, Size count)
{
#ifdef WORDS_BIGENDIAN
	for (Size i = 0; i < count; i++)
		words[i] = little_endian_64(words[i]);
#endif
}

static inline void
swap_words_32(uint32 *words, Size count)
{
#ifdef WORDS_BIGENDIAN
	for (Size i = 0; i < count; i++)
		words[i] = little_endian_32(words[i]);
#endif
}

#endif							/* SIGNALSMITH_BYTES_H */
