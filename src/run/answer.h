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

#endif							/* SIGNALSMITH_ANSWER_H */
