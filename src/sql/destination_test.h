/*
 * destination_test.h
 *		What the parts of test_destination share.
 */
#ifndef SIGNALSMITH_DESTINATION_TEST_H
#define SIGNALSMITH_DESTINATION_TEST_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/execnodes.h"

#include "connector/connector.h"
#include "connector/token.h"
#include "store/secret.h"

typedef struct DestinationTest
{
	ReturnSetInfo *result;
	int64		destination_id;
	const char *destination_name;
	Jsonb	   *manifest;
	Jsonb	   *config;
	Connector  *connector;
	SecretList *secrets;		/* in UTF-8 */
	Token	   *token;			/* or NULL */
	char	   *refresh_token;	/* in place of a secret; or NULL */
	bool		cancel_held;	/* until the end, which is near */
} DestinationTest;

/* A row of the result; detail may be NULL. */
extern void test_step(DestinationTest *test, const char *step, bool ok, const char *detail);

/* Text from outside in the server's encoding, without what is nobody's business. */
extern char *test_redact(const DestinationTest *test, const char *text);

/* Sends one request and waits for what becomes of it; valid until the next one. */
extern HttpAnswer *test_exchange(HttpRequest *request);

/* --- destination_test_token.c --- */

/* Gets an access token, if one is wanted; false: it cannot, and a row says why. */
extern bool test_token(DestinationTest *test);

#endif							/* SIGNALSMITH_DESTINATION_TEST_H */
