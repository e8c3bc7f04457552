/*
 * parking.c
 *		Batches that wait for the turn of their partition.
 *
 * The lanes, of which there are no more than batches in memory, are in a hash
 * table by partition, and in a heap by the time that their first batch may be
 * tried.
 */
#include "postgres.h"

#include "lib/pairingheap.h"
#include "utils/hsearch.h"

#include "run/parking.h"

typedef struct Lane
{
	uint64		partition;		/* hash key */
	pairingheap_node node;
	int64		opens_ms;
	dlist_head	batches;		/* of PendingBatch */
} Lane;

struct Parking
{
	HTAB	   *lanes;
	pairingheap *by_time;
};

/* The heap has the largest on top: here, what opens first. */
static int
compare_lanes(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		a_ms = pairingheap_const_container(Lane, node, a)->opens_ms;
	int64		b_ms = pairingheap_const_container(Lane, node, b)->opens_ms;

	return a_ms < b_ms ? 1 : a_ms > b_ms ? -1 : 0;
}

Parking *
parking_create(void)
{
	Parking    *parking = palloc0(sizeof(Parking));
	HASHCTL		control = {
		.keysize = sizeof(uint64),
		.entrysize = sizeof(Lane),
		.hcxt = CurrentMemoryContext
	};

	parking->lanes = hash_create("signalsmith parking", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	parking->by_time = pairingheap_allocate(compare_lanes, NULL);
	return parking;
}

void
parking_add(Parking *parking, PendingBatch *batch, uint64 partition, int64 until_ms)
{
	bool		found;
	Lane	   *lane = hash_search(parking->lanes, &partition, HASH_ENTER, &found);

	if (!found)
		dlist_init(&lane->batches);
	else
		pairingheap_remove(parking->by_time, &lane->node);
	lane->opens_ms = until_ms;
	pairingheap_add(parking->by_time, &lane->node);

	/* What was tried in vain stays first. */
	if (batch->parked)
		dlist_push_head(&lane->batches, &batch->node);
	else
		dlist_push_tail(&lane->batches, &batch->node);
	batch->parked = true;
}

static Lane *
first_lane(const Parking *parking)
{
	if (pairingheap_is_empty(parking->by_time))
		return NULL;
	return pairingheap_container(Lane, node, pairingheap_first(parking->by_time));
}

PendingBatch *
parking_next(Parking *parking, int64 now_ms)
{
	Lane	   *lane = first_lane(parking);
	PendingBatch *batch;

	if (lane == NULL || lane->opens_ms > now_ms)
		return NULL;
	batch = dlist_container(PendingBatch, node, dlist_pop_head_node(&lane->batches));
	if (dlist_is_empty(&lane->batches))
	{
		pairingheap_remove_first(parking->by_time);
		hash_search(parking->lanes, &lane->partition, HASH_REMOVE, NULL);
	}
	return batch;
}

PendingBatch *
parking_clear(Parking *parking)
{
	return parking_next(parking, PG_INT64_MAX);
}

int64
parking_wait_ms(const Parking *parking, int64 now_ms)
{
	const Lane *lane = first_lane(parking);

	return lane == NULL ? -1 : Max(0, lane->opens_ms - now_ms);
}
