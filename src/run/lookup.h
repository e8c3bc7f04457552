/*
 * lookup.h
 *		Asking the destination for what it calls a record, before it is changed.
 *
 * Some destinations change and delete records only by an id, or under a version,
 * of their own.  Where the snapshot does not know it, or an answer says that
 * what it knows is stale, a lookup asks; and what is found decides what is sent:
 * an update of what exists, a create of what does not.
 */
#ifndef SIGNALSMITH_LOOKUP_H
#define SIGNALSMITH_LOOKUP_H

#include "postgres.h"

#include "run/delivery_state.h"

/*
 * Makes a batch ready to be sent and sets its operation.  False when it is not
 * the caller's any more: it waits for a lookup, which is queued, or has been cut
 * in two, or its records are settled.
 */
extern bool lookup_prepare_batch(Delivery *delivery, PendingBatch *pending);

/* Acts on the answer to a lookup. */
extern void lookup_handle_answer(Delivery *delivery, PendingBatch *lookup,
								 const HttpAnswer *answer);

/*
 * A record exists already, or has another version than was named.  Returns
 * whether it is to be sent once more, with what is known now or will be looked
 * up.
 */
extern bool lookup_repair(Delivery *delivery, PendingBatch *pending, int index,
						  const RecordOutcome *outcome);

/*
 * A record changed by a lookup is sent with other bytes than planned, so it needs
 * another idempotency key, the same for the same bytes: it is derived from this.
 * 0: it is sent as planned.
 */
extern uint64 lookup_revision(const PendingBatch *pending, int index);

#endif							/* SIGNALSMITH_LOOKUP_H */
