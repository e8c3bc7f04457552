/*
 * answer_limit.c
 *		Bounds what reading an answer may cost.
 */
#include "postgres.h"

#include "base/work_limit.h"
#include "connector/connector_internal.h"

/*
 * Reading an answer takes milliseconds, and memory that is in proportion to it.
 * A path of the manifest's that multiplies with itself would take everything.
 */
#define ANSWER_LIMIT_MS (5 * 1000)
#define ANSWER_LIMIT_BYTES (256 * 1024 * 1024)

void
answer_within_limit(void (*read) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;

	work_limit_begin(context, ANSWER_LIMIT_MS, ANSWER_LIMIT_BYTES);
	PG_TRY();
	{
		read(arg);
		(void) work_limit_end();
	}
	PG_CATCH();
	{
		if (!work_limit_end())
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("reading an answer takes too much time or memory"),
				 errdetail("It was given up after %d s, or %d MB.",
						   ANSWER_LIMIT_MS / 1000, ANSWER_LIMIT_BYTES / (1024 * 1024)),
				 errhint("Look for an SQL/JSON path of the connector's that visits parts of the answer many times, such as one with several \"**\".")));
	}
	PG_END_TRY();
}
