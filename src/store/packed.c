/*
 * packed.c
 *		Keys and row hashes as our tables hold them: all keys, then all hashes.
 *
 * Apart from each other, since a lookup reads keys only, and hashes would push
 * every other one out of the cache.
 */
#include "postgres.h"

#include "base/bytes.h"
#include "base/compat.h"
#include "store/packed.h"

bytea *
bytea_build(const void *bytes, Size length)
{
	bytea	   *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), bytes, length);
	return result;
}

bytea *
packed_build(const RecordKey *keys, const uint64 *hashes, int count, int key_width)
{
	Size		length = packed_size(count, key_width);
	bytea	   *result = palloc(VARHDRSZ + length);
	uint64	   *words = palloc(length);

	for (int i = 0; i < count; i++)
		memcpy((char *) words + (Size) i * key_width, &keys[i], key_width);
	memcpy((char *) words + (Size) count * key_width, hashes, count * sizeof(uint64));
	swap_words_64(words, length / sizeof(uint64));

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), words, length);
	pfree(words);
	return result;
}

void
packed_to_native(char *entries, int count, int key_width)
{
	swap_words_64((uint64 *) entries, packed_size(count, key_width) / sizeof(uint64));
}

bytea *
packed_single_key(RecordKey key)
{
	uint64		words[] = {key.low, key.high};

	swap_words_64(words, lengthof(words));
	return bytea_build(words, sizeof(words));
}

RecordKey
packed_read_single_key(const char *bytes)
{
	RecordKey	key;
	uint64		words[2];

	memcpy(words, bytes, sizeof(words));
	swap_words_64(words, lengthof(words));
	key.low = words[0];
	key.high = words[1];
	return key;
}
