/*
 * backoff.c
 *		How long to wait before trying again.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "portability/instr_time.h"

#include "base/backoff.h"

int64
backoff_delay_ms(int attempts)
{
	int64		ceiling = BACKOFF_CAP_MS;

	/* Past this many doublings the cap is reached anyway. */
	if (attempts < 16)
		ceiling = Min(ceiling, (int64) BACKOFF_BASE_MS << Max(attempts - 1, 0));
	return (int64) pg_prng_uint64_range(&pg_global_prng_state, 0, ceiling);
}

int64
monotonic_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

int64
monotonic_ms(void)
{
	return monotonic_us() / 1000;
}
