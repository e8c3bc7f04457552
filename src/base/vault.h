/*
 * vault.h
 *		Encrypting secrets with a key that is outside the database.
 *
 * AES-256-GCM by the OpenSSL that the server links.  The key file, named by
 * signalsmith.key_file, has a key of 64 hexadecimal digits on each line: the
 * first encrypts, the others still decrypt what was encrypted before a
 * rotation.  It is read at each use and its contents are wiped after it, so no
 * process keeps a key.
 */
#ifndef SIGNALSMITH_VAULT_H
#define SIGNALSMITH_VAULT_H

#include "postgres.h"

#define VAULT_KEY_ID_LENGTH 16	/* hexadecimal digits */

typedef struct SealedSecret
{
	char		key_id[VAULT_KEY_ID_LENGTH + 1];
	bytea	   *sealed;			/* nonce, ciphertext, tag */
} SealedSecret;

/*
 * Encrypts; "context" is what the secret belongs to, authenticated with it, so
 * that a ciphertext put into another row does not open.  Raises
 * ERRCODE_CONFIG_FILE_ERROR when the key file is not set or not fit for use.
 */
extern void vault_seal(const char *secret, const char *context, SealedSecret *sealed);

/*
 * Decrypts into CurrentMemoryContext; the caller wipes it with vault_wipe.
 * Raises ERRCODE_CONFIG_FILE_ERROR when no key of the file fits, and
 * ERRCODE_DATA_CORRUPTED when the ciphertext is not what was sealed.
 */
extern char *vault_open(const SealedSecret *sealed, const char *context);

/* Overwrites a string; NULL is fine. */
extern void vault_wipe(char *secret);

/* What is wrong with the key file, palloc'ed, for people; NULL: nothing. */
extern char *vault_problem(void);

/* The id of the key that encrypts now. */
extern void vault_current_key_id(char key_id[VAULT_KEY_ID_LENGTH + 1]);

#endif							/* SIGNALSMITH_VAULT_H */
