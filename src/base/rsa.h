/*
 * rsa.h
 *		RSA signatures, as JSON Web Tokens have them.
 */
#ifndef SIGNALSMITH_RSA_H
#define SIGNALSMITH_RSA_H

#include "postgres.h"

#include "lib/stringinfo.h"

/*
 * Whether the text is a private RSA key in PEM, of 2048 bits or more and without a
 * passphrase.  Line ends may be written as \n, as in JSON.
 */
extern bool rsa_is_private_key(const char *pem);

/*
 * Appends the signature of RS256 (RFC 7518, section 3.3): RSASSA-PKCS1-v1_5 with
 * SHA-256.  False when the key is none, or the library refuses.  No transaction is
 * needed.
 */
extern bool rsa_sign_sha256(const char *pem, const char *data, size_t length,
							StringInfo signature);

#endif							/* SIGNALSMITH_RSA_H */
