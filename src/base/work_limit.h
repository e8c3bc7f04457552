/*
 * work_limit.h
 *		A limit on the time and memory that a piece of work may take.
 *
 * For work of the server's whose cost lies in what others gave us, and which
 * looks for interrupts.  One at a time.
 */
#ifndef SIGNALSMITH_WORK_LIMIT_H
#define SIGNALSMITH_WORK_LIMIT_H

#include "postgres.h"

/*
 * From here on, as soon as the work has taken so many milliseconds, or the
 * context (without its children) has grown by so many bytes, the next look for
 * interrupts raises an ERROR.
 */
extern void work_limit_begin(MemoryContext context, int milliseconds, Size bytes);

/*
 * Ends that, after the work or in a PG_CATCH; true when it was the limit that
 * ended the work.
 */
extern bool work_limit_end(void);

#endif							/* SIGNALSMITH_WORK_LIMIT_H */
