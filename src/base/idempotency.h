/*
 * idempotency.h
 *		Idempotency keys that need no storage: derived from a random seed.
 */
#ifndef SIGNALSMITH_IDEMPOTENCY_H
#define SIGNALSMITH_IDEMPOTENCY_H

#include "postgres.h"

#include "utils/uuid.h"

/* 16 random bytes from the operating system. */
extern void idempotency_seed(pg_uuid_t *seed);

/*
 * Derives "count" keys: the i-th is a function of the seed, first + i and
 * second, and nothing can be learnt from one about another.  All are UUIDs of
 * version 4 in form.  May be called outside a transaction.
 */
extern void idempotency_derive(const pg_uuid_t *seed, uint32 first, uint32 second,
							   int count, pg_uuid_t *keys);

#endif							/* SIGNALSMITH_IDEMPOTENCY_H */
