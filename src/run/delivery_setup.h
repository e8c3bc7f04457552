/*
 * delivery_setup.h
 *		Everything a delivery needs before its first request.
 */
#ifndef SIGNALSMITH_DELIVERY_SETUP_H
#define SIGNALSMITH_DELIVERY_SETUP_H

#include "postgres.h"

#include "run/delivery_state.h"

/*
 * Reads and opens it all, in a transaction of its own, into
 * CurrentMemoryContext.  Raises what definition, manifest or secrets raise;
 * nothing has been sent then.
 */
extern Delivery *delivery_set_up(const RunClaim *claim);

extern void delivery_wipe_secrets(Delivery *delivery);

#endif							/* SIGNALSMITH_DELIVERY_SETUP_H */
