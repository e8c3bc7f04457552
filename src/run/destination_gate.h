/*
 * destination_gate.h
 *		When a request may go to a destination, for all runners together.
 *
 * Several syncs may share a destination, and what it asks for (a pause after a
 * 429, peace while it is down, so many requests a minute) concerns all of them.
 * The state is in shared memory; without any, each runner keeps its own.
 *
 * The breaker: CLOSED while requests get through; OPEN after BREAKER_FAILURES
 * failures of the destination in a row, and then nothing is sent until a time
 * that grows with each further failure; HALF OPEN from then on: one runner
 * sends one request, the probe, and its outcome closes or opens it again.
 *
 * A destination rests when it has asked for a longer pause than a run waits for,
 * PATIENCE_MS: its quota of the day may be used up.
 */
#ifndef SIGNALSMITH_DESTINATION_GATE_H
#define SIGNALSMITH_DESTINATION_GATE_H

#include "postgres.h"

#include "connector/connector.h"

typedef struct DestinationGate DestinationGate;

/* Asks for shared memory; called by _PG_init while libraries are preloaded. */
extern void destination_gate_request_memory(void);

/*
 * Lives in CurrentMemoryContext.  open_ms: how much longer the breaker is open,
 * as the destination's row says; counts where nothing else is known, so that
 * the breaker survives a restart.  rest_ms: how much longer the destination
 * rests, likewise.  probe_now: a person may have repaired the destination and
 * asks for a run, so both are over.
 */
extern DestinationGate *destination_gate_open(int64 destination_id, int64 open_ms,
											  int64 rest_ms, bool probe_now);

/* Milliseconds until a request may be sent; 0: now. */
extern int64 destination_gate_wait_ms(DestinationGate *gate);

/*
 * May the caller send a request now, which takes that much of the destination's
 * limits?  0: it may, has to, and reports what came of it.  Otherwise the
 * milliseconds until it may ask again, and the demand that this is about; NULL:
 * the gate is closed for all.
 */
extern int64 destination_gate_enter(DestinationGate *gate, const RateDemand *demands,
									int count, const RateDemand **longest);

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

/* Likewise, how much longer it rests; 0: it does not. */
extern int64 destination_gate_rest_ms(DestinationGate *gate);

#endif							/* SIGNALSMITH_DESTINATION_GATE_H */
