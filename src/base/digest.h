/*
 * digest.h
 *		Digests and message authentication codes, anywhere.
 *
 * The server's own hash contexts belong to a resource owner, and a runner that
 * delivers, without a transaction, has none.  So these go to OpenSSL directly.
 */
#ifndef SIGNALSMITH_DIGEST_H
#define SIGNALSMITH_DIGEST_H

#include "postgres.h"

typedef enum DigestKind
{
	DIGEST_MD5,
	DIGEST_SHA1,
	DIGEST_SHA256,
	DIGEST_SHA512
} DigestKind;

#define DIGEST_MAX_LENGTH 64

/*
 * Compute into "digest" and return its length in bytes; 0 when the library
 * refuses, as OpenSSL does with MD5 where FIPS 140 is enforced.
 */
extern size_t digest_compute(DigestKind kind, const void *data, size_t length,
							 uint8 digest[DIGEST_MAX_LENGTH]);
extern size_t digest_hmac(DigestKind kind, const void *key, size_t key_length,
						  const void *data, size_t length,
						  uint8 digest[DIGEST_MAX_LENGTH]);

#endif							/* SIGNALSMITH_DIGEST_H */
