/*
 * token.h
 *		Access tokens of destinations: kept sealed, for all processes together.
 *
 * A destination has one row.  Who finds no token there that will do claims the
 * right to ask for one, which is a lease in the row; the others wait until the row
 * has what was answered.  A refresh token that an answer gave in place of the
 * secret is kept here too.
 *
 * Each function runs in the caller's transaction and enters a scope of its own.
 */
#ifndef SIGNALSMITH_STORE_TOKEN_H
#define SIGNALSMITH_STORE_TOKEN_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"

/*
 * What a token is made with: one that was made with anything else, say before a
 * secret was changed, is none.  Read before the secrets are opened, so that it is
 * never newer than they are.
 */
typedef struct TokenBasis
{
	int64		destination_id;
	char	   *digest;
	const char *refresh_secret; /* name of the first refresh token; or NULL */
	TimestampTz refresh_secret_set_at;	/* 0: it is not set */
} TokenBasis;

/* Lives in CurrentMemoryContext; refresh_secret stays the caller's. */
extern TokenBasis *token_basis(int64 destination_id, Jsonb *manifest, Jsonb *config,
							   const char *refresh_secret);

/*
 * When to ask for the next token: so many seconds before this one's end, but of a
 * short life not all; DT_NOEND where its lifetime is not known (0).
 */
extern TimestampTz token_renewal_time(TimestampTz asked_at, int64 lifetime, int64 margin);

typedef struct StoredToken
{
	int64		generation;		/* counts the tokens that there were */
	char	   *token;			/* opened; NULL: there is none that will do */
	TimestampTz renew_at;		/* DT_NOEND: when it is refused */
	char	   *refresh_token;	/* opened; NULL: the secret still counts */
} StoredToken;

/*
 * Reads into CurrentMemoryContext; the caller wipes what was opened.  A token of
 * refused_generation, or older, is none, nor is one that cannot be opened.
 */
extern void token_read(const TokenBasis *basis, int64 refused_generation,
					   StoredToken *stored);

/*
 * Claims the right to ask for the token after that generation, for so long, and
 * makes sure that there is a key to seal it with.  Returns the lease; 0: somebody
 * else is asking, or has been answered.
 */
extern int64 token_claim(const TokenBasis *basis, int64 generation, int seconds);

/*
 * Keeps what was answered, refresh_token in place of the secret unless it is NULL;
 * and ends the lease.  The commit is synchronous, whatever the settings.  Returns
 * the token's generation; 0: the lease is lost, and nothing was kept.
 */
extern int64 token_store(const TokenBasis *basis, int64 lease, const char *token,
						 TimestampTz renew_at, const char *refresh_token);

/* Ends the lease without an answer. */
extern void token_release(const TokenBasis *basis, int64 lease);

/*
 * A secret of the destination was set: there is no token any more.  And what
 * secrets_rotate() is for secrets.  Both inside the caller's scope.
 */
extern void token_forget(int64 destination_id, const char *secret_name);
extern void tokens_rotate(void);

#endif							/* SIGNALSMITH_STORE_TOKEN_H */
