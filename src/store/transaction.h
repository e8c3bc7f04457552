/*
 * transaction.h
 *		The short transactions of our workers.
 */
#ifndef SIGNALSMITH_TRANSACTION_H
#define SIGNALSMITH_TRANSACTION_H

#include "postgres.h"

/*
 * Begins a transaction and pushes its snapshot; the transaction's memory
 * context becomes the current one.
 */
extern void transaction_begin(void);

/*
 * Commits it and has its statistics reported.  The current memory context is
 * another one afterwards: callers switch back to theirs.
 */
extern void transaction_commit(void);

#endif							/* SIGNALSMITH_TRANSACTION_H */
