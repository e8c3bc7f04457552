/*
 * token_internal.h
 *		A compiled "token" block; for token*.c and jwt.c alone.
 */
#ifndef SIGNALSMITH_TOKEN_INTERNAL_H
#define SIGNALSMITH_TOKEN_INTERNAL_H

#include "postgres.h"

#include "connector/connector_internal.h"
#include "connector/token.h"

/* A JSON Web Token that is signed for each request (jwt.c). */
typedef struct JwtSpec
{
	bool		rs256;			/* else HS256 */
	const char *secret;			/* name of the key */
	KeyFormat	format;			/* of a key of HS256 */
	Template   *header;			/* further members; or NULL */
	Template   *claims;
	int			lifetime;		/* seconds: "iat" and "exp"; 0: neither is added */
} JwtSpec;

struct TokenSpec
{
	char	   *url;			/* or a path below base_url; NULL: it is made
								 * here */
	char	   *method;
	HeaderList	headers;
	bool		as_form;		/* else JSON */
	Template   *body;			/* an object */
	TextTemplate *user;			/* basic authentication; or NULL */
	TextTemplate *password;
	JwtSpec    *jwt;			/* {{assertion}}; or NULL */
	const char *refresh_secret; /* or NULL */
	RuleList	rules;

	/* Where the answer has what. */
	JsonPath   *token;
	JsonPath   *expires_in;
	JsonPath   *refresh_token;
	JsonPath   *error;
	JsonPath   *code;
	int			capture_count;
	const char **capture_names; /* UTF-8 */
	JsonPath  **capture_paths;

	int			ttl;			/* seconds, where the answer does not say; 0:
								 * until it is refused */
	int			margin;
};

/* Compiles the member "jwt" of an object; NULL: there is none. */
extern JwtSpec *jwt_compile(Compiler *compiler, const char *path, const JsonbValue *json);

/*
 * Signs one now; evaluation->now is the time.  False, with the error set, when it
 * cannot.
 */
extern bool jwt_make(const JwtSpec *jwt, Evaluation *evaluation, StringInfo out);

#endif							/* SIGNALSMITH_TOKEN_INTERNAL_H */
