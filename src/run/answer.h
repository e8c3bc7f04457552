/*
 * answer.h
 *		What follows from the answer to a batch.
 */
#ifndef SIGNALSMITH_ANSWER_H
#define SIGNALSMITH_ANSWER_H

#include "postgres.h"

#include "run/delivery_state.h"

/*
 * Acts on the answer to a batch, or on what came instead of one.  The batch is
 * put back, split or done with afterwards.
 */
extern void delivery_handle_answer(Delivery *delivery, PendingBatch *pending,
								   const HttpAnswer *answer);

/*
 * Acts on an outcome that is the same for all records of a batch, where there was
 * no answer to read it from (table_delivery.c).  "message" is required.
 */
extern void delivery_handle_outcome(Delivery *delivery, PendingBatch *pending,
									const RecordOutcome *outcome);

/* --- for lookup.c --- */

/*
 * Says what an answer means for each record and heeds what it says of the
 * destination.  Returns for how long nothing of this batch is to be repeated.
 */
extern int64 attribute_answer(Delivery *delivery, PendingBatch *pending,
							  const HttpAnswer *answer, RecordOutcome *outcomes);

/* Are they all of one of these classes? */
extern bool outcomes_are(const RecordOutcome *outcomes, int count,
						 OutcomeClass class, OutcomeClass or_class);

/* What is the matter with a record, for people. */
extern const char *describe_outcome(const Delivery *delivery, const HttpAnswer *answer,
									const RecordOutcome *outcome);

#endif							/* SIGNALSMITH_ANSWER_H */
