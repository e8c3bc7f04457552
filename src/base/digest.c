/*
 * digest.c
 *		Digests and message authentication codes, anywhere.
 */
#include "postgres.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/digest.h"

static const EVP_MD *
algorithm(DigestKind kind)
{
	switch (kind)
	{
		case DIGEST_MD5:
			return EVP_md5();
		case DIGEST_SHA1:
			return EVP_sha1();
		case DIGEST_SHA256:
			return EVP_sha256();
		case DIGEST_SHA512:
			return EVP_sha512();
	}
	pg_unreachable();
}

size_t
digest_compute(DigestKind kind, const void *data, size_t length,
			   uint8 digest[DIGEST_MAX_LENGTH])
{
	unsigned int digest_length = 0;

	if (EVP_Digest(data, length, digest, &digest_length, algorithm(kind), NULL) != 1)
		return 0;
	return digest_length;
}

size_t
digest_hmac(DigestKind kind, const void *key, size_t key_length,
			const void *data, size_t length, uint8 digest[DIGEST_MAX_LENGTH])
{
	unsigned int digest_length = 0;

	if (HMAC(algorithm(kind), key, (int) key_length, data, length, digest,
			 &digest_length) == NULL)
		return 0;
	return digest_length;
}
