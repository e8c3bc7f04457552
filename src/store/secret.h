/*
 * secret.h
 *		The secrets of destinations: stored sealed, opened only to send.
 */
#ifndef SIGNALSMITH_SECRET_H
#define SIGNALSMITH_SECRET_H

#include "postgres.h"

typedef struct Secret
{
	char	   *name;
	char	   *value;
} Secret;

typedef struct SecretList
{
	int			count;
	Secret	   *secrets;
} SecretList;

/* Seals and stores a secret; inside the caller's scope. */
extern void secret_store(int64 destination_id, const char *name, const char *value);

/*
 * Opens all secrets of a destination into CurrentMemoryContext.  Raises what
 * vault_open raises; a destination without secrets needs no key.  The caller
 * wipes them with secrets_wipe.
 */
extern SecretList *secrets_read(int64 destination_id);
extern void secrets_wipe(SecretList *list);

/* Seals every secret again with the current key; returns how many. */
extern int64 secrets_rotate(void);

#endif							/* SIGNALSMITH_SECRET_H */
