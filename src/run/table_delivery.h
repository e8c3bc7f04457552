/*
 * table_delivery.h
 *		Batches that are written to a table instead of being sent.
 */
#ifndef SIGNALSMITH_TABLE_DELIVERY_H
#define SIGNALSMITH_TABLE_DELIVERY_H

#include "postgres.h"

#include "run/delivery_state.h"

/*
 * Writes a batch, and records what became of it.  The batch is put back, split or
 * done with afterwards.  Raises an error when the lease is lost, or the outcome
 * cannot be recorded: then nothing of the batch has happened either.
 */
extern void deliver_to_table(Delivery *delivery, PendingBatch *pending);

#endif							/* SIGNALSMITH_TABLE_DELIVERY_H */
