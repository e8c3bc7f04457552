/*
 * fault.h
 *		Places where tests make things go wrong.
 *
 * FAULT_POINT("name") is nothing in the product.  Built with "make FAULTS=1",
 * it does what the setting signalsmith.fault asks for at that place:
 *
 *	signalsmith.fault = 'name:action[:nth][@file], ...'
 *
 * The action happens each time, or only the nth time that this process comes
 * along; with @file once and never again, not even after a restart, since it
 * has to create that file first.  Actions:
 *
 *	error			raises an ERROR
 *	fatal			raises a FATAL: this process ends
 *	kill			SIGKILL for this process, as the OOM killer would
 *	abort			abort(), as a bug would
 *	sleep=N			sleeps N milliseconds, then goes on; N may be left out: for ever
 *	wait=FILE		creates FILE.reached, then goes on when FILE exists
 *
 * Sleeping and waiting can be cancelled.  A fault point must not lie in a
 * callback of another library, in a critical section or under a lock.
 */
#ifndef SIGNALSMITH_FAULT_H
#define SIGNALSMITH_FAULT_H

#include "postgres.h"

#ifdef SIGNALSMITH_FAULTS

#define FAULT_POINT(name) fault_point(name)

extern void fault_point(const char *name);

/* Defines the setting; called by _PG_init, before the prefix is reserved. */
extern void fault_define_setting(void);

#else

#define FAULT_POINT(name) ((void) 0)
#define fault_define_setting() ((void) 0)

#endif							/* SIGNALSMITH_FAULTS */

#endif							/* SIGNALSMITH_FAULT_H */
