/*
 * wake.h
 *		What a backend sets in motion when its transaction commits.
 */
#ifndef SIGNALSMITH_WAKE_H
#define SIGNALSMITH_WAKE_H

#include "postgres.h"

/* Registers the commit hook; called once, by _PG_init. */
extern void wake_register(void);

/* Once this transaction has committed, somebody looks what is due here. */
extern void wake_at_commit(void);

/* Once this transaction has committed, the runner is asked to stop. */
extern void cancel_runner_at_commit(int pid);

/*
 * Has somebody look what is due in a database: the launcher, or, where the
 * library is not preloaded, a scheduler started here.  Never raises.
 */
extern void wake_now(Oid database);

#endif							/* SIGNALSMITH_WAKE_H */
