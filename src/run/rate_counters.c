/*
 * rate_counters.c
 *		What has been taken of the limits of destinations.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/backoff.h"
#include "run/rate_counters.h"

/* A counter can be in one place of a set, and nowhere else. */
#define SET_SIZE 16
#define SET_COUNT 1024

typedef struct RateCounter
{
	uint64		key;
	int64		paid_us;		/* monotonic */
} RateCounter;

struct RateCounters
{
	RateCounter sets[SET_COUNT][SET_SIZE];
};

Size
rate_counters_size(void)
{
	return sizeof(RateCounters);
}

/*
 * The counter of that key, or one that is not needed any more.  NULL: all of the
 * set are in debt, the first of them until *free_us.
 */
static RateCounter *
find_counter(RateCounters *counters, uint64 key, int64 now_us, int64 *free_us)
{
	RateCounter *set = counters->sets[key % SET_COUNT];
	RateCounter *found = NULL;

	*free_us = PG_INT64_MAX;
	for (int i = 0; i < SET_SIZE; i++)
	{
		if (set[i].paid_us > now_us && set[i].key == key)
			return &set[i];
		if (set[i].paid_us <= now_us)
			found = &set[i];
		*free_us = Min(*free_us, set[i].paid_us);
	}
	return found;
}

static uint64
key_of(uint64 destination, const RateDemand *demand)
{
	return hash_combine64(demand->counter, destination);
}

/* Microseconds until the demand can be met. */
static int64
wait_for(RateCounters *counters, uint64 key, const RateDemand *demand, int64 now_us)
{
	int64		free_us;
	const RateCounter *counter = find_counter(counters, key, now_us, &free_us);

	if (counter == NULL)
		return free_us - now_us;
	if (counter->paid_us <= now_us)
		return 0;
	return Max(0, counter->paid_us - demand->credit_us - now_us);
}

static void
take(RateCounters *counters, uint64 key, const RateDemand *demand, int64 now_us)
{
	int64		free_us;
	RateCounter *counter = find_counter(counters, key, now_us, &free_us);

	/* Another demand of the same batch may have taken the last place. */
	if (counter == NULL)
		return;
	counter->key = key;
	counter->paid_us = Max(counter->paid_us, now_us) + demand->cost_us;
}

int64
rate_counters_take(RateCounters *counters, uint64 destination, const RateDemand *demands,
				   int count, const RateDemand **longest)
{
	int64		now_us = monotonic_us();
	int64		longest_us = 0;

	for (int i = 0; i < count; i++)
	{
		int64		wait_us = wait_for(counters, key_of(destination, &demands[i]), &demands[i],
									   now_us);

		if (wait_us <= longest_us)
			continue;
		longest_us = wait_us;
		*longest = &demands[i];
	}
	for (int i = 0; i < count && longest_us == 0; i++)
		take(counters, key_of(destination, &demands[i]), &demands[i], now_us);
	return longest_us;
}
