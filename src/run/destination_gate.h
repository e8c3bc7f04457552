/*
 * destination_gate.h
 *		When a request may go to a destination, for all runners together.
 *
 * Several syncs may share a destination, and what it asks for (a pause after a
 * 429, peace while it is down) concerns all of them.  The state is in shared
 * memory; without any, each runner keeps its own.
 *
 * The breaker: CLOSED while requests get through; OPEN after BREAKER_FAILURES
 * failures of the destination in a row, and then nothing is sent until a time
 * that grows with each further failure; HALF OPEN from then on: one runner
 * sends one request, the probe, and its outcome closes or opens it again.
 */
#ifndef SIGNALSMITH_DESTINATION_GATE_H
#define SIGNALSMITH_DESTINATION_GATE_H

#include "postgres.h"

typedef struct DestinationGate DestinationGate;

/* Asks for shared memory; called by _PG_init while libraries are preloaded. */
extern void destination_gate_request_memory(void);

/*
 * Lives in CurrentMemoryContext.  open_ms: how much longer the breaker is open,
 * as the destination's row says; counts where nothing else is known, so that
 * the breaker survives a restart.  probe_now: a person may have repaired the
 * destination and asks for a run, so the next probe is due.
 */
extern DestinationGate *destination_gate_open(int64 destination_id, int64 open_ms,
											  bool probe_now);

/* Milliseconds until a request may be sent; 0: now. */
extern int64 destination_gate_wait_ms(DestinationGate *gate);

/*
 * May the caller send a request now?  If so, it does, and reports what came of
 * it.
 */
extern bool destination_gate_enter(DestinationGate *gate);

/* The destination asked everybody to wait. */
extern void destination_gate_pause(DestinationGate *gate, int64 delay_ms);

/* It has answered, whatever the answer: it is there. */
extern void destination_gate_succeeded(DestinationGate *gate);

/*
 * It could not be reached, or is not itself.  Returns whether that opened the
 * breaker or left it open.
 */
extern bool destination_gate_failed(DestinationGate *gate);

/* For the destination's row: how much longer it is open; 0: closed. */
extern int64 destination_gate_open_ms(DestinationGate *gate);

#endif							/* SIGNALSMITH_DESTINATION_GATE_H */
