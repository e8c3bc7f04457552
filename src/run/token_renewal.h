/*
 * token_renewal.h
 *		The access token of a delivery: there is a good one when something is sent.
 *
 * Where the connector wants none, everything here says that all is well.
 */
#ifndef SIGNALSMITH_TOKEN_RENEWAL_H
#define SIGNALSMITH_TOKEN_RENEWAL_H

#include "postgres.h"

#include "run/delivery_state.h"

/*
 * Reads what a token depends on, in the caller's transaction and before secrets are
 * opened.  Lives in CurrentMemoryContext; NULL: the connector wants no token.
 */
extern TokenRenewal *token_renewal_create(const SyncDefinition *definition,
										  const Connector *connector);

/*
 * Is there a token to send with?  If not, sees to it: in short transactions of its
 * own, and by a request of the delivery's transport.
 */
extern bool token_is_ready(Delivery *delivery);

/* Milliseconds until that is worth asking again; 0: there is a token. */
extern int64 token_wait_ms(const Delivery *delivery);

/* Takes the answer to a request for a token; false: it is to something else. */
extern bool token_take_answer(Delivery *delivery, const HttpAnswer *answer);

/* A batch goes out with the token that there is. */
extern void token_note_sent(const Delivery *delivery, PendingBatch *pending);

/*
 * A batch was refused for its credentials.  Returns whether it is to be sent again
 * with another token; if not, it is not the token's age that is refused.
 */
extern bool token_renew(Delivery *delivery, PendingBatch *pending);

/* It was not. */
extern void token_accepted(Delivery *delivery, PendingBatch *pending);

/* Lets others ask, if an answer is still missing. */
extern void token_renewal_end(Delivery *delivery);

#endif							/* SIGNALSMITH_TOKEN_RENEWAL_H */
