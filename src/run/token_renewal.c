/*
 * token_renewal.c
 *		The access token of a delivery: there is a good one when something is sent.
 *
 *		no token --- read the row ---> token, until its time or a refusal
 *		   |  ^                           ^
 *		   |  '--- others are asking      |
 *		   '--- claim, ask --- keep the answer
 *
 * One process asks for all (store/token.h); an answer is kept, in a transaction of
 * its own, before anything is done with it: a refresh token that was replaced is
 * worth nothing any more, and who loses the new one is locked out.  A server that
 * is not well, or wants to be asked less, is treated as the destination is.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/backoff.h"
#include "base/fault.h"
#include "base/vault.h"
#include "connector/token.h"
#include "http/redact.h"
#include "run/token_renewal.h"
#include "store/token.h"
#include "store/transaction.h"

/* How often a row is looked at while somebody else asks. */
#define LOOK_MS 100

/* A process that has not kept an answer by then is stuck. */
#define LEASE_SLACK_SECONDS 10

struct TokenRenewal
{
	TokenBasis *basis;
	MemoryContext context;		/* the token's; and the request's, which is over
								 * before the next token comes */
	MemoryContext request_context;

	Token	   *token;			/* NULL: none that will do */
	int64		generation;		/* of the last one */
	TimestampTz renew_at;
	int64		refused_generation; /* and all before it */
	bool		unproven;		/* it came after a refusal, and nothing was taken
								 * with it yet */

	int64		lease;			/* of the request under way; 0: none is */
	TimestampTz asked_at;
	char	   *refresh_token;	/* in place of the secret; or NULL */
	int			attempts;
	int64		look_at_ms;		/* monotonic: not before */
};

TokenRenewal *
token_renewal_create(const SyncDefinition *definition, const Connector *connector)
{
	TokenRenewal *renewal;

	if (!connector_uses_token(connector))
		return NULL;
	renewal = palloc0(sizeof(TokenRenewal));
	renewal->basis = token_basis(definition->destination_id, definition->manifest,
								 definition->config, connector_refresh_secret(connector));
	renewal->context = AllocSetContextCreate(CurrentMemoryContext, "signalsmith token",
											 ALLOCSET_SMALL_SIZES);
	renewal->request_context = AllocSetContextCreate(CurrentMemoryContext,
													 "signalsmith token request",
													 ALLOCSET_SMALL_SIZES);
	return renewal;
}

/* --- the token --- */

static void
discard_token(Delivery *delivery)
{
	TokenRenewal *renewal = delivery->token;

	connector_set_token(delivery->connector, NULL);
	if (renewal->token != NULL)
		vault_wipe(renewal->token->value);
	renewal->token = NULL;
	MemoryContextReset(renewal->context);
}

/* The token as text, from now on. */
static void
adopt_token(Delivery *delivery, const char *text, int64 generation, TimestampTz renew_at)
{
	TokenRenewal *renewal = delivery->token;
	MemoryContext old_context;

	discard_token(delivery);
	old_context = MemoryContextSwitchTo(renewal->context);
	renewal->token = connector_token_from_text(delivery->connector, text);
	MemoryContextSwitchTo(old_context);
	renewal->generation = generation;
	renewal->renew_at = renew_at;
	renewal->attempts = 0;
	if (renewal->token == NULL)
	{
		/* Not what this manifest captures: ask for one that is. */
		renewal->refused_generation = generation;
		return;
	}
	delivery_add_secret(delivery, renewal->token->value);
	connector_set_token(delivery->connector, renewal->token);
}

static bool
is_usable(const TokenRenewal *renewal)
{
	return renewal->token != NULL &&
		(renewal->renew_at == DT_NOEND || GetCurrentTimestamp() < renewal->renew_at);
}

/* --- asking for it --- */

static void
ask_for_token(Delivery *delivery)
{
	TokenRenewal *renewal = delivery->token;
	MemoryContext old_context = MemoryContextSwitchTo(renewal->request_context);
	HttpRequest request;
	char	   *error;

	if (connector_render_token_request(delivery->connector, renewal->refresh_token,
									   &request, &error))
	{
		request.timeout_ms = delivery->definition->timeout_ms;
		renewal->asked_at = GetCurrentTimestamp();
		renewal->attempts++;
		FAULT_POINT("before-token-request");
		transport_submit(delivery->transport, &request, renewal);
	}
	else
		delivery_stop(delivery, DELIVERY_REFUSED,
					  psprintf("the request for an access token cannot be made: %s",
							   delivery_redact(delivery, error)));
	MemoryContextSwitchTo(old_context);
}

