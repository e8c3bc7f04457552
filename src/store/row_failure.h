/*
 * row_failure.h
 *		Rows that failed: what signalsmith.row_errors shows.
 */
#ifndef SIGNALSMITH_ROW_FAILURE_H
#define SIGNALSMITH_ROW_FAILURE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "base/types.h"

typedef struct RowFailure
{
	Operation	operation;
	Slice		key;			/* JSON text in UTF-8; empty: no key to name */
	bool		unknown;		/* else rejected */
	int			attempts;		/* 0: never sent */
	int			http_status;	/* 0: none */
	const char *code;			/* a word for programs, or NULL */
	const char *message;		/* redacted already, in the server's encoding */

	/* What skip_rows knows the row by; without, it cannot be skipped. */
	bool		skippable;
	RecordKey	packed_key;
	uint64		row_hash;
} RowFailure;

typedef struct RowFailureWriter RowFailureWriter;

/*
 * Writes failures of one run through the table access method, in any
 * transaction: that of the plan, while the query runs, or one of the
 * deliveries.  Needs no scope.  Numbers go on from the run's last one, so only
 * one writer of a run may be at work.  Lives in CurrentMemoryContext; "finish",
 * after the query has ended, frees it.
 *
 * Messages are cut to ROW_FAILURE_MESSAGE_BYTES at a character; a key longer
 * than ROW_FAILURE_KEY_BYTES is left out.
 */
#define ROW_FAILURE_MESSAGE_BYTES 1000
#define ROW_FAILURE_CODE_BYTES 100
#define ROW_FAILURE_KEY_BYTES (64 * 1024)

extern RowFailureWriter *row_failure_writer_create(int64 run_id, int64 sync_id);
extern void row_failure_writer_add(RowFailureWriter *writer, const RowFailure *failure);
extern void row_failure_writer_finish(RowFailureWriter *writer);

/* The same in one call, for a list of RowFailure. */
extern void row_failure_insert(int64 run_id, int64 sync_id, List *failures);

#endif							/* SIGNALSMITH_ROW_FAILURE_H */
