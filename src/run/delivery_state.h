/*
 * delivery_state.h
 *		What the parts of a delivery share: delivery.c, which sends, and answer.c,
 *		which decides what follows.
 */
#ifndef SIGNALSMITH_DELIVERY_STATE_H
#define SIGNALSMITH_DELIVERY_STATE_H

#include "postgres.h"

#include "lib/ilist.h"

#include "connector/connector.h"
#include "http/transport.h"
#include "run/acknowledgement.h"
#include "run/batch_queue.h"
#include "run/delivery.h"
#include "run/destination_gate.h"
#include "run/parking.h"
#include "store/definition.h"
#include "target/target_writer.h"

/* How often a run looks at a gate that is closed. */
#define GATE_LOOK_MS 500

/* What came to know while it delivers, such as access tokens: the last few. */
#define LATE_SECRETS 8

/* Opened for this delivery, in UTF-8, and wiped after it. */
typedef struct DeliverySecrets
{
	int			count;
	char	  **names;			/* of the destination's secrets */
	char	  **values;			/* of these; then the late ones, or NULL */
	int			next_late;
} DeliverySecrets;

typedef struct TokenRenewal TokenRenewal;

struct Delivery
{
	const RunClaim *claim;
	const SyncDefinition *definition;
	RunFacts	facts;
	Connector  *connector;
	DeliverySecrets secrets;
	TokenRenewal *token;		/* NULL: none is wanted */
	Transport  *transport;
	TargetWriter *table;		/* it is written to instead; or NULL */
	BatchQueue *queue;
	AcknowledgementGroup *group;
	MemoryContext context;
	MemoryContext answer_context;	/* emptied after each answer */
	int			max_in_flight;
	dlist_head	in_flight;		/* of PendingBatch */

	DestinationGate *gate;
	int64		gate_opens_ms;	/* monotonic: nothing can be sent before */
	Parking    *parking;		/* batches whose partition's turn has not come */
	int			given_up_in_a_row;

	bool		stopping;		/* send nothing further */
	DeliveryEnd end;
	char	   *error;
	int64		cancelled_at_ms;
};

/* Sends nothing further, and says why; the first reason counts. */
extern void delivery_stop(Delivery *delivery, DeliveryEnd end, const char *error);

/*
 * Nothing can be sent for so long.  A run does not sit for hours, when the quota of
 * the day is used up, say: it ends, and a later one goes on.
 */
extern void delivery_wait_for_gate(Delivery *delivery, int64 wait_ms);

/* A text is secret from now on: it is copied, and wiped in the end. */
extern void delivery_add_secret(Delivery *delivery, const char *value);

/* Text from outside, without what must not be read; palloc'ed. */
extern char *delivery_redact(const Delivery *delivery, const char *text);

/*
 * The record of a batch at this index has been created, updated or deleted; the
 * outcome says what the destination calls it now, or is NULL.
 */
extern void delivery_acknowledge_record(Delivery *delivery, PendingBatch *pending,
										int index, Operation operation,
										const RecordOutcome *outcome);

/* The destination has it already, and the mode leaves that alone. */
extern void delivery_leave_record(Delivery *delivery, PendingBatch *pending, int index);

/* The same where the destination does not have it, and is not given it. */
extern void delivery_skip_record(Delivery *delivery, PendingBatch *pending, int index);

/* The record of a batch at this index has failed. */
extern void delivery_fail_record(Delivery *delivery, PendingBatch *pending,
								 int index, bool unknown, int status,
								 const char *code, const char *message);

#endif							/* SIGNALSMITH_DELIVERY_STATE_H */
