/*
 * destination_test_token.c
 *		The step "token" of test_destination.
 *
 * A token is asked for even where one is kept, since that proves the secrets; and
 * it is not kept, since the caller's transaction may be rolled back.  But a refresh
 * token that the answer replaces has to be kept: so where that can happen, there may
 * be no transaction to roll back, and nobody cancels the rest.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "base/vault.h"
#include "sql/destination_test.h"
#include "store/token.h"

/* The caller's transaction, with the row's lock, lives no longer. */
#define LEASE_SECONDS 60

static void
step_granted(DestinationTest *test, const char *how, int64 lifetime)
{
	test_step(test, "token", true,
			  lifetime > 0 ? psprintf("%s, for " INT64_FORMAT " s", how, lifetime) :
			  psprintf("%s, until it is refused", how));
}

static bool
make_token(DestinationTest *test)
{
	int64		lifetime;
	char	   *error;

	test->token = connector_make_token(test->connector, &lifetime, &error);
	if (test->token == NULL)
		test_step(test, "token", false, test_redact(test, error));
	else
		step_granted(test, "signed here", lifetime);
	return test->token != NULL;
}

/* Asks for one; false: a row says why there is none. */
static bool
request_token(DestinationTest *test, TokenAnswer *answer)
{
	HttpRequest request;
	HttpAnswer *http;
	char	   *error;

	if (!connector_render_token_request(test->connector, test->refresh_token, &request, &error))
	{
		test_step(test, "token", false, test_redact(test, error));
		return false;
	}
	http = test_exchange(&request);
	if (http->result != HTTP_ANSWERED)
	{
		test_step(test, "token", false, test_redact(test, http->error));
		return false;
	}
	connector_read_token_answer(test->connector, http, answer);
	test->token = answer->token;
	return true;
}

static bool
step_answer(DestinationTest *test, const TokenAnswer *answer)
{
	switch (answer->verdict)
	{
		case TOKEN_GRANTED:
			step_granted(test, "granted", answer->lifetime);
			return true;
		case TOKEN_REFUSED:
			test_step(test, "token", false,
					  psprintf("refused: %s%s%s", test_redact(test, answer->error),
							   answer->hint ? ". " : "", answer->hint ? answer->hint : ""));
			return false;
		case TOKEN_THROTTLED:
		case TOKEN_NOT_NOW:
			test_step(test, "token", false,
					  psprintf("not now: %s", test_redact(test, answer->error)));
			return false;
	}
	pg_unreachable();
}

static void
refuse_in_transaction(const DestinationTest *test)
{
	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("destination \"%s\" cannot be tested inside a transaction block",
						test->destination_name),
				 errdetail("Its answer may replace the refresh token, and a rollback would lose the new one."),
				 errhint("Call test_destination as a statement of its own.")));
}

/* Where the refresh token may be replaced. */
static bool
refresh_token(DestinationTest *test, TokenBasis *basis)
{
	StoredToken stored;
	TokenAnswer answer;
	int64		lease;

	refuse_in_transaction(test);
	token_read(basis, 0, &stored);
	if (stored.token != NULL)
	{
		test->token = connector_token_from_text(test->connector, stored.token);
		vault_wipe(stored.token);
	}
	test->refresh_token = stored.refresh_token;
	if (test->token != NULL)
	{
		test_step(test, "token", true, "kept from an earlier request, and not over yet");
		return true;
	}
	lease = token_claim(basis, stored.generation, LEASE_SECONDS);
	if (lease == 0)
	{
		test_step(test, "token", false, "a run is asking for it just now; try again");
		return false;
	}

	/* test_destination ends in some seconds, whether cancelled or not. */
	HOLD_CANCEL_INTERRUPTS();
	test->cancel_held = true;
	if (!request_token(test, &answer))
	{
		token_release(basis, lease);
		return false;
	}
	if (answer.token != NULL)
	{
		char	   *text = connector_token_to_text(test->connector, answer.token);

		(void) token_store(basis, lease, text,
						   token_renewal_time(GetCurrentTimestamp(), answer.lifetime,
											  answer.margin),
						   answer.refresh_token);
		vault_wipe(text);
		vault_wipe(answer.refresh_token);
	}
	else
		token_release(basis, lease);
	return step_answer(test, &answer);
}

bool
test_token(DestinationTest *test)
{
	const char *refresh_secret = connector_refresh_secret(test->connector);
	TokenAnswer answer;
	bool		granted;

	if (!connector_uses_token(test->connector))
		return true;
	if (connector_makes_token(test->connector))
		granted = make_token(test);
	else if (refresh_secret != NULL)
		granted = refresh_token(test, token_basis(test->destination_id, test->manifest,
												  test->config, refresh_secret));
	else
		granted = request_token(test, &answer) && step_answer(test, &answer);
	if (granted)
		connector_set_token(test->connector, test->token);
	return granted;
}
