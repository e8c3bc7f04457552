/*
 * rate_counters.h
 *		What has been taken of the limits of destinations.
 *
 * A table of fixed size, in shared memory or not; its user sees to locking.
 * Of each limit, or of each of its partitions, it keeps one point in time: when
 * all that was taken will be paid for, if the limit's amount flows in evenly
 * (the "generic cell rate algorithm").  A counter that is paid for says no more
 * than none does, so it makes room for others: only those in debt take space.
 */
#ifndef SIGNALSMITH_RATE_COUNTERS_H
#define SIGNALSMITH_RATE_COUNTERS_H

#include "postgres.h"

#include "connector/connector.h"

typedef struct RateCounters RateCounters;

/* Bytes; zeroes are an empty table. */
extern Size rate_counters_size(void);

/*
 * Takes all demands, or none: returns 0, or the microseconds until it is worth
 * trying again, and which demand has to wait longest.  "destination" tells those
 * of different destinations apart.
 */
extern int64 rate_counters_take(RateCounters *counters, uint64 destination,
								const RateDemand *demands, int count,
								const RateDemand **longest);

#endif							/* SIGNALSMITH_RATE_COUNTERS_H */
