/*
 * delivery.h
 *		The second phase of a run: sending what is in the outbox.
 */
#ifndef SIGNALSMITH_DELIVERY_H
#define SIGNALSMITH_DELIVERY_H

#include "postgres.h"

typedef struct Delivery Delivery;

/* Why a delivery has ended. */
typedef enum DeliveryEnd
{
	DELIVERY_COMPLETE,			/* every planned change is settled */
	DELIVERY_CANCELLED,			/* the query-cancel signal came */
	DELIVERY_UNREACHABLE,		/* the destination does not answer */
	DELIVERY_POSTPONED,			/* it asks for more patience than a run has */
	DELIVERY_REFUSED			/* it will not until somebody does something */
} DeliveryEnd;

/*
 * Sends the batches of a planned run (delivery_setup.h) and records what the destination says of
 * each record.  No transaction is open while requests are in flight, and none
 * may be when this is called.  *error is palloc'ed, for people, NULL when
 * complete.  Raises an error when an outcome cannot be recorded: then the run
 * is to be taken up again from what is recorded.
 */
extern DeliveryEnd run_deliver(Delivery *delivery, char **error);

#endif							/* SIGNALSMITH_DELIVERY_H */
