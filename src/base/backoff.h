/*
 * backoff.h
 *		How long to wait before trying again.
 */
#ifndef SIGNALSMITH_BACKOFF_H
#define SIGNALSMITH_BACKOFF_H

#include "postgres.h"

#define BACKOFF_BASE_MS 1000
#define BACKOFF_CAP_MS (60 * 1000)

/* A destination may ask for more patience than this, but does not get it. */
#define RETRY_AFTER_CAP_MS (24 * 60 * 60 * 1000)

/* A run does not sit longer than this: it ends, and a later one goes on. */
#define PATIENCE_MS (15 * 60 * 1000)

/*
 * Milliseconds to wait after the given number of attempts (from 1), uniformly
 * distributed in [0, min(cap, base * 2^(attempts - 1))]: "full jitter", which
 * spreads retries evenly even at the cap.
 */
extern int64 backoff_delay_ms(int attempts);

/* A clock that nobody sets back, in milliseconds and in microseconds. */
extern int64 monotonic_ms(void);
extern int64 monotonic_us(void);

#endif							/* SIGNALSMITH_BACKOFF_H */
