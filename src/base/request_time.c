/*
 * request_time.c
 *		How long requests take, counted in buckets.
 */
#include "postgres.h"

#include <math.h>

#include "base/request_time.h"

#define FIRST_BUCKET_US 64.0
#define BUCKETS_PER_DOUBLING 4

int
request_time_bucket(int64 microseconds)
{
	double		doublings;

	if (microseconds <= FIRST_BUCKET_US)
		return 0;
	doublings = log2(microseconds / FIRST_BUCKET_US);
	return Min((int) ceil(doublings * BUCKETS_PER_DOUBLING), REQUEST_TIME_BUCKETS - 1);
}
