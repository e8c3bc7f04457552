/*
 * parking.h
 *		Batches that wait for the turn of their partition.
 *
 * Where a destination limits what it takes of each channel, say, the batches of
 * a channel whose turn has not come stand in its lane, and those of other
 * channels pass.  Only the first of a lane is ever tried.
 */
#ifndef SIGNALSMITH_PARKING_H
#define SIGNALSMITH_PARKING_H

#include "postgres.h"

#include "run/batch_queue.h"

typedef struct Parking Parking;

/* Lives in CurrentMemoryContext. */
extern Parking *parking_create(void);

/* Parks a batch until that time (monotonic); the partition is a RateDemand's counter. */
extern void parking_add(Parking *parking, PendingBatch *batch, uint64 partition,
						int64 until_ms);

/* A batch that may be tried now, or NULL. */
extern PendingBatch *parking_next(Parking *parking, int64 now_ms);

/* Any batch, or NULL. */
extern PendingBatch *parking_clear(Parking *parking);

/* Milliseconds until one may be tried; -1: none is parked. */
extern int64 parking_wait_ms(const Parking *parking, int64 now_ms);

#endif							/* SIGNALSMITH_PARKING_H */
