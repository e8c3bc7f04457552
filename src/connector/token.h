/*
 * token.h
 *		The access token that a destination wants: how it is asked for, and where
 *		requests have it.
 *
 * Nothing here keeps a token, or knows whether it is still good: that is for those
 * who send (run/token_renewal.h).  All text is UTF-8.
 */
#ifndef SIGNALSMITH_CONNECTOR_TOKEN_H
#define SIGNALSMITH_CONNECTOR_TOKEN_H

#include "postgres.h"

#include "connector/connector.h"

/* What {{token}} and {{token.NAME}} stand for. */
typedef struct Token
{
	char	   *value;
	char	  **captured;		/* in the order of the manifest's "capture"; NULL:
								 * the answer had none */
} Token;

/* Do requests need one?  And is it made here, so that nobody is asked for it? */
extern bool connector_uses_token(const Connector *connector);
extern bool connector_makes_token(const Connector *connector);

/* The token that requests are rendered with; stays the caller's. */
extern void connector_set_token(Connector *connector, const Token *token);

/* The name of the secret that is the first refresh token; NULL: there is none. */
extern const char *connector_refresh_secret(const Connector *connector);

/*
 * Renders the request for a token into CurrentMemoryContext.  refresh_token: the
 * one that an answer gave in place of the secret, or NULL.  False and *error as
 * connector_render().
 */
extern bool connector_render_token_request(const Connector *connector,
										   const char *refresh_token,
										   HttpRequest *request, char **error);

/* Makes one, where connector_makes_token(); NULL and *error when it cannot. */
extern Token *connector_make_token(const Connector *connector, int64 *lifetime,
								   char **error);

typedef enum TokenVerdict
{
	TOKEN_GRANTED,
	TOKEN_REFUSED,				/* until somebody does something */
	TOKEN_THROTTLED,
	TOKEN_NOT_NOW				/* the server is not well */
} TokenVerdict;

typedef struct TokenAnswer
{
	TokenVerdict verdict;
	Token	   *token;			/* when granted; and where it is refused for what
								 * it lacks */
	int64		lifetime;		/* in seconds; 0: as long as it is taken */
	int64		margin;			/* it is renewed so many seconds before */
	char	   *refresh_token;	/* in place of the old one; or NULL */
	char	   *error;			/* for people, not redacted, in the server's
								 * encoding; or NULL */
	char	   *hint;			/* when refused: which secrets to set; or NULL */
	int64		retry_after_ms; /* 0: it does not say */
} TokenAnswer;

/*
 * What a complete answer to that request says; palloc'ed.  Needs a transaction
 * in a database that is not in UTF-8.
 */
extern void connector_read_token_answer(const Connector *connector,
										const HttpAnswer *http, TokenAnswer *answer);

/* A token as text, to be sealed, and back; NULL when it is none that will do. */
extern char *connector_token_to_text(const Connector *connector, const Token *token);
extern Token *connector_token_from_text(const Connector *connector, const char *text);

#endif							/* SIGNALSMITH_CONNECTOR_TOKEN_H */
