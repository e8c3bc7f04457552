/*
 * idempotency.c
 *		Idempotency keys that need no storage: derived from a random seed.
 *
 * A key is the first half of SHA-256 over the seed and two integers, with the
 * version and variant bits of a random UUID (RFC 9562, section 5.4).
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/resowner.h"

#include "base/bytes.h"
#include "base/idempotency.h"

void
idempotency_seed(pg_uuid_t *seed)
{
	if (!pg_strong_random(seed->data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
}

static void
derive_one(pg_cryptohash_ctx *hash, const pg_uuid_t *seed, uint32 first,
		   uint32 second, pg_uuid_t *key)
{
	char		input[UUID_LEN + 2 * sizeof(uint32)];
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	memcpy(input, seed->data, UUID_LEN);
	write_uint32(input + UUID_LEN, first);
	write_uint32(input + UUID_LEN + sizeof(uint32), second);

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) input, sizeof(input)) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 hash: %s",
			 pg_cryptohash_error(hash));

	memcpy(key->data, digest, UUID_LEN);
	key->data[6] = (key->data[6] & 0x0f) | 0x40;
	key->data[8] = (key->data[8] & 0x3f) | 0x80;
}

void
idempotency_derive(const pg_uuid_t *seed, uint32 first, uint32 second,
				   int count, pg_uuid_t *keys)
{
	ResourceOwner outer = CurrentResourceOwner;
	pg_cryptohash_ctx *hash;

	/*
	 * The server's hash contexts belong to a resource owner, and there is none
	 * while a runner delivers, without a transaction.
	 */
	if (outer == NULL)
		CurrentResourceOwner = ResourceOwnerCreate(NULL, "idempotency key");

	hash = pg_cryptohash_create(PG_SHA256);
	for (int i = 0; i < count; i++)
		derive_one(hash, seed, first + i, second, &keys[i]);
	pg_cryptohash_free(hash);

	if (outer == NULL)
	{
		ResourceOwner own = CurrentResourceOwner;

		CurrentResourceOwner = NULL;
		ResourceOwnerDelete(own);
	}
}
