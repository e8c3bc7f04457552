/*
 * destination_gate.c
 *		When a request may go to a destination, for all runners together.
 *
 * Times are of the monotonic clock, which all processes of a machine share.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/backoff.h"
#include "run/destination_gate.h"
#include "run/rate_counters.h"

#define TRANCHE_NAME "signalsmith destinations"

/* Of all databases; where there are more, the one unused longest makes room. */
#define GATE_COUNT 512

#define BREAKER_FAILURES 5

/* A probe whose runner died must not keep the others out for ever. */
#define PROBE_MS (60 * 1000)

typedef struct GateState
{
	Oid			database;
	int64		destination_id; /* 0: unused */
	int64		used_ms;		/* last time */
	int64		paused_until_ms;
	int			failures;		/* in a row */
	int64		open_until_ms;	/* of the breaker */
	int64		probe_until_ms; /* somebody is probing */
} GateState;

struct DestinationGate
{
	Oid			database;
	int64		destination_id;
	uint64		hash;			/* of both */
	GateState	own;			/* used without shared memory */
	RateCounters *counters;		/* these too, unless they are shared */
};

static GateState *gates = NULL;
static RateCounters *counters = NULL;
static LWLock *gates_lock = NULL;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

/* --- shared memory --- */

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(MAXALIGN(GATE_COUNT * sizeof(GateState)),
									MAXALIGN(rate_counters_size())));
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

static void
initialize_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	gates = ShmemInitStruct(TRANCHE_NAME, GATE_COUNT * sizeof(GateState), &found);
	if (!found)
		memset(gates, 0, GATE_COUNT * sizeof(GateState));
	counters = ShmemInitStruct(TRANCHE_NAME " limits", rate_counters_size(), &found);
	if (!found)
		memset(counters, 0, rate_counters_size());
	gates_lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
	LWLockRelease(AddinShmemInitLock);
}

void
destination_gate_request_memory(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = initialize_memory;
}

/* The gate's state, or the one to be reused for it; the lock is held. */
static GateState *
find_shared_state(const DestinationGate *gate)
{
	GateState  *oldest = &gates[0];

	for (int i = 0; i < GATE_COUNT; i++)
	{
		GateState  *state = &gates[i];

		if (state->destination_id == gate->destination_id &&
			state->database == gate->database)
			return state;
		if (state->used_ms < oldest->used_ms)
			oldest = state;
	}
	memset(oldest, 0, sizeof(GateState));
	oldest->database = gate->database;
	oldest->destination_id = gate->destination_id;
	return oldest;
}

static GateState *
lock_state(DestinationGate *gate)
{
	GateState  *state = &gate->own;

	if (gates != NULL)
	{
		LWLockAcquire(gates_lock, LW_EXCLUSIVE);
		state = find_shared_state(gate);
	}
	state->used_ms = monotonic_ms();
	return state;
}

static void
unlock_state(void)
{
	if (gates != NULL)
		LWLockRelease(gates_lock);
}

/* --- the gate --- */

static int64
rest_until_ms(int64 rest_ms)
{
	return rest_ms > 0 ? monotonic_ms() + Min(rest_ms, RETRY_AFTER_CAP_MS) : 0;
}

/* Has it asked for more patience than a run has? */
static bool
rests(const GateState *state)
{
	return state->paused_until_ms > monotonic_ms() + PATIENCE_MS;
}

DestinationGate *
destination_gate_open(int64 destination_id, int64 open_ms, int64 rest_ms, bool probe_now)
{
	DestinationGate *gate = palloc0(sizeof(DestinationGate));
	GateState  *state;

	gate->database = MyDatabaseId;
	gate->destination_id = destination_id;
	gate->hash = hash_combine64(MyDatabaseId, destination_id);
	gate->counters = counters != NULL ? counters : palloc0(rate_counters_size());
	state = lock_state(gate);
	if (state->failures == 0 && open_ms > 0)
	{
		state->failures = BREAKER_FAILURES;
		state->open_until_ms = monotonic_ms() + Min(open_ms, BACKOFF_CAP_MS);
	}
	state->paused_until_ms = Max(state->paused_until_ms, rest_until_ms(rest_ms));
	if (probe_now && (state->failures >= BREAKER_FAILURES || rests(state)))
	{
		state->paused_until_ms = 0;
		state->open_until_ms = 0;
	}
	unlock_state();
	return gate;
}

static int64
closed_until_ms(const GateState *state)
{
	return Max(state->paused_until_ms,
			   Max(state->open_until_ms, state->probe_until_ms));
}

int64
destination_gate_wait_ms(DestinationGate *gate)
{
	int64		until_ms = closed_until_ms(lock_state(gate));

	unlock_state();
	return Max(0, until_ms - monotonic_ms());
}

int64
destination_gate_enter(DestinationGate *gate, const RateDemand *demands, int count,
					   const RateDemand **longest)
{
	GateState  *state = lock_state(gate);
	int64		now_ms = monotonic_ms();
	int64		wait_ms = Max(0, closed_until_ms(state) - now_ms);

	*longest = NULL;
	if (wait_ms == 0 && count > 0)
		wait_ms = (rate_counters_take(gate->counters, gate->hash, demands, count,
									  longest) + 999) / 1000;
	if (wait_ms == 0 && state->failures >= BREAKER_FAILURES)
		state->probe_until_ms = now_ms + PROBE_MS;
	unlock_state();
	return wait_ms;
}

void
destination_gate_pause(DestinationGate *gate, int64 delay_ms)
{
	GateState  *state = lock_state(gate);

	state->paused_until_ms = Max(state->paused_until_ms, monotonic_ms() + delay_ms);
	unlock_state();
}

void
destination_gate_succeeded(DestinationGate *gate)
{
	GateState  *state = lock_state(gate);

	state->failures = 0;
	state->open_until_ms = 0;
	state->probe_until_ms = 0;
	unlock_state();
}

bool
destination_gate_failed(DestinationGate *gate)
{
	GateState  *state = lock_state(gate);
	int64		now_ms = monotonic_ms();
	int64		delay_ms;
	bool		open;

	/* Requests that failed side by side are one failure. */
	if (now_ms >= Max(state->paused_until_ms, state->open_until_ms))
	{
		state->failures++;
		delay_ms = backoff_delay_ms(state->failures);
		state->paused_until_ms = now_ms + delay_ms;
		if (state->failures >= BREAKER_FAILURES)
			state->open_until_ms = now_ms + delay_ms;
		state->probe_until_ms = 0;
	}
	open = state->failures >= BREAKER_FAILURES;
	unlock_state();
	return open;
}

int64
destination_gate_open_ms(DestinationGate *gate)
{
	GateState  *state = lock_state(gate);
	int64		open_ms = Max(0, state->open_until_ms - monotonic_ms());

	if (state->failures < BREAKER_FAILURES)
		open_ms = 0;
	unlock_state();
	return open_ms;
}

int64
destination_gate_rest_ms(DestinationGate *gate)
{
	GateState  *state = lock_state(gate);
	int64		rest_ms = rests(state) ? state->paused_until_ms - monotonic_ms() : 0;

	unlock_state();
	return rest_ms;
}