static void
release_lease(TokenRenewal *renewal)
{
	int64		lease = renewal->lease;

	renewal->lease = 0;
	if (lease == 0)
		return;
	transaction_begin();
	token_release(renewal->basis, lease);
	transaction_commit();
}

/* Looks whether there is one, else claims the right to ask, if nobody has it. */
static void
read_or_claim(Delivery *delivery, StoredToken *stored)
{
	TokenRenewal *renewal = delivery->token;

	transaction_begin();
	MemoryContextSwitchTo(renewal->request_context);
	token_read(renewal->basis, renewal->refused_generation, stored);
	if (stored->token == NULL && destination_gate_wait_ms(delivery->gate) == 0)
		renewal->lease = token_claim(renewal->basis, stored->generation,
									 delivery->definition->timeout_ms / 1000 +
									 LEASE_SLACK_SECONDS);
	transaction_commit();
}

/* As before a batch, but for the limits of rate, which are those of the API. */
static bool
enter_gate(Delivery *delivery)
{
	const RateDemand *longest;
	int64		wait_ms = destination_gate_enter(delivery->gate, NULL, 0, &longest);

	if (wait_ms > 0)
		delivery_wait_for_gate(delivery, Min(wait_ms, GATE_LOOK_MS));
	return wait_ms == 0;
}

/* Nobody may ask now, or somebody does. */
static void
wait_for_others(Delivery *delivery)
{
	int64		wait_ms = destination_gate_wait_ms(delivery->gate);

	if (wait_ms > 0)
		delivery_wait_for_gate(delivery, Min(wait_ms, GATE_LOOK_MS));
	else
		delivery->token->look_at_ms = monotonic_ms() + LOOK_MS;
}

static void
look_for_token(Delivery *delivery)
{
	TokenRenewal *renewal = delivery->token;
	MemoryContext old_context = CurrentMemoryContext;
	StoredToken stored;

	discard_token(delivery);
	MemoryContextReset(renewal->request_context);
	read_or_claim(delivery, &stored);
	MemoryContextSwitchTo(old_context);
	renewal->refresh_token = stored.refresh_token;
	if (stored.refresh_token != NULL)
		delivery_add_secret(delivery, stored.refresh_token);

	if (stored.token != NULL)
	{
		adopt_token(delivery, stored.token, stored.generation, stored.renew_at);
		vault_wipe(stored.token);
	}
	else if (renewal->lease == 0)
		wait_for_others(delivery);
	else if (enter_gate(delivery))
		ask_for_token(delivery);
	else
		release_lease(renewal);
}

/* Where it is made here there is nobody to be asked. */
static void
make_token(Delivery *delivery)
{
	TokenRenewal *renewal = delivery->token;
	TimestampTz now = GetCurrentTimestamp();
	int64		lifetime;
	char	   *error;
	Token	   *token;
	MemoryContext old_context;

	discard_token(delivery);
	MemoryContextReset(renewal->request_context);
	old_context = MemoryContextSwitchTo(renewal->request_context);
	token = connector_make_token(delivery->connector, &lifetime, &error);
	if (token != NULL)
		adopt_token(delivery, connector_token_to_text(delivery->connector, token),
					renewal->generation + 1, token_renewal_time(now, lifetime, lifetime / 4));
	else
		delivery_stop(delivery, DELIVERY_REFUSED,
					  psprintf("the access token cannot be made: %s",
							   delivery_redact(delivery, error)));
	MemoryContextSwitchTo(old_context);
}

bool
token_is_ready(Delivery *delivery)
{
	TokenRenewal *renewal = delivery->token;

	if (renewal == NULL || is_usable(renewal))
		return true;
	if (renewal->lease != 0 || monotonic_ms() < renewal->look_at_ms)
		return false;
	if (connector_makes_token(delivery->connector))
		make_token(delivery);
	else
		look_for_token(delivery);
	return !delivery->stopping && is_usable(renewal);
}

int64
token_wait_ms(const Delivery *delivery)
{
	const TokenRenewal *renewal = delivery->token;

	if (renewal == NULL || is_usable(renewal))
		return 0;
	return Max(LOOK_MS, renewal->look_at_ms - monotonic_ms());
}

/* --- the answer --- */

/* Not there, or not well: as when a batch cannot be sent. */
static void
count_failure(Delivery *delivery, const char *reason)
{
	release_lease(delivery->token);
	if (destination_gate_failed(delivery->gate))
		delivery_stop(delivery, DELIVERY_UNREACHABLE,
					  psprintf("could not get an access token: %s",
							   delivery_redact(delivery, reason)));
}

