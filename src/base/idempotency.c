/*
 * idempotency.c
 *		Idempotency keys that need no storage: derived from a random seed.
 *
 * A key is a quarter of SHA-512 over the seed and two integers, with the version
 * and variant bits of a random UUID (RFC 9562, section 5.4).  Four keys with
 * consecutive numbers share one hash: a run may need millions of them.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/resowner.h"

#include "base/bytes.h"
#include "base/idempotency.h"

#define KEYS_PER_HASH (PG_SHA512_DIGEST_LENGTH / UUID_LEN)

void
idempotency_seed(pg_uuid_t *seed)
{
	if (!pg_strong_random(seed->data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
}

static void
hash_block(pg_cryptohash_ctx *hash, const pg_uuid_t *seed, uint32 block,
		   uint32 second, uint8 *digest)
{
	char		input[UUID_LEN + 2 * sizeof(uint32)];

	memcpy(input, seed->data, UUID_LEN);
	write_uint32(input + UUID_LEN, block);
	write_uint32(input + UUID_LEN + sizeof(uint32), second);

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) input, sizeof(input)) < 0 ||
		pg_cryptohash_final(hash, digest, PG_SHA512_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute a SHA-512 hash: %s",
			 pg_cryptohash_error(hash));
}

static void
set_key(pg_uuid_t *key, const uint8 *random)
{
	memcpy(key->data, random, UUID_LEN);
	key->data[6] = (key->data[6] & 0x0f) | 0x40;
	key->data[8] = (key->data[8] & 0x3f) | 0x80;
}

void
idempotency_derive(const pg_uuid_t *seed, uint32 first, uint32 second,
				   int count, pg_uuid_t *keys)
{
	ResourceOwner outer = CurrentResourceOwner;
	pg_cryptohash_ctx *hash;
	uint8		digest[PG_SHA512_DIGEST_LENGTH];

	/*
	 * The server's hash contexts belong to a resource owner, and there is
	 * none while a runner delivers, without a transaction.
	 */
	if (outer == NULL)
		CurrentResourceOwner = ResourceOwnerCreate(NULL, "idempotency key");

	hash = pg_cryptohash_create(PG_SHA512);
	for (int i = 0; i < count; i++)
	{
		uint32		number = first + i;

		if (i == 0 || number % KEYS_PER_HASH == 0)
			hash_block(hash, seed, number / KEYS_PER_HASH, second, digest);
		set_key(&keys[i], digest + number % KEYS_PER_HASH * UUID_LEN);
	}
	pg_cryptohash_free(hash);

	if (outer == NULL)
	{
		ResourceOwner own = CurrentResourceOwner;

		CurrentResourceOwner = NULL;
		ResourceOwnerDelete(own);
	}
}
