/*
 * work_limit.c
 *		A limit on the time and memory that a piece of work may take.
 *
 * A timer looks at both every few milliseconds, and cancels the query, as somebody
 * at the console could.  Its handler runs in a signal handler: it reads one word of
 * the context's and sets flags, and nothing else.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/memnodes.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/work_limit.h"

#define LOOK_EVERY_MS 10

static MemoryContext volatile watched = NULL;
static volatile Size most_bytes;
static volatile int looks_left;
static volatile bool exceeded;

/* In a signal handler. */
static void
look(void)
{
	if (watched == NULL || (--looks_left > 0 && watched->mem_allocated <= most_bytes))
		return;
	exceeded = true;
	InterruptPending = true;
	QueryCancelPending = true;
}

static TimeoutId
look_timeout(void)
{
	static int	id = -1;

	if (id < 0)
		id = RegisterTimeout(USER_TIMEOUT, look);
	return (TimeoutId) id;
}

void
work_limit_begin(MemoryContext context, int milliseconds, Size bytes)
{
	most_bytes = context->mem_allocated + bytes;
	looks_left = milliseconds / LOOK_EVERY_MS;
	exceeded = false;
	watched = context;
	enable_timeout_every(look_timeout(),
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_EVERY_MS),
						 LOOK_EVERY_MS);
}

bool
work_limit_end(void)
{
	bool		was_exceeded;

	watched = NULL;
	disable_timeout(look_timeout(), false);
	was_exceeded = exceeded;
	exceeded = false;

	/* Work that ended by itself meanwhile has left the request to cancel it. */
	if (was_exceeded)
		QueryCancelPending = false;
	return was_exceeded;
}