static void
stop_refused(Delivery *delivery, const TokenAnswer *answer)
{
	char	   *reason = delivery_redact(delivery, answer->error);

	release_lease(delivery->token);
	if (answer->hint != NULL)
		reason = psprintf("%s (%s)", reason, answer->hint);
	delivery_stop(delivery, DELIVERY_REFUSED,
				  psprintf("the destination gives no access token: %s", reason));
}

/*
 * Whatever is wrong with it, it is kept first; a lease that was lost leaves it to
 * whoever has it now.
 */
static void
keep_token(Delivery *delivery, const TokenAnswer *answer)
{
	TokenRenewal *renewal = delivery->token;
	TimestampTz renew_at = token_renewal_time(renewal->asked_at, answer->lifetime, answer->margin);
	char	   *text = connector_token_to_text(delivery->connector, answer->token);
	int64		generation;
	MemoryContext context = CurrentMemoryContext;

	if (answer->refresh_token != NULL)
		delivery_add_secret(delivery, answer->refresh_token);
	transaction_begin();
	generation = token_store(renewal->basis, renewal->lease, text, renew_at,
							 answer->refresh_token);
	transaction_commit();
	MemoryContextSwitchTo(context);
	FAULT_POINT("token-kept");
	renewal->lease = 0;
	if (generation > 0 && answer->verdict == TOKEN_GRANTED)
		adopt_token(delivery, text, generation, renew_at);
	vault_wipe(text);
	vault_wipe(answer->refresh_token);
}

static void
take_answered(Delivery *delivery, const HttpAnswer *http)
{
	TokenRenewal *renewal = delivery->token;
	TokenAnswer answer;

	/* Text of a database that is not in UTF-8 takes a transaction to convert. */
	transaction_begin();
	MemoryContextSwitchTo(renewal->request_context);
	connector_read_token_answer(delivery->connector, http, &answer);
	transaction_commit();
	MemoryContextSwitchTo(renewal->request_context);

	if (answer.verdict == TOKEN_NOT_NOW)
	{
		count_failure(delivery, answer.error);
		return;
	}
	destination_gate_succeeded(delivery->gate);
	if (answer.token != NULL)
		keep_token(delivery, &answer);
	if (answer.verdict == TOKEN_THROTTLED)
	{
		release_lease(renewal);
		destination_gate_pause(delivery->gate,
							   Max(backoff_delay_ms(renewal->attempts),
								   Min(answer.retry_after_ms, RETRY_AFTER_CAP_MS)));
	}
	else if (answer.verdict == TOKEN_REFUSED)
		stop_refused(delivery, &answer);
}

bool
token_take_answer(Delivery *delivery, const HttpAnswer *answer)
{
	TokenRenewal *renewal = delivery->token;
	MemoryContext old_context = CurrentMemoryContext;

	if (renewal == NULL || answer->tag != renewal)
		return false;
	MemoryContextSwitchTo(renewal->request_context);
	switch (answer->result)
	{
		case HTTP_ANSWERED:
			take_answered(delivery, answer);
			break;
		case HTTP_REFUSED:
			release_lease(renewal);
			delivery_stop(delivery, DELIVERY_REFUSED,
						  psprintf("the request for an access token is refused: %s",
								   answer->error));
			break;
		case HTTP_NOT_SENT:
		case HTTP_UNKNOWN:
			count_failure(delivery, answer->error);
			break;
	}
	MemoryContextSwitchTo(old_context);
	return true;
}

/* --- what destinations say of it --- */

void
token_note_sent(const Delivery *delivery, PendingBatch *pending)
{
	if (delivery->token != NULL)
		pending->token_generation = delivery->token->generation;
}

bool
token_renew(Delivery *delivery, PendingBatch *pending)
{
	TokenRenewal *renewal = delivery->token;

	if (renewal == NULL)
		return false;

	/* Of those that were under way with one token, the first refusal counts. */
	if (pending->token_generation == renewal->generation &&
		pending->token_generation > renewal->refused_generation)
	{
		if (pending->token_refused || renewal->unproven)
			return false;
		renewal->refused_generation = renewal->generation;
		renewal->unproven = true;
		discard_token(delivery);
	}
	pending->token_refused = true;
	return true;
}

void
token_accepted(Delivery *delivery, PendingBatch *pending)
{
	TokenRenewal *renewal = delivery->token;

	pending->token_refused = false;
	if (renewal != NULL && pending->token_generation == renewal->generation)
		renewal->unproven = false;
}

void
token_renewal_end(Delivery *delivery)
{
	if (delivery->token == NULL)
		return;
	release_lease(delivery->token);
	discard_token(delivery);
}
